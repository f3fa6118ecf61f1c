//! The JSON form of CloudEvents 1.0 (structured mode), from <https://github.com/cloudevents/spec>.
//!
//! | here | there |
//! |---|---|
//! | id, type, source, time, data | the same |
//! | topic | `subject` |
//! | sequence | extension `sequence`, padded with zeros so that it sorts as text, as that extension asks |
//! | tenant | extension `tenant` |
//! | correlation, causation | extensions `correlationid`, `causationid` |
//! | key | extension `partitionkey` |
//! | trace context | extension `traceparent` |
//! | expiry | extension `expirytime` |
//! | schema version | extension `schemaversion`, an integer |

use std::borrow::Cow;

use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::{Attributes, Event, NewEvent, Sequence, TENANT_DEFAULT, rules};
use crate::limits;
use crate::topic::Topic;

const SPECVERSION: &str = "1.0";
const JSON: &str = "application/json";

/// Digits of the largest sequence that a database can hold.
const SEQUENCE_DIGITS: usize = 19;

impl Event {
    /// The event as a CloudEvent 1.0 in its structured JSON form.
    ///
    /// # Errors
    /// `invalid-input` when the stored data is not JSON, which only a damaged database can bring about.
    pub fn to_cloudevent(&self) -> Result<Value> {
        let Attributes {
            event_type,
            schema_version,
            source,
            topic,
            tenant,
            correlation,
            causation,
            key,
            traceparent,
            expires,
            data,
        } = self.attributes();
        let mut object = Map::new();
        let mut set = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        set("specversion", SPECVERSION.into());
        set("id", self.id().to_string().into());
        set("source", source.as_ref().into());
        set("type", event_type.as_ref().into());
        set("subject", topic.as_str().into());
        set("time", self.time().to_string().into());
        set("datacontenttype", JSON.into());
        set(
            "sequence",
            format!("{:0SEQUENCE_DIGITS$}", self.sequence().get()).into(),
        );
        set("tenant", tenant.as_ref().into());
        set("schemaversion", (*schema_version).into());
        if let Some(correlation) = correlation {
            set("correlationid", correlation.as_str().into());
        }
        if let Some(causation) = causation {
            set("causationid", causation.as_str().into());
        }
        if let Some(key) = key {
            set("partitionkey", key.as_str().into());
        }
        if let Some(traceparent) = traceparent {
            set("traceparent", traceparent.as_str().into());
        }
        if let Some(expires) = expires {
            set("expirytime", expires.to_string().into());
        }
        set("data", data.decode()?);
        Ok(Value::Object(object))
    }

    /// Reads what [`Event::to_cloudevent`] wrote.
    ///
    /// Extension attributes that it does not know are left out, as CloudEvents allows.
    ///
    /// # Errors
    /// `invalid-input` naming the attribute that is missing or wrong; `payload-too-large` for too much data.
    pub fn from_cloudevent(value: &Value) -> Result<Self> {
        let object = object(value)?;
        let NewEvent { id, time, attributes } = parse(object)?;
        let sequence = sequence(object)?.ok_or_else(|| missing("sequence"))?;
        let id = id.ok_or_else(|| missing("id"))?;
        let time = time.ok_or_else(|| missing("time"))?;
        Ok(Self::published(sequence, id, time, attributes))
    }
}

impl NewEvent {
    /// Reads a CloudEvent, to publish it here: it keeps its id, so receiving it twice publishes it once. A sequence in it
    /// is somebody else's and is left out, as are extension attributes that Hive does not know.
    ///
    /// It must carry a `subject` that is a topic, an `id` as Hive writes them (`evt_…`) and JSON data, or none (`null`).
    ///
    /// # Errors
    /// As [`Event::from_cloudevent`].
    pub fn from_cloudevent(value: &Value) -> Result<Self> {
        parse(object(value)?)
    }

