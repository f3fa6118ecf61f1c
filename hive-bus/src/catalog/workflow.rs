//! A run of several tasks under one root task.

use hive_core::id::TaskId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example_task;

/// A workflow's run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowStarted {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
}

typed_event!(
    WorkflowStarted,
    "workflow.started",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
    }
);

/// A plan was made or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowPlanned {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
    /// How many tasks the plan has.
    pub tasks: u32,
    /// The agent that planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planner: Option<String>,
}

typed_event!(
    WorkflowPlanned,
    "workflow.planned",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
        tasks: 5,
        planner: Some("planner".into())
    }
);

/// A run begins with one of its stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowStageStarted {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
    /// The stage's name.
    pub stage: String,
}

typed_event!(
    WorkflowStageStarted,
    "workflow.stage-started",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
        stage: "build".into(),
    }
);

/// How a stage of a workflow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StageEnd {
    /// It did what it is there for.
    Completed,
    /// It did not, and the run goes on without.
    Failed,
    /// It was not needed.
    Skipped,
}

/// A stage of a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowStageEnded {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
    /// The stage's name.
    pub stage: String,
    /// How it ended.
    pub end: StageEnd,
    /// How many stages have ended, this one included.
    pub ended: u32,
    /// How many stages the run has.
    pub stages: u32,
}

typed_event!(
    WorkflowStageEnded,
    "workflow.stage-ended",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
        stage: "build".into(),
        end: StageEnd::Completed,
        ended: 2,
        stages: 5
    }
);

/// A run reached its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSucceeded {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
}

typed_event!(
    WorkflowSucceeded,
    "workflow.succeeded",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
    }
);

/// A run ended without reaching its goal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowFailed {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
}

typed_event!(
    WorkflowFailed,
    "workflow.failed",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
        code: "agent-failed".into(),
        message: "a reviewer said no".into()
    }
);

/// A run was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowCancelled {
    /// The root task of its run.
    pub task: TaskId,
    /// The workflow's name.
    pub workflow: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

typed_event!(
    WorkflowCancelled,
    "workflow.cancelled",
    workflow,
    Self {
        task: example_task(1),
        workflow: "release".into(),
        reason: None
    }
);
