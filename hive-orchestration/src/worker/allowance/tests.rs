use std::time::Duration;

use hive_core::clock::{ManualClock, Timestamp};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Whether it is used up now.
async fn is_used_up(allowance: &mut Allowance<'_>) -> bool {
    tokio::select! {
        biased;
        () = allowance.used_up() => true,
        () = tokio::task::yield_now() => false,
    }
}

#[tokio::test]
async fn only_running_time_counts() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let mut allowance = Allowance::new(&clock, 3 * SECOND);
    clock.advance(3600 * SECOND);
    assert!(!is_used_up(&mut allowance).await, "it has not begun");
    allowance.start();
    clock.advance(2 * SECOND);
    assert!(!is_used_up(&mut allowance).await);
    allowance.stop();
    allowance.stop();
    clock.advance(3600 * SECOND);
    assert!(!is_used_up(&mut allowance).await, "it stands");
    allowance.start();
    allowance.start();
    assert!(!is_used_up(&mut allowance).await, "one second is left");
    clock.advance(SECOND);
    assert!(is_used_up(&mut allowance).await);
}
