//! Deployments: a version goes to an environment, and what is there now can be asked for.

mod live;
mod store;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Failure, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{Narrow, Search, narrows};
use super::{check_line, check_line_opt, check_text};
use crate::lease::listed;
use crate::task::TaskState;
use crate::task::check_token;
use crate::task::query::TaskSummary;

#[cfg(test)]
pub(super) use self::live::statement as live_statement;
pub use self::live::{Live, LivePage, LiveQuery};
pub(crate) use self::live::{deployed, retire};
pub(crate) use self::store::list;
pub(super) use self::store::{attach, failed};

/// What is to be deployed where.
///
/// ```
/// use hive_orchestration::family::deployment::{Deployment, Rollout};
///
/// let deployment = Deployment::to("production", "api", "1.4.0").rollout(Rollout::Canary).requested_by("ada");
/// assert_eq!(deployment.environment, "production");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Deployment {
    /// Where to: ASCII letters, digits, `-` and `_`, because it ends the topics of its events.
    pub environment: String,
    /// What is deployed: a service, or an artifact of another kind.
    pub service: String,
    /// Which version of it.
    pub version: String,
    /// How.
    #[serde(default)]
    pub rollout: Rollout,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

impl Deployment {
    /// To an environment goes a service in a version, at once. Each line is at most
    /// [`RECORD_LINE_BYTES`](crate::limits::RECORD_LINE_BYTES) long, without control characters; what does not fit is refused at
    /// submission.
    pub fn to(environment: impl Into<String>, service: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            environment: environment.into(),
            service: service.into(),
            version: version.into(),
            rollout: Rollout::default(),
            requested_by: None,
        }
    }

    /// How; at once unless set.
    #[must_use]
    pub fn rollout(mut self, rollout: Rollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// Who asked for it.
    #[must_use]
    pub fn requested_by(mut self, by: impl Into<String>) -> Self {
        self.requested_by = Some(by.into());
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_token("environment", &self.environment)?;
        check_line("service", &self.service)?;
        check_line("version", &self.version)?;
        check_line_opt("requested_by", self.requested_by.as_deref())
    }
}

/// How a version takes the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rollout {
    /// Everywhere at once.
    #[default]
    AtOnce,
    /// Bit by bit, until it is everywhere.
    Rolling,
    /// Beside the other, to which the way back stays open.
    BlueGreen,
    /// For a few first.
    Canary,
}

impl Rollout {
    pub(super) const fn code(self) -> i64 {
        match self {
            Self::AtOnce => 0,
            Self::Rolling => 1,
            Self::BlueGreen => 2,
            Self::Canary => 3,
        }
    }

    pub(super) fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            0 => Self::AtOnce,
            1 => Self::Rolling,
            2 => Self::BlueGreen,
            3 => Self::Canary,
            other => {
                return Err(
                    Error::new(ErrorKind::Corrupt, "a deployment has an unknown rollout").with("rollout", other)
                );
            }
        })
    }
}

/// How far a deployment has come.
///
/// ```text
/// pending → in progress → healthy ⇄ unhealthy
///    │           ├──────────┴───────────┴─────→ rolled back
///    └───────────┴→ failed ──────────────────────────↑
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It was asked for.
    Pending,
    /// It is under way.
    InProgress,
    /// The version is in place and well.
    Healthy,
    /// The version is in place and not well.
    Unhealthy,
    /// The version did not get in place.
    Failed,
    /// An earlier version was put back.
    RolledBack,
    /// It was pending or in progress when its task failed, died or was cancelled. Nobody has said what is in place; when the task is
    /// brought back, it is pending or in progress again.
    Abandoned,
}

impl Status {
    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::InProgress => 1,
            Self::Healthy => 2,
            Self::Unhealthy => 3,
            Self::Failed => 4,
            Self::RolledBack => 5,
            // Never stored: it follows from the task's state.
            Self::Abandoned => 6,
        }
    }

    pub(super) fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            0 => Self::Pending,
            1 => Self::InProgress,
            2 => Self::Healthy,
            3 => Self::Unhealthy,
            4 => Self::Failed,
            5 => Self::RolledBack,
            other => {
                return Err(Error::new(ErrorKind::Corrupt, "a deployment has an unknown status").with("status", other));
            }
        })
    }

    /// What a stored status means while the task is in this state.
    pub(super) fn with(self, task: TaskState) -> Self {
        let has_gone = matches!(task, TaskState::Failed | TaskState::Cancelled | TaskState::Dead);
        if self.is_open() && has_gone {
            Self::Abandoned
        } else {
            self
        }
    }

    /// Whether nobody has said yet what became of it.
    const fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::InProgress => true,
            Self::Healthy | Self::Unhealthy | Self::Failed | Self::RolledBack | Self::Abandoned => false,
        }
    }
}

/// What a health check found, for the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// The check's name.
    pub name: String,
    /// Whether all was well.
    pub healthy: bool,
    /// What it found, for people.
    pub detail: Option<String>,
    /// How often it was made.
    pub times: u32,
    /// When it was made for the last time.
    pub at: Timestamp,
}

/// Why a deployment is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
}

/// A deployment and what has come of it, with its task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeploymentRecord {
    /// The task that carries it out.
    pub task: TaskSummary,
    /// What is deployed where.
    pub deployment: Deployment,
    /// How far it has come.
    pub status: Status,
    /// The version that was in place when it began, as far as the hive knows.
    pub previous: Option<String>,
    /// The version that was put back.
    pub restored: Option<String>,
    /// Why it is, or was, not healthy.
    pub fault: Option<Fault>,
    /// Its health checks, by name.
    pub checks: Vec<HealthCheck>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When the version was in place, or had failed to be.
    pub ended_at: Option<Timestamp>,
    /// When the record changed for the last time.
    pub changed_at: Timestamp,
}

