use std::sync::Arc;

use hive_core::clock::{ManualClock, Timestamp};
use hive_core::id::IdSource;
use hive_core::rng::SeededRng;

use super::board::lock;
use super::*;
use crate::lease::Lease;

fn lease(task: i64, attempt: u32) -> Lease {
    Lease {
        task,
        attempt,
        epoch: 1,
    }
}

fn enter(wakeups: &Wakeups, lease: Lease) -> RunSigns {
    let signs = RunSigns::default();
    wakeups.enter(lease, signs.clone());
    signs
}

#[test]
fn a_new_run_stops_the_old_one_and_is_not_removed_by_it() {
    let wakeups = Wakeups::default();
    let (old, new) = (enter(&wakeups, lease(7, 1)), enter(&wakeups, lease(7, 2)));
    assert!(old.stop.is_cancelled() && !new.stop.is_cancelled());
    wakeups.leave(lease(7, 1));
    wakeups.stop(7);
    assert!(new.stop.is_cancelled());
    wakeups.leave(lease(7, 2));
    assert_eq!(wakeups.running(), []);
}

#[test]
fn who_enters_after_all_were_stopped_is_stopped() {
    let wakeups = Wakeups::default();
    let early = enter(&wakeups, lease(1, 1));
    wakeups.stop_all();
    assert!(early.stop.is_cancelled());
    assert!(enter(&wakeups, lease(2, 1)).stop.is_cancelled());
}

#[test]
fn watchers_that_are_gone_are_forgotten() {
    let (clock, rng) = (ManualClock::new(Timestamp::EPOCH), SeededRng::new(7));
    let ids = IdSource::new(Arc::new(clock), Arc::new(rng));
    let wakeups = Wakeups::default();
    let faithful = wakeups.watch(ids.next());
    for _ in 0..10_000 {
        drop(wakeups.watch(ids.next()));
    }
    assert!(lock(&wakeups.watchers).len() <= 4);
    drop(faithful);
}

#[test]
fn a_watcher_hears_of_changes_and_of_the_end() {
    let (clock, rng) = (ManualClock::new(Timestamp::EPOCH), SeededRng::new(7));
    let id = IdSource::new(Arc::new(clock), Arc::new(rng)).next();
    let wakeups = Wakeups::default();
    let mut watcher = wakeups.watch(id);
    wakeups.changed(id);
    assert!(watcher.has_changed().unwrap() && !watcher.borrow_and_update().ended);
    wakeups.ended_elsewhere(id);
    wakeups.changed(id);
    assert!(watcher.borrow_and_update().ended, "an end is not taken back");
}
