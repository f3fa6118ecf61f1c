//! Workflows: work in stages, and how far it has come.

mod store;

use hive_core::clock::Timestamp;
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Failure, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{Narrow, Search, narrows};
use super::{check_line, check_line_opt};
use crate::limits;
use crate::task::check_token;
use crate::task::query::TaskSummary;

pub(crate) use self::store::list;
#[cfg(test)]
pub(super) use self::store::next;
pub(super) use self::store::{attach, left};

/// A workflow's run.
///
/// ```
/// use hive_orchestration::family::workflow::Workflow;
///
/// let workflow = Workflow::named("release").version("3").stages(["build", "test", "ship"]);
/// assert_eq!(workflow.stages.len(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Workflow {
    /// Which workflow: ASCII letters, digits, `-` and `_`, because it ends the topics of its events.
    pub name: String,
    /// Which version of its definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its stages, in order, as far as they are known; at most [`STAGES`](crate::limits::STAGES).
    #[serde(default)]
    pub stages: Vec<String>,
}

impl Workflow {
    /// A run of the workflow with this name, without stages so far.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: None,
            stages: Vec::new(),
        }
    }

    /// Which version of its definition.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Its stages, in order, each with a name of its own. What is not known yet is [planned](crate::builders::OwnWorkflow::plan) by the
    /// run.
    #[must_use]
    pub fn stages<S: Into<String>>(mut self, stages: impl IntoIterator<Item = S>) -> Self {
        self.stages = stages.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_token("workflow", &self.name)?;
        check_line_opt("version", self.version.as_deref())?;
        check_stages(&self.stages)
    }
}

fn check_stage(name: &str) -> Result<()> {
    check_line("stage", name)?;
    if name.len() <= limits::STAGE_BYTES {
        return Ok(());
    }
    // Longer than a token: the journal remembers it under its name and the verb.
    Err(Error::new(ErrorKind::InvalidInput, "the stage's name is too long")
        .with("field", "stage")
        .with("value", format!("{:.80}", name.escape_debug()))
        .with("limit_bytes", limits::STAGE_BYTES))
}

fn check_stages(stages: &[String]) -> Result<()> {
    if stages.len() > limits::STAGES {
        return Err(too_many(stages.len()));
    }
    let mut known = std::collections::HashSet::with_capacity(stages.len());
    for stage in stages {
        check_stage(stage)?;
        if !known.insert(stage) {
            return Err(twice(stage));
        }
    }
    Ok(())
}

fn too_many(stages: usize) -> Error {
    Error::new(ErrorKind::LimitReached, "the workflow has too many stages")
        .with("field", "stages")
        .with("stages", stages)
        .with("limit", limits::STAGES)
}

fn twice(stage: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "the workflow has a stage twice")
        .with("field", "stages")
        .with("stage", format!("{:.80}", stage.escape_debug()))
}

/// Where a stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StageState {
    /// It has not begun.
    Pending,
    /// It has begun and not ended. When the task has ended without an output, this is where.
    Running,
    /// It did what it is there for.
    Completed,
    /// It did not, by the run's own word, and the run goes on without.
    Failed,
    /// It was not needed.
    Skipped,
}

impl StageState {
    /// Whether it has ended. One that failed may begin once more all the same.
    pub fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Skipped => true,
        }
    }

    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Running => 1,
            Self::Completed => 2,
            Self::Failed => 3,
            Self::Skipped => 4,
        }
    }

    pub(super) fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            0 => Self::Pending,
            1 => Self::Running,
            2 => Self::Completed,
            3 => Self::Failed,
            4 => Self::Skipped,
            other => {
                return Err(Error::new(ErrorKind::Corrupt, "a stage has an unknown state").with("state", other));
            }
        })
    }
}

/// One stage of a workflow's run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: StageState,
    /// When it began, for the last time.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The task that carries it out: the first child that the run called under the stage's name, outside of any
    /// [scope](crate::Context::scope).
    pub task: Option<TaskId>,
}

/// A workflow's run and how far it has come, with its task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkflowRecord {
    /// The task that carries it out.
    pub task: TaskSummary,
    /// Which workflow.
    pub name: String,
    /// Which version of its definition.
    pub version: Option<String>,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// When its first stage began.
    pub started_at: Option<Timestamp>,
    /// When its last stage ended.
    pub ended_at: Option<Timestamp>,
    /// When the record changed for the last time.
    pub changed_at: Timestamp,
}

impl WorkflowRecord {
    /// The stage that runs; the first, where several do.
    pub fn current(&self) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.state == StageState::Running)
    }

    /// How many stages have ended, of [`stages`](Self::stages).
    pub fn ended(&self) -> usize {
        self.stages.iter().filter(|stage| stage.state.has_ended()).count()
    }
}

/// Asks for workflows, the newest first: all of them unless narrowed. Every condition that is given must hold. See
/// [`Hive::workflows`](crate::Hive::workflows).
#[derive(Clone, Debug, Default)]
pub struct WorkflowQuery {
    narrow: Narrow,
    name: Option<String>,
    version: Option<String>,
    ended: Option<bool>,
}

narrows!(WorkflowQuery);

impl WorkflowQuery {
    /// Every workflow.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this name. Queries that name one go by an index.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Of this version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Whose last stage has ended, or (`false`) has not.
    #[must_use]
    pub fn ended(mut self, ended: bool) -> Self {
        self.ended = Some(ended);
        self
    }

    fn search(&self) -> Search<'_> {
        let mut equal: Vec<(_, &dyn hive_core::db::ToValue)> = Vec::new();
        if let Some(version) = &self.version {
            equal.push(("version", version));
        }
        let also = match self.ended {
            None => Vec::new(),
            Some(true) => vec!["r.ended_at IS NOT NULL".to_owned()],
            Some(false) => vec!["r.ended_at IS NULL".to_owned()],
        };
        Search {
            table: "task_workflow",
            columns: "r.name, r.version, r.changed_at, r.started_at, r.ended_at",
            key: self.name.as_ref().map(|value| ("name", value as _)),
            equal,
            also,
        }
    }

    #[cfg(test)]
    pub(super) fn explain(&self, db: &hive_core::db::Snapshot<'_>) -> Vec<String> {
        self.search().explain(db, &self.narrow)
    }
}

/// What a run says of its workflow.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Plan(Vec<String>),
    Stage(String, Step),
}

/// What becomes of a stage.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Start,
    Complete,
    Skip,
    Fail(Failure),
}

impl Step {
    const fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Complete => "complete",
            Self::Skip => "skip",
            Self::Fail(_) => "fail",
        }
    }
}

impl Verb {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Plan(_) => "plan".to_owned(),
            Self::Stage(stage, step) => format!("{} {stage}", step.name()),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Plan(stages) => check_stages(stages),
            Self::Stage(stage, _) => check_stage(stage),
        }
    }
}
