//! A task seen from outside: its result, its status, and what can be said to it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::budget::{Account, Budget};
use crate::context::Signal;
use crate::history::{self, History};
use crate::limits;
use crate::queue::{self, admin, budget, cancel, read, undo, wait};
use crate::stream::Reader;
use crate::task::{Decision, End, TaskState, TaskStatus, check_name};
use crate::wake::News;
use crate::worker::Shop;

/// A submitted task whose output is a `T`. Cheap to clone; dropping it does nothing to the task.
pub struct TaskHandle<T> {
    id: TaskId,
    shop: Arc<Shop>,
    /// What became of it since before it was submitted, where it was submitted here.
    news: Option<watch::Receiver<News>>,
    output: PhantomData<fn() -> T>,
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(id: TaskId, shop: Arc<Shop>) -> Self {
        Self {
            id,
            shop,
            news: None,
            output: PhantomData,
        }
    }

    /// The handle of a task that is new; `news` was there before it.
    pub(crate) fn submitted(id: TaskId, shop: Arc<Shop>, news: watch::Receiver<News>) -> Self {
        Self {
            news: Some(news),
            ..Self::new(id, shop)
        }
    }

    /// The task's id. Keep it to come back to the task from another process with [`Hive::task`](crate::Hive::task).
    pub fn id(&self) -> TaskId {
        self.id
    }

