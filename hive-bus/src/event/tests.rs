mod cloudevent;
mod foreign;
mod hostile;
mod http;

use expect_test::expect;
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
        good().data_schema("https://example.com/schemas/a.json#/$defs/b"),
        good()
            .extension("a", "")
            .extension(fits(limits::EXTENSION_NAME_BYTES_MAX), i32::MIN),
        good().extension("a", fits(limits::EXTENSION_BYTES_MAX)),
        (0..limits::EXTENSIONS_MAX).fold(good(), |event, number| event.extension(format!("a{number}"), 0)),
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
        good().key("\n"),
        good().traceparent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
        good().schema_version(0),
        good().data_schema(""),
        good().data_schema("two words"),
        good().extension("", true),
        good().extension("Upper", true),
        good().extension(fits(limits::EXTENSION_NAME_BYTES_MAX + 1), true),
        good().extension("tenant", "acme"),
        good().extension("data", "here"),
        good().extension("sequence", "7"),
        good().extension("a", "\r\n"),
        good().extension("a", "\u{fdd0}"),
        good().extension("a", fits(limits::EXTENSION_BYTES_MAX + 1)),
        (0..=limits::EXTENSIONS_MAX).fold(good(), |event, number| event.extension(format!("a{number}"), 0)),
        (0..4).fold(good(), |event, number| {
            event.extension(format!("a{number}"), fits(limits::EXTENSION_BYTES_MAX))
        }),
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
        an attribute of the event has a character that is not allowed (attribute=key, character=\n, byte=0)
        the trace context of the event is not one (attribute=traceparent, found=00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01)
        schema versions begin at 1 (attribute=schema_version)
        an attribute of the event is empty (attribute=dataschema)
        an attribute of the event has a character that is not allowed (attribute=dataschema, character=" ", byte=3)
        an attribute of the event has a name that none can have (attribute="", limit=20)
        an attribute of the event has a name that none can have (attribute=Upper, limit=20)
        an attribute of the event has a name that none can have (attribute=xxxxxxxxxxxxxxxxxxxxx, limit=20)
        an extension attribute of the event has a name that is taken (attribute=tenant)
        an extension attribute of the event has a name that is taken (attribute=data)
        an extension attribute of the event has a name that is taken (attribute=sequence)
        an attribute of the event has a character that is not allowed (attribute=a, character=\r, byte=0)
        an attribute of the event has a character that is not allowed (attribute=a, character=\u{fdd0}, byte=0)
        an attribute of the event is too long (attribute=a, bytes=1025, limit=1024)
        the event has too many extension attributes (attributes=33, limit=32)
        the event's extension attributes are too long together (bytes=4104, limit=4096)
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
