//! Where those who wait put down their names, and those who change something look.

use std::collections::HashMap;
use std::sync::Arc;

use hive_core::id::TaskId;
use tokio_util::sync::CancellationToken;

use super::sync::{Mutex, MutexGuard, Notify, PoisonError, watch};
use crate::lease::Lease;
use crate::task::End;

/// What a watcher of a task is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Grows with every change.
    version: u64,
    /// Set with the last one.
    pub(crate) ended: bool,
    /// How it ended, where that is at hand.
    pub(crate) end: Option<Arc<End>>,
}

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
    runs: Mutex<Runs>,
    pub(super) watchers: Mutex<HashMap<TaskId, watch::Sender<News>>>,
    /// Tasks of each agent that have died since somebody asked.
    died: Mutex<HashMap<String, u64>>,
}

#[derive(Debug, Default)]
struct Runs {
    /// Keyed by the task's row.
    signs: HashMap<i64, (u32, RunSigns)>,
    /// Whether all must stop, those included that begin in this moment.
    stopped: bool,
}

impl Wakeups {
    /// A task of the agent has gone to the dead letters.
    pub(crate) fn died(&self, agent: String) {
        *lock(&self.died).entry(agent).or_default() += 1;
    }

    /// How many of the agent's tasks have died since this was asked before.
    pub(crate) fn take_died(&self, agent: &str) -> u64 {
        lock(&self.died).remove(agent).unwrap_or(0)
    }

    pub(crate) fn dispatch(&self) {
        self.dispatch.notify_one();
    }

    /// # Cancel safety
    /// A wake-up that comes between two calls is kept for the second.
    pub(crate) async fn dispatched(&self) {
        self.dispatch.notified().await;
    }

    /// From here on a run can be told. Called by the commit that claims it: whatever is committed later finds the run.
    pub(crate) fn enter(&self, lease: Lease, signs: RunSigns) {
        let mut runs = lock(&self.runs);
        if runs.stopped {
            signs.stop.cancel();
        }
        let before = runs.signs.insert(lease.task, (lease.attempt, signs));
        drop(runs);
        if let Some((_, fenced_off)) = before {
            fenced_off.stop.cancel();
        }
    }

    pub(crate) fn leave(&self, lease: Lease) {
        let mut runs = lock(&self.runs);
        // A run that lost its lease may end after its successor has begun.
        if runs
            .signs
            .get(&lease.task)
            .is_some_and(|(attempt, _)| *attempt == lease.attempt)
        {
            runs.signs.remove(&lease.task);
        }
    }

    pub(crate) fn resolved(&self, task: i64) {
        if let Some((_, run)) = lock(&self.runs).signs.get(&task) {
            run.resolved.notify_one();
        }
    }

    pub(crate) fn stop(&self, task: i64) {
        if let Some((_, run)) = lock(&self.runs).signs.get(&task) {
            run.stop.cancel();
        }
    }

    /// Stops the run that has this attempt, if it still goes on.
    pub(crate) fn stop_attempt(&self, task: i64, attempt: u32) {
        if let Some((known, run)) = lock(&self.runs).signs.get(&task)
            && *known == attempt
        {
            run.stop.cancel();
        }
    }

    /// Stops every run that is under way.
    pub(crate) fn stop_running(&self) {
        for (_, run) in lock(&self.runs).signs.values() {
            run.stop.cancel();
        }
    }

    /// As [`Wakeups::stop_running`], and those that begin from now on.
    pub(crate) fn stop_all(&self) {
        let mut runs = lock(&self.runs);
        runs.stopped = true;
        for (_, run) in runs.signs.values() {
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
                sender.send_modify(|news| news.version += 1);
            }
        }
    }

    /// Tells them that it has ended. Nothing comes after that.
    pub(crate) fn ended(&self, task: TaskId, end: End) {
        self.tell_end(task, Some(Arc::new(end)));
    }

    /// As [`Wakeups::ended`], where it is for the watcher to find out how.
    pub(crate) fn ended_elsewhere(&self, task: TaskId) {
        self.tell_end(task, None);
    }

    fn tell_end(&self, task: TaskId, end: Option<Arc<End>>) {
        let Some(sender) = lock(&self.watchers).remove(&task) else {
            return;
        };
        sender.send_modify(|news| {
            news.version += 1;
            news.ended = true;
            news.end = end;
        });
    }

    /// The tasks that somebody watches.
    pub(crate) fn watched(&self) -> Vec<TaskId> {
        let mut watchers = lock(&self.watchers);
        watchers.retain(|_, sender| !sender.is_closed());
        watchers.keys().copied().collect()
    }

    /// The leases of the runs under way.
    pub(crate) fn running(&self) -> Vec<(i64, u32)> {
        let runs = lock(&self.runs);
        runs.signs
            .iter()
            .map(|(task, (attempt, _))| (*task, *attempt))
            .collect()
    }

    /// Hears of every change of the task from now on, several at once as one.
    pub(crate) fn watch(&self, task: TaskId) -> watch::Receiver<News> {
        let mut watchers = lock(&self.watchers);
        // Those whose watchers have gone and that never changed again would stay for ever otherwise.
        if watchers.len().is_power_of_two() {
            watchers.retain(|_, sender| !sender.is_closed());
        }
        watchers
            .entry(task)
            .or_insert_with(|| watch::Sender::new(News::default()))
            .subscribe()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
