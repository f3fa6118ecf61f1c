use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;

fn local(zone: &str) -> Local {
    Zone::new(zone).unwrap().resolve().unwrap()
}

/// The next due times in the zone's own words.
fn check(text: &str, zone: &str, after: &str, expected: Expect) {
    let (cron, local): (Cron, Local) = (text.parse().unwrap(), local(zone));
    let mut at: Timestamp = after.parse().unwrap();
    let mut lines = String::new();
    for _ in 0..4 {
        at = local.next(&cron, at).unwrap();
        lines += &moment(at)
            .unwrap()
            .to_zoned(local.0.clone())
            .strftime("%m-%d %H:%M:%S %:z\n")
            .to_string();
    }
    expected.assert_eq(&lines);
}

#[test]
fn a_time_that_does_not_exist_is_made_up_for_when_the_clock_goes_on() {
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        expect![[r#"
        03-28 02:30:00 +01:00
        03-29 03:00:00 +02:00
        03-30 02:30:00 +02:00
        03-31 02:30:00 +02:00
    "#]],
    );
    check(
        "*/15 0-4/2 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        expect![[r#"
        03-29 03:00:00 +02:00
        03-29 04:00:00 +02:00
        03-29 04:15:00 +02:00
        03-29 04:30:00 +02:00
    "#]],
    );
    // At midnight.
    check(
        "0 0 * * *",
        "Africa/Cairo",
        "2026-04-22T12:00:00Z",
        expect![[r#"
        04-23 00:00:00 +02:00
        04-24 01:00:00 +03:00
        04-25 00:00:00 +03:00
        04-26 00:00:00 +03:00
    "#]],
    );
    // Half an hour.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-02T00:00:00Z",
        expect![[r#"
        10-03 02:15:00 +10:30
        10-04 02:30:00 +11:00
        10-05 02:15:00 +11:00
        10-06 02:15:00 +11:00
    "#]],
    );
    // A whole day.
    check(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-28T00:00:00Z",
        expect![[r#"
        12-28 12:00:00 -10:00
        12-29 12:00:00 -10:00
        12-31 00:00:00 +14:00
        12-31 12:00:00 +14:00
    "#]],
    );
}

#[test]
fn a_time_that_comes_twice_is_due_at_the_first() {
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T00:00:00Z",
        expect![[r#"
        10-24 02:30:00 +02:00
        10-25 02:30:00 +02:00
        10-26 02:30:00 +01:00
        10-27 02:30:00 +01:00
    "#]],
    );
    check(
        "*/20 1-2 * * *",
        "Europe/Berlin",
        "2026-10-25T00:00:00Z",
        expect![[r#"
        10-25 02:20:00 +02:00
        10-25 02:40:00 +02:00
        10-26 01:00:00 +01:00
        10-26 01:20:00 +01:00
    "#]],
    );
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-03T00:00:00Z",
        expect![[r#"
        04-04 01:45:00 +11:00
        04-05 01:45:00 +11:00
        04-06 01:45:00 +10:30
        04-07 01:45:00 +10:30
    "#]],
    );
}

#[test]
fn what_is_due_every_hour_goes_on_as_time_does() {
    check(
        "30 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        expect![[r#"
        03-29 01:30:00 +01:00
        03-29 03:30:00 +02:00
        03-29 04:30:00 +02:00
        03-29 05:30:00 +02:00
    "#]],
    );
    check(
        "30 * * * *",
        "Europe/Berlin",
        "2026-10-24T23:50:00Z",
        expect![[r#"
        10-25 02:30:00 +02:00
        10-25 02:30:00 +01:00
        10-25 03:30:00 +01:00
        10-25 04:30:00 +01:00
    "#]],
    );
    check(
        "@hourly",
        "Asia/Kathmandu",
        "2026-01-01T00:00:00Z",
        expect![[r#"
        01-01 06:00:00 +05:45
        01-01 07:00:00 +05:45
        01-01 08:00:00 +05:45
        01-01 09:00:00 +05:45
    "#]],
    );
}

#[test]
fn zones_that_are_none_are_refused() {
    for name in [
        "",
        "Europe/Atlantis",
        "../../etc/passwd",
        "/etc/localtime",
        &"x".repeat(1_000),
        "Europe\0Berlin",
    ] {
        let error = Zone::new(name).unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::InvalidInput, Some("zone")),
            "{name}"
        );
    }
    assert!(Zone::new("UTC").is_ok());
}

#[test]
fn beyond_the_calendar_there_is_nothing() {
    let (cron, local): (Cron, Local) = ("0 0 1 1 *".parse().unwrap(), local("Europe/Berlin"));
    assert_eq!(local.next(&cron, Timestamp::MAX), None);
    assert_eq!(local.last(&cron, Timestamp::MIN), None);
    let hourly: Cron = "@hourly".parse().unwrap();
    assert_eq!(local.next(&hourly, Timestamp::MAX), None);
    assert_eq!(local.last(&hourly, Timestamp::MIN), None);
}

/// Where clocks are changed in one way or another, and a moment before they are.
const CHANGES: [(&str, &str); 14] = [
    ("UTC", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-03-07T12:00:00Z"),
    ("America/New_York", "2026-10-31T12:00:00Z"),
    // At midnight, forwards and back.
    ("Africa/Cairo", "2026-04-23T00:00:00Z"),
    ("Africa/Cairo", "2026-10-29T00:00:00Z"),
    ("America/Sao_Paulo", "2017-10-14T00:00:00Z"),
    // Half an hour.
    ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-02T12:00:00Z"),
    // A day that never was.
    ("Pacific/Apia", "2011-12-29T00:00:00Z"),
    // Ramadan.
    ("Africa/Casablanca", "2026-02-14T12:00:00Z"),
    ("Africa/Casablanca", "2026-03-21T12:00:00Z"),
    ("Asia/Kathmandu", "1985-12-31T00:00:00Z"),
];

/// Lives through three days minute by minute, a day ahead so that it knows what has been.
fn walk(cron: &Cron, local: &Local, start: jiff::Timestamp) -> Vec<Timestamp> {
    let mut seen = BTreeSet::new();
    let mut due = Vec::new();
    let mut before = local.0.to_datetime(start - 25.hours());
    for minute in -24 * 60..72 * 60_i64 {
        let at = start + minute.minutes();
        let shown = local.0.to_datetime(at);
        let allowed = |shown| cron.at_or_after(shown) == Some(shown);
        let first = seen.insert(shown);
        let fires = if cron.is_hourly() {
            allowed(shown)
        } else {
            let mut jumped_over = before + 1.minute();
            let mut made_up_for = false;
            while jumped_over < shown {
                made_up_for |= minute > -24 * 60 && allowed(jumped_over);
                jumped_over += 1.minute();
            }
            made_up_for || (first && allowed(shown))
        };
        if fires && minute >= 0 {
            due.push(timestamp(at).unwrap());
        }
        before = shown;
    }
    due
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn as_a_life_through_every_minute(
        change in 0..CHANGES.len(),
        minutes in prop_oneof![Just("*"), Just("0"), Just("*/15"), Just("7,30,59"), Just("20-40/10")],
        hours in prop_oneof![Just("*"), Just("0"), Just("1-3"), Just("2"), Just("0,2,23"), Just("*/2"), Just("12")],
        days in prop_oneof![Just("* * *"), Just("* * SUN"), Just("1,25,29,30 * *"), Just("L * *")],
        pause in (0..600_000_000_u64).prop_map(std::time::Duration::from_micros),
    ) {
        let (zone, start) = CHANGES[change];
        let (cron, local): (Cron, Local) = (format!("{minutes} {hours} {days}").parse().unwrap(), local(zone));
        let start: jiff::Timestamp = start.parse().unwrap();
        let walk = walk(&cron, &local, start);
        let (first, end) = (timestamp(start).unwrap(), timestamp(start + 72.hours()).unwrap());

        let mut forwards = Vec::new();
        let mut at = Timestamp::from_micros(first.as_micros() - 1);
        while let Some(found) = local.next(&cron, at).filter(|found| *found < end) {
            prop_assert!(found > at);
            forwards.push(found);
            at = found;
        }
        prop_assert_eq!(&forwards, &walk, "{:?} in {}", cron, zone);

        let mut backwards = Vec::new();
        let mut at = Timestamp::from_micros(end.as_micros() - 1);
        while let Some(found) = local.last(&cron, at).filter(|found| *found >= first) {
            prop_assert!(found <= at);
            backwards.push(found);
            at = Timestamp::from_micros(found.as_micros() - 1);
        }
        backwards.reverse();
        prop_assert_eq!(&backwards, &walk, "{:?} in {}", cron, zone);

        // Asked at any moment, not only at a due time.
        for step in 0..72 * 6 {
            let asked = first + step * std::time::Duration::from_mins(10) + pause;
            let (before, after) = walk.split_at(walk.partition_point(|at| *at <= asked));
            let last = local.last(&cron, asked).filter(|found| *found >= first);
            prop_assert_eq!(last, before.last().copied(), "{:?} in {} at {}", cron, zone, asked);
            let next = local.next(&cron, asked).filter(|found| *found < end);
            prop_assert_eq!(next, after.first().copied(), "{:?} in {} at {}", cron, zone, asked);
        }
    }
}
