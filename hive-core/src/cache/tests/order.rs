//! Calls that overlap in one certain order, each moved on by hand.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::shelf::Mode;
use super::{MINUTE, before_shelf, options};
use crate::cache::Cache;
use crate::limits::{CACHE_MEMORY_TTL, CACHE_STORE_TIMEOUT};

/// Moves the call on until it has to wait, and gives its result if it does not have to.
fn push<T>(call: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Moves the call on until it has to wait.
#[track_caller]
fn stop<T>(call: &mut Pin<Box<impl Future<Output = T>>>) {
    assert!(push(call).is_pending());
}

#[tokio::test]
async fn an_answer_from_before_the_removal_is_not_kept() {
    let (cache, shelf, clock) = before_shelf();
    cache.put("key", &1, MINUTE).await.unwrap();
    clock.advance(CACHE_MEMORY_TTL);
    shelf.removals().close();
    shelf.answers().close();
    let mut remove = Box::pin(cache.remove("key"));
    stop(&mut remove);
    // Begun after the removal, and read before it reached the store.
    let mut get = Box::pin(cache.get::<u8>("key"));
    stop(&mut get);
    shelf.removals().open();
    remove.await.unwrap();
    shelf.answers().open();
    assert_eq!(get.await, Some(1), "the two overlapped");
    assert_eq!(cache.get::<u8>("key").await, None);
}

#[tokio::test]
async fn an_answer_from_before_the_new_value_is_not_kept() {
    let (cache, shelf, clock) = before_shelf();
    cache.put("key", &1, MINUTE).await.unwrap();
    clock.advance(CACHE_MEMORY_TTL);
    shelf.puts().close();
    shelf.answers().close();
    let mut put = Box::pin(cache.put("key", &2, MINUTE));
    stop(&mut put);
    let mut get = Box::pin(cache.get::<u8>("key"));
    stop(&mut get);
    shelf.puts().open();
    put.await.unwrap();
    shelf.answers().open();
    assert_eq!(get.await, Some(1), "the two overlapped");
    assert_eq!(cache.get("key").await, Some(2));
}

/// Begins to store what was computed, does `then`, and gives what another process finds afterwards.
async fn beside_storing(then: impl AsyncFnOnce(&Cache)) -> Option<u8> {
    let (cache, shelf, clock) = before_shelf();
    shelf.puts().close();
    let mut compute = Box::pin(cache.get_or_compute("key", MINUTE, async || Ok(1_u8)));
    stop(&mut compute);
    assert_eq!(cache.get("key").await, Some(1_u8), "memory has it already");
    let mut then = Box::pin(then(&cache));
    stop(&mut then);
    shelf.puts().open();
    assert_eq!(compute.await.unwrap(), 1);
    then.await;
    let other = Cache::new(options(&clock).shared(shelf));
    other.get("key").await
}

#[tokio::test]
async fn a_removal_waits_for_what_is_being_stored() {
    let found = beside_storing(async |cache| cache.remove("key").await.unwrap()).await;
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_new_value_waits_for_the_old_one_that_is_being_stored() {
    let found = beside_storing(async |cache| cache.put("key", &2, MINUTE).await.unwrap()).await;
    assert_eq!(found, Some(2));
}

#[tokio::test]
async fn a_removal_does_not_wait_for_ever_for_one_who_is_not_polled() {
    let (cache, shelf, clock) = before_shelf();
    shelf.puts().close();
    let mut parked = Box::pin(cache.get_or_compute("key", MINUTE, async || Ok(1_u8)));
    stop(&mut parked);
    let mut remove = Box::pin(cache.remove("key"));
    stop(&mut remove);
    clock.advance(CACHE_STORE_TIMEOUT - Duration::from_nanos(1));
    stop(&mut remove);
    clock.advance(Duration::from_nanos(1));
    assert!(matches!(push(&mut remove), Poll::Ready(Ok(()))));
    drop(remove);
    assert_eq!(cache.get::<u8>("key").await, None);
}

#[tokio::test]
async fn who_gives_up_a_removal_has_removed_it_here() {
    let (cache, shelf, clock) = before_shelf();
    cache.put("key", &1, MINUTE).await.unwrap();
    shelf.removals().close();
    let mut remove = Box::pin(cache.remove("key"));
    stop(&mut remove);
    drop(remove);
    assert_eq!(cache.stats().owed, 1);
    shelf.removals().open();
    shelf.set(Mode::Away);
    assert_eq!(cache.get::<u8>("key").await, None);
    shelf.set(Mode::Serves);
    clock.advance(CACHE_MEMORY_TTL);
    assert_eq!(cache.get::<u8>("key").await, None);
    assert_eq!(cache.stats().owed, 0);
}
