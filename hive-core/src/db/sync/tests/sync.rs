//! The same names over primitives that a model checker schedules. What takes time takes any number of turns, or times out.

pub(super) use std::sync::PoisonError;
pub(super) use std::time::Duration;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::LockResult;
use std::task::Poll;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering};

pub(super) use shuttle::sync::{Mutex, MutexGuard};
/// The checker cannot look inside, and need not: nothing of it runs for long, and its wakers are the checker's.
pub(super) use tokio::sync::Semaphore;

#[derive(Debug, Default)]
pub(super) struct Condvar(Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(super) fn notify_one(&self) {
        self.0.notify_one();
    }

    /// The checker's own never times out. This one may at any moment, because a thread in the role of the timer says so.
    pub(super) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        _at_most: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let (expired, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let timer = {
            let (bell, expired, over) = (Arc::clone(&self.0), Arc::clone(&expired), Arc::clone(&over));
            shuttle::thread::spawn(move || {
                for _ in 0..thread_rng().gen_range(0..10) {
                    shuttle::thread::yield_now();
                }
                expired.store(true, Ordering::SeqCst);
                // Until it is heard: the waiter may not have lain down yet.
                while !over.load(Ordering::SeqCst) {
                    bell.notify_all();
                    shuttle::thread::yield_now();
                }
            })
        };
        let mut timed_out = false;
        while condition(&mut guard) {
            if expired.load(Ordering::SeqCst) {
                timed_out = true;
                break;
            }
            guard = self.0.wait(guard).unwrap();
        }
        over.store(true, Ordering::SeqCst);
        // Not joined: it may only run once the lock that this thread holds is free, and it ends by itself.
        drop(timer);
        Ok((guard, timed_out))
    }
}

/// It was not to be.
#[derive(Debug)]
pub(super) struct Elapsed;

/// Half of the time it waits for ever, so that a wake-up that never comes is found; otherwise it gives up after some turns.
pub(super) async fn timeout<F: Future>(_patience: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut turns = thread_rng().gen_bool(0.5).then(|| thread_rng().gen_range(0..6));
    let mut future = pin!(future);
    poll_fn(|context| match (future.as_mut().poll(context), &mut turns) {
        (Poll::Ready(value), _) => Poll::Ready(Ok(value)),
        (Poll::Pending, None) => Poll::Pending,
        (Poll::Pending, Some(0)) => Poll::Ready(Err(Elapsed)),
        (Poll::Pending, Some(turns)) => {
            *turns -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
