//! What a cache counts, for whoever holds it and for the `metrics` façade.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, counter, gauge};

/// How a cache has done since it was made.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Lookups that found a value, in memory or in the shared store.
    pub hits: u64,
    /// Lookups that did not, those included that then waited for another caller's value.
    pub misses: u64,
    /// How often the source was asked.
    pub computes: u64,
    /// Callers that got what another caller had found or computed at the time.
    pub coalesced: u64,
    /// Calls of the shared store that failed.
    pub errors: u64,
    /// Values that were not kept because they, or their keys, do not fit, and values that could not be read.
    pub refused: u64,
    /// Values that had to leave memory for lack of room, or were not let in.
    pub evictions: u64,
    /// Entries in memory, those whose time is over and that nobody has looked at since included.
    pub memory_entries: u64,
    /// What they take, in bytes.
    pub memory_bytes: u64,
    /// Keys whose value in the shared store is known to be out of date and is still to be removed.
    pub owed: u64,
    /// Whether the cache works without its shared store, because the last calls of it failed.
    pub degraded: bool,
}

impl Stats {
    /// What part of the lookups found a value, from 0 to 1; `None` before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }
}

/// One number that only grows.
pub(super) struct Meter {
    count: AtomicU64,
    out: Counter,
}

impl Meter {
    /// One that only this process sees.
    pub(super) fn silent() -> Self {
        Self {
            count: AtomicU64::new(0),
            out: Counter::noop(),
        }
    }

    fn out(counter: Counter) -> Self {
        Self {
            out: counter,
            ..Self::silent()
        }
    }

    pub(super) fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
        self.out.increment(count);
    }

    pub(super) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// All the numbers of one cache.
pub(super) struct Meters {
    pub(super) hits: Meter,
    pub(super) misses: Meter,
    pub(super) computes: Meter,
    pub(super) coalesced: Meter,
    pub(super) errors: Meter,
    pub(super) refused: Meter,
    /// Apart, because the memory store holds on to it.
    pub(super) evictions: Arc<Meter>,
    pub(super) degraded: Gauge,
}

impl Meters {
    pub(super) fn new(cache: &'static str) -> Self {
        Self {
            hits: Meter::out(counter!("hive_cache_hits_total", "cache" => cache)),
            misses: Meter::out(counter!("hive_cache_misses_total", "cache" => cache)),
            computes: Meter::out(counter!("hive_cache_computes_total", "cache" => cache)),
            coalesced: Meter::out(counter!("hive_cache_coalesced_total", "cache" => cache)),
            errors: Meter::out(counter!("hive_cache_errors_total", "cache" => cache)),
            refused: Meter::out(counter!("hive_cache_refused_total", "cache" => cache)),
            evictions: Arc::new(Meter::out(counter!("hive_cache_evictions_total", "cache" => cache))),
            degraded: gauge!("hive_cache_degraded", "cache" => cache),
        }
    }
}
