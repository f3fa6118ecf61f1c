use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const NAME: &str = "nightly";

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn decide(schedule: &Schedule, due: Timestamp, now: Timestamp) -> Decision {
    schedule.decide(NAME, due, now).unwrap()
}

#[test]
fn nothing_is_early() {
    let schedule = Schedule::every(HOUR);
    let due = schedule.first(NAME, start()).unwrap().unwrap();
    assert_eq!(due.at, start() + HOUR);
    let early = Timestamp::from_micros(due.at.as_micros() - 1);
    assert_eq!(
        decide(&schedule, due.at, early),
        Decision {
            next: Some(due),
            ..Decision::default()
        }
    );
    assert_eq!(decide(&schedule, due.at, due.at).fires, [due.at]);
}

#[test]
fn an_interval_counts_from_its_anchor_in_both_directions() {
    let anchor = start() + MINUTE;
    let schedule = Schedule::every(HOUR).anchor(anchor).unwrap();
    let next = |now| schedule.next(NAME, now).unwrap().unwrap().at;
    assert_eq!(next(start()), anchor);
    assert_eq!(next(anchor), anchor + HOUR);
    assert_eq!(next(start() - 2 * HOUR), anchor - 2 * HOUR);
    assert_eq!(schedule.next(NAME, Timestamp::MAX).unwrap(), None);
}

#[test]
fn a_single_time_is_once() {
    let schedule = Schedule::once(start());
    for now in [start() - HOUR, start(), start() + HOUR] {
        assert_eq!(schedule.first(NAME, now).unwrap().unwrap().at, start());
    }
    let fired = decide(&schedule, start(), start() + HOUR);
    assert_eq!(
        (fired.fires.as_slice(), fired.missed, fired.next),
        ([start()].as_slice(), 0, None)
    );
    // Too late for one who does not want what is late.
    let skipped = decide(&schedule.catch_up(CatchUp::Skip), start(), start() + HOUR);
    assert_eq!((skipped.fires.len(), skipped.missed, skipped.next), (0, 1, None));
}

#[test]
fn what_was_missed_is_made_up_for_as_asked() {
    let schedule = Schedule::every(MINUTE);
    // Ten due times, the last of them ten seconds ago.
    let (due, now) = (start(), start() + 9 * MINUTE + Duration::from_secs(10));
    let minute = |minute| start() + minute * MINUTE;
    let next = Some(minute(10));
    let check = |catch_up, fires: Vec<Timestamp>, missed| {
        let decision = decide(&schedule.clone().catch_up(catch_up), due, now);
        assert_eq!((&decision.fires, decision.missed), (&fires, missed), "{catch_up:?}");
        assert_eq!(decision.next.map(|due| due.at), next);
    };
    check(CatchUp::Skip, vec![minute(9)], 9);
    check(CatchUp::Latest, vec![minute(9)], 9);
    check(CatchUp::All { at_most: 3 }, vec![minute(7), minute(8), minute(9)], 7);
    check(CatchUp::All { at_most: 1_000 }, (0..10).map(minute).collect(), 0);
    // An hourly one whose last is older than what counts as late.
    let hourly = Schedule::every(HOUR).catch_up(CatchUp::Skip);
    let decision = decide(&hourly, start(), start() + 2 * HOUR + limits::MISSED_AFTER + MINUTE);
    assert_eq!((decision.fires.len(), decision.missed), (0, 3));
}

#[test]
fn a_long_absence_costs_little() {
    let second = Duration::from_secs(1);
    for schedule in [Schedule::every(second), Schedule::cron("* * * * * *").unwrap()] {
        let now = start() + 20 * 365 * 24 * HOUR;
        let latest = decide(&schedule, start(), now);
        assert_eq!(
            (latest.fires.as_slice(), latest.missed),
            ([now].as_slice(), limits::CATCH_UP_MAX as usize)
        );
        let mut due = start();
        let mut fires = Vec::new();
        let all = schedule.catch_up(CatchUp::All {
            at_most: limits::CATCH_UP_MAX,
        });
        // In batches, and no more than what was asked for although it is asked again each time.
        loop {
            let decision = decide(&all, due, now);
            assert!(decision.fires.len() <= limits::CATCH_UP_BATCH);
            fires.extend(decision.fires);
            due = decision.next.unwrap().at;
            if due > now {
                break;
            }
        }
        let expected: Vec<_> = (0..limits::CATCH_UP_MAX)
            .rev()
            .map(|before| now - before * second)
            .collect();
        assert_eq!(fires, expected);
    }
}

#[test]
fn what_was_announced_counts_also_when_the_zone_s_rules_have_changed() {
    let schedule = Schedule::cron("0 3 * * *").unwrap();
    // 02:00 was three o'clock by the old rules.
    let announced = start() + 2 * HOUR;
    let decision = decide(&schedule, announced, announced);
    assert_eq!(decision.fires, [announced]);
    assert_eq!(decision.next.unwrap().at, start() + 3 * HOUR);
    let late = decide(
        &schedule.catch_up(CatchUp::All { at_most: 9 }),
        announced,
        announced + HOUR,
    );
    assert_eq!(late.fires, [announced, announced + HOUR]);
}

