//! Places for runs: a slot of the process each and, where the agent has a limit of its own, one of the agent's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hive_core::clock::Clock;

use super::slots::{Reserved, Slot, Slots, Usage};
use crate::agent::AnyAgent;

/// How many runs may go on at once in this process: of all agents together, and of those that have a limit.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Slots>,
    /// Those that have a limit.
    agents: BTreeMap<String, Arc<Slots>>,
    /// Whether the last round could have claimed more, had there been more places.
    short: AtomicBool,
}

impl Places {
    pub(crate) fn new<'a>(
        size: usize,
        agents: impl IntoIterator<Item = &'a AnyAgent>,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Self> {
        let limited = |agent: &AnyAgent| {
            let slots = Slots::new(agent.concurrency()?, Arc::clone(clock));
            Some((agent.name().to_owned(), slots))
        };
        Arc::new(Self {
            all: Slots::new(size, Arc::clone(clock)),
            agents: agents.into_iter().filter_map(limited).collect(),
            short: AtomicBool::new(false),
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.all.size()
    }

    /// From here on there are so many for all agents together. The limits of agents stay.
    pub(crate) fn resize(&self, size: usize) {
        self.all.resize(size);
    }

    /// A round is over that could, or could not, have claimed more, had there been more places.
    pub(crate) fn note_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// Whether there may be something that waits for a place. What is ready otherwise is held back by something else.
    pub(crate) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// How the slots of the process are used.
    pub(crate) fn usage(&self) -> Usage {
        self.all.usage()
    }

    /// How many runs of the agent may go on at once, were nobody else there.
    pub(crate) fn most_of(&self, agent: &str) -> usize {
        let own = self.agents.get(agent).map_or(usize::MAX, |slots| slots.size());
        own.min(self.size())
    }

    /// How many more runs of the agent its own limit allows; `None` when it has none.
    pub(crate) fn left_of(&self, agent: &str) -> Option<usize> {
        let usage = self.agents.get(agent)?.usage();
        // Those that come back from a wait go first.
        Some(usage.size.saturating_sub(usage.busy + usage.waiting))
    }

    /// Sets up to `most` places apart.
    pub(crate) fn reserve(&self, most: usize) -> Reservation {
        let all = self.all.reserve(most);
        let agents = self
            .agents
            .iter()
            .map(|(agent, slots)| (agent.clone(), slots.reserve(all.count())));
        Reservation {
            agents: agents.collect(),
            all,
        }
    }

    /// Waits for a place, for a run of the agent.
    ///
    /// # Cancel safety
    /// Dropped, the place in the line is lost and nothing else.
    pub(crate) async fn acquire(&self, agent: &str) -> Place {
        // In this order, so that nobody keeps a slot of the process from others while the agent's own are taken.
        let own = match self.agents.get(agent) {
            Some(slots) => Some(slots.acquire().await),
            None => None,
        };
        Place {
            _all: self.all.acquire().await,
            _own: own,
        }
    }
}

/// Places that are set apart. Those that are not taken are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    all: Reserved,
    agents: BTreeMap<String, Reserved>,
}

impl Reservation {
    /// How many in all.
    pub(crate) fn total(&self) -> usize {
        self.all.count()
    }

    /// How many for runs of the agent.
    pub(crate) fn of(&self, agent: &str) -> usize {
        let own = self.agents.get(agent).map_or(usize::MAX, Reserved::count);
        own.min(self.total())
    }

    /// One of them, for a run of the agent.
    pub(crate) fn take(&mut self, agent: &str) -> Option<Place> {
        if self.of(agent) == 0 {
            return None;
        }
        Some(Place {
            _own: self.agents.get_mut(agent).and_then(Reserved::take),
            _all: self.all.take()?,
        })
    }
}

/// Where a run goes on, until this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Place {
    _all: Slot,
    _own: Option<Slot>,
}
