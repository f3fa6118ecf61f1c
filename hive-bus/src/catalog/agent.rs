//! Agents come, go and have their hands full.

use hive_core::id::{InstanceId, TaskId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{example_instance, example_task};

/// An agent is known to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRegistered {
    /// The agent's name.
    pub agent: String,
    /// The process it runs in.
    pub instance: InstanceId,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Which version of it that is, as major.minor.patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

typed_event!(
    AgentRegistered,
    "agent.registered",
    agent,
    Self {
        agent: "reviewer".into(),
        instance: example_instance(),
        capabilities: vec!["review".into()],
        version: Some("1.2.0".into())
    }
);

/// An agent takes tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentOnline {
    /// The agent's name.
    pub agent: String,
    /// The process it runs in.
    pub instance: InstanceId,
}

typed_event!(
    AgentOnline,
    "agent.online",
    agent,
    Self {
        agent: "reviewer".into(),
        instance: example_instance(),
    }
);

/// An agent runs as many tasks as it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentBusy {
    /// The agent's name.
    pub agent: String,
    /// The process it runs in.
    pub instance: InstanceId,
    /// How many it runs.
    pub running: u32,
}

typed_event!(
    AgentBusy,
    "agent.busy",
    agent,
    Self {
        agent: "reviewer".into(),
        instance: example_instance(),
        running: 8
    }
);

/// An agent takes no more tasks and ends those that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDraining {
    /// The agent's name.
    pub agent: String,
    /// The process it runs in.
    pub instance: InstanceId,
}

typed_event!(
    AgentDraining,
    "agent.draining",
    agent,
    Self {
        agent: "reviewer".into(),
        instance: example_instance(),
    }
);

/// An agent is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentOffline {
    /// The agent's name.
    pub agent: String,
    /// The process it runs in.
    pub instance: InstanceId,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

typed_event!(
    AgentOffline,
    "agent.offline",
    agent,
    Self {
        agent: "reviewer".into(),
        instance: example_instance(),
        reason: Some("the process shuts down".into())
    }
);

/// A task that was not meant for one agent by name was given to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRouted {
    /// The agent that it was given to.
    pub agent: String,
    /// Which version of it was chosen.
    pub version: String,
    /// The task.
    pub task: TaskId,
    /// What was asked for, such as `capability:review.rust`.
    pub target: String,
    /// By what it was decided, such as `least-loaded`.
    pub strategy: String,
    /// Why, the best first.
    pub candidates: Vec<RouteCandidate>,
    /// How many candidates more there were than are named here.
    #[serde(default)]
    pub omitted: u32,
}

/// How an agent stood when a task was routed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteCandidate {
    /// The agent's name.
    pub agent: String,
    /// Which version of it.
    pub version: String,
    /// How well it fitted; the greatest was chosen. None for one that did not come into question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Why, for people.
    pub why: String,
}

typed_event!(
    AgentRouted,
    "agent.routed",
    agent,
    Self {
        agent: "reviewer".into(),
        version: "1.2.0".into(),
        task: example_task(1),
        target: "capability:review.rust".into(),
        strategy: "least-loaded".into(),
        candidates: vec![
            RouteCandidate {
                agent: "reviewer".into(),
                version: "1.2.0".into(),
                score: Some(0.5),
                why: "has 8 of 8 tasks".into(),
            },
            RouteCandidate {
                agent: "linter".into(),
                version: "0.1.0".into(),
                score: None,
                why: "cannot do review.rust".into(),
            }
        ],
        omitted: 0
    }
);
