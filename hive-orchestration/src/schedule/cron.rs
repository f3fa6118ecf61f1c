//! Cron expressions on the calendar: which local times they allow. Knows no zones and no clock.

#[cfg(test)]
mod tests;

mod days;
mod parse;

use std::fmt;
use std::str::FromStr;

use hive_errors::{Error, Result};
use jiff::civil::{Date, DateTime, Time};

use self::days::Days;

/// After so many years the calendar repeats itself, weekdays included: what has not matched by then never does.
const CYCLE_YEARS: i16 = 400;

/// A set of small numbers, the bits that are set.
type Bits = u64;

/// A cron expression.
///
/// Two are equal when they were written alike.
#[derive(Clone)]
pub(super) struct Cron {
    text: Box<str>,
    seconds: Bits,
    minutes: Bits,
    hours: Bits,
    days: Days,
    months: Bits,
}

impl Cron {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it allows some time in every hour of a day that it allows.
    pub(super) fn is_hourly(&self) -> bool {
        self.hours == range(0, 23)
    }

    /// The first local time at or after `from` that it allows. `from` has whole seconds.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        if self.allows(from.date())
            && let Some(time) = self.time_at_or_after(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let first = self.time_at_or_after(Time::MIN)?;
        let last_year = from.year().saturating_add(CYCLE_YEARS);
        let mut date = from.date().tomorrow().ok()?;
        while date.year() <= last_year {
            if self.allows(date) {
                return Some(date.to_datetime(first));
            }
            date = if has(self.months, date.month()) {
                date.tomorrow().ok()?
            } else {
                date.last_of_month().tomorrow().ok()?
            };
        }
        None
    }

    /// The last local time at or before `upto` that it allows. `upto` has whole seconds.
    pub(super) fn at_or_before(&self, upto: DateTime) -> Option<DateTime> {
        if self.allows(upto.date())
            && let Some(time) = self.time_at_or_before(upto.time())
        {
            return Some(upto.date().to_datetime(time));
        }
        let last = self.time_at_or_before(Time::MAX)?;
        let first_year = upto.year().saturating_sub(CYCLE_YEARS);
        let mut date = upto.date().yesterday().ok()?;
        while date.year() >= first_year {
            if self.allows(date) {
                return Some(date.to_datetime(last));
            }
            date = if has(self.months, date.month()) {
                date.yesterday().ok()?
            } else {
                date.first_of_month().yesterday().ok()?
            };
        }
        None
    }

    fn allows(&self, date: Date) -> bool {
        has(self.months, date.month()) && self.days.allow(date)
    }

    fn time_at_or_after(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_after(self.seconds, second)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = at_or_after(self.minutes, minute + 1) {
                return time(hour, minute, at_or_after(self.seconds, 0)?);
            }
        }
        let hour = at_or_after(self.hours, hour + 1)?;
        time(hour, at_or_after(self.minutes, 0)?, at_or_after(self.seconds, 0)?)
    }

    fn time_at_or_before(&self, upto: Time) -> Option<Time> {
        let (hour, minute, second) = (upto.hour(), upto.minute(), upto.second());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_before(self.seconds, second)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = at_or_before(self.minutes, minute - 1) {
                return time(hour, minute, at_or_before(self.seconds, 59)?);
            }
        }
        let hour = at_or_before(self.hours, hour - 1)?;
        time(hour, at_or_before(self.minutes, 59)?, at_or_before(self.seconds, 59)?)
    }
}

fn time(hour: i8, minute: i8, second: i8) -> Option<Time> {
    Time::new(hour, minute, second, 0).ok()
}

impl FromStr for Cron {
    type Err = Error;

    /// # Errors
    /// `invalid-input`; the fields `expression`, `field`, `position` (in characters, from 1) and `value` say where.
    fn from_str(text: &str) -> Result<Self> {
        parse::parse(text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cron").field(&self.text).finish()
    }
}

/// The set of one number; none for one that is out of range.
fn bit(number: i8) -> Bits {
    u32::try_from(number)
        .ok()
        .and_then(|number| 1_u64.checked_shl(number))
        .unwrap_or(0)
}

fn has(set: Bits, number: i8) -> bool {
    set & bit(number) != 0
}

/// Every number from `first` to `last`.
fn range(first: i8, last: i8) -> Bits {
    (first..=last).fold(0, |set, number| set | bit(number))
}

fn at_or_after(set: Bits, from: i8) -> Option<i8> {
    let from = u32::try_from(from).unwrap_or(0);
    let left = set & u64::MAX.checked_shl(from)?;
    (left != 0).then(|| i8::try_from(left.trailing_zeros()).ok())?
}

fn at_or_before(set: Bits, upto: i8) -> Option<i8> {
    let above = u32::try_from(upto).ok()? + 1;
    let left = set & !u64::MAX.checked_shl(above).unwrap_or(0);
    (left != 0).then(|| i8::try_from(63 - left.leading_zeros()).ok())?
}
