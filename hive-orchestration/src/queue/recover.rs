//! Processes come and go: each opening is an epoch, and what one that has ended left running goes on elsewhere.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hive_core::db::{Dialect, Row, Tx};
use hive_errors::{ErrorKind, Failure, Result};

use super::{Queue, TaskRef, emit, finish};
use crate::lease::{listed, lock};
use crate::task::TaskState;
use crate::task::state::{AfterCrash, after_crash};

/// Starts an epoch. Where the process is the only one, whatever was before has ended.
pub(crate) fn begin_epoch(tx: &mut Tx<'_>, queue: &Queue) -> Result<u64> {
    let now = tx.now()?;
    if tx.dialect() != Dialect::Postgres {
        tx.execute("UPDATE instance SET ended_at = ?1 WHERE ended_at IS NULL", &[&now])?;
    }
    let epoch = tx.insert(
        "INSERT INTO instance (id, started_at, seen_at) VALUES (?1, ?2, ?2) RETURNING epoch",
        &[&queue.instance, &now],
    )?;
    Ok(epoch.cast_unsigned())
}

/// Says that the epoch ended in good order.
pub(crate) fn end_epoch(tx: &mut Tx<'_>, queue: &Queue) -> Result<()> {
    let now = tx.now()?;
    tx.execute(
        "UPDATE instance SET ended_at = ?2 WHERE epoch = ?1 AND ended_at IS NULL",
        &[&queue.epoch(), &now],
    )?;
    Ok(())
}

/// Says that the process lives. `false`: others have taken it for dead, and what it held is no longer its own.
pub(crate) fn beat(tx: &mut Tx<'_>, queue: &Queue) -> Result<bool> {
    let now = tx.now()?;
    let alive = tx.execute(
        "UPDATE instance SET seen_at = ?2 WHERE epoch = ?1 AND ended_at IS NULL",
        &[&queue.epoch(), &now],
    )?;
    Ok(alive > 0)
}

/// Ends the epochs of processes that have been silent for longer than `silence`, by the database's clock; how many.
///
/// From this commit on whatever they write is refused, whether they are dead or only stood still.
pub(crate) fn end_silent(tx: &mut Tx<'_>, silence: Duration) -> Result<usize> {
    let now = tx.now()?;
    tx.execute(
        "UPDATE instance SET ended_at = ?2 WHERE ended_at IS NULL AND seen_at < ?1",
        &[&(now - silence), &now],
    )
}

/// Takes back up to `limit` runs of epochs that have ended. Returns how many; fewer than `limit` were all.
pub(crate) fn recover(tx: &mut Tx<'_>, queue: &Queue, limit: usize) -> Result<usize> {
    let own = queue.epoch();
    let left = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, parent, correlation, epoch FROM task
         WHERE state = 2 AND epoch <> ?1 AND NOT EXISTS (
             SELECT 1 FROM instance WHERE instance.epoch = task.epoch AND instance.ended_at IS NULL)
         LIMIT ?2",
        &[&own, &(limit as u64)],
        |row| Ok((super::task_ref(row)?, row.get::<u64>(8)?)),
    )?;
    if left.is_empty() {
        return Ok(0);
    }
    lock(
        tx,
        left.iter()
            .flat_map(|(task, _)| task.parent.into_iter().chain([task.seq])),
    )?;
    let count = left.len();
    // Another process may have been quicker.
    let facts = facts(tx, &left)?;
    let (mut back, mut events) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (task, _) in left {
        let Some(Facts { crashes, mark, entries }) = facts.get(&task.seq).copied() else {
            continue;
        };
        match after_crash(crashes, entries > mark) {
            AfterCrash::Requeue { crashes } => {
                back.push((task.seq, crashes, entries));
                events.push(emit::recovered(&task)?);
                let (wakeups, id) = (queue.wakeups.clone(), task.id);
                tx.on_commit(move || wakeups.changed(id));
                queue
                    .telemetry
                    .count(tx, [task.agent.as_str()], |agent| &agent.recovered);
            }
            AfterCrash::Dead { crashes } => bury(tx, queue, &task, crashes)?,
        }
    }
    requeue(tx, &back)?;
    emit::all(tx, queue, events)?;
    queue.wake_ready(tx);
    queue.tell_others(tx, super::TASKS);
    Ok(count)
}

/// What decides on a run whose process has died.
#[derive(Clone, Copy)]
struct Facts {
    crashes: u32,
    /// How long the journal was at the last crash, and how long it is now.
    mark: i64,
    entries: i64,
}

