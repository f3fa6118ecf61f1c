//! Other agents of the hive, native or plugin. Needs the capability `tasks`.
//!
//! Each call is a durable task of its own. The hive may end this attempt while a child works and begin another when the
//! result is there; a later attempt gets the same child's result, found by the call's name as a step's is.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::{host, json};

/// How urgent a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When nothing else is to be done.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Before what is usual.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    fn options(self) -> &'static str {
        match self {
            Self::Low => r#"{"priority":"low"}"#,
            Self::Medium => "{}",
            Self::High => r#"{"priority":"high"}"#,
            Self::Critical => r#"{"priority":"critical"}"#,
        }
    }
}

/// Has `agent` handle `input` and returns its output.
///
/// # Errors
///
/// What the child failed with, and the hive's: the agent is unknown or not granted, or the input does not fit it.
pub fn call<I, O>(name: &str, agent: &str, input: &I) -> Result<O, Failure>
where
    I: Serialize + ?Sized,
    O: DeserializeOwned,
{
    let output = host::tasks_call(name, agent, &json::encode("the child's input", input)?, "{}")?;
    decode(agent, &output)
}

/// Starts a child and returns its id at once, for [`join`].
///
/// # Errors
///
/// The hive's, as for [`call`].
pub fn start<I: Serialize + ?Sized>(name: &str, agent: &str, input: &I, priority: Priority) -> Result<String, Failure> {
    host::tasks_start(
        name,
        agent,
        &json::encode("the child's input", input)?,
        priority.options(),
    )
}

/// The output of a child that [`start`] returned.
///
/// # Errors
///
/// What the child failed with, and a failure when this task started no such child.
pub fn join<O: DeserializeOwned>(id: &str) -> Result<O, Failure> {
    decode(id, &host::tasks_join(id)?)
}

fn decode<O: DeserializeOwned>(child: &str, output: &str) -> Result<O, Failure> {
    json::decode("the child's output", output).map_err(|failure| failure.with("child", child))
}
