use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hive_core::clock::{Clock, ManualClock, Timestamp};
use hive_core::shutdown::Shutdown;
use hive_errors::{Error, ErrorKind, Result};
use proptest::prelude::*;

use super::*;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn policy() -> Policy {
    Policy::between(1, 100).unwrap()
}

/// A load that neither waits nor is too much or too little for so many workers.
fn even(running: u32) -> Observation {
    Observation {
        busy: f64::from(running) * 0.65,
        arrivals_per_s: f64::from(running) * 0.65,
        service_per_s: 1.0,
        running,
        ..Observation::default()
    }
}

fn first(policy: &Policy, seen: Observation) -> Decision {
    decide(policy, &State::default(), &seen, secs(0)).1
}

fn is(decision: Decision, target: u32, reason: Reason) {
    assert_eq!(decision, Decision { target, reason });
}

#[test]
fn bounds_and_thresholds_must_fit() {
    for (min, max) in [(0, 0), (2, 1)] {
        assert_eq!(Policy::between(min, max).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    for (low, high) in [(0.0, 0.5), (0.5, 0.5), (0.5, 1.1), (f64::NAN, 0.5), (-1.0, 0.5)] {
        assert!(policy().with_busy(low, high).is_err(), "{low} {high}");
    }
}

#[test]
fn each_reason_has_its_case() {
    let policy = policy();
    is(first(&policy, even(10)), 10, Reason::Steady);
    is(first(&policy, even(0)), 1, Reason::BelowMin);
    is(first(&policy, even(101)), 100, Reason::AboveMax);
    // 40 arrive each second, each takes one: 61.5 workers at the utilisation that is aimed at.
    let busy = Observation {
        arrivals_per_s: 40.0,
        busy: 40.1,
        ..even(50)
    };
    is(first(&policy, busy), 62, Reason::Busy);
    // 20 that wait want 20 more workers for a second.
    let waiting = Observation {
        queued: 20,
        oldest_wait: secs(2),
        ..even(10)
    };
    is(first(&policy, waiting), 26, Reason::Waiting);
    is(
        first(&policy.clone().with_wait_target(secs(4)), waiting),
        10,
        Reason::Steady,
    );
    is(
        first(&policy.clone().with_wait_target(secs(2)), waiting),
        20,
        Reason::Waiting,
    );
    let full = Observation {
        queued: 1_000,
        oldest_wait: secs(9),
        ..even(100)
    };
    is(first(&policy, full), 100, Reason::AtMax);
    // Where the rates are unknown, what can be seen has to do.
    let blind = Observation {
        queued: 5,
        oldest_wait: secs(9),
        busy: 10.0,
        running: 10,
        ..Observation::default()
    };
    is(first(&policy, blind), 16, Reason::Waiting);
    let lazy = Policy::between(0, 10).unwrap();
    is(first(&lazy, Observation::default()), 0, Reason::Idle);
    is(
        first(
            &lazy,
            Observation {
                queued: 1,
                ..Observation::default()
            },
        ),
        1,
        Reason::Woken,
    );
    let many = Observation {
        queued: 50,
        service_per_s: 1.0,
        ..Observation::default()
    };
    is(first(&lazy, many), 10, Reason::Woken);
}

#[test]
fn workers_go_when_there_have_long_been_too_many() {
    let policy = policy().with_steps(16, 5).with_smoothing(Duration::ZERO);
    let seen = |running| Observation {
        busy: 6.5,
        arrivals_per_s: 6.5,
        ..even(running)
    };
    let (mut state, mut running, mut changes) = (State::default(), 40, Vec::new());
    for second in 0..200 {
        let decision;
        (state, decision) = decide(&policy, &state, &seen(running), secs(second));
        if decision.target != running {
            changes.push((second, decision.target));
            running = decision.target;
        }
    }
    // Ten are needed; up to 13 are not too many.
    assert_eq!(changes, [(30, 35), (60, 30), (90, 25), (120, 20), (150, 15), (180, 10)]);
}

#[test]
fn a_peak_keeps_them_for_a_while() {
    let policy = policy().with_smoothing(Duration::ZERO);
    let seen = |load: f64| Observation {
        busy: load,
        arrivals_per_s: load,
        ..even(40)
    };
    let mut state = State::default();
    for second in 0..29 {
        let load = if second == 10 { 15.0 } else { 5.0 };
        let decision;
        (state, decision) = decide(&policy, &state, &seen(load), secs(second));
        assert_eq!(decision.target, 40);
    }
    // 15 / 0.65: what was needed at most, not what is needed now.
    is(decide(&policy, &state, &seen(5.0), secs(30)).1, 24, Reason::Underused);
}

#[test]
fn the_last_worker_goes_when_nothing_has_come_for_long() {
    let policy = Policy::between(0, 10).unwrap().with_idle(secs(100));
    let mut state = State::default();
    let mut running = 3;
    let mut history = Vec::new();
    for second in 0..400 {
        // One task comes late and takes no time.
        let arrivals_per_s = if second == 150 { 1.0 } else { 0.0 };
        let seen = Observation {
            arrivals_per_s,
            service_per_s: 1.0,
            running,
            ..Observation::default()
        };
        let decision;
        (state, decision) = decide(&policy, &state, &seen, secs(second));
        if decision.target != running {
            history.push((second, decision.target, decision.reason));
            running = decision.target;
        }
        if second == 149 {
            // Someone is called back by work that waits.
            assert_eq!(running, 0);
            running = 1;
        }
    }
    assert_eq!(
        history,
        [
            (30, 1, Reason::Underused),
            (100, 0, Reason::Idle),
            (251, 0, Reason::Idle),
        ]
    );
}

fn any_rate() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..200.0,
        1 => prop::sample::select(vec![0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE]),
    ]
}

