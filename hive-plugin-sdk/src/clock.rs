//! The hive's clock, which is the only one that a plugin has.

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::host;

#[cfg(test)]
mod tests;

/// A moment in microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment so many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// A later moment, or the last one there is.
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// The time since an earlier moment, or zero when that is not earlier.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The time now. It may step back, as every wall clock may.
///
/// It differs between attempts: what must not differ is remembered with [`steps::remember`](crate::steps::remember).
pub fn now() -> Timestamp {
    Timestamp(host::now_micros())
}