    /// [`NewEvent::from_cloudevent`] from text that may be hostile: its size is checked first and its depth while parsing.
    ///
    /// # Errors
    /// Also `payload-too-large` above [`limits::CLOUDEVENT_BYTES_MAX`] and `invalid-input` when it is not JSON.
    pub fn from_cloudevent_json(json: &[u8]) -> Result<Self> {
        if json.len() > limits::CLOUDEVENT_BYTES_MAX {
            return Err(
                Error::new(ErrorKind::PayloadTooLarge, "the CloudEvent is larger than the limit")
                    .with("bytes", json.len())
                    .with("limit", limits::CLOUDEVENT_BYTES_MAX),
            );
        }
        let value: Value = serde_json::from_slice(json).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, "the CloudEvent is not JSON")
                .with("line", e.line())
                .with("column", e.column())
                .with_source(e)
        })?;
        Self::from_cloudevent(&value)
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "a CloudEvent is a JSON object")
            .with("found", kind(value))
            .with_hint("send one event per call, in the structured JSON form")
    })
}

fn parse(object: &Map<String, Value>) -> Result<NewEvent> {
    let version = text(object, "specversion")?.ok_or_else(|| missing("specversion"))?;
    if version != SPECVERSION {
        return Err(wrong("specversion", version, "send CloudEvents 1.0"));
    }
    for name in object.keys() {
        if name != "data_base64" && !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(wrong(
                "(name)",
                name,
                "attribute names are lower-case ASCII letters and digits",
            ));
        }
    }
    if object.contains_key("data_base64") {
        return Err(wrong("data_base64", "binary data", "send the data as JSON in `data`"));
    }
    if let Some(content) = text(object, "datacontenttype")? {
        let media = content
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if media != JSON && !media.ends_with("+json") {
            return Err(wrong("datacontenttype", content, "send the data as JSON"));
        }
    }
    let owned = |name: &'static str| Ok::<_, Error>(text(object, name)?.map(str::to_owned));
    let required = |name: &'static str| owned(name)?.ok_or_else(|| missing(name));
    let id = required("id")?.parse::<EventId>().map_err(|e| {
        e.with("attribute", "id")
            .with_hint("an event of another system gets an id here; keep its own id in the data")
    })?;
    let topic = Topic::new(required("subject")?).map_err(|e| e.with("attribute", "subject"))?;
    let time = date(object, "time")?;
    let attributes = Attributes {
        event_type: Cow::Owned(required("type")?),
        schema_version: schema_version(object)?,
        source: Cow::Owned(required("source")?),
        topic,
        tenant: owned("tenant")?.map_or(Cow::Borrowed(TENANT_DEFAULT), Cow::Owned),
        correlation: owned("correlationid")?,
        causation: owned("causationid")?,
        key: owned("partitionkey")?,
        traceparent: owned("traceparent")?,
        expires: date(object, "expirytime")?,
        data: Payload::encode(object.get("data").unwrap_or(&Value::Null), limits::DATA_BYTES_MAX)?,
    };
    rules::check(&attributes)?;
    Ok(NewEvent {
        id: Some(id),
        time,
        attributes,
    })
}

fn date(object: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>> {
    text(object, name)?
        .map(|text| text.parse().map_err(|e: Error| e.with("attribute", name)))
        .transpose()
}

fn schema_version(object: &Map<String, Value>) -> Result<u16> {
    let Some(value) = object.get("schemaversion") else {
        return Ok(1);
    };
    value
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is wrong")
                .with("attribute", "schemaversion")
                .with("found", kind(value))
                .with_hint("schemaversion is an integer from 1 to 65535")
        })
}

fn sequence(object: &Map<String, Value>) -> Result<Option<Sequence>> {
    let Some(digits) = text(object, "sequence")? else {
        return Ok(None);
    };
    let number = Some(digits)
        .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|d| d.parse::<i64>().ok());
    match number.and_then(|number| u64::try_from(number).ok()) {
        Some(number) if number > 0 => Ok(Some(Sequence::new(number))),
        Some(_) | None => Err(wrong(
            "sequence",
            digits,
            "a sequence is a positive number in decimal digits",
        )),
    }
}

/// A string attribute, if it is there.
fn text<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::new(
            ErrorKind::InvalidInput,
            "an attribute of the CloudEvent is not a string",
        )
        .with("attribute", name)
        .with("found", kind(other))),
    }
}

fn missing(name: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is missing").with("attribute", name)
}

fn wrong(name: &'static str, found: &str, hint: &'static str) -> Error {
    // The text is a stranger's: its beginning is enough to recognise it by.
    let shown: String = found.chars().take(64).flat_map(char::escape_debug).collect();
    Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is wrong")
        .with("attribute", name)
        .with("found", shown)
        .with_hint(hint)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
