use hive_core::clock::{ManualClock, Timestamp};

use super::*;

fn meters() -> (Arc<ManualClock>, Arc<Meters>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    (clock.clone(), Meters::new(clock, ["a", "b"]))
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn attempts_are_counted_by_their_end() {
    let (clock, meters) = meters();
    for (how, times) in [(Ended::Succeeded, 5), (Ended::Failed, 3)] {
        for _ in 0..times {
            let run = meters.start("a", Duration::from_millis(10));
            clock.advance(Duration::from_millis(40));
            run.ended(how);
        }
    }
    meters.died("a", 1);
    let tally = meters.tally("a");
    assert_eq!((tally.completed, tally.failed, tally.dead), (5, 3, 1));
    assert_eq!(tally.run.mean(), Some(Duration::from_millis(40)));
    assert_eq!(tally.wait.mean(), Some(Duration::from_millis(10)));
    assert_eq!(meters.tally("b"), Tally::default());
}

#[test]
fn what_runs_is_known_however_it_ends() {
    let (_, meters) = meters();
    let one = meters.start("a", Duration::ZERO);
    let other = meters.start("a", Duration::ZERO);
    assert_eq!((meters.running("a"), meters.running("b")), (2, 0));
    drop(one);
    assert_eq!(meters.running("a"), 1);
    other.ended(Ended::Failed);
    assert_eq!(meters.running("a"), 0);
    // The one that was dropped is neither.
    assert_eq!(meters.tally("a").failed, 1);
}

#[test]
fn the_window_slides() {
    let (clock, meters) = meters();
    for minute in 0..30 {
        let run = meters.start("a", Duration::from_millis(minute));
        run.ended(Ended::Succeeded);
        assert_eq!(meters.tally("a").completed, (minute + 1).min(10), "minute {minute}");
        clock.advance(MINUTE);
    }
    clock.advance(MINUTE * 9);
    assert_eq!(meters.tally("a"), Tally::default());
}

#[test]
fn the_wall_clock_may_jump() {
    let (clock, meters) = meters();
    meters.start("a", Duration::ZERO).ended(Ended::Succeeded);
    clock.set_wall(Timestamp::from_micros(i64::MAX / 2));
    meters.start("a", Duration::ZERO).ended(Ended::Succeeded);
    clock.set_wall(Timestamp::from_micros(0));
    assert_eq!(meters.tally("a").completed, 2);
}

#[test]
fn an_agent_of_others_is_not_counted() {
    let (_, meters) = meters();
    let run = meters.start("stranger", Duration::ZERO);
    assert_eq!(meters.running("stranger"), 0);
    run.ended(Ended::Succeeded);
    assert_eq!(meters.tally("stranger"), Tally::default());
}
