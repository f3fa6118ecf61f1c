//! When work must be over.

use std::time::{Duration, Instant};

use hive_errors::{Error, ErrorKind};

/// A moment, and the limit it came from, for error messages.
///
/// Real time: engines call from loops of their own while a query runs, and neither they nor a server nor the network know of
/// virtual time, whatever the clock port says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    pub(super) limit: Duration,
}

impl Deadline {
    /// In `limit` from now. One that is beyond what the clock can count never comes.
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            at: now().checked_add(limit),
            limit,
        }
    }

    /// How long there is still time.
    pub(super) fn left(self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(now()))
    }

    pub(super) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// What a read is told that took too long.
    pub(super) fn passed(self) -> Error {
        Error::new(ErrorKind::Timeout, "the read took longer than its limit").with("limit_ms", self.limit.as_millis())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long an engine takes is real time, whatever the clock port says"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
