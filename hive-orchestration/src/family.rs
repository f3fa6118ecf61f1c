//! Families of tasks: what a task is about, as a typed record beside it that can be asked for.
//!
//! Every task has its row in the queue, and for most that is all. A task that [reviews](review) something, carries out a
//! [workflow] or a [deployment] can have a record as well: what it is about is written down with its
//! submission, in the same commit, and what comes of it by the run itself, through its context, fenced by its lease and
//! exactly once. The answer to each question holds the record together with the task.
//!
//! ```
//! # use hive_orchestration::{Context, Failure, Hive, agent_fn};
//! use hive_orchestration::family::review::{Conclusion, Findings, Review, ReviewQuery, Verdict};
//!
//! # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let reviewer = agent_fn("reviewer", async |cx: Context, _: String| {
//!     let findings = Findings { high: 1, ..Findings::default() };
//!     let conclusion = Conclusion::new(Verdict::ChangesRequested).score(72).findings(findings);
//!     cx.review().conclude(conclusion).await
//! });
//! let hive = Hive::open(dir.path().join("hive.db")).agent(reviewer).start().await?;
//! let diff = "- foo\n+ bar";
//! let task = hive.submit_named("reviewer", &diff).record(Review::of("hive/hive", "abc123").base("main")).await?;
//! task.result().await?;
//!
//! let query = ReviewQuery::new().repository("hive/hive").verdict(Verdict::ChangesRequested);
//! for found in hive.reviews(query).await?.records {
//!     let concluded = found.concluded.expect("it has a verdict");
//!     println!("{} {:?}: {:?}", found.review.revision, found.task.state, concluded.conclusion.score);
//! }
//! # hive.shutdown().await }
//! ```
//!
//! # What a record says, and what the task
//!
//! A record holds what was asked for and what the agent said came of it. Whether the agent itself runs, waits, failed, died or was
//! cancelled stands in the task alone, which comes with each record. So a task that is cancelled or dies leaves its record as it
//! was, one that is brought back goes on with it, and nothing has to be kept in step. A retry, a recovery and a task that is brought back
//! find in the journal what was said already; it is not said twice.
//!
//! Records are forgotten together with their tasks ([`Hive::forget`](crate::Hive::forget)). What is
//! [deployed](crate::Hive::deployed) where is not.
//!
//! # Events
//!
//! Each change publishes its event in the same commit, with the task's correlation id and the task as its cause:
//! `review.requested`, `review.started`, `review.escalated`, `review.completed`; `workflow.planned`, `workflow.started`,
//! `workflow.stage-started`, `workflow.stage-ended`, `workflow.succeeded`, `workflow.failed`, `workflow.cancelled`;
//! `deployment.requested`, `deployment.started`, `deployment.succeeded`, `deployment.failed`, `deployment.reverted`. Where a task
//! fails, dies or is cancelled before its workflow or deployment has come to an end, that event tells of it, too.

pub mod deployment;
pub mod review;
pub mod workflow;

mod page;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use hive_bus::{NewEvent, TypedEvent};
use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Failure, Result};

use self::deployment::Deployment;
pub use self::page::Page;
use self::review::Review;
use self::workflow::Workflow;
use crate::limits;
use crate::task::TaskState;

/// What a task is about; see [`Submit::record`](crate::builders::Submit::record).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// It reviews something.
    Review(Review),
    /// It carries out a workflow.
    Workflow(Workflow),
    /// It deploys something.
    Deployment(Deployment),
}

impl From<Review> for Record {
    fn from(review: Review) -> Self {
        Self::Review(review)
    }
}

impl From<Workflow> for Record {
    fn from(workflow: Workflow) -> Self {
        Self::Workflow(workflow)
    }
}

impl From<Deployment> for Record {
    fn from(deployment: Deployment) -> Self {
        Self::Deployment(deployment)
    }
}

impl Record {
    /// Finds every fault before anything is written.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Review(review) => review.check(),
            Self::Workflow(workflow) => workflow.check(),
            Self::Deployment(deployment) => deployment.check(),
        }
    }
}

/// Whose record it is: enough of the task to tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) root: TaskId,
    pub(crate) agent: String,
    pub(crate) tenant: String,
    pub(crate) correlation: Option<String>,
}

impl Owner {
    fn event(&self, data: &impl TypedEvent) -> Result<NewEvent> {
        let event = NewEvent::of(data)?.tenant(self.tenant.clone()).causation(self.id);
        Ok(match &self.correlation {
            Some(correlation) => event.correlation(correlation.clone()),
            None => event.correlation(self.root),
        })
    }
}

