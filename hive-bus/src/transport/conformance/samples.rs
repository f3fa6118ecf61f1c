//! Events and letters to work with.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use hive_core::clock::{Clock, SystemClock, Timestamp};
use hive_core::id::{EventId, IdSource};
use hive_core::payload::Payload;

use crate::event::{Event, NewEvent, Sequence};
use crate::limits;
use crate::topic::Patterns;
use crate::transport::Transport;

static IDS: LazyLock<IdSource> = LazyLock::new(IdSource::system);

pub(super) fn new_id() -> EventId {
    IDS.next()
}

/// An event with an id and a time, as a bus hands it to its transport.
pub(super) fn event(topic: impl Into<Cow<'static, str>>, number: u64) -> NewEvent {
    NewEvent::new("conformance", topic, &number)
        .expect("the sample is an event")
        .id(new_id())
        .time(SystemClock.now())
}

pub(super) fn events(topic: &'static str, count: u64) -> Vec<NewEvent> {
    (0..count).map(|number| event(topic, number)).collect()
}

/// An event whose data has this many bytes.
pub(super) fn large(topic: &'static str, bytes: usize) -> NewEvent {
    let text = "x".repeat(bytes - 2);
    NewEvent::new("large", topic, &text)
        .expect("the sample keeps the limit")
        .id(new_id())
        .time(SystemClock.now())
}

/// With data that is this JSON, spelled as it is here.
pub(super) fn with_data(event: NewEvent, json: &str) -> NewEvent {
    let mut event = event;
    event.attributes.data = Payload::parse(json.as_bytes(), limits::DATA_BYTES_MAX).expect("the sample is JSON");
    event
}

