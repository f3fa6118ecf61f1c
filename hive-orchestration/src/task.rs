//! Tasks as their users see them: state, status, priority.

pub mod query;
pub mod question;
pub(crate) mod state;

use hive_core::clock::Timestamp;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::question::Question;
use crate::budget::Resource;
use crate::limits;

/// Where a task stands.
///
/// ```text
/// scheduled → queued → running → succeeded | failed | cancelled | dead
///     ↑         ↑        │ │
///     └─ retry ─┼────────┘ └→ waiting (timer, child, signal, event, message, budget, a person's decision)
///               └────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskState {
    /// Not before a certain time: delayed by its submitter or between two attempts.
    Scheduled,
    /// Ready for a worker.
    Queued,
    /// An attempt is under way.
    Running,
    /// Between two runs of the same attempt, for a timer, a child, a signal, an event, a message, a budget or a person. It holds no worker
    /// and no memory.
    Waiting,
    /// Ended with an output.
    Succeeded,
    /// Ended with a terminal failure.
    Failed,
    /// Ended on request.
    Cancelled,
    /// Out of attempts: in the dead letters, with its last failure.
    Dead,
}

impl TaskState {
    /// Whether the task has ended and will not change any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Scheduled | Self::Queued | Self::Running | Self::Waiting => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Dead => true,
        }
    }

    /// The state as columns hold it. Queries spell these numbers out, because a partial index is only used when its
    /// condition stands in the query word for word.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Scheduled => 0,
            Self::Queued => 1,
            Self::Running => 2,
            Self::Waiting => 3,
            Self::Succeeded => 4,
            Self::Failed => 5,
            Self::Cancelled => 6,
            Self::Dead => 7,
        }
    }

    pub(crate) fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            0 => Self::Scheduled,
            1 => Self::Queued,
            2 => Self::Running,
            3 => Self::Waiting,
            4 => Self::Succeeded,
            5 => Self::Failed,
            6 => Self::Cancelled,
            7 => Self::Dead,
            other => return Err(Error::new(ErrorKind::Corrupt, "a task has an unknown state").with("state", other)),
        })
    }
}

/// Which of the ready tasks go first. Within one priority the older goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Priority {
    /// After everything else.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Before the ordinary.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Low => 0,
            Self::Medium => 1,
            Self::High => 2,
            Self::Critical => 3,
        }
    }

    pub(crate) const fn from_code(code: i64) -> Self {
        match code {
            ..=0 => Self::Low,
            1 => Self::Medium,
            2 => Self::High,
            3.. => Self::Critical,
        }
    }
}

/// How far a task says it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, as far as known.
    pub total: u64,
    /// What is going on, for people.
    pub note: String,
}

impl Progress {
    pub(crate) fn new(done: u64, total: u64, note: String) -> Self {
        Self { done, total, note }
    }
}

/// What a waiting task waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum WaitingFor {
    /// A timer.
    Timer {
        /// When it fires.
        #[schemars(with = "String")]
        until: Timestamp,
    },
    /// Children that it called.
    Children {
        /// How many have not ended yet.
        remaining: u64,
    },
    /// A signal, such as a person's approval.
    Signal {
        /// The signal's name.
        name: String,
        /// The question put to whoever answers, if any.
        question: Option<Question>,
        /// When waiting ends with a failure, if ever.
        #[schemars(with = "Option<String>")]
        until: Option<Timestamp>,
    },
    /// A message.
    Message {
        /// Who was asked, when it is the reply to a request; otherwise it is the next one in its agent's inbox.
        asked: Option<String>,
        /// When waiting ends without one, if ever.
        #[schemars(with = "Option<String>")]
        until: Option<Timestamp>,
    },
    /// An event.
    Event {
        /// The pattern that its topic must match.
        pattern: String,
        /// When waiting ends with a failure, if ever.
        #[schemars(with = "Option<String>")]
        until: Option<Timestamp>,
    },
    /// Room in a budget: until it is [raised](crate::TaskHandle::grant), or others give back what they had reserved.
    Budget {
        /// The task whose budget it is.
        #[schemars(with = "String")]
        account: TaskId,
        /// What is lacking.
        resource: Resource,
        /// How much of it was, when the wait began: tokens, millionths of a dollar, calls, tasks, levels, or milliseconds since the wall
        /// time was over.
        missing: u64,
    },
    /// A person's decision about a step whose outcome is not known; see [`crate::TaskHandle::decide`].
    Decision {
        /// The step.
        step: String,
        /// What happened, with what to do.
        report: String,
    },
}

/// A task at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskStatus {
    /// Which task.
    pub id: TaskId,
    /// The agent it is for.
    pub agent: String,
    /// Where it stands.
    pub state: TaskState,
    /// How many times it was claimed so far: the fencing number of its latest run.
    pub attempt: u32,
    /// How many attempts have failed.
    pub failures: u32,
    /// What it last said of its progress.
    pub progress: Option<Progress>,
    /// What it waits for, when it is waiting, or running on in one branch while another waits.
    pub waiting_for: Vec<WaitingFor>,
    /// Why the last attempt, or the whole task, failed.
    pub failure: Option<Failure>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How a task ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Output(Payload),
    Failure(TaskState, Failure),
}

/// What is [paused](crate::Hive::pause) and resumed as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The tasks of one agent.
    Agent(String),
    /// The tasks of one tenant.
    Tenant(String),
    /// Every task.
    All,
}

impl Scope {
    /// As columns hold it.
    pub(crate) fn columns(&self) -> (i64, &str) {
        match self {
            Self::Agent(name) => (0, name),
            Self::Tenant(name) => (1, name),
            Self::All => (2, ""),
        }
    }
}

/// A person's word on a step that is held.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// The step took effect, and this is its output.
    Adopt(serde_json::Value),
    /// The step did not take effect, or may be done again: run it.
    Rerun,
}

/// Refuses names that are empty, too long or unprintable.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > limits::NAME_BYTES {
        "is too long"
    } else if name.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, format!("the {what} {problem}"))
        .with("field", what)
        .with("value", format!("{:.40}", name.escape_debug()))
        .with("limit_bytes", limits::NAME_BYTES))
}

/// Refuses keys that are empty, too long, or that PostgreSQL cannot hold.
pub(crate) fn check_key(field: &'static str, key: Option<&str>) -> Result<()> {
    match key {
        Some(key) if key.is_empty() || key.len() > limits::KEY_BYTES || key.contains('\0') => Err(Error::new(
            ErrorKind::InvalidInput,
            "a key is empty, too long or holds a null character",
        )
        .with("field", field)
        .with("bytes", key.len())
        .with("limit_bytes", limits::KEY_BYTES)),
        Some(_) | None => Ok(()),
    }
}

/// Refuses what cannot stand in a topic or a tenant column: agents and tenants are named with ASCII letters, digits, `-`
/// and `_`.
pub(crate) fn check_token(what: &'static str, name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.len() <= limits::TOKEN_BYTES && name.bytes().all(fits) {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::InvalidInput, format!("the {what}'s name is not valid"))
            .with("field", what)
            .with("value", format!("{:.80}", name.escape_debug()))
            .with("limit_bytes", limits::TOKEN_BYTES)
            .with_hint("use ASCII letters, digits, `-` and `_`"),
    )
}
