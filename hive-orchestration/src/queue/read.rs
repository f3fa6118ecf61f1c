//! Questions about tasks.

use std::collections::HashMap;

use hive_core::db::{Row, Snapshot};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};

use crate::budget::Shortage;
use crate::journal::Kind;
use crate::lease::listed;
use crate::task::{End, Progress, TaskState, TaskStatus, WaitingFor};

/// A task at this moment.
pub(crate) fn status(db: &Snapshot<'_>, id: TaskId) -> Result<TaskStatus> {
    let (seq, mut status) = db
        .query_opt(
            "SELECT seq, agent, state, attempt, failures, progress, failure, created_at, finished_at
             FROM task LEFT JOIN task_note ON task_note.task = task.seq WHERE id = ?1",
            &[&id],
            |row| {
                let state = TaskState::from_code(row.get(2)?)?;
                // What went wrong on the way is no more.
                let failure = if state == TaskState::Succeeded {
                    None
                } else {
                    parse::<Failure>(row.get(6)?)?
                };
                let status = TaskStatus {
                    id,
                    agent: row.get(1)?,
                    state,
                    attempt: row.get(3)?,
                    failures: row.get(4)?,
                    progress: parse::<Progress>(row.get(5)?)?,
                    waiting_for: Vec::new(),
                    failure,
                    created_at: row.get(7)?,
                    finished_at: row.get(8)?,
                };
                Ok((row.get::<i64>(0)?, status))
            },
        )?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?;
    // A question may be open in one branch while another works.
    if [TaskState::Waiting, TaskState::Running].contains(&status.state) {
        status.waiting_for = waiting_for(db, seq)?;
    }
    Ok(status)
}

fn waiting_for(db: &Snapshot<'_>, seq: i64) -> Result<Vec<WaitingFor>> {
    let waits = db.query(
        "SELECT key, kind, state, note, wake_at, signal, remaining FROM journal
         WHERE task = ?1 AND key IN (SELECT key FROM journal WHERE task = ?1 AND state <> 2 AND state IN (0, 3))
         ORDER BY at, length(key), key",
        &[&seq],
        |row| {
            if row.get::<i64>(2)? == 3 {
                return Ok(Some(WaitingFor::Decision {
                    step: row.get(0)?,
                    report: row.get::<Option<String>>(3)?.unwrap_or_default(),
                }));
            }
            Ok(match Kind::from_code(row.get(1)?)? {
                Kind::Timer => Some(WaitingFor::Timer { until: row.get(4)? }),
                Kind::Signal => Some(WaitingFor::Signal {
                    name: row.get(5)?,
                    question: parse(row.get(3)?)?,
                    until: row.get(4)?,
                }),
                Kind::Children | Kind::Race | Kind::Settled => Some(WaitingFor::Children { remaining: row.get(6)? }),
                Kind::Message => Some(WaitingFor::Message {
                    asked: row.get(3)?,
                    until: row.get(4)?,
                }),
                Kind::Event => Some(WaitingFor::Event {
                    pattern: row.get::<Option<String>>(3)?.unwrap_or_default(),
                    until: row.get(4)?,
                }),
                Kind::Budget => {
                    let short = parse::<Shortage>(row.get(3)?)?;
                    short.map(|short| WaitingFor::Budget {
                        account: short.account,
                        resource: short.resource,
                        missing: short.missing,
                    })
                }
                Kind::Step
                | Kind::Once
                | Kind::Transaction
                | Kind::Record
                | Kind::Spawn
                | Kind::Plan
                | Kind::Undo
                | Kind::Stream
                | Kind::Memory => None,
            })
        },
    )?;
    Ok(waits.into_iter().flatten().collect())
}

/// How far a task last said it had come.
pub(super) fn progress(db: &Snapshot<'_>, seq: i64) -> Result<Option<Progress>> {
    let noted = db.query_opt("SELECT progress FROM task_note WHERE task = ?1", &[&seq], |row| {
        row.get(0)
    })?;
    parse(noted.flatten())
}

/// `None` while it goes on.
pub(crate) fn end(db: &Snapshot<'_>, id: TaskId) -> Result<Option<End>> {
    db.query_opt(
        "SELECT state, output, failure FROM task LEFT JOIN task_output ON task_output.task = task.seq
         LEFT JOIN task_note ON task_note.task = task.seq WHERE id = ?1",
        &[&id],
        |row| end_of(TaskState::from_code(row.get(0)?)?, row.get(1)?, row.get(2)?),
    )?
    .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))
}

/// The agents and ends of a call's children, in the order in which they were given.
pub(crate) fn children(db: &Snapshot<'_>, parent: i64, call: &str) -> Result<Vec<(String, Option<End>)>> {
    db.query(
        "SELECT agent, state, output, failure FROM task LEFT JOIN task_output ON task_output.task = task.seq
         LEFT JOIN task_note ON task_note.task = task.seq
         WHERE parent = ?1 AND call = ?2 ORDER BY ordinal",
        &[&parent, &call],
        |row| {
            let end = end_of(TaskState::from_code(row.get(1)?)?, row.get(2)?, row.get(3)?)?;
            Ok((row.get(0)?, end))
        },
    )
}

/// A child of a plan, without its output.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) call: String,
    pub(crate) id: TaskId,
    pub(crate) agent: String,
    pub(crate) attempt: u32,
    /// `None` while it goes on; without the output where it succeeded.
    pub(crate) end: Option<Result<(), Failure>>,
}

