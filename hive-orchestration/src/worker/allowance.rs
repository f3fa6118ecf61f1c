//! How long an attempt may still run. The clock stands while it waits: for outcomes, and for its turn.

#[cfg(test)]
mod tests;

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use hive_core::clock::Clock;

pub(super) struct Allowance<'a> {
    clock: &'a dyn Clock,
    left: Duration,
    running: Option<Running<'a>>,
}

struct Running<'a> {
    since: Duration,
    end: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

impl<'a> Allowance<'a> {
    /// The clock stands.
    pub(super) fn new(clock: &'a dyn Clock, left: Duration) -> Self {
        Self {
            clock,
            left,
            running: None,
        }
    }

    pub(super) fn start(&mut self) {
        if self.running.is_none() {
            self.running = Some(Running {
                since: self.clock.monotonic(),
                end: self.clock.sleep(self.left),
            });
        }
    }

    pub(super) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            let spent = self.clock.monotonic().saturating_sub(running.since);
            self.left = self.left.saturating_sub(spent);
        }
    }

    /// Returns when it is used up.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn used_up(&mut self) {
        match &mut self.running {
            Some(running) => running.end.as_mut().await,
            None => pending().await,
        }
    }
}
