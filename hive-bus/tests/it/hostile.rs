//! Events that nobody should be able to publish: refused by the bus, before the transport hears of them.

use std::borrow::Cow;
use std::sync::Arc;

use hive_bus::transport::{Memory, Transport};
use hive_bus::{Bus, ErrorKind, NewEvent, Sequence, limits};
use hive_core::clock::{SystemClock, Timestamp};
use hive_core::id::{EventId, IdSource};
use hive_core::testing::TestDb;
use serde_json::{Value, json, value::RawValue};

use crate::{Fixture, event};

/// Events that can be made and must not be published, each with the attribute that is wrong.
fn hostile() -> Vec<(&'static str, NewEvent)> {
    let plain = || event("a");
    let of_type = |name: &'static str| NewEvent::new(name, "a", &()).unwrap();
    let long = |bytes: usize| "x".repeat(bytes + 1);
    let mut events = vec![
        ("schema_version", plain().schema_version(0)),
        ("type", of_type("")),
        ("type", of_type("a b")),
        ("type", of_type("ä")),
        ("type", NewEvent::new(long(limits::TYPE_BYTES_MAX), "a", &()).unwrap()),
        ("source", plain().source("no uri")),
        ("source", plain().source(long(limits::SOURCE_BYTES_MAX))),
        ("tenant", plain().tenant("a/b")),
        ("tenant", plain().tenant(long(limits::TENANT_BYTES_MAX))),
        ("correlation", plain().correlation(long(limits::CORRELATION_BYTES_MAX))),
        ("causation", plain().causation(long(limits::CORRELATION_BYTES_MAX))),
        ("key", plain().key(long(limits::CORRELATION_BYTES_MAX))),
        ("traceparent", plain().traceparent(long(limits::TRACEPARENT_BYTES_MAX))),
        ("traceparent", plain().traceparent("00-0-0-0")),
    ];
    for text in ["", "a\0b", "\0", "a\nb", "a\u{7f}b", "a\u{9f}b", "a\u{1b}[2Jb"] {
        let owned: Cow<'static, str> = text.into();
        events.push(("type", NewEvent::new(owned.clone(), "a", &()).unwrap()));
        events.push(("source", plain().source(owned.clone())));
        events.push(("tenant", plain().tenant(owned)));
        events.push(("correlation", plain().correlation(text)));
        events.push(("causation", plain().causation(text)));
        events.push(("key", plain().key(text)));
        events.push(("traceparent", plain().traceparent(text)));
    }
    events
}

