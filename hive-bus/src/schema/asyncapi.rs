//! The registry as an AsyncAPI document.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::event_type::EventType;
use super::keyword::{Holds, holds};
use crate::topic::Pattern;

/// A document of [AsyncAPI 3.0](https://www.asyncapi.com/docs/reference/specification/v3.0.0).
pub(super) fn document<'a>(types: impl Iterator<Item = &'a EventType>, title: &str, version: &str) -> Value {
    let mut by_topics: BTreeMap<&Pattern, Vec<&EventType>> = BTreeMap::new();
    for known in types {
        by_topics.entry(known.topics()).or_default().push(known);
    }
    let (mut channels, mut messages, mut schemas) = (Map::new(), Map::new(), Map::new());
    for (topics, types) in by_topics {
        let mut refs = Map::new();
        for known in types {
            let key = free_key(&messages, &format!("{}.v{}", known.name(), known.schema_version()));
            refs.insert(key.clone(), json!({ "$ref": format!("#/components/messages/{key}") }));
            messages.insert(key.clone(), message(known, &key));
            schemas.insert(key.clone(), schema(known, &key));
        }
        let (address, parameters) = address(topics);
        let mut channel = Map::new();
        channel.insert("address".to_owned(), address.as_str().into());
        channel.insert("messages".to_owned(), refs.into());
        if !parameters.is_empty() {
            channel.insert("parameters".to_owned(), parameters.into());
        }
        channel.insert("x-hive-topics".to_owned(), topics.as_str().into());
        channels.insert(free_key(&channels, &address.replace(['{', '}'], "")), channel.into());
    }
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": title, "version": version },
        "defaultContentType": "application/json",
        "channels": channels,
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn message(known: &EventType, key: &str) -> Value {
    let mut message = Map::new();
    message.insert("name".to_owned(), known.name().into());
    message.insert("contentType".to_owned(), "application/json".into());
    message.insert(
        "payload".to_owned(),
        json!({ "$ref": format!("#/components/schemas/{key}") }),
    );
    message.insert("x-hive-schema-version".to_owned(), known.schema_version().into());
    if let Some(about) = known.about() {
        message.insert("description".to_owned(), about.into());
    }
    // A registered type's example is an event whose data is JSON; one that was described may have none.
    if let Ok(example) = known.example()
        && let Ok(data) = example.attributes.data.decode::<Value>()
    {
        message.insert("examples".to_owned(), json!([{ "payload": data }]));
    }
    message.into()
}

fn schema(known: &EventType, key: &str) -> Value {
    let mut schema = known.schema().as_value().clone();
    relocate(&mut schema, &format!("#/components/schemas/{key}/schema"));
    json!({ "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema })
}

/// Lets the references in a schema lead to where it stands in the document.
fn relocate(schema: &mut Value, place: &str) {
    let Value::Object(members) = schema else { return };
    for (keyword, value) in members {
        match holds(keyword) {
            Holds::Reference => {
                if let Value::String(reference) = value
                    && let Some(within) = reference.strip_prefix('#')
                {
                    *reference = format!("{place}{within}");
                }
            }
            Holds::Schema => relocate(value, place),
            Holds::Schemas => value
                .as_array_mut()
                .into_iter()
                .flatten()
                .for_each(|schema| relocate(schema, place)),
            Holds::Named | Holds::Definitions => value
                .as_object_mut()
                .into_iter()
                .flatten()
                .for_each(|(_, schema)| relocate(schema, place)),
            Holds::Annotation | Holds::Set | Holds::Value => {}
        }
    }
}

/// The pattern with a parameter in the place of each wildcard, and what the parameters are.
fn address(topics: &Pattern) -> (String, Map<String, Value>) {
    let mut parameters = Map::new();
    let tokens: Vec<String> = topics
        .tokens()
        .enumerate()
        .map(|(at, token)| {
            let (name, about) = match token {
                ">" => ("rest".to_owned(), "One or more tokens."),
                "*" if topics.is_all() => ("rest".to_owned(), "One or more tokens."),
                "*" => (format!("token{}", at + 1), "One token."),
                literal => return literal.to_owned(),
            };
            let place = format!("{{{name}}}");
            parameters.insert(name, json!({ "description": about }));
            place
        })
        .collect();
    (tokens.join("."), parameters)
}

/// A key that is not taken, made of the letters that a component's key may have; so no reference to it needs escaping.
fn free_key(taken: &Map<String, Value>, text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let key: String = text.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut free = key.clone();
    let mut number = 1;
    while taken.contains_key(&free) {
        number += 1;
        free = format!("{key}_{number}");
    }
    free
}
