//! What becomes of each node, as a pure function of the plan and of what was called.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hive_core::id::TaskId;
use hive_errors::{ErrorKind, Failure};
use serde_json::Value;

use super::graph::Graph;
use super::node::{Node, OnFailure, Plan};
use super::outcome::Skipped;
use super::reference::{Found, Reference, references};

/// One call of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// What tells this end of it from every other.
    pub(super) mark: String,
    pub(super) task: Option<TaskId>,
    pub(super) agent: Option<String>,
    pub(super) end: Option<Result<(), Failure>>,
}

/// What was called for each node, by id and in order, since it is what it is now.
pub(super) type Calls = BTreeMap<String, Vec<Call>>;

/// The outputs that are at hand, by id.
pub(super) type Outputs = HashMap<String, Value>;

/// Where a node stands, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// What it needs has not ended, or is not at hand.
    Pending,
    /// To be called.
    Ready,
    Running,
    Succeeded,
    Failed(Failure),
    Skipped(Skipped),
}

impl Standing {
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Pending | Self::Ready | Self::Running => false,
            Self::Succeeded | Self::Failed(_) | Self::Skipped(_) => true,
        }
    }
}

/// Where all nodes stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Course {
    pub(super) standings: Vec<Standing>,
    /// The nodes whose outputs it takes to say more.
    pub(super) wants: BTreeSet<String>,
}

/// Where the nodes of a plan without cycles stand.
pub(super) fn course(plan: &Plan, graph: &Graph, order: &[usize], calls: &Calls, outputs: &Outputs) -> Course {
    let mut course = Course {
        standings: vec![Standing::Pending; plan.nodes.len()],
        wants: BTreeSet::new(),
    };
    let places: HashMap<&str, usize> = (plan.nodes.iter().enumerate())
        .map(|(place, node)| (node.id.as_str(), place))
        .collect();
    for place in order {
        let Some(node) = plan.nodes.get(*place) else { continue };
        let standing = match called(node, calls) {
            Some(standing) => standing,
            None => {
                let look = Look {
                    plan,
                    places: &places,
                    outputs,
                    needs: graph.needs.get(*place),
                };
                look.at(node, &mut course)
            }
        };
        if let Some(slot) = course.standings.get_mut(*place) {
            *slot = standing;
        }
    }
    course
}

/// What the calls of a node say of it; `None` where there are none.
fn called(node: &Node, calls: &Calls) -> Option<Standing> {
    let calls = calls.get(&node.id)?;
    Some(match &calls.last()?.end {
        None => Standing::Running,
        Some(Ok(())) => Standing::Succeeded,
        // Who cancelled it did not want it done again.
        Some(Err(failure)) if failure.kind() != ErrorKind::Cancelled && calls.len() < node.attempts as usize => {
            let is_called = calls.last().is_some_and(|call| call.task.is_some());
            // What could not even be called is no better the next time.
            if is_called {
                Standing::Ready
            } else {
                Standing::Failed(failure.clone())
            }
        }
        Some(Err(failure)) => Standing::Failed(failure.clone()),
    })
}

struct Look<'a> {
    plan: &'a Plan,
    places: &'a HashMap<&'a str, usize>,
    outputs: &'a Outputs,
    needs: Option<&'a BTreeSet<usize>>,
}

impl Look<'_> {
    /// Decides on a node that was not called, by the rules that stand in the module's documentation.
    fn at(&self, node: &Node, course: &mut Course) -> Standing {
        let mut poison = None;
        for need in self.needs.into_iter().flatten() {
            let (Some(standing), Some(needed)) = (course.standings.get(*need), self.plan.nodes.get(*need)) else {
                return Standing::Pending;
            };
            match standing {
                Standing::Pending | Standing::Ready | Standing::Running => return Standing::Pending,
                Standing::Failed(_) if needed.on_failure == OnFailure::Skip => poison = Some(needed.id.clone()),
                Standing::Skipped(Skipped::Failure { of }) => poison = Some(of.clone()),
                Standing::Succeeded | Standing::Failed(_) | Standing::Skipped(_) => {}
            }
        }
        if let Some(of) = poison {
            return Standing::Skipped(Skipped::Failure { of });
        }
        let gives = |id: &str, course: &Course| {
            let standing = self.places.get(id).and_then(|place| course.standings.get(*place));
            standing == Some(&Standing::Succeeded)
        };
        let mut is_known = true;
        for condition in &node.when {
            let output = self.outputs.get(&condition.from);
            if output.is_none() && gives(&condition.from, course) {
                course.wants.insert(condition.from.clone());
                is_known = false;
            } else if !condition.holds(output.filter(|_| gives(&condition.from, course))) {
                let on = condition.from.clone();
                return Standing::Skipped(Skipped::Condition { on });
            }
        }
        if !is_known {
            return Standing::Pending;
        }
        for reference in of(node) {
            if !gives(reference.from, course) {
                if reference.default.is_none() {
                    let of = reference.from.to_owned();
                    return Standing::Skipped(Skipped::NoOutput { of });
                }
            } else if !self.outputs.contains_key(reference.from) {
                course.wants.insert(reference.from.to_owned());
                is_known = false;
            }
        }
        if is_known { Standing::Ready } else { Standing::Pending }
    }
}

/// The references in a node's input.
pub(super) fn of(node: &Node) -> impl Iterator<Item = Reference<'_>> {
    references(&node.input, "")
        .into_iter()
        .filter_map(|(_, found)| match found {
            Found::Reference(reference) => Some(reference),
            Found::Malformed(_) | Found::TooDeep => None,
        })
}

/// The places of the nodes that are ready, in the order in which they should start: the more urgent first, then those on which the
/// longest chain hangs, then as they are written down.
pub(super) fn queue(plan: &Plan, graph: &Graph, order: &[usize], standings: &[Standing]) -> Vec<usize> {
    let mut height = vec![0_usize; plan.nodes.len()];
    for place in order.iter().rev() {
        let above = graph.needed_by.get(*place).into_iter().flatten();
        let tallest = above.filter_map(|next| height.get(*next)).max().copied();
        if let Some(slot) = height.get_mut(*place) {
            *slot = tallest.map_or(0, |tallest| tallest + 1);
        }
    }
    let is_ready = |place: &usize| standings.get(*place) == Some(&Standing::Ready);
    let mut ready: Vec<usize> = (0..plan.nodes.len()).filter(is_ready).collect();
    ready.sort_by_key(|place| {
        let priority = plan.nodes.get(*place).map(|node| node.priority);
        std::cmp::Reverse((priority, height.get(*place).copied()))
    });
    ready
}
