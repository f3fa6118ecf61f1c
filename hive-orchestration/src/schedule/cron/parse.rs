//! From text to a [`Cron`].

use hive_errors::{Error, ErrorKind, Result};
use jiff::civil::Date;

use super::days::{Days, OfMonth, OfWeek};
use super::{Bits, Cron, bit, range};
use crate::limits;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What one field may hold.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    least: i8,
    most: i8,
    /// What may stand for numbers, from `least` on.
    names: &'static [&'static str],
}

const SECOND: Field = Field::numbers("second", 0, 59);
const MINUTE: Field = Field::numbers("minute", 0, 59);
const HOUR: Field = Field::numbers("hour", 0, 23);
const DAY_OF_MONTH: Field = Field::numbers("day of month", 1, 31);
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &MONTHS,
};
/// 7 is Sunday as well.
const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    least: 0,
    most: 7,
    names: &WEEKDAYS,
};

impl Field {
    const fn numbers(name: &'static str, least: i8, most: i8) -> Self {
        Self {
            name,
            least,
            most,
            names: &[],
        }
    }
}

/// A piece of the expression, where it stands in it, and which field it belongs to.
#[derive(Clone, Copy)]
struct Part<'a> {
    whole: &'a str,
    text: &'a str,
    at: usize,
    field: Field,
}

impl<'a> Part<'a> {
    fn cut(self, from: usize, upto: usize) -> Self {
        Self {
            text: self.text.get(from..upto).unwrap_or_default(),
            at: self.at + from,
            ..self
        }
    }

    /// The pieces between `separator`s.
    fn split(self, separator: char) -> impl Iterator<Item = Self> {
        let mut from = 0;
        self.text.split(separator).map(move |piece| {
            let part = self.cut(from, from + piece.len());
            from += piece.len() + separator.len_utf8();
            part
        })
    }

    /// What stands before and after the first `separator`.
    fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let at = self.text.find(separator)?;
        Some((self.cut(0, at), self.cut(at + separator.len_utf8(), self.text.len())))
    }

    /// The part without `suffix`, whatever its case.
    fn strip(self, suffix: char) -> Option<Self> {
        let last = self.text.chars().next_back()?;
        let stripped = last.eq_ignore_ascii_case(&suffix);
        stripped.then(|| self.cut(0, self.text.len() - last.len_utf8()))
    }

    fn fault(self, message: &'static str) -> Error {
        let before = self.whole.get(..self.at).unwrap_or_default();
        fault(self.whole, message)
            .with("field", self.field.name)
            .with("position", before.chars().count() + 1)
            .with("value", format!("{:.40}", self.text.escape_debug()))
    }

    fn out_of_range(self) -> Error {
        self.fault("the value is not one that the field of the cron expression takes")
            .with_hint(format!(
                "the {} is from {} to {}{}",
                self.field.name,
                self.field.least,
                self.field.most,
                match self.field.names {
                    [first, .., last] => format!(", or {first} to {last}"),
                    _ => String::new(),
                }
            ))
    }

    /// A number or a name.
    fn value(self) -> Result<i8> {
        let named = (self.field.least..)
            .zip(self.field.names)
            .find(|(_, name)| name.eq_ignore_ascii_case(self.text));
        if let Some((number, _)) = named {
            return Ok(number);
        }
        self.number()
            .filter(|number| (self.field.least..=self.field.most).contains(number))
            .ok_or_else(|| self.out_of_range())
    }

    fn number(self) -> Option<i8> {
        // `parse` would also take a sign.
        let digits = !self.text.is_empty() && self.text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| self.text.parse().ok())?
    }

    fn is_any(self) -> bool {
        matches!(self.text, "*" | "?")
    }

    /// `*`, `7`, `2-5`, each with `/3` or without, and `7/3`, which is from 7 on.
    fn set(self) -> Result<Bits> {
        let (values, step) = match self.split_once('/') {
            Some((values, step)) => (values, Some(step)),
            None => (self, None),
        };
        let (first, last) = if values.is_any() {
            (self.field.least, self.field.most.min(self.field.highest()))
        } else if let Some((first, last)) = values.split_once('-') {
            self.between(first, last)?
        } else {
            let value = values.value()?;
            (
                value,
                if step.is_some() {
                    self.field.highest().max(value)
                } else {
                    value
                },
            )
        };
        let step = match step {
            Some(step) => step.step()?,
            None => 1,
        };
        Ok((first..=last).step_by(step).fold(0, |set, number| set | bit(number)))
    }

    fn between(self, first: Self, last: Self) -> Result<(i8, i8)> {
        let (from, mut upto) = (first.value()?, last.value()?);
        // Weeks may be written to end with Sunday.
        if self.field.names.len() == WEEKDAYS.len() && upto == 0 && from > 0 {
            upto = 7;
        }
        if from > upto {
            return Err(self
                .fault("the range runs backwards in the cron expression")
                .with_hint("write two ranges, as in `22-23,0-4`"));
        }
        Ok((from, upto))
    }

    fn step(self) -> Result<usize> {
        let most = self.field.highest() - self.field.least;
        match self.number() {
            Some(step @ 1..) if step <= most => Ok(usize::try_from(step).unwrap_or(1)),
            _ => Err(self
                .fault("the step is not one that the field of the cron expression takes")
                .with_hint(format!(
                    "from 1 to {most}; a cron step begins anew with each field: for any interval, use `Schedule::every`"
                ))),
        }
    }
}

