//! Order, what is known already, and how events look to others.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use hive_bus::transport::Transport;
use hive_bus::{Event, NewEvent, Patterns};
use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Place, event, events, log, number, numbers, read_all};

#[tokio::test]
async fn others_read_events_as_cloud_events() {
    let place = Place::shared();
    let transport = place.open().await;
    let jetstream = place.jetstream().await;
    let client = jetstream.client();
    let mut heard = client
        .subscribe(format!("t.{}.e.order.*.berlin", place.name))
        .await
        .unwrap();
    client.flush().await.unwrap();
    let id: EventId = super::IDS.next();
    let sent = NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": 1999 }))
        .unwrap()
        .id(id)
        .time("2026-01-02T03:04:05.000006Z".parse().unwrap())
        .source("/shop/berlin")
        .correlation("order-4711 \"ß\"")
        .key("4711")
        .expires(Timestamp::MAX);
    transport.publish(vec![sent]).await.unwrap();
    let message = heard.next().await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    let expected = json!({
        "specversion": "1.0", "id": id, "source": "/shop/berlin", "type": "order.placed",
        "subject": "order.placed.berlin", "time": "2026-01-02T03:04:05.000006Z",
        "datacontenttype": "application/json", "tenant": "default", "schemaversion": 1,
        "correlationid": "order-4711 \"ß\"", "partitionkey": "4711", "expirytime": Timestamp::MAX.to_string(),
        "data": { "cents": 1999 },
    });
    assert_eq!(body, expected);
    place.end().await;
}

#[tokio::test]
async fn every_character_of_a_topic_is_its_own() {
    let place = Place::shared();
    let transport = place.open().await;
    let topics = ["a-_:@/+=~%#.B", "$.x", "-", "_INBOX.a", "a.b", "A.b", "~.%.#"];
    let topics: Vec<&str> = topics
        .into_iter()
        .filter(|topic| hive_bus::Topic::new(topic.to_string()).is_ok())
        .collect();
    transport
        .publish(topics.iter().map(|topic| event(*topic, 0)).collect())
        .await
        .unwrap();
    for topic in &topics {
        let found = read_all(&transport, &Patterns::new([topic.to_string()]).unwrap()).await;
        assert_eq!(found.len(), 1, "{topic}");
        assert_eq!(found[0].topic().as_str(), *topic);
    }
    place.end().await;
}

/// Each key's events in the order of the log, by the number that their publisher gave them.
fn by_key(events: &[Event]) -> BTreeMap<String, Vec<u64>> {
    let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in events {
        keys.entry(event.order_key().to_owned())
            .or_default()
            .push(number(event));
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_many_processes_keep_their_order() {
    const PUBLISHERS: u64 = 8;
    const ROUNDS: u64 = 20;
    let place = Place::shared();
    // As if each was a process.
    let handles = [place.open().await, place.open().await, place.open().await];
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let transport = handles[(publisher % 3) as usize].clone();
        publishers.spawn(async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                let size = 1 + (round * 7 + publisher) % 60;
                let batch: Vec<NewEvent> = (0..size)
                    .map(|number| event("load", round * 100 + number).key(publisher))
                    .collect();
                given.extend(transport.publish(batch).await.unwrap());
            }
            assert!(
                given.is_sorted_by(|one, next| one < next),
                "a publisher's sequences grow"
            );
            given
        });
    }
    let mut given: Vec<_> = publishers.join_all().await.into_iter().flatten().collect();
    given.sort_unstable();
    let whole = log(&handles[0]).await;
    assert_eq!(
        whole.iter().map(Event::sequence).collect::<Vec<_>>(),
        given,
        "each is there once"
    );
    for (publisher, numbers) in by_key(&whole) {
        assert!(numbers.is_sorted_by(|one, next| one < next), "{publisher}: {numbers:?}");
    }
    place.end().await;
}

#[tokio::test]
async fn what_is_known_and_what_is_new_come_together() {
    let place = Place::shared();
    let (one, other) = (place.open().await, place.open().await);
    let all = events("a", 0..300);
    // Islands that are known already, the last at the end of the log.
    let mut known = BTreeMap::new();
    for at in [7, 8, 100, 101, 102, 250, 0, 299] {
        known.insert(at, one.publish(vec![all[at].clone()]).await.unwrap()[0]);
    }
    let sequences = other.publish(all.clone()).await.unwrap();
    for (at, sequence) in &known {
        assert_eq!(sequences[*at], *sequence);
    }
    let new: Vec<_> = (0..300)
        .filter(|at| !known.contains_key(at))
        .map(|at| sequences[at])
        .collect();
    assert!(
        new.is_sorted_by(|one, next| one < next),
        "what is new stands in its order"
    );
    assert_eq!(other.publish(all).await.unwrap(), sequences, "all of it is known now");
    let mut found = numbers(&log(&one).await);
    found.sort_unstable();
    assert_eq!(found, (0..300).collect::<Vec<_>>());
    place.end().await;
}

#[tokio::test]
async fn what_is_no_event_is_passed_over() {
    let place = Place::shared();
    let transport = place.open().await;
    let jetstream = place.jetstream().await;
    transport.publish(events("a", 0..2)).await.unwrap();
    for body in [
        "",
        "not JSON",
        "{}",
        r#"{"specversion":"1.0","id":"1","source":"/","type":"t","subject":"a"}"#,
    ] {
        let subject = format!("t.{}.e.a", place.name);
        jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    }
    let sequences = transport.publish(events("a", 2..4)).await.unwrap();
    assert_eq!(numbers(&log(&transport).await), [0, 1, 2, 3]);
    assert_eq!(
        sequences.iter().map(|sequence| sequence.get()).collect::<Vec<_>>(),
        [7, 8]
    );
    assert_eq!(transport.get(&[hive_bus::Sequence::new(4)]).await.unwrap(), []);
    place.end().await;
}
