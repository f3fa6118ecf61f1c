//! What this process's agents are doing and have done of late, counted as it happens.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hive_core::clock::Clock;
use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use crate::limits;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an output.
    Succeeded,
    /// With a failure, for good or until the next attempt.
    Failed,
}

/// Attempts of one agent, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) dead: u64,
    pub(super) run: Histogram,
    pub(super) wait: Histogram,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
        self.dead = self.dead.saturating_add(other.dead);
        self.run.merge(&other.run);
        self.wait.merge(&other.wait);
    }
}

/// The window, in parts, and what runs now. A part's number is how many fit between the clock's beginning and it.
#[derive(Debug, Default)]
struct Meter {
    running: u32,
    current: (u64, Tally),
    /// The oldest first.
    past: VecDeque<(u64, Tally)>,
}

impl Meter {
    /// Goes on to the part for now, and forgets what has left the window.
    fn slide(&mut self, now: u64) {
        if self.current.0 < now {
            self.past
                .push_back(std::mem::replace(&mut self.current, (now, Tally::default())));
        }
        let kept = u64::from(limits::STATISTICS_SLOTS);
        while self
            .past
            .front()
            .is_some_and(|(slot, _)| slot.saturating_add(kept) <= now)
        {
            self.past.pop_front();
        }
    }

    /// The part for now.
    fn slot(&mut self, now: u64) -> &mut Tally {
        self.slide(now);
        &mut self.current.1
    }
}

/// The meters of this process's agents. Fed by the workers, read by the heartbeat.
#[derive(Debug)]
pub(crate) struct Meters {
    clock: Arc<dyn Clock>,
    agents: BTreeMap<String, Mutex<Meter>>,
    /// Attempts of all agents that have begun, and those that are over however they ended, since the process began.
    begun: AtomicU64,
    over: AtomicU64,
}

impl Meters {
    /// Meters for these agents. No others are counted, so nothing grows.
    pub(crate) fn new<'a>(clock: Arc<dyn Clock>, agents: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let agents = agents.into_iter().map(|name| (name.to_owned(), Mutex::default()));
        Arc::new(Self {
            clock,
            agents: agents.collect(),
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
        })
    }

    /// An attempt begins that was ready for `waited`. It runs until what is returned is dropped.
    pub(crate) fn start(self: &Arc<Self>, agent: &str, waited: Duration) -> Run {
        let now = self.now();
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.with(agent, |meter| {
            meter.running = meter.running.saturating_add(1);
            meter.slot(now).wait.add(waited);
        });
        Run {
            meters: Arc::clone(self),
            agent: agent.to_owned(),
            began: self.clock.monotonic(),
        }
    }

    /// Tasks of the agent have gone to the dead letters.
    pub(crate) fn died(&self, agent: &str, tasks: u64) {
        let now = self.now();
        self.with(agent, |meter| {
            let tally = meter.slot(now);
            tally.dead = tally.dead.saturating_add(tasks);
        });
    }

    /// How many attempts have begun, and how many of them are over, since the process began.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.over.load(Ordering::Relaxed))
    }

    /// How many attempts of the agent run now.
    pub(crate) fn running(&self, agent: &str) -> u32 {
        self.with(agent, |meter| meter.running).unwrap_or(0)
    }

    /// What is in the window.
    pub(super) fn tally(&self, agent: &str) -> Tally {
        let now = self.now();
        let mut sum = Tally::default();
        self.with(agent, |meter| {
            sum.merge(meter.slot(now));
            for (_, tally) in &meter.past {
                sum.merge(tally);
            }
        });
        sum
    }

    fn with<T>(&self, agent: &str, work: impl FnOnce(&mut Meter) -> T) -> Option<T> {
        let meter = self.agents.get(agent)?;
        Some(work(&mut meter.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn now(&self) -> u64 {
        let slot = limits::STATISTICS_WINDOW / limits::STATISTICS_SLOTS;
        u64::try_from(self.clock.monotonic().as_micros() / slot.as_micros()).unwrap_or(u64::MAX)
    }
}

/// An attempt under way. Dropped without a word about its end, it was handed back, cancelled or parked: it does not run any
/// more, and is neither a success nor a failure.
#[derive(Debug)]
#[must_use = "the attempt ends when this is dropped"]
pub(crate) struct Run {
    meters: Arc<Meters>,
    agent: String,
    began: Duration,
}

impl Run {
    /// The attempt has ended; how long it took.
    pub(crate) fn ended(self, how: Ended) -> Duration {
        let took = self.meters.clock.monotonic().saturating_sub(self.began);
        let now = self.meters.now();
        self.meters.with(&self.agent, |meter| {
            let tally = meter.slot(now);
            tally.run.add(took);
            let count = match how {
                Ended::Succeeded => &mut tally.completed,
                Ended::Failed => &mut tally.failed,
            };
            *count = count.saturating_add(1);
        });
        took
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.meters.over.fetch_add(1, Ordering::Relaxed);
        self.meters.with(&self.agent, |meter| {
            meter.running = meter.running.saturating_sub(1);
        });
    }
}
