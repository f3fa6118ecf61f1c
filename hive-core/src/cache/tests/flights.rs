//! Many callers, one computation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{MINUTE, alone, before_shelf, options};
use crate::cache::{Cache, memory};
use crate::clock::{ManualClock, Timestamp, timeout};

/// Waits until so many lookups have found nothing, which is when so many callers are in the flight.
async fn until_missed(cache: &Cache, count: u64) {
    while cache.stats().misses < count {
        tokio::task::yield_now().await;
    }
}

/// Begins so many callers that compute the same once all of them are there.
fn crowd(cache: &Cache, count: u64, outcome: fn() -> Result<u64>) -> JoinSet<Result<u64>> {
    let mut callers = JoinSet::new();
    for _ in 0..count {
        let cache = cache.clone();
        callers.spawn(async move {
            let compute = async || {
                until_missed(&cache, count).await;
                outcome()
            };
            cache.get_or_compute("key", MINUTE, compute).await
        });
    }
    callers
}

#[tokio::test]
async fn a_stampede_computes_once() {
    let (cache, _) = alone();
    let got = crowd(&cache, 1_000, || Ok(7)).join_all().await;
    assert!(got.into_iter().all(|value| value.unwrap() == 7));
    let stats = cache.stats();
    assert_eq!(
        (stats.computes, stats.coalesced, stats.misses, stats.hits),
        (1, 999, 1_000, 0)
    );
    assert_eq!(cache.get("key").await, Some(7));
    assert_eq!(cache.underway(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stampede_on_many_threads_computes_once_and_asks_the_store_once() {
    let (cache, shelf, _) = before_shelf();
    let got = crowd(&cache, 1_000, || Ok(7)).join_all().await;
    assert!(got.into_iter().all(|value| value.unwrap() == 7));
    assert_eq!(cache.stats().computes, 1);
    // One look, one offer.
    assert_eq!(shelf.calls(), 2);
}

#[tokio::test]
async fn what_another_process_has_put_there_is_fetched_once() {
    let (cache, shelf, clock) = before_shelf();
    let other = Cache::new(options(&clock).shared(shelf.clone()));
    other.put("key", &7_u64, MINUTE).await.unwrap();
    let before = shelf.calls();
    shelf.be_busy();
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let cache = cache.clone();
        callers.spawn(async move { cache.get_or_compute("key", MINUTE, async || Ok(8_u64)).await });
    }
    let got = callers.join_all().await;
    assert!(got.into_iter().all(|value| value.unwrap() == 7));
    assert_eq!((cache.stats().computes, shelf.calls() - before), (0, 1));
}

#[tokio::test]
async fn a_failure_is_everyones_and_is_not_kept() {
    let (cache, _) = alone();
    let failing = || {
        Err(Error::new(ErrorKind::Overloaded, "the source is busy")
            .with_hint("ask later")
            .with_retry_after(Duration::from_secs(3)))
    };
    for got in crowd(&cache, 100, failing).join_all().await {
        let error = got.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert_eq!(error.hint(), "ask later");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "the source is busy");
    }
    assert_eq!(cache.stats().computes, 1);
    assert_eq!(cache.get_or_compute("key", MINUTE, async || Ok(9)).await.unwrap(), 9);
}

#[tokio::test]
async fn an_error_that_overrules_its_kind_does_so_for_everyone() {
    let (cache, _) = alone();
    let failing = || Err(Error::new(ErrorKind::Storage, "the table is gone").terminal());
    for got in crowd(&cache, 2, failing).join_all().await {
        assert!(!got.unwrap_err().is_retryable());
    }
}

#[tokio::test]
async fn who_is_alone_gets_the_error_itself() {
    let (cache, _) = alone();
    let failing = async || Err::<u64, _>(Error::new(ErrorKind::NotFound, "no such price"));
    let error = cache.get_or_compute("key", MINUTE, failing).await.unwrap_err();
    assert_eq!(error.to_string(), "no such price");
    assert!(std::error::Error::source(&error).is_none());
}

#[tokio::test]
async fn a_panic_ends_its_own_caller_and_is_told_to_the_others() {
    let (cache, _) = alone();
    let mut callers = crowd(&cache, 10, || panic!("a bug"));
    let (mut panicked, mut told) = (0, 0);
    while let Some(ended) = callers.join_next().await {
        match ended {
            Ok(got) => {
                assert_eq!(got.unwrap_err().kind(), ErrorKind::Panic);
                told += 1;
            }
            Err(ended) => {
                assert!(ended.is_panic());
                panicked += 1;
            }
        }
    }
    assert_eq!((panicked, told), (1, 9));
    assert_eq!(cache.underway(), 0);
    assert_eq!(cache.get_or_compute("key", MINUTE, async || Ok(9)).await.unwrap(), 9);
}

#[tokio::test]
async fn when_the_leader_goes_away_the_next_one_computes() {
    let (cache, _) = alone();
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_compute("key", MINUTE, async || std::future::pending::<Result<u64>>().await)
                .await
        }
    });
    until_missed(&cache, 1).await;
    let mut waiting = JoinSet::new();
    for number in 1..=10_u64 {
        let cache = cache.clone();
        waiting.spawn(async move { cache.get_or_compute("key", MINUTE, async || Ok(number)).await });
    }
    until_missed(&cache, 11).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    let got: Vec<u64> = waiting.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(got.iter().all(|value| *value == got[0]));
    // The one who went away had begun to compute.
    assert_eq!(cache.stats().computes, 2);
    assert_eq!(cache.underway(), 0);
}