/// The children whose calls begin with `prefix`.
pub(crate) fn called(db: &Snapshot<'_>, parent: i64, prefix: &str) -> Result<Vec<Called>> {
    db.query(
        "SELECT call, id, agent, attempt, state, failure FROM task LEFT JOIN task_note ON task_note.task = task.seq
         WHERE parent = ?1 AND substr(call, 1, length(CAST(?2 AS TEXT))) = CAST(?2 AS TEXT)",
        &[&parent, &prefix],
        |row| {
            let state = TaskState::from_code(row.get(4)?)?;
            let end = match state {
                TaskState::Scheduled | TaskState::Queued | TaskState::Running | TaskState::Waiting => None,
                TaskState::Succeeded => Some(Ok(())),
                TaskState::Failed | TaskState::Cancelled | TaskState::Dead => Some(Err(failure_of(row.get(5)?)?)),
            };
            Ok(Called {
                call: row.get(0)?,
                id: row.get(1)?,
                agent: row.get(2)?,
                attempt: row.get(3)?,
                end,
            })
        },
    )
}

fn failure_of(text: Option<String>) -> Result<Failure> {
    Ok(parse(text)?.unwrap_or_else(|| Failure::terminal("the task left no reason")))
}

fn end_of(state: TaskState, output: Option<Payload>, failure: Option<String>) -> Result<Option<End>> {
    Ok(match (state, output) {
        (TaskState::Scheduled | TaskState::Queued | TaskState::Running | TaskState::Waiting, _) => None,
        (TaskState::Succeeded, Some(output)) => Some(End::Output(output)),
        (TaskState::Succeeded, None) => {
            return Err(Error::new(ErrorKind::Corrupt, "a task succeeded without an output"));
        }
        (TaskState::Failed | TaskState::Cancelled | TaskState::Dead, _) => {
            Some(End::Failure(state, failure_of(failure)?))
        }
    })
}

/// Of these tasks, those that run, with their attempts; and those that have outcomes which their runs have not seen. PostgreSQL's
/// only: where there is one process it knows.
pub(crate) fn owned(db: &Snapshot<'_>, tasks: &[i64]) -> Result<(HashMap<i64, u32>, Vec<i64>)> {
    let asked = listed(tasks.iter().copied());
    let running = db.query(
        "SELECT seq, attempt FROM task
         WHERE seq = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND state + 0 = 2",
        &[&asked],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let news = db.query(
        "SELECT DISTINCT task FROM journal
         WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND state <> 2 AND state IN (1, 4)",
        &[&asked],
        |row| row.get(0),
    )?;
    Ok((running.into_iter().collect(), news))
}

/// Enough of a task to notice that it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) state: TaskState,
    attempt: u32,
    progress: Option<String>,
    waits: i64,
}

/// How these tasks fare, those that there are. PostgreSQL's only.
pub(crate) fn glances(db: &Snapshot<'_>, tasks: &[TaskId]) -> Result<Vec<(TaskId, Glance)>> {
    let asked: Vec<String> = tasks
        .iter()
        .map(|id| {
            let digits = id.as_bytes().iter().map(|byte| format!("{byte:02x}"));
            std::iter::once("\\x".to_owned()).chain(digits).collect()
        })
        .collect();
    db.query(
        "SELECT id, state, attempt, progress,
                (SELECT count(*) FROM journal WHERE journal.task = task.seq AND journal.state <> 2)
         FROM task LEFT JOIN task_note ON task_note.task = task.seq
         WHERE id = ANY (CAST(string_to_array(?1, ',') AS BYTEA[]))",
        &[&asked.join(",")],
        |row| {
            let glance = Glance {
                state: TaskState::from_code(row.get(1)?)?,
                attempt: row.get(2)?,
                progress: row.get(3)?,
                waits: row.get(4)?,
            };
            Ok((row.get(0)?, glance))
        },
    )
}

/// How many tasks are in each state, at and below one task when given.
pub(crate) fn counts(db: &Snapshot<'_>, root: Option<TaskId>) -> Result<Vec<(TaskState, u64)>> {
    let count = |row: &Row<'_>| Ok((TaskState::from_code(row.get(0)?)?, row.get(1)?));
    match root {
        // `CROSS JOIN` fixes the order of the loops on SQLite: the other one looks at every task there is.
        Some(root) => db.query(
            "WITH RECURSIVE tree (seq) AS (
                 SELECT seq FROM task WHERE id = ?1
                 UNION ALL
                 SELECT task.seq FROM tree CROSS JOIN task WHERE task.parent = tree.seq)
             SELECT state, count(*) FROM tree CROSS JOIN task WHERE task.seq = tree.seq GROUP BY state ORDER BY state",
            &[&root],
            count,
        ),
        None => db.query(
            "SELECT state, count(*) FROM task GROUP BY state ORDER BY state",
            &[],
            count,
        ),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(text: Option<String>) -> Result<Option<T>> {
    text.map(|text| parsed(&text)).transpose()
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "a task's record cannot be read").with_source(e))
}

/// Tasks that have not ended, with their agents, in the order of their submission: of those after one row and up to another.
pub(crate) fn open(db: &Snapshot<'_>, after: i64, last: i64) -> Result<Vec<(TaskId, String)>> {
    db.query(
        "SELECT id, agent FROM task WHERE seq > ?1 AND seq <= ?2 AND state < 4 ORDER BY seq",
        &[&after, &last],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The row of the latest task, which may have ended.
pub(crate) fn latest(db: &Snapshot<'_>) -> Result<i64> {
    let latest = db.query_one("SELECT max(seq) FROM task", &[], |row| row.get::<Option<i64>>(0))?;
    Ok(latest.unwrap_or(0))
}
