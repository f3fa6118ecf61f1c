//! When a schedule is due, and which of the times that have passed are made up for. Pure: no clock, no database.

#[cfg(test)]
mod tests;

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::payload::fingerprint;
use hive_errors::{Error, ErrorKind, Result};

use super::cron::Cron;
use super::zone::{Local, Zone};
use super::{CatchUp, Schedule};
use crate::limits;

/// At which moments something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    Cron { cron: Cron, zone: Zone },
    Every { period: Duration, anchor: Timestamp },
    Once(Timestamp),
}

/// A [`Timing`] that can be asked.
enum Times<'a> {
    Cron { cron: &'a Cron, local: Local },
    Every { period: Duration, anchor: Timestamp },
    Once(Timestamp),
}

impl Times<'_> {
    /// The first due time after `after`.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, local } => local.next(cron, after),
            Self::Every { period, anchor } => {
                let period = micros(*period);
                let passed = (wide(after) - wide(*anchor)).div_euclid(period);
                timestamp(wide(*anchor) + (passed + 1) * period)
            }
            Self::Once(at) => (*at > after).then_some(*at),
        }
    }

    /// The last due time not after `upto`.
    fn last(&self, upto: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, local } => local.last(cron, upto),
            Self::Every { period, anchor } => {
                let period = micros(*period);
                let passed = (wide(upto) - wide(*anchor)).div_euclid(period);
                timestamp(wide(*anchor) + passed * period)
            }
            Self::Once(at) => (*at <= upto).then_some(*at),
        }
    }
}

/// At least one, and wide enough that no product of two moments overflows.
fn micros(duration: Duration) -> i128 {
    i128::try_from(duration.as_micros()).unwrap_or(i128::MAX >> 1).max(1)
}

fn wide(at: Timestamp) -> i128 {
    i128::from(at.as_micros())
}

/// `None` for what is too far away to have a date, which means never.
fn timestamp(micros: i128) -> Option<Timestamp> {
    let found = i64::try_from(micros).ok().map(Timestamp::from_micros)?;
    (found < Timestamp::MAX && found > Timestamp::MIN).then_some(found)
}

/// A due time, and when it is acted upon: later by the jitter that falls to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) fire_at: Timestamp,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// The due times to act upon, the oldest first; at most [`limits::CATCH_UP_BATCH`].
    pub(super) fires: Vec<Timestamp>,
    /// How many due times are passed over for good, as far as they are counted.
    pub(super) missed: usize,
    /// What comes next; `None` when nothing does.
    pub(super) next: Option<Due>,
}

