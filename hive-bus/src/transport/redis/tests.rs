//! Events as entries, and what one script takes.

use ::redis::Value;
use expect_test::expect;
use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Result};
use proptest::prelude::*;
use serde_json::json;

use super::entry::{read, text};
use super::log::fitting;
use crate::event::{Attributes, Event, NewEvent, Sequence};
use crate::limits;

fn bytes(bytes: impl Into<Vec<u8>>) -> Value {
    Value::BulkString(bytes.into())
}

/// The entry as the server would give it.
fn entry(event: &Event) -> Value {
    let fields = vec![
        bytes(event.id().as_bytes().as_slice()),
        bytes(text(event.time(), event.attributes()).unwrap()),
    ];
    Value::Array(vec![bytes(format!("{}-1", event.sequence())), Value::Array(fields)])
}

/// What is read of it.
fn back(entry: Value) -> Result<Event> {
    read(entry)?.first().unwrap().event()
}

fn published(new: NewEvent) -> Event {
    let id = EventId::from_bytes([7; 16]);
    let (id, time, attributes) = new.id(id).time(Timestamp::from_micros(-1)).into_parts().unwrap();
    Event::published(Sequence::new(42), id, time, attributes)
}

#[test]
fn an_entry_says_only_what_is_particular() {
    let plain = published(NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": 1 })).unwrap());
    let told = String::from_utf8(text(plain.time(), plain.attributes()).unwrap()).unwrap();
    expect![[r#"
        -1
        {"v":1,"type":"order.placed","topic":"order.placed.berlin"}
        {"cents":1}"#]]
    .assert_eq(&told);
    let whole = published(
        NewEvent::new("a", "b", &json!(null))
            .unwrap()
            .schema_version(2)
            .source("/shop")
            .tenant("acme")
            .correlation("4711")
            .causation("c\"\\\u{e9}")
            .key("k")
            .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .expires(Timestamp::from_micros(-7)),
    );
    let told = String::from_utf8(text(whole.time(), whole.attributes()).unwrap()).unwrap();
    expect![[r#"
        -1
        {"v":1,"type":"a","schema_version":2,"source":"/shop","topic":"b","tenant":"acme","correlation":"4711","causation":"c\"\\é","key":"k","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","expires_us":-7}
        null"#]].assert_eq(&told);
    for event in [plain, whole] {
        assert_eq!(back(entry(&event)).unwrap(), event);
    }
}

#[test]
fn an_entry_numbers_its_events() {
    let fields = (0..3_u8).flat_map(|id| {
        [
            bytes([id; 16]),
            bytes(format!("{id}\n{{\"v\":1,\"type\":\"a\",\"topic\":\"b\"}}\nnull")),
        ]
    });
    let entry = Value::Array(vec![bytes("9-3"), Value::Array(fields.collect())]);
    let events: Vec<Event> = read(entry).unwrap().iter().map(|told| told.event().unwrap()).collect();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.sequence().get(), event.time().as_micros()))
        .collect();
    assert_eq!(seen, [(7, 0), (8, 1), (9, 2)]);
}

#[test]
fn what_somebody_else_wrote_is_found_out() {
    let good = "-1\n{\"v\":1,\"type\":\"a\",\"topic\":\"b\"}\nnull";
    let made = |name: &str, id: &[u8], text: &[u8]| {
        Value::Array(vec![bytes(name), Value::Array(vec![bytes(id), bytes(text)])])
    };
    let (with, named) = (
        |text: &str| made("42-1", &[7; 16], text.as_bytes()),
        |name| made(name, &[7; 16], good.as_bytes()),
    );
    back(with(good)).unwrap();
    let odd = [
        Value::Nil,
        Value::Array(vec![]),
        Value::Array(vec![bytes("42-1"), Value::Nil]),
        Value::Array(vec![bytes("42-1"), Value::Array(vec![Value::Nil, bytes(good)])]),
        Value::Array(vec![bytes("42-1"), Value::Array(vec![bytes([7; 16])])]),
        named("42"),
        named("42-0"),
        named("42-2"),
        named("42-18446744073709551615"),
        named("0-1"),
        named("x-1"),
        named("-1-1"),
        made("42-1", &[7; 15], good.as_bytes()),
        made(
            "42-1",
            &[7; 16],
            b"0\n{\"v\":1,\"type\":\"\xff\",\"topic\":\"b\"}\nnull",
        ),
        with(""),
        with("0\n{}\n"),
        with("0\n{}"),
        with("\n{\"v\":1,\"type\":\"a\",\"topic\":\"b\"}\nnull"),
        with("9223372036854775808\n{\"v\":1,\"type\":\"a\",\"topic\":\"b\"}\nnull"),
    ];
    for odd in odd {
        let shown = format!("{odd:?}");
        let error = read(odd)
            .and_then(|told| told.first().map(|told| told.event()).transpose())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{shown}");
    }
    for newer in ["0\n{\"v\":2}\n", "0\n{\"v\":2,\"type\":\"a\",\"topic\":\"b\"}\nnull"] {
        assert_eq!(back(with(newer)).unwrap_err().kind(), ErrorKind::SchemaTooNew);
    }
}

#[test]
fn a_script_takes_at_least_one() {
    let fits = |sizes: &[usize]| fitting(sizes, |size| *size);
    assert_eq!(fits(&[]), 0);
    assert_eq!(fits(&[usize::MAX >> 1]), 1);
    assert_eq!(fits(&[limits::REDIS_SCRIPT_BYTES - 1, 1, 1]), 2);
    assert_eq!(fits(&[limits::REDIS_SCRIPT_BYTES, 1]), 1);
    assert_eq!(fits(&[0; limits::REDIS_SCRIPT_EVENTS + 1]), limits::REDIS_SCRIPT_EVENTS);
}

fn any_text() -> impl Strategy<Value = String> {
    any::<String>()
}

proptest! {
    /// Whatever passes the rules comes back as it was, and two events look alike exactly if they are.
    #[test]
    fn entries_round_trip(
        (sequence, id, time) in (1..u64::MAX, any::<[u8; 16]>(), any::<i64>()),
        (event_type, source, tenant) in (any_text(), any_text(), any_text()),
        (correlation, causation) in (proptest::option::of(any_text()), proptest::option::of(any_text())),
        (key, traceparent) in (proptest::option::of(any_text()), proptest::option::of(any_text())),
        (version, expires) in (any::<u16>(), proptest::option::of(any::<i64>())),
        data in proptest::collection::vec(any::<String>(), 0..4),
    ) {
        let mut new = NewEvent::new(event_type, "a.b", &data).unwrap().source(source).tenant(tenant).schema_version(version);
        new.attributes.correlation = correlation;
        new.attributes.causation = causation;
        new.attributes.key = key;
        new.attributes.traceparent = traceparent;
        new.attributes.expires = expires.map(Timestamp::from_micros);
        let (id, time) = (EventId::from_bytes(id), Timestamp::from_micros(time));
        let event = Event::published(Sequence::new(sequence), id, time, new.attributes);
        prop_assert_eq!(&back(entry(&event)).unwrap(), &event);

        // Whoever looks for the same event leaves out the time, which is the first line.
        let rest = |time, attributes: &Attributes| {
            let text = text(time, attributes).unwrap();
            text[text.iter().position(|byte| *byte == b'\n').unwrap()..].to_vec()
        };
        let known = rest(time, event.attributes());
        prop_assert_eq!(&rest(Timestamp::EPOCH, event.attributes()), &known);
        let mut other = event.attributes().clone();
        other.key = Some("another key".to_owned());
        prop_assert_ne!(&rest(time, &other), &known);
        let mut other = event.attributes().clone();
        other.data = Payload::encode(&"other", limits::DATA_BYTES_MAX).unwrap();
        prop_assert_ne!(&rest(time, &other), &known);
    }
}
