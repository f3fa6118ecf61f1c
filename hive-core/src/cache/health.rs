//! Whether the shared store serves, told once when that changes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::limits::CACHE_FAILURES_DEGRADED;

/// Reads or writes of one store. They are apart because a server without room refuses writes and answers reads.
#[derive(Default)]
pub(super) struct Side {
    failures: AtomicU32,
    down: AtomicBool,
}

impl Side {
    /// A call was answered. Whether that changes anything.
    pub(super) fn succeeded(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        self.is_down() && self.down.swap(false, Ordering::AcqRel)
    }

    /// A call failed. Whether that changes anything: a single failure among successes does not.
    pub(super) fn failed(&self) -> bool {
        // A count that is stuck at the limit cannot run over, however long the store is away.
        let before = self.failures.load(Ordering::Relaxed);
        if before < CACHE_FAILURES_DEGRADED {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        before + 1 >= CACHE_FAILURES_DEGRADED && !self.down.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }
}
