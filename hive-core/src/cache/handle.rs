use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result, ResultExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::flight::{Flights, Lead, Outcome, Seat, shared};
use super::layers::{Layers, Looked};
use super::memory::Memory;
use super::shared::Shared;
use super::stats::Meters;
use super::{Options, Stats, check_key, check_value, key, lifetime};
use crate::clock::{Clock, timeout};
use crate::rng::Rng;

/// A cache of values of any type that has a JSON form. Cheap to clone; clones are the same cache.
///
/// Every key stands in the handle's [region](Cache::region). A value that does not decode as the type asked for, because a
/// program of another version put it there, counts as none.
#[derive(Clone)]
pub struct Cache {
    core: Arc<Core>,
    region: Arc<str>,
}

struct Core {
    name: &'static str,
    layers: Layers,
    flights: Flights,
    meters: Arc<Meters>,
    jitter_percent: u8,
    compute_timeout: Duration,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Cache {
    /// An empty cache in memory, before its shared store if it has one. Does nothing by itself.
    pub fn new(options: Options) -> Self {
        let meters = Arc::new(Meters::new(options.name));
        let memory = options.memory.clock(Arc::clone(&options.clock));
        let shared = options
            .shared
            .map(|store| Shared::new(options.name, store, Arc::clone(&options.clock), Arc::clone(&meters)));
        let layers = Layers {
            memory: Memory::counting(memory, Arc::clone(&meters.evictions)),
            shared,
            memory_ttl: options.memory_ttl,
        };
        Self {
            core: Arc::new(Core {
                name: options.name,
                layers,
                flights: Flights::default(),
                meters,
                jitter_percent: options.jitter_percent,
                compute_timeout: options.compute_timeout,
                clock: options.clock,
                rng: options.rng,
            }),
            region: "".into(),
        }
    }

    /// The same cache with keys of its own, within this one's. A version in the name, once changed, leaves behind all that
    /// was under the old one; a tenant in the name keeps tenants apart, whatever their keys are.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with the field `region` when the name is empty or has a `:` or `/` in it.
    pub fn region(&self, name: &str) -> Result<Self> {
        Ok(Self {
            core: Arc::clone(&self.core),
            region: key::region(&self.region, name)?.into(),
        })
    }

    /// The value under this key, if there is one. Never asks the source, and never waits for those who do.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let key = key::full(&self.region, key);
        let core = &*self.core;
        if let Some((value, _)) = core.fresh(&key) {
            return Some(value);
        }
        let found = match core.flights.board(&key) {
            Seat::Leader(lead) => core.look(&key, Some(&lead)).await,
            // What is found beside another caller's flight is not kept: only a flight notices that its key is removed.
            Seat::Follower(_) => core.look(&key, None).await,
        };
        core.count(found.is_some());
        found.map(|(value, _)| value)
    }

