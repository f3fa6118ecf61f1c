//! A plan is changed while it is carried out.

use std::collections::BTreeMap;

use hive_errors::Failure;
use serde::{Deserialize, Serialize};

use super::catalogue::Catalogue;
use super::finding::{Code, Finding, Findings};
use super::node::Plan;
use super::outcome::{Outcome, State};
use crate::limits;

/// When a plan may be revised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Revise {
    /// When nodes have failed, before it is done what they say is to be done on their failure.
    OnFailure,
    /// When nodes have ended, however.
    Always,
}

/// How far a plan has come, for whoever may revise it. It can be written down as JSON for a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// The plan and what has become of its nodes so far.
    #[serde(flatten)]
    pub so_far: Outcome,
    /// The ids of the nodes that have ended since it was asked last.
    pub ended: Vec<String>,
    /// How often the plan may still be revised.
    pub revisions_left: u32,
    /// What is wrong with the revision that was given just now, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Findings>,
    #[serde(skip)]
    pub(super) catalogue: Catalogue,
}

impl Progress {
    /// Finds what is wrong with a revision: what [`Plan::check`] finds, and nodes that have started and are not as they were. Those that
    /// run or have succeeded must be there unchanged. One that has failed may be left out, or be another; as it is, it stays failed.
    ///
    /// # Errors
    /// The findings.
    pub fn check(&self, revised: &Plan) -> Result<(), Findings> {
        let mut found = match revised.check(&self.catalogue) {
            Ok(()) => Vec::new(),
            Err(findings) if findings.has(Code::LimitReached) => return Err(findings),
            Err(findings) => findings.list,
        };
        for node in &self.so_far.plan.nodes {
            let has_started = match self.so_far.state(&node.id) {
                Some(State::Running | State::Succeeded) => true,
                Some(State::Pending | State::Failed | State::Skipped) | None => false,
            };
            if !has_started {
                continue;
            }
            let place = revised.nodes.iter().position(|other| other.id == node.id);
            // A long one is known to whoever wrote it.
            let kept = serde_json::to_string(node).unwrap_or_default();
            let kept = if kept.len() <= limits::NAME_BYTES * 8 {
                kept
            } else {
                "in every field".to_owned()
            };
            match place.and_then(|place| revised.nodes.get(place).map(|other| (place, other))) {
                Some((_, other)) if other == node => {}
                Some((place, _)) => found.push(Finding::new(
                    format!("/nodes/{place}"),
                    Code::StartedChanged,
                    format!("`{}` has started and cannot be changed", node.id),
                    format!("leave it as it is, {kept}, and give what is new another id"),
                )),
                None => found.push(Finding::new(
                    "/nodes",
                    Code::StartedChanged,
                    format!("`{}` has started and cannot be left out", node.id),
                    format!("add it as it is: {kept}"),
                )),
            }
        }
        Findings::of(found)
    }
}

/// The plan as it was first, in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The version of this form.
    pub(super) v: u32,
    pub(super) plan: Plan,
}

/// What came of asking whether the plan is to be revised, in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Decision {
    /// The version of this form.
    pub(super) v: u32,
    /// The marks of the calls whose ends it was asked about.
    pub(super) seen: Vec<String>,
    /// The plan from here on, if it is another.
    pub(super) plan: Option<Plan>,
    /// How many calls were made for an id while it stood for something else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) before: BTreeMap<String, u32>,
}

/// A node that could not be called, in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Uncalled {
    /// The version of this form.
    pub(super) v: u32,
    pub(super) failure: Failure,
}

/// The version of what stands in the journal.
pub(super) const VERSION: u32 = 1;
