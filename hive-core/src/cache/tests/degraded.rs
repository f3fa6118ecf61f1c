//! A shared store that is away, and what other processes see.

use std::time::Duration;

use hive_errors::ErrorKind;

use super::shelf::Mode;
use super::{MINUTE, before_shelf, options};
use crate::cache::Cache;
use crate::cache::owed::Owed;
use crate::limits::{
    CACHE_FAILURES_DEGRADED, CACHE_MEMORY_TTL, CACHE_OWED_MAX, CACHE_REPAY_BATCH, CACHE_STORE_TIMEOUT,
};

const OUTAGES: [Mode; 2] = [Mode::Away, Mode::Mute];

#[tokio::test]
async fn memory_believes_the_store_for_a_moment_only() {
    let (cache, shelf, clock) = before_shelf();
    let other = Cache::new(options(&clock).shared(shelf.clone()));
    cache.put("key", &1, MINUTE).await.unwrap();
    assert_eq!(other.get("key").await, Some(1));
    cache.put("key", &2, MINUTE).await.unwrap();
    let asked = shelf.calls();
    clock.advance(CACHE_MEMORY_TTL - Duration::from_nanos(1));
    assert_eq!(other.get("key").await, Some(1));
    assert_eq!(shelf.calls(), asked, "memory answered");
    clock.advance(Duration::from_nanos(1));
    assert_eq!(other.get("key").await, Some(2));
    cache.remove("key").await.unwrap();
    clock.advance(CACHE_MEMORY_TTL);
    assert_eq!(other.get::<u8>("key").await, None);
}

#[tokio::test]
async fn a_copy_does_not_outlive_what_it_was_copied_from() {
    let (cache, shelf, clock) = before_shelf();
    let other = Cache::new(options(&clock).shared(shelf.clone()).memory_ttl(MINUTE));
    cache.put("key", &1, MINUTE).await.unwrap();
    clock.advance(MINUTE / 2);
    assert_eq!(other.get("key").await, Some(1));
    clock.advance(MINUTE / 2);
    shelf.set(Mode::Away);
    assert_eq!(other.get::<u8>("key").await, None);
}

#[tokio::test]
async fn without_the_store_memory_serves_and_then_the_source() {
    for outage in OUTAGES {
        let (cache, shelf, clock) = before_shelf();
        cache.put("key", &1, MINUTE).await.unwrap();
        shelf.set(outage);
        clock.advance(MINUTE / 2);
        assert_eq!(cache.get("key").await, Some(1), "{outage:?}: memory");
        clock.advance(MINUTE / 2);
        let mut computed = 0;
        for _ in 0..10 {
            let compute = async || {
                computed += 1;
                Ok(2)
            };
            assert_eq!(cache.get_or_compute("key", MINUTE, compute).await.unwrap(), 2);
            clock.advance(CACHE_MEMORY_TTL);
        }
        assert_eq!(computed, 1, "{outage:?}: then memory again");
        assert!(cache.stats().degraded);

        shelf.set(Mode::Serves);
        clock.advance(CACHE_MEMORY_TTL);
        cache.get::<u8>("key").await;
        cache.put("other", &1, MINUTE).await.unwrap();
        assert!(!cache.stats().degraded, "{outage:?}: it is back");
    }
}

#[tokio::test]
async fn a_failure_among_successes_is_no_outage() {
    let (cache, shelf, _) = before_shelf();
    for _ in 0..10 * CACHE_FAILURES_DEGRADED {
        shelf.set(Mode::Away);
        assert_eq!(cache.get::<u8>("key").await, None);
        assert!(!cache.stats().degraded);
        shelf.set(Mode::Serves);
        assert_eq!(cache.get::<u8>("key").await, None);
    }
    assert_eq!(cache.stats().errors, u64::from(10 * CACHE_FAILURES_DEGRADED));
}

#[tokio::test]
async fn a_store_without_room_is_still_read() {
    let (cache, shelf, clock) = before_shelf();
    cache.put("old", &1, MINUTE).await.unwrap();
    shelf.set(Mode::Full);
    for number in 0..CACHE_FAILURES_DEGRADED {
        cache.put("new", &number, MINUTE).await.unwrap();
    }
    assert!(cache.stats().degraded);
    clock.advance(CACHE_MEMORY_TTL);
    let errors = cache.stats().errors;
    assert_eq!(cache.get("old").await, Some(1));
    assert_eq!(cache.stats().errors, errors);
}

