//! Wake-ups: a commit tells whoever waits for what it wrote.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// Where a process keeps who listens on which channel.
///
/// A wake-up says that something may be there, never what: it can come too often, and whoever waits looks for itself.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    channels: Mutex<HashMap<&'static str, watch::Sender<u64>>>,
    /// Takes the news to other processes.
    away: Mutex<Option<Box<dyn Away>>>,
}

/// How other processes that share the database hear of it.
pub(super) trait Away: Send + std::fmt::Debug {
    fn listen(&self, channel: &'static str);
    fn notify(&self, channel: &'static str);
}

impl Wakeups {
    /// Channels are constants of the code, so there are as many as it names.
    pub(super) fn listen(&self, channel: &'static str) -> Wakes {
        let seen = self.lock().entry(channel).or_default().subscribe();
        if let Some(away) = &*self.away() {
            away.listen(channel);
        }
        Wakes { channel, seen }
    }

    pub(super) fn notify(&self, channel: &'static str) {
        self.wake(channel);
        if let Some(away) = &*self.away() {
            away.notify(channel);
        }
    }

    /// Wakes who listens in this process.
    pub(super) fn wake(&self, channel: &str) {
        if let Some(listening) = self.lock().get(channel) {
            listening.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    #[cfg(any(test, feature = "postgres"))]
    pub(super) fn reach(&self, away: Box<dyn Away>) {
        for channel in self.lock().keys() {
            away.listen(channel);
        }
        *self.away() = Some(away);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, watch::Sender<u64>>> {
        // Nothing panics while it holds the lock.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self) -> MutexGuard<'_, Option<Box<dyn Away>>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of commits that called [`Tx::notify`](super::Tx::notify) with its channel, from the moment it was made.
#[derive(Debug)]
pub struct Wakes {
    channel: &'static str,
    seen: watch::Receiver<u64>,
}

impl Wakes {
    /// Waits for the next wake-up, at most this long. `true` when there was one. Those that came since the last call count as
    /// one, so none is lost between looking and waiting.
    ///
    /// A network loses messages: `at_most` is how long a loss can go unnoticed, so look for work either way.
    ///
    /// # Cancel safety
    /// Dropped, the wake-up is still there for the next call.
    pub async fn wait(&mut self, at_most: Duration) -> bool {
        matches!(tokio::time::timeout(at_most, self.seen.changed()).await, Ok(Ok(())))
    }

    /// The channel's name.
    pub fn channel(&self) -> &'static str {
        self.channel
    }
}