    async fn ask<R: Send + 'static>(&self, work: impl FnMut(&Snapshot<'_>) -> Result<R> + Send + 'static) -> Result<R> {
        self.shop.db.read(work).await.map_err(|error| named(error, self.id))
    }

    async fn tell<R: Send + 'static>(&self, work: impl FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static) -> Result<R> {
        queue::write(&self.shop.db, work)
            .await
            .map_err(|error| named(error, self.id))
    }

    /// Where the task stands at this moment.
    pub async fn status(&self) -> Result<TaskStatus> {
        let id = self.id;
        self.ask(move |db| read::status(db, id)).await
    }

    /// Ends the task and everything below it. Runs under way are stopped at their next await point, and nothing they
    /// write afterwards is accepted. Returns `false` when the task had ended already.
    ///
    /// # Cancel safety
    /// Dropped, the task may be cancelled or not.
    pub async fn cancel(&self) -> Result<bool> {
        let (id, queue) = (self.id, self.shop.queue.clone());
        self.tell(move |tx| cancel::cancel(tx, &queue, id)).await
    }

    /// Brings the task back after it failed, died or was cancelled: it is tried again, with all its attempts and without its
    /// deadline. What its steps remember stands, so it goes on where it stood; children that did not succeed are called anew.
    ///
    /// # Errors
    /// `conflict` when it has not ended, or succeeded; when it was called by another task: bring the root back then; and when what it did
    /// is being [undone](Self::undo).
    ///
    /// # Cancel safety
    /// Dropped, the task may be brought back or not.
    pub async fn redrive(&self) -> Result<()> {
        let (id, queue) = (self.id, self.shop.queue.clone());
        self.tell(move |tx| admin::redrive(tx, &queue, id)).await
    }

    /// The task that undoes what this one did, once this one has failed, died or been cancelled; `None` when nothing was registered with
    /// [`Context::undo`](crate::Context::undo). It is there from the same moment on.
    pub async fn undo(&self) -> Result<Option<TaskHandle<()>>> {
        let id = self.id;
        let undo = self.ask(move |db| undo::of(db, id)).await?;
        Ok(undo.map(|undo| TaskHandle::new(undo, Arc::clone(&self.shop))))
    }

    /// Sends a value to the task. It wakes the oldest wait for that signal; one that comes before is kept, up to
    /// [`SIGNALS_KEPT`](crate::limits::SIGNALS_KEPT) of them.
    ///
    /// # Errors
    /// `conflict` when the task has ended; `invalid-input` for a name that is not valid, or for none of a question's choices;
    /// `forbidden` when the task asks certain people; `payload-too-large`; `limit-reached` when the task has left too many signals unread.
    ///
    /// # Cancel safety
    /// Dropped, the signal may be sent or not.
    pub async fn signal<S: Serialize>(&self, signal: &Signal<S>, value: &S) -> Result<()> {
        self.send(signal, value, None).await
    }

    /// Answers a task's question in somebody's name, which is on record with the answer; otherwise as [`TaskHandle::signal`]. The first
    /// answer wins.
    ///
    /// Hive takes the name for true: whoever calls this has found out who it is.
    ///
    /// # Errors
    /// `forbidden` when the question is put to others; `invalid-input` when it has choices and the value is none of them, or for a name
    /// that is not valid; otherwise as [`TaskHandle::signal`].
    ///
    /// # Cancel safety
    /// Dropped, the answer may be given or not.
    pub async fn answer<S: Serialize>(&self, signal: &Signal<S>, by: &str, value: &S) -> Result<()> {
        check_name("by", by)?;
        self.send(signal, value, Some(by.to_owned())).await
    }

    async fn send<S: Serialize>(&self, signal: &Signal<S>, value: &S, by: Option<String>) -> Result<()> {
        check_name("signal", signal.name())?;
        let value = Payload::encode(value, limits::PAYLOAD_BYTES)?;
        let (id, queue, name) = (self.id, self.shop.queue.clone(), signal.name().to_owned());
        self.tell(move |tx| wait::signal(tx, &queue, id, &name, &value, by.as_deref()))
            .await
    }

    /// Decides on a step that is held: its outcome is not known, or its record no longer fits the code. The step's name
    /// is in the status, under [`waiting_for`](TaskStatus::waiting_for).
    ///
    /// # Errors
    /// `not-found` when the task holds no such step.
    pub async fn decide(&self, step: &str, decision: Decision) -> Result<()> {
        let value = match decision {
            Decision::Adopt(value) => Some(Payload::encode(&value, limits::PAYLOAD_BYTES)?),
            Decision::Rerun => None,
        };
        let (id, queue, step) = (self.id, self.shop.queue.clone(), step.to_owned());
        self.tell(move |tx| wait::decide(tx, &queue, id, &step, value.as_ref()))
            .await
    }

    /// Reads what the task's [`stream_step`](crate::Context::stream_step) of this name hands out, from the first piece on, while it
    /// goes on or afterwards; the first step of this name outside of scopes unless told otherwise. See [`Reader`].
    ///
    /// ```
    /// # use hive_orchestration::{Failure, Result, TaskHandle};
    /// use hive_orchestration::stream::News;
    ///
    /// # async fn show(task: TaskHandle<String>) -> Result<()> {
    /// let mut words = task.pieces("draft");
    /// while let Some(news) = words.next().await? {
    ///     match news {
    ///         News::Piece(word) => print!("{}", word.decode::<String>()?),
    ///         News::Anew => println!("\n(once more)"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn pieces(&self, step: impl Into<String>) -> Reader {
        Reader::new(Arc::clone(&self.shop), self.id, step.into())
    }

    /// Where the budgets stand on which the task draws: its own, where it has one, and those above it, the nearest first.
    pub async fn budget(&self) -> Result<Vec<Account>> {
        let id = self.id;
        self.ask(move |db| budget::accounts(db, id)).await
    }

    /// Raises the limits of the task's own budget by these, and wakes those who wait for that. What was used beyond a limit is paid first.
    /// How it behaves when it is exhausted, and what each step reserves, stay as they are.
    ///
    /// # Errors
    /// `not-found` when the task has no budget of its own; `invalid-input`, naming the field, for what the budget does not limit.
    ///
    /// # Cancel safety
    /// Dropped, the budget may be raised or not.
    pub async fn grant(&self, more: Budget) -> Result<()> {
        more.check()?;
        let (id, queue) = (self.id, self.shop.queue.clone());
        self.tell(move |tx| budget::grant(tx, &queue, id, &more)).await
    }

    /// What the task remembers: as [`Hive::export`](crate::Hive::export).
    ///
    /// # Errors
    /// As [`Hive::export`](crate::Hive::export).
    pub async fn export(&self) -> Result<History> {
        let id = self.id;
        self.ask(move |db| history::read(db, id)).await
    }

    /// Follows the task from now on: its status at once, then after every change.
    pub fn watch(&self) -> Watch {
        Watch {
            id: self.id,
            shop: Arc::clone(&self.shop),
            changes: self.shop.queue.wakeups.watch(self.id),
            last: None,
        }
    }
}

