//! One attempt at a task, as a plugin sees it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::failure::Failure;
use crate::json;

#[cfg(test)]
mod tests;

/// One attempt at a task.
#[derive(Clone, Debug)]
pub struct Task {
    id: String,
    agent: String,
    attempt: u32,
    input: String,
    about: About,
}

/// What the contract's `context` carries. A member that a host does not send is missing, one that this release does not
/// know is ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct About {
    pub(crate) tenant: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) deadline_micros: Option<i64>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Task {
    /// Puts together what came over the boundary.
    pub(crate) fn new(id: String, agent: String, attempt: u32, input: String, context: &str) -> Result<Self, Failure> {
        let about = json::decode("the task's context", context)?;
        Ok(Self {
            id,
            agent,
            attempt,
            input,
            about,
        })
    }

    /// The task's id, the same in every attempt.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of the agent that is to handle it.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Grows with each attempt, from 1. Not every number need be seen.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whose task it is, where the hive serves several.
    pub fn tenant(&self) -> Option<&str> {
        self.about.tenant.as_deref()
    }

    /// What this task and everything that it causes have in common.
    pub fn correlation_id(&self) -> Option<&str> {
        self.about.correlation_id.as_deref()
    }

    /// A name for this task's effects on the outside, the same in every attempt. The task's id when the hive sent none.
    pub fn idempotency_key(&self) -> &str {
        self.about.idempotency_key.as_deref().unwrap_or(&self.id)
    }

    /// When the attempt is ended by force.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.about.deadline_micros.map(Timestamp::from_micros)
    }

    /// A value that whoever submitted the task attached to it.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.about.metadata.get(name).map(String::as_str)
    }

    /// The input.
    ///
    /// # Errors
    ///
    /// A terminal failure with the code `invalid-input` when it does not fit `T`.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::decode("the input", &self.input)
    }

    /// The failure for a task whose agent this plugin does not have.
    pub fn unknown_agent(&self) -> Failure {
        Failure::terminal("the plugin has no such agent")
            .with_code("unknown-agent")
            .with("agent", &self.agent)
    }
}

/// What an agent returns, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(String);

impl Reply {
    /// Writes down an output.
    ///
    /// # Errors
    ///
    /// A terminal failure when it has no JSON, such as a map whose keys are not strings.
    pub fn new<T: Serialize + ?Sized>(output: &T) -> Result<Self, Failure> {
        json::encode("the output", output).map(Self)
    }

    pub(crate) fn into_json(self) -> String {
        self.0
    }
}
