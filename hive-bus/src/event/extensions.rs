//! What an event has that only few have, and Hive only carries: extension attributes, and what CloudEvents of other systems
//! come with. It stands in one column, as a JSON object.

use std::collections::BTreeMap;
use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::content::Content;
use super::foreign::{Foreign, Subject};

/// The value of an extension attribute. JSON tells these types apart; dates, URIs and bytes are text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtensionValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i32),
    /// Anything else, as CloudEvents writes it as text.
    Text(String),
}

impl ExtensionValue {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Int(_) => None,
        }
    }

    /// Its type, in the words of JSON.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "boolean",
            Self::Int(_) => "number",
            Self::Text(_) => "string",
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bool(_) | Self::Int(_) => size_of::<i32>(),
            Self::Text(text) => text.len(),
        }
    }
}

/// As CloudEvents writes it as text: `true`, `-7`, or the text itself.
impl fmt::Display for ExtensionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<bool> for ExtensionValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for ExtensionValue {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for ExtensionValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for ExtensionValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<ExtensionValue> for Value {
    fn from(value: ExtensionValue) -> Self {
        match value {
            ExtensionValue::Bool(value) => value.into(),
            ExtensionValue::Int(value) => value.into(),
            ExtensionValue::Text(text) => text.into(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extensions {
    pub(super) named: BTreeMap<String, ExtensionValue>,
    /// `dataschema`.
    pub(super) schema: Option<String>,
    /// `datacontenttype`, unless it is the usual one of its content.
    pub(super) media_type: Option<String>,
    pub(super) content: Content,
    pub(super) foreign: Option<Foreign>,
}

// The names of the column's members that are no extensions. CloudEvents has these for itself, so no extension has them.
const ID: &str = "id";
const SUBJECT: &str = "subject";
const SCHEMA: &str = "dataschema";
const MEDIA_TYPE: &str = "datacontenttype";
const DATA: &str = "data";

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes it one of Hive's own: its id and subject are then what every other event's are.
    pub(super) fn naturalize(&mut self) {
        if self.foreign.take().is_some() {
            // Its place in a log is Hive's to tell from now on, and there is always data.
            self.named.remove("sequence");
            if self.content == Content::Nothing {
                self.content = Content::Json;
            }
        }
    }

    /// How many bytes of text they are, which is about how many bytes of memory they take.
    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_deref().map_or(0, str::len);
        let named: usize = self.named.iter().map(|(name, value)| name.len() + value.bytes()).sum();
        named + text(&self.schema) + text(&self.media_type) + self.foreign.as_ref().map_or(0, |foreign| foreign.bytes())
    }

    /// As the column's text: canonical, because the members are sorted.
    pub(crate) fn to_column(&self) -> String {
        let mut object = Map::new();
        for (name, value) in &self.named {
            object.insert(name.clone(), value.clone().into());
        }
        let mut set = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        if let Some(schema) = &self.schema {
            set(SCHEMA, schema.as_str().into());
        }
        if let Some(media_type) = &self.media_type {
            set(MEDIA_TYPE, media_type.as_str().into());
        }
        if self.content != Content::Json {
            set(DATA, self.content.name().into());
        }
        if let Some(Foreign { id, subject }) = &self.foreign {
            set(ID, id.as_str().into());
            match subject {
                Subject::Topic => {}
                Subject::Absent => set(SUBJECT, Value::Null),
                Subject::Text(text) => set(SUBJECT, text.as_str().into()),
            }
        }
        Value::Object(object).to_string()
    }

    /// Reads what [`Extensions::to_column`] wrote.
    pub(crate) fn from_column(text: &str) -> Result<Self> {
        let mut object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "an event's extensions are not JSON").with_source(e))?;
        let subject = match object.remove(SUBJECT) {
            None => Subject::Topic,
            Some(Value::Null) => Subject::Absent,
            Some(other) => Subject::Text(stored_text(SUBJECT, other)?),
        };
        let mut take = |name: &'static str| object.remove(name).map(|value| stored_text(name, value)).transpose();
        let id = take(ID)?;
        let (schema, media_type) = (take(SCHEMA)?, take(MEDIA_TYPE)?);
        let content = take(DATA)?.map_or(Ok(Content::Json), |name| {
            Content::from_name(&name).ok_or_else(|| damaged(DATA))
        })?;
        let named = object
            .into_iter()
            .map(|(name, value)| match stored_value(value) {
                Some(value) => Ok((name, value)),
                None => Err(damaged(&name)),
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            named,
            schema,
            media_type,
            content,
            foreign: id.map(|id| Foreign { id, subject }),
        })
    }
}

fn stored_text(name: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(damaged(name)),
    }
}

fn stored_value(value: Value) -> Option<ExtensionValue> {
    match value {
        Value::Bool(value) => Some(value.into()),
        Value::Number(number) => Some(i32::try_from(number.as_i64()?).ok()?.into()),
        Value::String(text) => Some(text.into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn damaged(name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "an event's extensions cannot be read").with("attribute", name)
}
