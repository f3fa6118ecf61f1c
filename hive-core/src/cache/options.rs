use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Store, memory};
use crate::clock::{Clock, SystemClock};
use crate::limits::{CACHE_COMPUTE_TIMEOUT, CACHE_JITTER_PERCENT, CACHE_MEMORY_TTL};
use crate::rng::{Rng, SystemRng};

/// How a [`Cache`](super::Cache) is made.
#[derive(Clone)]
pub struct Options {
    pub(super) name: &'static str,
    pub(super) memory: memory::Options,
    pub(super) shared: Option<Arc<dyn Store>>,
    pub(super) memory_ttl: Duration,
    pub(super) jitter_percent: u8,
    pub(super) compute_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
}

impl Options {
    /// A cache in memory alone. The name stands in its metrics and in the log.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            memory: memory::Options::new(),
            shared: None,
            memory_ttl: CACHE_MEMORY_TTL,
            jitter_percent: CACHE_JITTER_PERCENT,
            compute_timeout: CACHE_COMPUTE_TIMEOUT,
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
        }
    }

    /// How much is kept in memory. The clock in there is not used; [`Options::clock`] is.
    #[must_use]
    pub fn memory(mut self, memory: memory::Options) -> Self {
        self.memory = memory;
        self
    }

    /// A store behind the memory that processes share. Those who share it use the same types under the same keys.
    #[must_use]
    pub fn shared(mut self, store: impl Store) -> Self {
        self.shared = Some(Arc::new(store));
        self
    }

    /// How long memory believes what the shared store said; 1 s unless set. Without a shared store it means nothing.
    #[must_use]
    pub fn memory_ttl(mut self, ttl: Duration) -> Self {
        self.memory_ttl = ttl;
        self
    }

    /// By how much of its time a value may end earlier, at random, so that those kept together do not end together: from 0
    /// to 100, 10 unless set.
    #[must_use]
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent.min(100);
        self
    }

    /// How long the source may take, and how long a caller waits for another that is asking it; 150 s unless set.
    #[must_use]
    pub fn compute_timeout(mut self, timeout: Duration) -> Self {
        self.compute_timeout = timeout;
        self
    }

    /// The clock of all waits and of the memory; the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where the jitter comes from; the system unless set.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("memory", &self.memory)
            .field("shared", &self.shared)
            .field("memory_ttl", &self.memory_ttl)
            .field("jitter_percent", &self.jitter_percent)
            .field("compute_timeout", &self.compute_timeout)
            .finish_non_exhaustive()
    }
}
