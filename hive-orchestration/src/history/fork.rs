//! A new task that begins with what another has recorded.

use std::sync::Arc;

use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;

use super::{Entry, EntryState, FORKED_FROM, History, read};
use crate::journal::Kind;
use crate::journal::whole::{self, Line};
use crate::limits;
use crate::queue::Queue;
use crate::queue::submit::{self, NewTask};
use crate::task::Priority;
use crate::task::question::Answer;

/// Where a task is forked, and what is different in the fork. A name alone is [`Fork::before`].
///
/// The fork keeps what the task had recorded before the named entry: what its steps returned is not asked for again, transactions are
/// not run again, and its children are not called again, since their outputs come along. The named entry and what was recorded after it
/// is done anew, with all its effects. What counts is when an entry was recorded; of a wait, when that began. Of waits without an
/// outcome none is kept: the fork begins them for itself, and so it does not share the other's signals. A step that must not run twice
/// and whose outcome is not known, or anything else that is held, is held in the fork as well.
#[derive(Clone, Debug)]
#[must_use = "nothing is forked until it is given to `Hive::fork`"]
pub struct Fork {
    before: Option<String>,
    input: Option<Arc<Result<Payload>>>,
    value: Option<Arc<Result<Payload>>>,
}

impl Fork {
    /// Forks before this entry: a key as in [`Entry::key`], or a name in the code if one entry alone has it.
    pub fn before(entry: impl Into<String>) -> Self {
        Self {
            before: Some(entry.into()),
            input: None,
            value: None,
        }
    }

    /// Keeps everything that is on record: the fork goes on where the task stands, or tries again what failed at its end. A call whose child
    /// failed is on record: to call it again, fork before it.
    pub fn at_end() -> Self {
        Self {
            before: None,
            input: None,
            value: None,
        }
    }

    /// Gives the fork another input. What is kept stays as it is, whatever input it came of.
    pub fn with_input(mut self, input: &impl Serialize) -> Self {
        self.input = Some(Arc::new(Payload::encode(input, limits::PAYLOAD_BYTES)));
        self
    }

    /// Gives the named entry this outcome, instead of having it done anew: what a step returned, or a signal brought; for a call a list of
    /// outputs.
    pub fn with_value(mut self, value: &impl Serialize) -> Self {
        self.value = Some(Arc::new(Payload::encode(value, limits::PAYLOAD_BYTES)));
        self
    }

    /// The input, where it is another.
    pub(crate) fn input(&self) -> Option<Result<&Payload>> {
        given(self.input.as_ref())
    }
}

/// An error is kept for whoever asks, who may ask again.
fn given(value: Option<&Arc<Result<Payload>>>) -> Option<Result<&Payload>> {
    value.map(|value| (**value).as_ref().map_err(Error::echo))
}

impl From<&str> for Fork {
    fn from(entry: &str) -> Self {
        Self::before(entry)
    }
}

impl From<String> for Fork {
    fn from(entry: String) -> Self {
        Self::before(entry)
    }
}

/// A fork with an id, so that it may arrive twice.
#[derive(Clone, Debug)]
pub(crate) struct Forked {
    pub(crate) id: TaskId,
    pub(crate) source: TaskId,
    pub(crate) fork: Fork,
}

