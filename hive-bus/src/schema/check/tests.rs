use std::fmt::Write;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use hive_core::payload::Payload;

/// Each line of `data`, and what is wrong with it.
fn check(schema: &Value, data: &[Value], expected: Expect) {
    let checker = Checker::new(schema).unwrap();
    let mut seen = String::new();
    for data in data {
        match checker.check(data) {
            Ok(()) => writeln!(seen, "{data}").unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                let (path, problem) = (error.field("path").unwrap(), error.field("problem").unwrap());
                writeln!(seen, "{data}\n    {path}: {problem}").unwrap();
            }
        }
    }
    expected.assert_eq(&seen);
}

#[test]
fn types() {
    for (name, fitting) in [
        ("null", 0..1),
        ("boolean", 1..2),
        ("integer", 2..5),
        ("number", 2..6),
        ("string", 6..7),
        ("array", 7..8),
        ("object", 8..9),
    ] {
        let checker = Checker::new(&json!({ "type": name })).unwrap();
        let values = [
            json!(null),
            json!(true),
            json!(-1),
            json!(1.0),
            json!(1e300),
            json!(0.5),
            json!("1"),
            json!([]),
            json!({}),
        ];
        for (at, value) in values.iter().enumerate() {
            assert_eq!(checker.check(value).is_ok(), fitting.contains(&at), "{name} {value}");
        }
    }
    check(
        &json!({ "type": ["string", "null", "number"] }),
        &[json!(null), json!(1.5), json!([])],
        expect![[r#"
            null
            1.5
            []
                /: it is an array and should be null, a string or a number
        "#]],
    );
}

#[test]
fn values() {
    check(
        &json!({ "enum": [1, "a", { "b": [null, 2.0] }] }),
        &[
            json!(1.0),
            json!({ "b": [null, 2] }),
            json!("b"),
            json!({ "b": [null] }),
        ],
        expect![[r#"
            1.0
            {"b":[null,2]}
            "b"
                /: it is none of the values that it may have: 1, "a", {"b":[null,2.0]}
            {"b":[null]}
                /: it is none of the values that it may have: 1, "a", {"b":[null,2.0]}
        "#]],
    );
    check(
        &json!({ "const": null }),
        &[json!(null), json!(0)],
        expect![[r#"
        null
        0
            /: it is none of the values that it may have: null
    "#]],
    );
    check(
        &json!({ "enum": (0..100).collect::<Vec<_>>(), "const": "a".repeat(100) }),
        &[json!(7)],
        expect![[r#"
            7
                /: nothing may stand here
        "#]],
    );
    check(
        &json!({ "enum": (0..100).map(|n| format!("{n:0>99}")).collect::<Vec<_>>() }),
        &[json!(7)],
        expect![[r#"
            7
                /: it is none of the values that it may have: "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, "000000000000000000000000000000000000000…, …
        "#]],
    );
}

#[test]
fn bounds() {
    check(
        &json!({ "minimum": 0, "exclusiveMaximum": 18446744073709551615_u64 }),
        &[
            json!(0),
            json!(-0.5),
            json!(18446744073709551614_u64),
            json!(18446744073709551615_u64),
            json!("no number"),
        ],
        expect![[r#"
            0
            -0.5
                /: it should be at least 0
            18446744073709551614
            18446744073709551615
                /: it should be less than 18446744073709551615
            "no number"
        "#]],
    );
    check(
        &json!({ "exclusiveMinimum": 0.5, "maximum": 1 }),
        &[json!(0.5), json!(0.6), json!(1.0), json!(1.1)],
        expect![[r#"
            0.5
                /: it should be more than 0.5
            0.6
            1.0
            1.1
                /: it should be at most 1
        "#]],
    );
    check(
        &json!({ "minLength": 2, "maxLength": 3, "minItems": 1, "maxItems": 2, "minProperties": 1, "maxProperties": 1 }),
        &[
            json!("ä"),
            json!("äöü"),
            json!("äöüß"),
            json!([]),
            json!([1, 2]),
            json!([1, 2, 3]),
            json!({}),
            json!({ "a": 1 }),
            json!({ "a": 1, "b": 2 }),
        ],
        expect![[r#"
            "ä"
                /: its number of characters is 1 and should be at least 2
            "äöü"
            "äöüß"
                /: its number of characters is 4 and should be at most 3
            []
                /: its number of items is 0 and should be at least 1
            [1,2]
            [1,2,3]
                /: its number of items is 3 and should be at most 2
            {}
                /: its number of properties is 0 and should be at least 1
            {"a":1}
            {"a":1,"b":2}
                /: its number of properties is 2 and should be at most 1
        "#]],
    );
}

#[test]
fn objects_and_arrays() {
    check(
        &json!({
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": { "$ref": "#/$defs/item" } },
                "none": false,
            },
            "required": ["items"],
            "additionalProperties": { "type": "string" },
            "$defs": {
                "item": { "type": "object", "properties": { "cents": { "type": "integer" } }, "required": ["cents"] },
            },
        }),
        &[
            json!({ "items": [], "more": "text" }),
            json!({ "items": [{ "cents": 1, "unknown": null }] }),
            json!({ "items": [{ "cents": 1 }, { "cents": 2 }, {}, { "cents": "4" }] }),
            json!({ "items": [{ "cents": 1 }, { "cents": "4" }] }),
            json!({}),
            json!({ "items": null }),
            json!({ "items": [], "none": 1 }),
            json!({ "items": [], "a/b~\u{1b}c": 1 }),
            json!({ "items": [], "long".repeat(100): 1 }),
        ],
        expect![[r#"
            {"items":[],"more":"text"}
            {"items":[{"cents":1,"unknown":null}]}
            {"items":[{"cents":1},{"cents":2},{},{"cents":"4"}]}
                /items/2/cents: it is missing
            {"items":[{"cents":1},{"cents":"4"}]}
                /items/1/cents: it is a string and should be an integer
            {}
                /items: it is missing
            {"items":null}
                /items: it is null and should be an array
            {"items":[],"none":1}
                /none: nothing may stand here
            {"a/b~\u001bc":1,"items":[]}
                /a~1b~0\u{1b}c: it is an integer and should be a string
            {"items":[],"longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong":1}
                /longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglong…: it is an integer and should be a string
        "#]],
    );
    check(
        &json!({ "prefixItems": [{ "type": "string" }, true], "items": false }),
        &[json!([]), json!(["a", 2]), json!([1]), json!(["a", 2, 3])],
        expect![[r#"
            []
            ["a",2]
            [1]
                /0: it is an integer and should be a string
            ["a",2,3]
                /2: nothing may stand here
        "#]],
    );
}

#[test]
fn alternatives() {
    check(
        &json!({
            "oneOf": [
                { "type": "object", "properties": { "kind": { "const": "circle" }, "radius": { "type": "number" } }, "required": ["kind", "radius"] },
                { "type": "object", "properties": { "kind": { "const": "square" }, "side": { "type": "number" } }, "required": ["kind", "side"] },
                { "type": "string" },
            ],
        }),
        &[
            json!("dot"),
            json!({ "kind": "square", "side": 1 }),
            json!({ "kind": "square", "side": "1" }),
            json!({ "kind": "square" }),
            json!({ "kind": "triangle" }),
            json!({}),
            json!(1),
        ],
        expect![[r#"
            "dot"
            {"kind":"square","side":1}
            {"kind":"square","side":"1"}
                /side: it is a string and should be a number
            {"kind":"square"}
                /: it fits none of the alternatives
            {"kind":"triangle"}
                /: it fits none of the alternatives
            {}
                /: it fits none of the alternatives
            1
                /: it fits none of the alternatives
        "#]],
    );
    check(
        &json!({ "oneOf": [{ "minimum": 3 }, { "maximum": 5 }] }),
        &[json!(2), json!(4), json!(6)],
        expect![[r#"
            2
            4
                /: it fits several alternatives and may fit one only
            6
        "#]],
    );
    check(
        &json!({
            "allOf": [{ "properties": { "a": { "type": "string" } } }, { "required": ["a"] }],
            "anyOf": [{ "properties": { "list": { "items": { "type": "null" } } } }, { "type": "null" }],
        }),
        &[
            json!({ "a": "b" }),
            json!({ "a": 1 }),
            json!({}),
            json!({ "a": "b", "list": [null, 1] }),
        ],
        expect![[r#"
            {"a":"b"}
            {"a":1}
                /a: it is an integer and should be a string
            {}
                /a: it is missing
            {"a":"b","list":[null,1]}
                /list/1: it is an integer and should be null
        "#]],
    );
}

#[test]
fn a_schema_may_contain_itself() {
    check(
        &json!({
            "type": "object",
            "properties": { "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] }, "odd/~ name": { "$ref": "#/$defs/odd~1~0%20name" } },
            "$defs": { "odd/~ name": { "type": "null" } },
        }),
        &[
            json!({ "next": { "next": { "next": null } } }),
            json!({ "next": { "next": { "next": 1 } } }),
            json!({ "odd/~ name": 1 }),
        ],
        expect![[r#"
            {"next":{"next":{"next":null}}}
            {"next":{"next":{"next":1}}}
                /next/next/next: it fits none of the alternatives
            {"odd/~ name":1}
                /odd~1~0 name: it is an integer and should be null
        "#]],
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let nested = |depth| (0..depth).fold(json!({ "type": "null" }), |inner, _| json!({ "items": inner }));
    let chain = |length: usize| {
        let links: Map<String, Value> = (0..length)
            .map(|at| {
                (
                    format!("{at:0>4}"),
                    json!({ "$ref": format!("#/$defs/{:0>4}", at + 1) }),
                )
            })
            .chain([(format!("{length:0>4}"), json!(true))])
            .collect();
        json!({ "$ref": "#/$defs/0000", "$defs": links })
    };
    let backwards = |length: usize| {
        let links: Map<String, Value> = (1..=length)
            .map(|at| {
                (
                    format!("{at:0>4}"),
                    json!({ "$ref": format!("#/$defs/{:0>4}", at - 1) }),
                )
            })
            .chain([("0000".to_owned(), json!(true))])
            .collect();
        json!({ "$ref": format!("#/$defs/{length:0>4}"), "$defs": links })
    };
    assert!(Checker::new(&nested(limits::SCHEMA_DEPTH_MAX - 1)).is_ok());
    assert!(Checker::new(&chain(limits::SCHEMA_DEPTH_MAX - 1)).is_ok());
    let mut seen = String::new();
    for schema in [
        json!(null),
        json!([{}]),
        json!({ "pattern": "^a" }),
        json!({ "properties": { "a/b": { "items": { "uniqueItems": true } } } }),
        json!({ "properties": { "type": { "not": {} } } }),
        json!({ "anyOf": [true, { "if": true }] }),
        json!({ "$defs": { "a": { "$defs": {} } } }),
        json!({ "items": { "$id": "https://example.com/other" } }),
        json!({ "odd\u{1b}\n": 1 }),
        json!({ "type": "text" }),
        json!({ "type": [] }),
        json!({ "type": ["string", 1] }),
        json!({ "enum": [] }),
        json!({ "enum": "a" }),
        json!({ "required": "a" }),
        json!({ "required": [1] }),
        json!({ "properties": [] }),
        json!({ "properties": { "a": 1 } }),
        json!({ "additionalProperties": "no" }),
        json!({ "items": [{}] }),
        json!({ "oneOf": [] }),
        json!({ "allOf": {} }),
        json!({ "minimum": "0" }),
        json!({ "minLength": -1 }),
        json!({ "maxItems": 1.5 }),
        json!({ "$defs": [] }),
        json!({ "$ref": 1 }),
        json!({ "$ref": "#/$defs/a" }),
        json!({ "$ref": "#/properties/a" }),
        json!({ "$ref": "https://example.com/a" }),
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "anyOf": [{ "$ref": "#" }] }] }),
        json!({ "$defs": { "a": { "oneOf": [{ "$ref": "#/$defs/b" }] }, "b": { "$ref": "#/$defs/a" } } }),
        nested(limits::SCHEMA_DEPTH_MAX),
        nested(1_000),
        chain(limits::SCHEMA_DEPTH_MAX + 2),
        chain(1_000),
        backwards(1_000),
        json!({ "title": "a".repeat(limits::SCHEMA_BYTES_MAX) }),
    ] {
        let error = Checker::new(&schema).unwrap_err();
        writeln!(seen, "{error}").unwrap();
    }
    expect![[r#"
        a schema is an object, or true or false (path=/)
        a schema is an object, or true or false (path=/)
        the schema has a keyword that is not understood (path=/, keyword=pattern)
        the schema has a keyword that is not understood (path=/properties/a~1b/items, keyword=uniqueItems)
        the schema has a keyword that is not understood (path=/properties/type, keyword=not)
        the schema has a keyword that is not understood (path=/anyOf/1, keyword=if)
        the schema has a keyword that is not understood (path=/$defs/a, keyword=$defs)
        the schema has a keyword that is not understood (path=/items, keyword=$id)
        the schema has a keyword that is not understood (path=/, keyword=odd\u{1b}\n)
        a keyword of the schema has a value that it cannot have (path=/, keyword=type, expected="the name of a type, or a list of names")
        a keyword of the schema has a value that it cannot have (path=/, keyword=type, expected="the name of a type, or a list of names")
        a keyword of the schema has a value that it cannot have (path=/, keyword=type, expected="the name of a type, or a list of names")
        a keyword of the schema has a value that it cannot have (path=/, keyword=enum, expected="a list of values")
        a keyword of the schema has a value that it cannot have (path=/, keyword=enum, expected="a list of values")
        a keyword of the schema has a value that it cannot have (path=/, keyword=required, expected="a list of names")
        a keyword of the schema has a value that it cannot have (path=/, keyword=required, expected="a list of names")
        a keyword of the schema has a value that it cannot have (path=/, keyword=properties, expected="an object of schemas")
        a schema is an object, or true or false (path=/properties/a)
        a schema is an object, or true or false (path=/additionalProperties)
        a schema is an object, or true or false (path=/items)
        a keyword of the schema has a value that it cannot have (path=/, keyword=oneOf, expected="a list of schemas")
        a keyword of the schema has a value that it cannot have (path=/, keyword=allOf, expected="a list of schemas")
        a keyword of the schema has a value that it cannot have (path=/, keyword=minimum, expected="a number")
        a keyword of the schema has a value that it cannot have (path=/, keyword=minLength, expected="a whole number from 0")
        a keyword of the schema has a value that it cannot have (path=/, keyword=maxItems, expected="a whole number from 0")
        a keyword of the schema has a value that it cannot have (path=/, keyword=$defs, expected="an object of schemas")
        a keyword of the schema has a value that it cannot have (path=/, keyword=$ref, expected="a text")
        a reference in the schema leads nowhere (path=/, reference=#/$defs/a)
        a reference in the schema leads nowhere (path=/, reference=#/properties/a)
        a reference in the schema leads nowhere (path=/, reference=https://example.com/a)
        references in the schema lead in a circle
        references in the schema lead in a circle
        references in the schema lead in a circle
        the schema nests too deep (path=/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items/items, limit=64)
        the schema is too large, or nests too deep (limit=65536)
        too many references in the schema follow one another (limit=64)
        too many references in the schema follow one another (limit=64)
        too many references in the schema follow one another (limit=64)
        the schema is too large, or nests too deep (limit=65536)
    "#]].assert_eq(&seen);
}

#[test]
fn annotations_are_passed_over() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/order",
        "$comment": "…",
        "title": "Order",
        "description": "An order.",
        "default": {},
        "examples": [{ "pattern": 1 }],
        "deprecated": true,
        "readOnly": true,
        "writeOnly": false,
        "format": "uint32",
        "x-unit": "cents",
    });
    assert!(Checker::new(&schema).unwrap().check(&json!("anything")).is_ok());
}

#[test]
fn what_schemas_of_rust_types_say_is_understood() {
    for known in crate::catalog::registry().types() {
        let mut schema = known.schema().as_value().clone();
        // Ids are told by their pattern, which is not understood.
        forget_patterns(&mut schema);
        let data = known.example().unwrap().attributes.data.decode().unwrap();
        Checker::new(&schema).unwrap().check(&data).unwrap();
    }
}

/// Takes the keyword out wherever it says what a text looks like.
fn forget_patterns(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("pattern").is_some_and(Value::is_string) {
                members.remove("pattern");
            }
            members.values_mut().for_each(forget_patterns);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_patterns),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_check_ends() {
    // Each definition asks the next one twice.
    let doubling: Map<String, Value> = (0..40)
        .map(|at| {
            let next = json!({ "$ref": format!("#/$defs/{}", at + 1) });
            (at.to_string(), json!({ "allOf": [next, next] }))
        })
        .chain([("40".to_owned(), json!({ "type": "null" }))])
        .collect();
    let doubling = Checker::new(&json!({ "$ref": "#/$defs/0", "$defs": doubling })).unwrap();
    let error = doubling.check(&json!(null)).unwrap_err();
    assert_eq!((error.code(), error.field("limit")), ("limit-reached", Some("1000000")));

    // The most that data can be: many values, and deep ones.
    let list = Checker::new(&json!({ "items": { "anyOf": [{ "type": "null" }, { "minimum": 0 }] } })).unwrap();
    let longest = Payload::parse(
        format!("[{}0]", "1,".repeat(limits::DATA_BYTES_MAX / 2 - 2)).as_bytes(),
        limits::DATA_BYTES_MAX,
    );
    list.check(&longest.unwrap().decode().unwrap()).unwrap();

    let recursive = json!({ "items": { "$ref": "#" } });
    let nest =
        |depth: usize| serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).unwrap();
    Checker::new(&recursive).unwrap().check(&nest(100)).unwrap();
    let deeper = json!({ "items": { "allOf": [{ "allOf": [{ "allOf": [{ "$ref": "#" }] }] }] } });
    let error = Checker::new(&deeper).unwrap().check(&nest(100)).unwrap_err();
    assert_eq!((error.code(), error.field("limit")), ("limit-reached", Some("320")));
}
