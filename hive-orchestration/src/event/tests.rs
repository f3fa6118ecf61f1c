use hive_bus::NewEvent;
use hive_core::clock::{Clock, SystemClock};
use hive_core::id::IdSource;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn event(topic: &str, data: &Value) -> Event {
    let event = NewEvent::new("order.paid", topic.to_owned(), data)
        .unwrap()
        .source("/shop")
        .correlation("o-1");
    event
        .tenant("acme")
        .id(IdSource::system().next())
        .time(SystemClock.now())
        .at(Sequence::new(7))
        .unwrap()
}

fn filter(pattern: &'static str) -> Filter {
    Filter::new(Pattern::new(pattern).unwrap(), "acme")
}

/// Whether whoever waits with this filter is found by this event.
fn finds(filter: &Filter, event: &Event) -> bool {
    let Awaited { shape, probe, .. } = filter.awaited().unwrap();
    Shape::parse(&shape).unwrap().probe(&Looked::new(event)).unwrap() == Some(probe)
}

#[test]
fn every_condition_must_hold() {
    let paid = event(
        "order.paid.berlin",
        &json!({"order": {"id": 7, "a/b": null}, "cents": 1.0, "lines": [{"n": 2, "m": 1}]}),
    );
    let with = |conditions: &[(&str, Value)]| {
        let mut filter = filter("order.*.berlin");
        for (pointer, value) in conditions {
            filter.matching((*pointer).to_owned(), value).unwrap();
        }
        finds(&filter, &paid)
    };
    assert!(with(&[]));
    assert!(
        with(&[("/order/id", json!(7)), ("/cents", json!(1))]),
        "1 and 1.0 are equal"
    );
    assert!(with(&[("/order/id", json!(7.0))]));
    assert!(
        with(&[("/lines/0", json!({"m": 1, "n": 2.0}))]),
        "the order of names does not matter"
    );
    assert!(with(&[("/order/a~1b", Value::Null)]));
    assert!(
        !with(&[("/order/id", json!(7)), ("/cents", json!(2))]),
        "one of two does not hold"
    );
    assert!(!with(&[("/order/id", json!("7"))]), "a text is no number");
    assert!(!with(&[("/missing", Value::Null)]), "what is not there is not null");
    assert!(!with(&[("", json!({}))]));
    for (other, finds_it) in [
        (filter("order.paid.*"), true),
        (filter("*"), true),
        (filter("order.paid"), false),
        (filter("order.shipped.>"), false),
        (Filter::new(Pattern::ALL, "other"), false),
    ] {
        assert_eq!(finds(&other, &paid), finds_it, "{other:?}");
    }
    for (source, correlation, event_type, finds_it) in [
        (Some("/shop"), Some("o-1"), Some("order.paid"), true),
        (Some("/shop"), None, None, true),
        (Some("/other"), Some("o-1"), None, false),
        (None, Some("o-2"), None, false),
        (None, None, Some("order.placed"), false),
        // What is wanted in one place is not found by the same text in another.
        (Some("o-1"), None, None, false),
    ] {
        let mut asks = filter("order.>");
        asks.source = source.map(str::to_owned);
        asks.correlation = correlation.map(str::to_owned);
        asks.event_type = event_type.map(str::to_owned);
        assert_eq!(finds(&asks, &paid), finds_it, "{asks:?}");
    }
}

#[test]
fn what_is_no_filter_is_refused_with_its_place() {
    let refused = |pointer: &str, value: Value| {
        let error = filter("*").matching(pointer.to_owned(), &value).err().unwrap();
        (error.kind(), error.field("pointer").map(str::to_owned))
    };
    for pointer in ["order", "/a~2", "/~", "~0"] {
        assert_eq!(
            refused(pointer, json!(1)),
            (ErrorKind::InvalidInput, Some(pointer.to_owned()))
        );
    }
    let long = "x".repeat(limits::EVENT_FILTER_BYTES);
    assert_eq!(refused("/a", json!(long)).0, ErrorKind::PayloadTooLarge);
    let mut twice = filter("*");
    twice.matching("/a".to_owned(), &1).unwrap();
    twice.matching("/a".to_owned(), &1.0).unwrap();
    assert_eq!(
        twice.matching("/a".to_owned(), &2).err().unwrap().kind(),
        ErrorKind::InvalidInput
    );
    let mut many = filter("*");
    let add = |number| many.matching(format!("/{number}"), &number);
    let error = (0..=limits::EVENT_CONDITIONS).map(add).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let mut large = filter("*");
    for number in 0..4 {
        large
            .matching(format!("/{number}{}", "y".repeat(300)), &number)
            .unwrap();
    }
    assert_eq!(large.awaited().err().unwrap().kind(), ErrorKind::LimitReached);
    // Control characters and quotes stand in a filter as JSON has them.
    let mut odd = filter("*");
    odd.matching("/\0\"".to_owned(), &"\0'\"").unwrap();
    assert!(!odd.awaited().unwrap().shape.contains('\0'));
    assert!(finds(&odd, &event("a", &json!({"\0\"": "\0'\""}))));
}

#[test]
fn another_filter_is_another_wait() {
    let mut one = filter("order.>");
    one.matching("/id".to_owned(), &1).unwrap();
    let mut same = filter("order.>");
    same.matching("/id".to_owned(), &1.0).unwrap();
    let name = |filter: &Filter| filter.awaited().unwrap().name();
    assert_eq!(name(&one), name(&same));
    one.source = Some("/shop".to_owned());
    assert_ne!(name(&one), name(&same));
    let long = Filter::new(Pattern::new("a".repeat(255)).unwrap(), "acme");
    assert!(name(&long).len() <= limits::NAME_BYTES);
}

#[test]
fn an_event_comes_back_as_it_was() {
    let paid = event(
        "order.paid",
        &json!({"big": 12_345_678_901_234_567_890_u64, "text": "ö"}),
    );
    let Came(back) = Came::payload(&paid).unwrap().decode().unwrap();
    assert_eq!(back, paid);
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        (-2_i64..3).prop_map(|whole| Value::from(whole as f64)),
        "[ab~/]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Equality as JSON has it, said otherwise.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|there| equal(value, there)))
        }
        _ => one == other,
    }
}

proptest! {
    /// A wait is found by an event exactly when each of its conditions holds.
    #[test]
    fn the_index_finds_what_the_filter_means(
        data in data(),
        conditions in prop::collection::btree_map(prop_oneof![Just(""), Just("/a"), Just("/b"), Just("/a/b"), Just("/a/0")], data(), 0..3),
    ) {
        let mut wanted = filter("order.>");
        for (pointer, value) in &conditions {
            wanted.matching((*pointer).to_owned(), value).unwrap();
        }
        let holds = conditions
            .iter()
            .all(|(pointer, value)| data.pointer(pointer).is_some_and(|there| equal(there, value)));
        prop_assert_eq!(finds(&wanted, &event("order.paid", &data)), holds);
    }
}