    /// The value under this key; when there is none, `compute` asks the source and the answer is kept for `ttl`.
    ///
    /// However many ask for a key at once, in this process, one of them computes and the others get what it got: the value
    /// as it decodes from JSON, or an error with the same kind, hint and `retry_after`, and the original as its cause. A
    /// panic reaches the one who computes; the others get [`ErrorKind::Panic`]. Errors are not kept, and neither is a value
    /// whose JSON is `null`, such as `None`: the next caller asks again. Nor is one that is larger than the limit,
    /// or whose key was removed or overwritten since it was asked for.
    ///
    /// Each caller's own deadline is its own: wrap the call in [`timeout`].
    ///
    /// # Errors
    /// What `compute` returns; [`ErrorKind::Timeout`] when it takes longer than
    /// [`compute_timeout`](Options::compute_timeout). Never one of the cache's own.
    ///
    /// # Cancel safety
    /// When the future is dropped while it computes, the computation is dropped, and the next caller that waits computes with
    /// its own `compute`. A caller whose future is kept but not polled is waited for until the same time is over.
    pub async fn get_or_compute<T, F>(&self, key: &str, ttl: Duration, compute: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce() -> Result<T>,
    {
        let key = key::full(&self.region, key);
        let core = &*self.core;
        if let Some((value, _)) = core.fresh(&key) {
            return Ok(value);
        }
        let mut missed = false;
        loop {
            let mut follow = match core.flights.board(&key) {
                Seat::Leader(lead) => {
                    if let Some((value, bytes)) = core.look(&key, Some(&lead)).await {
                        if !missed {
                            core.count(true);
                        }
                        lead.tell(Outcome::Value(bytes));
                        return Ok(value);
                    }
                    if !missed {
                        core.count(false);
                    }
                    return core.compute(lead, &key, ttl, compute).await;
                }
                Seat::Follower(follow) => follow,
            };
            if !missed {
                core.count(false);
                missed = true;
            }
            match timeout(&*core.clock, core.compute_timeout, follow.landed()).await {
                Ok(Outcome::Value(bytes)) => {
                    if let Some(value) = core.decode(&bytes) {
                        core.meters.coalesced.add(1);
                        return Ok(value);
                    }
                    // Somebody else takes this key for a value of another type.
                    return core.ask(compute).await;
                }
                Ok(Outcome::Failed(error)) => {
                    core.meters.coalesced.add(1);
                    return Err(shared(error));
                }
                // Without a form to hand it on in, each has to ask, as it would without a cache.
                Ok(Outcome::Unshareable) => return core.ask(compute).await,
                Ok(Outcome::Abandoned | Outcome::Underway) => {}
                // The leader is not even polled, or its own deadline would have ended it by now.
                Err(_) => core.flights.depose(&key, &follow.flight),
            }
        }
    }

    /// Keeps the value for `ttl`, in place of what was there. A value whose JSON is `null` removes what was there.
    ///
    /// That the shared store is away is no error: memory keeps the value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the key does not fit or the value has no JSON form;
    /// [`ErrorKind::PayloadTooLarge`] with the fields `bytes` and `limit`. What was there before is removed then, because it
    /// is out of date.
    ///
    /// # Cancel safety
    /// When the future is dropped, the old value, the new one or none may be there.
    pub async fn put<T: Serialize + ?Sized>(&self, key: &str, value: &T, ttl: Duration) -> Result<()> {
        let key = key::full(&self.region, key);
        check_key(&key)?;
        let core = &*self.core;
        let bytes = match encode(value).and_then(|bytes| core.fits(&bytes).map(|()| bytes)) {
            Ok(bytes) if *bytes != *NULL => bytes,
            unfit => {
                // That the shared store could not be told is remembered there.
                core.remove(&key).await.ok();
                return unfit.map(drop).inspect_err(|_| core.meters.refused.add(1));
            }
        };
        let ttl = core.jittered(ttl);
        core.layers.memory.forget(&key);
        core.doom(&key).await;
        core.layers.overwrite(&key, Arc::clone(&bytes), ttl).await;
        // Those who asked the shared store before it had the new value must not keep the old one in memory.
        core.doom(&key).await;
        core.layers.keep(&key, bytes, ttl);
        // Who looked into memory just before has found the old value: those who come now must not be told it.
        core.doom(&key).await;
        Ok(())
    }

    /// Removes what is under this key. What is being computed for it at the moment is handed to those who wait, and not kept.
    ///
    /// # Errors
    /// When the shared store could not be told. The value is gone from memory then and this process does not see it again;
    /// other processes may until its time is over. [`ErrorKind::InvalidInput`] when the key does not fit.
    ///
    /// # Cancel safety
    /// When the future is dropped, the value may still be there.
    pub async fn remove(&self, key: &str) -> Result<()> {
        let key = key::full(&self.region, key);
        check_key(&key)?;
        self.core.remove(&key).await
    }

    /// How the cache has done, all regions together.
    pub fn stats(&self) -> Stats {
        let Core { layers, meters, .. } = &*self.core;
        let (memory_entries, memory_bytes) = layers.memory.usage();
        Stats {
            hits: meters.hits.get(),
            misses: meters.misses.get(),
            computes: meters.computes.get(),
            coalesced: meters.coalesced.get(),
            errors: meters.errors.get(),
            refused: meters.refused.get(),
            evictions: meters.evictions.get(),
            memory_entries,
            memory_bytes,
            owed: layers.shared.as_ref().map_or(0, |shared| shared.owed() as u64),
            degraded: layers.shared.as_ref().is_some_and(Shared::is_degraded),
        }
    }
}

#[cfg(test)]
impl Cache {
    /// How many keys are being asked for.
    pub(super) fn underway(&self) -> usize {
        self.core.flights.count()
    }
}

/// A value and the JSON it was read from.
type Read<T> = (T, Arc<[u8]>);

impl Core {
    /// What memory believes. Counts only what it finds: the search may go on.
    fn fresh<T: DeserializeOwned>(&self, key: &str) -> Option<Read<T>> {
        let bytes = self.layers.memory.fresh(key)?;
        let value = self.decode(&bytes)?;
        self.count(true);
        Some((value, bytes))
    }

