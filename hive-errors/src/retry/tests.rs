use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::RetryPolicy;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn schedules() {
    fn check(policy: RetryPolicy, random: u64, expected: Expect) {
        let delays: Vec<_> = (1..)
            .map_while(|failures| policy.delay_after(failures, random, None))
            .collect();
        expected.assert_eq(&format!("{delays:?}"));
    }
    let half = u64::MAX / 2;
    check(RetryPolicy::none(), half, expect!["[]"]);
    check(RetryPolicy::fixed(4, 2 * SECOND), half, expect!["[2s, 2s, 2s]"]);
    check(RetryPolicy::fixed(2, 90 * SECOND), half, expect!["[90s]"]);
    check(RetryPolicy::exponential(3), u64::MAX, expect!["[100ms, 200ms]"]);
    check(RetryPolicy::exponential(4), half, expect!["[50ms, 100ms, 200ms]"]);
    check(RetryPolicy::exponential(4), 0, expect!["[0ns, 0ns, 0ns]"]);
    check(
        RetryPolicy::exponential(13).without_jitter(),
        0,
        expect!["[100ms, 200ms, 400ms, 800ms, 1.6s, 3.2s, 6.4s, 12.8s, 25.6s, 51.2s, 60s, 60s]"],
    );
    check(
        RetryPolicy::exponential(5)
            .with_base(SECOND)
            .with_factor(3)
            .with_cap(10 * SECOND)
            .without_jitter(),
        0,
        expect!["[1s, 3s, 9s, 10s]"],
    );
    check(RetryPolicy::fixed(3, Duration::from_nanos(1)), 0, expect!["[1ms, 1ms]"]);
    check(
        RetryPolicy::exponential(3).with_base(90 * SECOND).without_jitter(),
        0,
        expect!["[60s, 60s]"],
    );
}

#[test]
fn zero_is_read_as_one() {
    assert_eq!(RetryPolicy::exponential(0).attempts_max(), 1);
    assert_eq!(RetryPolicy::fixed(0, SECOND), RetryPolicy::fixed(1, SECOND));
    let policy = RetryPolicy::fixed(3, SECOND).with_factor(0);
    assert_eq!(policy.delay_after(0, 0, None), Some(SECOND));
    assert_eq!(policy.delay_after(2, 0, None), Some(SECOND));
}

#[test]
fn the_extremes_stay_within_bounds() {
    let policy = RetryPolicy::exponential(u32::MAX)
        .with_base(Duration::MAX)
        .with_factor(u32::MAX)
        .with_cap(Duration::MAX);
    let longest = Duration::from_millis(u64::MAX);
    assert_eq!(policy.delay_after(u32::MAX - 1, u64::MAX, None), Some(longest));
    assert_eq!(
        policy.delay_after(u32::MAX - 1, 0, Some(Duration::MAX)),
        Some(Duration::MAX)
    );
    assert_eq!(
        policy.delay_after(u32::MAX - 1, u64::MAX, Some(Duration::MAX)),
        Some(Duration::MAX)
    );
    assert_eq!(policy.delay_after(u32::MAX, u64::MAX, None), None);
}

