use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use tokio::task::{Id, JoinError, JoinSet};

use crate::clock::{Clock, timeout};
use crate::limits::{ABORT_GRACE, PANICS_KEPT_MAX};

/// The tasks that a part of the process runs, by name. Cheap to clone; clones are the same set.
///
/// Nothing outlives it: when the last clone is dropped, whatever still runs is aborted. A panic in a task is logged, kept
/// for the report of [`TaskSet::join_all`], and ends only that task.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
/// use hive_core::clock::SystemClock;
/// use hive_core::shutdown::{Shutdown, TaskSet};
/// use std::{sync::Arc, time::Duration};
///
/// let (shutdown, tasks) = (Shutdown::new(), TaskSet::new(Arc::new(SystemClock)));
/// let stop = shutdown.child();
/// tasks.spawn("sweeper", async move { stop.requested().await });
/// shutdown.request();
/// tasks.join_all(Duration::from_secs(5)).await.into_result()
/// # }
/// ```
#[derive(Clone)]
pub struct TaskSet {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: JoinSet<()>,
    names: HashMap<Id, Cow<'static, str>>,
    done: Joined,
}

/// How the tasks of a set ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// How many tasks ended by themselves, since the set was made or last joined.
    pub finished: u64,
    /// Those that panicked, the first [`PANICS_KEPT_MAX`] of them, in the order in which they did.
    pub panicked: Vec<Panicked>,
    /// How many more panicked.
    pub panicked_more: u64,
    /// The names of those that had not finished at the deadline and were aborted, sorted.
    pub unfinished: Vec<String>,
    /// The names of those among them that did not even end when aborted, because they block their thread, sorted.
    pub stuck: Vec<String>,
}

/// A task that panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panicked {
    /// The task's name.
    pub name: String,
    /// What the panic said.
    pub message: String,
}

impl Joined {
    /// Whether every task ended by itself and without a panic.
    pub fn is_clean(&self) -> bool {
        self.panicked.is_empty() && self.unfinished.is_empty()
    }

    /// An error unless every task ended by itself and without a panic.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] with the field `unfinished`, else [`ErrorKind::Panic`] with the fields of the first panic.
    pub fn into_result(self) -> Result<()> {
        if !self.unfinished.is_empty() {
            let error = Error::new(ErrorKind::Timeout, "some tasks did not finish in time")
                .with("unfinished", self.unfinished.join(", "));
            return Err(if self.stuck.is_empty() {
                error
            } else {
                error.with("stuck", self.stuck.join(", "))
            });
        }
        match self.panicked.first() {
            Some(first) => Err(Error::new(ErrorKind::Panic, "a task panicked")
                .with("task", &first.name)
                .with("panic", &first.message)
                .with(
                    "panicked",
                    self.panicked_more.saturating_add(self.panicked.len() as u64),
                )),
            None => Ok(()),
        }
    }
}

impl TaskSet {
    /// An empty set whose deadlines go by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// Runs `task` on the current tokio runtime under this name, which need not be unique.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(&self, name: impl Into<Cow<'static, str>>, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.lock();
        // Ended tasks are taken out here, so that a set that is only joined at the end does not grow until then.
        while let Some(ended) = state.running.try_join_next_with_id() {
            state.record(ended);
        }
        let id = state.running.spawn(task).id();
        state.names.insert(id, name.into());
    }

    /// How many tasks run, or have ended and were not noticed yet.
    pub fn len(&self) -> usize {
        self.lock().running.len()
    }

    /// Whether no task runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until every task has ended, those that are spawned meanwhile included; aborts what still runs after `deadline`
    /// and then waits for at most [`ABORT_GRACE`] until it is gone.
    ///
    /// It only waits: whoever wants the tasks to end tells them so first, usually by a [`Shutdown`](super::Shutdown).
    /// The set can be used again afterwards.
    ///
    /// # Cancel safety
    /// When the future is dropped, the tasks go on and the next call reports them.
    pub async fn join_all(&self, deadline: Duration) -> Joined {
        let in_time = timeout(&*self.clock, deadline, self.drain()).await.is_ok();
        if !in_time {
            {
                let mut state = self.lock();
                // What ended since the last look ended by itself.
                while let Some(ended) = state.running.try_join_next_with_id() {
                    state.record(ended);
                }
                state.done.unfinished = state.sorted_names();
                state.running.abort_all();
            }
            let gone = timeout(&*self.clock, ABORT_GRACE, self.drain()).await.is_ok();
            if !gone {
                let mut state = self.lock();
                state.done.stuck = state.sorted_names();
            }
        }
        let joined = std::mem::take(&mut self.lock().done);
        if !joined.unfinished.is_empty() {
            tracing::warn!(unfinished = ?joined.unfinished, stuck = ?joined.stuck, "tasks did not finish in time and were aborted");
        }
        joined
    }

    /// Returns once nothing runs.
    async fn drain(&self) {
        std::future::poll_fn(|task| {
            let mut state = self.lock();
            loop {
                match state.running.poll_join_next_with_id(task) {
                    Poll::Ready(Some(ended)) => state.record(ended),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Tasks do not run under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        // Invariant: a name is put down under the same lock as its task is spawned.
        let name = self.names.remove(&id).unwrap_or_default();
        match error.map(JoinError::try_into_panic) {
            None => self.done.finished += 1,
            Some(Ok(panic)) => {
                let message = panic_message(&*panic);
                tracing::error!(task = %name, panic = %message, "a task panicked");
                if self.done.panicked.len() < PANICS_KEPT_MAX {
                    self.done.panicked.push(Panicked {
                        name: name.into_owned(),
                        message,
                    });
                } else {
                    self.done.panicked_more += 1;
                }
            }
            // Aborted: it stands among the unfinished.
            Some(Err(_)) => {}
        }
    }

    fn sorted_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.values().map(|name| name.clone().into_owned()).collect();
        names.sort();
        names
    }
}

/// What a caught panic said, when it said it in text.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl fmt::Debug for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet")
            .field("running", &self.lock().sorted_names())
            .finish_non_exhaustive()
    }
}
