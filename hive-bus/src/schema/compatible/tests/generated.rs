//! Random schemas, random changes to them, and random data: whatever is said to be readable is read.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::Map;

use super::super::super::check::Checker;
use super::super::super::store;
use super::*;

/// Values that schemas list and data has.
fn value() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(1.5),
        json!(""),
        json!("a"),
        json!("bb"),
        json!([]),
        json!([0]),
        json!({}),
        json!({ "a": 0 }),
        json!({ "b": "a", "z": null }),
    ])
}

fn plain() -> impl Strategy<Value = Value> {
    let types = vec!["null", "boolean", "integer", "number", "string", "array", "object"];
    prop_oneof![
        4 => subsequence(types, 1..3).prop_map(|types| match types.as_slice() {
            [one] => json!({ "type": one }),
            types => json!({ "type": types }),
        }),
        2 => proptest::collection::vec(value(), 1..4).prop_map(|values| json!({ "enum": values })),
        1 => value().prop_map(|value| json!({ "const": value })),
        1 => (0..2_u8).prop_map(|n| json!({ "type": "string", "maxLength": n })),
        1 => (0..2_u8).prop_map(|n| json!({ "type": "integer", "minimum": n })),
        1 => Just(json!({ "maxProperties": 1, "minItems": 1 })),
        1 => select(vec![json!(true), json!({}), json!(false)]),
        2 => reference(),
    ]
}

fn reference() -> impl Strategy<Value = Value> {
    select(vec!["#/$defs/d", "#/$defs/e"]).prop_map(|to| json!({ "$ref": to }))
}

