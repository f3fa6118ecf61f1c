//! The JSON format of CloudEvents: one event as an object, several as an array.
//!
//! The text is read member by member, so that a name that comes twice is seen and a number in the data keeps its spelling.

use std::borrow::Cow;
use std::fmt;

use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Data, ExtensionValue, Parts, Received, attributes, content, name_rule, not_text, twice, wrong};
use crate::event::content::Content;
use crate::event::{Event, NewEvent};
use crate::limits;

const DATA: &str = "data";
const DATA_BASE64: &str = "data_base64";

impl Event {
    /// The event as a CloudEvent 1.0 in its structured JSON form.
    ///
    /// # Errors
    /// `invalid-input` when its data has a number that a [`Value`] cannot hold, or is not JSON, which only a damaged database
    /// can bring about. [`Event::to_cloudevent_json`] keeps every number as it is.
    pub fn to_cloudevent(&self) -> Result<Value> {
        serde_json::to_value(Json(self)).map_err(unwritable)
    }

    /// [`Event::to_cloudevent`] as text.
    ///
    /// # Errors
    /// `invalid-input` when its data is not JSON, which only a damaged database can bring about.
    pub fn to_cloudevent_json(&self) -> Result<String> {
        serde_json::to_string(&Json(self)).map_err(unwritable)
    }

    /// Several events in CloudEvents' JSON batch format: an array.
    ///
    /// # Errors
    /// As [`Event::to_cloudevent_json`]; `limit-reached` above [`limits::BATCH_MAX`] events, `payload-too-large` above
    /// [`limits::CLOUDEVENTS_BYTES_MAX`].
    pub fn batch_to_cloudevents_json(events: &[Self]) -> Result<String> {
        if events.len() > limits::BATCH_MAX {
            return Err(too_many().with("events", events.len()));
        }
        let mut text = String::from("[");
        for event in events {
            if text.len() > 1 {
                text.push(',');
            }
            text += &event.to_cloudevent_json()?;
            bounded(text.len() + 1, limits::CLOUDEVENTS_BYTES_MAX)?;
        }
        text.push(']');
        Ok(text)
    }

    /// Reads what [`Event::to_cloudevent`] wrote.
    ///
    /// # Errors
    /// `invalid-input` naming the attribute that is missing or wrong; `payload-too-large` for too much data; `limit-reached`
    /// for too many attributes.
    pub fn from_cloudevent(value: &Value) -> Result<Self> {
        read(&value.to_string())?.published()
    }

    /// Reads what [`Event::to_cloudevent_json`] wrote.
    ///
    /// # Errors
    /// As [`NewEvent::from_cloudevent_json`].
    pub fn from_cloudevent_json(json: &[u8]) -> Result<Self> {
        read_one(json)?.published()
    }
}

impl NewEvent {
    /// Reads a CloudEvent, to publish it here. Receiving it twice publishes it once: an id of Hive's is kept, any other one
    /// becomes an id that follows from tenant, source and id.
    ///
    /// A sequence that another Hive gave it is left out. Whoever receives from strangers says whose the event is, by
    /// [`NewEvent::tenant`], and looks at its [`NewEvent::topic`], which is the subject where that can be one, and otherwise
    /// follows from the type.
    ///
    /// # Errors
    /// As [`Event::from_cloudevent`].
    pub fn from_cloudevent(value: &Value) -> Result<Self> {
        read(&value.to_string()).map(|received| received.event)
    }

    /// [`NewEvent::from_cloudevent`] from text that may be hostile: its size is checked first, and names that come twice,
    /// depth and encoding while it is read.
    ///
    /// # Errors
    /// Also `payload-too-large` above [`limits::CLOUDEVENT_BYTES_MAX`] and `invalid-input` when it is not JSON.
    pub fn from_cloudevent_json(json: &[u8]) -> Result<Self> {
        read_one(json).map(|received| received.event)
    }

