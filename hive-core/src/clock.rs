//! Time as a port.
//!
//! Nothing in a hive asks the operating system for the time; it asks a [`Clock`]. A process runs on [`SystemClock`], a
//! test or a simulation on [`ManualClock`], where a week passes in a call of [`ManualClock::advance`].
//!
//! Two kinds of time are kept apart. The *wall clock* ([`Clock::now`]) is what people and databases mean by a date; it
//! may jump in either direction. The *monotonic clock* ([`Clock::monotonic`]) only measures how long something took.

mod manual;
mod system;
mod timestamp;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use hive_errors::{Error, ErrorKind, Result};

pub use manual::ManualClock;
pub use system::SystemClock;
pub use timestamp::Timestamp;

/// Where time comes from.
#[async_trait]
pub trait Clock: Send + Sync + Debug + 'static {
    /// The wall clock. May jump, forwards and back.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary, fixed moment of this process. Never runs backwards.
    fn monotonic(&self) -> Duration;

    /// Waits until the monotonic clock has gone forward by `duration`, counted from this call and not from the first poll.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait; nothing is lost.
    async fn sleep(&self, duration: Duration);

    /// Waits until the wall clock shows `at` or later. Never returns early, also when the wall clock is set meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait; nothing is lost.
    async fn sleep_until(&self, at: Timestamp);
}

/// Runs `future` for at most `limit` of `clock`'s monotonic time.
///
/// The future is polled before the time is looked at, so one that is ready succeeds even with a limit of zero.
///
/// # Errors
/// [`ErrorKind::Timeout`] when the time ran out; the future is dropped then.
///
/// # Cancel safety
/// As cancel safe as `future`.
pub async fn timeout<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    let mut sleep = clock.sleep(limit);
    std::future::poll_fn(|task| {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(task) {
            return std::task::Poll::Ready(Ok(output));
        }
        sleep
            .as_mut()
            .poll(task)
            .map(|()| Err(Error::new(ErrorKind::Timeout, "the time ran out").with("limit", format!("{limit:?}"))))
    })
    .await
}