/// None of them comes through, in whatever way it is tried.
async fn refuses(bus: &Bus) {
    for (attribute, event) in hostile() {
        let error = bus.publish(event.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{event:?}");
        let named = [error.field("attribute"), error.field("source").map(|_| "source")];
        assert!(named.contains(&Some(attribute)), "{attribute}: {error:?}");
        let batch = vec![crate::event("front"), event.clone(), crate::event("back")];
        let error = bus.publish_all(batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{event:?}");
    }
}

pub(super) async fn hostile_events_are_refused_before_the_database(place: TestDb) {
    let hive = Fixture::on(place).await;
    let before = hive.db.stats();
    refuses(&hive.bus).await;
    assert_eq!(hive.db.stats(), before);
    for (_, event) in hostile() {
        let bus = hive.bus.clone();
        let kept = hive.db.write(move |tx| {
            let one = bus.publish_in(tx, event.clone());
            let many = bus.publish_all_in(tx, vec![crate::event("front"), event.clone()]);
            assert_eq!(one.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(many.unwrap_err().kind(), ErrorKind::InvalidInput);
            Ok(())
        });
        kept.await.unwrap();
    }
    assert_eq!(hive.all().await, []);
}

#[tokio::test]
async fn hostile_events_are_refused_before_any_transport() {
    let memory = Memory::new(Arc::new(SystemClock));
    let bus = Bus::over(Arc::new(memory.clone()), Arc::new(SystemClock), IdSource::system());
    refuses(&bus).await;
    assert_eq!(memory.head().await.unwrap(), Sequence::START);
}

#[test]
fn what_is_no_event_cannot_be_made() {
    let refused = |topic: &str, data: &Value| {
        let made = NewEvent::new("a", topic.to_owned(), data);
        made.map(drop).unwrap_err().kind()
    };
    let tokens = vec!["a"; limits::TOPIC_TOKENS_MAX + 1].join(".");
    let long = "a".repeat(limits::TOPIC_BYTES_MAX + 1);
    for topic in [
        "*", ">", "a.*", "a.>", "a*", "", ".", "a.", ".a", "a..b", "a b", "a\0", "ä", "a\n", "a,b", "(a|b)", "^a$",
        "'a'", &tokens, &long,
    ] {
        assert_eq!(refused(topic, &json!(null)), ErrorKind::InvalidInput, "{topic:?}");
    }
    let large = json!("x".repeat(limits::DATA_BYTES_MAX - 1));
    assert_eq!(refused("a", &large), ErrorKind::PayloadTooLarge);
    // Escapes make it larger than it looks.
    let escaped = json!("\0".repeat(limits::DATA_BYTES_MAX / 6 + 1));
    assert_eq!(refused("a", &escaped), ErrorKind::PayloadTooLarge);

    let raw = |json: String| {
        let raw = RawValue::from_string(json).unwrap();
        NewEvent::new("a", "a", &raw).map(drop).map_err(|error| error.kind())
    };
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(raw(nested(100)), Ok(()));
    for depth in [101, 1_000, 100_000] {
        assert_eq!(raw(nested(depth)), Err(ErrorKind::InvalidInput), "{depth}");
    }
    assert_eq!(raw(r#"{"a":1,"a":2}"#.to_owned()), Err(ErrorKind::InvalidInput));
}

#[test]
fn a_hostile_cloudevent_is_refused() {
    let id = EventId::from_bytes([7; 16]).to_string();
    let with = |name: &str, value: Value| {
        let mut event = json!({
            "specversion": "1.0", "id": id, "source": "/a", "type": "a", "subject": "a", "time": Timestamp::EPOCH.to_string(),
            "data": null,
        });
        event[name] = value;
        event.to_string()
    };
    let read = |json: &[u8]| {
        NewEvent::from_cloudevent_json(json)
            .map(drop)
            .map_err(|error| error.kind())
    };
    assert_eq!(read(with("data", json!([1])).as_bytes()), Ok(()));
    for (name, value) in [
        ("subject", json!("a.*")),
        ("subject", json!("a\0")),
        ("subject", json!(null)),
        ("tenant", json!("a\0")),
        ("tenant", json!(["a"])),
        ("correlationid", json!("a\0")),
        ("causationid", json!("\u{1b}")),
        ("partitionkey", json!("")),
        ("traceparent", json!("00")),
        ("schemaversion", json!(0)),
        ("schemaversion", json!(1e300)),
        ("expirytime", json!("tomorrow")),
        ("time", json!(1)),
        ("id", json!("")),
        ("id", json!(7)),
        ("type", json!("a\nb")),
        ("source", json!("a\0")),
    ] {
        assert_eq!(
            read(with(name, value.clone()).as_bytes()),
            Err(ErrorKind::InvalidInput),
            "{name} {value}"
        );
    }
    let deep = |depth: usize| {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        with("data", json!("nested")).replace("\"nested\"", &nested)
    };
    assert_eq!(read(deep(100).as_bytes()), Ok(()));
    for depth in [101, 1_000, 20_000] {
        assert_eq!(read(deep(depth).as_bytes()), Err(ErrorKind::InvalidInput), "{depth}");
    }
    let large = with("data", json!("x".repeat(limits::DATA_BYTES_MAX)));
    assert_eq!(read(large.as_bytes()), Err(ErrorKind::PayloadTooLarge));
    let huge = with("unknown", json!("x".repeat(limits::CLOUDEVENT_BYTES_MAX)));
    assert_eq!(read(huge.as_bytes()), Err(ErrorKind::PayloadTooLarge));
    for no_json in [&b"\xff\xfe"[..], b"", b"{", b"[]", b"null", b"\"\xed\xa0\x80\""] {
        assert_eq!(read(no_json), Err(ErrorKind::InvalidInput), "{no_json:?}");
    }
}