impl Schedule {
    /// Finds what cannot be seen while it is put together.
    pub(super) fn check(&self) -> Result<()> {
        if let Timing::Every { period, .. } = &self.timing
            && !(limits::SCHEDULE_PERIOD_MIN..=limits::SCHEDULE_PERIOD_MAX).contains(period)
        {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the schedule's period is out of range")
                    .with("field", "every")
                    .with("value", format_args!("{period:?}"))
                    .with("min", format_args!("{:?}", limits::SCHEDULE_PERIOD_MIN))
                    .with("max", format_args!("{:?}", limits::SCHEDULE_PERIOD_MAX)),
            );
        }
        if self.jitter > limits::SCHEDULE_JITTER_MAX {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the schedule's jitter is out of range")
                    .with("field", "jitter")
                    .with("value", format_args!("{:?}", self.jitter))
                    .with("max", format_args!("{:?}", limits::SCHEDULE_JITTER_MAX)),
            );
        }
        if let CatchUp::All { at_most } = self.catch_up
            && !(1..=limits::CATCH_UP_MAX).contains(&at_most)
        {
            return Err(
                Error::new(ErrorKind::InvalidInput, "so many missed times are not made up for")
                    .with("field", "catch_up")
                    .with("value", at_most)
                    .with("min", 1)
                    .with("max", limits::CATCH_UP_MAX),
            );
        }
        Ok(())
    }

    fn times(&self) -> Result<Times<'_>> {
        Ok(match &self.timing {
            Timing::Cron { cron, zone } => Times::Cron {
                cron,
                local: zone.resolve()?,
            },
            Timing::Every { period, anchor } => Times::Every {
                period: *period,
                anchor: *anchor,
            },
            Timing::Once(at) => Times::Once(*at),
        })
    }

    /// What a schedule that comes into being at `now` waits for. A single time may lie in the past.
    ///
    /// # Errors
    /// `invalid-input` when this machine does not know the time zone.
    pub(super) fn first(&self, name: &str, now: Timestamp) -> Result<Option<Due>> {
        let times = self.times()?;
        let at = match times {
            Times::Once(at) => Some(at),
            Times::Cron { .. } | Times::Every { .. } => times.next(now),
        };
        Ok(at.map(|at| self.due(&times, name, at)))
    }

    /// What comes after `now`, whatever has been before.
    ///
    /// # Errors
    /// As [`Schedule::first`].
    pub(super) fn next(&self, name: &str, now: Timestamp) -> Result<Option<Due>> {
        let times = self.times()?;
        Ok(times.next(now).map(|at| self.due(&times, name, at)))
    }

    /// What to do at `now` when `due` was waited for.
    ///
    /// # Errors
    /// As [`Schedule::first`].
    pub(super) fn decide(&self, name: &str, due: Timestamp, now: Timestamp) -> Result<Decision> {
        let times = self.times()?;
        let waited_for = self.due(&times, name, due);
        if waited_for.fire_at > now {
            return Ok(Decision {
                next: Some(waited_for),
                ..Decision::default()
            });
        }
        // The time that was waited for has been announced, so it counts even when the zone's rules were changed since.
        let mut newest = times.last(now).filter(|last| *last > due).unwrap_or(due);
        // Each fires before the next falls due: only the newest may have to wait for its jitter.
        if newest > due && self.due(&times, name, newest).fire_at > now {
            newest = before(&times, newest).filter(|last| *last > due).unwrap_or(due);
        }
        let wanted = match self.catch_up {
            CatchUp::Skip if now.since(self.due(&times, name, newest).fire_at) > limits::MISSED_AFTER => 0,
            CatchUp::Skip | CatchUp::Latest => 1,
            CatchUp::All { at_most } => at_most as usize,
        };
        let mut fires = Vec::new();
        let mut missed = 0;
        let mut passed = newest;
        loop {
            if fires.len() < wanted {
                fires.push(passed);
            } else {
                missed += 1;
            }
            if fires.len() + missed > limits::CATCH_UP_MAX as usize || passed <= due {
                break;
            }
            passed = before(&times, passed).map_or(due, |earlier| earlier.max(due));
        }
        fires.reverse();
        let left = fires.split_off(fires.len().min(limits::CATCH_UP_BATCH));
        let next = left.first().copied().or_else(|| times.next(newest));
        Ok(Decision {
            fires,
            missed,
            next: next.map(|at| self.due(&times, name, at)),
        })
    }

    /// Every process comes to the same delay, and a due time to the same one however often it is asked for. It ends before
    /// the next due time: what is late never overtakes.
    fn due(&self, times: &Times<'_>, name: &str, at: Timestamp) -> Due {
        let room = times.next(at).map_or(Duration::MAX, |next| next.since(at));
        let most = u64::try_from(self.jitter.min(room).as_micros()).unwrap_or(u64::MAX);
        let delay = match most {
            0 => 0,
            most => fingerprint(format!("{name}@{at}").as_bytes()) % most,
        };
        Due {
            at,
            fire_at: at + Duration::from_micros(delay),
        }
    }
}

/// The due time before this one.
fn before(times: &Times<'_>, at: Timestamp) -> Option<Timestamp> {
    times.last(at - Duration::from_micros(1))
}
