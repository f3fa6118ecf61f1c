use expect_test::expect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::topic::Topic;

macro_rules! typed {
    ($Name:ident, $type:literal, $topics:literal, $topic:literal) => {
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $Name {
            cents: u64,
        }

        impl TypedEvent for $Name {
            const TYPE: &'static str = $type;
            const TOPICS: &'static str = $topics;

            fn topic(&self) -> Result<Topic> {
                Topic::new($topic)
            }

            fn example() -> Self {
                Self { cents: 1_999 }
            }
        }
    };
}

typed!(OrderPlaced, "order.placed", "order.placed.*", "order.placed.berlin");
typed!(WrongPattern, "wrong.pattern", "wrong.>.pattern", "wrong.a");
typed!(WrongTopic, "wrong.topic", "wrong.topic.*", "wrong.topic");
typed!(WrongName, "wrong name", "wrong.name", "wrong.name");
typed!(Taken, "order.placed", "elsewhere", "elsewhere");

/// Its example is written as something that it cannot read.
#[derive(Serialize, Deserialize, JsonSchema)]
struct OneWay {
    #[serde(rename(serialize = "written", deserialize = "read"))]
    name: u64,
}

impl TypedEvent for OneWay {
    const TYPE: &'static str = "one.way";
    const TOPICS: &'static str = "one.way";

    fn topic(&self) -> Result<Topic> {
        Topic::new("one.way")
    }

    fn example() -> Self {
        Self { name: 1 }
    }
}

fn registry() -> TopicRegistry {
    let mut registry = TopicRegistry::empty();
    registry.register::<OrderPlaced>().unwrap();
    registry
}

#[test]
fn a_registered_type_describes_itself() {
    let registry = registry();
    assert_eq!(
        (registry.len(), registry.is_empty(), TopicRegistry::empty().is_empty()),
        (1, false, true)
    );
    let order = registry.get("order.placed").unwrap();
    assert_eq!(
        (order.family(), order.topics().as_str(), order.schema_version()),
        ("order", "order.placed.*", 1)
    );
    assert!(order.about().is_none());
    assert_eq!(order.schema().as_value()["required"], json!(["cents"]));
    registry.validate(&order.example().unwrap()).unwrap();
}

#[test]
fn a_type_that_breaks_its_own_rules_is_refused() {
    let mut registry = registry();
    let seen: Vec<String> = [
        registry.register::<WrongPattern>(),
        registry.register::<WrongTopic>(),
        registry.register::<WrongName>(),
        registry.register::<OneWay>(),
        registry.register::<Taken>(),
    ]
    .into_iter()
    .map(|refused| refused.unwrap_err().to_string())
    .collect();
    expect![[r#"
        [
            "`>` may only be the last token of a pattern (pattern=wrong.>.pattern, event_type=wrong.pattern)",
            "the event is on a topic that its type does not belong on (event_type=wrong.topic, topic=wrong.topic, topics=wrong.topic.*)",
            "an attribute of the event has a character that is not allowed (attribute=type, character=\" \", byte=5, event_type=\"wrong name\")",
            "the payload does not fit its type (path=., type=hive_bus::schema::tests::OneWay, event_type=one.way)",
            "a type of event with this name is registered already (event_type=order.placed)",
        ]
    "#]].assert_debug_eq(&seen);
    assert_eq!(
        registry.types().map(EventType::name).collect::<Vec<_>>(),
        ["order.placed"]
    );
}

#[test]
fn an_event_is_checked_against_its_type() {
    let registry = registry();
    let on = |topic: &'static str, data: Value| NewEvent::new("order.placed", topic, &data).unwrap();
    registry
        .validate(&on("order.placed.rome", json!({ "cents": 1 })))
        .unwrap();
    let seen: Vec<String> = [
        NewEvent::new("order.lost\u{7}", "order.lost", &()).unwrap(),
        on("order.placed", json!({ "cents": 1 })),
        on("order.placed.rome", json!({ "cents": 1 })).schema_version(2),
        on("order.placed.rome", json!({ "cents": -1 })),
        on("order.placed.rome", json!({})),
    ]
    .iter()
    .map(|event| registry.validate(event).unwrap_err().to_string())
    .collect();
    expect![[r#"
        [
            "no type of event with this name is registered (event_type=order.lost\\u{7})",
            "the event is on a topic that its type does not belong on (event_type=order.placed, topic=order.placed, topics=order.placed.*)",
            "the event's data is of a newer version than is registered (event_type=order.placed, version=2, known=1)",
            "the payload does not fit its type (path=cents, type=hive_bus::schema::tests::OrderPlaced, event_type=order.placed)",
            "the payload does not fit its type (path=., type=hive_bus::schema::tests::OrderPlaced, event_type=order.placed)",
        ]
    "#]].assert_debug_eq(&seen);

    let misspelt = registry
        .validate_data("order.plased", &Payload::from_bytes("{}").unwrap())
        .unwrap_err();
    assert_eq!(
        misspelt.hint(),
        "did you mean `order.placed`? If it is a type of your own, register it"
    );

    let data = Payload::from_bytes(r#"{"cents":"many"}"#).unwrap();
    let error = registry.validate_data("order.placed", &data).unwrap_err();
    assert_eq!(
        (error.field("event_type"), error.field("path")),
        (Some("order.placed"), Some("cents"))
    );
}
