//! Durations as they are stored.

use std::time::Duration;

/// Whole milliseconds, rounded up so that nobody comes back too early; what does not fit is cut at 584 million years.
pub(crate) const fn ceil(duration: Duration) -> u64 {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    if ms > u64::MAX as u128 { u64::MAX } else { ms as u64 }
}