/// Makes the new task with its journal, ready to run.
pub(crate) fn fork(tx: &mut Tx<'_>, queue: &Queue, forked: &Forked) -> Result<()> {
    let there = tx.query_opt("SELECT 1 FROM task WHERE id = ?1", &[&forked.id], |_| Ok(()))?;
    if there.is_some() {
        return Ok(());
    }
    let history = read(tx, forked.source)?;
    let kept = kept(&history, &forked.fork)?;
    let (priority, key, versions) = tx.query_one(
        "SELECT priority, flow_key, versions FROM task WHERE id = ?1",
        &[&forked.source],
        |row| {
            let priority = Priority::from_code(row.get(0)?);
            Ok((priority, row.get::<String>(1)?, row.get::<String>(2)?))
        },
    )?;
    let input = match forked.fork.input() {
        Some(input) => input?.clone(),
        None => history.input.clone(),
    };
    let new = NewTask {
        priority,
        key,
        versions,
        labels: vec![(FORKED_FROM.to_owned(), forked.source.to_string())],
        ..NewTask::new(forked.id, history.agent, history.tenant, input)
    };
    submit::submit(tx, queue, &new)?;
    let seq = tx.query_one("SELECT seq FROM task WHERE id = ?1", &[&forked.id], |row| {
        row.get::<i64>(0)
    })?;
    // What it remembers is what an earlier attempt has left, and the first one looks for nothing.
    tx.execute("UPDATE task SET attempt = 1 WHERE seq = ?1", &[&seq])?;
    whole::plant(tx, seq, &kept)
}

/// The entries that go along.
fn kept(history: &History, fork: &Fork) -> Result<Vec<Line>> {
    let end = match &fork.before {
        None if fork.value.is_some() => {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the value is for an entry, and none is named")
                    .with("field", "value"),
            );
        }
        None => history.entries.len(),
        Some(name) => place(history, name)?,
    };
    let mut kept = Vec::with_capacity(end);
    for entry in history.entries.iter().take(end) {
        kept.extend(line(entry)?);
    }
    if let (Some(value), Some(named)) = (given(fork.value.as_ref()), history.entries.get(end)) {
        let timer = i64::from(named.code) == Kind::Timer.code();
        if timer {
            return Err(Error::new(ErrorKind::InvalidInput, "a sleep has no value")
                .with("field", "value")
                .with("entry", &named.key));
        }
        let value = if i64::from(named.code) == Kind::Signal.code() {
            Answer::kept(value?, None, named.at)?
        } else {
            value?.clone()
        };
        kept.push(Line {
            state: 2,
            value: Some(value),
            type_name: named.type_name.clone(),
            note: Some("given when the task was forked".to_owned()),
            ..bare(named)
        });
    }
    Ok(kept)
}

/// Where the entry with this name is.
fn place(history: &History, name: &str) -> Result<usize> {
    let found: Vec<usize> = (0..history.entries.len())
        .filter(|place| history.entries.get(*place).is_some_and(|entry| entry.is_called(name)))
        .collect();
    let refused = |kind, message: &'static str| {
        let shown = history
            .entries
            .iter()
            .take(limits::SHOWN)
            .map(|entry| entry.key.as_str());
        Err(Error::new(kind, message)
            .with("task", history.task)
            .with("entry", format!("{:.80}", name.escape_debug()))
            .with("entries", shown.collect::<Vec<_>>().join(", "))
            .with_hint("name the entry by its key, as an export of the task shows it"))
    };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => refused(ErrorKind::NotFound, "the task has recorded nothing of this name"),
        [_, _, ..] => refused(ErrorKind::Conflict, "the task has recorded several things of this name"),
    }
}

/// An entry as it goes along, if it does.
fn line(entry: &Entry) -> Result<Option<Line>> {
    let once = i64::from(entry.code) == Kind::Once.code();
    let state = match entry.state {
        EntryState::Done => 2,
        EntryState::Held => 3,
        EntryState::Pending if once => 0,
        EntryState::Pending => return Ok(None),
    };
    Ok(Some(Line {
        state,
        value: entry.outcome()?,
        note: entry.note.clone(),
        ..bare(entry)
    }))
}

fn bare(entry: &Entry) -> Line {
    Line {
        key: entry.key.clone(),
        kind: i64::from(entry.code),
        state: 2,
        value: None,
        type_name: entry.type_name.clone(),
        version: (entry.version > 0).then_some(entry.version),
        fingerprint: entry.fingerprint,
        note: None,
        wake_at: None,
        at: entry.at,
    }
}
