//! The queue: every transition of a task as a function on the caller's transaction.
//!
//! Each function composes: it changes rows, publishes the event that tells of it, and registers the wake-ups that follow
//! its commit. Every verb of a running task is guarded by its [`Lease`](crate::lease::Lease).
//!
//! On PostgreSQL the functions run at `READ COMMITTED`, where what others commit meanwhile is seen. So whatever is decided by
//! looking is decided under a lock on the task's row ([`lock`](crate::lease::lock)), and by a statement that comes after it.
//!
//! Its planner goes by figures that may be from when a table was empty, and then takes the partial index of all running tasks for the
//! shortest way to one of them. Where tasks are named by their numbers the condition is therefore written `state + 0 = 2`, which
//! no partial index answers.

#[cfg(test)]
mod tests;

pub(crate) mod admin;
pub(crate) mod budget;
pub(crate) mod cancel;
pub(crate) mod claim;
pub(crate) mod depth;
mod emit;
pub(crate) mod event;
pub(crate) mod finish;
pub(crate) mod flow;
pub(crate) mod pause;
pub(crate) mod people;
pub(crate) mod pick;
pub(crate) mod post;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod schema;
pub(crate) mod stream;
pub(crate) mod submit;
pub(crate) mod undo;
pub(crate) mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hive_bus::Bus;
use hive_core::clock::Clock;
use hive_core::db::{Db, Dialect, Row, Tx, Write};
use hive_core::gather::Gather;
use hive_core::id::{IdSource, InstanceId, TaskId};
use hive_core::rng::Rng;
use hive_errors::{Error, ErrorKind, Result};

use crate::journal;
use crate::lease::{Lease, guard};
use crate::limits;
use crate::pace::Pace;
use crate::task::Progress;
use crate::telemetry::Telemetry;
use crate::wake::{Flow, Wakeups};

/// Something may be ready to run.
pub(crate) const READY: &str = "hive_ready";

/// Something that a run has to hear of: an outcome that it waits for, or that it must stop.
pub(crate) const RUNS: &str = "hive_runs";

/// Tasks that somebody may watch have changed.
pub(crate) const TASKS: &str = "hive_tasks";

/// Pieces that somebody may read have been kept.
pub(crate) const PIECES: &str = "hive_pieces";

/// What the queue's functions need besides a transaction.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) ids: IdSource,
    pub(crate) instance: InstanceId,
    pub(crate) wakeups: Arc<Wakeups>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// What is submitted, and what steps remember, at the same time goes into one transaction.
    pub(crate) gathers: Arc<Gathers>,
    pub(crate) pace: Pace,
    /// Told of what becomes of each step, in a simulation.
    pub(crate) on_step: Option<OnStep>,
    /// Replaced when others have taken this process for dead.
    epoch: Arc<AtomicU64>,
    /// Whether a run that ends may make room for another, by the limits that were last seen.
    holds: Arc<AtomicBool>,
}

/// Hears what becomes of steps, which it is given by task and key.
pub(crate) type OnStep = Arc<dyn Fn(TaskId, &str, StepNews) + Send + Sync>;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepNews {
    /// Its work begins.
    Begins,
    /// So does that of one that must not run twice.
    BeginsOnce,
    /// Its outcome is on record, and the run has heard so.
    Remembered,
}

/// Where callers meet.
#[derive(Debug)]
pub(crate) struct Gathers {
    pub(crate) submissions: Gather<Arc<submit::NewTask>, submit::Submitted>,
    pub(crate) records: Gather<Arc<journal::Record>, ()>,
}

impl Queue {
    /// A queue before its first epoch has begun. It counts into nothing.
    pub(crate) fn new(
        bus: Bus,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        ids: IdSource,
        wakeups: Arc<Wakeups>,
    ) -> Self {
        Self {
            instance: ids.next(),
            bus,
            clock,
            rng,
            ids,
            wakeups,
            flow: Arc::default(),
            telemetry: Arc::default(),
            gathers: Arc::new(Gathers {
                submissions: Gather::new(limits::GATHER_TURNS, limits::SUBMIT_GATHERED, submit::weight),
                records: Gather::new(limits::GATHER_TURNS, limits::RECORD_GATHERED, journal::weight),
            }),
            pace: Pace::default(),
            on_step: None,
            epoch: Arc::default(),
            holds: Arc::default(),
        }
    }

    /// Tells whoever wants to know what becomes of a step.
    pub(crate) fn tell_step(&self, task: TaskId, key: &str, news: StepNews) {
        if let Some(told) = &self.on_step {
            told(task, key, news);
        }
    }

