//! The board under a model checker: thousands of schedules, each decided turn by turn. One that waits for ever is reported as a
//! deadlock.

mod sync;

// The board itself, this time over `sync` above.
#[expect(
    clippy::duplicate_mod,
    dead_code,
    reason = "the same text over other primitives is the point, and not all of it is used here"
)]
#[path = "../board.rs"]
mod board;

use hive_core::id::{IdSource, TaskId};
use hive_core::payload::Payload;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use self::board::{RunSigns, Wakeups};
use crate::lease::Lease;
use crate::task::End;

const SCHEDULES: usize = 3_000;

/// Runs `model` under schedules of two kinds: evenly random ones, and ones with few switches at bad moments.
fn check(model: fn()) {
    shuttle::check_random(model, SCHEDULES);
    shuttle::check_pct(model, SCHEDULES, 3);
}

fn task() -> TaskId {
    IdSource::system().next()
}

fn end() -> End {
    End::Output(Payload::encode(&1, 100).unwrap())
}

/// What the database says of a task: how often it has changed, and whether it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Row {
    changes: u64,
    ended: bool,
}

/// Looks and waits by turns, as a handle does, until it sees the end. Whoever watches looks first and waits then.
fn watcher(wakeups: &Arc<Wakeups>, row: &Arc<Mutex<Row>>, id: TaskId) -> thread::JoinHandle<()> {
    let (wakeups, row) = (Arc::clone(wakeups), Arc::clone(row));
    thread::spawn(move || {
        let mut news = wakeups.watch(id);
        while !row.lock().unwrap().ended {
            // An error says that nothing comes any more.
            let over = block_on(news.changed()).is_err();
            let told = news.borrow_and_update().clone();
            assert!(!over || told.ended, "the news ended and the task did not");
            if told.ended {
                assert!(row.lock().unwrap().ended, "told of an end that was not");
            }
        }
    })
}

/// Changes the row, commits, and tells, as the hooks of a commit do.
fn changer(wakeups: &Arc<Wakeups>, row: &Arc<Mutex<Row>>, id: TaskId, ends: bool) -> thread::JoinHandle<()> {
    let (wakeups, row, elsewhere) = (Arc::clone(wakeups), Arc::clone(row), thread_rng().gen_bool(0.3));
    thread::spawn(move || {
        {
            let mut row = row.lock().unwrap();
            row.changes += 1;
            row.ended |= ends;
        }
        match (ends, elsewhere) {
            (false, _) => wakeups.changed(id),
            (true, false) => wakeups.ended(id, end()),
            (true, true) => wakeups.ended_elsewhere(id),
        }
    })
}

#[test]
fn whoever_watches_a_task_hears_of_its_end() {
    check(|| {
        let (wakeups, row, id) = (Arc::new(Wakeups::default()), Arc::default(), task());
        let mut threads: Vec<_> = (0..2).map(|_| watcher(&wakeups, &row, id)).collect();
        // One that looks in and goes away again, at the end of which the board forgets the task.
        let (passing, others) = (Arc::clone(&wakeups), task());
        threads.push(thread::spawn(move || {
            drop(passing.watch(id));
            passing.changed(id);
            let other = passing.watch(others);
            let watched = passing.watched();
            assert!(watched.contains(&others), "somebody watches it");
            drop(other);
        }));
        threads.push(changer(&wakeups, &row, id, false));
        threads.push(changer(&wakeups, &row, id, true));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!wakeups.watched().contains(&id), "nobody watches what has ended");
    });
}

/// Whatever is put into the queue is taken out of it, although the dispatcher looks only when it is told to.
#[test]
fn the_dispatcher_is_woken_for_whatever_is_ready() {
    const TASKS: usize = 3;
    check(|| {
        let (wakeups, ready) = (Arc::new(Wakeups::default()), Arc::new(Mutex::new(0)));
        let dispatcher = {
            let (wakeups, ready) = (Arc::clone(&wakeups), Arc::clone(&ready));
            thread::spawn(move || {
                let mut taken = 0;
                loop {
                    taken += std::mem::take(&mut *ready.lock().unwrap());
                    if taken == TASKS {
                        return;
                    }
                    block_on(wakeups.dispatched());
                }
            })
        };
        let submitters: Vec<_> = (0..TASKS)
            .map(|_| {
                let (wakeups, ready) = (Arc::clone(&wakeups), Arc::clone(&ready));
                thread::spawn(move || {
                    *ready.lock().unwrap() += 1;
                    wakeups.dispatch();
                })
            })
            .collect();
        submitters.into_iter().for_each(|one| one.join().unwrap());
        dispatcher.join().unwrap();
    });
}

fn lease(attempt: u32) -> Lease {
    Lease {
        task: 1,
        attempt,
        epoch: 1,
    }
}

/// What a run waits for comes to it whether it looks first or is told first; and a hive that stops stops every run, those included
/// that begin in this moment.
#[test]
fn a_run_hears_of_its_outcomes_and_that_it_must_stop() {
    check(|| {
        let (wakeups, resolved) = (Arc::new(Wakeups::default()), Arc::new(Mutex::new(false)));
        // A commit claims it; what is committed later finds it.
        let signs = RunSigns::default();
        wakeups.enter(lease(1), signs.clone());
        let run = {
            let (resolved, signs) = (Arc::clone(&resolved), signs.clone());
            thread::spawn(move || {
                while !*resolved.lock().unwrap() {
                    block_on(signs.resolved.notified());
                }
            })
        };
        let teller = {
            let (wakeups, resolved) = (Arc::clone(&wakeups), Arc::clone(&resolved));
            thread::spawn(move || {
                *resolved.lock().unwrap() = true;
                wakeups.resolved(1);
            })
        };
        run.join().unwrap();
        teller.join().unwrap();
        // The first is fenced off by the second, leaves late, and takes nothing of it along.
        let second = RunSigns::default();
        let threads = [
            {
                let (wakeups, second) = (Arc::clone(&wakeups), second.clone());
                thread::spawn(move || wakeups.enter(lease(2), second))
            },
            {
                let (wakeups, stop) = (Arc::clone(&wakeups), signs.stop.clone());
                thread::spawn(move || {
                    block_on(stop.cancelled());
                    wakeups.leave(lease(1));
                })
            },
            {
                let wakeups = Arc::clone(&wakeups);
                thread::spawn(move || wakeups.stop_all())
            },
            {
                let stop = second.stop.clone();
                thread::spawn(move || block_on(stop.cancelled()))
            },
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(wakeups.running(), [(1, 2)]);
        wakeups.leave(lease(2));
        assert_eq!(wakeups.running(), []);
    });
}