#[tokio::test]
async fn a_leader_that_is_not_polled_is_replaced() {
    let (cache, clock) = alone();
    let first = async || std::future::pending::<Result<u64>>().await;
    let mut parked = Box::pin(cache.get_or_compute("key", MINUTE, first));
    assert!(
        parked
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );

    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let cache = cache.clone();
        waiting.spawn(async move { cache.get_or_compute("key", MINUTE, async || Ok(2_u64)).await });
    }
    until_missed(&cache, 11).await;
    clock.until_sleepers(11).await;
    clock.advance(crate::limits::CACHE_COMPUTE_TIMEOUT);
    assert!(waiting.join_all().await.into_iter().all(|value| value.unwrap() == 2));
    assert_eq!(cache.stats().computes, 2);
}

#[tokio::test]
async fn a_leader_that_was_replaced_keeps_nothing() {
    let (cache, clock) = alone();
    let go = Arc::new(Notify::new());
    let compute = async || {
        go.notified().await;
        Ok(1_u64)
    };
    let mut parked = Box::pin(cache.get_or_compute("key", MINUTE, compute));
    assert!(
        parked
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", MINUTE, async || Ok(2_u64)).await }
    });
    until_missed(&cache, 2).await;
    clock.until_sleepers(2).await;
    clock.advance(crate::limits::CACHE_COMPUTE_TIMEOUT);
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    cache.remove("key").await.unwrap();
    // Its computation is done before its deadline is looked at, so it has a value; but it began before the removal.
    go.notify_one();
    assert_eq!(parked.await.unwrap(), 1);
    assert_eq!(cache.get::<u64>("key").await, None);
}

#[tokio::test]
async fn a_computation_has_a_deadline() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let cache = Cache::new(options(&clock).compute_timeout(Duration::from_secs(5)));
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_compute("key", MINUTE, async || std::future::pending::<Result<u64>>().await)
                .await
        }
    });
    clock.until_sleepers(1).await;
    clock.advance(Duration::from_secs(5));
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(cache.underway(), 0);
}

#[tokio::test]
async fn a_waiters_deadline_is_its_own() {
    let (cache, clock) = alone();
    let go = Arc::new(Notify::new());
    let leader = tokio::spawn({
        let (cache, go) = (cache.clone(), Arc::clone(&go));
        let compute = async move || {
            go.notified().await;
            Ok(1_u64)
        };
        async move { cache.get_or_compute("key", MINUTE, compute).await }
    });
    until_missed(&cache, 1).await;
    let waiter = tokio::spawn({
        let (cache, clock) = (cache.clone(), clock.clone());
        async move {
            let got = cache.get_or_compute("key", MINUTE, async || Ok(2_u64));
            timeout(&clock, Duration::from_secs(1), got).await
        }
    });
    until_missed(&cache, 2).await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(waiter.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    go.notify_one();
    assert_eq!(leader.await.unwrap().unwrap(), 1);
    assert_eq!(cache.get("key").await, Some(1_u64));
}

/// Begins a computation of 1, does `meanwhile`, and lets it end; what was computed reaches its caller in any case.
async fn interrupted(meanwhile: impl AsyncFnOnce(&Cache)) -> Cache {
    let (cache, _, _) = before_shelf();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (cache, begun, go) = (cache.clone(), Arc::clone(&begun), Arc::clone(&go));
        let compute = async move || {
            begun.notify_one();
            go.notified().await;
            Ok(1_u64)
        };
        async move { cache.get_or_compute("key", MINUTE, compute).await }
    });
    begun.notified().await;
    meanwhile(&cache).await;
    go.notify_one();
    assert_eq!(leader.await.unwrap().unwrap(), 1);
    assert_eq!(cache.underway(), 0);
    cache
}

