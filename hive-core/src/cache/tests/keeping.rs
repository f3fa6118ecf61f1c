//! How long and how much is kept, and what for.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::ErrorKind;
use proptest::prelude::*;

use super::{MINUTE, alone, before_shelf, options};
use crate::cache::memory::{self, Memory};
use crate::cache::{Cache, Store, lifetime};
use crate::clock::{ManualClock, Timestamp};
use crate::limits::{CACHE_ENTRY_BYTES, CACHE_KEY_BYTES_MAX, CACHE_TTL_MAX};
use crate::rng::SeededRng;

#[tokio::test]
async fn a_value_ends_when_its_time_is_over() {
    let (cache, clock) = alone();
    cache.put("key", "value", MINUTE).await.unwrap();
    clock.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(cache.get("key").await, Some("value".to_owned()));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get::<String>("key").await, None);
    assert_eq!(cache.stats().memory_entries, 0, "the room is free again");
    assert_eq!(cache.stats().hit_ratio(), Some(0.5));
}

#[tokio::test]
async fn setting_the_wall_clock_changes_nothing() {
    let (cache, clock) = alone();
    cache.put("key", &1, MINUTE).await.unwrap();
    clock.set_wall(Timestamp::EPOCH + Duration::from_secs(86_400));
    assert_eq!(cache.get("key").await, Some(1));
}

#[tokio::test]
async fn values_kept_together_do_not_end_together() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let cache = Cache::new(options(&clock).jitter_percent(10).rng(Arc::new(SeededRng::new(3))));
    let keys: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    for key in &keys {
        cache.put(key, &1, Duration::from_secs(100)).await.unwrap();
    }
    let mut left = Vec::new();
    for second in 0..=100 {
        let mut count = 0;
        for key in &keys {
            count += usize::from(cache.get::<u8>(key).await.is_some());
        }
        left.push(count);
        if second < 100 {
            clock.advance(Duration::from_secs(1));
        }
    }
    assert_eq!(left[90], 1_000, "none ends before nine tenths of its time");
    assert_eq!(left[100], 0, "none outlives its time");
    assert!(left[91..100].windows(2).all(|pair| pair[0] > pair[1]), "{left:?}");
}

proptest! {
    #[test]
    fn a_lifetime_is_whole_and_bounded(nanos: u64, days in 0_u64..100) {
        let ttl = Duration::from_nanos(nanos) + Duration::from_secs(days * 86_400);
        let kept = lifetime(ttl);
        prop_assert!(kept >= Duration::from_millis(1) && kept <= CACHE_TTL_MAX);
        prop_assert_eq!(kept.subsec_nanos() % 1_000_000, 0);
        prop_assert!(kept >= ttl.min(CACHE_TTL_MAX) && kept <= ttl + Duration::from_millis(1));
    }
}

#[tokio::test]
async fn memory_stays_within_its_bytes() {
    let store = Memory::new(memory::Options::new().bytes(1 << 20));
    for number in 0..10_000 {
        let value = vec![0_u8; 1_000].into();
        store.put(&number.to_string(), value, MINUTE).await.unwrap();
    }
    let (entries, bytes) = store.usage();
    assert!(bytes <= 1 << 20, "{bytes}");
    assert!(
        entries > 500 && entries <= (1 << 20) / (1_000 + CACHE_ENTRY_BYTES as u64),
        "{entries}"
    );
}

#[tokio::test]
async fn memory_stays_within_its_entries() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let cache = Cache::new(options(&clock).memory(memory::Options::new().entries(100)));
    for number in 0..1_000 {
        cache.put(&number.to_string(), &number, MINUTE).await.unwrap();
    }
    let stats = cache.stats();
    assert_eq!(stats.memory_entries, 100);
    assert_eq!(stats.evictions, 900);
}

#[tokio::test]
async fn what_everybody_asks_for_outlasts_a_scan() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let cache = Cache::new(options(&clock).memory(memory::Options::new().entries(100)));
    cache.put("loved", &1, MINUTE).await.unwrap();
    for number in 0..10_000 {
        assert_eq!(cache.get("loved").await, Some(1), "after {number}");
        cache.put(&number.to_string(), &number, MINUTE).await.unwrap();
    }
}

#[tokio::test]
async fn regions_are_apart_whatever_the_keys_are() {
    let (cache, _) = alone();
    let (a, b) = (cache.region("a").unwrap(), cache.region("b").unwrap());
    let within = a.region("b").unwrap();
    let keys = ["", ":", "a:", "a/b:", "b", "/b:", "\0", "\r\nDEL x", "*", "ключ"];
    for (number, region) in [&cache, &a, &b, &within].into_iter().enumerate() {
        for key in keys {
            region.put(key, &format!("{number}{key}"), MINUTE).await.unwrap();
        }
    }
    for (number, region) in [&cache, &a, &b, &within].into_iter().enumerate() {
        for key in keys {
            assert_eq!(region.get(key).await, Some(format!("{number}{key}")));
        }
    }
    for name in ["", "a:b", "a/b"] {
        assert_eq!(cache.region(name).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_the_callers_mistake_and_no_failure() {
    let (cache, _, _) = before_shelf();
    let key = "x".repeat(CACHE_KEY_BYTES_MAX);
    assert_eq!(cache.get_or_compute(&key, MINUTE, async || Ok(1_u8)).await.unwrap(), 1);
    assert_eq!(cache.get::<u8>(&key).await, None);
    assert_eq!(
        cache.put(&key, &1, MINUTE).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(cache.remove(&key).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let stats = cache.stats();
    assert_eq!((stats.refused, stats.errors, stats.degraded), (1, 0, false));
}

#[tokio::test]
async fn a_value_that_is_refused_does_not_leave_the_old_one() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let shelf = super::Shelf::new(&clock);
    let memory = memory::Options::new().value_bytes_max(4);
    let cache = Cache::new(options(&clock).memory(memory).shared(shelf.clone()));
    cache.put("key", "ab", MINUTE).await.unwrap();
    let error = cache.put("key", "abc", MINUTE).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("bytes")),
        (ErrorKind::PayloadTooLarge, Some("5"))
    );
    assert_eq!(cache.get::<String>("key").await, None);
    cache.put("key", "ab", MINUTE).await.unwrap();
    cache.put("key", &None::<u8>, MINUTE).await.unwrap();
    assert_eq!(cache.get::<String>("key").await, None);
}

#[tokio::test]
async fn a_value_of_another_version_counts_as_none() {
    let (cache, shelf, clock) = before_shelf();
    let old = Cache::new(options(&clock).shared(shelf));
    old.put("key", "text", MINUTE).await.unwrap();
    assert_eq!(cache.get::<u8>("key").await, None);
    assert_eq!(cache.get_or_compute("key", MINUTE, async || Ok(7_u8)).await.unwrap(), 7);
    assert_eq!(cache.get("key").await, Some(7_u8));
    assert_eq!(cache.stats().computes, 1);
}
