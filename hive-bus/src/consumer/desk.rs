//! What lies between a consumer's driver and the handlers of its process: deliveries that are ready, and how they ended.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::{Notify, oneshot};

use super::state::{Claim, Verdict};
use crate::event::Event;

/// A delivery that somebody may take.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) event: Event,
    pub(super) claim: Claim,
    pub(super) attempt: u32,
    /// From when on it need not be begun any more.
    pub(super) expires: Option<Timestamp>,
}

/// How a delivery ended, or what else is to be written down of it.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) claim: Claim,
    pub(super) verdict: Verdict,
    /// Told once it is on record.
    pub(super) reply: Option<oneshot::Sender<Result<()>>>,
    /// When it was said, by the monotonic clock.
    pub(super) said: Duration,
}

/// After how many deliveries that were taken the driver looks whether there is room for more.
const DRIVER_EVERY: usize = 32;

/// One per consumer and process.
#[derive(Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Somebody may take a delivery.
    ready: Notify,
    /// The driver has something to look at.
    driver: Notify,
}

#[derive(Default)]
struct State {
    /// Bounded by what the driver takes from the log.
    ready: VecDeque<Ready>,
    /// One for each delivery at the most, and one for each that is being extended.
    words: Vec<Word>,
    /// How many wait for a delivery.
    waiting: usize,
    /// Why nothing more will come.
    closed: Option<Error>,
    /// The last handle is gone.
    abandoned: bool,
    /// The driver is gone.
    over: bool,
}

/// What the driver found.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) words: Vec<Word>,
    pub(super) ready: usize,
    pub(super) waiting: usize,
    pub(super) abandoned: bool,
}

impl Desk {
    /// The next delivery; waits for it.
    pub(super) async fn next(&self) -> Result<Ready> {
        let _waiting = Waiting::new(self);
        loop {
            let ready = self.ready.notified();
            if let Some(ready) = self.try_next()? {
                return Ok(ready);
            }
            // Somebody has nothing to do, which the driver may have waited for.
            self.driver.notify_one();
            ready.await;
        }
    }

    /// Returns once a delivery may be there, which it leaves where it is, or when none will come.
    pub(super) async fn ready(&self) {
        let _waiting = Waiting::new(self);
        loop {
            let ready = self.ready.notified();
            if !matches!(self.has_ready(), Ok(false)) {
                return;
            }
            self.driver.notify_one();
            ready.await;
        }
    }

    /// Whether a delivery is there.
    pub(super) fn has_ready(&self) -> Result<bool> {
        let state = self.state();
        match &state.closed {
            Some(closed) if state.ready.is_empty() => Err(closed.echo()),
            Some(_) | None => Ok(!state.ready.is_empty()),
        }
    }

    #[cfg(test)]
    pub(super) fn look_ahead(&self) -> usize {
        self.state().ready.len()
    }

    /// The next delivery if one is there.
    pub(super) fn try_next(&self) -> Result<Option<Ready>> {
        let mut state = self.state();
        match state.ready.pop_front() {
            Some(ready) => {
                let left = state.ready.len();
                drop(state);
                if left > 0 {
                    self.ready.notify_one();
                }
                // Not for each: what the driver does then, it does for all of them.
                if left.is_multiple_of(DRIVER_EVERY) {
                    self.driver.notify_one();
                }
                Ok(Some(ready))
            }
            None => match &state.closed {
                Some(closed) => Err(closed.echo()),
                None => Ok(None),
            },
        }
    }

    /// Gives a word to the driver. When there is none any more, whoever waits for the answer is told so by its absence.
    pub(super) fn say(&self, word: Word) {
        let mut state = self.state();
        if state.over {
            drop(state);
            return drop(word);
        }
        state.words.push(word);
        drop(state);
        self.driver.notify_one();
    }

    /// The driver has ended.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        let words = std::mem::take(&mut state.words);
        drop(state);
        drop(words);
        self.close(super::driver::closed());
    }

    /// Nobody will take or settle anything any more.
    pub(super) fn abandon(&self) {
        self.state().abandoned = true;
        self.driver.notify_one();
    }

    pub(super) fn offer(&self, deliveries: impl IntoIterator<Item = Ready>) {
        let mut state = self.state();
        let before = state.ready.len();
        state.ready.extend(deliveries);
        let new = state.ready.len() - before;
        drop(state);
        if new > 0 {
            self.ready.notify_one();
        }
    }

    /// Takes away deliveries that nobody has begun.
    pub(super) fn withdraw(&self, mut unwanted: impl FnMut(&Ready) -> bool) -> Vec<Ready> {
        let mut state = self.state();
        let (withdrawn, kept) = std::mem::take(&mut state.ready)
            .into_iter()
            .partition(|ready| unwanted(ready));
        state.ready = kept;
        Vec::from_iter::<VecDeque<_>>(withdrawn)
    }

    pub(super) fn close(&self, why: Error) {
        self.state().closed.get_or_insert(why);
        self.ready.notify_waiters();
        self.ready.notify_one();
    }

    /// What there is for the driver, which takes it.
    pub(super) fn look(&self) -> Sight {
        let mut state = self.state();
        Sight {
            words: std::mem::take(&mut state.words),
            ready: state.ready.len(),
            waiting: state.waiting,
            abandoned: state.abandoned,
        }
    }

    /// Returns when there may be something for the driver.
    pub(super) async fn stirred(&self) {
        self.driver.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one who waits.
struct Waiting<'a>(&'a Desk);

impl<'a> Waiting<'a> {
    fn new(desk: &'a Desk) -> Self {
        desk.state().waiting += 1;
        Self(desk)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
        // Whoever is woken and does not look passes it on.
        self.0.ready.notify_one();
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Desk")
            .field("ready", &state.ready.len())
            .field("words", &state.words.len())
            .field("waiting", &state.waiting)
            .finish_non_exhaustive()
    }
}

/// What is said of a claim that is not in force.
pub(super) fn lost(claim: Claim) -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the delivery was given to another, or is settled already",
    )
    .with("sequence", claim.sequence)
    .with_hint("settle each delivery once, and extend it when handling it takes longer than its time")
}
