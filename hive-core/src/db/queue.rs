//! The line before the writer: bounded, first come first served, taken in batches.

use std::collections::VecDeque;
use std::time::Duration;

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError, Semaphore, timeout};

/// Many put items in and wait for a place when it is full; one thread takes whatever is there.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// One permit per free place; closed with the queue.
    places: Semaphore,
    state: Mutex<State<T>>,
    /// Signalled when as many items wait as the taker wants.
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// How many items the taker sleeps for; nobody sleeps while it is `usize::MAX`.
    wanted: usize,
    closed: bool,
}

/// Why an item was not put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The queue stayed full.
    Full,
    Closed,
}

/// How long to wait for more once the first item is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Linger {
    /// Stop waiting when so many are there.
    pub(super) items: usize,
    pub(super) at_most: Duration,
}

impl<T> Queue<T> {
    pub(super) fn new(places: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            wanted: usize::MAX,
            closed: false,
        };
        Self {
            places: Semaphore::new(places),
            state: Mutex::new(state),
            arrived: Condvar::new(),
        }
    }

    /// Puts `item` in, waiting for a place if it must.
    ///
    /// # Cancel safety
    /// Dropped before it answers, the item was not put in.
    pub(super) async fn put(&self, item: T, patience: Duration) -> Result<(), Refused> {
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            // A timer only for those who wait.
            Err(_) => match timeout(patience, self.places.acquire()).await {
                Ok(Ok(place)) => place,
                Ok(Err(_)) => return Err(Refused::Closed),
                Err(_) => return Err(Refused::Full),
            },
        };
        let mut state = self.lock();
        if state.closed {
            // The item's drop is its owner's code; it runs without the lock.
            drop(state);
            return Err(Refused::Closed);
        }
        // The taker gives the place back.
        place.forget();
        state.items.push_back(item);
        let enough = state.items.len() >= state.wanted;
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Sleeps until something is there and takes at most `most` of it, oldest first. `None` when the queue is closed and
    /// empty.
    pub(super) fn take(&self, most: usize, linger: Linger) -> Option<Vec<T>> {
        let mut state = self.lock();
        state.wanted = 1;
        while state.items.is_empty() && !state.closed {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let items = linger.items.min(most);
        if state.items.len() < items && !state.closed {
            state.wanted = items;
            let few = |state: &mut State<T>| state.items.len() < items && !state.closed;
            let waited = self.arrived.wait_timeout_while(state, linger.at_most, few);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.wanted = usize::MAX;
        let count = state.items.len().min(most);
        let taken: Vec<T> = state.items.drain(..count).collect();
        drop(state);
        self.places.add_permits(count);
        (count > 0).then_some(taken)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Refuses whoever comes now or waits for a place. What is in can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
