//! A task and all below it are ended on request.

use hive_core::db::{Dialect, Tx};
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Failure, Result};

use super::{Queue, TaskRef, emit, finish, record};
use crate::lease::{Lease, guard, listed, lock};
use crate::task::TaskState;

/// Cancels a task and its descendants. One that has ended stays as it is; `false` says so.
pub(crate) fn cancel(tx: &mut Tx<'_>, queue: &Queue, id: TaskId) -> Result<bool> {
    let task = tx
        .query_opt(
            "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task WHERE id = ?1",
            &[&id],
            super::task_ref,
        )?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?;
    lock(tx, task.parent.into_iter().chain([task.seq]))?;
    let Some(failure) = end(tx, queue, &task, "on request")? else {
        return Ok(false);
    };
    finish::after_end(tx, queue, &task, TaskState::Cancelled, &failure)?;
    Ok(true)
}

/// Cancels everything below tasks that have ended, deepest last. A child's end tells nobody: its caller is gone.
pub(super) fn descendants(tx: &mut Tx<'_>, queue: &Queue, ended: impl IntoIterator<Item = i64>) -> Result<()> {
    // Only a run of the task itself makes children, and that has ended: no more of them come.
    let mut above: Vec<i64> = ended.into_iter().collect();
    while !above.is_empty() {
        let mut below = children(tx, &above)?;
        lock(tx, below.iter().map(|task| task.seq))?;
        above = below.iter().map(|task| task.seq).collect();
        for task in below.drain(..) {
            end(tx, queue, &task, "the task that called it has ended")?;
        }
    }
    Ok(())
}

/// The children of these tasks that have not ended.
fn children(tx: &Tx<'_>, parents: &[i64]) -> Result<Vec<TaskRef>> {
    if tx.dialect() == Dialect::Postgres {
        return tx.query(
            "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task
             WHERE parent = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND state < 4",
            &[&listed(parents.iter().copied())],
            super::task_ref,
        );
    }
    tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task
         WHERE parent IN (SELECT value FROM json_each(?1)) AND state < 4",
        &[&format!("[{}]", listed(parents.iter().copied()))],
        super::task_ref,
    )
}

/// Cancels the children of one call that have not ended.
pub(crate) fn siblings(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, call: &str) -> Result<()> {
    called(tx, queue, lease, call, "a task called beside it has failed")
}

/// [`siblings`], for another reason.
pub(super) fn called(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, call: &str, reason: &'static str) -> Result<()> {
    guard(tx, lease)?;
    let left = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task
         WHERE parent = ?1 AND call = ?2 AND state < 4",
        &[&lease.task, &call],
        super::task_ref,
    )?;
    lock(tx, left.iter().map(|task| task.seq))?;
    for task in &left {
        end(tx, queue, task, reason)?;
    }
    descendants(tx, queue, left.iter().map(|task| task.seq))
}

/// Ends one task; `None` when it had ended. The caller has locked it.
fn end(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, reason: &'static str) -> Result<Option<Failure>> {
    let now = tx.now()?;
    let ended = tx.execute(
        "UPDATE task SET state = 6, epoch = 0, finished_at = ?2, single = NULL WHERE seq = ?1 AND state < 4",
        &[&task.seq, &now],
    )?;
    if ended == 0 {
        return Ok(None);
    }
    let failure = Failure::terminal("the task was cancelled")
        .with_kind(ErrorKind::Cancelled)
        .with("reason", reason);
    finish::record(tx, task.seq, &failure)?;
    emit::cancelled(tx, queue, task, reason)?;
    record::left(tx, queue, task, TaskState::Cancelled, &failure)?;
    finish::stop_run(tx, queue, task.seq);
    finish::tell_end(tx, queue, task, TaskState::Cancelled, &failure);
    Ok(Some(failure))
}