/// Of those that still are in these epochs.
fn facts(tx: &Tx<'_>, left: &[(TaskRef, u64)]) -> Result<HashMap<i64, Facts>> {
    let mut all = HashMap::with_capacity(left.len());
    match tx.dialect() {
        Dialect::Sqlite => {
            for (task, epoch) in left {
                let found = tx.query_opt(
                    "SELECT crashes, crash_mark, (SELECT count(*) FROM journal WHERE journal.task = task.seq)
                     FROM task WHERE seq = ?1 AND state = 2 AND epoch = ?2",
                    &[&task.seq, epoch],
                    |row| Facts::read(row, 0),
                )?;
                all.extend(found.map(|facts| (task.seq, facts)));
            }
        }
        Dialect::Postgres => tx.each(
            "SELECT task.seq, crashes, crash_mark, (SELECT count(*) FROM journal WHERE journal.task = task.seq)
             FROM unnest(CAST(string_to_array(?1, ',') AS BIGINT[]), CAST(string_to_array(?2, ',') AS BIGINT[]))
                 AS given (seq, epoch)
             JOIN task ON task.seq = given.seq AND task.state + 0 = 2 AND task.epoch = given.epoch",
            &[
                &listed(left.iter().map(|(task, _)| task.seq)),
                &listed(left.iter().map(|(_, epoch)| epoch.cast_signed())),
            ],
            |row| {
                all.insert(row.get(0)?, Facts::read(row, 1)?);
                Ok(true)
            },
        )?,
    }
    Ok(all)
}

impl Facts {
    fn read(row: &Row<'_>, first: usize) -> Result<Self> {
        Ok(Self {
            crashes: row.get(first)?,
            mark: row.get(first + 1)?,
            entries: row.get(first + 2)?,
        })
    }
}

/// Lets them begin again: the task, how often it has crashed, and how long its journal is.
fn requeue(tx: &mut Tx<'_>, back: &[(i64, u32, i64)]) -> Result<()> {
    if back.is_empty() {
        return Ok(());
    }
    match tx.dialect() {
        Dialect::Sqlite => {
            for (seq, crashes, entries) in back {
                tx.execute(
                    "UPDATE task SET state = 1, epoch = 0, crashes = ?2, crash_mark = ?3 WHERE seq = ?1",
                    &[seq, crashes, entries],
                )?;
            }
        }
        Dialect::Postgres => {
            tx.execute(
                "UPDATE task SET state = 1, epoch = 0, crashes = given.crashes, crash_mark = given.mark
                 FROM unnest(CAST(string_to_array(?1, ',') AS BIGINT[]), CAST(string_to_array(?2, ',') AS BIGINT[]),
                             CAST(string_to_array(?3, ',') AS BIGINT[])) AS given (seq, crashes, mark)
                 WHERE task.seq = given.seq",
                &[
                    &listed(back.iter().map(|(seq, ..)| *seq)),
                    &listed(back.iter().map(|(_, crashes, _)| i64::from(*crashes))),
                    &listed(back.iter().map(|(.., entries)| *entries)),
                ],
            )?;
        }
    }
    Ok(())
}

/// Gives back what this process holds and does not run: all but the tasks in `known`. How many those were. A claim whose commit
/// was lost on its way back leaves such.
pub(crate) fn give_back(tx: &mut Tx<'_>, queue: &Queue, known: &HashSet<i64>) -> Result<usize> {
    let held = tx.query(
        "SELECT seq FROM task WHERE state = 2 AND epoch = ?1 ORDER BY seq",
        &[&queue.epoch()],
        |row| row.get::<i64>(0),
    )?;
    let strays: Vec<i64> = held.into_iter().filter(|seq| !known.contains(seq)).collect();
    lock(tx, strays.iter().copied())?;
    for seq in &strays {
        tx.execute(
            "UPDATE task SET state = 1, epoch = 0 WHERE seq = ?1 AND state = 2 AND epoch = ?2",
            &[seq, &queue.epoch()],
        )?;
    }
    if !strays.is_empty() {
        queue.wake_ready(tx);
        queue.tell_others(tx, super::TASKS);
    }
    Ok(strays.len())
}

fn bury(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, crashes: u32) -> Result<()> {
    tx.execute("UPDATE task SET crashes = ?2 WHERE seq = ?1", &[&task.seq, &crashes])?;
    let failure = Failure::terminal("the process died again and again while this task was running")
        .with_kind(ErrorKind::TaskDead)
        .with("crashes", crashes)
        .with_hint("run it alone under a debugger; once the cause is gone, submit it again");
    finish::record(tx, task.seq, &failure)?;
    queue.telemetry.failed(tx, &task.agent, &failure, false);
    emit::dead(tx, queue, task, &failure)?;
    finish::end(tx, queue, task, TaskState::Dead, &failure)
}