    /// Reads a JSON batch. It is whole or nothing: an error has the field `event`, which of them was refused, from 0.
    ///
    /// # Errors
    /// As [`NewEvent::from_cloudevent_json`] for each; `limit-reached` above [`limits::BATCH_MAX`] events,
    /// `payload-too-large` above [`limits::CLOUDEVENTS_BYTES_MAX`].
    pub fn from_cloudevents_json(json: &[u8]) -> Result<Vec<Self>> {
        bounded(json.len(), limits::CLOUDEVENTS_BYTES_MAX)?;
        let json = utf8(json)?;
        expect(json, "array", "a batch of CloudEvents is a JSON array")?;
        serde_json::from_str::<Batch>(json).map_err(not_json)?.0
    }
}

/// Reads one event from a stranger.
fn read_one(json: &[u8]) -> Result<Received> {
    bounded(json.len(), limits::CLOUDEVENT_BYTES_MAX)?;
    read(utf8(json)?)
}

fn read(json: &str) -> Result<Received> {
    expect(json, "object", "a CloudEvent is a JSON object")?;
    let Members { parts, data, base64 } = serde_json::from_str::<Envelope<'_>>(json).map_err(not_json)?.0?;
    let media_type = parts.media_type()?;
    // One of them may say that it is not there.
    let base64 = base64.filter(|raw| raw.get() != "null");
    let data = data.filter(|raw| base64.is_none() || raw.get() != "null");
    let data = match (data, base64) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a CloudEvent has its data in `data` or in `data_base64`, not in both",
            )
            .with("attribute", DATA_BASE64));
        }
        (None, None) => Data::Nothing,
        (Some(raw), None) if media_type.is_none_or(content::is_json) => {
            let payload = Payload::parse(raw.get().as_bytes(), limits::DATA_BYTES_MAX);
            Data::Json(payload.map_err(|e| e.with("attribute", DATA))?)
        }
        (Some(raw), None) => match text(DATA, raw)? {
            None => Data::Nothing,
            Some(_) if !media_type.is_none_or(content::is_utf8) => {
                return Err(wrong(
                    "datacontenttype",
                    media_type.unwrap_or_default(),
                    "text in JSON is Unicode; send data in another encoding as data_base64",
                ));
            }
            Some(text) => Data::Bytes(Cow::Owned(text.into_bytes())),
        },
        (None, Some(raw)) => match text(DATA_BASE64, raw)? {
            None => Data::Nothing,
            Some(text) => {
                let bytes = content::decode_base64(&text).map_err(|e| e.with("attribute", DATA_BASE64))?;
                Data::Bytes(Cow::Owned(bytes))
            }
        },
    };
    parts.read(data)
}

/// What a CloudEvent in JSON consists of.
#[derive(Default)]
struct Members<'a> {
    parts: Parts,
    data: Option<&'a RawValue>,
    base64: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    fn add(&mut self, name: &str, value: &'a RawValue) -> Result<()> {
        let place = match name {
            DATA => &mut self.data,
            DATA_BASE64 => &mut self.base64,
            attribute => {
                name_rule(attribute)?;
                return self.parts.add(attribute, scalar(attribute, value)?);
            }
        };
        if place.replace(value).is_some() {
            return Err(twice(name));
        }
        Ok(())
    }
}

/// The value of an attribute; `None` for `null`, which says that it is not there.
fn scalar(name: &str, raw: &RawValue) -> Result<Option<ExtensionValue>> {
    let found = match kind(raw.get()) {
        Some("null") => return Ok(None),
        Some("boolean") => return Ok(Some((raw.get() == "true").into())),
        Some("string") => return string(name, raw).map(|text| Some(text.into())),
        found => found,
    };
    match raw.get().parse::<i32>() {
        Ok(number) => Ok(Some(number.into())),
        Err(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            "an attribute of the CloudEvent has a value that none can have",
        )
        .with("attribute", name)
        .with("found", found.unwrap_or_default())
        .with_hint("attributes are strings, booleans and integers of 32 bits")),
    }
}

