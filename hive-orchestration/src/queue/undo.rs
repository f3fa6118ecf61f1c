//! A task ended without an output: what it registered is undone, by a task that is made in the same commit.

use std::borrow::Cow;

use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::submit::{self, NewTask};
use super::{Queue, TaskRef};
use crate::limits;
use crate::task::{Priority, TaskState};

/// The agent that undoes; every hive has it.
pub(crate) const AGENT: &str = "hive-undo";

/// A call that takes something back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Undo {
    /// In the order in which they were registered.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) agent: String,
    pub(crate) priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) input: Payload,
}

/// What a task leaves to be undone: the input of the task that does it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Undoing {
    /// Whose.
    pub(crate) task: TaskId,
    pub(crate) agent: String,
    /// How it ended.
    pub(crate) state: TaskState,
    /// The last that was registered first.
    pub(crate) calls: Vec<Undo>,
}

impl JsonSchema for Undoing {
    fn schema_name() -> Cow<'static, str> {
        "Undoing".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

/// Has everything undone that a task registered, which ends without an output in this transaction.
pub(super) fn begin(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, state: TaskState) -> Result<()> {
    let mut calls = tx.query(
        "SELECT value FROM journal WHERE task = ?1 AND kind = 7",
        &[&task.seq],
        |row| row.get::<Payload>(0)?.decode::<Undo>(),
    )?;
    if calls.is_empty() {
        return Ok(());
    }
    calls.sort_by_key(|undo| std::cmp::Reverse(undo.number));
    let undoing = Undoing {
        task: task.id,
        agent: task.agent.clone(),
        state,
        calls,
    };
    let most = limits::UNDO_BYTES + (limits::UNDO_CALLS + 1) * limits::UNDO_WORDS;
    let new = NewTask {
        // Once, however often it is asked for.
        idempotency: Some(task.id.to_string()),
        correlation: Some(task.correlation.clone().unwrap_or_else(|| task.root.to_string())),
        labels: vec![("undoes".to_owned(), task.id.to_string())],
        ..NewTask::new(queue.ids.next(), AGENT, &task.tenant, Payload::encode(&undoing, most)?)
    };
    submit::submit(tx, queue, &new).map(drop)
}

/// The task that undoes what this one did.
pub(crate) fn of(db: &Snapshot<'_>, id: TaskId) -> Result<Option<TaskId>> {
    db.query_opt(
        "SELECT undo.id FROM task JOIN task AS undo ON undo.tenant = task.tenant AND undo.agent = ?2 AND undo.idempotency = ?3
         WHERE task.id = ?1",
        &[&id, &AGENT, &id.to_string()],
        |row| row.get(0),
    )
}

/// Refuses to bring a task back of which something has been undone: it would go on as if that still stood.
pub(super) fn refuse(db: &Snapshot<'_>, task: &TaskRef) -> Result<()> {
    match of(db, task.id)? {
        None => Ok(()),
        Some(undo) => Err(
            Error::new(ErrorKind::Conflict, "what the task did is being undone, or has been")
                .with("task", task.id)
                .with("undo", undo)
                .with_hint("submit its input again as a new task"),
        ),
    }
}
