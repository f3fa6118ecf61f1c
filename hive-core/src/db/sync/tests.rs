//! The writer's queue under a model checker: thousands of schedules, each decided turn by turn. A party that waits for ever is
//! reported as a deadlock.

mod sync;

// The queue itself, this time over `sync` above.
#[expect(clippy::duplicate_mod, reason = "the same text over other primitives is the point")]
#[path = "../queue.rs"]
mod queue;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;
use tokio::sync::oneshot;

use self::queue::{Linger, Queue, Refused};

const SCHEDULES: usize = 3_000;
const WRITERS: u32 = 3;
const ITEMS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `model` under schedules of two kinds: evenly random ones, and ones with few switches at bad moments.
fn check(model: fn()) {
    shuttle::check_random(model, SCHEDULES);
    shuttle::check_pct(model, SCHEDULES, 3);
}

fn linger() -> Linger {
    Linger {
        items: thread_rng().gen_range(0..4),
        at_most: Duration::from_millis(1),
    }
}

/// Which writer's, and which of them.
type Item = (u32, u32);

/// Puts items in and tells which were taken in.
fn writer(queue: Arc<Queue<Item>>, number: u32) -> thread::JoinHandle<Vec<Item>> {
    thread::spawn(move || {
        let mut accepted = Vec::new();
        for item in (0..ITEMS).map(|item| (number, item)) {
            match block_on(queue.put(item, PATIENCE)) {
                Ok(()) => accepted.push(item),
                Err(Refused::Full) => {}
                Err(Refused::Closed) => break,
            }
        }
        accepted
    })
}

/// Takes batches until `stop` says so of one, or the queue ends.
fn taker(queue: Arc<Queue<Item>>, places: usize, stop: fn(&[Item]) -> bool) -> thread::JoinHandle<Vec<Item>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        loop {
            let most = thread_rng().gen_range(1..4);
            let Some(batch) = queue.take(most, linger()) else {
                return all;
            };
            assert!(!batch.is_empty() && batch.len() <= most, "{} of {most}", batch.len());
            assert!(queue.len() <= places, "the queue holds more than it has places for");
            let end = stop(&batch);
            all.extend(batch);
            if end {
                return all;
            }
        }
    })
}

/// Each item that was taken in came out, once, and each writer's in order; nothing else did.
fn assert_complete(accepted: &[Vec<Item>], taken: &[Item]) {
    for own in accepted {
        let number = own.first().map(|item| item.0);
        let came: Vec<Item> = taken.iter().copied().filter(|item| Some(item.0) == number).collect();
        assert_eq!(&came, own);
    }
    assert_eq!(taken.len(), accepted.iter().map(Vec::len).sum::<usize>());
}

#[test]
fn what_is_taken_in_comes_out_once_and_in_order_whenever_the_queue_is_closed() {
    check(|| {
        let places = thread_rng().gen_range(1..4);
        let queue = Arc::new(Queue::new(places));
        let writers: Vec<_> = (0..WRITERS).map(|number| writer(Arc::clone(&queue), number)).collect();
        let taker = taker(Arc::clone(&queue), places, |_| false);
        let closer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.close())
        };
        let accepted: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        closer.join().unwrap();
        assert_complete(&accepted, &taker.join().unwrap());
        // Closed is closed.
        assert_eq!(block_on(queue.put((9, 9), PATIENCE)), Err(Refused::Closed));
        assert!(queue.take(1, linger()).is_none());
    });
}

#[test]
fn no_place_is_lost_and_none_is_made_up() {
    check(|| {
        const LAST: Item = (99, 0);
        let places = thread_rng().gen_range(1..4);
        let queue = Arc::new(Queue::new(places));
        let taker = taker(Arc::clone(&queue), places, |batch| batch.last() == Some(&LAST));
        let writers: Vec<_> = (0..WRITERS).map(|number| writer(Arc::clone(&queue), number)).collect();
        let mut accepted: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        while block_on(queue.put(LAST, PATIENCE)) != Ok(()) {}
        accepted.push(vec![LAST]);
        assert_complete(&accepted, &taker.join().unwrap());
        // Whoever gave up while a place was on its way to him has left it to the others.
        for item in 0..places {
            let item = (0, u32::try_from(item).unwrap());
            assert_eq!(at_once(queue.put(item, PATIENCE)), Some(Ok(())));
        }
        assert!(matches!(
            at_once(queue.put((0, 9), PATIENCE)),
            None | Some(Err(Refused::Full))
        ));
        assert_eq!(queue.len(), places);
    });
}

/// What `future` comes to if it need not wait.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A write as the writer's thread sees it: something to do, and somebody who waits.
type Write = (u32, oneshot::Sender<u32>);

/// What a writer heard.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Done,
    Full,
    Closed,
}

/// Puts a write in and waits for its answer, as `Writer::write` does.
fn write(queue: &Queue<Write>, number: u32) -> Heard {
    let (answer, value) = oneshot::channel();
    match block_on(queue.put((number, answer), PATIENCE)) {
        Ok(()) => match block_on(value) {
            Ok(value) => {
                assert_eq!(value, number, "somebody else's answer");
                Heard::Done
            }
            // The thread has gone.
            Err(_) => Heard::Closed,
        },
        Err(Refused::Full) => Heard::Full,
        Err(Refused::Closed) => Heard::Closed,
    }
}

/// What the writer's thread leaves when it goes, whether in good order or by a panic.
struct Abandon<'q>(&'q Queue<Write>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.close();
        while let Some(works) = self.0.take(usize::MAX, Linger::default()) {
            drop(works);
        }
    }
}

#[test]
fn whoever_waits_hears_something_however_the_writer_ends() {
    check(|| {
        let queue: Arc<Queue<Write>> = Arc::new(Queue::new(thread_rng().gen_range(1..3)));
        let committed = Arc::new(Mutex::new(Vec::new()));
        let server = {
            let (queue, committed) = (Arc::clone(&queue), Arc::clone(&committed));
            // Sometimes it ends by itself, with works in its hands.
            let mut lifetime = thread_rng().gen_range(1..12_u32);
            thread::spawn(move || {
                let _abandon = Abandon(&queue);
                while let Some(works) = queue.take(2, linger()) {
                    lifetime = lifetime.saturating_sub(1);
                    if lifetime == 0 {
                        return;
                    }
                    committed
                        .lock()
                        .unwrap()
                        .extend(works.iter().map(|(number, _)| *number));
                    for (number, answer) in works {
                        // Whoever has gone needs no answer.
                        let _gone = answer.send(number);
                    }
                }
            })
        };
        let clients: Vec<_> = (0..WRITERS)
            .map(|client| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let numbers = (0..2).map(|item| client * 10 + item);
                    numbers
                        .map(|number| (number, write(&queue, number)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let closer = thread_rng().gen_bool(0.5).then(|| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.close())
        });
        let heard: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        if let Some(closer) = closer {
            closer.join().unwrap();
        }
        // As the last handle's drop does.
        queue.close();
        server.join().unwrap();
        let committed = committed.lock().unwrap();
        for (number, heard) in heard {
            let times = committed.iter().filter(|done| **done == number).count();
            assert_eq!(times, usize::from(heard == Heard::Done), "{number} heard {heard:?}");
        }
        assert_eq!(queue.len(), 0);
    });
}
