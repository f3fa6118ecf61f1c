//! What every store has to do, whatever is behind it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hive_core::cache::{Found, Store};
use hive_core::clock::{Clock, SystemClock, timeout};
use hive_core::limits::{CACHE_KEY_BYTES_MAX, CACHE_TTL_MAX};
use hive_errors::{ErrorKind, Result};
use tokio::task::JoinSet;

/// The largest value that the store under test takes.
pub(crate) const LIMIT: usize = 1 << 20;

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// Keys that mean something to somebody, but not to a store.
const HOSTILE: [&str; 14] = [
    " ",
    "\0",
    "\r\n",
    "key\r\nFLUSHALL\r\n",
    "*1\r\n$4\r\nPING\r\n",
    "*",
    "key*",
    "[a-z]?",
    "{tag}key",
    "'; DROP TABLE entry; --",
    "../../key",
    "%00%s%n",
    "ключ 钥匙 🔑",
    "e\u{301}",
];

/// Runs the whole suite on a store that nobody else uses these keys of.
pub(crate) async fn conforms(store: impl Store) {
    let store: Arc<dyn Store> = Arc::new(store);
    bytes_come_back_as_they_were(&*store).await;
    keys_mean_nothing_but_themselves(&*store).await;
    what_does_not_fit_changes_nothing(&*store).await;
    time_ends_values(&*store).await;
    the_last_word_counts(&*store).await;
    removal_is_thorough(&*store).await;
    callers_do_not_disturb_each_other(&store).await;
    callers_may_give_up(&*store).await;
}

async fn put(store: &dyn Store, key: &str, value: &[u8], ttl: Duration) -> Result<()> {
    store.put(key, value.into(), ttl).await
}

async fn value(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store.get(key).await.unwrap().map(|found| found.value.to_vec())
}

/// Waits until there is nothing under the key any more.
async fn until_gone(store: &dyn Store, key: &str) {
    let gone = async {
        while store.get(key).await.unwrap().is_some() {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(&SystemClock, MINUTE, gone).await.unwrap();
}

async fn bytes_come_back_as_they_were(store: &dyn Store) {
    assert_eq!(store.get("absent").await.unwrap(), None);
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![0xa5; LIMIT];
    for bytes in [b"".as_slice(), b"\0", b"\r\n$-1\r\n", b"null", &all, &large] {
        put(store, "bytes", bytes, MINUTE).await.unwrap();
        assert_eq!(value(store, "bytes").await.unwrap(), bytes);
    }
}

async fn keys_mean_nothing_but_themselves(store: &dyn Store) {
    let longest = "x".repeat(CACHE_KEY_BYTES_MAX);
    let keys = || HOSTILE.into_iter().chain([longest.as_str(), "key", "Key", "é"]);
    for key in keys() {
        put(store, key, key.as_bytes(), MINUTE).await.unwrap();
    }
    for key in keys() {
        assert_eq!(value(store, key).await.as_deref(), Some(key.as_bytes()));
    }
    for (removed, key) in keys().enumerate() {
        store.remove(&[key]).await.unwrap();
        for (number, other) in keys().enumerate() {
            assert_eq!(
                value(store, other).await.is_some(),
                number > removed,
                "{key:?} and {other:?}"
            );
        }
    }
}

async fn what_does_not_fit_changes_nothing(store: &dyn Store) {
    put(store, "kept", b"old", MINUTE).await.unwrap();
    let error = put(store, "kept", &vec![0; LIMIT + 1], MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
    assert_eq!(error.field("bytes"), Some((LIMIT + 1).to_string().as_str()));
    assert_eq!(error.field("limit"), Some(LIMIT.to_string().as_str()));

    let long = "x".repeat(CACHE_KEY_BYTES_MAX + 1);
    for key in ["", &long] {
        assert_eq!(store.get(key).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(
            put(store, key, b"", MINUTE).await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            store.remove(&["kept", key]).await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
    assert_eq!(value(store, "kept").await.as_deref(), Some(b"old".as_slice()));
}

async fn time_ends_values(store: &dyn Store) {
    put(store, "time", b"long", MINUTE).await.unwrap();
    let left = store.get("time").await.unwrap().and_then(|found| found.ttl).unwrap();
    assert!(left > Duration::ZERO && left <= MINUTE, "{left:?}");

    put(store, "time", b"short", SHORT).await.unwrap();
    until_gone(store, "time").await;
    // Too short to be seen for sure, and no error.
    for ttl in [Duration::ZERO, Duration::from_nanos(1)] {
        put(store, "time", b"none", ttl).await.unwrap();
        until_gone(store, "time").await;
    }
    put(store, "time", b"for ever", Duration::MAX).await.unwrap();
    let left = store.get("time").await.unwrap().and_then(|found| found.ttl).unwrap();
    assert!(left <= CACHE_TTL_MAX && left > CACHE_TTL_MAX - MINUTE, "{left:?}");
}

async fn the_last_word_counts(store: &dyn Store) {
    put(store, "word", b"first", SHORT).await.unwrap();
    put(store, "word", b"last", MINUTE).await.unwrap();
    put(store, "witness", b"", SHORT).await.unwrap();
    // What was put there later with the first one's time has ended, so its own time counts for the last one.
    until_gone(store, "witness").await;
    assert_eq!(value(store, "word").await.as_deref(), Some(b"last".as_slice()));
}

async fn removal_is_thorough(store: &dyn Store) {
    let keys: Vec<String> = (0..1_000).map(|number| format!("removal {number}")).collect();
    for key in &keys {
        put(store, key, b"x", MINUTE).await.unwrap();
    }
    let gone: Vec<&str> = keys.iter().skip(1).map(String::as_str).chain(["absent"]).collect();
    store.remove(&gone).await.unwrap();
    store.remove(&gone).await.unwrap();
    store.remove(&["absent", "absent"]).await.unwrap();
    store.remove(&[]).await.unwrap();
    for key in gone {
        assert_eq!(store.get(key).await.unwrap(), None);
    }
    assert_eq!(value(store, "removal 0").await.as_deref(), Some(b"x".as_slice()));
}

async fn callers_do_not_disturb_each_other(store: &Arc<dyn Store>) {
    let mut callers = JoinSet::new();
    for caller in 0..50_u8 {
        let store = Arc::clone(store);
        callers.spawn(async move {
            let key = format!("caller {caller}");
            for round in 0..20_u8 {
                // Of different sizes, so that answers that were mixed up would be noticed.
                let bytes = vec![round; usize::from(caller) * 100];
                put(&*store, &key, &bytes, MINUTE).await.unwrap();
                assert_eq!(value(&*store, &key).await.unwrap(), bytes);
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

async fn callers_may_give_up(store: &dyn Store) {
    put(store, "given up", b"value", MINUTE).await.unwrap();
    for _ in 0..100 {
        let mut get = store.get("given up");
        // Polled once, so that it is under way, and dropped.
        poll_fn(|task| {
            let _: Poll<Result<Option<Found>>> = get.as_mut().poll(task);
            Poll::Ready(())
        })
        .await;
    }
    assert_eq!(value(store, "given up").await.as_deref(), Some(b"value".as_slice()));
}
