use expect_test::expect;
use hive_core::id::TaskId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn id(number: u8) -> EventId {
    let mut bytes = [0; 16];
    bytes[15] = number;
    EventId::from_bytes(bytes)
}

fn published(new: NewEvent) -> Event {
    new.check().unwrap();
    Event::published(Sequence::new(42), id(1), Timestamp::EPOCH, new.attributes)
}

#[test]
fn as_a_cloudevent() {
    let event = published(
        NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": 1999 }))
            .unwrap()
            .source("/shop/berlin")
            .tenant("acme")
            .correlation("order-4711")
            .causation(id(0))
            .schema_version(2),
    );
    expect![[r#"
        {
          "causationid": "evt_00000000000000000000000000",
          "correlationid": "order-4711",
          "data": {
            "cents": 1999
          },
          "datacontenttype": "application/json",
          "id": "evt_00000000000000000000000001",
          "schemaversion": 2,
          "sequence": "0000000000000000042",
          "source": "/shop/berlin",
          "specversion": "1.0",
          "subject": "order.placed.berlin",
          "tenant": "acme",
          "time": "1970-01-01T00:00:00.000000Z",
          "type": "order.placed"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&event.to_cloudevent().unwrap()).unwrap());
}

#[test]
fn attributes_that_are_not_there_are_left_out() {
    let event = published(NewEvent::new("a", "a", &()).unwrap());
    let object = event.to_cloudevent().unwrap();
    assert_eq!((object.get("correlationid"), object.get("causationid")), (None, None));
    assert_eq!(Event::from_cloudevent(&object).unwrap(), event);
}

#[test]
fn what_is_optional_in_a_cloudevent_has_a_default() {
    let least = json!({ "specversion": "1.0", "id": id(1), "source": "/a", "type": "a", "subject": "a.b" });
    let new = NewEvent::from_cloudevent(&least).unwrap();
    assert_eq!((new.id, new.time), (Some(id(1)), None));
    assert_eq!(new.attributes.data.as_bytes(), b"null");
    assert_eq!(
        (&*new.attributes.tenant, new.attributes.schema_version),
        (TENANT_DEFAULT, 1)
    );
}

/// A good CloudEvent with one attribute replaced, or taken out.
fn with(name: &str, value: Value) -> Value {
    let mut good = json!({
        "specversion": "1.0", "id": id(1), "source": "/a", "type": "a", "subject": "a", "time": "2026-01-01T00:00:00Z",
        "sequence": "0000000000000000001", "data": {}, "otherextension": "an extension that is ignored",
    });
    Event::from_cloudevent(&good).unwrap();
    if value == json!("(out)") {
        good.as_object_mut().unwrap().remove(name);
    } else {
        good[name] = value;
    }
    good
}

#[test]
fn a_hostile_cloudevent_is_refused_with_its_reason() {
    let long = "x".repeat(100_000);
    let cases = [
        json!([]),
        json!("evt"),
        with("specversion", json!("(out)")),
        with("specversion", json!("0.3")),
        with("specversion", json!(1.0)),
        with("id", json!("(out)")),
        with("id", json!("")),
        with("id", json!("A234-1234-1234")),
        with("id", json!(TaskId::from_bytes([0; 16]))),
        with("id", json!(long)),
        with("source", json!("(out)")),
        with("source", json!("")),
        with("source", json!("not a uri")),
        with("source", json!("/100%")),
        with("source", json!("/%4")),
        with("source", json!("/\u{1b}[2J")),
        with("source", json!(long)),
        with("type", json!("(out)")),
        with("type", json!("")),
        with("type", json!("two words")),
        with("type", json!("t\u{0}")),
        with("type", json!(["a"])),
        with("type", json!(long)),
        with("subject", json!("(out)")),
        with("subject", json!("a.>")),
        with("subject", json!("a\n.b")),
        with("subject", json!(long)),
        with("time", json!("yesterday")),
        with("time", json!(0)),
        with("time", json!("(out)")),
        with("sequence", json!("(out)")),
        with("sequence", json!("-1")),
        with("sequence", json!("+1")),
        with("sequence", json!("0")),
        with("sequence", json!("99999999999999999999")),
        with("sequence", json!(1)),
        with("tenant", json!("")),
        with("tenant", json!("../other")),
        with("tenant", json!(long)),
        with("correlationid", json!("")),
        with("correlationid", json!("a\r\nSet-Cookie: b")),
        with("correlationid", json!(long)),
        with("causationid", json!({})),
        with("schemaversion", json!(0)),
        with("schemaversion", json!(65_536)),
        with("schemaversion", json!(-1)),
        with("schemaversion", json!("1")),
        with("datacontenttype", json!("text/xml")),
        with("data_base64", json!("AAAA")),
        with("Extension", json!("a")),
        with("data", json!(vec![long; 3])),
    ];
    let mut seen = String::new();
    for case in &cases {
        let error = Event::from_cloudevent(case).unwrap_err();
        let line = format!("{}: {error}", error.code());
        assert!(
            line.len() < 300,
            "a message must not carry a stranger's text along: {line}"
        );
        assert!(!line.chars().any(char::is_control), "{line:?}");
        seen += &line;
        seen.push('\n');
    }
    expect![[r#"
        invalid-input: a CloudEvent is a JSON object (found=array)
        invalid-input: a CloudEvent is a JSON object (found=string)
        invalid-input: an attribute of the CloudEvent is missing (attribute=specversion)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=specversion, found=0.3)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=specversion, found=number)
        invalid-input: an attribute of the CloudEvent is missing (attribute=id)
        invalid-input: the id has the wrong prefix (value="", expected_prefix=evt_, attribute=id)
        invalid-input: the id has the wrong prefix (value=A234-1234-1234, expected_prefix=evt_, attribute=id)
        invalid-input: the id has the wrong prefix (value=task_00000000000000000000000000, expected_prefix=evt_, attribute=id)
        invalid-input: the id has the wrong prefix (value=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…, expected_prefix=evt_, attribute=id)
        invalid-input: an attribute of the CloudEvent is missing (attribute=source)
        invalid-input: an attribute of the event is empty (attribute=source)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=source, character=" ", byte=3)
        invalid-input: a % in a source must be followed by two hexadecimal digits (source=/100%)
        invalid-input: a % in a source must be followed by two hexadecimal digits (source=/%4)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=source, character=\u{1b}, byte=1)
        invalid-input: an attribute of the event is too long (attribute=source, bytes=100000, limit=256)
        invalid-input: an attribute of the CloudEvent is missing (attribute=type)
        invalid-input: an attribute of the event is empty (attribute=type)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=type, character=" ", byte=3)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=type, character=\0, byte=1)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=type, found=array)
        invalid-input: an attribute of the event is too long (attribute=type, bytes=100000, limit=128)
        invalid-input: an attribute of the CloudEvent is missing (attribute=subject)
        invalid-input: a topic has no wildcards; only a pattern does (wildcard=>, topic=a.>, attribute=subject)
        invalid-input: the topic has a character that is not allowed (topic=a\n.b, character=\n, attribute=subject)
        invalid-input: the topic is too long (bytes=100000, limit=255, attribute=subject)
        invalid-input: the text is not an RFC 3339 time (value=yesterday, attribute=time)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=time, found=number)
        invalid-input: an attribute of the CloudEvent is missing (attribute=time)
        invalid-input: an attribute of the CloudEvent is missing (attribute=sequence)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=-1)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=+1)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=0)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=99999999999999999999)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=sequence, found=number)
        invalid-input: an attribute of the event is empty (attribute=tenant)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=tenant, character=/, byte=2)
        invalid-input: an attribute of the event is too long (attribute=tenant, bytes=100000, limit=64)
        invalid-input: an attribute of the event is empty (attribute=correlation)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=correlation, character=\r, byte=1)
        invalid-input: an attribute of the event is too long (attribute=correlation, bytes=100000, limit=128)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=causationid, found=object)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=number)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=number)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=number)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=string)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=datacontenttype, found=text/xml)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=data_base64, found="binary data")
        invalid-input: an attribute of the CloudEvent is wrong (attribute="(name)", found=Extension)
        payload-too-large: the payload is too large (size=300010, limit=262144)
    "#]].assert_eq(&seen);
}

