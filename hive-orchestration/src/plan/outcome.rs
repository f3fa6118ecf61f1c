//! What has become of a plan's nodes.

use std::collections::BTreeMap;

use hive_core::id::TaskId;
use hive_core::nearest::nearest;
use hive_errors::{ErrorKind, Failure};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::node::Plan;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It has not started.
    Pending,
    /// Its task goes on.
    Running,
    /// It gave an output.
    Succeeded,
    /// It did not, and is not called again.
    Failed,
    /// It is not done.
    Skipped,
}

/// Why a node is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "why")]
#[non_exhaustive]
pub enum Skipped {
    /// A condition on the output of this node does not hold.
    Condition {
        /// The node's id.
        on: String,
    },
    /// Its input refers to the output of this node, which has none.
    NoOutput {
        /// The node's id.
        of: String,
    },
    /// This node has failed, and all that need it are skipped.
    Failure {
        /// The node's id.
        of: String,
    },
}

/// What has become of one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Where it stands.
    pub state: State,
    /// The agent that has it, or had it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Its task, or the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it gave nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
}

/// What has become of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The plan as it was carried out last.
    pub plan: Plan,
    /// What has become of each of its nodes, by id.
    pub nodes: BTreeMap<String, Report>,
    /// How often it was revised.
    pub revisions: u32,
}

impl Outcome {
    /// The output of a node as a `T`.
    ///
    /// # Failures
    /// Terminal: of kind `not-found` when there is no such node, or when it was skipped; the node's own when it failed; `drift` when
    /// the output does not fit the type.
    pub fn get<T: DeserializeOwned>(&self, id: &str) -> Result<T, Failure> {
        let missing = |message: &str| {
            Failure::terminal(message)
                .with_kind(ErrorKind::NotFound)
                .with("node", format!("{:.80}", id.escape_debug()))
        };
        let Some(report) = self.nodes.get(id) else {
            let failure = missing("the plan has no such node");
            return Err(match nearest(id, self.nodes.keys().map(String::as_str)) {
                Some(near) => failure.with_hint(format!("did you mean `{near}`?")),
                None => failure,
            });
        };
        match (&report.output, &report.failure) {
            (Some(output), _) => T::deserialize(output).map_err(|error| {
                Failure::terminal(format!("the output of the node does not fit its type: {error}"))
                    .with_kind(ErrorKind::Drift)
                    .with("node", id)
                    .with("type", std::any::type_name::<T>())
            }),
            (None, Some(failure)) => Err(failure.clone().into_terminal().with("node", id)),
            (None, None) => {
                Err(missing("the node has no output").with("state", format!("{:?}", report.state).to_lowercase()))
            }
        }
    }

    /// Where a node stands; `None` when there is no such node.
    pub fn state(&self, id: &str) -> Option<State> {
        self.nodes.get(id).map(|report| report.state)
    }
}
