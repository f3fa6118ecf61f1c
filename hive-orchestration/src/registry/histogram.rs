//! How long things took, in buckets that grow with the time: exact enough for a percentile, and never larger than a page.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Each doubling of the time is cut into this many buckets, so that a bucket is an eighth of its lower bound wide at most.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 3;

/// Times are cut off at 2^40 microseconds, almost thirteen days.
const MICROS_MAX: u64 = 1 << 40;

/// Counts by bucket; only those that hold something are there, of 304 at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Histogram {
    counts: BTreeMap<u16, u64>,
    sum_us: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(MICROS_MAX);
        let count = self.counts.entry(bucket(us)).or_default();
        *count = count.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(us);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            let own = self.counts.entry(*bucket).or_default();
            *own = own.saturating_add(*count);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Exact. `None` when there is nothing in it.
    pub(super) fn mean(&self) -> Option<Duration> {
        self.sum_us.checked_div(self.count()).map(Duration::from_micros)
    }

    /// The time below which this share of all stayed, an eighth off at most. `None` when there is nothing in it.
    pub(super) fn percentile(&self, percent: u32) -> Option<Duration> {
        let count = self.count();
        // The rank of the one that is looked for, from 1.
        let rank = u128::from(count) * u128::from(percent);
        let rank = u64::try_from(rank.div_ceil(100)).unwrap_or(count).max(1);
        let mut below = 0u64;
        for (bucket, held) in &self.counts {
            let next = below.saturating_add(*held);
            if next >= rank {
                // As if those in the bucket were spread evenly over it.
                let (low, high) = (lower(*bucket), lower(bucket.saturating_add(1)));
                let within = u128::from(high - low) * u128::from(rank - below) / u128::from(*held);
                let us = low.saturating_add(u64::try_from(within).unwrap_or(0));
                return Some(Duration::from_micros(us.min(MICROS_MAX)));
            }
            below = next;
        }
        None
    }
}

/// The bucket of a time: each of the first few microseconds has its own, then eight to a doubling.
fn bucket(us: u64) -> u16 {
    if us < STEPS {
        return u16::try_from(us).unwrap_or(u16::MAX);
    }
    let octave = us.ilog2() - STEP_BITS;
    let step = (us >> octave) - STEPS;
    u16::try_from(u64::from(octave + 1) * STEPS + step).unwrap_or(u16::MAX)
}

/// The least time in a bucket.
fn lower(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < STEPS {
        return bucket;
    }
    let octave = u32::try_from(bucket / STEPS - 1).unwrap_or(u32::MAX);
    (STEPS + bucket % STEPS).checked_shl(octave).unwrap_or(u64::MAX)
}
