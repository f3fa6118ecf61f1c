//! The line before the lanes: bounded, first come first served, with many who take.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::db::deadline::now;
use crate::limits;

/// What waits, and how many are there to take it.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// One permit per free place; closed with the line.
    places: Semaphore,
    state: Mutex<State<T>>,
    /// Signalled when something arrives, and at the end.
    arrived: Condvar,
    /// Signalled at the end only: what interrupts a pause.
    closing: Condvar,
    /// Signalled when a lane ends.
    ended: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<Item<T>>,
    /// Lanes that sleep until something arrives.
    idle: usize,
    /// Lanes that will look at the line again.
    lanes: usize,
    /// Lanes that were ever needed, and how many of them are gone.
    begun: usize,
    ended: usize,
    /// Until when no lane is added, because the server takes no more connections.
    crowded: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
struct Item<T> {
    content: T,
    /// Whether its place must be given back.
    placed: bool,
}

/// Whether whoever put something in has to start a lane for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// It is counted already.
    Lane,
}

/// How something comes into line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    New,
    /// From a lane, to go on with what was begun: that lane will look at the line again, also at the end.
    Further,
}

/// A free place, waited for at most `limit`.
///
/// # Cancel safety
/// Dropped before it answers, no place is taken.
pub(super) async fn place(places: &Semaphore, limit: Duration) -> Result<SemaphorePermit<'_>> {
    // A timer only for those who wait.
    if let Ok(place) = places.try_acquire() {
        return Ok(place);
    }
    match tokio::time::timeout(limit, places.acquire()).await {
        Ok(place) => place.map_err(|_closed| closed()),
        Err(_) => Err(
            Error::new(ErrorKind::Overloaded, "the line for the database stayed full")
                .with("waited_ms", limit.as_millis())
                .with("limit", limits::DB_QUEUE),
        ),
    }
}

impl<T> Line<T> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            state: Mutex::new(State {
                items: VecDeque::new(),
                idle: 0,
                lanes: 0,
                begun: 0,
                ended: 0,
                crowded: None,
                closed: false,
            }),
            arrived: Condvar::new(),
            closing: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    /// Puts `content` in, waiting for a place for at most `limit`.
    ///
    /// # Cancel safety
    /// Dropped before it answers, nothing was put in.
    pub(super) async fn put(&self, content: T, limit: Duration, lanes_max: usize) -> Result<Need> {
        let place = place(&self.places, limit).await?;
        place.forget();
        // What comes back is dropped here, without the lock: its drop is its owner's code.
        self.push(content, true, Entry::New, lanes_max)
            .map_err(|_refused| closed())
    }

    /// Puts `content` in beside the bound: for the few that are bounded otherwise. Gives it back when the line is closed.
    pub(super) fn put_beside(&self, content: T, entry: Entry, lanes_max: usize) -> Result<Need, T> {
        self.push(content, false, entry, lanes_max)
    }

    fn push(&self, content: T, placed: bool, entry: Entry, lanes_max: usize) -> Result<Need, T> {
        let mut state = self.lock();
        if state.closed && entry == Entry::New {
            return Err(content);
        }
        state.items.push_back(Item { content, placed });
        let crowded = state.crowded.is_some_and(|until| now() < until);
        let short = state.items.len() > state.idle && entry == Entry::New;
        let need = if short && (state.lanes == 0 || (state.lanes < lanes_max && !crowded)) {
            state.lanes += 1;
            state.begun += 1;
            Need::Lane
        } else {
            Need::Nothing
        };
        drop(state);
        if entry == Entry::New {
            self.arrived.notify_one();
        }
        Ok(need)
    }

    /// Puts back what was taken, to be the next; the lane that took it is to end, and none is added for a while. The last lane
    /// there is must keep it.
    pub(super) fn retreat(&self, content: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.lanes < 2 {
            return Err(content);
        }
        state.lanes -= 1;
        state.crowded = now().checked_add(limits::DB_CROWDED_PAUSE);
        state.items.push_front(Item { content, placed: false });
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Sleeps until something is there and takes the oldest. `None` when this lane is to end: the line is closed and empty,
    /// or nothing came for `idle_max`. Its end must be told with [`Line::lane_ended`].
    pub(super) fn take(&self, idle_max: Duration) -> Option<T> {
        let mut state = self.lock();
        state.idle += 1;
        let nothing = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        let waited = self.arrived.wait_timeout_while(state, idle_max, nothing);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let Some(item) = state.items.pop_front() else {
            // In the same breath, so that whoever comes now does not rely on it.
            state.lanes -= 1;
            return None;
        };
        drop(state);
        Some(self.give_back(item))
    }

    /// Takes the oldest, if there is one.
    pub(super) fn take_now(&self) -> Option<T> {
        let item = self.lock().items.pop_front()?;
        Some(self.give_back(item))
    }

    fn give_back(&self, item: Item<T>) -> T {
        if item.placed {
            self.places.add_permits(1);
        }
        item.content
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.lock().lanes
    }

    /// A lane is gone for good. `counted`: neither [`Line::take`] nor [`Line::retreat`] has taken it off the count.
    pub(super) fn lane_ended(&self, counted: bool) {
        let mut state = self.lock();
        state.lanes -= usize::from(counted);
        state.ended += 1;
        drop(state);
        self.ended.notify_all();
    }

    /// Pauses, unless the line is closed; `false` if it is.
    pub(super) fn pause(&self, length: Duration) -> bool {
        let waited = self
            .closing
            .wait_timeout_while(self.lock(), length, |state| !state.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    #[cfg(feature = "test-util")]
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Refuses whoever comes now or waits for a place. What is in can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.arrived.notify_all();
        self.closing.notify_all();
    }

    /// Sleeps until the last lane has ended; `false` when that took longer than `limit`.
    pub(super) fn wait_for_end(&self, limit: Duration) -> bool {
        let under_way = |state: &mut State<T>| state.ended < state.begun;
        let waited = self.ended.wait_timeout_while(self.lock(), limit, under_way);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// What nobody will take any more.
    pub(super) fn clear(&self) -> Vec<T> {
        let items = std::mem::take(&mut self.lock().items);
        items.into_iter().map(|item| item.content).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the database is closed")
}
