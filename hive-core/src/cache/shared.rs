//! The shared store, watched: deadlines, failures counted, debts paid.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Report, Result};

use super::health::Side;
use super::owed::{Debt, Owed};
use super::stats::Meters;
use super::{Found, Store};
use crate::clock::{Clock, timeout};
use crate::limits::CACHE_STORE_TIMEOUT;

pub(super) struct Shared {
    cache: &'static str,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    owed: Owed,
    /// Held by whoever pays debts: one at a time is enough.
    paying: tokio::sync::Mutex<()>,
    reads: Side,
    writes: Side,
}

/// The store did not answer. Why has been counted and logged.
pub(super) struct Away;

impl Shared {
    pub(super) fn new(cache: &'static str, store: Arc<dyn Store>, clock: Arc<dyn Clock>, meters: Arc<Meters>) -> Self {
        Self {
            cache,
            store,
            clock,
            meters,
            owed: Owed::default(),
            paying: tokio::sync::Mutex::new(()),
            reads: Side::default(),
            writes: Side::default(),
        }
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.reads.is_down() || self.writes.is_down()
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// What the store has under this key; nothing when what it has is out of date.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Found>, Away> {
        if let Some(debt) = self.owed.find(key) {
            self.pay(&[debt]).await.map_err(|_| Away)?;
            return Ok(None);
        }
        let found = timeout(&*self.clock, CACHE_STORE_TIMEOUT, self.store.get(key)).await;
        match found.flatten() {
            Ok(found) => {
                self.answered(&self.reads, "reads");
                self.pay_some().await;
                // It may have come to be owed while the store was asked.
                Ok(found.filter(|_| self.owed.find(key).is_none()))
            }
            Err(error) => {
                self.failed(&self.reads, "reads", &error);
                Err(Away)
            }
        }
    }

    /// Puts the value there, if the store can be reached.
    pub(super) async fn put(&self, key: &str, value: Arc<[u8]>, ttl: Duration) -> Result<(), Away> {
        let before = self.owed.find(key);
        let put = timeout(&*self.clock, CACHE_STORE_TIMEOUT, self.store.put(key, value, ttl)).await;
        match put.flatten() {
            Ok(()) => {
                // Only the debt of before this call: one made meanwhile is about what was put there since.
                self.owed.paid(before.as_slice());
                self.answered(&self.writes, "writes");
                self.pay_some().await;
                Ok(())
            }
            Err(error) => {
                self.failed(&self.writes, "writes", &error);
                Err(Away)
            }
        }
    }

    /// Puts the value there in place of one that is out of date. When that fails, whatever is there is not believed.
    pub(super) async fn overwrite(&self, key: &str, value: Arc<[u8]>, ttl: Duration) {
        let owing = Owing::new(self, key);
        if self.put(key, value, ttl).await.is_ok() {
            owing.settled();
        }
    }

    /// Removes what is there. When that fails, it counts as out of date.
    pub(super) async fn remove(&self, key: &str) -> Result<()> {
        let before = self.owed.find(key);
        let owing = Owing::new(self, key);
        self.removed(&[key]).await?;
        owing.settled();
        self.owed.paid(before.as_slice());
        Ok(())
    }

    /// Removes some of what is out of date, if anything is: the store has just answered.
    async fn pay_some(&self) {
        let debts = self.owed.some();
        if debts.is_empty() {
            return;
        }
        let Ok(_turn) = self.paying.try_lock() else { return };
        // A failure has been counted, and the debts stand.
        self.pay(&debts).await.ok();
    }

    async fn pay(&self, debts: &[Debt]) -> Result<()> {
        let keys: Vec<&str> = debts.iter().map(|(key, _)| &**key).collect();
        self.removed(&keys).await?;
        self.owed.paid(debts);
        Ok(())
    }

    async fn removed(&self, keys: &[&str]) -> Result<()> {
        let removed = timeout(&*self.clock, CACHE_STORE_TIMEOUT, self.store.remove(keys)).await;
        removed
            .flatten()
            .inspect(|()| self.answered(&self.writes, "writes"))
            .inspect_err(|error| self.failed(&self.writes, "writes", error))
    }

    fn answered(&self, side: &Side, what: &'static str) {
        if side.succeeded() {
            self.show();
            tracing::info!(
                cache = self.cache,
                store = self.store.name(),
                what,
                "the cache reaches its shared store again"
            );
        }
    }

    fn failed(&self, side: &Side, what: &'static str, error: &Error) {
        self.meters.errors.add(1);
        // What is said of one key or value says nothing about the store.
        let about_the_call = matches!(
            error.kind(),
            ErrorKind::InvalidInput | ErrorKind::PayloadTooLarge | ErrorKind::Conflict
        );
        if !about_the_call && side.failed() {
            self.show();
            tracing::warn!(
                cache = self.cache,
                store = self.store.name(),
                what,
                error = %Report::new(error),
                "the cache goes on without its shared store"
            );
        }
    }

    fn show(&self) {
        self.meters.degraded.set(if self.is_degraded() { 1.0 } else { 0.0 });
    }
}

/// A write under way. Unless it is settled, also when its future is dropped, the key is owed.
struct Owing<'a> {
    shared: &'a Shared,
    key: &'a str,
    settled: bool,
}

impl<'a> Owing<'a> {
    fn new(shared: &'a Shared, key: &'a str) -> Self {
        Self {
            shared,
            key,
            settled: false,
        }
    }

    fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Owing<'_> {
    fn drop(&mut self) {
        if !self.settled && !self.shared.owed.add(self.key) {
            self.shared.meters.errors.add(1);
            tracing::warn!(
                cache = self.shared.cache,
                "too many keys are out of date in the shared store to remember them all; values may be seen again there"
            );
        }
    }
}
