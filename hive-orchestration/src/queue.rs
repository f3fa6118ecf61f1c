//! The queue: every transition of a task as a function on the caller's transaction.
//!
//! Each function composes: it changes rows, publishes the event that tells of it, and registers the wake-ups that follow
//! its commit. Every verb of a running task is guarded by its [`Lease`](crate::task::Lease).

#[cfg(test)]
mod tests;

pub(crate) mod cancel;
pub(crate) mod claim;
mod emit;
pub(crate) mod finish;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod schema;
pub(crate) mod submit;
pub(crate) mod wait;

use std::sync::Arc;

use hive_bus::Bus;
use hive_core::clock::Clock;
use hive_core::db::{Row, Tx};
use hive_core::id::{IdSource, InstanceId, TaskId};
use hive_core::rng::Rng;
use hive_errors::{Error, ErrorKind, Result};

use crate::lease::{Lease, guard};
use crate::task::Progress;
use crate::wake::Wakeups;

/// What the queue's functions need besides a transaction.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) ids: IdSource,
    pub(crate) instance: InstanceId,
    pub(crate) wakeups: Arc<Wakeups>,
    pub(crate) epoch: u64,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("instance", &self.instance)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
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
}

/// Reads `seq, id, root, agent, tenant, attempt` from the first six columns.
fn task_ref(row: &Row<'_>) -> Result<TaskRef> {
    Ok(TaskRef {
        seq: row.get(0)?,
        id: row.get(1)?,
        root: row.get(2)?,
        agent: row.get(3)?,
        tenant: row.get(4)?,
        attempt: row.get(5)?,
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
        "UPDATE task_body SET progress = ?2 WHERE task = ?1",
        &[&lease.task, &text],
    )?;
    emit::progress(tx, queue, task, progress)?;
    let (wakeups, id) = (queue.wakeups.clone(), task.id);
    tx.on_commit(move || wakeups.changed(id));
    Ok(())
}
