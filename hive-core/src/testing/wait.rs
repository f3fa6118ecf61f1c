//! Waiting for what another process does.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Looks again and again until there is something to see, for at most `limit`.
///
/// It blocks the thread; what is awaited from within async code is better awaited there. It looks at least once, and then every
/// few milliseconds.
///
/// ```
/// use std::time::Duration;
/// use hive_core::testing::until;
///
/// let file = until(Duration::from_secs(5), || std::fs::read_to_string("Cargo.toml").ok());
/// assert!(file.is_some());
/// assert_eq!(until(Duration::ZERO, || None::<()>), None);
/// ```
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = SystemClock.monotonic() + limit;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if SystemClock.monotonic() >= end {
            return None;
        }
        // May return early, which only means to look once more.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
