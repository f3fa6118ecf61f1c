//! Servers that die and networks that hold back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_bus::transport::nats::Nats;
use hive_bus::transport::{Change, Transport};
use hive_bus::{ErrorKind, NewEvent, Sequence};
use hive_core::testing::{self, Proxy};
use tokio::task::JoinSet;

use super::{LONG, Place, event, events, log, number, numbers};

/// Publishes until it is acknowledged.
async fn insist(transport: &Nats, batch: &[NewEvent]) -> Vec<Sequence> {
    loop {
        match transport.publish(batch.to_vec()).await {
            Ok(sequences) => return sequences,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    const PUBLISHERS: u64 = 6;
    const KILLS: usize = 4;
    let server = Arc::new(testing::Nats::start());
    let place = Place::new(server.url());
    let handles = [place.open().await, place.open().await];
    let (batches, kills) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let transport = handles[(publisher % 2) as usize].clone();
        let (batches, kills) = (Arc::clone(&batches), Arc::clone(&kills));
        publishers.spawn(async move {
            let mut acknowledged = Vec::new();
            let mut count = 0;
            // Some more after the last.
            let mut rest = 5;
            while rest > 0 {
                let numbers = count..count + 1 + count % 37;
                count = numbers.end;
                let batch = numbers.clone().map(|number| event("load", number).key(publisher));
                let sequences = insist(&transport, &batch.collect::<Vec<_>>()).await;
                acknowledged.extend(numbers.zip(sequences));
                batches.fetch_add(1, Ordering::Relaxed);
                rest -= u64::from(kills.load(Ordering::Relaxed) == KILLS);
            }
            (publisher, acknowledged)
        });
    }
    let killing = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || {
            for round in 1..=KILLS {
                // In the middle of it.
                let more = batches.load(Ordering::Relaxed) + 40 * round;
                testing::until(LONG, || (batches.load(Ordering::Relaxed) >= more).then_some(())).unwrap();
                server.kill();
                server.start_again();
                kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let acknowledged = publishers.join_all().await;
    killing.await.unwrap();
    let mut found: BTreeMap<String, Vec<(u64, Sequence)>> = BTreeMap::new();
    for event in log(&handles[0]).await {
        let of_key = found.entry(event.order_key().to_owned()).or_default();
        of_key.push((number(&event), event.sequence()));
    }
    for (publisher, expected) in acknowledged {
        let found = found.remove(&publisher.to_string()).unwrap();
        // Nothing lost, nothing twice, in the order in which it was published, with the sequences that were given.
        assert_eq!(found, expected, "publisher {publisher}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_said_in_time_and_found_again() {
    let server = testing::Nats::start();
    let place = Place::new(server.url());
    let options = place.options().request_timeout(Duration::from_secs(1));
    let transport = Nats::open(options).await.unwrap();
    transport.publish(events("a", 0..1)).await.unwrap();
    server.kill();
    let password = place.url.split(['@', ':']).nth(2).unwrap();
    for _ in 0..8 {
        for error in [
            transport.publish(events("a", 1..2)).await.unwrap_err(),
            transport.head().await.unwrap_err(),
            transport.store("a", Change::new(None, Vec::new())).await.unwrap_err(),
        ] {
            assert!(error.is_retryable(), "{error:?}");
            let shown = format!("{error:?} {}", hive_errors::Report::new(&error));
            assert!(shown.contains(&format!("127.0.0.1:{}", server.port())), "{shown}");
            assert!(!shown.contains(password), "{shown}");
        }
    }
    server.start_again();
    let sequences = insist(&transport, &events("a", 2..3)).await;
    assert_eq!(sequences, [Sequence::new(2)]);
    assert_eq!(numbers(&log(&transport).await), [0, 2]);
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_given_up() {
    let place = Place::shared();
    let (_, address) = place.url.rsplit_once('@').unwrap();
    let proxy = Proxy::start(address);
    let options = place
        .options_at(&proxy.url(&place.url))
        .request_timeout(Duration::from_secs(1));
    let transport = Nats::open(options).await.unwrap();
    transport.publish(events("a", 0..1)).await.unwrap();
    proxy.stall();
    let batch = events("a", 1..40);
    let error = transport.publish(batch.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.is_retryable());
    let error = transport.load("a").await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    // What was held back comes late, and what is published again is known.
    proxy.restore();
    let sequences = insist(&transport, &batch).await;
    assert_eq!(insist(&transport, &batch).await, sequences);
    assert_eq!(numbers(&log(&transport).await), (0..40).collect::<Vec<_>>());
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_leaves_the_others_their_turn() {
    let place = Place::shared();
    let options = place.options().in_flight_bytes(4 * 1024);
    let transport = Nats::open(options).await.unwrap();
    let mut publishers = JoinSet::new();
    for publisher in 0..16 {
        let transport = transport.clone();
        publishers.spawn(async move {
            for round in 0..20 {
                let publishing = transport.publish(events("a", 0..50));
                if (publisher + round) % 3 == 0 {
                    // Dropped somewhere in the middle.
                    drop(tokio::time::timeout(Duration::from_micros(200 * round), publishing).await);
                } else {
                    publishing.await.unwrap();
                }
            }
        });
    }
    publishers.join_all().await;
    transport.publish(events("b", 0..1)).await.unwrap();
    place.end().await;
}
