//! How large a plan is, and how long it takes at least.

use std::collections::BTreeSet;
use std::time::Duration;

use super::check::circles;
use super::finding::Findings;
use super::graph::Graph;
use super::node::{Node, Plan};

/// How large a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measures {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many pairs of them there are of which one needs the other directly.
    pub edges: usize,
    /// How many nodes the longest chain has in which each needs the one before.
    pub depth: usize,
    /// How many nodes may run at the same time at most: the largest set of which none needs another, directly or through others.
    pub width: usize,
}

/// The chain of nodes that takes longest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CriticalPath {
    /// The ids in the order in which they are done.
    pub nodes: Vec<String>,
    /// How long they take one after another: no hive does the plan in less.
    pub length: Duration,
}

impl Plan {
    /// How large the plan is.
    ///
    /// # Errors
    /// The cycles that it has: such a plan has no depth.
    pub fn measure(&self) -> Result<Measures, Findings> {
        let (graph, order) = self.sorted()?;
        let depth = longest(&graph, &order, |_| Duration::from_secs(1)).length.as_secs();
        Ok(Measures {
            nodes: self.nodes.len(),
            edges: graph.edges(),
            depth: usize::try_from(depth).unwrap_or(usize::MAX),
            width: width(&graph, &order),
        })
    }

    /// The chain of nodes that takes longest when each takes as long as `weight` says.
    ///
    /// # Errors
    /// The cycles that it has.
    pub fn critical_path(&self, weight: impl Fn(&Node) -> Duration) -> Result<CriticalPath, Findings> {
        let (graph, order) = self.sorted()?;
        let chain = longest(&graph, &order, |place| {
            self.nodes.get(place).map_or(Duration::ZERO, &weight)
        });
        let id = |place: usize| self.nodes.get(place).map(|node| node.id.clone());
        Ok(CriticalPath {
            nodes: chain.places.into_iter().filter_map(id).collect(),
            length: chain.length,
        })
    }

    fn sorted(&self) -> Result<(Graph, Vec<usize>), Findings> {
        let graph = Graph::of(self);
        let (order, found) = graph.sorted();
        Findings::of(circles(self, &found))?;
        Ok((graph, order))
    }
}

struct Chain {
    places: Vec<usize>,
    length: Duration,
}

fn longest(graph: &Graph, order: &[usize], weight: impl Fn(usize) -> Duration) -> Chain {
    let mut best: Vec<(Duration, Option<usize>)> = vec![(Duration::ZERO, None); graph.needs.len()];
    let mut end: Option<(Duration, usize)> = None;
    for place in order {
        let needs = graph.needs.get(*place).into_iter().flatten();
        let before = needs
            .filter_map(|need| Some((best.get(*need)?.0, *need)))
            // Of equal ones the first, so that the answer is always the same.
            .max_by(|(one, a), (other, b)| one.cmp(other).then(b.cmp(a)));
        let length = before
            .map_or(Duration::ZERO, |(length, _)| length)
            .saturating_add(weight(*place));
        if let Some(slot) = best.get_mut(*place) {
            *slot = (length, before.map(|(_, need)| need));
        }
        if end.is_none_or(|(known, _)| length > known) {
            end = Some((length, *place));
        }
    }
    let mut places = Vec::new();
    let mut at = end.map(|(_, place)| place);
    while let Some(place) = at {
        places.push(place);
        at = best.get(place).and_then(|(_, before)| *before);
    }
    places.reverse();
    Chain {
        places,
        length: end.map_or(Duration::ZERO, |(length, _)| length),
    }
}

/// The largest set of nodes of which none needs another. By Dilworth's theorem that is the number of nodes less the largest matching
/// of those that need with those that are needed, directly or through others.
fn width(graph: &Graph, order: &[usize]) -> usize {
    let count = graph.needs.len();
    let mut below: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    for place in order {
        let mut all = BTreeSet::new();
        for need in graph.needs.get(*place).into_iter().flatten() {
            all.insert(*need);
            all.extend(below.get(*need).into_iter().flatten());
        }
        if let Some(slot) = below.get_mut(*place) {
            *slot = all;
        }
    }
    let mut taken: Vec<Option<usize>> = vec![None; count];
    let matched = (0..count)
        .filter(|place| augment(*place, &below, &mut taken, &mut vec![false; count]))
        .count();
    count - matched
}

/// Finds a partner for `place`, by giving others another one where need be.
fn augment(place: usize, below: &[BTreeSet<usize>], taken: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for need in below.get(place).into_iter().flatten() {
        if tried.get_mut(*need).is_none_or(|tried| std::mem::replace(tried, true)) {
            continue;
        }
        let is_free = match taken.get(*need).copied().flatten() {
            None => true,
            Some(other) => augment(other, below, taken, tried),
        };
        if is_free {
            if let Some(slot) = taken.get_mut(*need) {
                *slot = Some(place);
            }
            return true;
        }
    }
    false
}
