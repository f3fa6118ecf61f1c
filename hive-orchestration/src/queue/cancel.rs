//! A task and all below it are ended on request.

use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Failure, Result};

use super::{Queue, TaskRef, emit, finish};
use crate::lease::{Lease, guard};
use crate::task::TaskState;

/// Cancels a task and its descendants. One that has ended stays as it is; `false` says so.
pub(crate) fn cancel(tx: &mut Tx<'_>, queue: &Queue, id: TaskId) -> Result<bool> {
    let (task, state) = tx
        .query_opt(
            "SELECT seq, root, agent, tenant, attempt, state FROM task WHERE id = ?1",
            &[&id],
            |row| {
                let task = TaskRef {
                    seq: row.get(0)?,
                    id,
                    root: row.get(1)?,
                    agent: row.get(2)?,
                    tenant: row.get(3)?,
                    attempt: row.get(4)?,
                };
                Ok((task, TaskState::from_code(row.get(5)?)?))
            },
        )?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?;
    if state.is_final() {
        return Ok(false);
    }
    end(tx, queue, &task, "on request")?;
    finish::after_end(tx, queue, &task, false)?;
    Ok(true)
}

/// Cancels everything below a task that has ended, deepest last. A child's end tells nobody: its caller is gone.
///
/// `CROSS JOIN` fixes the order of the loops: the other one looks at every task there is.
pub(super) fn descendants(tx: &mut Tx<'_>, queue: &Queue, seq: i64) -> Result<()> {
    let below = tx.query(
        "WITH RECURSIVE below (seq) AS (
             SELECT seq FROM task WHERE parent = ?1 AND state < 4
             UNION ALL
             SELECT task.seq FROM below CROSS JOIN task ON task.parent = below.seq WHERE task.state < 4)
         SELECT task.seq, id, root, agent, tenant, attempt FROM below CROSS JOIN task ON task.seq = below.seq",
        &[&seq],
        super::task_ref,
    )?;
    for task in below {
        end(tx, queue, &task, "the task that called it has ended")?;
    }
    Ok(())
}

/// Cancels the children of one call that have not ended.
pub(crate) fn siblings(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, call: &str) -> Result<()> {
    guard(tx, lease)?;
    let left = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt FROM task WHERE parent = ?1 AND call = ?2 AND state < 4",
        &[&lease.task, &call],
        super::task_ref,
    )?;
    for task in left {
        end(tx, queue, &task, "a task called beside it has failed")?;
        descendants(tx, queue, task.seq)?;
    }
    Ok(())
}

fn end(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, reason: &'static str) -> Result<()> {
    let ended = tx.execute(
        "UPDATE task SET state = 6, epoch = 0, finished_at = ?2 WHERE seq = ?1 AND state < 4",
        &[&task.seq, &queue.clock.now()],
    )?;
    if ended == 0 {
        return Ok(());
    }
    let failure = Failure::terminal("the task was cancelled")
        .with_kind(ErrorKind::Cancelled)
        .with("reason", reason);
    finish::record(tx, task.seq, &failure)?;
    emit::cancelled(tx, queue, task, reason)?;
    let (wakeups, seq, id) = (queue.wakeups.clone(), task.seq, task.id);
    tx.on_commit(move || {
        wakeups.stop(seq);
        wakeups.ended(id);
    });
    Ok(())
}