fn schema() -> impl Strategy<Value = Value> {
    plain().prop_recursive(3, 12, 3, |inner| {
        let object = (
            proptest::option::of(inner.clone()),
            proptest::option::of(inner.clone()),
            subsequence(vec!["a", "b", "c"], 0..3),
            prop_oneof![3 => Just(None), 1 => Just(Some(json!(false))), 1 => Just(Some(json!(true))), 1 => inner.clone().prop_map(Some)],
            any::<bool>(),
        )
            .prop_map(|(a, b, required, additional, typed)| {
                let mut schema = Map::new();
                let properties: Map<String, Value> = [("a", a), ("b", b)]
                    .into_iter()
                    .filter_map(|(name, schema)| Some((name.to_owned(), schema?)))
                    .collect();
                if typed {
                    schema.insert("type".into(), "object".into());
                }
                if !properties.is_empty() {
                    schema.insert("properties".into(), properties.into());
                }
                if !required.is_empty() {
                    schema.insert("required".into(), required.into());
                }
                if let Some(additional) = additional {
                    schema.insert("additionalProperties".into(), additional);
                }
                Value::Object(schema)
            });
        let several = proptest::collection::vec(inner.clone(), 1..4);
        let tags = proptest::collection::vec((select(vec!["p", "q", "r"]), inner.clone()), 1..3);
        prop_oneof![
            5 => object.clone(),
            1 => inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            1 => (several.clone(), inner.clone()).prop_map(|(prefix, items)| json!({ "prefixItems": prefix, "items": items })),
            1 => several.clone().prop_map(|list| json!({ "anyOf": list })),
            1 => several.clone().prop_map(|list| json!({ "oneOf": list })),
            1 => several.prop_map(|list| json!({ "allOf": list })),
            1 => inner.clone().prop_map(|schema| json!({ "anyOf": [schema, { "type": "null" }] })),
            2 => tags.prop_map(|tags| {
                let variants: Vec<Value> = tags
                    .into_iter()
                    .map(|(tag, schema)| json!({
                        "type": "object",
                        "properties": { "t": { "const": tag }, "a": schema },
                        "required": ["t"],
                    }))
                    .collect();
                json!({ "oneOf": variants })
            }),
            // Keywords beside others.
            1 => (object, prop_oneof![reference(), inner]).prop_map(|(mut one, other)| {
                for (keyword, value) in other.as_object().into_iter().flatten() {
                    one[keyword] = value.clone();
                }
                one
            }),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    (schema(), schema(), schema()).prop_map(|(root, d, e)| {
        let mut root = if root.is_object() {
            root
        } else {
            json!({ "items": root })
        };
        root["$defs"] = json!({ "d": d, "e": e });
        root
    })
}

/// Something that a developer might do to one of the schemas in a document.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Value),
    Property(&'static str, Option<Value>),
    Required(&'static str, bool),
    Additional(Option<Value>),
    Nullable,
    Value(Value),
    Describe,
    Alternative(Value),
    DropAlternative,
    Turn,
    Part,
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = || select(vec!["a", "b", "c"]);
    prop_oneof![
        1 => schema().prop_map(Edit::Replace),
        5 => (name(), proptest::option::weighted(0.8, schema())).prop_map(|(name, schema)| Edit::Property(name, schema)),
        1 => (name(), any::<bool>()).prop_map(|(name, is)| Edit::Required(name, is)),
        1 => proptest::option::of(schema()).prop_map(Edit::Additional),
        1 => Just(Edit::Nullable),
        1 => value().prop_map(Edit::Value),
        1 => Just(Edit::Describe),
        1 => schema().prop_map(Edit::Alternative),
        1 => Just(Edit::DropAlternative),
        1 => Just(Edit::Turn),
        1 => Just(Edit::Part),
    ]
}

impl Edit {
    fn apply(self, schema: &mut Value) {
        let Some(members) = schema.as_object_mut() else {
            if let Self::Replace(other) = self {
                *schema = other;
            }
            return;
        };
        let mut lists = ["anyOf", "oneOf"]
            .into_iter()
            .filter(|keyword| members.contains_key(*keyword));
        let list = lists.next();
        match self {
            Self::Replace(other) => {
                let definitions = members.remove("$defs");
                let other = if other.is_object() {
                    other
                } else {
                    json!({ "items": other })
                };
                *schema = other;
                if let Some(definitions) = definitions {
                    schema["$defs"] = definitions;
                }
            }
            Self::Property(name, new) => {
                if members.get("type") == Some(&json!("object")) || members.contains_key("properties") {
                    let properties = members.entry("properties").or_insert_with(|| json!({}));
                    match new {
                        Some(new) => drop(properties.as_object_mut().unwrap().insert(name.into(), new)),
                        None => drop(properties.as_object_mut().unwrap().remove(name)),
                    }
                }
            }
            Self::Required(name, is) => {
                let required = members.entry("required").or_insert_with(|| json!([]));
                let required = required.as_array_mut().unwrap();
                required.retain(|other| other != name);
                if is {
                    required.push(name.into());
                }
            }
            Self::Additional(Some(new)) => drop(members.insert("additionalProperties".into(), new)),
            Self::Additional(None) => drop(members.remove("additionalProperties")),
            Self::Nullable => {
                if !members.contains_key("$defs") {
                    *schema = json!({ "anyOf": [{ "type": "null" }, schema.clone()] });
                }
            }
            Self::Value(value) => {
                if let Some(values) = members.get_mut("enum").and_then(Value::as_array_mut) {
                    values.push(value);
                }
            }
            Self::Describe => drop(members.insert("description".into(), "Better.".into())),
            Self::Alternative(new) => {
                if let Some(list) = list {
                    members[list].as_array_mut().unwrap().push(new);
                }
            }
            Self::DropAlternative => {
                if let Some(list) = list
                    .and_then(|list| members[list].as_array_mut())
                    .filter(|list| list.len() > 1)
                {
                    list.pop();
                }
            }
            Self::Turn => {
                if let Some(list) = list {
                    members[list].as_array_mut().unwrap().reverse();
                }
            }
            Self::Part => {
                if !members.contains_key("$defs") {
                    *schema = json!({ "allOf": [schema.clone()] });
                }
            }
        }
    }
}

/// Every schema in one, the whole first.
fn places(schema: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    visit(schema);
    for (keyword, value) in schema.as_object_mut().into_iter().flatten() {
        match keyword.as_str() {
            "items" | "additionalProperties" => places(value, visit),
            "prefixItems" | "anyOf" | "oneOf" | "allOf" => {
                value
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(|schema| places(schema, visit));
            }
            "properties" | "$defs" => {
                value
                    .as_object_mut()
                    .unwrap()
                    .values_mut()
                    .for_each(|schema| places(schema, visit));
            }
            _ => {}
        }
    }
}

fn edited(document: &Value, edits: &[(Index, Edit)]) -> Value {
    let mut document = document.clone();
    for (place, edit) in edits {
        let mut count = 0;
        places(&mut document, &mut |_| count += 1);
        let wanted = place.index(count);
        let mut at = 0;
        let mut edit = Some(edit.clone());
        places(&mut document, &mut |schema| {
            if at == wanted
                && let Some(edit) = edit.take()
            {
                edit.apply(schema);
            }
            at += 1;
        });
    }
    document
}

/// Writes data as a program would whose types have a schema: only properties that it describes, unless it says otherwise.
struct Writer<'a> {
    root: &'a Value,
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl<'a> Writer<'a> {
    fn choose(&mut self, below: usize) -> usize {
        usize::from(*self.choices.next().unwrap()) % below
    }

    fn any(&mut self) -> Value {
        let values = [
            json!(null),
            json!(true),
            json!(-1),
            json!(0),
            json!(1.5),
            json!(""),
            json!("a"),
            json!("bbb"),
            json!([]),
            json!([0, "a"]),
            json!({}),
            json!({ "a": 0, "b": "a" }),
            json!({ "a": "a", "t": "p" }),
            json!({ "c": null, "z": {} }),
        ];
        values[self.choose(values.len())].clone()
    }

    /// The parts that the value has to fit all of, with one of each row of alternatives.
    fn parts(&mut self, schema: &'a Value, depth: usize, parts: &mut Vec<&'a Map<String, Value>>) -> Option<()> {
        match schema {
            Value::Bool(is) => return is.then_some(()),
            Value::Object(members) => parts.push(members),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => unreachable!("no schema"),
        }
        if depth == 0 {
            return None;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = &self.root["$defs"][reference.trim_start_matches("#/$defs/")];
            self.parts(target, depth - 1, parts)?;
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.parts(part, depth - 1, parts)?;
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(list) = schema.get(keyword).and_then(Value::as_array) {
                let choice = self.choose(list.len());
                self.parts(&list[choice], depth - 1, parts)?;
            }
        }
        Some(())
    }

    /// A value of one of the alternatives, and that means one which this alternative alone would read as well.
    fn write(&mut self, schema: &'a Value, depth: usize) -> Option<Value> {
        let mut parts = Vec::new();
        self.parts(schema, depth, &mut parts)?;
        let value = self.write_parts(&parts, depth)?;
        let is_choice = |part: &&Map<String, Value>| part.contains_key("anyOf") || part.contains_key("oneOf");
        if !parts.iter().any(is_choice) {
            return Some(value);
        }
        let chosen: Vec<Map<String, Value>> = parts
            .iter()
            .map(|part| {
                part.iter()
                    .filter(|(keyword, _)| !["anyOf", "oneOf", "$defs"].contains(&keyword.as_str()))
            })
            .map(|part| part.map(|(keyword, value)| (keyword.clone(), value.clone())).collect())
            .collect();
        let chosen = Checker::new(&json!({ "allOf": chosen, "$defs": self.root["$defs"] })).unwrap();
        chosen.check(&value).is_ok().then_some(value)
    }

    fn write_parts(&mut self, parts: &[&'a Map<String, Value>], depth: usize) -> Option<Value> {
        let said = |keyword: &'static str| parts.iter().filter_map(move |part| part.get(keyword));
        if let Some(values) = said("enum").next().and_then(Value::as_array) {
            return Some(values[self.choose(values.len())].clone());
        }
        if let Some(value) = said("const").next() {
            return Some(value.clone());
        }
        let properties: Vec<(&String, &Value)> = said("properties").filter_map(Value::as_object).flatten().collect();
        let required = || {
            said("required")
                .filter_map(Value::as_array)
                .flatten()
                .filter_map(Value::as_str)
        };
        let types: Vec<&Value> = said("type").collect();
        if types.is_empty()
            && properties.is_empty()
            && ["items", "prefixItems", "additionalProperties"]
                .iter()
                .all(|keyword| parts.iter().all(|part| !part.contains_key(*keyword)))
        {
            let mut any = self.any();
            for name in required() {
                if let Some(members) = any.as_object_mut() {
                    members.insert(name.to_owned(), self.any());
                }
            }
            return Some(any);
        }
        let objects = !properties.is_empty()
            || said("additionalProperties").next().is_some()
            || types.iter().any(|types| types.to_string().contains("object"));
        if objects && self.choose(8) > 0 {
            let mut object = Map::new();
            for (name, schema) in &properties {
                if self.choose(3) > 0 {
                    object.insert((*name).clone(), self.write(schema, depth - 1)?);
                }
            }
            for name in required().filter(|name| properties.iter().all(|(other, _)| other != name)) {
                let value = match said("additionalProperties").next() {
                    Some(schema) => self.write(schema, depth - 1)?,
                    None => self.any(),
                };
                object.insert(name.to_owned(), value);
            }
            if let Some(additional) = said("additionalProperties").next() {
                for name in ["a", "b", "t", "z"] {
                    if self.choose(3) == 0
                        && !object.contains_key(name)
                        && properties.iter().all(|(other, _)| *other != name)
                    {
                        object.insert(name.to_owned(), self.write(additional, depth - 1)?);
                    }
                }
            }
            return Some(object.into());
        }
        if self.choose(3) > 0 && (types.is_empty() || types.iter().any(|types| types.to_string().contains("array"))) {
            let mut array = Vec::new();
            for schema in said("prefixItems")
                .next()
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                if self.choose(4) > 0 {
                    array.push(self.write(schema, depth - 1)?);
                }
            }
            for _ in 0..self.choose(3) {
                array.push(match said("items").next() {
                    Some(schema) => self.write(schema, depth - 1)?,
                    None => self.any(),
                });
            }
            return Some(array.into());
        }
        // Objects of any kind are for schemas that say nothing.
        Some(self.any()).filter(|value| !value.is_object())
    }
}

/// Data that a program with this schema might write.
fn written(document: &Value, checker: &Checker, choices: &[u8]) -> Vec<Value> {
    let mut writer = Writer {
        root: document,
        choices: choices.iter().cycle(),
    };
    (0..12)
        .filter_map(|_| writer.write(document, 8))
        .filter(|data| checker.check(data).is_ok())
        .collect()
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    // A prime, so that the choices do not come round to the same questions.
    proptest::collection::vec(any::<u8>(), 97)
}

fn edits() -> impl Strategy<Value = Vec<(Index, Edit)>> {
    proptest::collection::vec((any::<Index>(), edit()), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_said_to_read_reads(old in document(), edits in edits(), choices in choices()) {
        let new = edited(&old, &edits);
        let (Ok(old_checker), Ok(new_checker)) = (Checker::new(&old), Checker::new(&new)) else {
            return Err(TestCaseError::reject("no schema"));
        };
        let found = changes(&old, &new);
        if !found.iter().any(SchemaChange::breaks_new_readers) {
            for data in written(&old, &old_checker, &choices) {
                let read = new_checker.check(&data);
                prop_assert!(read.is_ok(), "old {} new {} data {} {:?} {:?}", old, new, data, read, found);
            }
        }
        if !found.iter().any(SchemaChange::breaks_old_readers) {
            for data in written(&new, &new_checker, &choices) {
                let read = old_checker.check(&data);
                prop_assert!(read.is_ok(), "old {} new {} data {} {:?} {:?}", old, new, data, read, found);
            }
        }
    }

    #[test]
    fn a_schema_does_not_differ_from_itself(document in document()) {
        let mut described = document.clone();
        places(&mut described, &mut |schema| Edit::Describe.apply(schema));
        if Checker::new(&document).is_ok() {
            prop_assert_eq!(changes(&document, &described), []);
        }
    }

    /// Also those that came long before: what a database let in stays readable, whatever order programs came in.
    #[test]
    fn whoever_was_let_in_reads_all_others(
        first in document(),
        later in proptest::collection::vec((any::<Index>(), edits()), 1..6),
        choices in choices(),
    ) {
        let Ok(checker) = Checker::new(&first) else { return Err(TestCaseError::reject("no schema")) };
        let mut remembered = store::join(Vec::new(), &first).unwrap().unwrap();
        let mut known = vec![(first, checker)];
        for (from, edits) in later {
            let next = edited(&known[from.index(known.len())].0, &edits);
            let Ok(checker) = Checker::new(&next) else { continue };
            match store::join(remembered.clone(), &next) {
                Ok(Some(more)) => remembered = more,
                Ok(None) => {}
                Err(_) => continue,
            }
            known.push((next, checker));
        }
        for (writer, checker) in &known {
            for data in written(writer, checker, &choices) {
                for (reader, checker) in &known {
                    prop_assert!(checker.check(&data).is_ok(), "{} cannot read {} of {}", reader, data, writer);
                }
            }
        }
    }
}
