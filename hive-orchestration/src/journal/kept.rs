//! What became of a call's children, wherever that is kept.

use hive_core::payload::Payload;
use hive_errors::{Failure, Result};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;
use crate::task::{End, TaskState};

/// The children of a call whose rows are elsewhere: in a history, or below the task that a run was forked from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) children: Vec<KeptChild>,
}

/// One of them; without an output or a failure it had not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptChild {
    pub(crate) agent: String,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

impl Kept {
    pub(crate) fn encode(&self) -> Result<Payload> {
        Payload::encode(self, limits::HISTORY_BYTES)
    }
}

/// What is there is a value, `null` too.
pub(crate) fn some<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Payload>, D::Error> {
    Payload::deserialize(deserializer).map(Some)
}

/// Reads the value of a call's entry: children that are kept elsewhere, or a list of outputs that a person has given.
pub(crate) fn read(value: &Payload, agent: &str) -> Result<Vec<(String, Option<End>)>> {
    // A list is a person's, an object is not.
    if value.as_bytes().first() == Some(&b'[') {
        let outputs: Vec<Payload> = value.decode()?;
        let given = |output| (agent.to_owned(), Some(End::Output(output)));
        return Ok(outputs.into_iter().map(given).collect());
    }
    let kept: Kept = value.decode()?;
    let end = |child: KeptChild| {
        let end = match (child.output, child.failure) {
            (Some(output), _) => Some(End::Output(output)),
            (None, Some(failure)) => Some(End::Failure(TaskState::Failed, failure)),
            (None, None) => None,
        };
        (child.agent, end)
    };
    Ok(kept.children.into_iter().map(end).collect())
}
