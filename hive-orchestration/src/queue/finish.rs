//! A run ends: with an output, with a failure, or handed back.

use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result, RetryPolicy};

use super::{Queue, TaskRef, cancel, emit, submit, wait};
use crate::lease::{Lease, guard};
use crate::task::state::{AfterFailure, after_failure};

/// Ends the task with its output.
pub(crate) fn complete(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, task: &TaskRef, output: &Payload) -> Result<()> {
    guard(tx, lease)?;
    end(tx, queue, lease.task, 4)?;
    tx.execute(
        "UPDATE task_body SET output = ?2, failure = NULL WHERE task = ?1",
        &[&lease.task, output],
    )?;
    emit::succeeded(tx, queue, task)?;
    after_end(tx, queue, task, true)
}

/// Records a failed attempt and decides, by `policy`, whether there is another.
pub(crate) fn fail(
    tx: &mut Tx<'_>,
    queue: &Queue,
    lease: Lease,
    task: &TaskRef,
    failure: &Failure,
    policy: &RetryPolicy,
) -> Result<()> {
    let now = queue.clock.now();
    guard(tx, lease)?;
    let failures = tx.query_one(
        "UPDATE task SET failures = failures + 1 WHERE seq = ?1 RETURNING failures",
        &[&lease.task],
        |row| row.get::<u32>(0),
    )?;
    record(tx, lease.task, failure)?;
    match after_failure(failure, failures, policy, queue.rng.next_u64(), now) {
        AfterFailure::Retry(at) => {
            tx.execute(
                "UPDATE task SET state = 0, epoch = 0, run_at = ?2 WHERE seq = ?1",
                &[&lease.task, &at],
            )?;
            emit::failed(tx, queue, task, failure, Some(at))?;
            let (wakeups, id) = (queue.wakeups.clone(), task.id);
            tx.on_commit(move || {
                wakeups.dispatch();
                wakeups.changed(id);
            });
            Ok(())
        }
        AfterFailure::Failed => {
            end(tx, queue, lease.task, 5)?;
            emit::failed(tx, queue, task, failure, None)?;
            after_end(tx, queue, task, false)
        }
        AfterFailure::Dead => {
            end(tx, queue, lease.task, 7)?;
            emit::failed(tx, queue, task, failure, None)?;
            emit::dead(tx, queue, task, failure)?;
            after_end(tx, queue, task, false)
        }
    }
}

/// Hands a run back unharmed, at shutdown: it is neither a failure nor a crash.
pub(crate) fn release(tx: &mut Tx<'_>, queue: &Queue, lease: Lease, task: &TaskRef) -> Result<()> {
    guard(tx, lease)?;
    tx.execute("UPDATE task SET state = 1, epoch = 0 WHERE seq = ?1", &[&lease.task])?;
    let (wakeups, id) = (queue.wakeups.clone(), task.id);
    tx.on_commit(move || wakeups.changed(id));
    Ok(())
}

/// Writes down why, for whoever asks.
pub(super) fn record(tx: &mut Tx<'_>, task: i64, failure: &Failure) -> Result<()> {
    let text = serde_json::to_string(failure)
        .map_err(|e| Error::new(ErrorKind::Internal, "a failure could not be written down").with_source(e))?;
    tx.execute("UPDATE task_body SET failure = ?2 WHERE task = ?1", &[&task, &text])?;
    Ok(())
}

/// The caller has the lease, or it was taken from a dead process.
pub(super) fn end(tx: &mut Tx<'_>, queue: &Queue, task: i64, state: i64) -> Result<()> {
    tx.execute(
        "UPDATE task SET state = ?2, epoch = 0, finished_at = ?3 WHERE seq = ?1",
        &[&task, &state, &queue.clock.now()],
    )?;
    Ok(())
}

/// What follows from any end: children left behind are cancelled, the parent hears of it, the next sibling starts.
pub(super) fn after_end(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, succeeded: bool) -> Result<()> {
    cancel::descendants(tx, queue, task.seq)?;
    let caller = tx.query_opt(
        "SELECT parent, call FROM task WHERE seq = ?1 AND parent IS NOT NULL",
        &[&task.seq],
        |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?)),
    )?;
    if let Some((parent, call)) = caller {
        // The first failure wakes the caller at once; it decides what becomes of the rest.
        let remaining = tx.query_opt(
            "UPDATE journal SET remaining = CASE WHEN ?3 THEN remaining - 1 ELSE 0 END
             WHERE task = ?1 AND key = ?2 AND state = 0 RETURNING remaining",
            &[&parent, &call, &succeeded],
            |row| row.get::<i64>(0),
        )?;
        match remaining {
            Some(..=0) => wait::resolve(tx, queue, parent, &call, None)?,
            Some(1..) => submit::release_next(tx, queue, parent, &call)?,
            None => {}
        }
    }
    let (wakeups, id) = (queue.wakeups.clone(), task.id);
    tx.on_commit(move || wakeups.ended(id));
    Ok(())
}
