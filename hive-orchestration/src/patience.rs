//! A database that fails is asked again, at growing intervals, for as long as somebody wants the answer.

#[cfg(test)]
mod tests;

use std::future::Future;

use hive_core::clock::Clock;
use hive_core::rng::Rng;
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};
use tokio_util::sync::CancellationToken;

use crate::limits;

/// How long to wait between two questions.
pub(crate) struct Patience<'a> {
    clock: &'a dyn Clock,
    rng: &'a dyn Rng,
    policy: RetryPolicy,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(clock: &'a dyn Clock, rng: &'a dyn Rng) -> Self {
        Self {
            clock,
            rng,
            policy: RetryPolicy::exponential(u32::MAX).with_cap(limits::DISPATCH_TICK),
            failures: 0,
        }
    }

    /// Waits a while because of `error`.
    pub(crate) async fn wait(&mut self, doing: &'static str, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        tracing::error!(%error, failures = self.failures, "{doing}");
        let delay = self
            .policy
            .delay_after(self.failures, self.rng.next_u64(), error.retry_after())
            .unwrap_or(limits::DISPATCH_TICK);
        self.clock.sleep(delay.min(limits::DISPATCH_TICK)).await;
    }

    /// Asks until there is an answer, an error that another try would not change, or nobody who wants it any more: then
    /// the last error comes back.
    pub(crate) async fn insist<T, F>(
        mut self,
        doing: &'static str,
        unwanted: &CancellationToken,
        mut ask: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !passing(&error) || unwanted.is_cancelled() {
                return Err(error);
            }
            tokio::select! {
                biased;
                () = unwanted.cancelled() => return Err(error),
                () = self.wait(doing, &error) => {}
            }
        }
    }
}

/// Whether it is the database's trouble, and may be over in a moment.
fn passing(error: &Error) -> bool {
    error.is_retryable() && error.kind() != ErrorKind::ShuttingDown
}
