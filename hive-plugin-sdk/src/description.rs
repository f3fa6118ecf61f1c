//! What a plugin says it is.

use serde::Serialize;

use crate::agent::Agent;
use crate::failure::Failure;
use crate::json;
use crate::schema::Schema;

#[cfg(test)]
mod tests;

/// What a plugin says it is: its name, its version and its agents. Whoever approves a plugin approves this, so it is the
/// same on every call and does not depend on the configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    name: String,
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_schema: Option<Schema>,
    agents: Vec<Described>,
}

#[derive(Clone, Debug, Serialize)]
struct Described {
    name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    capabilities: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Schema>,
}

impl Description {
    /// A plugin without agents yet. `version` is a semantic version; `env!("CARGO_PKG_VERSION")` is one.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            description: String::new(),
            config_schema: None,
            agents: Vec::new(),
        }
    }

    /// Says in a sentence what the plugin is for.
    #[must_use]
    pub fn about(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The schema of the configuration that [`Plugin::initialize`](crate::Plugin::initialize) takes.
    #[must_use]
    pub fn config(mut self, schema: Schema) -> Self {
        self.config_schema = Some(schema);
        self
    }

    /// Adds an agent.
    ///
    /// # Errors
    ///
    /// What [`Agent::schemas`] returns, and a terminal failure for a second agent of the same name.
    pub fn agent<A: Agent>(mut self) -> Result<Self, Failure> {
        if self.agents.iter().any(|agent| agent.name == A::NAME) {
            return Err(Failure::terminal("two agents of a plugin have the same name").with("agent", A::NAME));
        }
        let schemas = A::schemas().map_err(|failure| failure.with("agent", A::NAME))?;
        self.agents.push(Described {
            name: A::NAME,
            description: A::DESCRIPTION,
            capabilities: A::CAPABILITIES,
            input_schema: schemas.input,
            output_schema: schemas.output,
        });
        Ok(self)
    }

    /// The description as the hive reads it.
    ///
    /// # Errors
    ///
    /// A terminal failure when the name is empty or no agent was added: nobody could call such a plugin.
    pub(crate) fn to_json(&self) -> Result<String, Failure> {
        if self.name.is_empty() {
            return Err(Failure::terminal("the plugin has no name").with_hint("name it in `Description::new`"));
        }
        if self.agents.is_empty() {
            return Err(Failure::terminal("the plugin has no agents")
                .with("plugin", &self.name)
                .with_hint("add one with `Description::agent`"));
        }
        json::encode("the description", self)
    }
}
