//! Callers under a model checker: thousands of schedules, each decided turn by turn. One that waits for ever is reported as a
//! deadlock.

mod sync;

// The meeting itself, this time over `sync` above.
#[expect(
    clippy::duplicate_mod,
    unreachable_pub,
    reason = "the same text over other primitives is the point"
)]
#[path = "../meeting.rs"]
mod meeting;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use hive_errors::{Error, ErrorKind, Result};
use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use shuttle::thread;
use tokio::sync::watch;

use self::meeting::Gather;

const SCHEDULES: usize = 3_000;
const CALLERS: u64 = 4;

/// Runs `model` under schedules of two kinds: evenly random ones, and ones with few switches at bad moments.
fn check(model: fn()) {
    shuttle::check_random(model, SCHEDULES);
    shuttle::check_pct(model, SCHEDULES, 3);
}

/// Who meets, and what is seen of their work.
struct Place {
    gather: Gather<u64, u64>,
    turns: usize,
    limit: usize,
    working: AtomicUsize,
}

impl Place {
    fn new() -> Arc<Self> {
        let (turns, limit) = (thread_rng().gen_range(1..3), thread_rng().gen_range(1..4));
        Arc::new(Self {
            gather: Gather::new(turns, limit, |_| (1, 0)),
            turns,
            limit,
            working: AtomicUsize::new(0),
        })
    }

    /// The double of each, after a while; of three nothing, and of all nothing when a five is among them.
    async fn work(&self, numbers: Vec<u64>) -> Result<Vec<Result<u64>>> {
        let _working = Working::begin(self);
        assert!(!numbers.is_empty() && numbers.len() <= self.limit, "{numbers:?}");
        for _ in 0..thread_rng().gen_range(0..3) {
            yield_now().await;
        }
        if numbers.contains(&5) {
            return Err(Error::new(ErrorKind::Storage, "away"));
        }
        let one = |number| match number {
            3 => Err(Error::new(ErrorKind::Conflict, "no")),
            _ => Ok(2 * number),
        };
        Ok(numbers.into_iter().map(one).collect())
    }
}

/// Also when whoever works goes away.
struct Working<'p>(&'p Place);

impl<'p> Working<'p> {
    fn begin(place: &'p Place) -> Self {
        let others = place.working.fetch_add(1, Ordering::SeqCst);
        assert!(others < place.turns, "more are at work than there are turns");
        Self(place)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What it comes to, unless the caller goes away before, after so many looks.
async fn for_a_while<F: Future>(mut looks: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if looks == 0 => Poll::Ready(None),
        Poll::Pending => {
            looks -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A caller that stays must hear what is its own.
fn caller(place: &Arc<Place>, number: u64) -> thread::JoinHandle<Result<u64>> {
    let place = Arc::clone(place);
    thread::spawn(move || block_on(place.gather.call(number, async |numbers| place.work(numbers).await)))
}

/// One that does not, whatever it does at that moment.
fn visitor(place: &Arc<Place>, number: u64) -> thread::JoinHandle<()> {
    let (place, looks) = (Arc::clone(place), thread_rng().gen_range(0..5));
    thread::spawn(move || {
        let heard = block_on(for_a_while(
            looks,
            place.gather.call(number, async |numbers| place.work(numbers).await),
        ));
        if let Some(heard) = heard {
            assert_eq!(heard.ok(), Some(2 * number));
        }
    })
}

#[test]
fn everybody_who_stays_hears_what_is_his_own() {
    check(|| {
        let place = Place::new();
        let visitors: Vec<_> = (10..12).map(|number| visitor(&place, number)).collect();
        let callers: Vec<_> = (0..CALLERS).map(|number| (number, caller(&place, number))).collect();
        for (number, caller) in callers {
            match caller.join().unwrap() {
                Ok(answer) => assert_eq!((number != 3, answer), (true, 2 * number)),
                Err(error) => assert_eq!((number, error.kind()), (3, ErrorKind::Conflict)),
            }
        }
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
        // All turns are given back.
        assert_eq!(place.gather.turns.available_permits(), place.turns);
        assert_eq!(place.working.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_failure_is_heard_by_those_that_it_was_for_and_by_nobody_else() {
    check(|| {
        let place = Place::new();
        let callers: Vec<_> = [5, 6, 7].map(|number| (number, caller(&place, number))).into();
        for (number, caller) in callers {
            match caller.join().unwrap() {
                Ok(answer) => assert_eq!(answer, 2 * number),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Storage),
            }
        }
    });
}

/// Callers that find nothing left to do leave their turn to those that come.
#[test]
fn no_turn_is_held_by_one_that_only_waits() {
    const FIRST: usize = 0;
    const LAST: usize = 3;
    check(|| {
        let gather: Arc<Gather<usize, usize>> = Arc::new(Gather::new(2, 10, |_| (1, 0)));
        // What is done for the first waits until something is done for the last, who comes after it.
        let (first, last) = (watch::Sender::new(false), watch::Sender::new(false));
        let callers: Vec<_> = (FIRST..=LAST)
            .map(|number| {
                let (gather, first, last) = (Arc::clone(&gather), first.clone(), last.clone());
                thread::spawn(move || {
                    if number == LAST {
                        block_on(first.subscribe().wait_for(|begun| *begun)).unwrap();
                    }
                    let work = async |numbers: Vec<usize>| {
                        if numbers.contains(&LAST) {
                            last.send_replace(true);
                        }
                        if numbers.contains(&FIRST) {
                            first.send_replace(true);
                            last.subscribe().wait_for(|begun| *begun).await.unwrap();
                        }
                        Ok(numbers.into_iter().map(Ok).collect())
                    };
                    block_on(gather.call(number, work)).unwrap()
                })
            })
            .collect();
        for (number, caller) in callers.into_iter().enumerate() {
            assert_eq!(caller.join().unwrap(), number);
        }
    });
}