/// Events whose attributes are as unlike as the limits allow.
pub(super) fn odd_events() -> Vec<NewEvent> {
    let plain = || event("odd", 0);
    let mut events = vec![
        plain(),
        plain().source("/shop/berlin?a=b&c=%C3%9F#'(),;"),
        plain().tenant("a-b_c.D9"),
        plain().correlation("auftrag-ß \"quoted\" \\ 日本 🦀 <&>' %s {}"),
        plain().causation(" leading and trailing "),
        plain().key("key: a/b.c*>"),
        plain().traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        plain().expires(Timestamp::MAX),
        plain().expires(Timestamp::from_micros(1)),
        plain().schema_version(u16::MAX),
        plain().time(Timestamp::EPOCH),
        plain().time(Timestamp::from_micros(-1)),
        plain().time(Timestamp::from_micros(1_767_225_600_000_001)),
        event("A.b-c_d:e@f/g+h=i~j%k#l", 0),
        plain()
            .source("/all")
            .tenant("all")
            .correlation("correlation")
            .causation("causation")
            .key("key")
            .traceparent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-comes")
            .expires(SystemClock.now())
            .schema_version(2),
        plain()
            .data_schema("https://example.com/a.json#b")
            .extension("a", true)
            .extension("b", i32::MIN)
            .extension("c", "\"ß\" 🦀"),
        foreign(r#""subject":"no topic","datacontenttype":"image/png","data_base64":"iVBORw==","sequence":"A1""#),
        foreign(r#""subject":"odd.topic","datacontenttype":"text/plain","data":"ß\u0000""#),
        foreign(r#""tenant":"all","a":"""#),
        at_the_limits(),
    ];
    let numbers = "1e300 0.1 -0.0 18446744073709551615 -9223372036854775808 1E+2 0.10 5e-324 123456789012345678901234567890 1e999";
    let texts = [r#""""#, r#""\u0000\u001f""#, r#""ß日本🦀\"\\/\u2028""#, r#"" \t\r\n ""#];
    let documents = [
        "null",
        "true",
        "[]",
        "{}",
        r#"{"":[[],{}],"a":{"b":[null,1]},"ß":"\u0000"}"#,
    ];
    for json in numbers.split(' ').chain(texts).chain(documents) {
        events.push(with_data(plain(), json));
    }
    events.push(with_data(plain(), &format!("{}1{}", "[".repeat(100), "]".repeat(100))));
    events
}

/// An event of another system, a CloudEvent with these members.
fn foreign(members: &str) -> NewEvent {
    let id = format!("foreign {}", new_id());
    let json = format!(r#"{{"specversion":"1.0","id":"{id}","source":"urn:a","type":"com.example.odd",{members}}}"#);
    NewEvent::from_cloudevent_json(json.as_bytes())
        .expect("the sample is a CloudEvent")
        .time(SystemClock.now())
}

/// An event whose attributes are as long as they may be.
fn at_the_limits() -> NewEvent {
    let tokens = limits::TOPIC_TOKENS_MAX;
    let rest = limits::TOPIC_BYTES_MAX - 2 * (tokens - 1);
    let topic = format!("{}{}", "t.".repeat(tokens - 1), "t".repeat(rest));
    let wide = "ß".repeat(limits::CORRELATION_BYTES_MAX / 2);
    let trace = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-";
    let mut event = event(topic, u64::MAX)
        .source("s".repeat(limits::SOURCE_BYTES_MAX))
        .tenant("t".repeat(limits::TENANT_BYTES_MAX))
        .correlation(&wide)
        .causation(&wide)
        .key(wide)
        .traceparent(format!(
            "{trace}{}",
            "x".repeat(limits::TRACEPARENT_BYTES_MAX - trace.len())
        ));
    event.attributes.event_type = Cow::Owned("y".repeat(limits::TYPE_BYTES_MAX));
    event
}

/// What is to come back of an event that got this sequence.
pub(super) fn published(event: &NewEvent, sequence: Sequence) -> Event {
    let (id, time, attributes) = event.clone().into_parts().expect("the sample has an id and a time");
    Event::published(sequence, id, time, attributes)
}

/// The same for many.
pub(super) fn all_published(events: &[NewEvent], sequences: &[Sequence]) -> Vec<Event> {
    assert_eq!(events.len(), sequences.len(), "each event has a sequence");
    events
        .iter()
        .zip(sequences)
        .map(|(event, sequence)| published(event, *sequence))
        .collect()
}

pub(super) fn everything() -> Patterns {
    patterns(&["*"])
}

pub(super) fn patterns(texts: &[&'static str]) -> Patterns {
    Patterns::new(texts.iter().copied()).expect("the sample is a pattern")
}

pub(super) fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence().get()).collect()
}

/// Every event after a cursor that matches, in pages of so many; each page is checked.
pub(super) async fn read(transport: &dyn Transport, patterns: &Patterns, after: Sequence, limit: usize) -> Vec<Event> {
    let head = transport.head().await.expect("the end of the log is told");
    let (mut found, mut after) = (Vec::new(), after);
    loop {
        let page = transport.read(patterns, after, limit).await.expect("a page is read");
        let numbers = numbers(&page.events);
        assert!(numbers.len() <= limit, "a page of {limit} has {} events", numbers.len());
        assert!(
            numbers.is_sorted_by(|one, next| one < next),
            "a page is not in order: {numbers:?}"
        );
        let inside = |number: &u64| *number > after.get() && *number <= page.reached.get();
        assert!(
            numbers.iter().all(inside),
            "a page after {after} up to {} has {numbers:?}",
            page.reached
        );
        let stranger = page.events.iter().find(|event| !patterns.matches(event.topic()));
        assert_eq!(stranger, None, "an event matches none of {patterns}");
        found.extend(page.events);
        if page.ended {
            assert!(
                page.reached >= head,
                "the log was said to end at {}, before its head {head}",
                page.reached
            );
            return found;
        }
        assert!(
            page.reached > after,
            "a page after {after} that is not the last looked at nothing"
        );
        after = page.reached;
    }
}

/// Every event of the log.
pub(super) async fn log(transport: &dyn Transport) -> Vec<Event> {
    read(transport, &everything(), Sequence::START, 1_000).await
}

/// Fails with what differs, and not with two long lists.
#[track_caller]
pub(super) fn assert_same<T: PartialEq + fmt::Debug>(found: &[T], expected: &[T], what: &str) {
    let differs = found
        .iter()
        .zip(expected)
        .position(|(found, expected)| found != expected);
    if let Some(at) = differs {
        panic!(
            "{what}: at {at} there is {:#?} instead of {:#?}",
            found[at], expected[at]
        );
    }
    assert_eq!(found.len(), expected.len(), "{what}: how many there are");
}
