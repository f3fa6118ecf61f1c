use std::fmt;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::fingerprint;

/// A JSON Schema (draft 2020-12). Cheap to clone.
///
/// ```
/// use hive_core::payload::Schema;
///
/// assert_eq!(Schema::of::<Vec<bool>>().as_value()["items"]["type"], "boolean");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Schema(Arc<Value>);

impl Schema {
    /// The schema of what `T` is read from.
    pub fn of<T: JsonSchema + ?Sized>() -> Self {
        let schema = SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<T>();
        Self(Arc::new(schema.to_value()))
    }

    /// A schema that came from elsewhere, such as a plugin's manifest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the value is neither an object nor a boolean, which is all that is checked.
    pub fn from_value(value: Value) -> Result<Self> {
        if value.is_object() || value.is_boolean() {
            return Ok(Self(Arc::new(value)));
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            "the JSON Schema is neither an object nor a boolean",
        ))
    }

    /// The schema as JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// A number that stays the same as long as the described shape does; the same on every machine and in every release.
    ///
    /// Titles, descriptions, examples, defaults and the order of fields do not count, so that a better doc comment is not a
    /// change of type. The names of nested types do count.
    pub fn fingerprint(&self) -> u64 {
        let mut text = String::new();
        write_shape(&self.0, Keys::Keywords, &mut text);
        fingerprint(text.as_bytes())
    }
}

/// What the keys of an object within a schema are.
#[derive(Copy, Clone, PartialEq)]
enum Keys {
    /// Keywords of JSON Schema.
    Keywords,
    /// Names that the described data uses: `title` may be a property.
    Names,
    /// Keys of a value that stands in the schema as such, below `const` and `enum`.
    Data,
}

/// Keywords that describe for people and do not change what is valid.
const ANNOTATIONS: [&str; 7] = [
    "$schema",
    "$comment",
    "title",
    "description",
    "examples",
    "default",
    "deprecated",
];

/// Keywords whose arrays are sets: the order of a struct's fields or of an enum's variants does not change what is valid.
const SETS: [&str; 3] = ["required", "type", "enum"];

fn write_set(items: &[Value], keys: Keys, out: &mut String) {
    let mut texts: Vec<String> = items
        .iter()
        .map(|item| {
            let mut text = String::new();
            write_shape(item, keys, &mut text);
            text
        })
        .collect();
    texts.sort();
    out.push('[');
    out.push_str(&texts.join(","));
    out.push(']');
}

/// Writes canonical JSON of `value` without its annotations.
fn write_shape(value: &Value, keys: Keys, out: &mut String) {
    match value {
        Value::Object(members) => write_object(members, keys, out),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_shape(item, keys, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

fn write_object(members: &Map<String, Value>, keys: Keys, out: &mut String) {
    // Sorted here, because serde_json keeps the order of insertion as soon as any crate of a build asks it to.
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (key, value) in members {
        if keys == Keys::Keywords && ANNOTATIONS.contains(&key.as_str()) {
            continue;
        }
        let below = match (keys, key.as_str()) {
            (Keys::Data, _) | (Keys::Keywords, "const" | "enum") => Keys::Data,
            (Keys::Keywords, "properties" | "patternProperties" | "$defs" | "dependentSchemas") => Keys::Names,
            (Keys::Keywords | Keys::Names, _) => Keys::Keywords,
        };
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        if let Value::Array(items) = value
            && keys == Keys::Keywords
            && SETS.contains(&key.as_str())
        {
            write_set(items, below, out);
        } else {
            write_shape(value, below, out);
        }
        out.push(',');
    }
    out.push('}');
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.0)
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