#[test]
fn hostile_text_is_refused_before_it_costs_anything() {
    let error = NewEvent::from_cloudevent_json(&vec![b' '; limits::CLOUDEVENT_BYTES_MAX + 1]).unwrap_err();
    expect!["the CloudEvent is larger than the limit (bytes=327681, limit=327680)"].assert_eq(&error.to_string());

    let deep = format!(r#"{{"data":{}"#, "[".repeat(200_000));
    for text in [deep.as_bytes(), b"{", b"", b"\xff\xfe", br#"{"id":1}x"#] {
        let error = NewEvent::from_cloudevent_json(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn a_new_event_beyond_a_limit_is_refused() {
    let good = || NewEvent::new("a", "a", &json!({})).unwrap();
    let fits = |limit: usize| "x".repeat(limit);
    for edge in [
        NewEvent::new(fits(limits::TYPE_BYTES_MAX), "a", &()).unwrap(),
        good().source(fits(limits::SOURCE_BYTES_MAX)),
        good().source("http://[::1]/%7Euser?q=a&b#frag"),
        good().tenant(fits(limits::TENANT_BYTES_MAX)),
        good().correlation(fits(limits::CORRELATION_BYTES_MAX)),
        good().causation("ünïcode is fine"),
        NewEvent::new("a", "a", &fits(limits::DATA_BYTES_MAX - 2)).unwrap(),
    ] {
        edge.check().unwrap();
    }
    let mut seen = String::new();
    for beyond in [
        NewEvent::new(fits(limits::TYPE_BYTES_MAX + 1), "a", &()).unwrap(),
        good().source(fits(limits::SOURCE_BYTES_MAX + 1)),
        good().tenant(fits(limits::TENANT_BYTES_MAX + 1)),
        good().correlation(fits(limits::CORRELATION_BYTES_MAX + 1)),
        good().causation(""),
        good().causation("\u{7f}"),
        good().schema_version(0),
    ] {
        seen += &beyond.check().unwrap_err().to_string();
        seen.push('\n');
    }
    seen += &NewEvent::new("a", "a", &fits(limits::DATA_BYTES_MAX - 1))
        .unwrap_err()
        .to_string();
    expect![[r#"
        an attribute of the event is too long (attribute=type, bytes=129, limit=128)
        an attribute of the event is too long (attribute=source, bytes=257, limit=256)
        an attribute of the event is too long (attribute=tenant, bytes=65, limit=64)
        an attribute of the event is too long (attribute=correlation, bytes=129, limit=128)
        an attribute of the event is empty (attribute=causation)
        an attribute of the event has a character that is not allowed (attribute=causation, character=\u{7f}, byte=0)
        schema versions begin at 1 (attribute=schema_version)
        the payload is too large (size=262145, limit=262144)"#]]
    .assert_eq(&seen);
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct OrderPlaced {
    cents: u64,
}

impl TypedEvent for OrderPlaced {
    const TYPE: &'static str = "order.placed";
    const TOPICS: &'static str = "order.placed";
    const SCHEMA_VERSION: u16 = 2;

    fn topic(&self) -> Result<Topic> {
        Topic::new(Self::TOPICS)
    }

    fn example() -> Self {
        Self { cents: 1_999 }
    }
}

#[test]
fn decoding_says_what_does_not_fit() {
    let event = published(NewEvent::of(&OrderPlaced::example()).unwrap());
    assert!(event.is::<OrderPlaced>() && event.schema_version() == 2);
    assert_eq!(event.decode::<OrderPlaced>().unwrap(), OrderPlaced::example());
    let older = published(NewEvent::of(&OrderPlaced::example()).unwrap().schema_version(1));
    assert!(older.decode::<OrderPlaced>().is_ok());

    let on = |event_type: &'static str, data: Value| NewEvent::new(event_type, "order.placed", &data).unwrap();
    let other = published(on("order.lost", json!({})))
        .decode::<OrderPlaced>()
        .unwrap_err();
    expect!["the event is of another type (type=order.lost, expected=order.placed)"].assert_eq(&other.to_string());

    let newer = published(on(OrderPlaced::TYPE, json!({})).schema_version(3))
        .decode::<OrderPlaced>()
        .unwrap_err();
    expect!["the event's data is of a newer version than this program knows (type=order.placed, version=3, known=2)"]
        .assert_eq(&newer.to_string());

    let odd = published(on(OrderPlaced::TYPE, json!({ "cents": "many" })));
    assert_eq!(odd.decode::<OrderPlaced>().unwrap_err().field("path"), Some("cents"));
}

#[test]
fn an_event_stays_small() {
    // It is handed to every subscriber.
    assert_eq!(size_of::<Event>(), size_of::<usize>());
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
        (version, data) in (1..=u16::MAX, proptest::collection::vec(any::<String>(), 0..4)),
    ) {
        let mut new = NewEvent::new(event_type, "a.b", &data).unwrap().tenant(tenant).schema_version(version);
        new.attributes.source = source.replace('%', "%25").into();
        new.attributes.correlation = correlation;
        new.attributes.causation = causation;
        new.check().unwrap();
        let event = Event::published(
            Sequence::new(sequence), EventId::from_bytes(bytes), Timestamp::from_micros(micros), new.attributes,
        );
        let json = serde_json::to_vec(&event.to_cloudevent().unwrap()).unwrap();
        prop_assert_eq!(&Event::from_cloudevent(&serde_json::from_slice(&json).unwrap()).unwrap(), &event);
        // And as one to publish elsewhere, which has everything but the sequence.
        prop_assert_eq!(NewEvent::from_cloudevent_json(&json).unwrap(), NewEvent::from(event));
    }
}
