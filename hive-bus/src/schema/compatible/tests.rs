mod generated;

use std::fmt::Write;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

/// What changes from one to the other, and back.
fn check(old: Value, new: Value, expected: Expect) {
    let mut seen = String::new();
    for (one, other) in [(&old, &new), (&new, &old)] {
        assert_eq!(changes(one, one), []);
        for change in changes(one, other) {
            let effect = match change.effect {
                Effect::Gain => "gain",
                Effect::Loss => "loss",
                Effect::Break { old: true, new: true } => "BOTH",
                Effect::Break { old: true, .. } => "OLD ",
                Effect::Break { .. } => "NEW ",
            };
            writeln!(seen, "{effect} {change}").unwrap();
        }
        seen += "--\n";
    }
    expected.assert_eq(seen.trim_end_matches("--\n"));
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

#[test]
fn optional_properties_come_and_go() {
    check(
        object(json!({ "a": { "type": "string" } }), &["a"]),
        object(json!({ "a": { "type": "string" }, "b": { "type": "string" } }), &["a"]),
        expect![[r#"
            gain /b: it is new and optional
            --
            loss /b: it is gone, and was optional
        "#]],
    );
    check(
        json!({ "type": "array", "items": { "$ref": "#/$defs/Item" }, "$defs": { "Item": object(json!({}), &[]) } }),
        json!({ "type": "array", "items": object(json!({ "cents/eur": { "type": "integer" } }), &[]) }),
        expect![[r#"
            gain /*/cents~1eur: it is new and optional
            --
            loss /*/cents~1eur: it is gone, and was optional
        "#]],
    );
}

#[test]
fn required_properties() {
    let (a, b) = (json!({ "type": "string" }), json!({ "type": "null" }));
    check(
        object(json!({ "a": a }), &["a"]),
        object(json!({ "a": a, "b": b }), &["a", "b"]),
        expect![[r#"
            NEW  /b: it is new and required, and older data lacks it
            --
            OLD  /b: it is gone, and older readers need it
        "#]],
    );
    check(
        object(json!({ "a": a }), &[]),
        object(json!({ "a": a }), &["a"]),
        expect![[r#"
            NEW  /a: it is required now, and older data may lack it
            --
            OLD  /a: it is no longer required, and older readers need it
        "#]],
    );
    check(
        object(json!({}), &[]),
        object(json!({}), &["a"]),
        expect![[r#"
        NEW  /a: it is new and required, and older data lacks it
        --
        OLD  /a: it is gone, and older readers need it
    "#]],
    );
}

#[test]
fn types_and_values() {
    let one = |schema: Value| object(json!({ "x": schema }), &["x"]);
    check(
        one(json!({ "type": "integer" })),
        one(json!({ "type": "number" })),
        expect![[r#"
            OLD  /x: it may now be a fraction
            --
            NEW  /x: it may no longer be a fraction
        "#]],
    );
    check(
        one(json!({ "type": "integer" })),
        one(json!({ "type": "string" })),
        expect![[r#"
            BOTH /x: it was an integer and is a string now
            --
            BOTH /x: it was a string and is an integer now
        "#]],
    );
    check(
        one(json!({ "type": "string" })),
        one(json!({ "type": ["null", "string"] })),
        expect![[r#"
            OLD  /x: it may now be null
            --
            NEW  /x: it may no longer be null
        "#]],
    );
    check(
        one(json!(true)),
        one(json!({ "type": ["null", "string"] })),
        expect![[r#"
        NEW  /x: it may no longer be a boolean, an object, an array or a number
        --
        OLD  /x: it may now be a boolean, an object, an array or a number
    "#]],
    );
    check(
        one(json!(false)),
        one(json!({ "type": "string" })),
        expect![[r#"
            OLD  /x: it was nothing and is a string now
            --
            NEW  /x: it was a string and is nothing now
        "#]],
    );
    check(
        one(json!({ "enum": ["a", "b"] })),
        one(json!({ "type": "string", "enum": ["c", "a"] })),
        expect![[r#"
            NEW  /x: it may no longer be "b"
            OLD  /x: it may now be "c"
            --
            NEW  /x: it may no longer be "c"
            OLD  /x: it may now be "b"
        "#]],
    );
    check(
        one(json!({ "enum": ["a", "b"] })),
        one(json!({ "type": "string" })),
        expect![[r#"
            OLD  /x: it may now have other values than those that were listed
            --
            NEW  /x: it may only have the listed values now
        "#]],
    );
    check(
        one(json!({ "const": { "a": 1 } })),
        one(object(json!({ "a": { "type": "string" } }), &[])),
        expect![[r#"
            BOTH /x: it may now have other values than those that were listed
            --
            BOTH /x: it may only have the listed values now
        "#]],
    );
}

#[test]
fn bounds_and_what_is_only_equal() {
    let bounded = |low: u8, high: u8| json!({ "minimum": low, "maximum": high, "minLength": low, "maxItems": high, "format": "uint8" });
    check(
        bounded(0, 9),
        bounded(1, 8),
        expect![[r#"
        NEW  /: its `maxItems` is stricter now
        NEW  /: its `maximum` is stricter now
        NEW  /: its `minimum` is stricter now
        NEW  /: its `minLength` is stricter now
        --
        OLD  /: its `maxItems` is looser now
        OLD  /: its `maximum` is looser now
        OLD  /: its `minLength` is looser now
        OLD  /: its `minimum` is looser now
    "#]],
    );
    check(
        json!({ "type": "string" }),
        json!({ "type": "string", "exclusiveMinimum": 1, "maxLength": 9 }),
        expect![[r#"
            NEW  /: its `exclusiveMinimum` is stricter now
            NEW  /: its `maxLength` is stricter now
            --
            OLD  /: its `exclusiveMinimum` is looser now
            OLD  /: its `maxLength` is looser now
        "#]],
    );
    check(
        json!({ "type": "integer", "format": "uint32", "minimum": 0, "minLength": 0, "uniqueItems": false }),
        json!({ "type": "integer", "format": "uint64", "minimum": 0.0 }),
        expect![[r#"
            BOTH /: its `format` is another
            --
            BOTH /: its `format` is another
        "#]],
    );
    check(
        json!({ "pattern": "^a" }),
        json!({ "pattern": "^b", "multipleOf": 2 }),
        expect![[r#"
            BOTH /: its `pattern` is another
            BOTH /: its `multipleOf` is another
            --
            BOTH /: its `multipleOf` is another
            BOTH /: its `pattern` is another
        "#]],
    );
    check(
        json!({ "not": { "type": "null" } }),
        json!({ "not": { "type": "string" } }),
        expect![[r#"
            BOTH /: it changed in a way that cannot be compared
            --
            BOTH /: it changed in a way that cannot be compared
        "#]],
    );
    check(
        json!({ "patternProperties": { "^x": object(json!({}), &[]) } }),
        json!({ "patternProperties": { "^x": object(json!({ "new": true }), &[]) } }),
        expect![[r#"
            BOTH /: it changed in a way that cannot be compared
            --
            BOTH /: it changed in a way that cannot be compared
        "#]],
    );
    check(
        json!({ "someday": 1 }),
        json!({}),
        expect![[r#"
        BOTH /: it changed in a way that cannot be compared
        --
        BOTH /: it changed in a way that cannot be compared
    "#]],
    );
}

#[test]
fn what_else_may_stand_in_an_object() {
    let with = |additional: Value| {
        let mut schema = object(json!({}), &[]);
        schema["additionalProperties"] = additional;
        schema
    };
    let mut described = with(json!(false));
    described["properties"] = json!({ "a": { "type": "string" } });
    check(
        object(json!({}), &[]),
        with(json!(false)),
        expect![[r#"
        NEW  /*: properties that are not described are refused now
        --
        OLD  /*: properties that are not described are allowed now
    "#]],
    );
    check(
        object(json!({}), &[]),
        with(json!(true)),
        expect![[r#"
        gain /*: properties of any name are described now
        --
        loss /*: properties of any name are no longer described
    "#]],
    );
    check(
        with(json!(true)),
        with(json!(false)),
        expect![[r#"
            NEW  /*: it was anything and is nothing now
            --
            OLD  /*: it was nothing and is anything now
        "#]],
    );
    check(
        with(json!({ "type": "integer" })),
        with(json!({ "type": "string" })),
        expect![[r#"
            BOTH /*: it was an integer and is a string now
            --
            BOTH /*: it was a string and is an integer now
        "#]],
    );
    check(
        with(json!(false)),
        described.clone(),
        expect![[r#"
        OLD  /a: it is new, and older readers refuse what they do not know
        --
        NEW  /a: it is gone, and older data that has it is refused
    "#]],
    );
    check(
        with(json!(true)),
        described.clone(),
        expect![[r#"
            NEW  /a: it may no longer be null, a boolean, an object, an array or a number
            NEW  /*: it was anything and is nothing now
            --
            OLD  /a: it may now be null, a boolean, an object, an array or a number
            OLD  /*: it was nothing and is anything now
        "#]],
    );
    check(
        with(json!({ "type": "string" })),
        object(json!({ "a": { "type": "string" } }), &[]),
        expect![[r#"
            loss /*: properties of any name are no longer described
            --
            gain /*: properties of any name are described now
        "#]],
    );
}

#[test]
fn arrays() {
    check(
        json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }] }),
        json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "null" }], "items": false }),
        expect![[r#"
            BOTH /1: it was an integer and is null now
            NEW  /*: it was anything and is nothing now
            --
            BOTH /1: it was null and is an integer now
            OLD  /*: it was nothing and is anything now
        "#]],
    );
    check(
        json!({ "prefixItems": [true] }),
        json!({ "prefixItems": [true, true] }),
        expect![[r#"
            BOTH /: another number of items is described one by one
            --
            BOTH /: another number of items is described one by one
        "#]],
    );
    check(
        json!({ "items": { "type": "string" } }),
        json!({}),
        expect![[r#"
        OLD  /*: it may now be null, a boolean, an object, an array or a number
        --
        NEW  /*: it may no longer be null, a boolean, an object, an array or a number
    "#]],
    );
}

fn internally(variants: &[(&str, Value)]) -> Value {
    let variant = |(kind, properties): &(&str, Value)| {
        let mut properties = properties.clone();
        properties["kind"] = json!({ "type": "string", "const": kind });
        object(properties, &["kind"])
    };
    json!({ "oneOf": variants.iter().map(variant).collect::<Vec<_>>() })
}

fn externally(variants: &[(&str, Value)]) -> Value {
    let variant = |(kind, properties): &(&str, Value)| json!({ "type": "object", "properties": { *kind: object(properties.clone(), &[]) }, "required": [kind], "additionalProperties": false });
    json!({ "oneOf": variants.iter().map(variant).collect::<Vec<_>>() })
}

#[test]
fn alternatives() {
    let (none, some) = (json!({}), json!({ "side": { "type": "number" } }));
    // Another order, and an optional property more.
    let (dot, plain) = (("dot", none.clone()), ("square", none.clone()));
    let square = ("square", some.clone());
    check(
        internally(&[dot.clone(), plain.clone()]),
        internally(&[square.clone(), dot.clone()]),
        expect![[r#"
            gain /side: it is new and optional
            --
            loss /side: it is gone, and was optional
        "#]],
    );
    check(
        externally(&[dot.clone(), plain]),
        externally(&[square, dot]),
        expect![[r#"
        gain /square/side: it is new and optional
        --
        loss /square/side: it is gone, and was optional
    "#]],
    );
    check(
        externally(&[("dot", none.clone())]),
        externally(&[("dot", none.clone()), ("square", some.clone())]),
        expect![[r#"
            OLD  /: one of the alternatives is new or changed
            --
            NEW  /: one of the alternatives is gone or changed
        "#]],
    );
    check(
        internally(&[("dot", none.clone()), ("square", some.clone())]),
        internally(&[
            ("dot", none.clone()),
            ("square", none.clone()),
            ("circle", none.clone()),
        ]),
        expect![[r#"
            loss /side: it is gone, and was optional
            OLD  /: one of the alternatives is new or changed
            --
            gain /side: it is new and optional
            NEW  /: one of the alternatives is gone or changed
        "#]],
    );
    check(
        internally(&[("dot", none.clone()), ("square", some)]),
        internally(&[("dot", none), ("square", json!({ "side": { "type": "string" } }))]),
        expect![[r#"
            BOTH /side: it was a number and is a string now
            --
            BOTH /side: it was a string and is a number now
        "#]],
    );
    // Untagged: the first that fits.
    let untagged = |one: Value, other: Value| json!({ "anyOf": [object(one, &[]), object(other, &["b"])] });
    check(
        untagged(json!({}), json!({ "b": { "type": "string" } })),
        untagged(
            json!({ "c": { "type": "string" } }),
            json!({ "b": { "type": "string" } }),
        ),
        expect![[r#"
            gain /c: it is new and optional
            --
            loss /c: it is gone, and was optional
        "#]],
    );
    // What fits one alternative might now fit the other.
    let either = |one: Value, other: Value| json!({ "oneOf": [object(one, &[]), object(other, &["b"])] });
    check(
        either(json!({}), json!({ "b": { "type": "string" } })),
        either(
            json!({ "c": { "type": "string" } }),
            json!({ "b": { "type": "string" } }),
        ),
        expect![[r#"
            BOTH /: alternatives changed of which data may fit several
            --
            BOTH /: alternatives changed of which data may fit several
        "#]],
    );
    check(
        json!({ "anyOf": [object(json!({}), &[]), { "type": "string", "minLength": 1 }] }),
        object(json!({}), &[]),
        expect![[r#"
            NEW  /: one of the alternatives is gone or changed
            --
            OLD  /: one of the alternatives is new or changed
        "#]],
    );
}

#[test]
fn what_is_written_otherwise_and_means_the_same() {
    let documented = json!({
        "title": "Old",
        "type": "object",
        "required": ["verdict", "by"],
        "properties": {
            "verdict": { "$ref": "#/$defs/Verdict", "description": "The verdict." },
            "by": { "type": ["string", "null"] },
            "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }], "default": null },
            "kind": { "oneOf": [{ "const": "a", "description": "One." }, { "enum": ["b", "c"] }] },
        },
        "$defs": { "Verdict": { "oneOf": [{ "const": "yes" }, { "const": "no" }] } },
    });
    let plain = json!({
        "type": "object",
        "required": ["by", "verdict"],
        "properties": {
            "by": { "anyOf": [{ "$ref": "#/$defs/Name" }, { "type": "null" }] },
            "verdict": { "allOf": [{ "type": "string" }, { "enum": ["no", "yes"] }] },
            "next": { "oneOf": [{ "type": "null" }, { "$ref": "#/$defs/Again" }] },
            "kind": { "type": "string", "enum": ["a", "b", "c"] },
        },
        "$defs": { "Name": { "type": "string", "examples": ["ada"] }, "Again": { "$ref": "#" } },
    });
    check(documented.clone(), plain, expect![]);
    let mut longer = documented.clone();
    longer["properties"]["note"] = json!({ "type": "string" });
    check(
        documented,
        longer,
        expect![[r#"
        gain /next/note: it is new and optional
        gain /note: it is new and optional
        --
        loss /next/note: it is gone, and was optional
        loss /note: it is gone, and was optional
    "#]],
    );
}

#[test]
fn a_schema_within_itself_is_compared_once() {
    let list = |properties: Value| {
        let mut node = object(properties, &[]);
        node["properties"]["next"] = json!({ "anyOf": [{ "$ref": "#/$defs/Node" }, { "type": "null" }] });
        json!({ "$ref": "#/$defs/Node", "$defs": { "Node": node } })
    };
    check(
        list(json!({ "value": { "type": "string" } })),
        list(json!({ "value": { "type": "integer" } })),
        expect![[r#"
            BOTH /next/value: it was a string and is an integer now
            BOTH /value: it was a string and is an integer now
            --
            BOTH /next/value: it was an integer and is a string now
            BOTH /value: it was an integer and is a string now
        "#]],
    );
}

#[test]
fn parts_are_joined_where_they_do_not_touch() {
    let tagged = |inner: Value| {
        json!({
            "type": "object",
            "properties": { "kind": { "const": "a" } },
            "required": ["kind"],
            "$ref": "#/$defs/Inner",
            "$defs": { "Inner": inner },
        })
    };
    check(
        tagged(object(json!({}), &[])),
        tagged(object(json!({ "x": { "type": "string" } }), &[])),
        expect![[r#"
            gain /x: it is new and optional
            --
            loss /x: it is gone, and was optional
        "#]],
    );
    // A closed part does not see the other's properties, so nothing but itself is compatible with it.
    let closed =
        |properties: Value| json!({ "type": "object", "properties": properties, "additionalProperties": false });
    check(
        tagged(closed(json!({ "kind": true }))),
        tagged(closed(json!({ "kind": true, "x": { "type": "string" } }))),
        expect![[r#"
            BOTH /: it changed in a way that cannot be compared
            --
            BOTH /: it changed in a way that cannot be compared
        "#]],
    );
}

#[test]
fn what_cannot_be_compared_counts_as_breaking() {
    let nested =
        |depth: usize, inner: Value| (0..depth).fold(inner, |inner, _| json!({ "type": "array", "items": inner }));
    check(
        nested(70, json!({ "type": "null" })),
        nested(70, json!({ "type": "null", "title": "t" })),
        expect![[r#"
            BOTH /*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*: it nests too deep to be compared
            --
            BOTH /*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*: it nests too deep to be compared
        "#]],
    );
    // Two circles of different length, whose pairs all differ.
    let circle = |length: usize| {
        let defs: serde_json::Map<String, Value> = (0..length)
            .map(|at| {
                let next = json!({ "$ref": format!("#/$defs/{}", (at + 1) % length) });
                (at.to_string(), json!({ "type": "array", "items": next }))
            })
            .collect();
        json!({ "$ref": "#/$defs/0", "$defs": defs })
    };
    assert_eq!(changes(&circle(7), &circle(8)), []);
    assert!(changes(&circle(30), &circle(31)).iter().all(SchemaChange::is_breaking));
    // Each definition leads to the next one twice.
    let doubling = |leaf: &str| {
        let defs: serde_json::Map<String, Value> = (0..30)
            .map(|at| {
                let next = json!({ "$ref": format!("#/$defs/{}", at + 1) });
                (at.to_string(), object(json!({ "a": next, "b": next }), &[]))
            })
            .chain([("30".to_owned(), json!({ "type": leaf }))])
            .collect();
        json!({ "$ref": "#/$defs/0", "$defs": defs })
    };
    let found = changes(&doubling("null"), &doubling("string"));
    assert_eq!(
        found.last().map(ToString::to_string).as_deref(),
        Some("/: the schemas are too large to be compared")
    );
    // Each is compared with each.
    let listed = |word: &str| json!({ "enum": (0..2_000).map(|n| format!("{word}{n}")).collect::<Vec<_>>() });
    let either = |word: &str| {
        let tags: Vec<String> = (0..500).map(|n| format!("{word}{n}")).collect();
        internally(&tags.iter().map(|tag| (tag.as_str(), json!({}))).collect::<Vec<_>>())
    };
    for (one, other) in [(listed("a"), listed("b")), (either("a"), either("b"))] {
        let found = changes(&one, &other);
        assert_eq!(
            found.last().map(ToString::to_string).as_deref(),
            Some("/: the schemas are too large to be compared")
        );
    }
    for odd in [
        json!(null),
        json!({ "$ref": "#/$defs/none" }),
        json!({ "type": 1 }),
        json!({ "anyOf": [] }),
    ] {
        assert!(
            changes(&odd, &json!({ "type": "string" }))
                .iter()
                .any(SchemaChange::is_breaking),
            "{odd}"
        );
    }
}

#[test]
fn the_built_in_types_are_compatible_with_themselves() {
    for known in crate::catalog::registry().types() {
        let schema = known.schema();
        assert_eq!(SchemaChange::between(&schema, &schema), []);
    }
}

#[test]
fn errors_say_what_breaks() {
    let many = |name: &str| {
        let properties: serde_json::Map<String, Value> =
            (0..9).map(|at| (at.to_string(), json!({ "type": name }))).collect();
        object(properties.into(), &[])
    };
    let error = compatible(&many("string"), &many("null")).unwrap_err();
    assert_eq!(error.code(), "conflict");
    expect![[r#"the schema of the type changed so that old and new programs cannot read each other's events (changes="/0: it was a string and is null now; /1: it was a string and is null now; /2: it was a string and is null now; /3: it was a string and is null now; /4: it was a string and is null now; …")"#]].assert_eq(&error.to_string());
}
