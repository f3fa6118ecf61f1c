//! Wake-ups inside the process: who waits for what to change. Nothing here is state; lose it and only time is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_core::id::TaskId;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::lease::Lease;

/// The signs by which a run hears of changes that others made to its task.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunSigns {
    /// One of its waits was resolved.
    pub(crate) resolved: Arc<Notify>,
    /// It must stop: cancelled, fenced off or shut down. What it writes from now on would be refused.
    pub(crate) stop: CancellationToken,
}

/// Shared by everything that changes tasks and everything that waits for a change.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    /// Something may be ready to run.
    dispatch: Notify,
    // Keyed by the task's row.
    runs: Mutex<HashMap<i64, (u32, RunSigns)>>,
    watchers: Mutex<HashMap<TaskId, watch::Sender<u64>>>,
}

impl Wakeups {
    pub(crate) fn dispatch(&self) {
        self.dispatch.notify_one();
    }

    /// # Cancel safety
    /// A wake-up that comes between two calls is kept for the second.
    pub(crate) async fn dispatched(&self) {
        self.dispatch.notified().await;
    }

    pub(crate) fn enter(&self, lease: Lease) -> RunSigns {
        let signs = RunSigns::default();
        lock(&self.runs).insert(lease.task, (lease.attempt, signs.clone()));
        signs
    }

    pub(crate) fn leave(&self, lease: Lease) {
        let mut runs = lock(&self.runs);
        // A run that lost its lease may end after its successor has begun.
        if runs
            .get(&lease.task)
            .is_some_and(|(attempt, _)| *attempt == lease.attempt)
        {
            runs.remove(&lease.task);
        }
    }

    pub(crate) fn resolved(&self, task: i64) {
        if let Some((_, run)) = lock(&self.runs).get(&task) {
            run.resolved.notify_one();
        }
    }

    pub(crate) fn stop(&self, task: i64) {
        if let Some((_, run)) = lock(&self.runs).get(&task) {
            run.stop.cancel();
        }
    }

    pub(crate) fn stop_all(&self) {
        for (_, run) in lock(&self.runs).values() {
            run.stop.cancel();
        }
    }

    /// Tells whoever watches the task that it has changed.
    pub(crate) fn changed(&self, task: TaskId) {
        let mut watchers = lock(&self.watchers);
        if let Some(sender) = watchers.get(&task) {
            if sender.is_closed() {
                watchers.remove(&task);
            } else {
                sender.send_modify(|version| *version += 1);
            }
        }
    }

    /// Hears of every change of the task from now on, several at once as one.
    pub(crate) fn watch(&self, task: TaskId) -> watch::Receiver<u64> {
        let mut watchers = lock(&self.watchers);
        // Those whose watchers have gone and that never changed again would stay for ever otherwise.
        if watchers.len().is_power_of_two() {
            watchers.retain(|_, sender| !sender.is_closed());
        }
        watchers
            .entry(task)
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
