use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn manual() -> ManualClock {
    ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap())
}

/// Polls once, without a runtime that could hide a missing wake-up.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn timestamp_text_is_fixed_width_and_round_trips() {
    let check = |text: &str, expected: &str| {
        let parsed: Timestamp = text.parse().unwrap();
        assert_eq!(parsed.to_string(), expected);
        assert_eq!(format!("{parsed:?}"), expected);
        let json = serde_json::to_string(&parsed).unwrap();
        assert_eq!(json, format!("\"{expected}\""));
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), parsed);
    };
    check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z");
    check("2026-01-02T04:04:05.5+01:00", "2026-01-02T03:04:05.500000Z");
    check("2026-01-02T03:04:05.1234569Z", "2026-01-02T03:04:05.123456Z");
    check("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z");
}

#[test]
fn timestamp_limits_are_the_calendar_s() {
    assert_eq!(Timestamp::MIN.to_string(), "-009999-01-02T01:59:59.000000Z");
    assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.000000Z");
    assert_eq!("9999-12-30T22:00:00.9Z".parse::<Timestamp>().unwrap(), Timestamp::MAX);
    assert_eq!(Timestamp::MAX.to_string().parse::<Timestamp>().unwrap(), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.to_string().parse::<Timestamp>().unwrap(), Timestamp::MIN);
    assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp::MIN);
    assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
    assert_eq!(Timestamp::MIN - Duration::MAX, Timestamp::MIN);
    assert_eq!(Timestamp::MIN - Timestamp::MAX, Duration::ZERO);
}

#[test]
fn bad_times_say_what_to_write() {
    for text in [
        "",
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-13-02T03:04:05Z",
        "1700000000",
    ] {
        let error = text.parse::<Timestamp>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        assert_eq!(error.field("value"), Some(text));
        assert!(error.hint().contains("2026-01-02T03:04:05Z"));
    }
    assert!(serde_json::from_str::<Timestamp>("1700000000").is_err());
}

#[test]
fn a_sum_is_never_early() {
    let start = Timestamp::EPOCH;
    assert_eq!((start + Duration::from_nanos(1)).as_micros(), 1);
    assert_eq!((start + Duration::from_nanos(1_000)).as_micros(), 1);
    assert_eq!((start + Duration::from_nanos(1_001)).as_micros(), 2);
}

