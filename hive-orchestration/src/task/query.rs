//! Which tasks are asked for, and what is told of each.

use hive_core::clock::Timestamp;
use hive_core::db::Row;
use hive_core::id::TaskId;
use hive_errors::Result;

use super::{Priority, TaskState};
use crate::limits;

/// Asks for tasks, the newest first: all of them unless narrowed. Every condition that is given must hold.
///
/// ```
/// use hive_orchestration::task::TaskState;
/// use hive_orchestration::task::query::TaskQuery;
///
/// let dead = TaskQuery::new().state(TaskState::Dead).agent("reviewer").limit(20);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    pub(crate) states: Vec<TaskState>,
    pub(crate) agent: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) label: Option<(String, String)>,
    pub(crate) parent: Option<TaskId>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: Option<usize>,
}

impl TaskQuery {
    /// Every task.
    pub fn new() -> Self {
        Self::default()
    }

    /// In this state; given several times, in one of these.
    #[must_use]
    pub fn state(mut self, state: TaskState) -> Self {
        self.states.push(state);
        self
    }

    /// For this agent.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Of this tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// With this label; see [`Submit::label`](crate::builders::Submit::label).
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.label = Some((name.into(), value.into()));
        self
    }

    /// Called by this task.
    #[must_use]
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Goes on where a page ended.
    #[must_use]
    pub fn after(mut self, cursor: TaskCursor) -> Self {
        self.before = Some(cursor.0);
        self
    }

    /// So many at most; [`TASKS_PAGE`](crate::limits::TASKS_PAGE) unless set, and no more than that.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit.clamp(1, limits::TASKS_PAGE));
        self
    }
}

/// Where a page of tasks ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskCursor(pub(crate) i64);

/// Some of the tasks that were asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskPage {
    /// The newest first. A page may hold few of them, or none, and not be the last: one look at the table is bounded.
    pub tasks: Vec<TaskSummary>,
    /// Where to go on; `None` when these were the last.
    pub next: Option<TaskCursor>,
}

/// What a list tells of a task; [`TaskHandle::status`](crate::TaskHandle::status) tells more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskSummary {
    /// Which task.
    pub id: TaskId,
    /// The task at the root of its tree of calls.
    pub root: TaskId,
    /// The agent it is for.
    pub agent: String,
    /// On whose behalf.
    pub tenant: String,
    /// Where it stands.
    pub state: TaskState,
    /// How urgent it is.
    pub priority: Priority,
    /// How many times it was claimed.
    pub attempt: u32,
    /// How many attempts have failed.
    pub failures: u32,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it was claimed for the last time.
    pub claimed_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl TaskSummary {
    /// What [`TaskSummary::read`] reads, from the table `task`.
    pub(crate) const COLUMNS: &'static str = "task.id, task.root, task.agent, task.tenant, task.state, task.priority, \
         task.attempt, task.failures, task.created_at, task.claimed_at, task.finished_at";

    /// How many columns those are.
    pub(crate) const WIDTH: usize = 11;

    /// Reads the columns from `first` on.
    pub(crate) fn read(row: &Row<'_>, first: usize) -> Result<Self> {
        Ok(Self {
            id: row.get(first)?,
            root: row.get(first + 1)?,
            agent: row.get(first + 2)?,
            tenant: row.get(first + 3)?,
            state: TaskState::from_code(row.get(first + 4)?)?,
            priority: Priority::from_code(row.get(first + 5)?),
            attempt: row.get(first + 6)?,
            failures: row.get(first + 7)?,
            created_at: row.get(first + 8)?,
            claimed_at: row.get(first + 9)?,
            finished_at: row.get(first + 10)?,
        })
    }
}
