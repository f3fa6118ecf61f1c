//! What happens to a task, from submission to its end.

use hive_core::clock::Timestamp;
use hive_core::id::{InstanceId, TaskId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{example_instance, example_task};

/// 2026-01-01T00:00:05Z.
const EXAMPLE_TIME: Timestamp = Timestamp::from_micros(1_767_225_605_000_000);

/// A task was accepted and is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskSubmitted {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The task that called it; none for the root of a run tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// It does not start before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}

typed_event!(
    TaskSubmitted,
    "task.submitted",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        parent: Some(example_task(0)),
        not_before: None
    }
);

/// An attempt at a task began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStarted {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The process that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

typed_event!(
    TaskStarted,
    "task.started",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        instance: Some(example_instance())
    }
);

/// A running task said how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskProgress {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Units of work done.
    pub done: u64,
    /// Units of work in all, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What it is doing, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

typed_event!(
    TaskProgress,
    "task.progress",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        done: 3,
        total: Some(8),
        note: Some("src/lib.rs".into())
    }
);

/// A step of a task was carried out and is remembered. Published only where asked for: there are many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStepCompleted {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The step's name.
    pub step: String,
}

typed_event!(
    TaskStepCompleted,
    "task.step-completed",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        step: "ask".into()
    }
);

/// What a waiting task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WaitsFor {
    /// A time.
    Timer,
    /// Tasks that it called.
    Child,
    /// A signal, such as a person's approval.
    Signal,
    /// A person's decision about a step whose outcome is not known.
    Decision,
    /// A message, or the reply to one.
    Message,
    /// Budget that others may give back.
    Budget,
    /// An event; the wait's name is the pattern that its topic must match.
    Event,
}

/// A task waits and costs no memory meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskWaiting {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What it waits for.
    pub on: WaitsFor,
    /// The wait's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It goes on at this time at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

typed_event!(
    TaskWaiting,
    "task.waiting",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        on: WaitsFor::Signal,
        name: Some("release".into()),
        until: Some(EXAMPLE_TIME)
    }
);

/// A task puts a question to people and waits for the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskAsked {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The signal that carries the answer.
    pub signal: String,
    /// The question.
    pub question: String,
}

typed_event!(
    TaskAsked,
    "task.asked",
    agent,
    Self {
        task: example_task(1),
        agent: "release".into(),
        signal: "ship".into(),
        question: "ship it?".into()
    }
);

/// A task's question was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskAnswered {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The signal that carried the answer.
    pub signal: String,
    /// Who answered, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

typed_event!(
    TaskAnswered,
    "task.answered",
    agent,
    Self {
        task: example_task(1),
        agent: "release".into(),
        signal: "ship".into(),
        by: Some("ada".into())
    }
);

/// What a task waited for has come; it is queued again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskResumed {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
}

typed_event!(
    TaskResumed,
    "task.resumed",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
    }
);

/// An attempt failed. Whether the task is tried again says `will_retry`; if not, `task.dead` follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFailed {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// Whether another attempt follows.
    pub will_retry: bool,
}

typed_event!(
    TaskFailed,
    "task.failed",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        code: "timeout".into(),
        message: "the model did not answer in time".into(),
        will_retry: true
    }
);

/// A failed task is queued for another attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRetrying {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// The next attempt starts at this time at the earliest.
    pub at: Timestamp,
}

typed_event!(
    TaskRetrying,
    "task.retrying",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        at: EXAMPLE_TIME
    }
);

/// The process that ran a task is gone; the task is queued again and goes on after its last remembered step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRecovered {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The attempt that was cut short, from 1.
    pub attempt: u32,
    /// The process that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<InstanceId>,
}

typed_event!(
    TaskRecovered,
    "task.recovered",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        lost: Some(example_instance())
    }
);

/// A task finished and its output is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskSucceeded {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Which attempt, from 1.
    pub attempt: u32,
}

typed_event!(
    TaskSucceeded,
    "task.succeeded",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
    }
);

/// A task was cancelled, and with it all that it called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCancelled {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The attempt that was under way, or 0 when none had begun.
    pub attempt: u32,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

typed_event!(
    TaskCancelled,
    "task.cancelled",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 1,
        reason: Some("superseded by a newer commit".into())
    }
);

/// A task failed for good and lies with the dead letters, from where it can be redriven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskDead {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// The last attempt, from 1.
    pub attempt: u32,
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
}

typed_event!(
    TaskDead,
    "task.dead",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        attempt: 3,
        code: "agent-failed".into(),
        message: "the repository has no commits".into()
    }
);

/// A dead task was given new attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRedriven {
    /// The task.
    pub task: TaskId,
    /// The agent whose task it is.
    pub agent: String,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

typed_event!(
    TaskRedriven,
    "task.redriven",
    agent,
    Self {
        task: example_task(1),
        agent: "reviewer".into(),
        by: Some("ada".into())
    }
);
