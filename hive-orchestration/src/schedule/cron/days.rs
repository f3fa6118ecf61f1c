//! The two fields of a cron expression that speak of days.

use jiff::civil::{Date, Weekday};

use super::{Bits, has};

/// Which days of the months that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Days {
    /// `None` for `*`.
    pub(super) of_month: Option<OfMonth>,
    /// `None` for `*`.
    pub(super) of_week: Option<OfWeek>,
}

/// The field of days of the month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfMonth {
    /// Days by their number.
    pub(super) numbers: Bits,
    /// Days by how many others the month has after them, `L` and `L-3`.
    pub(super) from_end: Bits,
    /// Days whose nearest working day is meant, `15W`.
    pub(super) nearest: Bits,
    /// The last working day, `LW`.
    pub(super) last_working: bool,
}

/// The field of days of the week. Sunday is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfWeek {
    /// Each of them.
    pub(super) every: Bits,
    /// The first of them in the month, the second, and so on, `MON#2`.
    pub(super) nth: [Bits; 5],
    /// The last of them in the month, `5L`.
    pub(super) last: Bits,
}

impl Days {
    /// When both fields say something, a day that either allows is allowed, as in cron from its beginning.
    pub(super) fn allow(&self, date: Date) -> bool {
        match (&self.of_month, &self.of_week) {
            (None, None) => true,
            (Some(of_month), None) => of_month.allow(date),
            (None, Some(of_week)) => of_week.allow(date),
            (Some(of_month), Some(of_week)) => of_month.allow(date) || of_week.allow(date),
        }
    }
}

impl OfMonth {
    fn allow(&self, date: Date) -> bool {
        has(self.numbers, date.day())
            || has(self.from_end, date.days_in_month() - date.day())
            || (is_working(date.weekday()) && (self.is_nearest(date) || (self.last_working && is_last_working(date))))
    }

    /// Whether `date`, a working day, is the nearest one to a day that is asked for. The month is not left: for a
    /// Saturday that is the 1st it is Monday the 3rd, for a Sunday that is the last day the Friday before.
    fn is_nearest(&self, date: Date) -> bool {
        let (day, days) = (date.day(), date.days_in_month());
        let asked = |number: i8| (1..=days).contains(&number) && has(self.nearest, number);
        if asked(day) {
            return true;
        }
        match date.weekday() {
            // Saturday's stand-in; Sunday's too when the month ends with it.
            Weekday::Friday => asked(day + 1) || (day + 2 == days && asked(days)),
            // Sunday's; Saturday's too when the month begins with it.
            Weekday::Monday => asked(day - 1) || (day == 3 && asked(1)),
            Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Saturday | Weekday::Sunday => false,
        }
    }
}

impl OfWeek {
    fn allow(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let nth = usize::try_from((date.day() - 1) / 7).unwrap_or(0);
        has(self.every, weekday)
            || self.nth.get(nth).is_some_and(|nth| has(*nth, weekday))
            || (date.day() + 7 > date.days_in_month() && has(self.last, weekday))
    }
}

fn is_working(weekday: Weekday) -> bool {
    !matches!(weekday, Weekday::Saturday | Weekday::Sunday)
}

/// Whether no working day follows in the month.
fn is_last_working(date: Date) -> bool {
    let after = date.days_in_month() - date.day();
    after == 0 || (date.weekday() == Weekday::Friday && after <= 2)
}
