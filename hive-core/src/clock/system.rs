use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Clock, Timestamp};
use crate::limits::CLOCK_RECHECK;

/// The operating system's clocks.
///
/// Sleeping needs a tokio runtime with its timer enabled. [`Clock::sleep_until`] sleeps in pieces of at most
/// [`CLOCK_RECHECK`] and reads the wall clock after each, so a suspended machine or a changed clock makes it
/// late by that much at most.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemClock;

/// The moment that [`SystemClock::monotonic`] counts from. It is tokio's instant because sleeps are measured with it.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port the lint points to")]
    fn now(&self) -> Timestamp {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => micros(after),
            // A clock set before 1970 is odd, but it is what the machine says.
            Err(before) => -micros(before.duration()),
        })
    }

    fn monotonic(&self) -> Duration {
        // The origin is read first: on the very first call it would otherwise lie after the present.
        let origin = origin();
        Instant::now().saturating_duration_since(origin)
    }

    fn sleep<'life0, 'async_trait>(
        &'life0 self,
        duration: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        // Written out because an `async fn` would start to count at its first poll.
        Box::pin(tokio::time::sleep(duration))
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(CLOCK_RECHECK)).await;
        }
    }
}