/// Asks for deployments, the newest first: all of them unless narrowed. Every condition that is given must hold. See
/// [`Hive::deployments`](crate::Hive::deployments).
#[derive(Clone, Debug, Default)]
pub struct DeploymentQuery {
    narrow: Narrow,
    environment: Option<String>,
    service: Option<String>,
    version: Option<String>,
    statuses: Vec<Status>,
}

narrows!(DeploymentQuery);

impl DeploymentQuery {
    /// Every deployment.
    pub fn new() -> Self {
        Self::default()
    }

    /// To this environment. Queries that name one go by an index.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Of this service. Queries that name one go by an index.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Of this version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// That have come so far; given several times, so far or so far.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.statuses.push(status);
        self
    }

    /// That have not gone well: unhealthy, failed, rolled back or abandoned.
    #[must_use]
    pub fn unsuccessful(mut self) -> Self {
        self.statuses
            .extend([Status::Unhealthy, Status::Failed, Status::RolledBack, Status::Abandoned]);
        self
    }

    fn search(&self) -> Search<'_> {
        let mut equal: Vec<(_, &dyn hive_core::db::ToValue)> = Vec::new();
        // A service stands in few environments; an environment has many services.
        let key = match (&self.service, &self.environment) {
            (Some(service), environment) => {
                if let Some(environment) = environment {
                    equal.push(("environment", environment));
                }
                Some(("service", service as _))
            }
            (None, Some(environment)) => Some(("environment", environment as _)),
            (None, None) => None,
        };
        if let Some(version) = &self.version {
            equal.push(("version", version));
        }
        let also = wanted(&self.statuses).into_iter().collect();
        Search {
            table: "task_deployment",
            columns: "r.environment, r.service, r.version, r.rollout, r.requested_by, r.status, r.previous, r.restored, r.code, \
                      r.message, r.changed_at, r.started_at, r.ended_at",
            key,
            equal,
            also,
        }
    }

    #[cfg(test)]
    pub(super) fn explain(&self, db: &hive_core::db::Snapshot<'_>) -> Vec<String> {
        self.search().explain(db, &self.narrow)
    }
}

/// The condition on `r` and `task` for these statuses; see [`Status::with`].
fn wanted(statuses: &[Status]) -> Option<String> {
    let codes = |open: bool| {
        let some = statuses
            .iter()
            .filter(|status| status.is_open() == open && **status != Status::Abandoned);
        listed(some.map(|status| status.code()))
    };
    let mut ways = Vec::new();
    let (ended, open) = (codes(false), codes(true));
    if !ended.is_empty() {
        ways.push(format!("r.status IN ({ended})"));
    }
    if !open.is_empty() {
        ways.push(format!("r.status IN ({open}) AND task.state NOT IN (5, 6, 7)"));
    }
    if statuses.contains(&Status::Abandoned) {
        ways.push("r.status IN (0, 1) AND task.state IN (5, 6, 7)".to_owned());
    }
    (!ways.is_empty()).then(|| format!("({})", ways.join(" OR ")))
}

/// What a run says of its deployment.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Begin,
    Check {
        name: String,
        healthy: bool,
        detail: Option<String>,
    },
    Succeed,
    Ail(Failure),
    Fail(Failure),
    /// To this version; to the one before, unless given.
    RollBack(Option<String>),
}

impl Verb {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Begin => "begin".to_owned(),
            Self::Check { name, .. } => format!("check {name}"),
            Self::Succeed => "succeed".to_owned(),
            Self::Ail(_) => "unhealthy".to_owned(),
            Self::Fail(_) => "fail".to_owned(),
            Self::RollBack(_) => "roll back".to_owned(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Begin | Self::Succeed | Self::Ail(_) | Self::Fail(_) => Ok(()),
            Self::Check { name, detail, .. } => {
                // The journal remembers it under its name and the verb.
                check_token("check", name)?;
                check_text("detail", detail.as_deref().unwrap_or_default())
            }
            Self::RollBack(to) => check_line_opt("version", to.as_deref()),
        }
    }

    /// How far the deployment has come afterwards; `None` when the verb does not fit.
    pub(super) fn next(&self, status: Status) -> Option<Status> {
        use Status::{Abandoned, Failed, Healthy, InProgress, Pending, RolledBack, Unhealthy};
        match (self, status) {
            (Self::Begin, Pending) => Some(InProgress),
            (Self::Check { .. }, InProgress | Healthy | Unhealthy) => Some(status),
            (Self::Succeed, InProgress | Unhealthy) => Some(Healthy),
            (Self::Ail(_), InProgress | Healthy) => Some(Unhealthy),
            (Self::Fail(_), Pending | InProgress) => Some(Failed),
            (Self::RollBack(_), InProgress | Healthy | Unhealthy | Failed) => Some(RolledBack),
            (Self::Begin, InProgress | Healthy | Unhealthy | Failed)
            | (Self::Check { .. }, Pending | Failed)
            | (Self::Succeed, Pending | Healthy | Failed)
            | (Self::Ail(_), Pending | Unhealthy | Failed)
            | (Self::Fail(_), Healthy | Unhealthy | Failed)
            | (Self::RollBack(_), Pending)
            | (_, RolledBack | Abandoned) => None,
        }
    }
}
