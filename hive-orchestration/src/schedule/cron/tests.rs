use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use hive_errors::ErrorKind;
use jiff::ToSpan as _;
use jiff::civil::{Weekday, date};
use proptest::prelude::*;

use super::*;

fn cron(text: &str) -> Cron {
    text.parse().unwrap()
}

/// The next times after a moment, one a line.
fn check(text: &str, from: &str, expected: Expect) {
    let cron = cron(text);
    let mut at: DateTime = from.parse().unwrap();
    let mut lines = String::new();
    for _ in 0..4 {
        let Some(found) = cron.at_or_after(at) else {
            lines += "never\n";
            break;
        };
        lines += &found.strftime("%Y-%m-%d %H:%M:%S %a\n").to_string();
        at = found + 1.second();
    }
    expected.assert_eq(&lines);
}

#[test]
fn times() {
    check(
        "*/20 9-17/4 * * *",
        "2026-01-01T13:41:00",
        expect![[r#"
            2026-01-01 17:00:00 Thu
            2026-01-01 17:20:00 Thu
            2026-01-01 17:40:00 Thu
            2026-01-02 09:00:00 Fri
        "#]],
    );
    check(
        "50/5 59 23 31 dec ?",
        "2026-01-01T00:00:00",
        expect![[r#"
            2026-12-31 23:59:50 Thu
            2026-12-31 23:59:55 Thu
            2027-12-31 23:59:50 Fri
            2027-12-31 23:59:55 Fri
        "#]],
    );
    check(
        "0 12 * * mon-fri",
        "2026-01-02T12:00:01",
        expect![[r#"
            2026-01-05 12:00:00 Mon
            2026-01-06 12:00:00 Tue
            2026-01-07 12:00:00 Wed
            2026-01-08 12:00:00 Thu
        "#]],
    );
}

#[test]
fn days() {
    // Either field of days, when both say something.
    check(
        "0 0 13 * FRI",
        "2026-02-01T00:00:00",
        expect![[r#"
            2026-02-06 00:00:00 Fri
            2026-02-13 00:00:00 Fri
            2026-02-20 00:00:00 Fri
            2026-02-27 00:00:00 Fri
        "#]],
    );
    check(
        "0 0 L,L-1 2 *",
        "2027-01-01T00:00:00",
        expect![[r#"
            2027-02-27 00:00:00 Sat
            2027-02-28 00:00:00 Sun
            2028-02-28 00:00:00 Mon
            2028-02-29 00:00:00 Tue
        "#]],
    );
    // A Saturday that is the 1st and a Sunday that is the last day stay in their month.
    check(
        "0 0 1W 8 *",
        "2026-01-01T00:00:00",
        expect![[r#"
            2026-08-03 00:00:00 Mon
            2027-08-02 00:00:00 Mon
            2028-08-01 00:00:00 Tue
            2029-08-01 00:00:00 Wed
        "#]],
    );
    check(
        "0 0 31W,LW 5 *",
        "2026-01-01T00:00:00",
        expect![[r#"
            2026-05-29 00:00:00 Fri
            2027-05-31 00:00:00 Mon
            2028-05-31 00:00:00 Wed
            2029-05-31 00:00:00 Thu
        "#]],
    );
    check(
        "0 0 * * MON#2,5L,7#1",
        "2026-03-01T00:00:00",
        expect![[r#"
            2026-03-01 00:00:00 Sun
            2026-03-09 00:00:00 Mon
            2026-03-27 00:00:00 Fri
            2026-04-05 00:00:00 Sun
        "#]],
    );
    // Rare, but not never.
    check(
        "0 0 ? 2 MON#5",
        "2026-01-01T00:00:00",
        expect![[r#"
            2044-02-29 00:00:00 Mon
            2072-02-29 00:00:00 Mon
            2112-02-29 00:00:00 Mon
            2140-02-29 00:00:00 Mon
        "#]],
    );
}

#[test]
fn at_the_end_of_the_calendar_there_is_nothing_more() {
    check(
        "0 0 1 1 *",
        "9998-06-01T00:00:00",
        expect![[r#"
        9999-01-01 00:00:00 Fri
        never
    "#]],
    );
    assert_eq!(
        cron("0 0 1 1 *").at_or_before(date(-9999, 1, 1).at(0, 0, 0, 0)),
        Some(date(-9999, 1, 1).at(0, 0, 0, 0))
    );
    assert_eq!(cron("0 0 2 1 *").at_or_before(date(-9999, 1, 1).at(0, 0, 0, 0)), None);
}

#[test]
fn short_forms() {
    for (short, long) in [
        ("@yearly", "0 0 1 1 *"),
        ("@ANNUALLY", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        (" @midnight ", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("0 0 * * SUN", "0 0 * * 7"),
        ("0 0 * * FRI-SUN", "0 0 * * 0,5,6"),
        ("\t0  0 ? * *", "0 0 0 * * *"),
        ("*/1 */1 * * 0-7", "* * * * 0-6"),
    ] {
        let (short, long) = (cron(short), cron(long));
        assert_eq!(
            (short.seconds, short.minutes, short.hours, short.months, &short.days),
            (long.seconds, long.minutes, long.hours, long.months, &long.days),
            "{short:?} {long:?}"
        );
    }
}

#[test]
fn mistakes_name_the_field_and_the_place() {
    let mut lines = String::new();
    for text in [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * FUNDAY",
        "* * * JAN-MON *",
        "5-1 * * * *",
        "1,,2 * * * *",
        "1, * * * *",
        "*/0 * * * *",
        "*/90 * * * *",
        "* */24 * * *",
        "*/ * * * *",
        "1-2-3 * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "1.5 * * * *",
        "* * 1-15W * *",
        "* * L-31 * *",
        "* * * * MON#6",
        "* * * * L",
        "é * * * *",
        "0 é * * *",
        "0 0 31 2 *",
        "0 0 30 2 ?",
        "@reboot",
        "99999999999999999999 * * * *",
    ] {
        let error = text.parse::<Cron>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let field = |name| error.field(name).unwrap_or("-").to_owned();
        lines += &format!(
            "{text:<30} {} at {}: {}\n",
            field("field"),
            field("position"),
            field("value")
        );
    }
    expect![[r#"
                                       - at -: -
        * * * *                        - at -: -
        * * * * * * *                  - at -: -
        60 * * * *                     minute at 1: 60
        * 24 * * *                     hour at 3: 24
        * * 0 * *                      day of month at 5: 0
        * * 32 * *                     day of month at 5: 32
        * * * 13 *                     month at 7: 13
        * * * * 8                      day of week at 9: 8
        * * * * FUNDAY                 day of week at 9: FUNDAY
        * * * JAN-MON *                month at 11: MON
        5-1 * * * *                    minute at 1: 5-1
        1,,2 * * * *                   minute at 3: 
        1, * * * *                     minute at 3: 
        */0 * * * *                    minute at 3: 0
        */90 * * * *                   minute at 3: 90
        * */24 * * *                   hour at 5: 24
        */ * * * *                     minute at 3: 
        1-2-3 * * * *                  minute at 3: 2-3
        -1 * * * *                     minute at 1: 
        +1 * * * *                     minute at 1: +1
        1.5 * * * *                    minute at 1: 1.5
        * * 1-15W * *                  day of month at 5: 1-15
        * * L-31 * *                   day of month at 7: 31
        * * * * MON#6                  day of week at 13: 6
        * * * * L                      day of week at 9: 
        é * * * *                      minute at 1: é
        0 é * * *                      hour at 3: é
        0 0 31 2 *                     day of month at 5: 31
        0 0 30 2 ?                     day of month at 5: 30
        @reboot                        - at 1: -
        99999999999999999999 * * * *   minute at 1: 99999999999999999999
    "#]]
    .assert_eq(&lines);
    assert!("*".repeat(300).parse::<Cron>().is_err());
}

proptest! {
    /// Whatever somebody types, it is an answer and no panic.
    #[test]
    fn any_text_is_an_expression_or_an_error(text in "[0-9*/,#LWlw?@ A-Z-]{0,24}|\\PC{0,40}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert!(cron.at_or_after(date(2026, 1, 1).at(0, 0, 0, 0)).is_some());
        }
    }

    /// Against a walk over every minute with a reading of its own.
    #[test]
    fn as_a_walk_over_every_minute(sample in sample(), start in 0..20_000_i32, minute in 0..1_440_i32) {
        let cron = cron(&sample.text);
        let start = (date(1995, 1, 1) + start.days()).at(0, 0, 0, 0) + minute.minutes();
        let days = (0..9_i32).map(|day| start.date() + day.days()).filter(|day| sample.allows_day(*day));
        let minutes = (0..1_440_i32).map(|minute| minute.minutes());
        let every = days.flat_map(|day| minutes.clone().map(move |minute| day.at(0, 0, 0, 0) + minute));
        let end = start + (8 * 1_440).minutes();
        let walk: Vec<DateTime> = every.filter(|at| sample.allows_time(*at) && (start..end).contains(at)).collect();

        let mut forwards = Vec::new();
        let mut at = start;
        while let Some(found) = cron.at_or_after(at).filter(|found| *found < end) {
            forwards.push(found);
            at = found + 1.second();
        }
        prop_assert_eq!(&forwards, &walk, "{}", sample.text);

        let mut backwards = Vec::new();
        let mut at = end - 1.second();
        while let Some(found) = cron.at_or_before(at).filter(|found| *found >= start) {
            backwards.push(found);
            at = found - 1.second();
        }
        backwards.reverse();
        prop_assert_eq!(&backwards, &walk, "{}", sample.text);
    }

    /// Far away too, where a walk would take too long: nothing lies between a time and the one before it.
    #[test]
    fn there_and_back(sample in sample(), days in 0..40_000_i32) {
        let cron = cron(&sample.text);
        let start = (date(1950, 1, 1) + days.days()).at(12, 34, 56, 0);
        let next = cron.at_or_after(start);
        if let Some(next) = next {
            prop_assert!(sample.allows(next));
            prop_assert_eq!(cron.at_or_before(next), Some(next));
            let before = cron.at_or_before(next - 1.second());
            prop_assert!(before.is_none_or(|before| before < start));
        }
    }
}

/// An expression, and what it means by a reading of its own.
#[derive(Clone, Debug)]
struct Sample {
    text: String,
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    months: BTreeSet<i8>,
    of_month: Vec<OfMonth>,
    of_week: Vec<OfWeek>,
}

#[derive(Clone, Debug)]
enum OfMonth {
    Number(i8),
    FromEnd(i8),
    Nearest(i8),
    LastWorking,
}

#[derive(Clone, Debug)]
enum OfWeek {
    Every(i8),
    Nth(i8, i8),
    Last(i8),
}

impl Sample {
    fn allows(&self, at: DateTime) -> bool {
        self.allows_day(at.date()) && self.allows_time(at)
    }

    fn allows_time(&self, at: DateTime) -> bool {
        at.second() == 0 && self.minutes.contains(&at.minute()) && self.hours.contains(&at.hour())
    }

    fn allows_day(&self, day: Date) -> bool {
        let of_month = || self.of_month.iter().any(|rule| rule.date(day) == Some(day));
        let of_week = || self.of_week.iter().any(|rule| rule.allows(day));
        let days = match (self.of_month.is_empty(), self.of_week.is_empty()) {
            (true, true) => true,
            (false, true) => of_month(),
            (true, false) => of_week(),
            (false, false) => of_month() || of_week(),
        };
        days && self.months.contains(&day.month())
    }
}

fn works(day: &Date) -> bool {
    (1..=5).contains(&day.weekday().to_monday_one_offset())
}

impl OfMonth {
    /// The day that is meant in the month of `day`.
    fn date(&self, day: Date) -> Option<Date> {
        let month: Vec<Date> = day
            .first_of_month()
            .series(1.day())
            .take_while(|at| at.month() == day.month())
            .collect();
        match self {
            Self::Number(number) => month.get(*number as usize - 1).copied(),
            Self::FromEnd(before) => month.iter().rev().nth(*before as usize).copied(),
            Self::LastWorking => month.iter().rev().find(|day| works(day)).copied(),
            Self::Nearest(number) => {
                let asked = *month.get(*number as usize - 1)?;
                // Of two as near, there is none: a Saturday is a day from Friday and two from Monday.
                let distance = |day: &&Date| (i32::from(day.day()) - i32::from(asked.day())).abs();
                month.iter().filter(|day| works(day)).min_by_key(distance).copied()
            }
        }
    }
}

impl OfWeek {
    fn allows(&self, day: Date) -> bool {
        let weekday = |number: &i8| Weekday::from_sunday_zero_offset(*number).unwrap();
        match self {
            Self::Every(number) => day.weekday() == weekday(number),
            Self::Nth(number, nth) => day
                .nth_weekday_of_month(*nth, weekday(number))
                .is_ok_and(|found| found == day),
            Self::Last(number) => day.nth_weekday_of_month(-1, weekday(number)).unwrap() == day,
        }
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    let minutes = field(0, 59);
    let hours = field(0, 23);
    let months = prop_oneof![3 => Just(("*".to_owned(), (1..=12).collect())), 1 => field(1, 12)];
    let day = prop_oneof![
        4 => (1..=31_i8).prop_map(OfMonth::Number),
        2 => (0..=30_i8).prop_map(OfMonth::FromEnd),
        2 => (1..=31_i8).prop_map(OfMonth::Nearest),
        1 => Just(OfMonth::LastWorking),
    ];
    let weekday = prop_oneof![
        3 => (0..=6_i8).prop_map(OfWeek::Every),
        2 => (0..=6_i8, 1..=5_i8).prop_map(|(weekday, nth)| OfWeek::Nth(weekday, nth)),
        1 => (0..=6_i8).prop_map(OfWeek::Last),
    ];
    let of_month = proptest::collection::vec(day, 0..3);
    let of_week = proptest::collection::vec(weekday, 0..3);
    (minutes, hours, of_month, months, of_week)
        .prop_map(|(minutes, hours, of_month, months, of_week)| {
            let text = [
                minutes.0,
                hours.0,
                list(of_month.iter().map(|rule| match rule {
                    OfMonth::Number(number) => number.to_string(),
                    OfMonth::FromEnd(0) => "L".to_owned(),
                    OfMonth::FromEnd(before) => format!("L-{before}"),
                    OfMonth::Nearest(number) => format!("{number}W"),
                    OfMonth::LastWorking => "LW".to_owned(),
                })),
                months.0,
                list(of_week.iter().map(|rule| match rule {
                    OfWeek::Every(number) => number.to_string(),
                    OfWeek::Nth(number, nth) => format!("{number}#{nth}"),
                    OfWeek::Last(number) => format!("{number}L"),
                })),
            ]
            .join(" ");
            Sample {
                text,
                minutes: minutes.1,
                hours: hours.1,
                months: months.1,
                of_month,
                of_week,
            }
        })
        .prop_filter("no date matches", |sample| sample.text.parse::<Cron>().is_ok())
}

fn list(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        "*".to_owned()
    } else {
        parts.join(",")
    }
}

fn field(least: i8, most: i8) -> impl Strategy<Value = (String, BTreeSet<i8>)> {
    let every = || (least..=most).collect::<BTreeSet<i8>>();
    let step = 1..=(most - least);
    let part = prop_oneof![
        (least..=most).prop_map(|number| (number.to_string(), BTreeSet::from([number]))),
        (least..=most, least..=most, step.clone()).prop_map(|(a, b, step)| {
            let (from, upto) = (a.min(b), a.max(b));
            let set = (from..=upto).filter(|number| (number - from) % step == 0).collect();
            (format!("{from}-{upto}/{step}"), set)
        }),
        (least..=most, step).prop_map(move |(from, step)| {
            let set = (from..=most).filter(|number| (number - from) % step == 0).collect();
            (format!("{from}/{step}"), set)
        }),
    ];
    let lists = proptest::collection::vec(part, 1..3).prop_map(|parts| {
        let text = parts
            .iter()
            .map(|(text, _)| text.as_str())
            .collect::<Vec<_>>()
            .join(",");
        (text, parts.into_iter().flat_map(|(_, set)| set).collect())
    });
    prop_oneof![1 => Just(("*".to_owned(), every())), 3 => lists]
}
