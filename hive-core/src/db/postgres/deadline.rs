//! When work must be over.

use std::time::{Duration, Instant};

/// A moment, and the limit it came from, for error messages.
///
/// Real time: the server and the network do not know of virtual time, whatever the clock port says.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) struct Deadline {
    at: Option<Instant>,
    pub(in crate::db) limit: Duration,
}

impl Deadline {
    /// In `limit` from now. One that is beyond what the clock can count never comes.
    pub(in crate::db) fn after(limit: Duration) -> Self {
        Self {
            at: now().checked_add(limit),
            limit,
        }
    }

    /// How long there is still time.
    pub(in crate::db) fn left(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(now()))
    }

    pub(super) fn has_passed(&self) -> bool {
        self.left().is_zero()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a server takes is real time, whatever the clock port says"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
