//! The decisions of a task's life, pure: `(state, event, now) → next`.

#[cfg(test)]
mod tests;

use hive_core::clock::Timestamp;
use hive_errors::{Failure, RetryPolicy};

use crate::limits;

/// What becomes of a task whose attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Another attempt, not before then.
    Retry(Timestamp),
    /// The failure is final by its own word.
    Failed,
    /// The attempts are used up.
    Dead,
}

/// `failures` counts the one at hand.
pub(crate) fn after_failure(
    failure: &Failure,
    failures: u32,
    policy: &RetryPolicy,
    random: u64,
    now: Timestamp,
) -> AfterFailure {
    if failure.is_terminal() {
        return AfterFailure::Failed;
    }
    match policy.delay_after(failures, random, failure.retry_after()) {
        Some(delay) => AfterFailure::Retry(now + delay),
        None => AfterFailure::Dead,
    }
}

/// What becomes of a task that was running when its process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterCrash {
    /// It goes on; `crashes` is its new count.
    Requeue { crashes: u32 },
    /// It has brought its process down, or was there, too often without getting anywhere.
    Dead { crashes: u32 },
}

/// `crashes` so far in a row; `progressed` when the journal has grown since the last of them.
pub(crate) fn after_crash(crashes: u32, progressed: bool) -> AfterCrash {
    let crashes = if progressed { 1 } else { crashes.saturating_add(1) };
    if crashes >= limits::CRASHES_MAX {
        AfterCrash::Dead { crashes }
    } else {
        AfterCrash::Requeue { crashes }
    }
}
