//! CloudEvents of other systems in real databases.

use std::sync::Arc;

use hive_bus::transport::{DeadLetter, DeadReason};
use hive_bus::{Bus, ErrorKind, Event, ExtensionValue, HttpMessage, NewEvent, Query, limits};
use hive_core::clock::SystemClock;
use hive_core::db::{Db, Options};
use hive_core::id::IdSource;
use serde_json::{Value, json};

use crate::all;

async fn open(options: Options) -> (Db, Bus) {
    let db = Db::open(options.migrations(&hive_bus::MIGRATIONS)).await.unwrap();
    let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system())
        .await
        .unwrap();
    (db, bus)
}

/// What a camera might send.
fn picture() -> Value {
    json!({
        "specversion": "1.0",
        "id": "Bild 1 «ä»",
        "source": "urn:camera:1",
        "type": "com.example.picture.taken",
        "subject": "/2026/01/Bild 1.png",
        "time": "2026-01-01T00:00:00.000001Z",
        "datacontenttype": "image/png",
        "dataschema": "https://www.w3.org/TR/png",
        "data_base64": "iVBORw0KGgo=",
        "sequence": "A1",
        "flash": false,
        "iso": 100,
        "lens": "50 mm",
    })
}

fn picture_with(name: &str, value: Value) -> Value {
    let mut picture = picture();
    picture.as_object_mut().unwrap().insert(name.to_owned(), value);
    picture
}

async fn received_twice_it_is_published_once(options: Options) {
    let (db, bus) = open(options).await;
    let mut subscription = bus.subscribe("com.example.>").await.unwrap();
    let receive = || NewEvent::from_cloudevent(&picture()).unwrap();
    let first = bus.publish(receive()).await.unwrap();
    assert_eq!(bus.publish(receive()).await.unwrap(), first);
    assert_eq!(
        bus.publish_all(vec![receive(), receive()]).await.unwrap(),
        [first, first]
    );
    // To somebody else it is another event; and its id is not there for one that says something else.
    let other = bus.publish(receive().tenant("acme")).await.unwrap();
    assert!(other > first);
    let changed = picture_with("lens", json!("35 mm"));
    let refused = bus
        .publish(NewEvent::from_cloudevent(&changed).unwrap())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);

    let heard = subscription.next().await.unwrap();
    let events = all(&bus, Query::new()).await;
    let [event, _] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(&heard, event);
    assert_eq!(event.content().unwrap().as_ref(), b"\x89PNG\r\n\x1a\n");
    assert_eq!(event.foreign_id(), Some("Bild 1 «ä»"));
    assert_eq!(event.extension("iso"), Some(&ExtensionValue::Int(100)));
    let expected = picture_with("hivesequence", json!(format!("{:019}", first.get())));
    assert_eq!(event.to_cloudevent().unwrap(), expected);

    let letter = DeadLetter::new(event.clone(), DeadReason::Rejected, 1, event.time(), Vec::new());
    assert_eq!(DeadLetter::from_bytes(&letter.to_bytes().unwrap()).unwrap(), letter);
    bus.close();
    db.close().await.unwrap();
}

#[tokio::test]
async fn received_twice_it_is_published_once_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    received_twice_it_is_published_once(Options::file(dir.path().join("hive.db"))).await;
}

#[cfg(all(feature = "postgres", feature = "test-util"))]
#[tokio::test]
async fn received_twice_it_is_published_once_on_postgres() {
    let db = hive_core::testing::TestDb::postgres();
    received_twice_it_is_published_once(db.options()).await;
}

/// Everything that only is carried along, at its limit, is stored and fits every form.
#[tokio::test]
async fn an_event_at_its_limits_travels() {
    let dir = tempfile::tempdir().unwrap();
    let (db, bus) = open(Options::file(dir.path().join("hive.db"))).await;
    let quotes = "\"".repeat(limits::CORRELATION_BYTES_MAX);
    let mut event = NewEvent::new(
        "t".repeat(limits::TYPE_BYTES_MAX),
        "t".repeat(limits::TOPIC_BYTES_MAX),
        &"\u{1}".repeat((limits::DATA_BYTES_MAX - 2) / 6),
    )
    .unwrap()
    .source("/".repeat(limits::SOURCE_BYTES_MAX))
    .tenant("t".repeat(limits::TENANT_BYTES_MAX))
    .correlation(&quotes)
    .causation(&quotes)
    .key(&quotes);
    // With names of two letters.
    let room = limits::EXTENSIONS_BYTES_MAX / limits::EXTENSIONS_MAX - 2;
    for number in 10..10 + limits::EXTENSIONS_MAX {
        event = event.extension(number.to_string(), "\"".repeat(room));
    }
    bus.publish(event).await.unwrap();
    let stored = all(&bus, Query::new()).await.remove(0);
    let json = stored.to_cloudevent_json().unwrap();
    assert_eq!(Event::from_cloudevent_json(json.as_bytes()).unwrap(), stored);
    let read = |message: &HttpMessage| NewEvent::from_http(message.headers(), &message.body).unwrap();
    for message in [
        stored.to_http_binary().unwrap(),
        stored.to_http_structured().unwrap(),
        Event::batch_to_http(std::slice::from_ref(&stored)).unwrap(),
    ] {
        assert_eq!(read(&message), [NewEvent::from(stored.clone())]);
    }
    bus.close();
    db.close().await.unwrap();
}
