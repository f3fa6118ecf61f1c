//! A task comes into being.

use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::{Queue, TaskRef, emit};
use crate::limits;
use crate::task::{Priority, TaskState};

/// A child that waits for its turn in a bounded `map`.
const HELD: Timestamp = Timestamp::MAX;

/// What a submitter decides.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    pub(crate) agent: String,
    pub(crate) tenant: String,
    pub(crate) input: Payload,
    pub(crate) priority: Priority,
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) idempotency: Option<String>,
}

/// Whose child a new task is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent<'a> {
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) root: TaskId,
    pub(crate) depth: u32,
    pub(crate) call: &'a str,
    pub(crate) ordinal: usize,
    /// Whether it must wait until a sibling ends.
    pub(crate) held: bool,
}

/// Puts a root task into the queue, or finds the one with the same idempotency key.
pub(crate) fn submit(tx: &mut Tx<'_>, queue: &Queue, new: &NewTask) -> Result<TaskId> {
    if let Some(key) = &new.idempotency
        && let Some(found) = existing(tx, new, key)?
    {
        return Ok(found);
    }
    insert(tx, queue, new, None)
}

/// Puts a child into the queue.
pub(crate) fn submit_child(tx: &mut Tx<'_>, queue: &Queue, new: &NewTask, parent: Parent<'_>) -> Result<TaskId> {
    insert(tx, queue, new, Some(parent))
}

fn existing(tx: &Tx<'_>, new: &NewTask, key: &str) -> Result<Option<TaskId>> {
    let found = tx.query_opt(
        "SELECT t.id, b.input FROM task t JOIN task_body b ON b.task = t.seq
         WHERE t.tenant = ?1 AND t.agent = ?2 AND t.idempotency = ?3",
        &[&new.tenant, &new.agent, &key],
        |row| Ok((row.get::<TaskId>(0)?, row.blob(1)? == new.input.as_bytes())),
    )?;
    match found {
        Some((id, false)) => Err(
            Error::new(ErrorKind::Conflict, "the idempotency key was used with another input")
                .with("idempotency_key", key)
                .with("task", id)
                .with_hint("use a new key for a new input; the same key and input give the task that is there"),
        ),
        Some((id, true)) => Ok(Some(id)),
        None => Ok(None),
    }
}

fn insert(tx: &mut Tx<'_>, queue: &Queue, new: &NewTask, parent: Option<Parent<'_>>) -> Result<TaskId> {
    let now = queue.clock.now();
    let id: TaskId = queue.ids.next();
    let depth = parent.map_or(0, |parent| parent.depth + 1);
    if depth > limits::CALL_DEPTH {
        return Err(Error::new(ErrorKind::LimitReached, "calls are nested too deep")
            .with("agent", &new.agent)
            .with("limit", limits::CALL_DEPTH)
            .with_hint("an agent probably calls itself without an end"));
    }
    let root = parent.map_or(id, |parent| parent.root);
    let held = parent.is_some_and(|parent| parent.held);
    let run_at = if held { HELD } else { new.run_at.unwrap_or(now) };
    let state = if run_at > now {
        TaskState::Scheduled
    } else {
        TaskState::Queued
    };
    let seq = tx.insert(
        "INSERT INTO task (id, tenant, agent, root, parent, call, ordinal, depth, state, priority, run_at, idempotency,
                           created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         RETURNING seq",
        &[
            &id,
            &new.tenant,
            &new.agent,
            &root,
            &parent.map(|parent| parent.seq),
            &parent.map(|parent| parent.call),
            &parent.map_or(0, |parent| parent.ordinal as u64),
            &depth,
            &state.code(),
            &new.priority.code(),
            &run_at,
            &new.idempotency,
            &now,
        ],
    )?;
    tx.execute(
        "INSERT INTO task_body (task, input) VALUES (?1, ?2)",
        &[&seq, &new.input],
    )?;
    let task = TaskRef {
        seq,
        id,
        root,
        agent: new.agent.clone(),
        tenant: new.tenant.clone(),
        attempt: 0,
    };
    emit::submitted(tx, queue, &task, parent.map(|parent| parent.id), new.run_at)?;
    let wakeups = queue.wakeups.clone();
    // A later task matters to the dispatcher too: it may be the next to fall due.
    if !held {
        tx.on_commit(move || wakeups.dispatch());
    }
    Ok(id)
}

/// Lets the next held sibling go.
pub(super) fn release_next(tx: &mut Tx<'_>, queue: &Queue, parent: i64, call: &str) -> Result<()> {
    let released = tx.execute(
        "UPDATE task SET state = 1, run_at = ?3 WHERE seq = (
             SELECT seq FROM task WHERE parent = ?1 AND parent IS NOT NULL AND call = ?2 AND state = 0 AND run_at = ?4
             ORDER BY ordinal LIMIT 1)",
        &[&parent, &call, &queue.clock.now(), &HELD],
    )?;
    if released > 0 {
        let wakeups = queue.wakeups.clone();
        tx.on_commit(move || wakeups.dispatch());
    }
    Ok(())
}
