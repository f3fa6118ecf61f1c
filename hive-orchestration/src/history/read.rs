//! A history from the tables.

use std::collections::HashMap;

use hive_core::db::Snapshot;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};

use super::{Child, Entry, EntryState, FORKED_FROM, FORMAT, History, Unread};
use crate::journal::whole::{self, Line};
use crate::limits;
use crate::task::TaskState;

/// What has been read so far, which must not be more than a history may have.
struct Meter {
    bytes: usize,
    task: TaskId,
}

impl Meter {
    fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= limits::HISTORY_BYTES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PayloadTooLarge,
            "what the task remembers is more than a history holds",
        )
        .with("task", self.task)
        .with("limit_bytes", limits::HISTORY_BYTES))
    }

    fn payload(&mut self, payload: Option<&Payload>) -> Result<()> {
        self.add(payload.map_or(0, Payload::size))
    }
}

/// All that a task remembers, in one snapshot.
pub(crate) fn read(db: &Snapshot<'_>, id: TaskId) -> Result<History> {
    let mut meter = Meter { bytes: 0, task: id };
    let (seq, mut history) = head(db, id)?;
    meter.payload(Some(&history.input))?;
    meter.payload(history.output.as_ref())?;
    let mut children = children(db, seq, &mut meter)?;
    whole::lines(db, seq, |line| {
        meter.add(line.key.len() + ENTRY_BYTES)?;
        meter.payload(line.value.as_ref())?;
        let children = children.remove(&line.key).unwrap_or_default();
        history.entries.push(entry(line, children)?);
        Ok(true)
    })?;
    db.each(
        "SELECT name, value, at FROM inbox WHERE task = ?1 ORDER BY seq",
        &[&seq],
        |row| {
            let unread = Unread {
                signal: row.get(0)?,
                value: row.get(1)?,
                at: row.get(2)?,
            };
            meter.payload(Some(&unread.value))?;
            history.signals.push(unread);
            Ok(true)
        },
    )?;
    Ok(history)
}

/// What an entry takes besides its key and its value, roughly.
const ENTRY_BYTES: usize = 200;

fn head(db: &Snapshot<'_>, id: TaskId) -> Result<(i64, History)> {
    db.query_opt(
        "SELECT seq, root, agent, tenant, state, attempt, depth, created_at, finished_at, input, output, failure,
                (SELECT value FROM task_label WHERE task_label.task = task.seq AND name = ?2),
                (SELECT version FROM agent_version WHERE name = task.agent ORDER BY declared_at DESC, version DESC LIMIT 1)
         FROM task JOIN task_body ON task_body.task = task.seq LEFT JOIN task_output ON task_output.task = task.seq
         LEFT JOIN task_note ON task_note.task = task.seq WHERE id = ?1",
        &[&id, &FORKED_FROM],
        |row| {
            let state = TaskState::from_code(row.get(4)?)?;
            let history = History {
                format: FORMAT,
                task: id,
                root: row.get(1)?,
                forked_from: row.get(12)?,
                agent: row.get(2)?,
                agent_version: row.get(13)?,
                tenant: row.get(3)?,
                state,
                attempt: row.get(5)?,
                depth: row.get(6)?,
                created_at: row.get(7)?,
                finished_at: row.get(8)?,
                input: row.get(9)?,
                output: row.get(10)?,
                // What went wrong on the way is no more.
                failure: failure(row.get(11)?)?.filter(|_| state != TaskState::Succeeded),
                entries: Vec::new(),
                signals: Vec::new(),
            };
            Ok((row.get::<i64>(0)?, history))
        },
    )?
    .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))
}

/// The task's children by the key of their call, in the order in which they were given.
fn children(db: &Snapshot<'_>, seq: i64, meter: &mut Meter) -> Result<HashMap<String, Vec<Child>>> {
    let mut children: HashMap<String, Vec<Child>> = HashMap::new();
    db.each(
        "SELECT call, id, agent, state, output, failure FROM task LEFT JOIN task_output ON task_output.task = task.seq
         LEFT JOIN task_note ON task_note.task = task.seq
         WHERE parent = ?1 AND call IS NOT NULL ORDER BY call, ordinal",
        &[&seq],
        |row| {
            let state = TaskState::from_code(row.get(3)?)?;
            let child = Child {
                task: row.get(1)?,
                agent: row.get(2)?,
                state,
                output: row.get(4)?,
                failure: failure(row.get(5)?)?.filter(|_| state.is_final() && state != TaskState::Succeeded),
            };
            meter.add(ENTRY_BYTES)?;
            meter.payload(child.output.as_ref())?;
            children.entry(row.get(0)?).or_default().push(child);
            Ok(true)
        },
    )?;
    Ok(children)
}

fn failure(text: Option<String>) -> Result<Option<Failure>> {
    text.map(|text| {
        serde_json::from_str(&text)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "a task's record cannot be read").with_source(e))
    })
    .transpose()
}

fn entry(line: Line, children: Vec<Child>) -> Result<Entry> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "a journal entry's key cannot be read").with("key", &line.key);
    let (base, occurrence) = line.key.rsplit_once('#').ok_or_else(corrupt)?;
    let occurrence = occurrence.parse().map_err(|_| corrupt())?;
    // A scope's names hold no `]`, a kind neither `[` nor `:`.
    let (kind, scope, name) = match base.split_once(['[', ':']) {
        Some((kind, rest)) if base.as_bytes().get(kind.len()) == Some(&b'[') => {
            let (scope, name) = rest.split_once("]:").ok_or_else(corrupt)?;
            (kind, scope, name)
        }
        Some((kind, name)) => (kind, "", name),
        None => return Err(corrupt()),
    };
    Ok(Entry {
        kind: kind.to_owned(),
        scope: scope.to_owned(),
        name: name.to_owned(),
        occurrence,
        code: u8::try_from(line.kind).map_err(|_| corrupt())?,
        state: match line.state {
            0 => EntryState::Pending,
            3 => EntryState::Held,
            _ => EntryState::Done,
        },
        version: line.version.unwrap_or(0),
        type_name: line.type_name,
        fingerprint: line.fingerprint,
        value: line.value,
        note: line.note,
        until: line.wake_at,
        children,
        at: line.at,
        key: line.key,
    })
}
