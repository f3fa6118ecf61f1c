//! Whoever asks after a removal has returned sees nothing from before it, on real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tokio::task::JoinSet;

use super::{MINUTE, alone, before_shelf, options};
use crate::cache::Cache;

const ROUNDS: u64 = 2_000;

/// A number that is read at leisure: whoever reads it is overtaken by others.
#[derive(Debug, Serialize)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        std::thread::yield_now();
        Ok(Self(number))
    }
}

/// The source grows; after each step the key is removed or overwritten. Readers note how far that has come before they ask.
async fn race(cache: Cache, overwrite: bool) {
    let source = Arc::new(AtomicU64::new(0));
    let settled = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for reader in 0..4_u64 {
        let (cache, source, settled) = (cache.clone(), Arc::clone(&source), Arc::clone(&settled));
        tasks.spawn(async move {
            let mut asked = 0;
            while settled.load(Ordering::SeqCst) < ROUNDS {
                let at_least = settled.load(Ordering::SeqCst);
                let got = if (asked + reader).is_multiple_of(3) {
                    cache.get::<Number>("key").await
                } else {
                    let compute = async || {
                        let value = source.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok(Number(value))
                    };
                    Some(cache.get_or_compute("key", MINUTE, compute).await.unwrap())
                };
                assert!(
                    got.as_ref().is_none_or(|got| got.0 >= at_least),
                    "{got:?} after {at_least}"
                );
                asked += 1;
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.spawn(async move {
        for round in 1..=ROUNDS {
            source.store(round, Ordering::SeqCst);
            if overwrite {
                cache.put("key", &round, MINUTE).await.unwrap();
            } else {
                cache.remove("key").await.unwrap();
            }
            settled.store(round, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removals_in_memory() {
    race(alone().0, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overwriting_in_memory() {
    race(alone().0, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removals_before_a_store() {
    let (cache, shelf, _) = before_shelf();
    shelf.be_busy();
    race(cache, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removals_before_a_store_that_is_always_asked() {
    let (_, shelf, clock) = before_shelf();
    shelf.be_busy();
    race(
        Cache::new(options(&clock).shared(shelf).memory_ttl(Duration::ZERO)),
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overwriting_before_a_store() {
    let (cache, shelf, _) = before_shelf();
    shelf.be_busy();
    race(cache, true).await;
}