/// Data as a string; `None` for `null`.
fn text(name: &str, raw: &RawValue) -> Result<Option<String>> {
    match kind(raw.get()) {
        Some("null") => Ok(None),
        Some("string") => string(name, raw).map(Some),
        found => Err(not_text(name, found.unwrap_or_default()).with_hint("data that is not JSON is a string")),
    }
}

fn string(name: &str, raw: &RawValue) -> Result<String> {
    serde_json::from_str(raw.get()).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is not Unicode")
            .with("attribute", name)
            .with_source(e)
    })
}

/// What a JSON text is, from how it begins.
fn kind(json: &str) -> Option<&'static str> {
    match json.trim_ascii_start().as_bytes().first()? {
        b'{' => Some("object"),
        b'[' => Some("array"),
        b'"' => Some("string"),
        b't' | b'f' => Some("boolean"),
        b'n' => Some("null"),
        b'-' | b'0'..=b'9' => Some("number"),
        _ => None,
    }
}

fn expect(json: &str, expected: &'static str, message: &'static str) -> Result<()> {
    match kind(json) {
        Some(found) if found != expected => Err(Error::new(ErrorKind::InvalidInput, message).with("found", found)),
        // What is no JSON at all is the parser's to tell.
        Some(_) | None => Ok(()),
    }
}

/// An object whose members were added, or the first of them that could not be.
struct Envelope<'a>(Result<Members<'a>>);

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if let Err(fault) = members.add(&name, value) {
                // The rest is read for its syntax only.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Envelope(Err(fault)));
            }
        }
        Ok(Envelope(Ok(members)))
    }
}

/// An array whose items were read, or the first of them that could not be.
struct Batch(Result<Vec<NewEvent>>);

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of CloudEvents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            let event = if events.len() < limits::BATCH_MAX {
                bounded(raw.get().len(), limits::CLOUDEVENT_BYTES_MAX)
                    .and_then(|()| read(raw.get()))
                    .map_err(|e| e.with("event", events.len()))
            } else {
                Err(too_many())
            };
            match event {
                Ok(received) => events.push(received.event),
                Err(fault) => {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Batch(Err(fault)));
                }
            }
        }
        Ok(Batch(Ok(events)))
    }
}

/// An event on its way out.
struct Json<'a>(&'a Event);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in attributes(self.0) {
            match value {
                ExtensionValue::Bool(value) => map.serialize_entry(name, &value)?,
                ExtensionValue::Int(value) => map.serialize_entry(name, &value)?,
                ExtensionValue::Text(text) => map.serialize_entry(name, &text)?,
            }
        }
        match self.0.content_and_type().0 {
            Content::Json | Content::Text => map.serialize_entry(DATA, self.0.data())?,
            Content::Base64 => map.serialize_entry(DATA_BASE64, self.0.data())?,
            Content::Nothing => {}
        }
        map.end()
    }
}

fn unwritable(source: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "the event's data cannot be written as JSON").with_source(source)
}

fn not_json(source: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "the CloudEvent is not JSON")
        .with("line", source.line())
        .with("column", source.column())
        .with_source(source)
}

fn utf8(json: &[u8]) -> Result<&str> {
    std::str::from_utf8(json).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "the CloudEvent is not UTF-8")
            .with("offset", e.valid_up_to())
            .with_source(e)
    })
}

fn too_many() -> Error {
    Error::new(ErrorKind::LimitReached, "the batch has too many events")
        .with("limit", limits::BATCH_MAX)
        .with_hint("send it in several batches")
}

fn bounded(bytes: usize, limit: usize) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::PayloadTooLarge, "the CloudEvent is larger than the limit")
            .with("bytes", bytes)
            .with("limit", limit),
    )
}
