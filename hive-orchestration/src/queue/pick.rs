//! Which of the ready tasks go first: a pure decision over what stands at the front of each lane.
//!
//! A lane holds the ready tasks of one agent, one tenant, one key and one priority, in the order in which they were submitted. Of
//! the tasks at the fronts of all lanes the most urgent goes first. A task becomes more urgent while it waits, a priority every
//! [`limits::AGING`], so that none waits for ever behind more urgent ones. Among equally urgent ones the tenants share what there
//! is by their weights (start-time fair queueing: a tenant's clock advances by the inverse of its weight with each of its
//! tasks, and the tenant whose clock is behind goes first), and within a tenant its keys do. Then the older goes first.
//!
//! Gates say how many may pass. A task passes all the gates of its lane or stays.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use hive_core::clock::Timestamp;

use crate::limits;

/// The weight of a tenant or a key when nothing is said of it.
pub(crate) const WEIGHT: u32 = 1;

/// By how much somebody of weight one advances with a task: divisible by the small weights, so that shares are exact.
const STRIDE: u64 = 720_720;

/// What stands at the front of one lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// The gates that its tasks pass, by their places.
    pub(crate) gates: Vec<usize>,
    pub(crate) tenant: String,
    /// Of whose tasks it holds the ones with this key; tasks that have none share one lane.
    pub(crate) key: String,
    pub(crate) priority: i64,
    /// The shares of its tenant and its key.
    pub(crate) weights: (u32, u32),
    pub(crate) heads: VecDeque<Head>,
}

/// A ready task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    /// Since when it is ready.
    pub(crate) since: Timestamp,
    /// It goes on after it has waited.
    pub(crate) resumed: bool,
}

/// How many may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) left: usize,
    /// Whether those that go on pass it uncounted.
    pub(crate) beginnings: bool,
}

impl Gate {
    pub(crate) const fn room(left: usize) -> Self {
        Self {
            left,
            beginnings: false,
        }
    }

    fn counts(self, head: Head) -> bool {
        !(self.beginnings && head.resumed)
    }
}

/// Whose turn it is. Kept between decisions; lose it and everybody begins anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    tenants: Clocks,
    /// Among the keys of each tenant.
    keys: HashMap<String, Clocks>,
    /// Where the search for lanes goes on, by agent.
    pub(crate) places: HashMap<String, Place>,
    /// Ranges of versions that an agent's own is not in, found on the way: `|^1||^2|`. A range has no `|` in it.
    refused: HashMap<String, String>,
    /// How many decisions there were since the last that swept.
    unswept: u32,
}

/// How far a search through the lanes of an agent has come, when they are more than are looked at together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The last lane looked at, by its tenant and key.
    pub(crate) after: (String, String),
    /// How often it has come around without a task that could be taken.
    pub(crate) rounds: u8,
}

#[derive(Clone, Debug, Default)]
struct Clocks {
    clocks: HashMap<String, u64>,
    /// Where whoever comes anew begins.
    now: u64,
}

/// A lane's place among the clocks of this decision.
#[derive(Clone, Copy)]
struct Marks {
    tenant: usize,
    key: usize,
}

/// Clocks of one decision, without a search for each look.
struct Hands {
    times: Vec<u64>,
    now: u64,
}

/// Picks up to `total` tasks, through each gate no more than it lets pass.
pub(crate) fn pick(
    lanes: &mut [Lane],
    gates: &mut [Gate],
    total: usize,
    turns: &mut Turns,
    now: Timestamp,
) -> Vec<i64> {
    let mut picked = Vec::with_capacity(total.min(lanes.iter().map(|lane| lane.heads.len()).sum()));
    let (marks, mut tenants, mut keys) = turns.read(lanes);
    while picked.len() < total {
        let best = lanes
            .iter_mut()
            .zip(&marks)
            .filter_map(|(lane, marks)| {
                let head = *lane.heads.front()?;
                let opens = |gate: &usize| gates.get(*gate).is_some_and(|gate| gate.left > 0 || !gate.counts(head));
                if !lane.gates.iter().all(opens) {
                    return None;
                }
                let tenant = tenants.time(marks.tenant);
                let key = keys.get(marks.tenant).map_or(0, |keys| keys.time(marks.key));
                let urgency = urgency(lane.priority, head.since, now);
                Some(((std::cmp::Reverse(urgency), tenant, key, head.seq), (lane, *marks)))
            })
            .min_by_key(|(rank, _)| *rank);
        let Some((_, (lane, marks))) = best else { break };
        let Some(head) = lane.heads.pop_front() else { break };
        tenants.advance(marks.tenant, lane.weights.0);
        if let Some(keys) = keys.get_mut(marks.tenant) {
            keys.advance(marks.key, lane.weights.1);
        }
        for gate in &lane.gates {
            if let Some(gate) = gates.get_mut(*gate).filter(|gate| gate.counts(head)) {
                gate.left -= 1;
            }
        }
        picked.push(head.seq);
    }
    turns.write(lanes, &marks, &tenants, &keys);
    picked
}

