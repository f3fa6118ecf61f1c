//! What a run is doing: working, or only waiting. Decides when it may let go of its worker and of its lease.

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::queue::wait::NewWait;

/// Shared by the agent's branches, which report, and the driver, which acts.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    state: Mutex<State>,
    /// Tells the driver to look.
    changed: Notify,
    /// Tells the branches that the journal has news.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    working: usize,
    waiting: usize,
    new: Vec<NewWait>,
}

/// What the branches want of the driver.
#[derive(Debug)]
pub(crate) struct Demand {
    /// Waits to register.
    pub(crate) new: Vec<NewWait>,
    /// How many branches wait.
    pub(crate) waiting: usize,
    /// Some branch waits and none works.
    pub(crate) idle: bool,
}

impl Activity {
    /// A step is under way until the guard is dropped.
    pub(crate) fn work(&self) -> Working<'_> {
        self.state().working += 1;
        self.changed.notify_one();
        Working(self)
    }

    /// A branch waits until the guard is dropped.
    pub(crate) fn wait(&self, new: impl IntoIterator<Item = NewWait>) -> Waiting<'_> {
        let mut state = self.state();
        state.waiting += 1;
        state.new.extend(new);
        drop(state);
        self.changed.notify_one();
        Waiting(self)
    }

    /// # Cancel safety
    /// A change between two calls is kept for the second.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Lets the driver look once more, after the branches had their turn.
    pub(crate) fn look(&self) {
        self.changed.notify_one();
    }

    /// How many branches wait, working ones or not.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    pub(crate) fn take(&self) -> Demand {
        let mut state = self.state();
        Demand {
            new: std::mem::take(&mut state.new),
            waiting: state.waiting,
            idle: state.waiting > 0 && state.working == 0,
        }
    }

    /// Ready once the driver has put news into the journal. Ask for it before looking there.
    pub(crate) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }

    pub(crate) fn announce(&self) {
        self.news.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Working<'a>(&'a Activity);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.state().working -= 1;
        self.0.changed.notify_one();
    }
}

#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Activity);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
        self.0.changed.notify_one();
    }
}
