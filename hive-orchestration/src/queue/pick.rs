//! Which of the ready tasks go first: a pure decision over what stands at the front of each lane.
//!
//! A lane holds the ready tasks of one agent, one tenant and one priority, in the order in which they were submitted. Of the
//! tasks at the fronts of all lanes the most urgent goes first. A task becomes more urgent while it waits, a priority every
//! [`limits::AGING`], so that none waits for ever behind more urgent ones. Among equally urgent ones the tenants share what there
//! is by their weights (start-time fair queueing: a tenant's clock advances by the inverse of its weight with each of its
//! tasks, and the tenant whose clock is behind goes first). Within a tenant the older goes first.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use hive_core::clock::Timestamp;

use crate::limits;

/// A tenant's weight when nothing is said of it.
pub(crate) const WEIGHT: u32 = 1;

/// By how much a tenant of weight one advances with a task: divisible by the small weights, so that shares are exact.
const STRIDE: u64 = 720_720;

/// What stands at the front of one lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// Its agent, by its place among those that have room.
    pub(crate) agent: usize,
    pub(crate) tenant: String,
    pub(crate) priority: i64,
    pub(crate) heads: VecDeque<Head>,
}

/// A ready task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    /// Since when it is ready.
    pub(crate) since: Timestamp,
}

/// Whose turn it is among tenants. Kept between decisions; lose it and everybody begins anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    clocks: HashMap<String, u64>,
    /// Where whoever comes anew begins.
    now: u64,
}

/// Picks up to `total` tasks, of each agent no more than it has room for.
pub(crate) fn pick(
    lanes: &mut [Lane],
    room: &[usize],
    total: usize,
    turns: &mut Turns,
    weight: impl Fn(&str) -> u32,
    now: Timestamp,
) -> Vec<i64> {
    let mut room = room.to_vec();
    let mut picked = Vec::with_capacity(total.min(lanes.iter().map(|lane| lane.heads.len()).sum()));
    while picked.len() < total {
        let best = lanes
            .iter_mut()
            .filter(|lane| room.get(lane.agent).is_some_and(|free| *free > 0))
            .filter_map(|lane| {
                let head = *lane.heads.front()?;
                let urgency = urgency(lane.priority, head.since, now);
                Some(((std::cmp::Reverse(urgency), turns.clock(&lane.tenant), head.seq), lane))
            })
            .min_by_key(|(rank, _)| *rank);
        let Some((_, lane)) = best else { break };
        let Some(head) = lane.heads.pop_front() else { break };
        turns.advance(&lane.tenant, weight(&lane.tenant));
        if let Some(free) = room.get_mut(lane.agent) {
            *free -= 1;
        }
        picked.push(head.seq);
    }
    turns.forget_idle();
    picked
}

/// The priority that a task has by now.
fn urgency(priority: i64, since: Timestamp, now: Timestamp) -> i64 {
    let aged = now.since(since).as_micros() / limits::AGING.as_micros();
    priority.saturating_add(i64::try_from(aged).unwrap_or(i64::MAX))
}

impl Turns {
    fn clock(&self, tenant: &str) -> u64 {
        self.clocks.get(tenant).map_or(self.now, |clock| (*clock).max(self.now))
    }

    fn advance(&mut self, tenant: &str, weight: u32) {
        let clock = self.clock(tenant);
        self.now = clock;
        let next = clock.saturating_add(STRIDE / u64::from(weight.max(1)));
        match self.clocks.get_mut(tenant) {
            Some(known) => *known = next,
            None => drop(self.clocks.insert(tenant.to_owned(), next)),
        }
    }

    /// A tenant whose clock everybody has passed is as good as new.
    fn forget_idle(&mut self) {
        if self.clocks.len() > limits::CLAIM_TENANTS {
            let now = self.now;
            self.clocks.retain(|_, clock| *clock > now);
        }
    }
}
