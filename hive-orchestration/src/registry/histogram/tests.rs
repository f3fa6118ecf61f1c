use proptest::prelude::*;

use super::*;

fn of(times: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for us in times {
        histogram.add(Duration::from_micros(*us));
    }
    histogram
}

/// Times of every magnitude, not mostly large ones.
fn time() -> impl Strategy<Value = u64> {
    (0..40u32, any::<u64>()).prop_map(|(bits, random)| random % (2u64 << bits))
}

#[test]
fn nothing_has_no_percentile() {
    assert_eq!(Histogram::default().percentile(95), None);
    assert_eq!(Histogram::default().mean(), None);
}

#[test]
fn a_time_without_end_is_cut_off() {
    let mut histogram = of(&[]);
    histogram.add(Duration::MAX);
    assert_eq!(histogram.percentile(95), Some(Duration::from_micros(MICROS_MAX)));
    assert!(bucket(MICROS_MAX) <= 304);
}

/// What another process wrote may be anything that can be read.
#[test]
fn strange_counts_do_no_harm() {
    let strange: Histogram =
        serde_json::from_str(r#"{"counts":{"65535":18446744073709551615,"3":1,"9":0},"sum_us":7}"#).unwrap();
    let mut merged = strange.clone();
    merged.merge(&strange);
    assert!(merged.percentile(95).is_some());
    assert_eq!(merged.mean(), Some(Duration::ZERO));
}

proptest! {
    #[test]
    fn a_time_lies_in_its_bucket(us in time()) {
        let us = us.min(MICROS_MAX);
        let own = bucket(us);
        prop_assert!(lower(own) <= us && us < lower(own + 1), "{} {} {}", lower(own), us, lower(own + 1));
        prop_assert!(lower(own + 1) - lower(own) <= (lower(own) / 8).max(1));
    }

    #[test]
    fn the_percentile_is_an_eighth_off_at_most(mut times in proptest::collection::vec(time(), 1..300), percent in 1..=100u32) {
        let found = of(&times).percentile(percent).unwrap().as_micros();
        times.sort_unstable();
        let rank = (times.len() * percent as usize).div_ceil(100).max(1);
        let exact = u128::from(times[rank - 1].min(MICROS_MAX));
        prop_assert!(found.abs_diff(exact) <= exact / 8 + 1, "{} for {}", found, exact);
    }

    #[test]
    fn the_mean_is_exact(times in proptest::collection::vec(0..1u64 << 40, 1..100)) {
        let exact = times.iter().sum::<u64>() / times.len() as u64;
        prop_assert_eq!(of(&times).mean(), Some(Duration::from_micros(exact)));
    }

    #[test]
    fn merging_is_adding(one in proptest::collection::vec(time(), 0..50), other in proptest::collection::vec(time(), 0..50)) {
        let mut merged = of(&one);
        merged.merge(&of(&other));
        prop_assert_eq!(merged, of(&[one, other].concat()));
    }
}
