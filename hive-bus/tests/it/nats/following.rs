//! Whoever waits for events hears of all, whatever the connection does.

use std::sync::Arc;
use std::time::Duration;

use hive_bus::transport::Transport;
use hive_bus::transport::nats::Nats;
use hive_bus::{Bus, Sequence};
use hive_core::clock::SystemClock;
use hive_core::testing::{self, Proxy, until};
use tokio::time::timeout;

use super::{IDS, LONG, Place, events, number};

fn bus(transport: &Nats) -> Bus {
    Bus::over(Arc::new(transport.clone()), Arc::new(SystemClock), IDS.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_misses_nothing_when_connections_break() {
    const COUNT: u64 = 3_000;
    let place = Place::shared();
    let (_, address) = place.url.rsplit_once('@').unwrap();
    let proxy = Proxy::start(address);
    let publisher = place.open().await;
    let follower = Nats::open(place.options_at(&proxy.url(&place.url))).await.unwrap();
    let bus = bus(&follower);
    let mut subscription = bus.subscribe("a.*").await.unwrap();
    let publishing = tokio::spawn(async move {
        for part in 0..COUNT / 20 {
            let topic = if part % 3 == 0 { "b" } else { "a.x" };
            publisher
                .publish(events(topic, part * 20..part * 20 + 20))
                .await
                .unwrap();
        }
    });
    let expected: Vec<u64> = (0..COUNT).filter(|number| (number / 20) % 3 != 0).collect();
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        let event = timeout(LONG, subscription.next())
            .await
            .expect("it hears nothing any more");
        match event {
            Ok(event) => seen.push(number(&event)),
            // What was to be read while the connection broke is read again.
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        if seen.len() % 250 == 0 {
            proxy.drop_connections();
        }
    }
    assert_eq!(seen, expected, "each once and in order");
    publishing.await.unwrap();
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_of_what_came_while_the_server_was_away() {
    let server = testing::Nats::start();
    let place = Place::new(server.url());
    let (_, address) = place.url.rsplit_once('@').unwrap();
    let proxy = Proxy::start(address);
    let follower = Nats::open(place.options_at(&proxy.url(&place.url))).await.unwrap();
    let bus = bus(&follower);
    let mut subscription = bus.subscribe("*").await.unwrap();
    let publisher = place.open().await;
    publisher.publish(events("a", 0..1)).await.unwrap();
    assert_eq!(number(&timeout(LONG, subscription.next()).await.unwrap().unwrap()), 0);
    for round in 0..3 {
        let numbers = round * 10 + 1..round * 10 + 11;
        match round {
            // Refused, held back, and with the server itself.
            0 => proxy.cut(),
            1 => proxy.stall(),
            _ => server.kill(),
        }
        if round < 2 {
            publisher.publish(events("a", numbers.clone())).await.unwrap();
            proxy.restore();
        } else {
            server.start_again();
            publisher.publish(events("a", numbers.clone())).await.unwrap();
        }
        for expected in numbers {
            let event = timeout(LONG, subscription.next())
                .await
                .expect("it hears nothing any more");
            assert_eq!(number(&event.unwrap()), expected, "round {round}");
        }
    }
}

#[tokio::test]
async fn nobody_is_sent_anything_while_nobody_waits() {
    let place = Place::shared();
    let transport = place.open().await;
    let bus = bus(&transport);
    let jetstream = place.jetstream().await;
    let consumers = async || {
        let stream = jetstream.get_stream(&place.name).await.unwrap();
        stream.cached_info().state.consumer_count
    };
    transport.publish(events("a", 0..1)).await.unwrap();
    assert_eq!(consumers().await, 0);
    let mut subscription = bus.subscribe("*").await.unwrap();
    transport.publish(events("a", 1..2)).await.unwrap();
    assert_eq!(number(&timeout(LONG, subscription.next()).await.unwrap().unwrap()), 1);
    assert_eq!(consumers().await, 1, "one for all who wait");
    let more = [bus.subscribe("a").await.unwrap(), bus.subscribe("b").await.unwrap()];
    transport.publish(events("a", 2..3)).await.unwrap();
    assert_eq!(number(&timeout(LONG, subscription.next()).await.unwrap().unwrap()), 2);
    assert_eq!(consumers().await, 1, "one for all who wait");
    drop((more, subscription));
    // It is seen with the next heartbeat.
    let mut left = 1;
    for _ in 0..2_000 {
        left = consumers().await;
        if left == 0 {
            break;
        }
        tokio::task::yield_now().await;
        until(Duration::from_millis(5), || None::<()>);
    }
    assert_eq!(left, 0, "nobody waits any more");
    // Whoever comes later hears what comes later.
    let mut late = bus.subscribe("*").after(Sequence::START).await.unwrap();
    for expected in 0..3 {
        assert_eq!(number(&timeout(LONG, late.next()).await.unwrap().unwrap()), expected);
    }
    transport.publish(events("a", 3..4)).await.unwrap();
    assert_eq!(number(&timeout(LONG, late.next()).await.unwrap().unwrap()), 3);
    place.end().await;
}
