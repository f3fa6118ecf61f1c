//! A piece of work is judged by an agent or a person.

use hive_core::id::TaskId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example_task;

/// Somebody asked for a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewRequested {
    /// The task that carries it out.
    pub task: TaskId,
    /// The agent that reviews.
    pub reviewer: String,
    /// What is reviewed, such as a branch or a document.
    pub subject: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

typed_event!(
    ReviewRequested,
    "review.requested",
    reviewer,
    Self {
        task: example_task(1),
        reviewer: "security".into(),
        subject: "feature/login".into(),
        by: Some("queen".into())
    }
);

/// A reviewer began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewStarted {
    /// The task that carries it out.
    pub task: TaskId,
    /// The agent that reviews.
    pub reviewer: String,
    /// What is reviewed, such as a branch or a document.
    pub subject: String,
}

typed_event!(
    ReviewStarted,
    "review.started",
    reviewer,
    Self {
        task: example_task(1),
        reviewer: "security".into(),
        subject: "feature/login".into(),
    }
);

/// What a review came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// It may go on.
    Approved,
    /// It may not, and why stands in the findings.
    Rejected,
    /// It may go on once the findings are dealt with.
    ChangesRequested,
    /// It could not be judged.
    Inconclusive,
}

/// A review came to a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewCompleted {
    /// The task that carries it out.
    pub task: TaskId,
    /// The agent that reviews.
    pub reviewer: String,
    /// What is reviewed, such as a branch or a document.
    pub subject: String,
    /// The verdict.
    pub verdict: Verdict,
    /// How many findings it has.
    pub findings: u32,
}

typed_event!(
    ReviewCompleted,
    "review.completed",
    reviewer,
    Self {
        task: example_task(1),
        reviewer: "security".into(),
        subject: "feature/login".into(),
        verdict: Verdict::ChangesRequested,
        findings: 2
    }
);

/// A reviewer could not decide and asks a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewEscalated {
    /// The task that carries it out.
    pub task: TaskId,
    /// The agent that reviews.
    pub reviewer: String,
    /// What is reviewed, such as a branch or a document.
    pub subject: String,
    /// Why, for people.
    pub reason: String,
}

typed_event!(
    ReviewEscalated,
    "review.escalated",
    reviewer,
    Self {
        task: example_task(1),
        reviewer: "security".into(),
        subject: "feature/login".into(),
        reason: "two reviewers disagree".into()
    }
);