proptest! {
    #[test]
    fn timestamps_sort_as_their_text_does(a in 0i64..253_402_207_200_000_000, b in 0i64..253_402_207_200_000_000) {
        let (a, b) = (Timestamp::from_micros(a), Timestamp::from_micros(b));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn adding_and_taking_away_agree(start in -(1i64 << 56)..1i64 << 56, micros in 0u64..1 << 56) {
        let (start, by) = (Timestamp::from_micros(start), Duration::from_micros(micros));
        prop_assert_eq!((start + by) - start, by);
        prop_assert_eq!((start + by) - by, start);
        prop_assert_eq!((start + by).to_string().parse::<Timestamp>().unwrap(), start + by);
    }
}

#[test]
fn a_sleep_counts_from_its_call() {
    let clock = manual();
    let mut sleep = clock.sleep(SECOND);
    assert_eq!(clock.sleepers(), 1);
    clock.advance(SECOND);
    assert_eq!(poll_once(&mut sleep), Poll::Ready(()));
}

#[test]
fn a_sleep_is_never_early_and_wakes_once_due() {
    let clock = manual();
    let mut sleep = clock.sleep(SECOND);
    clock.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(poll_once(&mut sleep), Poll::Pending);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(poll_once(&mut sleep), Poll::Ready(()));
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn setting_the_wall_clock_moves_only_wall_sleepers() {
    let clock = manual();
    let start = clock.now();
    let mut wall = clock.sleep_until(start + SECOND);
    let mut monotonic = clock.sleep(SECOND);

    clock.set_wall(start + SECOND);
    // Set back before the sleeper was polled: it has not been reached as far as anyone can tell.
    clock.set_wall(start);
    assert_eq!(poll_once(&mut wall), Poll::Pending);
    assert_eq!(clock.sleepers(), 2);

    clock.set_wall(start + SECOND);
    assert_eq!(poll_once(&mut wall), Poll::Ready(()));
    assert_eq!(poll_once(&mut monotonic), Poll::Pending);
    assert_eq!(clock.monotonic(), Duration::ZERO);
}

#[test]
fn a_dropped_sleeper_is_forgotten() {
    let clock = manual();
    let mut sleep = clock.sleep(SECOND);
    assert_eq!(poll_once(&mut sleep), Poll::Pending);
    drop(sleep);
    assert_eq!((clock.sleepers(), clock.next()), (0, None));
    assert!(!clock.advance_to_next());
}

#[test]
fn advance_to_next_takes_the_nearest_of_both_kinds() {
    let clock = manual();
    let _late = clock.sleep(3 * SECOND);
    let mut soon = clock.sleep_until(clock.now() + SECOND);
    assert_eq!(clock.next(), Some(SECOND));
    assert!(clock.advance_to_next());
    assert_eq!(poll_once(&mut soon), Poll::Ready(()));
    assert_eq!(clock.next(), Some(2 * SECOND));
}

#[test]
fn a_past_deadline_is_due_at_once() {
    let clock = manual();
    assert_eq!(poll_once(&mut clock.sleep_until(Timestamp::MIN)), Poll::Ready(()));
    assert_eq!(poll_once(&mut clock.sleep(Duration::ZERO)), Poll::Ready(()));
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_sleepers_all_wake() {
    let clock = manual();
    let woken = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (1..=200u32)
        .map(|n| {
            let (clock, woken) = (clock.clone(), Arc::clone(&woken));
            tokio::spawn(async move {
                let start = clock.monotonic();
                clock.sleep(n * Duration::from_millis(1)).await;
                assert!(
                    clock.monotonic() - start >= n * Duration::from_millis(1),
                    "a sleeper woke early"
                );
                woken.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    // Registration and advancing race on purpose; every sleeper that is registered must be woken in the end.
    let mover = {
        let (clock, woken) = (clock.clone(), Arc::clone(&woken));
        tokio::spawn(async move {
            while woken.load(Ordering::SeqCst) < 200 {
                clock.advance(Duration::from_millis(1));
                tokio::task::yield_now().await;
            }
        })
    };
    for task in tasks {
        task.await.unwrap();
    }
    mover.await.unwrap();
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn until_sleepers_returns_when_they_are_there() {
    let clock = manual();
    let sleeper = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(SECOND).await }
    });
    clock.until_sleepers(1).await;
    clock.advance(SECOND);
    sleeper.await.unwrap();
}

#[tokio::test]
async fn timeout_keeps_what_is_ready_and_stops_what_is_not() {
    let clock = manual();
    assert_eq!(timeout(&clock, Duration::ZERO, async { 7 }).await.unwrap(), 7);

    let slow = tokio::spawn({
        let clock = clock.clone();
        async move { timeout(&clock, SECOND, std::future::pending::<()>()).await }
    });
    clock.until_sleepers(1).await;
    clock.advance(SECOND);
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.field("limit")), (ErrorKind::Timeout, Some("1s")));
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn the_system_clock_runs_forward_and_is_not_early() {
    let clock = SystemClock;
    let (wall, monotonic) = (clock.now(), clock.monotonic());
    assert!(
        wall > "2025-01-01T00:00:00Z".parse().unwrap(),
        "the machine's clock is wrong: {wall}"
    );
    let at = wall + Duration::from_millis(5);
    clock.sleep_until(at).await;
    assert!(clock.now() >= at);
    clock.sleep(Duration::from_millis(1)).await;
    assert!(clock.monotonic() - monotonic >= Duration::from_millis(1));
    // A moment long past must not sleep at all.
    clock.sleep_until(Timestamp::MIN).await;
}
