use expect_test::expect;
use hive_core::id::IdSource;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{Sequence, TypedEvent};
use crate::topic::Topic;

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

fn id(number: u8) -> EventId {
    let mut bytes = [0; 16];
    bytes[15] = number;
    EventId::from_bytes(bytes)
}

/// A message with everything that one can have.
fn whole() -> NewMessage {
    let failure = Failure::terminal("no").with("why", "it is late");
    AgentMessage::to("acme.reviewer")
        .id(id(1))
        .kind("review.request")
        .body(&json!({ "diff": "- foo" }))
        .unwrap()
        .from("writer")
        .priority(Priority::High)
        .ttl(Duration::from_secs(60))
        .reply_to(Address::Capability("archive".into()))
        .attempts(3)
        .ordered_by("file-7")
        .correlation("order-1")
        .causation(id(9))
        .tenant("acme")
        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .refusal(failure)
}

fn published(message: NewMessage) -> Event {
    let event = message.into_event(NOW).unwrap();
    event.check().unwrap();
    let (id, time, attributes) = event.into_parts().unwrap();
    Event::published(Sequence::new(1), id, time, attributes)
}

#[test]
fn a_message_is_an_event() {
    let event = published(whole());
    let data = std::str::from_utf8(event.data().as_bytes()).unwrap();
    expect![[r#"{"attempts":3,"body":{"diff":"- foo"},"from":"writer","priority":"high","refusal":{"fields":{"why":"it is late"},"kind":"agent-failed","message":"no","terminal":true,"v":1},"reply_to":{"capability":"archive"},"to":{"agent":"acme.reviewer"},"type":"refusal"}"#]]
        .assert_eq(data);
    let expires = NOW + Duration::from_secs(60);
    assert_eq!(event.topic().as_str(), "message.agent.high.acme.reviewer");
    assert_eq!((event.event_type(), event.source()), ("message.sent", "/hive/writer"));
    assert_eq!((event.id(), event.time(), event.expires()), (id(1), NOW, Some(expires)));
    assert_eq!((event.tenant(), event.key()), ("acme", Some("file-7")));
    let cause = id(9).to_string();
    assert_eq!(
        (event.correlation(), event.causation()),
        (Some("order-1"), Some(&*cause))
    );

    let message = AgentMessage::from_event(&event).unwrap();
    assert_eq!(message.ttl(), Some(Duration::from_secs(60)));
    assert_eq!(message.reply_address(), Some(Address::Capability("archive".into())));
    expect![[r#"{"id":"evt_00000000000000000000000001","from":"writer","to":{"agent":"acme.reviewer"},"type":"refusal","priority":"high","timestamp":"2026-01-01T00:00:00.000000Z","expires":"2026-01-01T00:01:00.000000Z","body":{"diff":"- foo"},"reply_to":{"capability":"archive"},"refusal":{"v":1,"kind":"agent-failed","terminal":true,"message":"no","fields":{"why":"it is late"}},"attempts":3,"key":"file-7","correlation":"order-1","causation":"evt_00000000000000000000000009","tenant":"acme","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#]]
        .assert_eq(&serde_json::to_string(&message).unwrap());
    let read: AgentMessage = serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap();
    assert_eq!(read, message);
    // Sent again at another time, it is the same.
    assert_eq!(published(message.clone().into()), event);
    let schema = hive_core::payload::Schema::of::<AgentMessage>();
    assert_eq!(schema.as_value()["properties"]["type"]["type"], "string");
}

#[test]
fn little_is_enough() {
    let event = published(AgentMessage::broadcast("review").id(id(1)).kind("ping"));
    let data = std::str::from_utf8(event.data().as_bytes()).unwrap();
    expect![[r#"{"body":null,"priority":"medium","to":{"capability":"review"},"type":"ping"}"#]].assert_eq(data);
    let message = AgentMessage::from_event(&event).unwrap();
    assert_eq!((message.ttl(), message.reply_address()), (None, None));
    assert_eq!((message.tenant.as_str(), event.source()), ("default", "/hive"));
    message.decode::<()>().unwrap();
    let error = message.decode::<u8>().unwrap_err();
    assert_eq!(error.field("message"), Some(&*id(1).to_string()));
}

#[test]
fn what_a_message_causes_belongs_to_its_undertaking() {
    let cause = AgentMessage::from_event(&published(whole())).unwrap();
    let caused = AgentMessage::to("archive").id(id(2)).kind("k").caused_by(&cause);
    let event = published(caused);
    assert_eq!(event.causation(), Some(&*cause.id.to_string()));
    assert_eq!((event.correlation(), event.tenant()), (Some("order-1"), "acme"));
    assert_eq!(event.traceparent(), cause.traceparent.as_deref());
    // One that belongs to none begins one.
    let alone = AgentMessage::from_event(&published(AgentMessage::to("a").id(id(3)).kind("k"))).unwrap();
    let event = published(AgentMessage::to("b").id(id(4)).kind("k").caused_by(&alone));
    assert_eq!(event.correlation(), Some(&*id(3).to_string()));
}

#[test]
fn what_breaks_a_limit_is_named() {
    let plain = || AgentMessage::to("reviewer").kind("k");
    let long = |bytes: usize| "x".repeat(bytes);
    let cases: Vec<(&str, NewMessage)> = vec![
        ("to", AgentMessage::to("").kind("k")),
        ("to", AgentMessage::to("a b").kind("k")),
        ("to", AgentMessage::to("a..b").kind("k")),
        ("to", AgentMessage::to(".a").kind("k")),
        ("to", AgentMessage::to("a.*").kind("k")),
        ("to", AgentMessage::to(">").kind("k")),
        ("to", AgentMessage::to("a/b").kind("k")),
        ("to", AgentMessage::to("ä").kind("k")),
        ("to", AgentMessage::to(long(limits::AGENT_BYTES_MAX + 1)).kind("k")),
        ("to", AgentMessage::to(long(14).replace('x', "x.") + "x").kind("k")),
        ("to", AgentMessage::broadcast("re view").kind("k")),
        ("from", plain().from("\n")),
        ("reply_to", plain().reply_to("")),
        ("type", AgentMessage::to("reviewer")),
        ("type", plain().kind("two words")),
        ("type", plain().kind(long(limits::TYPE_BYTES_MAX + 1))),
        ("ttl", plain().ttl(Duration::ZERO)),
        ("ttl", plain().ttl(limits::TTL_MAX + Duration::from_secs(1))),
        ("attempts", plain().attempts(0)),
        ("attempts", plain().attempts(limits::MESSAGE_ATTEMPTS_MAX + 1)),
        (
            "body",
            plain().payload(Payload::from_bytes(format!("\"{}\"", long(limits::BODY_BYTES_MAX))).unwrap()),
        ),
        (
            "body",
            plain().payload(Payload::from_bytes("[".repeat(100) + &"]".repeat(100)).unwrap()),
        ),
        ("tenant", plain().tenant("a b")),
        ("key", plain().ordered_by("")),
        ("key", plain().ordered_by(long(limits::CORRELATION_BYTES_MAX + 1))),
        ("correlation", plain().correlation("\0")),
        ("causation", plain().causation("")),
        ("traceparent", plain().traceparent("00-0")),
    ];
    for (attribute, message) in cases {
        let shown = format!("{message:?}");
        let error = message.into_event(NOW).and_then(|event| event.check()).unwrap_err();
        assert_eq!(error.field("attribute"), Some(attribute), "{error} {shown:.200}");
    }
    let error = plain().body(&long(limits::BODY_BYTES_MAX)).unwrap_err();
    assert_eq!(
        (error.kind(), error.field("attribute")),
        (ErrorKind::PayloadTooLarge, Some("body"))
    );

    // The longest that may be makes an event, and a consumer's name.
    let name = long(limits::AGENT_BYTES_MAX);
    let body = long(limits::BODY_BYTES_MAX - 2);
    let longest = AgentMessage::broadcast(name.clone())
        .id(id(1))
        .kind("\"".repeat(limits::TYPE_BYTES_MAX))
        .from(name.clone())
        .reply_to(name.clone())
        .ttl(limits::TTL_MAX)
        .attempts(limits::MESSAGE_ATTEMPTS_MAX)
        .body(&body)
        .unwrap();
    AgentMessage::from_event(&published(longest)).unwrap();
    crate::consumer::check_name(&format!("mailbox/critical/{name}")).unwrap();
    let deep = AgentMessage::to(long(12).replace('x', "x.") + "x").id(id(1)).kind("k");
    AgentMessage::from_event(&published(deep)).unwrap();
}

#[test]
fn what_is_no_message_is_refused() {
    let on = |topic: &'static str, data: serde_json::Value| {
        let mut event = NewEvent::new(MessageSent::TYPE, topic, &data)
            .unwrap()
            .id(id(1))
            .time(NOW);
        event.attributes.schema_version = MessageSent::SCHEMA_VERSION;
        let (id, time, attributes) = event.into_parts().unwrap();
        AgentMessage::from_event(&Event::published(Sequence::new(1), id, time, attributes))
    };
    let good = json!({ "to": { "agent": "a" }, "type": "k", "priority": "low", "body": 1, "new": true });
    let with = |field: &str, value: serde_json::Value| {
        let mut data = good.clone();
        data[field] = value;
        data
    };
    assert!(on("message.agent.low.a", good.clone()).is_ok());
    for (topic, data) in [
        ("message.agent.high.a", good.clone()),
        ("message.agent.low.b", good.clone()),
        ("message.capability.low.a", good.clone()),
        ("message.agent.low.a", json!(null)),
        ("message.agent.low.a", json!([1, 2])),
        ("message.agent.low.a", with("to", json!("a"))),
        (
            "message.agent.low.a",
            with("to", json!({ "agent": "a", "capability": "b" })),
        ),
        ("message.agent.low.a", with("priority", json!("urgent"))),
        ("message.agent.low.a", with("type", json!(""))),
        ("message.agent.low.a", with("reply_to", json!({ "agent": "a b" }))),
        ("message.agent.low.a", with("reply_to", json!({ "reply": "evt_1" }))),
        ("message.agent.low.a", with("attempts", json!(0))),
        ("message.agent.low.a", with("refusal", json!({ "v": 9 }))),
    ] {
        assert_eq!(
            on(topic, data.clone()).unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{data}"
        );
    }
    let other = NewEvent::new("other", "message.agent.low.a", &good)
        .unwrap()
        .id(id(1))
        .time(NOW);
    let (id, time, attributes) = other.into_parts().unwrap();
    assert!(AgentMessage::from_event(&Event::published(Sequence::new(1), id, time, attributes)).is_err());
}

fn names() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_:-]{1,8}(\\.[a-zA-Z0-9_:-]{1,8}){0,3}"
}

fn addresses() -> impl Strategy<Value = Address> {
    prop_oneof![
        names().prop_map(Address::Agent),
        names().prop_map(Address::Capability),
        Just(()).prop_map(|()| Address::Reply(IdSource::system().next())),
    ]
}

proptest! {
    #[test]
    fn a_topic_says_whom_it_is_for(address in addresses(), other in addresses(), at in 0..Priority::ALL.len()) {
        let priority = Priority::ALL[at];
        let topic = address.topic(priority).unwrap();
        prop_assert_eq!(Address::of_topic(&topic), Some((address.clone(), priority)));
        let pattern = address.pattern().unwrap();
        for each in Priority::ALL {
            prop_assert!(pattern.matches(&address.topic(each).unwrap()));
            prop_assert_eq!(pattern.matches(&other.topic(each).unwrap()), address == other);
        }
    }

    #[test]
    fn whatever_a_topic_says_is_an_address_or_none(text in "[a-z.:/]{1,20}|message(\\.(agent|capability|reply|low|high|[a-z/]{0,4})){1,5}") {
        let Ok(topic) = Topic::new(text) else { return Ok(()) };
        if let Some((address, priority)) = Address::of_topic(&topic) {
            prop_assert_eq!(address.topic(priority).unwrap(), topic);
        }
    }

    #[test]
    fn any_name_makes_a_topic_of_its_own_or_is_refused(name in ".{0,12}|[ -~]{0,100}") {
        match Address::from(&*name).topic(Priority::Low) {
            Ok(topic) => prop_assert_eq!(Address::of_topic(&topic), Some((Address::Agent(name), Priority::Low))),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidInput),
        }
    }
}