impl Field {
    /// The highest number that is no other spelling of a lower one.
    fn highest(self) -> i8 {
        if self.names.len() == WEEKDAYS.len() {
            6
        } else {
            self.most
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Cron> {
    if text.len() > limits::CRON_BYTES {
        return Err(Error::new(ErrorKind::InvalidInput, "the cron expression is too long")
            .with("bytes", text.len())
            .with("limit_bytes", limits::CRON_BYTES));
    }
    let trimmed = text.trim();
    let fields = match nickname(trimmed)? {
        Some(meaning) => meaning,
        None => trimmed,
    };
    let mut words = words(fields);
    let second = match words.len() {
        5 => None,
        6 => Some(words.remove(0)),
        count => {
            return Err(fault(text, "the cron expression has not five or six fields")
                .with("fields", count)
                .with_hint(
                    "minute, hour, day of month, month, day of week; a field of seconds may stand before them",
                ));
        }
    };
    let &[minute, hour, day, month, weekday] = words.as_slice() else {
        return Err(fault(text, "the cron expression has not five or six fields"));
    };
    let part = |(at, text), field| Part {
        whole: fields,
        text,
        at,
        field,
    };
    let cron = Cron {
        text: trimmed.into(),
        seconds: match second {
            Some(second) => set(part(second, SECOND))?,
            None => bit(0),
        },
        minutes: set(part(minute, MINUTE))?,
        hours: set(part(hour, HOUR))?,
        days: Days {
            of_month: of_month(part(day, DAY_OF_MONTH))?,
            of_week: of_week(part(weekday, DAY_OF_WEEK))?,
        },
        months: set(part(month, MONTH))?,
    };
    // The calendar repeats itself, so it does not matter where one begins to look.
    if cron.at_or_after(Date::constant(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
        return Err(part(day, DAY_OF_MONTH)
            .fault("no date will ever match the cron expression")
            .with("month", month.1));
    }
    Ok(cron)
}

/// What the text with an `@` stands for; `None` for one without.
fn nickname(text: &str) -> Result<Option<&'static str>> {
    if !text.starts_with('@') {
        return Ok(None);
    }
    Ok(Some(match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            return Err(fault(text, "there is no such short form of a cron expression")
                .with("position", 1)
                .with_hint("@yearly, @monthly, @weekly, @daily or @hourly; for any interval, use `Schedule::every`"));
        }
    }))
}

/// Words with where they begin.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    for word in text.split(|char: char| char.is_ascii_whitespace()) {
        if !word.is_empty() {
            found.push((at, word));
        }
        at += word.len() + 1;
    }
    found
}

fn fault(whole: &str, message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, message).with("expression", format!("{:.256}", whole.escape_debug()))
}

/// A list.
fn set(field: Part<'_>) -> Result<Bits> {
    if field.is_any() {
        return Ok(range(field.field.least, field.field.most));
    }
    let mut all = 0;
    for part in field.split(',') {
        all |= part.set()?;
    }
    Ok(all)
}

fn of_month(field: Part<'_>) -> Result<Option<OfMonth>> {
    if field.is_any() {
        return Ok(None);
    }
    let mut days = OfMonth::default();
    for part in field.split(',') {
        if part.text.eq_ignore_ascii_case("L") {
            days.from_end |= bit(0);
        } else if part.text.eq_ignore_ascii_case("LW") {
            days.last_working = true;
        } else if let Some(("L" | "l", _)) = part.text.split_once('-') {
            let before = part.cut(2, part.text.len());
            match before.number() {
                Some(number @ 0..=30) => days.from_end |= bit(number),
                _ => {
                    return Err(before
                        .out_of_range()
                        .with_hint("`L-1` is the last day but one; at most `L-30`"));
                }
            }
        } else if let Some(day) = part.strip('W') {
            days.nearest |= bit(day.value()?);
        } else {
            days.numbers |= part.set()?;
        }
    }
    Ok(Some(days))
}

fn of_week(field: Part<'_>) -> Result<Option<OfWeek>> {
    if field.is_any() {
        return Ok(None);
    }
    let mut days = OfWeek::default();
    for part in field.split(',') {
        if let Some((weekday, nth)) = part.split_once('#') {
            let set = sunday_is_0(bit(weekday.value()?));
            let place = match nth.number() {
                _ if nth.text.eq_ignore_ascii_case("L") => Some(&mut days.last),
                Some(number @ 1..=5) => usize::try_from(number - 1)
                    .ok()
                    .and_then(|place| days.nth.get_mut(place)),
                _ => None,
            };
            let Some(place) = place else {
                return Err(nth
                    .out_of_range()
                    .with_hint("`MON#1` is the first Monday of the month, `MON#5` the fifth, `MON#L` the last"));
            };
            *place |= set;
        } else if let Some(weekday) = part.strip('L') {
            days.last |= sunday_is_0(bit(weekday.value()?));
        } else {
            days.every |= sunday_is_0(part.set()?);
        }
    }
    Ok(Some(days))
}

/// 7 becomes 0.
fn sunday_is_0(set: Bits) -> Bits {
    if set & bit(7) == 0 { set } else { set & !bit(7) | bit(0) }
}
