//! Events of Hive's own as CloudEvents in JSON.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An event with everything.
fn full() -> Event {
    published(
        NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": 1999 }))
            .unwrap()
            .source("/shop/berlin")
            .tenant("acme")
            .correlation("order-4711")
            .causation(id(0))
            .key("customer 7")
            .traceparent(TRACE)
            .expires(Timestamp::EPOCH + std::time::Duration::from_micros(1))
            .schema_version(2)
            .data_schema("https://example.com/order.json")
            .extension("severity", -3)
            .extension("drill", false)
            .extension("tracestate", "a=1,b=2"),
    )
}

#[test]
fn as_a_cloudevent() {
    expect![[r#"
        {
          "causationid": "evt_00000000000000000000000000",
          "correlationid": "order-4711",
          "data": {
            "cents": 1999
          },
          "datacontenttype": "application/json",
          "dataschema": "https://example.com/order.json",
          "drill": false,
          "expirytime": "1970-01-01T00:00:00.000001Z",
          "id": "evt_00000000000000000000000001",
          "partitionkey": "customer 7",
          "schemaversion": 2,
          "sequence": "0000000000000000042",
          "severity": -3,
          "source": "/shop/berlin",
          "specversion": "1.0",
          "subject": "order.placed.berlin",
          "tenant": "acme",
          "time": "1970-01-01T00:00:00.000000Z",
          "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "tracestate": "a=1,b=2",
          "type": "order.placed"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&full().to_cloudevent().unwrap()).unwrap());
}

#[test]
fn every_attribute_is_read_again() {
    let event = full();
    let value = event.to_cloudevent().unwrap();
    assert_eq!(Event::from_cloudevent(&value).unwrap(), event);
    let received = NewEvent::from_cloudevent(&value).unwrap().at(event.sequence()).unwrap();
    assert_eq!(received, event);
    assert_eq!(
        (received.key(), received.traceparent()),
        (Some("customer 7"), Some(TRACE))
    );
    assert_eq!(received.expires().map(Timestamp::as_micros), Some(1));
    assert_eq!(received.extension("severity"), Some(&ExtensionValue::Int(-3)));
    assert_eq!(
        received.extension("tracestate").and_then(ExtensionValue::as_text),
        Some("a=1,b=2")
    );
    assert_eq!(
        received.extensions().map(|(name, _)| name).collect::<Vec<_>>(),
        ["drill", "severity", "tracestate"]
    );
    assert_eq!(received.data_schema(), Some("https://example.com/order.json"));
    assert_eq!(
        (received.subject(), received.foreign_id()),
        (Some("order.placed.berlin"), None)
    );
}

#[test]
fn attributes_that_are_not_there_are_left_out() {
    let event = published(NewEvent::new("a", "a", &()).unwrap());
    let object = event.to_cloudevent().unwrap();
    expect![[r#"{"data":null,"datacontenttype":"application/json","id":"evt_00000000000000000000000001","schemaversion":1,"sequence":"0000000000000000042","source":"/hive","specversion":"1.0","subject":"a","tenant":"default","time":"1970-01-01T00:00:00.000000Z","type":"a"}"#]]
        .assert_eq(&object.to_string());
    assert_eq!(Event::from_cloudevent(&object).unwrap(), event);
}

#[test]
fn what_is_optional_in_a_cloudevent_has_a_default() {
    let least = json!({ "specversion": "1.0", "id": id(1), "source": "/a", "type": "a", "subject": "a.b" });
    let new = NewEvent::from_cloudevent(&least).unwrap();
    assert_eq!((new.id, new.time), (Some(id(1)), None));
    assert_eq!(new.attributes.data.as_bytes(), b"null");
    assert_eq!(new.attributes.extensions, None);
    assert_eq!(
        (&*new.attributes.tenant, new.attributes.schema_version),
        (TENANT_DEFAULT, 1)
    );
    // What is `null` is not there.
    let mut nulls = least.clone();
    for name in [
        "time",
        "tenant",
        "correlationid",
        "partitionkey",
        "traceparent",
        "other",
        "data_base64",
        "data",
    ] {
        nulls[name] = Value::Null;
    }
    assert_eq!(NewEvent::from_cloudevent(&nulls).unwrap(), new);
}

#[test]
fn numbers_keep_their_spelling_in_text() {
    let long = r#"[1e400,123456789012345678901234567890,0.1000,-0]"#;
    let text = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"/a","type":"a","subject":"a","time":"2026-01-01T00:00:00Z",
            "sequence":"1","schemaversion":2,"data": {long} }}"#,
        id(1)
    );
    let event = Event::from_cloudevent_json(text.as_bytes()).unwrap();
    assert_eq!(event.data().as_bytes(), long.as_bytes());
    let again = event.to_cloudevent_json().unwrap();
    assert!(again.contains(long), "{again}");
    assert_eq!(Event::from_cloudevent_json(again.as_bytes()).unwrap(), event);
    // A value has no room for the first.
    assert_eq!(event.to_cloudevent().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_version_may_come_as_digits() {
    let version = |value: Value| {
        let event = json!({ "specversion": "1.0", "id": id(1), "source": "/a", "type": "a", "subject": "a",
            "schemaversion": value });
        NewEvent::from_cloudevent(&event).unwrap().attributes.schema_version
    };
    assert_eq!(
        (version(json!("7")), version(json!(7)), version(json!("65535"))),
        (7, 7, u16::MAX)
    );
}

#[test]
fn a_batch_is_read_again() {
    let events = [
        full(),
        published(NewEvent::new("a", "a", &"text").unwrap().extension("a", "")),
    ];
    let json = Event::batch_to_cloudevents_json(&events).unwrap();
    let received = NewEvent::from_cloudevents_json(json.as_bytes()).unwrap();
    assert_eq!(received, events.map(NewEvent::from));
    assert_eq!(Event::batch_to_cloudevents_json(&[]).unwrap(), "[]");
    assert_eq!(NewEvent::from_cloudevents_json(b" [ ] ").unwrap(), []);
}

#[test]
fn a_batch_has_limits() {
    let event = published(NewEvent::new("a", "a", &()).unwrap());
    let most = vec![event.clone(); limits::BATCH_MAX];
    let json = Event::batch_to_cloudevents_json(&most).unwrap();
    assert_eq!(
        NewEvent::from_cloudevents_json(json.as_bytes()).unwrap().len(),
        limits::BATCH_MAX
    );

    let more = vec![event.clone(); limits::BATCH_MAX + 1];
    let refused = Event::batch_to_cloudevents_json(&more).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitReached);
    let json = json.replacen('[', &format!("[{},", event.to_cloudevent_json().unwrap()), 1);
    let refused = NewEvent::from_cloudevents_json(json.as_bytes()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitReached);

    let large = published(NewEvent::new("a", "a", &"x".repeat(200_000)).unwrap());
    let refused = Event::batch_to_cloudevents_json(&vec![large; 21]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PayloadTooLarge);
    let blank = vec![b' '; limits::CLOUDEVENTS_BYTES_MAX + 1];
    assert_eq!(
        NewEvent::from_cloudevents_json(&blank).unwrap_err().kind(),
        ErrorKind::PayloadTooLarge
    );
}

fn text(characters: &'static str, max: usize) -> impl Strategy<Value = String> {
    let characters: Vec<char> = characters.chars().collect();
    proptest::collection::vec(proptest::sample::select(characters), 1..max).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn cloudevents_round_trip(
        (sequence, bytes, micros) in (1..i64::MAX as u64, any::<[u8; 16]>(), any::<i64>()),
        (event_type, source, tenant) in (text("az09._-/", 40), text("az/:?#%25&", 40), text("aZ0-_.", 40)),
        (correlation, causation) in (proptest::option::of(text("a\"\\é 0", 30)), proptest::option::of(text("x☃", 30))),
        (key, expires) in (proptest::option::of(text("a% \"", 9)), proptest::option::of(any::<i64>())),
        extensions in proptest::collection::btree_map(text("abz09", 6), text("a\"\\é %,", 9), 0..4),
        (version, data) in (1..=u16::MAX, proptest::collection::vec(any::<String>(), 0..4)),
    ) {
        let mut new = NewEvent::new(event_type, "a.b", &data).unwrap().tenant(tenant).schema_version(version);
        new.attributes.source = source.replace('%', "%25").into();
        new.attributes.correlation = correlation;
        new.attributes.causation = causation;
        new.attributes.key = key;
        new.attributes.expires = expires.map(Timestamp::from_micros);
        for (name, value) in extensions {
            new = new.extension(name, value);
        }
        new.check().unwrap();
        let event = Event::published(
            Sequence::new(sequence), EventId::from_bytes(bytes), Timestamp::from_micros(micros), new.attributes,
        );
        let json = event.to_cloudevent_json().unwrap();
        prop_assert_eq!(&Event::from_cloudevent_json(json.as_bytes()).unwrap(), &event);
        prop_assert_eq!(&Event::from_cloudevent(&event.to_cloudevent().unwrap()).unwrap(), &event);
        // And as one to publish elsewhere, which has everything but the sequence.
        prop_assert_eq!(NewEvent::from_cloudevent_json(json.as_bytes()).unwrap(), NewEvent::from(event.clone()));
        let message = event.to_http_binary().unwrap();
        prop_assert_eq!(NewEvent::from_http(message.headers(), &message.body).unwrap(), [NewEvent::from(event)]);
    }
}
