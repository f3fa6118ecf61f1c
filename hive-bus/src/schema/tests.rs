use expect_test::expect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::topic::{Pattern, Topic};

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

fn spec(name: &str, topics: &'static str, schema: Value) -> EventTypeSpec {
    EventTypeSpec::new(name, Pattern::new(topics).unwrap(), schema)
}

fn cents(more: Value) -> Value {
    let mut schema = json!({ "type": "object", "properties": { "cents": { "type": "integer", "format": "uint64", "minimum": 0 } }, "required": ["cents"] });
    for (name, property) in more.as_object().unwrap() {
        schema["properties"][name] = property.clone();
    }
    schema
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
            "a type of event with this name is registered already, on other topics (event_type=order.placed, topics=elsewhere, known=order.placed.*)",
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

#[test]
fn a_type_may_come_at_run_time() {
    let mut registry = registry();
    let mut described = spec("shop.opened", "shop.*.>", cents(json!({})));
    described.example = Some(json!({ "cents": 1 }));
    described.about = Some("A shop opened.".into());
    let json = serde_json::to_value(&described).unwrap();
    assert_eq!(serde_json::from_value::<EventTypeSpec>(json).unwrap(), described);
    registry.register_type(described).unwrap();

    let shop = registry.get("shop.opened").unwrap();
    assert_eq!(
        (shop.family(), shop.schema_version(), shop.about()),
        ("shop", 1, Some("A shop opened.".into()))
    );
    assert_eq!(shop.example().unwrap().topic().as_str(), "shop.x.x");
    let on = |topic: &'static str, data: Value| NewEvent::new("shop.opened", topic, &data).unwrap();
    registry
        .validate(&on("shop.berlin.mitte", json!({ "cents": 7, "new": true })))
        .unwrap();
    let seen: Vec<String> = [
        on("shop.berlin", json!({ "cents": 7 })),
        on("shop.berlin.mitte", json!({ "cents": -7 })),
        on("shop.berlin.mitte", json!({ "cents": 7 })).schema_version(2),
    ]
    .iter()
    .map(|event| registry.validate(event).unwrap_err().to_string())
    .collect();
    expect![[r#"
        [
            "the event is on a topic that its type does not belong on (event_type=shop.opened, topic=shop.berlin, topics=shop.*.>)",
            "the data does not fit the schema of its type (path=/cents, problem=\"it should be at least 0\", event_type=shop.opened)",
            "the event's data is of a newer version than is registered (event_type=shop.opened, version=2, known=1)",
        ]
    "#]].assert_debug_eq(&seen);

    let bare: EventTypeSpec =
        serde_json::from_value(json!({ "name": "bare", "topics": "bare", "schema": { "description": "Bare." } }))
            .unwrap();
    registry.register_type(bare).unwrap();
    let bare = registry.get("bare").unwrap();
    assert_eq!((bare.schema_version(), bare.about()), (1, Some("Bare.".into())));
    assert_eq!(bare.example().unwrap_err().code(), "not-found");
}

#[test]
fn a_described_type_that_breaks_its_own_rules_is_refused() {
    let mut registry = registry();
    let with = |change: fn(&mut EventTypeSpec)| {
        let mut spec = spec("shop.opened", "shop.*", cents(json!({})));
        change(&mut spec);
        spec
    };
    let seen: Vec<String> = [
        with(|spec| spec.name = String::new()),
        with(|spec| spec.name = "shop\u{1b} opened".into()),
        with(|spec| spec.name = "x".repeat(1 << 20)),
        with(|spec| spec.schema_version = 0),
        with(|spec| spec.schema = json!("object")),
        with(|spec| spec.schema = json!({ "properties": { "cents": { "pattern": "[0-9]" } } })),
        with(|spec| spec.example = Some(json!({ "cents": "many" }))),
    ]
    .into_iter()
    .map(|spec| registry.register_type(spec).unwrap_err().to_string())
    .collect();
    expect![[r#"
        [
            "an attribute of the event is empty (attribute=type, event_type=\"\")",
            "an attribute of the event has a character that is not allowed (attribute=type, character=\\u{1b}, byte=4, event_type=\"shop\\\\u{1b} opened\")",
            "an attribute of the event is too long (attribute=type, bytes=1048576, limit=128, event_type=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)",
            "schema versions begin at 1 (attribute=schema_version, event_type=shop.opened)",
            "a schema is an object, or true or false (path=/, event_type=shop.opened)",
            "the schema has a keyword that is not understood (path=/properties/cents, keyword=pattern, event_type=shop.opened)",
            "the data does not fit the schema of its type (path=/cents, problem=\"it is a string and should be an integer\", event_type=shop.opened)",
        ]
    "#]].assert_debug_eq(&seen);
    assert_eq!(registry.len(), 1);
}

#[test]
fn a_type_may_be_there_in_several_versions() {
    let mut registry = registry();
    let mut third = spec(
        "order.placed",
        "order.placed.>",
        json!({ "type": "object", "required": ["total"] }),
    );
    third.schema_version = 3;
    registry.register_type(third).unwrap();
    let versions: Vec<u16> = registry
        .versions("order.placed")
        .map(EventType::schema_version)
        .collect();
    assert_eq!((versions.as_slice(), registry.len()), (&[1, 3][..], 1));
    assert_eq!(registry.get("order.placed").unwrap().schema_version(), 3);
    assert_eq!(
        registry.get_version("order.placed", 1).unwrap().topics().as_str(),
        "order.placed.*"
    );
    assert!(registry.get_version("order.placed", 2).is_none() && registry.versions("order").next().is_none());
    assert_eq!(registry.types().count(), 1);

    let check = |version: u16, data: Value| {
        let event = NewEvent::new("order.placed", "order.placed.rome", &data).unwrap();
        registry
            .validate(&event.schema_version(version))
            .map_err(|e| e.to_string())
    };
    check(1, json!({ "cents": 1 })).unwrap();
    check(3, json!({ "total": 1 })).unwrap();
    // Nobody knows it as such; whoever reads it reads it as version 3.
    check(2, json!({ "total": 1 })).unwrap();
    let seen = [
        check(1, json!({ "total": 1 })).unwrap_err(),
        check(2, json!({ "cents": 1 })).unwrap_err(),
        check(4, json!({ "total": 1 })).unwrap_err(),
    ];
    expect![[r#"
        [
            "the payload does not fit its type (path=., type=hive_bus::schema::tests::OrderPlaced, event_type=order.placed)",
            "the data does not fit the schema of its type (path=/total, problem=\"it is missing\", event_type=order.placed)",
            "the event's data is of a newer version than is registered (event_type=order.placed, version=4, known=3)",
        ]
    "#]].assert_debug_eq(&seen);
}

#[test]
fn a_version_is_registered_again_only_if_nobody_breaks() {
    let mut registry = registry();
    let has_note = |registry: &TopicRegistry, name: &str| {
        let schema = registry.get(name).unwrap().schema();
        schema.as_value()["properties"].get("note").is_some()
    };
    // The Rust type knows more of its data than a schema can say.
    registry.register::<OrderPlaced>().unwrap();
    registry
        .register_type(spec("order.placed", "order.placed.*", cents(json!({}))))
        .unwrap();
    assert!(!registry.get("order.placed").unwrap().is_described());

    // Whoever says more counts, in whichever order they come.
    let note = json!({ "note": { "type": "string" } });
    for more in [json!({}), note.clone(), json!({})] {
        registry
            .register_type(spec("shop.opened", "shop", cents(more)))
            .unwrap();
    }
    assert!(has_note(&registry, "shop.opened"));
    let seen: Vec<String> = [
        spec("shop.opened", "shop", cents(json!({ "note": { "type": "integer" } }))),
        spec("shop.opened", "shop.*", cents(json!({}))),
        spec("shop.opened", "shop", cents(json!({ "by": { "type": "string" } }))),
        spec("order.placed", "order.placed.*", cents(note)),
        spec("order.placed", "order.placed.*", json!({ "type": "object" })),
    ]
    .into_iter()
    .map(|spec| {
        let error = registry.register_type(spec).unwrap_err();
        assert_eq!(error.code(), "conflict");
        error.to_string()
    })
    .collect();
    expect![[r#"
        [
            "the schema of the type changed so that old and new programs cannot read each other's events (changes=\"/note: it was a string and is an integer now\", event_type=shop.opened, version=1)",
            "a type of event with this name is registered already, on other topics (event_type=shop.opened, topics=shop.*, known=shop)",
            "a type of event with this name and version is registered already, and neither can stand for both (event_type=shop.opened, version=1, changes=\"/note: it is gone, and was optional; /by: it is new and optional\")",
            "a type of event with this name and version is registered already, and neither can stand for both (event_type=order.placed, version=1, changes=\"/note: it is new and optional\")",
            "the schema of the type changed so that old and new programs cannot read each other's events (changes=\"/cents: it is gone, and older readers need it\", event_type=order.placed, version=1)",
        ]
    "#]].assert_debug_eq(&seen);
}

#[test]
fn types_are_bounded() {
    let mut registry = TopicRegistry::empty();
    for number in 0..limits::TYPES_MAX {
        let mut spec = spec("counted", "counted", json!(true));
        spec.schema_version = u16::try_from(number + 1).unwrap();
        registry.insert(EventType::described(spec).unwrap());
    }
    let error = registry.register::<OrderPlaced>().unwrap_err();
    assert_eq!((error.code(), error.field("limit")), ("limit-reached", Some("4096")));
    registry.register_type(spec("counted", "counted", json!(true))).unwrap();
}

#[test]
fn topics_are_as_strict_as_they_are_told_to_be() {
    let event = |name: &'static str, topic: &'static str, data: Value| NewEvent::new(name, topic, &data).unwrap();
    let good = || event("order.placed", "order.placed.rome", json!({ "cents": 1 }));
    let events = [
        ("good", good()),
        ("unknown", event("order.lost", "order.placed.rome", json!(1))),
        (
            "newer",
            event("order.placed", "order.placed.rome", json!(1)).schema_version(2),
        ),
        ("elsewhere", event("order.placed", "order.lost", json!({ "cents": 1 }))),
        (
            "misfit",
            event("order.placed", "order.placed.rome", json!({ "cents": -1 })),
        ),
    ];
    let admitted = |registry: &TopicRegistry| -> Vec<&str> {
        let admitted = events.iter().filter(|(_, event)| registry.admit(event).is_ok());
        admitted.map(|(name, _)| *name).collect()
    };
    let mut registry = registry();
    let lenient = ["good", "unknown", "newer", "elsewhere"];
    assert_eq!(admitted(&registry), lenient);
    registry
        .policy(Pattern::new("order.>").unwrap(), Validation::Strict)
        .unwrap();
    assert_eq!(admitted(&registry), ["good"]);
    let patterns = Patterns::new(["order.lost", "order.*.rome"]).unwrap();
    registry.policy(patterns.clone(), Validation::Off).unwrap();
    assert_eq!(admitted(&registry), ["good", "unknown", "newer", "elsewhere", "misfit"]);
    registry.policy(patterns, Validation::Lenient).unwrap();
    assert_eq!(admitted(&registry), lenient);
    // What is set last counts, be it ever so general.
    registry.policy(Pattern::ALL, Validation::Strict).unwrap();
    assert_eq!(admitted(&registry), ["good"]);
    assert_eq!(registry.admit(&events[1].1).unwrap_err().code(), "not-found");
}

#[test]
fn policies_are_bounded() {
    let mut registry = registry();
    for number in 0..limits::POLICIES_MAX {
        registry
            .policy(Pattern::new(format!("a.{number}")).unwrap(), Validation::Off)
            .unwrap();
    }
    registry
        .policy(Pattern::new("a.0").unwrap(), Validation::Strict)
        .unwrap();
    let error = registry.policy(Pattern::ALL, Validation::Off).unwrap_err();
    assert_eq!((error.code(), error.field("limit")), ("limit-reached", Some("64")));
}

#[test]
fn validation_has_one_spelling() {
    for (validation, word) in [
        (Validation::Strict, "strict"),
        (Validation::Lenient, "lenient"),
        (Validation::Off, "off"),
    ] {
        assert_eq!(validation.to_string(), word);
        assert_eq!(serde_json::from_value::<Validation>(json!(word)).unwrap(), validation);
    }
}
