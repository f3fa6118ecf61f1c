use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_errors::{Failure, RetryPolicy};
use proptest::prelude::*;

use super::{AfterCrash, AfterFailure, after_crash, after_failure};
use crate::limits::CRASHES_MAX;

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

#[test]
fn a_terminal_failure_is_the_end_whatever_the_policy() {
    let next = after_failure(&Failure::terminal("no"), 1, &RetryPolicy::exponential(99), 0, NOW);
    assert_eq!(next, AfterFailure::Failed);
}

proptest! {
    #[test]
    fn exactly_as_many_attempts_as_the_policy_allows(attempts in 1_u32..50, failures in 1_u32..60, random: u64) {
        let policy = RetryPolicy::exponential(attempts);
        let next = after_failure(&Failure::retryable("not yet"), failures, &policy, random, NOW);
        match next {
            AfterFailure::Retry(at) => prop_assert!(failures < attempts && at >= NOW),
            AfterFailure::Dead => prop_assert!(failures >= attempts),
            AfterFailure::Failed => prop_assert!(false, "it was not terminal"),
        }
    }

    #[test]
    fn a_provider_that_asks_for_patience_gets_it(wait_ms in 0_u64..1_000_000, random: u64) {
        let wait = Duration::from_millis(wait_ms);
        let failure = Failure::retryable("slow down").with_retry_after(wait);
        let next = after_failure(&failure, 1, &RetryPolicy::exponential(3), random, NOW);
        prop_assert!(matches!(next, AfterFailure::Retry(at) if at >= NOW + wait), "{next:?}");
    }

    #[test]
    fn crashes_count_in_a_row_and_progress_starts_the_count_anew(progress in prop::collection::vec(any::<bool>(), 0..100)) {
        let (mut crashes, mut in_a_row) = (0, 0);
        for progressed in progress {
            in_a_row = if progressed { 1 } else { in_a_row + 1 };
            match after_crash(crashes, progressed) {
                AfterCrash::Requeue { crashes: now } => {
                    prop_assert!(now == in_a_row && now < CRASHES_MAX);
                    crashes = now;
                }
                AfterCrash::Dead { crashes: now } => {
                    prop_assert!(now == in_a_row && now == CRASHES_MAX);
                    break;
                }
            }
        }
    }
}
