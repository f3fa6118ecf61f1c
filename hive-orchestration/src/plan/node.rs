//! A plan as it is written down.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use crate::router::Target;
use crate::task::Priority;

/// What is to be done: a graph of nodes without cycles, in which each node is a task for an agent. Nodes that do not need each other
/// are done at the same time; their order in the list does not matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The nodes, each with an id of its own.
    pub nodes: Vec<Node>,
}

impl Plan {
    /// A plan of these nodes.
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
        }
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

/// One task of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Node {
    /// The node's name within the plan: ASCII letters, digits, `-`, `_` and `.`, at most 64 of them.
    pub id: String,
    /// Who does it: `agent:NAME` for the agent of that name, or `capability:NAME` for whoever can do that.
    pub target: String,
    /// The agent's input. Wherever an object with the key `$from` stands in it, the output of another node is put in its place:
    /// `{"$from": "id"}` is the whole output of the node with that id, `{"$from": "id", "path": "/a/0"}` the part of it that the JSON
    /// pointer leads to, and `{"$from": "id", "path": "/a", "default": 0}` is 0 when there is no such output or part. A node starts
    /// when all that it refers to have ended.
    #[serde(default)]
    pub input: Value,
    /// Ids of nodes that have to end before this one starts, although it needs nothing of what they give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Conditions on the outputs of other nodes, all of which have to hold. Otherwise the node is skipped, and so are those that
    /// refer to its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// What becomes of the plan when the node fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How often the agent is called, at most, until it gives an output; from 1 to 8. Agents also try again by themselves.
    #[serde(default = "once")]
    pub attempts: u32,
    /// How urgent the task is among all that is ready.
    #[serde(default)]
    pub priority: Priority,
}

const fn once() -> u32 {
    1
}

impl Node {
    /// A node for this target, such as `agent:reviewer`, without an input.
    pub fn new(id: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            target: target.into(),
            input: Value::Null,
            after: Vec::new(),
            when: Vec::new(),
            on_failure: OnFailure::default(),
            attempts: once(),
            priority: Priority::default(),
        }
    }

    /// A node for a target that is known to be one.
    pub fn for_target(id: impl Into<String>, target: impl Into<Target>) -> Self {
        Self::new(id, target.into().to_string())
    }

    /// The agent's input, with references to other nodes: see [`Node::input`](field@Node::input).
    #[must_use]
    pub fn input(mut self, input: Value) -> Self {
        self.input = input;
        self
    }

    /// Lets another node end first.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after.push(id.into());
        self
    }

    /// Skips the node unless this holds.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.when.push(condition);
        self
    }

    /// What becomes of the plan when the node fails.
    #[must_use]
    pub fn on_failure(mut self, what: OnFailure) -> Self {
        self.on_failure = what;
        self
    }

    /// How often the agent is called, at most, until it gives an output.
    #[must_use]
    pub fn attempts(mut self, limit: u32) -> Self {
        self.attempts = limit;
        self
    }

    /// How urgent the task is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// What becomes of a plan when one of its nodes fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnFailure {
    /// The plan fails at once, and what runs is cancelled.
    #[default]
    Fail,
    /// All that need the node, directly or through others, are skipped; the rest goes on.
    Skip,
    /// The plan goes on as if the node had been skipped by a condition: only those that refer to its output without a default are
    /// skipped.
    Continue,
}
