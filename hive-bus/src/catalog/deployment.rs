//! A version goes to an environment.

use hive_core::id::TaskId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example_task;

/// Somebody asked for a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentRequested {
    /// The task that carries it out.
    pub task: TaskId,
    /// Where to, such as `staging`.
    pub environment: String,
    /// What is deployed, such as a version or a commit.
    pub version: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

typed_event!(
    DeploymentRequested,
    "deployment.requested",
    environment,
    Self {
        task: example_task(1),
        environment: "staging".into(),
        version: "1.4.0".into(),
        by: Some("ada".into())
    }
);

/// A deployment began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStarted {
    /// The task that carries it out.
    pub task: TaskId,
    /// Where to, such as `staging`.
    pub environment: String,
    /// What is deployed, such as a version or a commit.
    pub version: String,
}

typed_event!(
    DeploymentStarted,
    "deployment.started",
    environment,
    Self {
        task: example_task(1),
        environment: "staging".into(),
        version: "1.4.0".into(),
    }
);

/// A version is in place and healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentSucceeded {
    /// The task that carries it out.
    pub task: TaskId,
    /// Where to, such as `staging`.
    pub environment: String,
    /// What is deployed, such as a version or a commit.
    pub version: String,
}

typed_event!(
    DeploymentSucceeded,
    "deployment.succeeded",
    environment,
    Self {
        task: example_task(1),
        environment: "staging".into(),
        version: "1.4.0".into(),
    }
);

/// A deployment did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentFailed {
    /// The task that carries it out.
    pub task: TaskId,
    /// Where to, such as `staging`.
    pub environment: String,
    /// What is deployed, such as a version or a commit.
    pub version: String,
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
}

typed_event!(
    DeploymentFailed,
    "deployment.failed",
    environment,
    Self {
        task: example_task(1),
        environment: "staging".into(),
        version: "1.4.0".into(),
        code: "timeout".into(),
        message: "the health check never passed".into()
    }
);

/// An earlier version was put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentReverted {
    /// The task that carries it out.
    pub task: TaskId,
    /// Where to, such as `staging`.
    pub environment: String,
    /// What is deployed, such as a version or a commit.
    pub version: String,
    /// The version that is in place now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

typed_event!(
    DeploymentReverted,
    "deployment.reverted",
    environment,
    Self {
        task: example_task(1),
        environment: "staging".into(),
        version: "1.4.0".into(),
        to: Some("1.3.2".into())
    }
);
