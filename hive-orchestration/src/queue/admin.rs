//! What people do with many tasks: look at them, bring them back, end them, let them be forgotten.

use std::collections::BTreeMap;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Snapshot, ToValue, Tx};
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use super::{Queue, TaskRef, emit, post};
use crate::budget::schema as budgets;
use crate::family::schema;
use crate::lease::{listed, lock};
use crate::limits;
use crate::memory::store as memory;
use crate::task::TaskState;
use crate::task::query::{TaskCursor, TaskPage, TaskQuery, TaskSummary};

/// One page of the tasks that are asked for.
pub(crate) fn list(db: &Snapshot<'_>, query: &TaskQuery) -> Result<TaskPage> {
    let limit = query.limit.unwrap_or(limits::TASKS_PAGE);
    let newest = || {
        let max = db.query_one("SELECT max(seq) FROM task", &[], |row| row.get::<Option<i64>>(0))?;
        Ok::<_, Error>(max.unwrap_or(0).saturating_add(1))
    };
    let upper = query.before.map_or_else(newest, Ok)?;
    let parent = match query.parent {
        None => None,
        Some(id) => {
            let seq = db.query_opt("SELECT seq FROM task WHERE id = ?1", &[&id], |row| row.get::<i64>(0))?;
            Some(seq.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?)
        }
    };
    // What goes by an index of its own finds nothing in vain; anything else looks at so many rows and leaves the rest for the
    // next page.
    let narrow = query.label.is_some() || parent.is_some() || query.states == [TaskState::Dead];
    let lower = if narrow {
        0
    } else {
        upper.saturating_sub(limits::TASKS_LOOK).max(0)
    };
    let mut join = "";
    let mut params: Vec<&dyn ToValue> = vec![&upper, &lower];
    let mut conditions = vec!["task.seq < ?1 AND task.seq >= ?2".to_owned()];
    if let Some((name, value)) = &query.label {
        join = "JOIN task_label ON task_label.task = task.seq";
        params.extend::<[&dyn ToValue; 2]>([name, value]);
        conditions.push(format!(
            "task_label.name = ?{} AND task_label.value = ?{}",
            params.len() - 1,
            params.len()
        ));
    }
    for (column, value) in [("agent", &query.agent), ("tenant", &query.tenant)] {
        if let Some(value) = value {
            params.push(value);
            conditions.push(format!("task.{column} = ?{}", params.len()));
        }
    }
    if let Some(parent) = &parent {
        params.push(parent);
        conditions.push(format!("task.parent = ?{}", params.len()));
    }
    match query.states.as_slice() {
        [] => {}
        // Word for word as the partial indexes have it.
        [one] => conditions.push(format!("task.state = {}", one.code())),
        several => conditions.push(format!(
            "task.state IN ({})",
            listed(several.iter().map(|state| state.code()))
        )),
    }
    let rows = (limit as u64).saturating_add(1);
    params.push(&rows);
    let sql = format!(
        "SELECT task.seq, {} FROM task {join} WHERE {} ORDER BY task.seq DESC LIMIT ?{}",
        TaskSummary::COLUMNS,
        conditions.join(" AND "),
        params.len()
    );
    let mut found = db.query(&sql, &params, |row| {
        Ok((row.get::<i64>(0)?, TaskSummary::read(row, 1)?))
    })?;
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(|(seq, _)| TaskCursor(*seq))
    } else {
        (lower > 1).then_some(TaskCursor(lower))
    };
    Ok(TaskPage {
        tasks: found.into_iter().map(|(_, task)| task).collect(),
        next,
    })
}

/// Brings a task back that has ended without an output: it is tried again with all its attempts, and what its steps remember
/// stands. A task that was called is not: its caller has heard of its end and gone on.
pub(crate) fn redrive(tx: &mut Tx<'_>, queue: &Queue, id: TaskId) -> Result<()> {
    let task = tx.query_opt(
        "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task WHERE id = ?1",
        &[&id],
        super::task_ref,
    )?;
    let task = task.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?;
    if task.parent.is_some() {
        return Err(Error::new(
            ErrorKind::Conflict,
            "a task that was called by another is not brought back alone",
        )
        .with("task", id)
        .with("root", task.root)
        .with_hint("bring the root back: it calls again what did not succeed"));
    }
    super::undo::refuse(tx, &task)?;
    if !revive(tx, queue, &task)? {
        return Err(Error::new(
            ErrorKind::Conflict,
            "only a task that failed, died or was cancelled is brought back",
        )
        .with("task", id));
    }
    Ok(())
}

