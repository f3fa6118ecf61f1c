//! What an agent may do, and may rely on, while it runs.

mod activity;
mod blocking;
mod budget;
mod colleagues;
mod contain;
mod drift;
mod event;
mod inbox;
mod memory;
mod message;
mod once;
mod probe;
mod progress;
mod record;
mod step;
mod stream;
mod transaction;
mod undo;
mod wait;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_core::clock::Clock;
use hive_core::db::{Db, Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::model::ModelHandle;
use hive_errors::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

pub(crate) use self::activity::Activity;
pub(crate) use self::blocking::{Threads, panicked};
use self::budget::Purse;
pub(crate) use self::colleagues::{Address, Colleague, Colleagues};
pub(crate) use self::contain::contained;
pub(crate) use self::drift::{Asked, Drifted, Recall};
pub use self::event::WaitEvent;
pub use self::inbox::{Inbox, Received};
pub use self::memory::OwnMemory;
pub use self::message::Outbox;
pub(crate) use self::probe::Probe;
pub use self::record::{OwnDeployment, OwnReview, OwnWorkflow};
pub use self::step::{Effect, Step};
pub use self::stream::{Pieces, StreamStep};
pub use self::transaction::Transaction;
pub use self::wait::{Answered, Approval, Signal, Wait};
use crate::budget::meter::Metered;
use crate::journal::{self, Journal, Kind, Record};
use crate::lease::Lease;
use crate::limits;
use crate::patience::Patience;
use crate::queue::claim::Claimed;
use crate::queue::{self, Queue};
use crate::task::check_name;

/// The hand that an agent holds while it runs: its steps, calls, waits and progress.
///
/// Cheap to clone; a clone is the same run. What it remembers is kept under the names you give, so code may be edited
/// and branches may run side by side with `join!` and `select!` while tasks are in flight. Within one run the same name
/// may be used again: uses are counted. Branches that run *concurrently* and use the same names need a [`Context::scope`]
/// each, because their order is not fixed.
///
/// Code outside steps runs again after every interruption. What a later decision depends on belongs in a step.
///
/// A context is for the agent's own future. A task spawned on the runtime is not dropped with the run, and a step, wait or
/// call in one never comes back once the run is over. Branches belong under `join!`, `select!` and their kin.
#[derive(Clone)]
pub struct Context {
    pub(crate) run: Arc<Run>,
    /// Part of every key: empty, or the path in brackets.
    scope: Arc<str>,
}

/// One run of a task: from its claim to its end, or to its next long wait.
pub(crate) struct Run {
    pub(crate) claimed: Claimed,
    pub(crate) db: Db,
    pub(crate) queue: Queue,
    pub(crate) model: ModelHandle,
    pub(crate) colleagues: Arc<dyn Colleagues>,
    threads: Arc<Threads>,
    pub(crate) activity: Activity,
    pub(crate) stop: CancellationToken,
    journal: Mutex<Journal>,
    /// The accounts on which its task draws.
    purse: Purse,
    /// There is nothing but the journal, and the run only looks.
    pub(crate) probe: Option<Probe>,
}

impl Run {
    #[expect(clippy::too_many_arguments, reason = "what a run is made of, once")]
    pub(crate) fn new(
        claimed: Claimed,
        db: Db,
        queue: Queue,
        model: ModelHandle,
        colleagues: Arc<dyn Colleagues>,
        threads: Arc<Threads>,
        stop: CancellationToken,
        journal: Journal,
    ) -> Self {
        let purse = Purse::new(claimed.chain.clone());
        // Where somebody counts, the model is counted.
        let model = if purse.chain.is_empty() {
            model
        } else {
            let metered = Metered {
                model,
                db: db.clone(),
                rules: Arc::clone(&purse.rules),
            };
            ModelHandle::new(metered).with_clock(Arc::clone(&queue.clock))
        };
        Self {
            purse,
            claimed,
            db,
            queue,
            model,
            colleagues,
            threads,
            activity: Activity::default(),
            stop,
            journal: Mutex::new(journal),
            probe: None,
        }
    }

    /// The same run with nothing but its journal: it neither reads nor writes, and whatever would ends its branch.
    pub(crate) fn probing(self) -> Self {
        Self {
            probe: Some(Probe::default()),
            ..self
        }
    }

    /// Nothing is behind a run that only looks: its branch ends here.
    async fn is_real(&self) {
        if let Some(probe) = &self.probe {
            probe.rest().await;
        }
    }

    pub(crate) fn lease(&self) -> Lease {
        self.claimed.lease
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the run has to say. A database in trouble is asked again for as long as the run goes on: it is not the
    /// agent's failure, and what the agent has done must not be lost over it.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    {
        self.is_real().await;
        Patience::new(&*self.queue.clock, &*self.queue.rng)
            .insist("a run could not write", &self.stop, || {
                queue::write(&self.db, work.clone())
            })
            .await
    }

    /// [`Run::write`] on behalf of the agent's own code.
    pub(crate) async fn tell<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    {
        match self.write(work).await {
            Ok(value) => Ok(value),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Remembers an outcome, as [`Run::tell`] writes, together with what other runs remember at the same time.
    pub(crate) async fn remember(&self, record: Record) -> Result<()> {
        self.is_real().await;
        let record = Arc::new(record);
        let written = Patience::new(&*self.queue.clock, &*self.queue.rng)
            .insist("a run could not write", &self.stop, || {
                self.queue
                    .gathers
                    .records
                    .call(Arc::clone(&record), |records| async move {
                        queue::write_all(&self.db, records, journal::record_all).await
                    })
            })
            .await;
        match written {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Reads as [`Run::tell`] writes.
    pub(crate) async fn ask<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Snapshot<'_>) -> Result<T> + Clone + Send + 'static,
    {
        self.is_real().await;
        let read = Patience::new(&*self.queue.clock, &*self.queue.rng)
            .insist("a run could not read", &self.stop, || self.db.read(work.clone()))
            .await;
        match read {
            Ok(value) => Ok(value),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Deals with a write that was refused. A run that cannot write any more, because its lease is gone or the hive closes,
    /// has nothing to decide: it stops here, where the agent's code cannot mistake the refusal for a failure of its own. So does
    /// one of whose write nobody knows whether it took place: the next run finds that in the journal.
    pub(crate) async fn refused(&self, error: Error) -> Error {
        let over = [ErrorKind::LeaseLost, ErrorKind::ShuttingDown, ErrorKind::Indeterminate];
        if over.contains(&error.kind()) || self.stop.is_cancelled() {
            self.stop.cancel();
            std::future::pending::<()>().await;
        }
        error
    }
}

impl Context {
    pub(crate) fn new(run: Arc<Run>) -> Self {
        Self {
            run,
            scope: Arc::from(""),
        }
    }

    /// The task that is being run.
    pub fn task_id(&self) -> TaskId {
        self.run.claimed.task.id
    }

    /// The task at the root of this tree of calls: the correlation id of everything that it causes.
    pub fn root_id(&self) -> TaskId {
        self.run.claimed.task.root
    }

    /// The tenant on whose behalf the task runs.
    pub fn tenant(&self) -> &str {
        &self.run.claimed.task.tenant
    }

    /// How often this task was claimed, this time included. Grows on every retry, wake-up and recovery.
    pub fn attempt(&self) -> u32 {
        self.run.claimed.lease.attempt
    }

    /// The hive's model. Without one configured every call of it fails with `model-missing`.
    pub fn model(&self) -> &ModelHandle {
        &self.run.model
    }

    /// The hive's clock. Its answers differ between runs: ask it inside a step.
    pub fn clock(&self) -> &dyn Clock {
        &*self.run.queue.clock
    }

    /// A key that is the same whenever this task asks for this name, and that no other task is given: what a payment
    /// provider or another outside service needs to tell a repeated request from a new one.
    pub fn idempotency_key(&self, name: &str) -> String {
        format!("{}{}/{name}", self.task_id(), self.scope)
    }

    /// The same run with names of its own, for branches that run concurrently under `join!` or `select!`.
    pub fn scope(&self, name: &str) -> Self {
        let name = scope_name(name);
        let outer = self.scope.strip_prefix('[').and_then(|path| path.strip_suffix(']'));
        let path = match outer {
            Some(outer) => format!("{outer}/{name}"),
            None => name,
        };
        Self {
            run: Arc::clone(&self.run),
            scope: Arc::from(format!("[{path}]")),
        }
    }

    /// The key of this use of the name in this run.
    pub(crate) fn key(&self, kind: Kind, name: &str) -> Result<String> {
        check_name(kind.word(), name)?;
        if self.scope.len() > limits::SCOPE_BYTES {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the scope's names are too long together")
                    .with("scope", format!("{:.80}…", self.scope.escape_debug()))
                    .with("limit_bytes", limits::SCOPE_BYTES),
            );
        }
        Ok(self.run.journal().key(kind, &self.scope, name))
    }
}

/// A scope's name as it stands in a key: the signs that set it off from what stands beside it must not stand in it.
fn scope_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F").replace(']', "%5D")
}

/// The scope of these names, the outermost first, as it stands in a key.
pub(crate) fn scope_of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| scope_name(name.as_ref())).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("[{}]", names.join("/"))
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.run.claimed.task.id)
            .field("agent", &self.run.claimed.task.agent)
            .field("attempt", &self.attempt())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
