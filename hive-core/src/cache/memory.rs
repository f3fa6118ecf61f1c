//! A store in this process: bounded in bytes and entries, by the process's own clock.
//!
//! When it is full, what is asked for least has to go (TinyLFU), so that a scan over many keys does not drive out what
//! everybody asks for. A value whose time is over is never given out; the room it takes is used again when it is looked
//! at or has to go for another.
//!
//! ```
//! use std::time::Duration;
//! use hive_core::cache::{Store, memory::{Memory, Options}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
//! let store = Memory::new(Options::new().bytes(8 << 20).entries(10_000));
//! store.put("key", b"value".as_slice().into(), Duration::from_secs(5)).await?;
//! assert_eq!(store.get("key").await?.unwrap().value[..], *b"value");
//! # Ok(()) }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hive_errors::Result;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;

use super::stats::Meter;
use super::{Found, Store, check_key, check_value, lifetime};
use crate::clock::{Clock, SystemClock};
use crate::limits::{CACHE_ENTRY_BYTES, CACHE_MEMORY_BYTES, CACHE_VALUE_BYTES_DEFAULT, CACHE_VALUE_BYTES_MAX};

/// How much a [`Memory`] holds.
#[derive(Clone, Debug)]
pub struct Options {
    bytes: u64,
    entries: Option<u64>,
    value_bytes_max: usize,
    clock: Arc<dyn Clock>,
}

impl Options {
    /// 64 MiB, any number of entries, values up to 1 MiB, the system's clock.
    pub fn new() -> Self {
        Self {
            bytes: CACHE_MEMORY_BYTES,
            entries: None,
            value_bytes_max: CACHE_VALUE_BYTES_DEFAULT,
            clock: Arc::new(SystemClock),
        }
    }

    /// How many bytes keys and values may take in all, with [`CACHE_ENTRY_BYTES`] more for each; 64 MiB unless set.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// How many entries there may be, 0 meaning 1; as many as the bytes allow unless set.
    #[must_use]
    pub fn entries(mut self, count: u64) -> Self {
        self.entries = Some(count.max(1));
        self
    }

    /// The largest value in bytes, at most [`CACHE_VALUE_BYTES_MAX`]; 1 MiB unless set.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes.min(CACHE_VALUE_BYTES_MAX);
        self
    }

    /// The clock by which values end; the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Values in the memory of this process. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Memory {
    entries: moka::sync::Cache<Box<str>, Entry>,
    value_bytes_max: usize,
    clock: Arc<dyn Clock>,
}

/// Times are by the monotonic clock: setting the wall clock must neither revive a value nor end it.
#[derive(Clone)]
struct Entry {
    value: Arc<[u8]>,
    /// Until then the value is believed without asking whoever else may know better.
    fresh_until: Duration,
    until: Duration,
}

impl Memory {
    /// An empty store.
    pub fn new(options: Options) -> Self {
        Self::counting(options, Arc::new(Meter::silent()))
    }

    /// An empty store that counts here what had to go for lack of room.
    pub(super) fn counting(options: Options, evictions: Arc<Meter>) -> Self {
        // One bound serves for both: an entry weighs at least its share, so that no more than `entries` fit.
        let (share, capacity) = match options.entries {
            Some(count) => {
                let share = (options.bytes / count).clamp(1, u64::from(u32::MAX));
                (share, share.saturating_mul(count).min(options.bytes))
            }
            None => (0, options.bytes),
        };
        let entries = moka::sync::Cache::<Box<str>, Entry>::builder()
            .max_capacity(capacity)
            .weigher(move |key, entry| {
                let bytes = key.len() + entry.value.len() + CACHE_ENTRY_BYTES;
                u32::try_from((bytes as u64).max(share)).unwrap_or(u32::MAX)
            })
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.add(1);
                }
            })
            .build();
        Self {
            entries,
            value_bytes_max: options.value_bytes_max,
            clock: options.clock,
        }
    }

    /// How many entries there are and how many bytes they take, those whose time is over and that nobody has looked at
    /// since included.
    pub fn usage(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    pub(super) fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// Keeps a value for `ttl` that is to be believed for `fresh` only. The key and the value fit.
    pub(super) fn keep(&self, key: &str, value: Arc<[u8]>, fresh: Duration, ttl: Duration) {
        let now = self.clock.monotonic();
        let entry = Entry {
            value,
            fresh_until: now.saturating_add(fresh.min(ttl)),
            until: now.saturating_add(ttl),
        };
        self.entries.insert(key.into(), entry);
    }

    /// The value under this key while it is to be believed.
    pub(super) fn fresh(&self, key: &str) -> Option<Arc<[u8]>> {
        let entry = self.entries.get(key)?;
        (self.clock.monotonic() < entry.fresh_until).then_some(entry.value)
    }

    /// The value under this key until its time is over, and how much of that is left.
    pub(super) fn alive(&self, key: &str) -> Option<(Arc<[u8]>, Duration)> {
        let entry = self.entries.get(key)?;
        let now = self.clock.monotonic();
        if now < entry.until {
            return Some((entry.value, entry.until.saturating_sub(now)));
        }
        // Another thread may have put a new value there since; that one stays.
        self.entries.entry(key.into()).and_compute_with(|found| match found {
            Some(found) if found.value().until <= now => Op::Remove,
            Some(_) | None => Op::Nop,
        });
        None
    }

    pub(super) fn forget(&self, key: &str) {
        self.entries.invalidate(key);
    }
}

#[async_trait]
impl Store for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>> {
        check_key(key)?;
        Ok(self.alive(key).map(|(value, left)| Found::new(value, Some(left))))
    }

    async fn put(&self, key: &str, value: Arc<[u8]>, ttl: Duration) -> Result<()> {
        check_key(key)?;
        check_value(value.len(), self.value_bytes_max)?;
        let ttl = lifetime(ttl);
        self.keep(key, value, ttl, ttl);
        Ok(())
    }

    async fn remove(&self, keys: &[&str]) -> Result<()> {
        keys.iter().try_for_each(|key| check_key(key))?;
        keys.iter().for_each(|key| self.forget(key));
        Ok(())
    }
}

impl fmt::Debug for Memory {
    /// Sizes only: values may hold what must not stand in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("entries", &self.entries.entry_count())
            .field("bytes", &self.entries.weighted_size())
            .finish_non_exhaustive()
    }
}