#[test]
fn serialised_form_is_stable() {
    fn check(policy: &RetryPolicy, expected: Expect) {
        let json = serde_json::to_string(policy).unwrap();
        expected.assert_eq(&json);
        assert_eq!(&serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
    }
    check(
        &RetryPolicy::exponential(3),
        expect![[r#"{"attempts_max":3,"base_ms":100,"factor":2,"delay_max_ms":60000,"jitter":"full"}"#]],
    );
    check(
        &RetryPolicy::none(),
        expect![[r#"{"attempts_max":1,"base_ms":0,"factor":1,"delay_max_ms":0,"jitter":"none"}"#]],
    );
    let sparse: RetryPolicy = serde_json::from_str(r#"{"attempts_max":7,"added_later":true}"#).unwrap();
    assert_eq!(sparse, RetryPolicy::exponential(7));
}

#[test]
fn senseless_settings_are_refused() {
    fn check(json: &str, expected: Expect) {
        expected.assert_eq(&serde_json::from_str::<RetryPolicy>(json).unwrap_err().to_string());
    }
    check(
        r#"{"attempts_max":0}"#,
        expect!["attempts_max counts the first attempt, so it is at least 1"],
    );
    check(r#"{"attempts_max":2,"factor":0}"#, expect!["factor is at least 1"]);
    check("{}", expect!["missing field `attempts_max` at line 1 column 2"]);
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..5_000_u64).prop_map(Duration::from_millis),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
    ]
}

fn factor() -> impl Strategy<Value = u32> {
    prop_oneof![1..4_u32, any::<u32>()]
}

/// The full delay, computed the slow way: multiply, and stop at the cap.
fn naive_full_ms(base: Duration, factor: u32, cap: Duration, failures: u32) -> u128 {
    let ms = |duration: Duration| duration.as_nanos().div_ceil(1_000_000).min(u128::from(u64::MAX));
    let mut delay = ms(base);
    for _ in 1..failures {
        delay = (delay * u128::from(factor.max(1))).min(ms(cap));
    }
    delay.min(ms(cap))
}

proptest! {
    #[test]
    fn full_jitter_is_within_zero_and_the_exponential(
        base in duration(), factor in factor(), cap in duration(), failures in 1..200_u32, random: u64,
    ) {
        let policy = RetryPolicy::exponential(u32::MAX).with_base(base).with_factor(factor).with_cap(cap);
        let full = naive_full_ms(base, factor, cap, failures);
        let jittered = policy.delay_after(failures, random, None).unwrap();
        prop_assert!(jittered.as_millis() <= full);
        prop_assert_eq!(policy.delay_after(failures, 0, None).unwrap(), Duration::ZERO);
        prop_assert_eq!(policy.delay_after(failures, u64::MAX, None).unwrap().as_millis(), full);

        let exact = policy.without_jitter().delay_after(failures, random, None).unwrap();
        prop_assert_eq!(exact.as_millis(), full);
        // Rounded up to a whole millisecond, the cap holds whatever base and factor say.
        prop_assert!(exact <= cap.saturating_add(Duration::from_millis(1)));
    }

    #[test]
    fn a_larger_random_number_never_shortens_the_delay(failures in 1..40_u32, a: u64, b: u64) {
        let policy = RetryPolicy::exponential(u32::MAX);
        let delay = |random| policy.delay_after(failures, random, None).unwrap();
        prop_assert!(delay(a.min(b)) <= delay(a.max(b)));
    }

    #[test]
    fn retry_after_is_a_floor_and_adds_at_most_the_delay(
        base in duration(), cap in duration(), failures in 1..100_u32, random: u64, after in duration(),
    ) {
        let jittered = RetryPolicy::exponential(u32::MAX).with_base(base).with_cap(cap);
        for policy in [jittered.clone(), jittered.without_jitter()] {
            let own = policy.delay_after(failures, random, None).unwrap();
            let asked = policy.delay_after(failures, random, Some(after)).unwrap();
            prop_assert!(asked >= after && asked >= own);
            prop_assert!(asked <= after.saturating_add(own));
        }
    }

    #[test]
    fn attempts_are_counted_exactly(attempts_max in 1..500_u32, random: u64, after in proptest::option::of(duration())) {
        for policy in [RetryPolicy::exponential(attempts_max), RetryPolicy::fixed(attempts_max, SECOND)] {
            let mut attempts = 1;
            while policy.delay_after(attempts, random, after).is_some() {
                attempts += 1;
            }
            prop_assert_eq!(attempts, attempts_max);
            prop_assert_eq!(policy.delay_after(attempts_max + 1, random, after), None);
        }
    }

    #[test]
    fn never_overflows(
        attempts_max: u32, base in duration(), factor: u32, cap in duration(),
        failures: u32, random: u64, after in proptest::option::of(duration()),
    ) {
        let policy = RetryPolicy::exponential(attempts_max).with_base(base).with_factor(factor).with_cap(cap);
        let delay = policy.delay_after(failures, random, after);
        prop_assert_eq!(delay.is_some(), failures.max(1) < attempts_max.max(1));
        let json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
    }
}
