//! Who needs whom.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::node::Plan;
use super::reference::{Found, references};

/// The nodes of a plan by their places, and what each needs. References to nodes that are not there are left out; of nodes with one
/// id the first counts.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    /// The places of what each node needs, each once.
    pub(super) needs: Vec<BTreeSet<usize>>,
    /// The places of those that need it.
    pub(super) needed_by: Vec<BTreeSet<usize>>,
}

impl Graph {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut places = HashMap::with_capacity(plan.nodes.len());
        for (place, node) in plan.nodes.iter().enumerate() {
            places.entry(node.id.as_str()).or_insert(place);
        }
        let mut needs = vec![BTreeSet::new(); plan.nodes.len()];
        let mut needed_by = needs.clone();
        for (place, node) in plan.nodes.iter().enumerate() {
            let inputs = references(&node.input, "");
            let inputs = inputs.iter().filter_map(|(_, found)| match found {
                Found::Reference(reference) => Some(reference.from),
                Found::Malformed(_) | Found::TooDeep => None,
            });
            let conditions = node.when.iter().map(|condition| condition.from.as_str());
            let after = node.after.iter().map(String::as_str);
            for need in inputs.chain(conditions).chain(after) {
                if let Some(need) = places.get(need)
                    && let (Some(needs), Some(needed_by)) = (needs.get_mut(place), needed_by.get_mut(*need))
                {
                    needs.insert(*need);
                    needed_by.insert(place);
                }
            }
        }
        Self { needs, needed_by }
    }

    pub(super) fn edges(&self) -> usize {
        self.needs.iter().map(BTreeSet::len).sum()
    }

    /// The places in an order in which each comes after what it needs, and the circles that are in the way, each in the order in which
    /// one needs the next. Nodes in circles come in no particular order.
    pub(super) fn sorted(&self) -> (Vec<usize>, Vec<Vec<usize>>) {
        let mut open: Vec<usize> = self.needs.iter().map(BTreeSet::len).collect();
        let mut ready: VecDeque<usize> = (0..open.len()).filter(|place| open.get(*place) == Some(&0)).collect();
        let (mut order, mut circles) = (Vec::with_capacity(open.len()), Vec::new());
        let mut done = vec![false; open.len()];
        loop {
            while let Some(place) = ready.pop_front() {
                if std::mem::replace(done.get_mut(place).unwrap_or(&mut true), true) {
                    continue;
                }
                order.push(place);
                for next in self.needed_by.get(place).into_iter().flatten() {
                    if let Some(open) = open.get_mut(*next) {
                        *open = open.saturating_sub(1);
                        if *open == 0 {
                            ready.push_back(*next);
                        }
                    }
                }
            }
            let Some(left) = (0..done.len()).find(|place| done.get(*place) == Some(&false)) else {
                return (order, circles);
            };
            // Invariant: what is left needs something that is left, so that whoever follows comes round.
            let mut path = vec![left];
            loop {
                let needs = path.last().and_then(|last| self.needs.get(*last));
                let next = needs
                    .into_iter()
                    .flatten()
                    .find(|need| done.get(**need) == Some(&false));
                let Some(next) = next else { break };
                if let Some(start) = path.iter().position(|place| place == next) {
                    path.drain(..start);
                    break;
                }
                path.push(*next);
            }
            // As if they were done, so that other circles are found as well.
            ready.extend(&path);
            circles.push(path);
        }
    }
}
