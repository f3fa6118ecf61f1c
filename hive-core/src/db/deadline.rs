//! When a closure must be over.

use std::time::{Duration, Instant};

use hive_errors::{Error, ErrorKind};

/// A moment in real time: engines call from loops of their own while a query runs, and virtual time cannot pass there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "a deadline inside the engine's own loop")]
    pub(super) fn after(limit: Duration) -> Option<Self> {
        Instant::now().checked_add(limit).map(|at| Self { at, limit })
    }

    #[expect(clippy::disallowed_methods, reason = "a deadline inside the engine's own loop")]
    pub(super) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// What a read is told that took too long.
    pub(super) fn passed(self) -> Error {
        Error::new(ErrorKind::Timeout, "the read took longer than its limit").with("limit_ms", self.limit.as_millis())
    }
}
