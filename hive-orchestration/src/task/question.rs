//! What is put to people, what they say, and which tasks wait for them.

use hive_core::clock::Timestamp;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Progress;
use crate::limits;

/// A question to people, as it stands in a task's status. Put by [`Wait::ask`](crate::builders::Wait::ask).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// The values among which the answer is; any value will do when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// Who may answer, by name; anybody when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_answer: Vec<String>,
}

impl Question {
    /// Whether this may be the answer.
    pub(crate) fn admits(&self, value: &Payload, by: Option<&str>) -> Result<()> {
        if !self.may_answer.is_empty() && !by.is_some_and(|by| self.may_answer.iter().any(|name| name == by)) {
            return Err(Error::new(ErrorKind::Forbidden, "the question is put to others")
                .with("by", by.unwrap_or("nobody in particular"))
                .with("may_answer", self.may_answer.join(", ")));
        }
        if self.choices.is_empty() || self.choices.contains(&value.decode::<Value>()?) {
            return Ok(());
        }
        let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
        Err(
            Error::new(ErrorKind::InvalidInput, "the answer is none of those that may be given")
                .with("field", "value")
                .with("choices", choices.join(", ")),
        )
    }

    /// Refuses what cannot be put to people.
    pub(crate) fn check(&self) -> Result<()> {
        for (field, count, bytes) in [
            ("question", 1, self.text.len()),
            (
                "choices",
                self.choices.len(),
                self.choices.iter().map(|choice| choice.to_string().len()).sum(),
            ),
            (
                "may_answer",
                self.may_answer.len(),
                self.may_answer.iter().map(String::len).sum(),
            ),
        ] {
            if count > limits::QUESTION_CHOICES || bytes > limits::QUESTION_BYTES {
                return Err(Error::new(ErrorKind::LimitReached, "the question is too large")
                    .with("field", field)
                    .with("entries", count)
                    .with("limit", limits::QUESTION_CHOICES)
                    .with("bytes", bytes)
                    .with("limit_bytes", limits::QUESTION_BYTES));
            }
        }
        Ok(())
    }
}

/// What came for a wait: the value, who sent it, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Answer<T> {
    /// What was sent.
    pub value: T,
    /// Who answered, as given to [`TaskHandle::answer`](crate::TaskHandle::answer); none for a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was sent, by the database's clock.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

impl Answer<Payload> {
    /// As the journal keeps it.
    pub(crate) fn kept(value: &Payload, by: Option<&str>, at: Timestamp) -> Result<Payload> {
        let answer = Self {
            value: value.clone(),
            by: by.map(str::to_owned),
            at,
        };
        Payload::encode(&answer, limits::PAYLOAD_BYTES + limits::ANSWER_BYTES)
    }
}

/// A task that does not go on by itself: somebody has to answer or to decide.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Interruption {
    /// Which task.
    #[schemars(with = "String")]
    pub task: TaskId,
    /// The task at the root of its tree of calls.
    #[schemars(with = "String")]
    pub root: TaskId,
    /// The agent that it is for.
    pub agent: String,
    /// On whose behalf.
    pub tenant: String,
    /// Since when it waits for that, by the database's clock.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// What it waits for.
    pub on: Interrupt,
    /// How far the task said it had come.
    pub progress: Option<Progress>,
}

/// What a person is needed for.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Interrupt {
    /// An answer; see [`TaskHandle::answer`](crate::TaskHandle::answer).
    Question {
        /// The signal that carries the answer.
        signal: String,
        /// What is asked.
        question: Question,
        /// When the wait ends with a failure, if ever.
        #[schemars(with = "Option<String>")]
        until: Option<Timestamp>,
    },
    /// A decision about a step; see [`TaskHandle::decide`](crate::TaskHandle::decide).
    Decision {
        /// The step.
        step: String,
        /// What happened, with what to do.
        report: String,
    },
}

/// Asks for [interruptions](Interruption), those first that have waited longest. Every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct InterruptionQuery {
    pub(crate) agent: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) after: Option<InterruptionCursor>,
    pub(crate) limit: Option<usize>,
}

impl InterruptionQuery {
    /// All of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of tasks for this agent.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Of this tenant's tasks.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Those behind an earlier page.
    #[must_use]
    pub fn after(mut self, cursor: InterruptionCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// At most so many on the page; [`INTERRUPTIONS_PAGE`](crate::limits::INTERRUPTIONS_PAGE) unless set, which is the most.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit.clamp(1, limits::INTERRUPTIONS_PAGE));
        self
    }
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptionCursor {
    pub(crate) at: Timestamp,
    pub(crate) task: i64,
    pub(crate) key: String,
}

/// A page of interruptions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InterruptionPage {
    /// Those that have waited longest first.
    pub interruptions: Vec<Interruption>,
    /// Where the next page begins, when there may be more.
    pub next: Option<InterruptionCursor>,
}