    /// Looks into all layers, and keeps what it finds in memory on behalf of the flight.
    async fn look<T: DeserializeOwned>(&self, key: &str, lead: Option<&Lead<'_>>) -> Option<Read<T>> {
        check_key(key).ok()?;
        // Again, because the flight before this one may have just ended.
        let believed = self.layers.memory.fresh(key).map(Looked::Memory);
        let looked = match believed {
            Some(looked) => looked,
            None => self.layers.look(key).await,
        };
        let bytes = match looked {
            Looked::Shared(bytes, ttl) => {
                if let Some(lead) = lead
                    && self.fits(&bytes).is_ok()
                    && let Some(_turn) = lead.storing().await
                {
                    self.layers.keep(key, Arc::clone(&bytes), ttl);
                }
                bytes
            }
            Looked::Memory(bytes) => bytes,
            Looked::Nothing => return None,
        };
        Some((self.decode(&bytes)?, bytes))
    }

    /// Asks the source on behalf of the flight and keeps the answer.
    async fn compute<T, F>(&self, lead: Lead<'_>, key: &str, ttl: Duration, compute: F) -> Result<T>
    where
        T: Serialize,
        F: AsyncFnOnce() -> Result<T>,
    {
        let value = match self.ask(compute).await {
            Ok(value) => value,
            Err(error) => return Err(lead.fail(error)),
        };
        let bytes = match encode(&value) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.meters.refused.add(1);
                tracing::debug!(cache = self.name, %error, "a value is not kept");
                lead.tell(Outcome::Unshareable);
                return Ok(value);
            }
        };
        if *bytes == *NULL {
            lead.tell(Outcome::Value(bytes));
            return Ok(value);
        }
        if let Err(error) = check_key(key).and_then(|()| self.fits(&bytes)) {
            self.meters.refused.add(1);
            tracing::debug!(cache = self.name, %error, "a value is not kept");
            lead.tell(Outcome::Value(bytes));
            return Ok(value);
        }
        let ttl = self.jittered(ttl);
        let turn = lead.storing().await;
        if turn.is_some() {
            self.layers.keep(key, Arc::clone(&bytes), ttl);
        }
        // Before the shared store is told, which may take a while.
        lead.tell(Outcome::Value(Arc::clone(&bytes)));
        if turn.is_some() {
            self.layers.share(key, bytes, ttl).await;
        }
        Ok(value)
    }

    /// Asks the source.
    async fn ask<T>(&self, compute: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        self.meters.computes.add(1);
        timeout(&*self.clock, self.compute_timeout, compute())
            .await
            .context("failed to compute a value for the cache")?
    }

    async fn remove(&self, key: &str) -> Result<()> {
        // First, so that a caller who gives up does not leave it there.
        self.layers.memory.forget(key);
        self.doom(key).await;
        let removed = self.layers.remove(key).await;
        // Those who asked the shared store before it was told must not keep what they got.
        self.doom(key).await;
        self.layers.memory.forget(key);
        // Nor may those who come now be told by one who found it in memory until this moment.
        self.doom(key).await;
        removed
    }

    async fn doom(&self, key: &str) {
        self.flights.doom(key, &*self.clock).await;
    }

    fn fits(&self, bytes: &[u8]) -> Result<()> {
        check_value(bytes.len(), self.layers.memory.value_bytes_max())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Option<T> {
        serde_json::from_slice(bytes)
            .inspect_err(|error| {
                self.meters.refused.add(1);
                tracing::debug!(cache = self.name, %error, "a value does not fit the type asked for");
            })
            .ok()
    }

    /// `ttl` less a random part of it, so that what was kept together does not end together; never more than was asked for.
    fn jittered(&self, ttl: Duration) -> Duration {
        let ttl = lifetime(ttl);
        let cut = ttl.as_nanos() * u128::from(self.jitter_percent) * u128::from(self.rng.next_u64());
        let cut = (cut / 100) >> u64::BITS;
        lifetime(ttl.saturating_sub(Duration::from_nanos(u64::try_from(cut).unwrap_or(u64::MAX))))
    }

    fn count(&self, hit: bool) {
        let meter = if hit { &self.meters.hits } else { &self.meters.misses };
        meter.add(1);
    }
}

/// What has this JSON is as good as nothing, and not kept.
const NULL: &[u8] = b"null";

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Arc<[u8]>> {
    let bytes = serde_json::to_vec(value).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, "the value has no JSON form")
            .with("type", std::any::type_name::<T>())
            .with_source(source)
    })?;
    Ok(bytes.into())
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.core.name)
            .field("region", &self.region)
            .field("memory", &self.core.layers.memory)
            .finish_non_exhaustive()
    }
}
