//! What goes wrong with a server, and that the caller of a cache does not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hive_core::cache::redis::Redis;
use hive_core::cache::{self, Cache, Store};
use hive_core::testing::{self, Proxy};
use hive_errors::{BreakerPolicy, ErrorKind, Report};
use tokio::task::JoinSet;

use super::{MINUTE, ask, bare, options, store, until};

/// A cache that asks its store every time.
fn before(store: Redis) -> Cache {
    Cache::new(cache::Options::new("test").shared(store).memory_ttl(Duration::ZERO))
}

async fn until_well(cache: &Cache) {
    until(async || {
        // Both sides have to be answered: a read and a write.
        cache.get::<u8>("probe").await;
        cache.put("probe", &1, MINUTE).await.unwrap();
        let stats = cache.stats();
        !stats.degraded && stats.owed == 0
    })
    .await;
}

async fn until_degraded(cache: &Cache) {
    until(async || {
        cache.get::<u8>("probe").await;
        cache.stats().degraded
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_killed_and_comes_back_under_load() {
    let server = testing::Redis::start();
    let cache = before(store(server.url()));
    let other = before(Redis::new(options(server.url())).unwrap());
    cache.put("stale", &1, MINUTE).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..16_u64 {
        let (cache, stop, served) = (cache.clone(), Arc::clone(&stop), Arc::clone(&served));
        callers.spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{caller} {}", number % 10);
                // Never an error, whatever happens to the server.
                assert_eq!(
                    cache.get_or_compute(&key, MINUTE, async || Ok(caller)).await.unwrap(),
                    caller
                );
                served.fetch_add(1, Ordering::Relaxed);
                number += 1;
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..3 {
        tokio::task::block_in_place(|| server.kill());
        until_degraded(&cache).await;
        let before = served.load(Ordering::Relaxed);
        until(async || served.load(Ordering::Relaxed) > before + 1_000).await;
        cache.remove("stale").await.ok();
        assert_eq!(cache.get::<u8>("stale").await, None);
        tokio::task::block_in_place(|| server.start_again());
        until_well(&cache).await;
        assert_eq!(
            cache.get::<u8>("stale").await,
            None,
            "what was removed meanwhile is gone"
        );
        cache.put("stale", &1, MINUTE).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    other.put("key", &1, MINUTE).await.unwrap();
    assert_eq!(
        other.stats().errors,
        0,
        "who asked nothing meanwhile has noticed nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_calls_goes_unnoticed() {
    let server = testing::Redis::start();
    let store = store(server.url());
    store.put("key", b"value".as_slice().into(), MINUTE).await.unwrap();
    for _ in 0..3 {
        tokio::task::block_in_place(|| server.restart());
        for _ in 0..4 {
            store.get("key").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_starts_before_its_server() {
    let server = testing::Redis::start();
    tokio::task::block_in_place(|| server.stop());
    let store = store(server.url());
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let cache = before(store);
    for number in 0..10_u8 {
        assert_eq!(
            cache
                .get_or_compute(&number.to_string(), MINUTE, async || Ok(number))
                .await
                .unwrap(),
            number
        );
    }
    assert!(cache.stats().degraded);
    tokio::task::block_in_place(|| server.start_again());
    until_well(&cache).await;
}

#[tokio::test]
async fn a_server_that_stalls_is_left_alone_until_it_answers() {
    let server = testing::Redis::shared();
    let address = address(server.url());
    let proxy = Proxy::start(&*address);
    // Here the limit has to be reached; the pause is longer than the test, so that the breaker's word can be relied upon.
    let impatient = || {
        options(&proxy.url(server.url()))
            .command_timeout(Duration::from_millis(100))
            .connect_timeout(Duration::from_millis(100))
            .breaker(BreakerPolicy::new(3, MINUTE * 60))
    };
    let store = Redis::new(impatient()).unwrap();
    proxy.stall();
    let mut kinds = Vec::new();
    for _ in 0..20 {
        kinds.push(store.get("key").await.unwrap_err().kind());
    }
    let timeouts = kinds.iter().filter(|kind| **kind == ErrorKind::Timeout).count();
    assert_eq!(timeouts, 3, "{kinds:?}");
    assert_eq!(kinds.last(), Some(&ErrorKind::BreakerOpen));

    let cache = before(Redis::new(impatient().breaker(BreakerPolicy::new(3, Duration::from_millis(20)))).unwrap());
    until_degraded(&cache).await;
    assert_eq!(cache.get_or_compute("key", MINUTE, async || Ok(1)).await.unwrap(), 1);
    proxy.restore();
    until_well(&cache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cut_off_ends_at_once() {
    let server = testing::Redis::shared();
    let proxy = Proxy::start(&*address(server.url()));
    // Its limits are a minute each: only the cut can end it.
    let store = store(&proxy.url(server.url()));
    store.ping().await.unwrap();
    proxy.stall();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.get("key").await })
        })
        .collect();
    tokio::task::block_in_place(|| proxy.cut());
    for call in calls {
        let kind = call.await.unwrap().unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Storage | ErrorKind::BreakerOpen), "{kind}");
    }
    proxy.restore();
    until(async || store.ping().await.is_ok()).await;
}

#[tokio::test]
async fn a_wrong_password_is_said_at_the_start_and_does_no_harm_later() {
    let server = testing::Redis::start();
    let url = format!("redis://:hunter2@127.0.0.1:{}/0", server.port());
    let store = store(&url);
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!Report::new(&error).to_string().contains("hunter2"));
    let cache = before(store);
    for _ in 0..10 {
        cache.get_or_compute("key", MINUTE, async || Ok(1)).await.unwrap();
    }
    assert!(cache.stats().degraded);
}

#[tokio::test]
async fn a_password_that_changes_is_noticed_with_the_next_connection() {
    let server = testing::Redis::start();
    let cache = before(store(server.url()));
    let mut bare = bare(server.url()).await;
    cache.put("key", &1, MINUTE).await.unwrap();
    let _: () = ask(&mut bare, &["CONFIG", "SET", "requirepass", "another"]).await;
    let _: i64 = ask(&mut bare, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until_degraded(&cache).await;
    let word = server.url().trim_start_matches("redis://:").split('@').next().unwrap();
    let _: () = ask(&mut bare, &["CONFIG", "SET", "requirepass", word]).await;
    until_well(&cache).await;
}

#[tokio::test]
async fn a_server_without_room_is_read_and_says_so() {
    let server = testing::Redis::start();
    let store = store(server.url());
    let cache = before(store.clone());
    let mut bare = bare(server.url()).await;
    cache.put("old", &1, MINUTE).await.unwrap();
    let _: () = ask(
        &mut bare,
        &["CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"],
    )
    .await;

    let error = store.put("new", b"value".as_slice().into(), MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.hint().contains("maxmemory"));
    for number in 0..10_u8 {
        assert_eq!(
            cache
                .get_or_compute(&number.to_string(), MINUTE, async || Ok(number))
                .await
                .unwrap(),
            number
        );
        assert_eq!(cache.get("old").await, Some(1), "reads are served");
    }
    assert!(cache.stats().degraded);
    cache.remove("old").await.unwrap();
    assert_eq!(cache.get::<u8>("old").await, None, "and so are removals");

    let _: () = ask(&mut bare, &["CONFIG", "SET", "maxmemory", "0"]).await;
    until_well(&cache).await;
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_not_written_to() {
    let server = testing::Redis::start();
    let store = store(server.url());
    let cache = before(store.clone());
    let mut bare = bare(server.url()).await;
    // Of nobody: all it knows is that it must not be written to.
    let _: () = ask(&mut bare, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let error = store.put("key", b"".as_slice().into(), MINUTE).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("code")),
        (ErrorKind::Storage, Some("READONLY"))
    );
    for number in 0..10_u8 {
        let key = number.to_string();
        assert_eq!(
            cache.get_or_compute(&key, MINUTE, async || Ok(number)).await.unwrap(),
            number
        );
    }
    assert!(cache.stats().degraded);
    let _: () = ask(&mut bare, &["REPLICAOF", "NO", "ONE"]).await;
    until_well(&cache).await;
}

#[tokio::test]
async fn a_user_without_rights_is_told_so() {
    let server = testing::Redis::start();
    let mut bare = bare(server.url()).await;
    let _: () = ask(
        &mut bare,
        &[
            "ACL", "SETUSER", "reader", "on", ">word", "~*", "+get", "+pttl", "+ping",
        ],
    )
    .await;
    let store = store(&format!("redis://reader:word@127.0.0.1:{}/0", server.port()));
    store.ping().await.unwrap();
    assert_eq!(store.get("key").await.unwrap(), None);
    let error = store.put("key", b"".as_slice().into(), MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    // That it may not write is no reason not to read.
    for _ in 0..10 {
        store.put("key", b"".as_slice().into(), MINUTE).await.unwrap_err();
        assert_eq!(store.get("key").await.unwrap(), None);
    }
}

/// Host and port of a server's url.
fn address(url: &str) -> String {
    let server = url.rsplit('@').next().unwrap();
    server
        .trim_start_matches("redis://")
        .split('/')
        .next()
        .unwrap()
        .to_owned()
}