prop_compose! {
    fn any_observation()(
        queued in prop_oneof![0..100_u64, any::<u64>()],
        wait_ms in prop_oneof![0..5_000_u64, any::<u64>()],
        busy in any_rate(),
        arrivals_per_s in any_rate(),
        service_per_s in any_rate(),
    ) -> Observation {
        let oldest_wait = Duration::from_millis(wait_ms);
        Observation { queued, oldest_wait, busy, arrivals_per_s, service_per_s, running: 0 }
    }
}

prop_compose! {
    fn any_policy()(
        min in 0..20_u32,
        more in 1..100_u32,
        steps in (1..30_u32, 1..30_u32),
        cool in (0..20_u64, 0..60_u64),
        steady in 0..60_u64,
        idle in 0..100_u64,
        smoothing in 0..30_u64,
        wait_ms in 0..5_000_u64,
    ) -> Policy {
        Policy::between(min, min + more)
            .unwrap()
            .with_steps(steps.0, steps.1)
            .with_cool_down(secs(cool.0), secs(cool.1))
            .with_steady(secs(steady))
            .with_idle(secs(idle))
            .with_smoothing(secs(smoothing))
            .with_wait_target(Duration::from_millis(wait_ms))
    }
}

proptest! {
    /// Whatever is seen, in whatever order, at whatever times: bounds, steps and cool-downs hold.
    #[test]
    fn no_history_breaks_the_rules(
        policy in any_policy(),
        (up, down) in (1..30_u32, 1..30_u32),
        (cool_up, cool_down) in (0..20_u64, 0..60_u64),
        start in 0..150_u32,
        history in prop::collection::vec((any_observation(), 0..20_u64), 1..60),
    ) {
        let policy = policy.with_steps(up, down).with_cool_down(secs(cool_up), secs(cool_down));
        let (mut state, mut running, mut now) = (State::default(), start, Duration::ZERO);
        let mut changed: Option<Duration> = None;
        for (seen, passed) in history {
            now += secs(passed);
            let seen = Observation { running, ..seen };
            let (next, decision) = decide(&policy, &state, &seen, now);
            prop_assert_eq!((next, decision), decide(&policy, &state, &seen, now), "the same again");
            let target = decision.target;
            prop_assert!((policy.min()..=policy.max()).contains(&target));
            if (policy.min()..=policy.max()).contains(&running) && target != running {
                prop_assert!(target <= running.saturating_add(up));
                prop_assert!(target >= running.saturating_sub(down));
                // Only to begin at all nobody waits.
                if let Some(changed) = changed && running > 0 {
                    let cool = if target > running { cool_up } else { cool_down };
                    prop_assert!(now - changed >= secs(cool));
                }
            }
            if target != running {
                changed = Some(now);
            }
            (state, running) = (next, target);
        }
    }

    /// More that waits, or waits longer, never means fewer workers.
    #[test]
    fn more_to_do_is_never_a_reason_for_fewer(
        policy in any_policy(),
        before in prop::collection::vec((any_observation(), 0..20_u64), 0..20),
        seen in any_observation(),
        more in 0..1_000_u64,
        longer in 0..10_000_u64,
        start in 0..100_u32,
    ) {
        let (mut state, mut running, mut now) = (State::default(), start, Duration::ZERO);
        for (seen, passed) in before {
            now += secs(passed);
            let decision;
            (state, decision) = decide(&policy, &state, &Observation { running, ..seen }, now);
            running = decision.target;
        }
        let seen = Observation { running, ..seen };
        let worse = Observation {
            queued: seen.queued.saturating_add(more),
            oldest_wait: seen.oldest_wait.saturating_add(Duration::from_millis(longer)),
            ..seen
        };
        let (less, more) = (decide(&policy, &state, &seen, now).1, decide(&policy, &state, &worse, now).1);
        prop_assert!(more.target >= less.target, "{less:?} {more:?}");
    }

    /// An even load between the thresholds changes nothing, for ever.
    #[test]
    fn what_fits_stays(running in 1..100_u32, share in 0.51..0.79, seconds in 1..500_u64) {
        let policy = policy();
        let load = f64::from(running) * share;
        let mut state = State::default();
        for second in 0..seconds {
            let decision;
            let seen = Observation { busy: load, arrivals_per_s: load, ..even(running) };
            (state, decision) = decide(&policy, &state, &seen, secs(second));
            is(decision, running, Reason::Steady);
        }
    }

}

