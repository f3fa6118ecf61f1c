use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const START: i64 = 1_700_000_000_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(START + micros)
}

#[test]
fn a_burst_then_evenly() {
    let rate = Rate::new(10, Duration::from_secs(1)).burst(3);
    assert_eq!(rate.left(0, at(0)), 3);
    let point = rate.after(0, at(0), 3);
    assert_eq!(rate.left(point, at(0)), 0);
    assert_eq!(rate.next(point, at(0)), at(100_000));
    assert_eq!(rate.left(point, at(99_999)), 0);
    assert_eq!(rate.left(point, at(100_000)), 1);
    assert_eq!(rate.left(point, at(10_000_000)), 3);
}

#[test]
fn a_clock_that_is_set_back_holds_up_for_a_burst_at_most() {
    let rate = Rate::new(1, Duration::from_secs(1)).burst(2);
    let point = rate.after(0, at(3_600_000_000), 2);
    assert_eq!(rate.left(point, at(0)), 0);
    assert_eq!(rate.next(point, at(0)), at(1_000_000));
}

#[test]
fn what_means_nothing_is_refused() {
    for (rate, field) in [
        (Rate::new(0, Duration::from_secs(1)), "rate.count"),
        (Rate::new(1, Duration::ZERO), "rate.period"),
        (Rate::new(1, Duration::MAX), "rate.period"),
        (Rate::new(1, Duration::from_secs(1)).burst(0), "rate.burst"),
        (Rate::new(1, limits::RATE_PERIOD_MAX).burst(u32::MAX), "rate.burst"),
    ] {
        let error = rate.check().unwrap_err();
        assert_eq!(error.field("field"), Some(field), "{error:?}");
    }
    Rate::new(u32::MAX, Duration::from_millis(1)).check().unwrap();
}

proptest! {
    /// However greedily they come: in no time do more begin than the rate says, and whoever comes when told to is let in.
    #[test]
    fn no_window_holds_more(
        count in 1_u32..50,
        period in 1_u64..100_000,
        burst in 1_u32..20,
        steps in proptest::collection::vec((0_i64..200_000, 0_usize..30), 1..100),
    ) {
        let period = Duration::from_micros(period.max(1_000));
        let rate = Rate::new(count, period).burst(burst);
        let (mut point, mut now) = (0, 0);
        let mut begun: VecDeque<i64> = VecDeque::new();
        for (wait, wanted) in steps {
            now += wait;
            let taken = rate.left(point, at(now)).min(wanted);
            point = rate.after(point, at(now), taken);
            begun.extend(std::iter::repeat_n(now, taken));
            let next = rate.next(point, at(now));
            prop_assert!(rate.left(point, next) >= 1);
            prop_assert!(next == at(now) || rate.left(point, Timestamp::from_micros(next.as_micros() - 1)) == 0);
        }
        for (first, start) in begun.iter().enumerate() {
            for (nth, end) in begun.iter().enumerate().skip(first) {
                let allowed = f64::from(burst) + (end - start) as f64 / period.as_micros() as f64 * f64::from(count);
                prop_assert!((nth - first + 1) as f64 <= allowed + 1e-6, "{} in {} µs", nth - first + 1, end - start);
            }
        }
    }
}
