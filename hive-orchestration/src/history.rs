//! What a task remembers, as data: to be kept, read by people, [replayed](crate::replay) and forked.
//!
//! A [`History`] is taken of any task, running or ended, with [`Hive::export`](crate::Hive::export); it is plain JSON. What it holds is what
//! the task's journal holds: what steps returned, what was answered, what became of children, and the input. It holds no code, so
//! keep it as you keep the task's data.
//!
//! [`Hive::fork`](crate::Hive::fork) begins a new task with what another had recorded up to some point: see [`Fork`].

mod fork;
mod read;

use hive_core::clock::Timestamp;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};
use serde::{Deserialize, Serialize};

pub use self::fork::Fork;
pub(crate) use self::fork::{Forked, fork};
pub(crate) use self::read::read;
use crate::journal::kept::{Kept, KeptChild, some};
use crate::journal::{self, Journal, Kind, Mark, Standing};
use crate::limits;
use crate::task::TaskState;

/// The form of histories that this release writes, and the latest that it reads.
pub const FORMAT: u32 = 1;

/// The label by which a fork is found: its value is the id of the task that it was forked from.
pub const FORKED_FROM: &str = "forked_from";

/// A task with everything that it remembers.
///
/// ```
/// # use hive_orchestration::{Context, Failure, Hive, agent_fn};
/// use hive_orchestration::history::History;
///
/// # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let double = agent_fn("double", async |cx: Context, n: u32| cx.step("double", async || Ok::<_, Failure>(2 * n)).await);
/// let hive = Hive::open(dir.path().join("hive.db")).agent(double).start().await?;
/// let task = hive.submit_named("double", &21).await?;
/// task.result().await?;
///
/// let history = hive.export(task.id()).await?;
/// assert_eq!(history.entries[0].key, "step:double#1");
/// assert_eq!(History::from_json(&history.to_json()?)?, history);
/// # hive.shutdown().await }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// The form: [`FORMAT`] in what this release writes.
    pub format: u32,
    /// Which task.
    pub task: TaskId,
    /// The root of its tree of calls.
    pub root: TaskId,
    /// The task that it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<String>,
    /// Its agent.
    pub agent: String,
    /// The latest version of the agent that any process has declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// On whose behalf.
    pub tenant: String,
    /// Where it stood.
    pub state: TaskState,
    /// How often it had been claimed.
    pub attempt: u32,
    /// Its level below the root.
    pub depth: u32,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What it was given.
    pub input: Payload,
    /// What it returned.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why its last attempt, or all of it, failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it remembers, in the order in which that was begun to wait for, or was recorded.
    pub entries: Vec<Entry>,
    /// Signals that had come and that nobody had waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Unread>,
}

/// Something that a task remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The name of the entry in this task: `kind:name#occurrence`, or `kind[scope]:name#occurrence`.
    pub key: String,
    /// What made it, as in the key: `step`, `transaction`, `sleep`, `wait`, `call`, and others.
    pub kind: String,
    /// The number of the kind, which also tells a step that must not run twice (1) from others (0).
    pub code: u8,
    /// The names of the scopes that it is in, with `/` between them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Its name in the code.
    pub name: String,
    /// The how manieth use of the name in its scope, from 1.
    pub occurrence: u32,
    /// How far it had come.
    pub state: EntryState,
    /// The version of the step.
    #[serde(default)]
    pub version: u32,
    /// The type of the value, as the compiler named it. Of children, how many of whom.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Of the inputs of children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<i64>,
    /// What a step returned or a signal brought. Timers leave none, and a wait whose time ran out.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
    /// A question that was asked, why it is held, or why it was done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When a wait ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What was called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// When it was recorded; of a wait, when that began.
    pub at: Timestamp,
}

/// How far an entry had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryState {
    /// Begun, or waited for.
    Pending,
    /// Done, with its outcome.
    Done,
    /// A person must decide.
    Held,
}

/// A task that was called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Child {
    /// Which task.
    pub task: TaskId,
    /// Its agent.
    pub agent: String,
    /// Where it stood.
    pub state: TaskState,
    /// What it returned.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A signal that nobody had waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unread {
    /// Its name.
    pub signal: String,
    /// What it brings.
    pub value: Payload,
    /// When it came.
    pub at: Timestamp,
}

impl History {
    /// As JSON.
    ///
    /// # Errors
    /// None that is known: everything in a history has a JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(ErrorKind::Internal, "a history has no JSON form").with_source(e))
    }

    /// From JSON that [`History::to_json`] has written, or a hive of an earlier release.
    ///
    /// # Errors
    /// `payload-too-large` above [`HISTORY_BYTES`](crate::limits::HISTORY_BYTES) and what white space takes; `invalid-input` for what is no
    /// history, or one of a later form.
    pub fn from_json(json: &str) -> Result<Self> {
        if json.len() > 2 * limits::HISTORY_BYTES {
            return Err(Error::new(ErrorKind::PayloadTooLarge, "the history is too large")
                .with("size", json.len())
                .with("limit", 2 * limits::HISTORY_BYTES));
        }
        let history: Self = serde_json::from_str(json).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, "this is not a task's history")
                .with("line", e.line())
                .with("column", e.column())
                .with_source(e)
        })?;
        if history.format > FORMAT {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the history is of a later form than this release reads",
            )
            .with("format", history.format)
            .with("known", FORMAT)
            .with_hint("read it with the release that wrote it, or a later one"));
        }
        for entry in &history.entries {
            Kind::from_code(i64::from(entry.code)).map_err(|_| {
                Error::new(ErrorKind::InvalidInput, "the history has an entry of an unknown kind")
                    .with("entry", format!("{:.80}", entry.key.escape_debug()))
                    .with("code", entry.code)
            })?;
        }
        Ok(history)
    }

    /// What a run would remember.
    pub(crate) fn journal(&self) -> Result<Journal> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let known = journal::Entry {
                kind: Kind::from_code(i64::from(entry.code))?,
                standing: match entry.state {
                    EntryState::Pending => Standing::Pending,
                    EntryState::Done => Standing::Done,
                    EntryState::Held => Standing::Held,
                },
                value: entry.outcome()?,
            };
            entries.push((entry.key.clone(), known, entry.mark()));
        }
        Ok(Journal::of(entries))
    }
}

impl Entry {
    /// Whether this is the entry with the name: its key, or its name in the code.
    fn is_called(&self, name: &str) -> bool {
        self.key == name || self.name == name
    }

    fn mark(&self) -> Mark {
        Mark {
            version: self.version,
            shape: self.type_name.clone().filter(|_| self.is_call()),
            fingerprint: self.fingerprint.map(i64::cast_unsigned),
        }
    }

    fn is_call(&self) -> bool {
        i64::from(self.code) == Kind::Children.code()
    }

    /// Its value, into which what became of children is put: their tasks may be elsewhere.
    fn outcome(&self) -> Result<Option<Payload>> {
        if self.children.is_empty() || self.value.is_some() || self.state != EntryState::Done {
            return Ok(self.value.clone());
        }
        let children = self.children.iter().map(|child| KeptChild {
            agent: child.agent.clone(),
            output: child.output.clone(),
            failure: child.failure.clone(),
        });
        let kept = Kept {
            children: children.collect(),
        };
        kept.encode().map(Some)
    }
}
