//! Who comes into question.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::agent::Capability;
use crate::registry::{Listing, Record, Statistics, Status};

/// One version of an agent, in all processes together.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The agent's name.
    pub agent: String,
    /// Which version of it.
    pub version: Version,
    /// How it stands where it stands best.
    pub status: Status,
    /// In how many processes it takes tasks.
    pub instances: u32,
    /// How many of its tasks run, where it takes tasks.
    pub running: u64,
    /// How many may run at once, where it takes tasks.
    pub concurrency: u64,
    /// How many wait for the agent, in whatever version: those that are counted, up to
    /// [`QUEUE_SAMPLED`](crate::limits::QUEUE_SAMPLED), and what this process has given to it since.
    pub queued: u64,
    /// Its share where tasks are shared out by weight, the greatest of all processes.
    pub weight: u32,
    /// What it can do, in any of its processes.
    pub capabilities: BTreeSet<Capability>,
    /// The fields that it is at home in, in any of its processes.
    pub domains: BTreeSet<String>,
    /// How it has done of late.
    pub history: Statistics,
}

impl Candidate {
    /// An agent that is online in one process, does nothing and may run one task: a beginning for tests of a
    /// [`Router`](super::Router).
    pub fn new(agent: impl Into<String>, version: Version) -> Self {
        Self {
            agent: agent.into(),
            version,
            status: Status::Online,
            instances: 1,
            running: 0,
            concurrency: 1,
            queued: 0,
            weight: 1,
            capabilities: BTreeSet::new(),
            domains: BTreeSet::new(),
            history: Statistics::default(),
        }
    }

    /// Running and waiting tasks as a share of those that may run at once: 1 when all hands are full, 3 when there is work for
    /// two more rounds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of tasks are far below 2^52, and a score need not be exact"
    )]
    pub fn load(&self) -> f64 {
        self.running.saturating_add(self.queued) as f64 / self.concurrency.max(1) as f64
    }

    pub(super) fn key(&self) -> (&str, &Version) {
        (&self.agent, &self.version)
    }
}

/// What the processes offer, by agent and version. The waiting tasks of an agent are asked of `queued`; they wait for any of
/// its versions.
pub(crate) fn candidates(listings: &[Listing], queued: &BTreeMap<String, u64>) -> Vec<Candidate> {
    let mut found: BTreeMap<(&str, &Version), (Candidate, Record)> = BTreeMap::new();
    for listing in listings {
        let (candidate, record) = found
            .entry((&listing.agent, &listing.version))
            .or_insert_with(|| (absent(listing), Record::default()));
        candidate.status = candidate.status.min(listing.status);
        record.add(&listing.record);
        candidate.weight = candidate.weight.max(listing.weight);
        candidate.capabilities.extend(listing.capabilities.iter().cloned());
        candidate.domains.extend(listing.domains.iter().cloned());
        if listing.status.takes_tasks() {
            candidate.instances = candidate.instances.saturating_add(1);
            candidate.running = candidate.running.saturating_add(listing.running.into());
            candidate.concurrency = candidate.concurrency.saturating_add(listing.concurrency.into());
        }
    }
    let finish = |(mut candidate, record): (Candidate, Record)| {
        candidate.queued = queued.get(&candidate.agent).copied().unwrap_or(0);
        candidate.history = record.statistics();
        candidate
    };
    found.into_values().map(finish).collect()
}

/// Before anything that a process says of it is counted.
fn absent(listing: &Listing) -> Candidate {
    Candidate {
        status: Status::Offline,
        instances: 0,
        concurrency: 0,
        ..Candidate::new(&listing.agent, listing.version.clone())
    }
}