impl<T: DeserializeOwned> TaskHandle<T> {
    /// Waits for the task to end and returns its output. It may take as long as the task; bound it with a timeout of
    /// your own where that matters.
    ///
    /// # Errors
    /// `agent-failed`, or the kind that the agent gave, when it failed; `task-dead` when its attempts are used up;
    /// `cancelled`; `shutting-down` when the hive closes first (the task itself goes on at the next start).
    ///
    /// # Cancel safety
    /// Dropped, nothing happens to the task; ask again.
    pub async fn result(&self) -> Result<T> {
        if let Some(news) = &self.news {
            // Nothing can have happened to it that would not be heard of.
            let mut news = news.clone();
            let end = tokio::select! {
                biased;
                ended = news.wait_for(|news| news.ended) => ended.ok().and_then(|news| news.end.clone()),
                () = self.shop.closed.cancelled() => return Err(closed(self.id)),
            };
            // One that failed may have been brought back since.
            if let Some(End::Output(output)) = end.as_deref() {
                return output.decode();
            }
        }
        let mut changes = self.shop.queue.wakeups.watch(self.id);
        loop {
            let id = self.id;
            // Looked at after the watch began, so that no end can fall between.
            if let Some(end) = self.ask(move |db| read::end(db, id)).await? {
                return self.outcome(&end);
            }
            tokio::select! {
                biased;
                _ = changes.wait_for(|news| news.ended) => {}
                () = self.shop.closed.cancelled() => return Err(closed(self.id)),
            }
        }
    }

    fn outcome(&self, end: &End) -> Result<T> {
        match end {
            End::Output(output) => output.decode(),
            End::Failure(state, failure) => Err(self.ended(*state, failure.clone())),
        }
    }

    fn ended(&self, state: TaskState, failure: hive_errors::Failure) -> Error {
        let error = match state {
            TaskState::Dead => {
                let hint = failure.hint().to_owned();
                Error::new(ErrorKind::TaskDead, "the task's attempts are used up")
                    .with_source(failure.into_error())
                    .with_hint(hint)
            }
            TaskState::Failed
            | TaskState::Cancelled
            | TaskState::Scheduled
            | TaskState::Queued
            | TaskState::Running
            | TaskState::Waiting
            | TaskState::Succeeded => failure.into_error(),
        };
        error.with("task", self.id)
    }
}

/// A closed database says little to whoever asks for a task.
fn named(error: Error, id: TaskId) -> Error {
    if error.kind() == ErrorKind::ShuttingDown {
        closed(id)
    } else {
        error
    }
}

fn closed(id: TaskId) -> Error {
    Error::new(ErrorKind::ShuttingDown, "the hive is closed")
        .with("task", id)
        .with_hint("open the hive again; the task goes on by itself, and `Hive::task` finds it by its id")
}

impl<T> Clone for TaskHandle<T> {
    fn clone(&self) -> Self {
        Self {
            news: self.news.clone(),
            ..Self::new(self.id, Arc::clone(&self.shop))
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskHandle").field(&self.id).finish()
    }
}

/// A task's changes. Made by [`TaskHandle::watch`].
pub struct Watch {
    id: TaskId,
    shop: Arc<Shop>,
    changes: watch::Receiver<News>,
    last: Option<TaskState>,
}

impl Watch {
    /// The status after the next change; the present one at the first call. `None` once the task has ended and its final
    /// status was given. Changes that follow each other closely may be seen as one.
    ///
    /// # Errors
    /// `shutting-down` when the hive closes before the task has ended.
    ///
    /// # Cancel safety
    /// Dropped, no change is lost: the next call tells of it.
    pub async fn next(&mut self) -> Result<Option<TaskStatus>> {
        if self.last.is_some_and(TaskState::is_final) {
            return Ok(None);
        }
        if self.last.is_some() {
            tokio::select! {
                biased;
                _ = self.changes.changed() => {}
                () = self.shop.closed.cancelled() => return Err(closed(self.id)),
            }
        }
        let id = self.id;
        let status = self.shop.db.read(move |db| read::status(db, id)).await;
        let status = status.map_err(|error| named(error, id))?;
        self.last = Some(status.state);
        Ok(Some(status))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("task", &self.id)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
