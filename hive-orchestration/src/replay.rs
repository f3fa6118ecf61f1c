//! What today's code would make of a run: the code against the record, with nothing behind it.
//!
//! [`replay`] runs an agent's code on a [`History`]. What is on record is handed to the code as in a real run. What is not ends its branch:
//! the work of a step is never called, no transaction runs, nothing is written, sent, waited for or called, and the model never answers. It is
//! over when the code returns or fails, or when all its branches have come to an end. **Code outside of steps does run**, with all that it
//! does: what has effects belongs in a step. Code that never awaits cannot be stopped.
//!
//! [`Builder::check`](crate::builders::Builder::check) replays every open run of a database against the agents of this program, and tells
//! which of them would not go on as they should: before it runs, and without a trace.
//!
//! ```
//! # use hive_orchestration::{Context, Failure, Hive, agent_fn};
//! use hive_orchestration::drift::Cause;
//! use hive_orchestration::replay::replay;
//!
//! # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let old = agent_fn("greet", async |cx: Context, who: String| cx.step("greeting", async || Ok::<_, Failure>(who.len())).await);
//! let hive = Hive::open(dir.path().join("hive.db")).agent(old).start().await?;
//! let task = hive.submit_named("greet", &"ada").await?;
//! task.result().await?;
//! let history = hive.export(task.id()).await?;
//! # hive.shutdown().await?;
//!
//! // The step returns a text now, and a number is on record.
//! let new = agent_fn("greet", async |cx: Context, who: String| cx.step("greeting", async || Ok::<_, Failure>(who.clone())).await);
//! let replayed = replay(new, &history).await?;
//! assert_eq!(replayed.drifts[0].cause, Cause::Output);
//! # Ok(()) }
//! ```

mod check;
mod drive;
#[cfg(test)]
mod tests;

use std::fmt;

use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};
use serde::{Deserialize, Serialize};

pub use self::check::{Checked, Finding, check_on};
use self::drive::Stage;
use crate::agent::AnyAgent;
use crate::drift::{Drift, Report};
use crate::history::History;

/// Runs the agent's code on what a task remembers, and says what it came upon. See [the module](self) for what runs and what does not.
///
/// A panic of the agent is a failure of the run. It takes at most [`REPLAY_TIME`](crate::limits::REPLAY_TIME), as long as the code awaits
/// something now and then. Needs a runtime of tokio.
///
/// # Errors
/// `invalid-input` when the history is another agent's.
pub async fn replay(agent: impl Into<AnyAgent>, history: &History) -> Result<Replayed> {
    let agent = agent.into();
    if agent.name() != history.agent {
        return Err(Error::new(ErrorKind::InvalidInput, "the history is another agent's")
            .with("agent", agent.name())
            .with("of", format!("{:.80}", history.agent.escape_debug())));
    }
    Stage::new().replay(&agent, history).await
}

/// What a replay came upon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replayed {
    /// Whose history it was.
    pub task: TaskId,
    /// The agent.
    pub agent: String,
    /// Where it ended.
    pub outcome: Outcome,
    /// Whether the output is the one that the task returned, when it returned one.
    pub same_output: Option<bool>,
    /// How many entries the code asked for.
    pub used: usize,
    /// Entries that nobody asked for, and with which something would be lost: outputs, answers, children. By key, in order.
    pub unused: Vec<String>,
    /// What the code asked for that is not on record, by key, in the order in which it did.
    pub new: Vec<String>,
    /// Entries that do not fit what the code asks for.
    pub drifts: Vec<Report>,
}

/// Where a replay ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Outcome {
    /// The code returned.
    Returns {
        /// What it returned.
        output: Payload,
    },
    /// The code failed.
    Fails {
        /// As the attempt would.
        failure: Failure,
    },
    /// Every branch waits: for something that is waited for on record as well, or for what is not on record.
    Waits,
    /// It did not come to rest in time.
    Busy,
    /// The agent's code is not in this process, and was not run.
    Foreign,
}

/// What is wrong with an open run, were it to go on with this code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "concern")]
#[non_exhaustive]
pub enum Concern {
    /// No agent of its name is there: it would wait for one.
    NoAgent,
    /// Something on record does not fit. What comes of it is for the report's policy.
    Drift(Report),
    /// The code ends without having asked for these: what they remember is lost. Their steps were removed or renamed.
    Lost {
        /// By key.
        entries: Vec<String>,
    },
    /// The code asks for something new before it asks for these. It may come to them afterwards; but if something new is one of these under
    /// another name, that is done again.
    Unreached {
        /// By key.
        entries: Vec<String>,
        /// What is new, by key; nothing when it waits for what the old code waited for.
        new: Vec<String>,
    },
    /// It would fail before it did anything new.
    Fails {
        /// As the attempt would.
        failure: Failure,
    },
    /// It was not to be found out.
    Unchecked {
        /// Why not.
        reason: String,
    },
}

impl Replayed {
    /// What is wrong, if anything is.
    pub fn concerns(&self) -> Vec<Concern> {
        let mut concerns: Vec<Concern> = self.drifts.iter().cloned().map(Concern::Drift).collect();
        let unused = || self.unused.clone();
        match &self.outcome {
            Outcome::Returns { .. } if self.unused.is_empty() => {}
            Outcome::Returns { .. } => concerns.push(Concern::Lost { entries: unused() }),
            Outcome::Fails { failure } => {
                let by_policy = self.drifts.iter().any(|drift| drift.policy == Drift::Fail);
                if !by_policy {
                    let failure = failure.clone();
                    concerns.push(Concern::Fails { failure });
                }
            }
            Outcome::Waits if self.unused.is_empty() => {}
            Outcome::Waits => concerns.push(Concern::Unreached {
                entries: unused(),
                new: self.new.clone(),
            }),
            Outcome::Busy => concerns.push(Concern::Unchecked {
                reason: "the code did not come to rest; what takes long belongs in a step".to_owned(),
            }),
            Outcome::Foreign => concerns.push(Concern::Unchecked {
                reason: "the agent is a program of its own, and running it would do something".to_owned(),
            }),
        }
        concerns
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent => f.write_str("no agent of this name is there"),
            Self::Drift(report) => {
                let then = match report.policy {
                    Drift::Pause => "it would wait for a person",
                    Drift::Adopt => "what is on record is taken as it is",
                    Drift::Rerun => "it would be done again",
                    Drift::Fail => "the task would fail",
                };
                write!(f, "drift: {then}. {report}")
            }
            Self::Lost { entries } => write!(f, "it ends without what is on record as {}", entries.join(", ")),
            Self::Unreached { entries, new } if new.is_empty() => {
                write!(
                    f,
                    "it waits, and has not asked for what is on record as {}",
                    entries.join(", ")
                )
            }
            Self::Unreached { entries, new } => write!(
                f,
                "{} would be done first, before what is on record as {} is asked for; if it is the same under another name, it is done again",
                new.join(", "),
                entries.join(", ")
            ),
            Self::Fails { failure } => write!(f, "it would fail: {failure}"),
            Self::Unchecked { reason } => write!(f, "not checked: {reason}"),
        }
    }
}