#[test]
fn bounds_are_checked() {
    let check = |schedule: Schedule, field: &str| {
        let error = schedule.check().unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::InvalidInput, Some(field))
        );
    };
    check(Schedule::every(Duration::ZERO), "every");
    check(Schedule::every(Duration::from_millis(999)), "every");
    check(Schedule::every(Duration::MAX), "every");
    check(Schedule::every(HOUR).jitter(Duration::MAX), "jitter");
    check(Schedule::every(HOUR).catch_up(CatchUp::All { at_most: 0 }), "catch_up");
    check(
        Schedule::every(HOUR).catch_up(CatchUp::All { at_most: u32::MAX }),
        "catch_up",
    );
    assert!(Schedule::every(HOUR).zone("UTC").is_err());
    assert!(Schedule::once(start()).anchor(start()).is_err());
    // Nor does it panic for one that was never checked.
    assert_eq!(Schedule::every(Duration::MAX).next(NAME, start()).unwrap(), None);
    assert!(Schedule::every(Duration::ZERO).next(NAME, start()).unwrap().is_some());
}

#[test]
fn jitter_spreads_and_is_the_same_for_all() {
    let schedule = Schedule::cron("@daily").unwrap().jitter(HOUR);
    let delay = |name: &str| {
        let due = schedule.next(name, start()).unwrap().unwrap();
        assert_eq!(schedule.next(name, start()).unwrap(), Some(due));
        due.fire_at.since(due.at)
    };
    let delays: BTreeSet<Duration> = (0..100).map(|number| delay(&format!("schedule-{number}"))).collect();
    assert!(delays.len() > 90 && delays.iter().all(|delay| *delay < HOUR));
    let quarters: BTreeSet<u64> = delays.iter().map(|delay| delay.as_secs() / 900).collect();
    assert_eq!(quarters.len(), 4);
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let timing = prop_oneof![
        (1..200_u64).prop_map(|minutes| Schedule::every(Duration::from_secs(minutes * 60))),
        prop_oneof![
            Just("*/7 * * * *"),
            Just("30 2 * * *"),
            Just("0 0-5 * * *"),
            Just("15 10 * * MON-FRI")
        ]
        .prop_map(|text| Schedule::cron(text).unwrap().zone("Europe/Berlin").unwrap()),
        (0..20_000_u32).prop_map(|minutes| Schedule::once(start() + minutes * MINUTE)),
    ];
    let catch_up = prop_oneof![
        Just(CatchUp::Skip),
        Just(CatchUp::Latest),
        (1..300_u32).prop_map(|at_most| CatchUp::All { at_most })
    ];
    (timing, catch_up, 0..3_u32)
        .prop_map(|(schedule, catch_up, hours)| schedule.catch_up(catch_up).jitter(hours * HOUR))
}

proptest! {
    /// Looked at now and then, with the clock going forwards by any amount and back, every due time is dealt with once, in
    /// order, never early, and as the policy says.
    #[test]
    fn every_due_time_once(
        schedule in schedule(),
        looks in proptest::collection::vec(prop_oneof![
            3 => -600_i64..7_200,
            1 => 0..400_000_i64,
            1 => -100_000..0_i64,
        ], 1..60),
    ) {
        // After the change of the clocks in spring, so that one is in the middle.
        let mut now = start() + 86 * 24 * HOUR;
        let mut due = schedule.first(NAME, now).unwrap();
        let all: Vec<Due> = std::iter::successors(due, |due| schedule.next(NAME, due.at).unwrap())
            .take_while(|due| due.at.since(now) < 200 * 24 * HOUR)
            .take(100_000)
            .collect();
        let mut fired: Vec<Timestamp> = Vec::new();
        let mut missed = 0;
        let mut latest = now;
        for seconds in looks {
            now = Timestamp::from_micros(now.as_micros() + seconds * 1_000_000);
            latest = latest.max(now);
            let Some(waited_for) = due else { break };
            let decision = decide(&schedule, waited_for.at, now);
            if let CatchUp::All { .. } = schedule.catch_up {
                prop_assert!(decision.fires.len() <= limits::CATCH_UP_BATCH);
            } else {
                prop_assert!(decision.fires.len() <= 1);
            }
            for at in &decision.fires {
                prop_assert!(fired.last().is_none_or(|last| last < at), "in order and never twice");
                let known = all.iter().find(|due| due.at == *at).unwrap();
                prop_assert!(known.fire_at <= now, "never early");
                if schedule.catch_up == CatchUp::Skip {
                    prop_assert!(now.since(known.fire_at) <= limits::MISSED_AFTER);
                }
                fired.push(*at);
            }
            missed += decision.missed;
            due = decision.next;
            if let (Some(next), true) = (due, decision.fires.len() < limits::CATCH_UP_BATCH) {
                prop_assert!(next.fire_at > now || next == waited_for);
            }
        }
        // Nothing is forgotten: what lies before the next is fired or missed.
        let before = all.iter().filter(|known| due.is_none_or(|due| known.at < due.at)).count();
        if missed < limits::CATCH_UP_MAX as usize {
            prop_assert_eq!(before, fired.len() + missed);
        }
        let ripe = all.iter().filter(|known| known.fire_at <= latest).count();
        prop_assert!(before <= ripe, "nothing before its time");
    }
}
