//! Opening a hive: a new epoch, and what the last process left running goes on at once.

use hive_core::db::Tx;
use hive_errors::{ErrorKind, Failure, Result};

use super::{Queue, TaskRef, emit, finish};
use crate::task::state::{AfterCrash, after_crash};

/// Starts an epoch. Every lease of an earlier one is void from this commit on.
pub(crate) fn begin_epoch(tx: &mut Tx<'_>, queue: &Queue) -> Result<u64> {
    let epoch = tx.insert(
        "INSERT INTO instance (id, started_at) VALUES (?1, ?2) RETURNING epoch",
        &[&queue.instance, &queue.clock.now()],
    )?;
    Ok(epoch.cast_unsigned())
}

/// Says that the epoch ended in good order.
pub(crate) fn end_epoch(tx: &mut Tx<'_>, queue: &Queue) -> Result<()> {
    tx.execute(
        "UPDATE instance SET ended_at = ?2 WHERE epoch = ?1",
        &[&queue.epoch, &queue.clock.now()],
    )?;
    Ok(())
}

/// Takes back what earlier epochs left running, and what was put aside for want of an agent that is here now. Returns
/// how many runs were recovered.
pub(crate) fn recover(tx: &mut Tx<'_>, queue: &Queue, agents: &[String]) -> Result<usize> {
    let left = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, crashes, crash_mark,
                (SELECT count(*) FROM journal WHERE journal.task = task.seq)
         FROM task WHERE state = 2 AND epoch < ?1",
        &[&queue.epoch],
        |row| {
            Ok((
                super::task_ref(row)?,
                row.get::<u32>(6)?,
                row.get::<i64>(7)?,
                row.get::<i64>(8)?,
            ))
        },
    )?;
    let count = left.len();
    for (task, crashes, mark, entries) in left {
        match after_crash(crashes, entries > mark) {
            AfterCrash::Requeue { crashes } => {
                tx.execute(
                    "UPDATE task SET state = 1, epoch = 0, crashes = ?2, crash_mark = ?3 WHERE seq = ?1",
                    &[&task.seq, &crashes, &entries],
                )?;
                emit::recovered(tx, queue, &task)?;
            }
            AfterCrash::Dead { crashes } => bury(tx, queue, &task, crashes)?,
        }
    }
    for agent in agents {
        tx.execute(
            "UPDATE task SET state = 1, deferred = 0 WHERE state = 0 AND deferred = 1 AND agent = ?1",
            &[agent],
        )?;
    }
    Ok(count)
}

fn bury(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, crashes: u32) -> Result<()> {
    finish::end(tx, queue, task.seq, 7)?;
    tx.execute("UPDATE task SET crashes = ?2 WHERE seq = ?1", &[&task.seq, &crashes])?;
    let failure = Failure::terminal("the process died again and again while this task was running")
        .with_kind(ErrorKind::TaskDead)
        .with("crashes", crashes)
        .with_hint("run it alone under a debugger; once the cause is gone, submit it again");
    finish::record(tx, task.seq, &failure)?;
    emit::dead(tx, queue, task, &failure)?;
    finish::after_end(tx, queue, task, false)
}
