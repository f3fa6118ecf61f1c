//! Real Redis servers: shared, restarted, killed, stalled, cut off, full and with other passwords.

mod faults;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hive_core::cache::redis::{Options, Redis};
use hive_core::cache::{self, Cache, Store};
use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::testing;
use hive_errors::{BreakerPolicy, ErrorKind, RetryPolicy};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::conformance::{LIMIT, conforms};

const MINUTE: Duration = Duration::from_secs(60);

/// A prefix that no other test has, in this run or another, on a server that many use.
fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let started = SystemClock.now();
    format!("test {} {started} {number}:", std::process::id())
}

/// Patient with an answer, because the machine may be busy, and quick to try again.
fn options(url: &str) -> Options {
    Options::new(url)
        .prefix(prefix())
        .connect_timeout(MINUTE)
        .command_timeout(MINUTE)
        .breaker(BreakerPolicy::new(3, Duration::from_millis(20)))
        .backoff(RetryPolicy::fixed(1, Duration::from_millis(5)))
}

fn store(url: &str) -> Redis {
    Redis::new(options(url)).unwrap()
}

/// A client of its own, to look behind the store's back.
async fn bare(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(client: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query_async(client).await.unwrap()
}

/// Tries until it is so, within a minute.
async fn until(mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(&SystemClock, MINUTE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_a_store() {
    let store = Redis::new(options(testing::Redis::shared().url()).value_bytes_max(LIMIT)).unwrap();
    conforms(store).await;
}

#[tokio::test]
async fn a_stampede_on_two_processes_computes_once_in_each() {
    let url = testing::Redis::shared().url();
    let options = options(url);
    let processes: Vec<Cache> = (0..2)
        .map(|_| Cache::new(cache::Options::new("test").shared(Redis::new(options.clone()).unwrap())))
        .collect();
    let mut callers = JoinSet::new();
    for caller in 0..1_000 {
        let cache = processes[caller % 2].clone();
        callers.spawn(async move { cache.get_or_compute("key", MINUTE, async || Ok(7)).await });
    }
    assert!(callers.join_all().await.into_iter().all(|value| value.unwrap() == 7));
    assert!(processes.iter().all(|cache| cache.stats().computes <= 1));
    assert!(processes.iter().all(|cache| cache.stats().errors == 0));
    // A third one finds it there.
    let third = Cache::new(cache::Options::new("test").shared(Redis::new(options).unwrap()));
    assert_eq!(third.get_or_compute("key", MINUTE, async || Ok(8)).await.unwrap(), 7);
}

#[tokio::test]
async fn a_change_by_another_process_is_seen() {
    let options = options(testing::Redis::shared().url());
    let open = || {
        let shared = Redis::new(options.clone()).unwrap();
        Cache::new(cache::Options::new("test").shared(shared).memory_ttl(Duration::ZERO))
    };
    let (here, there) = (open(), open());
    here.put("key", &1, MINUTE).await.unwrap();
    assert_eq!(there.get("key").await, Some(1));
    there.put("key", &2, MINUTE).await.unwrap();
    assert_eq!(here.get("key").await, Some(2));
    there.remove("key").await.unwrap();
    assert_eq!(here.get::<u8>("key").await, None);
}

#[tokio::test]
async fn a_prefix_keeps_applications_apart() {
    let url = testing::Redis::shared().url();
    let (ours, theirs) = (store(url), store(url));
    ours.put("key", b"ours".as_slice().into(), MINUTE).await.unwrap();
    assert_eq!(theirs.get("key").await.unwrap(), None);
    theirs.remove(&["key"]).await.unwrap();
    assert_eq!(ours.get("key").await.unwrap().unwrap().value[..], *b"ours");
}

#[tokio::test]
async fn what_others_have_put_there_does_no_harm() {
    let url = testing::Redis::shared().url();
    let prefix = prefix();
    let store = Redis::new(options(url).prefix(&prefix).value_bytes_max(10)).unwrap();
    let mut bare = bare(url).await;
    let key = format!("{prefix}:key");

    let _: i64 = ask(&mut bare, &["RPUSH", &key, "a", "list"]).await;
    assert_eq!(store.get(":key").await.unwrap_err().kind(), ErrorKind::Conflict);
    let cache = Cache::new(cache::Options::new("test").shared(store.clone()));
    for _ in 0..10 {
        assert_eq!(cache.get::<u8>("key").await, None);
    }
    assert!(!cache.stats().degraded, "the server serves");
    assert_eq!(cache.get_or_compute("key", MINUTE, async || Ok(7)).await.unwrap(), 7);
    assert_eq!(store.get(":key").await.unwrap().unwrap().value[..], *b"7");

    let _: () = ask(&mut bare, &["SET", &key, "forever"]).await;
    assert_eq!(store.get(":key").await.unwrap().unwrap().ttl, None);
    let _: () = ask(&mut bare, &["SET", &key, "more than ten bytes"]).await;
    assert_eq!(store.get(":key").await.unwrap_err().kind(), ErrorKind::PayloadTooLarge);
    let _: i64 = ask(&mut bare, &["DEL", &key]).await;
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_repeating_it() {
    for url in [
        "",
        "http://:secret@host/",
        "redis://:secret@host:port/",
        "redis://:secret@host/name",
    ] {
        let error = Redis::new(Options::new(url)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!format!("{error:?} {error:#?}").contains("secret"));
    }
    let options = Options::new("redis://:secret@host/");
    assert!(!format!("{options:?} {:?}", Redis::new(options.clone()).unwrap()).contains("secret"));
}