    /// Notes whether tasks may have to wait until runs end.
    fn hold_runs(&self, holds: bool) {
        self.holds.store(holds, Ordering::Relaxed);
    }

    /// A run has ended: what a limit has held back may begin, in this process or in another.
    fn make_room(&self, tx: &mut Tx<'_>) {
        if self.holds.load(Ordering::Relaxed) {
            self.wake_ready(tx);
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// From here on claims are made in this epoch.
    pub(crate) fn enter(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Tells whoever hands out tasks, in this process and in others, once the transaction has been committed.
    pub(crate) fn wake_ready(&self, tx: &mut Tx<'_>) {
        if tx.dialect() == Dialect::Postgres {
            tx.notify(READY);
        } else {
            let wakeups = Arc::clone(&self.wakeups);
            tx.on_commit(move || wakeups.dispatch());
        }
    }

    /// Tells whoever watches these tasks that they have changed.
    fn wake_watchers(&self, tx: &mut Tx<'_>, task: TaskId) {
        let wakeups = Arc::clone(&self.wakeups);
        tx.on_commit(move || wakeups.changed(task));
        self.tell_others(tx, TASKS);
    }

    /// Tells other processes.
    fn tell_others(&self, tx: &mut Tx<'_>, channel: &'static str) {
        if tx.dialect() == Dialect::Postgres {
            tx.notify(channel);
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("instance", &self.instance)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

/// Writes to the queue: see [the module](self) for why `READ COMMITTED` is enough.
pub(crate) async fn write<T, F>(db: &Db, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
{
    db.write_with(Write::durable().read_committed(), work).await
}

/// Does something for many in one transaction. When it cannot be done for all of them together, and another try would not help, it
/// is done for each alone: the fault may be one's.
pub(crate) async fn write_all<T, R, F>(db: &Db, items: Vec<T>, work: F) -> Result<Vec<Result<R>>>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
    F: FnMut(&mut Tx<'_>, &[T]) -> Result<Vec<Result<R>>> + Clone + Send + 'static,
{
    let (own, mut all) = (items.clone(), work.clone());
    let error = match write(db, move |tx| all(tx, &own)).await {
        Ok(answers) => return Ok(answers),
        Err(error) => error,
    };
    if items.len() < 2 || error.is_retryable() || error.kind() == ErrorKind::ShuttingDown {
        return Err(error);
    }
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let (mut one, item) = (work.clone(), [item]);
        let answer = write(db, move |tx| one(tx, &item)).await;
        let missing = || Err(Error::new(ErrorKind::Internal, "an answer is missing"));
        answers.push(answer.and_then(|mut answers| answers.pop().unwrap_or_else(missing)));
    }
    Ok(answers)
}

/// Enough of a task to tell of it.
#[derive(Clone, Debug)]
pub(crate) struct TaskRef {
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) root: TaskId,
    pub(crate) agent: String,
    pub(crate) tenant: String,
    pub(crate) attempt: u32,
    /// The task that called it.
    pub(crate) parent: Option<i64>,
    /// What its events are found by; the root unless its submitter gave something else.
    pub(crate) correlation: Option<String>,
}

/// Reads `seq, id, root, agent, tenant, attempt, parent, correlation` from the first eight columns.
fn task_ref(row: &Row<'_>) -> Result<TaskRef> {
    Ok(TaskRef {
        seq: row.get(0)?,
        id: row.get(1)?,
        root: row.get(2)?,
        agent: row.get(3)?,
        tenant: row.get(4)?,
        attempt: row.get(5)?,
        parent: row.get(6)?,
        correlation: row.get(7)?,
    })
}

/// Records how far a run says it has come.
pub(crate) fn progress(
    tx: &mut Tx<'_>,
    queue: &Queue,
    lease: Lease,
    task: &TaskRef,
    progress: &Progress,
) -> Result<()> {
    guard(tx, lease)?;
    let known = read::progress(tx, lease.task)?;
    // A run that comes back to where an earlier one was says again what that one said.
    if known.is_some_and(|known| known.total == progress.total && known.done >= progress.done) {
        return Ok(());
    }
    let text = serde_json::to_string(progress)
        .map_err(|e| Error::new(ErrorKind::Internal, "a progress could not be written down").with_source(e))?;
    tx.execute(
        "INSERT INTO task_note (task, progress) VALUES (?1, ?2) ON CONFLICT (task) DO UPDATE SET progress = ?2",
        &[&lease.task, &text],
    )?;
    emit::progress(tx, queue, task, progress)?;
    queue.wake_watchers(tx, task.id);
    Ok(())
}
