use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::catalog;
use crate::schema::{EventTypeSpec, TopicRegistry};

/// Calls `visit` with every `$ref` in it.
fn references(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(reference) if key == "$ref" => visit(reference),
                    Some(_) | None => references(value, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the specification demands of the parts that are used.
fn check(document: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let within = |value: &Value, allowed: &[&str]| {
        let strange: Vec<String> = keys(value)
            .into_iter()
            .filter(|key| !allowed.contains(&key.as_str()) && !key.starts_with("x-"))
            .collect();
        assert!(strange.is_empty(), "{strange:?}");
    };
    within(
        document,
        &["asyncapi", "info", "defaultContentType", "channels", "components"],
    );
    assert_eq!(document["asyncapi"], "3.0.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    within(&document["components"], &["messages", "schemas"]);
    for kind in ["messages", "schemas"] {
        for key in keys(&document["components"][kind]) {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            assert!(!key.is_empty() && key.chars().all(plain), "{key}");
        }
    }
    let mut used = BTreeSet::new();
    for channel in document["channels"].as_object().unwrap().values() {
        within(channel, &["address", "messages", "parameters"]);
        let address = channel["address"].as_str().unwrap();
        let named: BTreeSet<String> = address
            .split('{')
            .skip(1)
            .map(|part| part.split_once('}').unwrap().0.to_owned())
            .collect();
        let empty = json!({});
        assert_eq!(named, keys(channel.get("parameters").unwrap_or(&empty)), "{address}");
        assert!(!channel["messages"].as_object().unwrap().is_empty());
        references(&channel["messages"], &mut |reference| {
            used.insert(reference.to_owned());
        });
    }
    for (key, message) in document["components"]["messages"].as_object().unwrap() {
        within(message, &["name", "description", "contentType", "payload", "examples"]);
        assert!(
            used.contains(&format!("#/components/messages/{key}")),
            "{key} is on no channel"
        );
        for example in message["examples"].as_array().into_iter().flatten() {
            within(example, &["payload"]);
        }
    }
    for schema in document["components"]["schemas"].as_object().unwrap().values() {
        within(schema, &["schemaFormat", "schema"]);
    }
    references(document, &mut |reference| {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    });
}

#[test]
fn the_built_in_types_make_a_document() {
    let registry = catalog::registry();
    let document = registry.asyncapi("Hive", "1.2.3");
    check(&document);
    assert_eq!(document["info"], json!({ "title": "Hive", "version": "1.2.3" }));
    assert_eq!(
        document["channels"]["task.failed.rest"],
        json!({
            "address": "task.failed.{rest}",
            "messages": { "task.failed.v1": { "$ref": "#/components/messages/task.failed.v1" } },
            "parameters": { "rest": { "description": "One or more tokens." } },
            "x-hive-topics": "task.failed.>",
        })
    );
    let messages = document["components"]["messages"].as_object().unwrap();
    assert_eq!(messages.len(), registry.len());
    let completed = &messages["review.completed.v1"];
    assert_eq!(completed["examples"][0]["payload"]["reviewer"], "security");
    assert_eq!(completed["description"], "A review came to a verdict.");
    let schema = &document["components"]["schemas"]["review.completed.v1"]["schema"];
    assert_eq!(
        schema["properties"]["verdict"]["$ref"],
        "#/components/schemas/review.completed.v1/schema/$defs/Verdict"
    );
}

#[test]
fn whatever_names_and_patterns_there_are() {
    let mut registry = TopicRegistry::empty();
    for (name, version, topics) in [
        ("a/b", 1, "*.x.*.>"),
        ("a:b", 1, "*.x.*.>"),
        ("a_b", 1, "token1.x.token3.rest"),
        ("a_b", 2, "a/b.~#%"),
        ("all", 1, "*"),
        ("most", 1, ">"),
    ] {
        let schema = json!({
            "type": "object",
            "properties": { "$ref": { "$ref": "#" }, "next": { "$ref": "#/$defs/a~1b" } },
            "$defs": { "a/b": { "const": { "$ref": "#/as/it/is" } } },
        });
        let mut spec = EventTypeSpec::new(name, Pattern::new(topics).unwrap(), schema);
        spec.schema_version = version;
        registry.register_type(spec).unwrap();
    }
    let document = registry.asyncapi("", "");
    let messages: Vec<&String> = document["components"]["messages"].as_object().unwrap().keys().collect();
    assert_eq!(
        messages,
        ["a_b.v1", "a_b.v1_2", "a_b.v1_3", "a_b.v2", "all.v1", "most.v1"]
    );
    assert_eq!(document["channels"].as_object().unwrap().len(), 5);
    let schema = &document["components"]["schemas"]["all.v1"]["schema"];
    // A property may have that name, and a value that property.
    assert_eq!(
        schema["properties"]["$ref"]["$ref"],
        "#/components/schemas/all.v1/schema"
    );
    assert_eq!(schema["$defs"]["a/b"]["const"]["$ref"], "#/as/it/is");
    assert!(document["components"]["messages"]["all.v1"].get("examples").is_none());
}
