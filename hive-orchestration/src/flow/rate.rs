//! How many in a time: the generic cell rate algorithm (ITU-T I.371), as a pure decision.
//!
//! All that is remembered is one point in time, the theoretical arrival time: when the next would come if all came evenly. Each one
//! moves it on by an interval. One may begin while that point is no further ahead than the burst allows.

#[cfg(test)]
mod tests;

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::limits;

/// So many in a time, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[must_use]
pub struct Rate {
    pub(crate) count: u32,
    pub(crate) period: Duration,
    pub(crate) burst: u32,
}

/// Nanoseconds since the epoch, so that a third of a second is no less than it says.
pub(crate) type Nanos = i64;

impl Rate {
    /// So many in each `period`, between a millisecond and [`RATE_PERIOD_MAX`](limits::RATE_PERIOD_MAX), one after another in even
    /// intervals. More at once only by [`Rate::burst`].
    pub const fn new(count: u32, period: Duration) -> Self {
        Self {
            count,
            period,
            burst: 1,
        }
    }

    /// How many may begin at once after a time in which none did; 1 unless set. In any time `t` no more than
    /// `burst + t / period * count` begin.
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// How many in each period.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The period.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// How many at once.
    pub const fn get_burst(&self) -> u32 {
        self.burst
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refused = |field: &'static str, why: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, why).with("field", field).with_hint(
                "such as `Rate::new(100, Duration::from_secs(60)).burst(10)`: a hundred a minute, ten of them at once",
            ))
        };
        if self.count == 0 {
            return refused("rate.count", "the rate lets nothing begin");
        }
        if self.burst == 0 {
            return refused("rate.burst", "the burst lets nothing begin");
        }
        if self.period < super::PERIOD_MIN || self.period > limits::RATE_PERIOD_MAX {
            return refused("rate.period", "the rate's period is not in its range");
        }
        // Else the point that is remembered could lie beyond what a column holds.
        if self.interval().saturating_mul(i64::from(self.burst)) > i64::MAX / 4 {
            return refused("rate.burst", "the burst is worth more than a lifetime");
        }
        Ok(())
    }

    /// From one to the next; rounded up, so that the rate is never exceeded.
    fn interval(&self) -> Nanos {
        let period = i64::try_from(self.period.as_nanos()).unwrap_or(i64::MAX);
        let count = i64::from(self.count.max(1));
        period / count + i64::from(period % count > 0)
    }

    /// How far ahead the point may be for one to begin.
    fn ahead(&self) -> Nanos {
        self.interval().saturating_mul(i64::from(self.burst) - 1)
    }

    /// Where the point stands, as far as it can be believed: when the clock was set back, it is no further ahead than whoever began
    /// at this moment could have moved it.
    fn point(&self, remembered: Nanos, now: Nanos) -> Nanos {
        remembered.clamp(now, now.saturating_add(self.ahead()).saturating_add(self.interval()))
    }

    /// How many may begin now.
    pub(crate) fn left(&self, remembered: Nanos, now: Timestamp) -> usize {
        let now = nanos(now);
        let room = now + self.ahead() - self.point(remembered, now);
        if room < 0 {
            return 0;
        }
        usize::try_from(room / self.interval() + 1).unwrap_or(usize::MAX)
    }

    /// What is to be remembered after so many have begun.
    pub(crate) fn after(&self, remembered: Nanos, now: Timestamp, count: usize) -> Nanos {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.point(remembered, nanos(now))
            .saturating_add(self.interval().saturating_mul(count))
    }

    /// When the next may begin.
    pub(crate) fn next(&self, remembered: Nanos, now: Timestamp) -> Timestamp {
        let next = self.point(remembered, nanos(now)).saturating_sub(self.ahead());
        // Up, so that whoever looks then finds that it may.
        Timestamp::from_micros(next / 1_000 + i64::from(next % 1_000 > 0)).max(now)
    }
}

fn nanos(at: Timestamp) -> Nanos {
    at.as_micros().saturating_mul(1_000)
}
