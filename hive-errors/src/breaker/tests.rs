use std::time::Duration;

use expect_test::expect;

use super::{BreakerPolicy, BreakerState, CircuitBreaker};
use crate::{ErrorKind, Report};

mod model;

const PAUSE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Open since second 0, after 2 failures in a row.
fn open(probes_max: u32) -> CircuitBreaker {
    let breaker = CircuitBreaker::new("model", BreakerPolicy::new(2, PAUSE).with_probes(probes_max));
    for _ in 0..2 {
        breaker.acquire(at(0)).unwrap().failure(at(0));
    }
    assert_eq!(breaker.state(at(0)), BreakerState::Open);
    breaker
}

#[test]
fn only_failures_in_a_row_open_it() {
    let breaker = CircuitBreaker::new("model", BreakerPolicy::new(2, PAUSE));
    for _ in 0..10 {
        breaker.acquire(at(0)).unwrap().failure(at(0));
        breaker.acquire(at(0)).unwrap().ignore();
        breaker.acquire(at(0)).unwrap().success(at(0));
    }
    assert_eq!(breaker.state(at(0)), BreakerState::Closed);
    breaker.acquire(at(0)).unwrap().failure(at(0));
    breaker.acquire(at(0)).unwrap().ignore();
    breaker.acquire(at(0)).unwrap().failure(at(0));
    assert_eq!(breaker.state(at(0)), BreakerState::Open);
}

#[test]
fn a_refusal_says_what_and_how_long() {
    let breaker = open(1);
    let refused = breaker.acquire(at(10)).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.retry_after()),
        (ErrorKind::BreakerOpen, Some(at(20)))
    );
    expect![[r#"
        error[breaker-open]: calls are suspended after repeated failures (dependency=model)
          what to do: wait until calls are let through again, and look at why they failed"#]]
    .assert_eq(&Report::new(&refused).to_string());

    let _probe = breaker.acquire(at(30)).unwrap();
    let refused = breaker.acquire(at(30)).unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after()), (ErrorKind::BreakerOpen, None));
    expect!["calls are suspended until those under way have succeeded (dependency=model)"]
        .assert_eq(&refused.to_string());
}

#[test]
fn it_opens_to_the_moment() {
    let breaker = open(1);
    let just_before = PAUSE - Duration::from_nanos(1);
    assert_eq!(breaker.state(just_before), BreakerState::Open);
    assert_eq!(
        breaker.acquire(just_before).unwrap_err().retry_after(),
        Some(Duration::from_nanos(1))
    );
    assert_eq!(breaker.state(PAUSE), BreakerState::HalfOpen);
    assert!(breaker.acquire(PAUSE).is_ok());
}

#[test]
fn all_probes_must_succeed() {
    let breaker = open(2);
    let (first, second) = (breaker.acquire(at(30)).unwrap(), breaker.acquire(at(30)).unwrap());
    assert!(breaker.acquire(at(30)).is_err());
    first.success(at(31));
    assert!(
        breaker.acquire(at(31)).is_err(),
        "a probe that succeeded does not make room for a third"
    );
    assert_eq!(breaker.state(at(31)), BreakerState::HalfOpen);
    second.success(at(32));
    assert_eq!(breaker.state(at(32)), BreakerState::Closed);
    breaker.acquire(at(32)).unwrap().failure(at(32));
    assert_eq!(
        breaker.state(at(32)),
        BreakerState::Closed,
        "the count of failures begins anew"
    );
}

#[test]
fn one_failed_probe_opens_it_again_for_the_whole_pause() {
    let breaker = open(2);
    let (first, second) = (breaker.acquire(at(30)).unwrap(), breaker.acquire(at(30)).unwrap());
    first.failure(at(40));
    assert_eq!(breaker.acquire(at(40)).unwrap_err().retry_after(), Some(PAUSE));
    second.success(at(41));
    assert_eq!(
        breaker.state(at(69)),
        BreakerState::Open,
        "the other probe comes too late"
    );
    assert_eq!(breaker.state(at(70)), BreakerState::HalfOpen);
}

#[test]
fn a_dropped_probe_fails_and_the_breaker_lives_on() {
    let breaker = open(1);
    drop(breaker.acquire(at(30)).unwrap());
    assert_eq!(breaker.state(at(30)), BreakerState::Open);
    let probe = breaker.acquire(at(60)).expect("half-open again after the pause");
    probe.success(at(61));
    assert_eq!(breaker.state(at(61)), BreakerState::Closed);
}

#[test]
fn a_probe_that_panics_fails() {
    let breaker = open(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _probe = breaker.acquire(at(30)).unwrap();
        std::panic::resume_unwind(Box::new("call panicked")); // without a message on the test's output
    }));
    assert!(panicked.is_err());
    assert_eq!(breaker.state(at(30)), BreakerState::Open);
    assert!(breaker.acquire(at(60)).is_ok());
}

#[test]
fn an_ignored_probe_gives_its_place_back() {
    let breaker = open(1);
    breaker.acquire(at(30)).unwrap().ignore();
    breaker.acquire(at(31)).unwrap().success(at(32));
    assert_eq!(breaker.state(at(32)), BreakerState::Closed);
}

#[test]
fn a_verdict_on_the_past_changes_nothing() {
    let breaker = CircuitBreaker::new("model", BreakerPolicy::new(1, PAUSE));
    let early: Vec<_> = (0..3).map(|_| breaker.acquire(at(0)).unwrap()).collect();
    breaker.acquire(at(0)).unwrap().failure(at(0));
    let probe = breaker.acquire(at(30)).unwrap();
    for (guard, now) in early.into_iter().zip(30..) {
        guard.failure(at(now));
    }
    assert_eq!(breaker.state(at(33)), BreakerState::HalfOpen);
    probe.success(at(33));
    assert_eq!(breaker.state(at(33)), BreakerState::Closed);
}

#[test]
fn time_does_not_run_backwards() {
    let breaker = open(1);
    assert!(breaker.acquire(at(25)).is_err());
    let refused = breaker.acquire(at(1)).unwrap_err();
    assert_eq!(refused.retry_after(), Some(at(5)));
}

#[test]
fn clones_share_one_state_across_threads() {
    let breaker = open(3);
    let barrier = std::sync::Barrier::new(8);
    let probes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (breaker, barrier) = (breaker.clone(), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    breaker.acquire(at(30)).ok()
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(probes.len(), 3);
    for probe in probes {
        probe.success(at(31));
    }
    assert_eq!(breaker.state(at(31)), BreakerState::Closed);
}

#[test]
fn policy_is_data() {
    let policy = BreakerPolicy::default();
    let json = serde_json::to_string(&policy).unwrap();
    expect![[r#"{"failures_max":5,"pause_ms":30000,"probes_max":1}"#]].assert_eq(&json);
    assert_eq!(serde_json::from_str::<BreakerPolicy>(&json).unwrap(), policy);
    assert_eq!(serde_json::from_str::<BreakerPolicy>("{}").unwrap(), policy);
    assert_eq!(policy, BreakerPolicy::new(5, PAUSE));
    assert_eq!(
        BreakerPolicy::new(0, PAUSE).with_probes(0),
        BreakerPolicy::new(1, PAUSE)
    );

    let refused = |json| serde_json::from_str::<BreakerPolicy>(json).unwrap_err().to_string();
    assert_eq!(refused(r#"{"failures_max":0}"#), "failures_max is at least 1");
    assert_eq!(refused(r#"{"probes_max":0}"#), "probes_max is at least 1");
}