#[tokio::test]
async fn what_was_removed_meanwhile_is_not_seen_again() {
    for outage in OUTAGES {
        let (cache, shelf, clock) = before_shelf();
        let other = Cache::new(options(&clock).shared(shelf.clone()));
        cache.put("key", &1, MINUTE).await.unwrap();
        shelf.set(outage);
        assert_eq!(cache.remove("key").await.unwrap_err().kind(), ErrorKind::Storage);
        assert_eq!(cache.get::<u8>("key").await, None);
        assert_eq!(cache.stats().owed, 1);
        shelf.set(Mode::Serves);
        // Any call that is answered pays.
        cache.get::<u8>("another").await;
        assert_eq!(cache.stats().owed, 0);
        assert_eq!(cache.get::<u8>("key").await, None);
        assert_eq!(other.get::<u8>("key").await, None);
    }
}

#[tokio::test]
async fn what_was_overwritten_meanwhile_is_not_seen_again() {
    for outage in [Mode::Away, Mode::Mute, Mode::Full] {
        let (cache, shelf, clock) = before_shelf();
        cache.put("key", &1, MINUTE).await.unwrap();
        shelf.set(outage);
        cache.put("key", &2, MINUTE).await.unwrap();
        assert_eq!(cache.get("key").await, Some(2));
        clock.advance(CACHE_MEMORY_TTL);
        let found = cache.get::<u8>("key").await;
        assert_ne!(found, Some(1), "{outage:?}");
        shelf.set(Mode::Serves);
        let got = cache.get_or_compute("key", MINUTE, async || Ok(3)).await.unwrap();
        assert_ne!(got, 1, "{outage:?}");
        assert_eq!(cache.stats().owed, 0);
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_is_owed() {
    let (cache, shelf, clock) = before_shelf();
    cache.put("key", &1, MINUTE).await.unwrap();
    shelf.set(Mode::Hangs);
    {
        let mut put = Box::pin(cache.put("key", &2, MINUTE));
        let waker = std::task::Waker::noop();
        assert!(
            put.as_mut()
                .poll(&mut std::task::Context::from_waker(waker))
                .is_pending()
        );
    }
    assert_eq!(cache.stats().owed, 1);
    shelf.set(Mode::Serves);
    clock.advance(CACHE_MEMORY_TTL);
    assert_eq!(cache.get::<u8>("key").await, None);
}

#[test]
fn a_debt_that_is_made_while_another_is_paid_stays() {
    let owed = Owed::default();
    assert!(owed.add("key"));
    let paying = owed.some();
    assert!(owed.add("key"));
    owed.paid(&paying);
    assert_eq!(owed.len(), 1);
    owed.paid(&owed.some());
    assert_eq!(owed.len(), 0);
}

#[tokio::test]
async fn debts_are_bounded_and_paid_bit_by_bit() {
    let (cache, shelf, _) = before_shelf();
    shelf.set(Mode::Away);
    for number in 0..CACHE_OWED_MAX + 10 {
        cache.remove(&number.to_string()).await.unwrap_err();
    }
    assert_eq!(cache.stats().owed, CACHE_OWED_MAX as u64);
    shelf.set(Mode::Serves);
    let calls = CACHE_OWED_MAX.div_ceil(CACHE_REPAY_BATCH);
    for _ in 0..calls {
        cache.get::<u8>("another").await;
    }
    assert_eq!(cache.stats().owed, 0);
}

#[tokio::test]
async fn a_store_that_forgets_about_its_deadline_is_not_waited_for() {
    let (cache, shelf, clock) = before_shelf();
    shelf.set(Mode::Hangs);
    let asked = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", MINUTE, async || Ok(1)).await }
    });
    // The look, then the offer.
    for _ in 0..2 {
        clock.until_sleepers(1).await;
        clock.advance(CACHE_STORE_TIMEOUT);
    }
    assert_eq!(asked.await.unwrap().unwrap(), 1);
    assert_eq!(cache.stats().errors, 2);
}