proptest! {
    // Hours of virtual time in each.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_steady_load_does_not_make_it_flap(seed: u64, load in 2.0..40.0, start in 0..5_u64) {
        let service = Duration::from_millis(500);
        let scenario = Scenario::new(service)
            .then(Phase::new(secs(3_600), load / service.as_secs_f64()))
            .starting(secs(start));
        let outcome = scenario.simulate(&policy(), seed);
        // After the first minutes, which find the right number.
        let late = outcome.changes().filter(|(at, _, _)| *at > secs(300));
        let late: Vec<_> = late.collect();
        let turns = late.windows(2).filter(|pair| (pair[0].2 > pair[0].1) != (pair[1].2 > pair[1].1)).count();
        // With few workers a burst is felt at once; with many it is not.
        let bearable = if load < 8.0 { 24 } else { 8 };
        prop_assert!(turns <= bearable, "{turns} turns in 55 minutes: {late:?}");
        prop_assert!(outcome.wait_between(secs(300), secs(3_600), 0.99) < secs(1));
    }

    #[test]
    fn a_step_in_load_is_followed_and_drained(seed: u64, low in 1.0..5.0, high in 20.0..60.0) {
        let service = Duration::from_millis(500);
        let scenario = Scenario::new(service)
            .then(Phase::new(secs(600), low))
            .then(Phase::new(secs(600), high))
            .then(Phase::new(secs(900), low))
            .then(Phase::new(secs(900), 0.0))
            .starting(secs(2));
        let policy = Policy::between(0, 60).unwrap();
        let outcome = scenario.simulate(&policy, seed);
        prop_assert_eq!(outcome.left, 0);
        // The step itself hits who is there; half a minute later nobody waits longer than is wanted.
        prop_assert!(outcome.wait_between(secs(630), secs(1_200), 0.99) < policy.wait_target());
        prop_assert!(outcome.wait_between(secs(600), secs(630), 1.0) < secs(20));
        let running = |at| outcome.samples.iter().find(|sample| sample.at == secs(at)).unwrap().decision.target;
        let needed = |load: f64| load * service.as_secs_f64() / 0.65;
        prop_assert!(f64::from(running(1_199)) >= needed(high) * 0.7);
        prop_assert!(f64::from(running(2_099)) <= needed(low).ceil() * 2.0 + 8.0, "{}", running(2_099));
        prop_assert_eq!(running(3_000), 0);
        prop_assert!(outcome.workers_max() <= 60);
    }

    #[test]
    fn a_simulation_is_the_same_again(seed: u64) {
        let scenario = Scenario::new(secs(1)).then(Phase::new(secs(60), 5.0)).then(Phase::new(secs(60), 0.0));
        prop_assert_eq!(scenario.simulate(&policy(), seed), scenario.simulate(&policy(), seed));
    }
}