/// Writes the records of new tasks, and returns the events that tell of them.
pub(crate) fn attach(tx: &mut Tx<'_>, records: &[(Owner, &Record)], now: Timestamp) -> Result<Vec<NewEvent>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let (mut reviews, mut workflows, mut deployments) = (Vec::new(), Vec::new(), Vec::new());
    for (owner, record) in records {
        match record {
            Record::Review(review) => reviews.push((owner, review)),
            Record::Workflow(workflow) => workflows.push((owner, workflow)),
            Record::Deployment(deployment) => deployments.push((owner, deployment)),
        }
    }
    let mut events = review::attach(tx, &reviews, now)?;
    events.extend(workflow::attach(tx, &workflows, now)?);
    events.extend(deployment::attach(tx, &deployments, now)?);
    Ok(events)
}

/// What a run says of its own record.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Review(review::Verb),
    Workflow(workflow::Verb),
    Deployment(deployment::Verb),
}

impl Verb {
    /// Under which name the journal remembers it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Review(verb) => format!("review.{}", verb.name()),
            Self::Workflow(verb) => format!("workflow.{}", verb.name()),
            Self::Deployment(verb) => format!("deployment.{}", verb.name()),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Review(verb) => verb.check(),
            Self::Workflow(verb) => verb.check(),
            Self::Deployment(verb) => verb.check(),
        }
    }

    /// Changes the record, and returns the events that tell of it. The caller holds the task's row.
    pub(crate) fn apply(&self, tx: &mut Tx<'_>, owner: &Owner) -> Result<Vec<NewEvent>> {
        let now = tx.now()?;
        match self {
            Self::Review(verb) => verb.apply(tx, owner, now),
            Self::Workflow(verb) => verb.apply(tx, owner, now),
            Self::Deployment(verb) => verb.apply(tx, owner, now),
        }
    }
}

/// What is to be told when a task ends without an output while its record is open: before its workflow has come to its end, or before
/// anybody has said what became of its deployment.
pub(crate) fn left(tx: &Tx<'_>, owner: &Owner, state: TaskState, failure: &Failure) -> Result<Vec<NewEvent>> {
    let open = tx.query_opt(
        "SELECT 0, name, '' FROM task_workflow WHERE task = ?1 AND ended_at IS NULL
         UNION ALL SELECT 1, environment, version FROM task_deployment WHERE task = ?1 AND status IN (0, 1)",
        &[&owner.seq],
        |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<String>(2)?)),
    )?;
    let event = match open {
        None => return Ok(Vec::new()),
        Some((0, workflow, _)) => workflow::left(owner, workflow, state, failure),
        Some((_, environment, version)) => deployment::failed(owner, environment, version, failure),
    };
    Ok(vec![event?])
}

/// The task has no record of this family.
fn missing(family: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, "the task has no such record")
        .with("family", family)
        .with_hint("give it one when it is submitted: `.record(…)` on the submission or on the call")
}

/// The record does not take this any more, or not yet.
fn refused(family: &'static str, verb: &str, standing: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Conflict, "the record is not in a state for this")
        .with("family", family)
        .with("verb", verb)
        .with("standing", standing)
}

/// Refuses what is not one line of text that identifies something.
fn check_line(field: &'static str, text: &str) -> Result<()> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > limits::RECORD_LINE_BYTES {
        "is too long"
    } else if text.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(
        Error::new(ErrorKind::InvalidInput, format!("the record's {field} {problem}"))
            .with("field", field)
            .with("value", format!("{:.80}", text.escape_debug()))
            .with("limit_bytes", limits::RECORD_LINE_BYTES),
    )
}

fn check_line_opt(field: &'static str, text: Option<&str>) -> Result<()> {
    text.map_or(Ok(()), |text| check_line(field, text))
}

/// Refuses text for people that is too long, or that no database holds.
fn check_text(field: &'static str, text: &str) -> Result<()> {
    if text.len() <= limits::RECORD_TEXT_BYTES && !text.contains('\0') {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("the record's {field} is too long or holds a null character"),
    )
    .with("field", field)
    .with("bytes", text.len())
    .with("limit_bytes", limits::RECORD_TEXT_BYTES)
    .with_hint("what is longer belongs in the task's output"))
}

/// A failure's message as a record can hold it: losing its end is better than losing the word that something failed.
fn clipped(text: &str) -> String {
    let mut clipped = String::new();
    for sign in text.chars() {
        let sign = if sign == '\0' { '\u{fffd}' } else { sign };
        if clipped.len() + sign.len_utf8() > limits::RECORD_TEXT_BYTES {
            break;
        }
        clipped.push(sign);
    }
    clipped
}
