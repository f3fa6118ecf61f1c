//! What an agent's future waits for besides its context.
//!
//! A run that only waits for the hive may be parked: its future is dropped and made again later. One that also waits for
//! something of its own, a request or a timer outside of a step, may not, or that would never get done. Whoever is to wake
//! a future holds a clone of its waker, so the clones that are not the context's tell of such things.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Stands between a future and the task that polls it, and counts who may wake it.
#[derive(Debug)]
pub(super) struct Bell {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whom to wake.
    task: Mutex<Option<Waker>>,
    /// Rung since the last poll.
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Polls `future`, which rings this bell to be polled again.
    pub(super) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>, task: &Context<'_>) -> Poll<F::Output> {
        {
            let mut known = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.as_ref().is_some_and(|known| known.will_wake(task.waker())) {
                *known = Some(task.waker().clone());
            }
        }
        self.shared.rung.store(false, Ordering::Relaxed);
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// Whether the future waits for more than its `waits` in the context, or is about to be polled.
    ///
    /// A combinator that polls its parts with wakers of its own counts as one; then less is seen than there is.
    pub(super) fn is_expected(&self, waits: usize) -> bool {
        // This bell's own two apart.
        let holders = Arc::strong_count(&self.shared).saturating_sub(2);
        // Who rings lets go afterwards: a clone that is not counted any more has rung.
        fence(Ordering::Acquire);
        holders > waits || self.shared.rung.load(Ordering::Relaxed)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}
