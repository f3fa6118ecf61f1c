//! Agents come, go and have their hands full.

use hive_core::id::InstanceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example_instance;

/// An agent is known to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRegistered {
    /// The agent's name.
    pub agent: String,
    /// The process it runs in.
    pub instance: InstanceId,
    /// What it can do.
    pub capabilities: Vec<String>,
}

typed_event!(
    AgentRegistered,
    "agent.registered",
    agent,
    Self {
        agent: "reviewer".into(),
        instance: example_instance(),
        capabilities: vec!["review".into()]
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

/// An agent takes no more tasks.
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
