//! Slots: how many runs may go on at once. The number may change at any time, also while all of them are taken.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hive_core::clock::Clock;
use tokio::sync::Semaphore;

/// So many slots. Whoever waits for one gets it in turn.
///
/// More slots are there at once. Fewer never end what goes on: those that are free go at once, and of those that are taken as
/// many as are too many go when they come back. Until then nothing begins.
pub(crate) struct Slots {
    /// Invariant: what is free, what is out and what is in the hands of a waiter are together the size and the debt.
    free: Semaphore,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    size: usize,
    /// How many of those that are out are too many.
    debt: usize,
    busy: usize,
    /// How long slots were busy, all together, up to a point of the monotonic clock.
    worked: Duration,
    at: Duration,
    /// Since when each of those waits who do, by their tickets.
    line: BTreeMap<u64, Duration>,
    ticket: u64,
}

/// How slots are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) size: usize,
    pub(crate) busy: usize,
    /// How long slots were busy, all together, since they were made.
    pub(crate) worked: Duration,
    /// How many wait for one.
    pub(crate) waiting: usize,
    /// How long the first of them has waited.
    pub(crate) oldest_wait: Duration,
}

impl Slots {
    pub(crate) fn new(size: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            free: Semaphore::new(size),
            state: Mutex::new(State {
                size,
                at: clock.monotonic(),
                ..State::default()
            }),
            clock,
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.state().size
    }

    /// From here on there are so many, at most [`Semaphore::MAX_PERMITS`].
    pub(crate) fn resize(&self, size: usize) {
        let mut state = self.state();
        if let Some(more) = size.checked_sub(state.size) {
            let paid = more.min(state.debt);
            state.debt -= paid;
            self.free.add_permits(more - paid);
        } else {
            state.debt += state.size - size;
            state.debt -= self.free.forget_permits(state.debt);
        }
        state.size = size;
    }

    pub(crate) fn usage(&self) -> Usage {
        let mut state = self.state();
        let now = self.clock.monotonic();
        state.pass(now);
        Usage {
            size: state.size,
            busy: state.busy,
            worked: state.worked,
            waiting: state.line.len(),
            oldest_wait: state
                .line
                .values()
                .next()
                .map_or(Duration::ZERO, |since| now.saturating_sub(*since)),
        }
    }

    /// Sets up to `most` of those that are free apart. They are not busy until they are taken.
    pub(crate) fn reserve(self: &Arc<Self>, most: usize) -> Reserved {
        let mut state = self.state();
        let mut count = loop {
            let count = self.free.available_permits().min(most);
            let few = u32::try_from(count).unwrap_or(u32::MAX);
            // Somebody may have taken one meanwhile: then there are fewer.
            if let Ok(permits) = self.free.try_acquire_many(few) {
                permits.forget();
                break few as usize;
            }
        };
        // A waiter that went away in the last moment gives back without asking whether that was one too many.
        let paid = count.min(state.debt);
        state.debt -= paid;
        count -= paid;
        drop(state);
        Reserved {
            slots: Arc::clone(self),
            count,
        }
    }

    /// Waits for a slot.
    ///
    /// # Cancel safety
    /// Dropped, the place in the line is lost and nothing else.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Slot {
        if let Some(slot) = self.reserve(1).take() {
            return slot;
        }
        let _waiting = self.enter();
        loop {
            // Nobody closes it.
            let Ok(permit) = self.free.acquire().await else {
                pending().await
            };
            permit.forget();
            let mut state = self.state();
            if state.debt > 0 {
                state.debt -= 1;
                continue;
            }
            return self.begin(&mut state);
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State) -> Slot {
        state.pass(self.clock.monotonic());
        state.busy += 1;
        Slot(Arc::clone(self))
    }

    fn enter(&self) -> Waiting<'_> {
        let mut state = self.state();
        let ticket = state.ticket;
        state.ticket += 1;
        state.line.insert(ticket, self.clock.monotonic());
        Waiting { slots: self, ticket }
    }

    /// Takes back what is not too many.
    fn give_back(&self, state: &mut State, count: usize) {
        let paid = count.min(state.debt);
        state.debt -= paid;
        self.free.add_permits(count - paid);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Time has passed, up to `now`.
    fn pass(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at);
        let busy = u32::try_from(self.busy).unwrap_or(u32::MAX);
        self.worked = self.worked.saturating_add(passed.saturating_mul(busy));
        self.at = self.at.max(now);
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Somebody waits for a slot, until this is dropped.
struct Waiting<'a> {
    slots: &'a Slots,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.slots.state().line.remove(&self.ticket);
    }
}

/// Slots that are set apart. Those that are not taken are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    slots: Arc<Slots>,
    count: usize,
}

impl Reserved {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn take(&mut self) -> Option<Slot> {
        self.count = self.count.checked_sub(1)?;
        let mut state = self.slots.state();
        Some(self.slots.begin(&mut state))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.count > 0 {
            let mut state = self.slots.state();
            self.slots.give_back(&mut state, self.count);
        }
    }
}

/// A slot that is busy until this is dropped.
#[derive(Debug)]
#[must_use = "the slot is free again when this is dropped"]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.pass(self.0.clock.monotonic());
        state.busy -= 1;
        self.0.give_back(&mut state, 1);
    }
}
