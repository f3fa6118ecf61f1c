//! Who else is there, as a run may ask its hive.

use std::collections::BTreeSet;

use hive_core::db::Snapshot;
use hive_core::payload::{Payload, Schema};
use hive_errors::Result;
use semver::Version;

use crate::queue::submit::Aside;

/// What a run may ask of the hive that it runs in. A port, because the registry and the router know contexts and not the other
/// way round.
pub(crate) trait Colleagues: Send + Sync {
    /// The agents that are there, in every process.
    fn known(&self, db: &Snapshot<'_>) -> Result<Vec<Colleague>>;

    /// Who gets a task that is for this target now.
    ///
    /// # Errors
    /// `unknown-agent` when nobody can have it, retryable when one that could is away.
    fn address(&self, db: &Snapshot<'_>, target: &str) -> Result<Address>;

    /// Whether an input fits the agent; of an agent of another process this is not known, and it does.
    fn check(&self, agent: &str, input: &Payload) -> Result<()>;
}

/// One version of an agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Colleague {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) capabilities: BTreeSet<String>,
    pub(crate) input: Schema,
    pub(crate) output: Schema,
}

/// An agent that was chosen.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) agent: String,
    /// The range of its versions that may have the task, or nothing.
    pub(crate) versions: String,
    /// What is to be written down with the task.
    pub(crate) aside: Option<Aside>,
}
