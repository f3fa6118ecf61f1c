//! References to the outputs of other nodes, within an input.

use std::borrow::Cow;

use hive_core::nearest::nearest;
use serde_json::{Map, Value};

use crate::limits;

/// The key that makes an object a reference.
pub(super) const FROM: &str = "$from";

/// A reference in an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reference<'a> {
    pub(super) from: &'a str,
    pub(super) path: &'a str,
    pub(super) default: Option<&'a Value>,
}

/// What is wrong with an object that has the key of a reference, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) key: Option<String>,
    pub(super) message: String,
}

impl<'a> Reference<'a> {
    /// Reads an object as a reference; `None` for one that is none.
    pub(super) fn read(object: &'a Map<String, Value>) -> Option<Result<Self, Malformed>> {
        let from = object.get(FROM)?;
        Some(Self::parse(object, from))
    }

    fn parse(object: &'a Map<String, Value>, from: &'a Value) -> Result<Self, Malformed> {
        let wrong = |key: &str, message: String| Malformed {
            key: Some(key.to_owned()),
            message,
        };
        let Value::String(from) = from else {
            return Err(wrong(FROM, "`$from` has to be the id of a node, as a text".to_owned()));
        };
        let path = match object.get("path") {
            None => "",
            Some(Value::String(path)) if is_pointer(path) => path,
            Some(_) => {
                return Err(wrong(
                    "path",
                    "`path` has to be a JSON pointer such as `/a/0`".to_owned(),
                ));
            }
        };
        let known = [FROM, "path", "default"];
        if let Some(other) = object.keys().find(|key| !known.contains(&key.as_str())) {
            let near = nearest(other, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let message = format!("a reference has no `{:.80}`{near}", other.escape_debug());
            return Err(wrong(other, message));
        }
        Ok(Self {
            from,
            path,
            default: object.get("default"),
        })
    }
}

/// Whether a text is a JSON pointer.
pub(super) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// A token as it stands in a pointer.
pub(super) fn escaped(token: &str) -> Cow<'_, str> {
    if token.contains(['~', '/']) {
        Cow::Owned(token.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(token)
    }
}

/// The tokens of a pointer.
pub(super) fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// What an input has in it that counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    Reference(Reference<'a>),
    Malformed(Malformed),
    TooDeep,
}

/// Every reference in an input, and what looks like one, with where it stands below `at`.
pub(super) fn references<'a>(input: &'a Value, at: &str) -> Vec<(String, Found<'a>)> {
    let mut found = Vec::new();
    walk(input, at, 0, &mut found);
    found
}

fn walk<'a>(value: &'a Value, at: &str, depth: usize, found: &mut Vec<(String, Found<'a>)>) {
    if depth > limits::PLAN_INPUT_DEPTH {
        found.push((at.to_owned(), Found::TooDeep));
        return;
    }
    match value {
        Value::Object(object) => match Reference::read(object) {
            Some(Ok(reference)) => {
                found.push((at.to_owned(), Found::Reference(reference)));
                if let Some(default) = reference.default
                    && is_deep(default, depth + 1)
                {
                    found.push((format!("{at}/default"), Found::TooDeep));
                }
            }
            Some(Err(malformed)) => found.push((at.to_owned(), Found::Malformed(malformed))),
            None => {
                for (key, value) in object {
                    walk(value, &format!("{at}/{}", escaped(key)), depth + 1, found);
                }
            }
        },
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                walk(item, &format!("{at}/{place}"), depth + 1, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_deep(value: &Value, depth: usize) -> bool {
    depth > limits::PLAN_INPUT_DEPTH
        || match value {
            Value::Object(object) => object.values().any(|value| is_deep(value, depth + 1)),
            Value::Array(items) => items.iter().any(|item| is_deep(item, depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
}

/// A reference that leads nowhere, although the node that it names has an output or none is to be expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nowhere {
    pub(super) from: String,
    pub(super) path: String,
}

/// The input with outputs in the places of references. `output` gives the output of a node, where it left one.
pub(super) fn resolved<'a>(input: &Value, output: &impl Fn(&str) -> Option<&'a Value>) -> Result<Value, Nowhere> {
    match input {
        Value::Object(object) => match Reference::read(object) {
            Some(Ok(reference)) => output(reference.from)
                .and_then(|whole| whole.pointer(reference.path))
                .or(reference.default)
                .cloned()
                .ok_or_else(|| Nowhere {
                    from: reference.from.to_owned(),
                    path: reference.path.to_owned(),
                }),
            Some(Err(_)) | None => object
                .iter()
                .map(|(key, value)| Ok((key.clone(), resolved(value, output)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| resolved(item, output))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(input.clone()),
    }
}