/// The priority that a task has by now.
fn urgency(priority: i64, since: Timestamp, now: Timestamp) -> i64 {
    let aged = now.since(since).as_micros() / limits::AGING.as_micros();
    priority.saturating_add(i64::try_from(aged).unwrap_or(i64::MAX))
}

impl Hands {
    fn of(clocks: &Clocks) -> Self {
        Self {
            times: Vec::new(),
            now: clocks.now,
        }
    }

    fn add(&mut self, clocks: &Clocks, name: &str) -> usize {
        self.times.push(clocks.clocks.get(name).copied().unwrap_or(clocks.now));
        self.times.len() - 1
    }

    fn time(&self, place: usize) -> u64 {
        self.times.get(place).map_or(self.now, |time| (*time).max(self.now))
    }

    fn advance(&mut self, place: usize, weight: u32) {
        let time = self.time(place);
        self.now = time;
        if let Some(own) = self.times.get_mut(place) {
            *own = time.saturating_add(STRIDE / u64::from(weight.max(1)));
        }
    }
}

impl Turns {
    /// Where the search through an agent's lanes goes on.
    pub(crate) fn place(&self, agent: &str) -> (String, String) {
        self.places
            .get(agent)
            .map_or_else(Default::default, |place| place.after.clone())
    }

    /// Whether it is time to forget what limits no longer count.
    pub(crate) fn sweeps(&mut self) -> bool {
        self.unswept = (self.unswept + 1) % limits::FLOW_SWEEP_EVERY;
        self.unswept == 0
    }

    /// What to pass over of an agent's tasks.
    pub(crate) fn refused(&self, agent: &str) -> String {
        self.refused.get(agent).cloned().unwrap_or_default()
    }

    /// Tasks for these versions are passed over from here on; `false` when there is no use in looking again for now: they are
    /// already, or the list is full and begins anew.
    pub(crate) fn refuse(&mut self, agent: &str, versions: &str) -> bool {
        let entry = format!("|{versions}|");
        let known = self.refused.entry(agent.to_owned()).or_default();
        if known.contains(&entry) {
            return false;
        }
        if known.len() > limits::CLAIM_REFUSED_BYTES {
            // Most of them are gone by now; those that are not are found again, but not before the next claim: more of them than
            // the list takes must not keep this one going round.
            known.clear();
            return false;
        }
        known.push_str(&entry);
        true
    }

    /// The clocks of everybody in the lanes, and where each lane finds its own.
    fn read(&self, lanes: &[Lane]) -> (Vec<Marks>, Hands, Vec<Hands>) {
        let none = Clocks::default();
        let mut tenants = Hands::of(&self.tenants);
        let (mut keys, mut known) = (
            Vec::<Hands>::new(),
            HashMap::<&str, (usize, HashMap<&str, usize>)>::new(),
        );
        let marks = lanes.iter().map(|lane| {
            let (tenant, of_tenant) = known.entry(&lane.tenant).or_insert_with(|| {
                keys.push(Hands::of(self.keys.get(&lane.tenant).unwrap_or(&none)));
                (tenants.add(&self.tenants, &lane.tenant), HashMap::new())
            });
            let key = *of_tenant.entry(&lane.key).or_insert_with(|| {
                let clocks = self.keys.get(&lane.tenant).unwrap_or(&none);
                keys.get_mut(*tenant).map_or(0, |keys| keys.add(clocks, &lane.key))
            });
            Marks { tenant: *tenant, key }
        });
        (marks.collect(), tenants, keys)
    }

    fn write(&mut self, lanes: &[Lane], marks: &[Marks], tenants: &Hands, keys: &[Hands]) {
        for (lane, marks) in lanes.iter().zip(marks) {
            self.tenants.set(&lane.tenant, tenants, marks.tenant);
            let Some(hands) = keys.get(marks.tenant) else { continue };
            // A tenant that has no keys has nobody to share with.
            if !lane.key.is_empty() || self.keys.contains_key(&lane.tenant) {
                let clocks = self.keys.entry(lane.tenant.clone()).or_default();
                clocks.set(&lane.key, hands, marks.key);
            }
        }
        self.tenants.forget_idle();
        self.keys.values_mut().for_each(Clocks::forget_idle);
        if self.keys.len() > limits::CLAIM_LANES {
            // Those of tenants that have nothing ready begin anew.
            self.keys
                .retain(|tenant, _| lanes.iter().any(|lane| lane.tenant == *tenant));
        }
    }
}

impl Clocks {
    fn set(&mut self, name: &str, hands: &Hands, place: usize) {
        self.now = hands.now;
        let time = hands.time(place);
        match self.clocks.get_mut(name) {
            Some(known) => *known = time,
            // Whoever has not had a turn begins where everybody does.
            None if time > hands.now => drop(self.clocks.insert(name.to_owned(), time)),
            None => {}
        }
    }

    /// One whose clock everybody has passed is as good as new.
    fn forget_idle(&mut self) {
        if self.clocks.len() > limits::CLAIM_LANES {
            let now = self.now;
            self.clocks.retain(|_, clock| *clock > now);
        }
    }
}