#[test]
fn another_seed_is_another_day() {
    let scenario = Scenario::new(secs(1)).then(Phase::new(secs(60), 5.0));
    let outcome = scenario.simulate(&policy(), 1);
    assert_ne!(outcome, scenario.simulate(&policy(), 2));
    // A Poisson process of 300 on average; ten deviations are out of the question.
    assert!((130..470).contains(&(outcome.waits.len() + outcome.left)));
}

#[test]
fn overload_stays_within_the_bounds() {
    let scenario = Scenario::new(secs(1)).then(Phase::new(secs(300), 50.0));
    let outcome = scenario.simulate(&Policy::between(1, 10).unwrap(), 3);
    assert_eq!(outcome.workers_max(), 10);
    assert!(outcome.left > 5_000);
    let last = outcome.samples.last().unwrap();
    assert_eq!(
        last.decision,
        Decision {
            target: 10,
            reason: Reason::AtMax
        }
    );
}

#[derive(Default)]
struct Team {
    running: AtomicU32,
    refuse: AtomicU32,
}

#[async_trait]
impl Workers for Team {
    async fn set(&self, count: u32) -> Result<()> {
        if self.refuse.load(Ordering::SeqCst) > 0 {
            self.refuse.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Overloaded, "not now"));
        }
        self.running.store(count, Ordering::SeqCst);
        Ok(())
    }

    fn running(&self) -> u32 {
        self.running.load(Ordering::SeqCst)
    }
}

struct Script(Mutex<Vec<Result<Observation>>>);

#[async_trait]
impl Load for Script {
    async fn observe(&self) -> Result<Observation> {
        self.0
            .lock()
            .unwrap()
            .pop()
            .unwrap_or_else(|| Ok(Observation::default()))
    }
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(0))
}

#[tokio::test]
async fn a_driver_applies_what_is_decided_and_asks_again_after_trouble() {
    let team = Arc::new(Team::default());
    let busy = Observation {
        queued: 8,
        oldest_wait: secs(1),
        service_per_s: 1.0,
        ..Observation::default()
    };
    let trouble = Error::new(ErrorKind::Storage, "no answer");
    let load = Arc::new(Script(Mutex::new(vec![Ok(busy), Ok(busy), Err(trouble)])));
    let policy = Policy::between(0, 5).unwrap();
    let mut driver = Driver::new("team", policy, team.clone(), load).clock(Arc::new(clock()));
    assert_eq!(driver.step().await.unwrap_err().kind(), ErrorKind::Storage);
    team.refuse.store(1, Ordering::SeqCst);
    assert_eq!(driver.step().await.unwrap_err().kind(), ErrorKind::Overloaded);
    assert_eq!(team.running(), 0);
    is(driver.step().await.unwrap(), 5, Reason::Woken);
    assert_eq!(team.running(), 5);
}

#[tokio::test]
async fn a_driver_stops_when_it_is_told() {
    let (clock, stop) = (clock(), Shutdown::new());
    let team = Arc::new(Team::default());
    let load = Arc::new(Script(Mutex::new(Vec::new())));
    let driver = Driver::new("team", Policy::between(2, 5).unwrap(), team.clone(), load).clock(Arc::new(clock.clone()));
    let running = tokio::spawn(driver.run(stop.clone()));
    while team.running() < 2 {
        tokio::task::yield_now().await;
    }
    let before = clock.monotonic();
    stop.request();
    running.await.unwrap();
    assert_eq!(clock.monotonic(), before);
}

#[test]
fn a_meter_says_nothing_where_nothing_can_be_said() {
    let mut meter = Meter::default();
    assert_eq!(meter.measure(secs(1), 5, 5, 1.0), (0.0, 0.0));
    assert_eq!(meter.measure(secs(1), 6, 6, 1.0), (0.0, 0.0));
    assert_eq!(meter.measure(secs(2), 10, 6, 0.0), (4.0, 0.0));
    // A counter that starts anew, as after a crash, is no negative rate.
    assert_eq!(meter.measure(secs(3), 0, 0, 1.0), (0.0, 0.0));
}