#[tokio::test]
async fn what_was_removed_while_it_was_computed_is_not_kept() {
    let cache = interrupted(async |cache| cache.remove("key").await.unwrap()).await;
    assert_eq!(cache.get::<u64>("key").await, None);
}

#[tokio::test]
async fn what_was_overwritten_while_it_was_computed_stays_overwritten() {
    let cache = interrupted(async |cache| cache.put("key", &2, MINUTE).await.unwrap()).await;
    assert_eq!(cache.get("key").await, Some(2));
}

#[tokio::test]
async fn who_asks_after_the_removal_does_not_get_what_was_begun_before() {
    let cache = interrupted(async |cache| {
        cache.remove("key").await.unwrap();
        let got = cache.get_or_compute("key", MINUTE, async || Ok(2_u64)).await;
        assert_eq!(got.unwrap(), 2);
    })
    .await;
    assert_eq!(cache.get("key").await, Some(2));
}

#[tokio::test]
async fn get_waits_for_nobody() {
    let cache = interrupted(async |cache| assert_eq!(cache.get::<u64>("key").await, None)).await;
    assert_eq!(cache.get("key").await, Some(1));
}

#[tokio::test]
async fn nothing_is_shared_and_not_kept() {
    let (cache, _) = alone();
    let mut computed = 0;
    for _ in 0..2 {
        let compute = async || {
            computed += 1;
            Ok(None::<u64>)
        };
        assert_eq!(cache.get_or_compute("key", MINUTE, compute).await.unwrap(), None);
    }
    assert_eq!(computed, 2);
    assert_eq!(cache.stats().memory_entries, 0);
}

#[tokio::test]
async fn what_is_too_large_is_shared_and_not_kept() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let cache = Cache::new(options(&clock).memory(memory::Options::new().value_bytes_max(2)));
    let got = crowd(&cache, 100, || Ok(1_000)).join_all().await;
    assert!(got.into_iter().all(|value| value.unwrap() == 1_000));
    let stats = cache.stats();
    assert_eq!((stats.computes, stats.refused, stats.memory_entries), (1, 1, 0));
}

/// No JSON object has numbers in pairs for keys.
#[derive(Serialize, Deserialize, Debug, PartialEq, Default)]
struct Formless(std::collections::BTreeMap<(u8, u8), u8>);

#[tokio::test]
async fn what_has_no_form_reaches_everyone_who_computes_it() {
    let (cache, _) = alone();
    let formless = || Formless([((1, 2), 3)].into());
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let cache = cache.clone();
        callers.spawn(async move {
            let compute = async || {
                until_missed(&cache, 10).await;
                Ok(formless())
            };
            cache.get_or_compute("key", MINUTE, compute).await
        });
    }
    assert!(
        callers
            .join_all()
            .await
            .into_iter()
            .all(|value| value.unwrap() == formless())
    );
    assert_eq!(cache.stats().computes, 10);
    assert_eq!(
        cache.put("key", &formless(), MINUTE).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[tokio::test]
async fn a_follower_of_another_type_computes_for_itself() {
    let (cache, _) = alone();
    let number = crowd(&cache, 2, || Ok(7));
    let text = {
        let computed = AtomicU64::new(0);
        until_missed(&cache, 1).await;
        let compute = async || {
            computed.fetch_add(1, Ordering::Relaxed);
            Ok("seven".to_owned())
        };
        let text = cache.get_or_compute("key", MINUTE, compute).await.unwrap();
        (text, computed.into_inner())
    };
    assert_eq!(text, ("seven".to_owned(), 1));
    assert!(number.join_all().await.into_iter().all(|value| value.unwrap() == 7));
}

#[tokio::test]
async fn a_future_that_is_dropped_at_once_leaves_nothing() {
    let (cache, _, _) = before_shelf();
    drop(cache.get_or_compute("key", MINUTE, async || Ok(1_u64)));
    assert_eq!(cache.underway(), 0);
    let other = cache.get_or_compute("other", MINUTE, async || std::future::pending::<Result<u64>>().await);
    let mut other = Box::pin(other);
    assert!(
        other
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_eq!(cache.underway(), 1);
    drop(other);
    assert_eq!(cache.underway(), 0);
}