/// Lets a task and those below it that did not succeed begin again; `false` when it goes on, or succeeded.
fn revive(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef) -> Result<bool> {
    lock(tx, [task.seq])?;
    let now = tx.now()?;
    let back = tx.execute(
        "UPDATE task SET state = 1, run_at = ?2, failures = 0, crashes = 0, crash_mark = 0, finished_at = NULL, deadline = NULL
         WHERE seq = ?1 AND state > 4",
        &[&task.seq, &now],
    )?;
    if back == 0 {
        return Ok(false);
    }
    // What was still waited for is waited for anew, and so is a signal, an event or a message that did not come in time.
    tx.execute(
        "DELETE FROM journal WHERE task = ?1 AND kind NOT IN (5, 14, 15)
         AND (state IN (0, 3, 4) OR kind IN (4, 8, 12) AND value IS NULL)",
        &[&task.seq],
    )?;
    // Not those whose failures were taken for values, nor those that lost a race which another has won: what came of that stands.
    let unfinished = tx.query(
        "SELECT seq, id, root, agent, tenant, attempt, parent, correlation, call FROM task
         WHERE parent = ?1 AND state > 4 AND call IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM journal WHERE journal.task = ?1 AND journal.key = task.call
             AND (journal.kind = 15 AND journal.state IN (1, 2) OR journal.kind = 14 AND journal.value IS NOT NULL))
         ORDER BY seq",
        &[&task.seq],
        |row| Ok((super::task_ref(row)?, row.get::<String>(8)?)),
    )?;
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, call) in &unfinished {
        *calls.entry(call).or_default() += 1;
    }
    for (call, remaining) in calls {
        tx.execute(
            "UPDATE journal SET state = 0, value = NULL, note = NULL, remaining = ?3 WHERE task = ?1 AND key = ?2",
            &[&task.seq, &call, &remaining],
        )?;
    }
    for (child, _) in &unfinished {
        revive(tx, queue, child)?;
    }
    emit::redriven(tx, queue, task)?;
    queue.wake_ready(tx);
    queue.wake_watchers(tx, task.id);
    Ok(true)
}

/// Forgets up to `limit` tasks that ended before `before`, with all that they left; how many. One whose caller goes on is kept: it
/// may still be asked for.
pub(crate) fn forget(tx: &mut Tx<'_>, before: Timestamp, limit: u64) -> Result<usize> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "SELECT seq FROM task WHERE state > 3 AND finished_at < ?1 AND NOT EXISTS (
                 SELECT 1 FROM task AS caller WHERE caller.seq = task.parent AND caller.state < 4)
             ORDER BY finished_at LIMIT ?2"
        }
        Dialect::Postgres => {
            "SELECT seq FROM task WHERE state > 3 AND finished_at < ?1 AND NOT EXISTS (
                 SELECT 1 FROM task AS caller WHERE caller.seq = task.parent AND caller.state < 4)
             ORDER BY finished_at LIMIT ?2 FOR UPDATE SKIP LOCKED"
        }
    };
    let gone = tx.query(sql, &[&before, &limit], |row| row.get::<i64>(0))?;
    if gone.is_empty() {
        return Ok(0);
    }
    memory::leave(tx, &gone)?;
    match tx.dialect() {
        Dialect::Postgres => {
            let list = listed(gone.iter().copied());
            for table in dependents() {
                let sql = format!("DELETE FROM {table} WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[]))");
                tx.execute(&sql, &[&list])?;
            }
            tx.execute(
                "DELETE FROM task WHERE seq = ANY (CAST(string_to_array(?1, ',') AS BIGINT[]))",
                &[&list],
            )?;
        }
        Dialect::Sqlite => {
            for seq in &gone {
                for table in dependents() {
                    tx.execute(&format!("DELETE FROM {table} WHERE task = ?1"), &[seq])?;
                }
                tx.execute("DELETE FROM task WHERE seq = ?1", &[seq])?;
            }
        }
    }
    Ok(gone.len())
}

/// Removes up to about `limit` rows that nobody can see any more: what forgotten runs kept, and what has expired. How many; fewer than
/// `limit` when there are no more.
pub(crate) fn prune(tx: &mut Tx<'_>, limit: u64) -> Result<u64> {
    let entries = memory::prune(tx, limit)?;
    let letters = post::prune(tx, limit)?;
    Ok(entries.max(letters))
}

/// The tables that hold what belongs to a task.
fn dependents() -> impl Iterator<Item = &'static str> {
    DEPENDENTS
        .into_iter()
        .chain(schema::DEPENDENTS)
        .chain(budgets::DEPENDENTS)
}

/// Those that are neither for its [records](schema::DEPENDENTS) nor for its [budget](budgets::DEPENDENTS).
const DEPENDENTS: [&str; 9] = [
    "task_body",
    "task_output",
    "task_note",
    "task_label",
    "journal",
    "inbox",
    "task_route",
    "stream",
    "stream_piece",
];
