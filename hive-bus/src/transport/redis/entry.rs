//! Events as they stand in the stream.
//!
//! An entry `<sequence>-<count>` holds so many events whose sequences follow one another and end with this one: what is
//! published together stands together, which costs the server half as much. Of each event it has the id and a text of three
//! parts with line feeds in between: the time in microseconds, the attributes as JSON, and the data as it is. The time comes
//! first because an event that is published again may have another one: two are the same if the rest is.

use std::borrow::Cow;

use ::redis::Value;
use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::event::{Attributes, Event, Extensions, SOURCE_DEFAULT, Sequence, TENANT_DEFAULT};
use crate::topic::{Patterns, Topic};

/// The attributes of an event. Their shape has a version of its own, in the field `v`. What most events have alike is left out.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    v: u8,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    schema_version: u16,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    causation: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_us: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    extensions: Option<Cow<'a, str>>,
}

const VERSION: u8 = 1;

/// The version of attributes whose shape is not known.
#[derive(Deserialize)]
struct Version {
    v: u8,
}

fn first() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_first(version: &u16) -> bool {
    *version == first()
}

/// The text of an event.
pub(super) fn text(time: Timestamp, attributes: &Attributes) -> Result<Vec<u8>> {
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
        extensions,
        data,
    } = attributes;
    let optional = |text: &'_ Option<String>| text.as_deref().map(|text| Cow::Owned(text.to_owned()));
    let stored = Stored {
        v: VERSION,
        event_type: Cow::Borrowed(event_type),
        schema_version: *schema_version,
        source: (source != SOURCE_DEFAULT).then_some(Cow::Borrowed(&**source)),
        topic: Cow::Borrowed(topic.as_str()),
        tenant: (tenant != TENANT_DEFAULT).then_some(Cow::Borrowed(&**tenant)),
        correlation: optional(correlation),
        causation: optional(causation),
        key: optional(key),
        traceparent: optional(traceparent),
        expires_us: expires.map(Timestamp::as_micros),
        extensions: extensions
            .as_deref()
            .map(|extensions| Cow::Owned(extensions.to_column())),
    };
    // What the attributes of most events take.
    let mut text = Vec::with_capacity(data.size() + 256);
    text.extend_from_slice(time.as_micros().to_string().as_bytes());
    text.push(b'\n');
    serde_json::to_writer(&mut text, &stored)
        .map_err(|e| Error::new(ErrorKind::Internal, "an event could not be written").with_source(e))?;
    text.push(b'\n');
    text.extend_from_slice(data.as_bytes());
    Ok(text)
}

/// An event as the server gives it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) sequence: Sequence,
    id: Vec<u8>,
    text: Vec<u8>,
}

/// The events of an entry, in the order of their sequences.
pub(super) fn read(entry: Value) -> Result<Vec<Told>> {
    told(entry).ok_or_else(|| foreign("an entry of the log is not one of events"))
}

fn told(entry: Value) -> Option<Vec<Told>> {
    let (name, fields) = parts(entry)?;
    let (last, count) = std::str::from_utf8(&name).ok()?.split_once('-')?;
    let (last, count): (u64, u64) = (last.parse().ok()?, count.parse().ok()?);
    if u64::try_from(fields.len()).ok()? != count.checked_mul(2)? {
        return None;
    }
    let first = last.checked_sub(count)?.checked_add(1)?;
    let mut fields = fields.into_iter();
    (first..=last)
        .map(|sequence| {
            Some(Told {
                sequence: Sequence::new(sequence),
                id: bytes(fields.next()?)?,
                text: bytes(fields.next()?)?,
            })
        })
        .collect()
}

impl Told {
    pub(super) fn new(sequence: Sequence, id: Vec<u8>, text: Vec<u8>) -> Self {
        Self { sequence, id, text }
    }

    /// The event, if somebody wants it.
    pub(super) fn matching(&self, patterns: &Patterns) -> Result<Option<Event>> {
        let (time, stored, data) = self.parts()?;
        if !patterns.matches_str(&stored.topic) {
            return Ok(None);
        }
        self.event_of(time, stored, data).map(Some)
    }

    /// The event.
    pub(super) fn event(&self) -> Result<Event> {
        let (time, stored, data) = self.parts()?;
        self.event_of(time, stored, data)
    }

    /// About how many bytes it took on the way.
    pub(super) fn bytes(&self) -> usize {
        self.id.len() + self.text.len()
    }

    fn parts(&self) -> Result<(&[u8], Stored<'_>, &[u8])> {
        let mut parts = self.text.splitn(3, |byte| *byte == b'\n');
        let mut part = || {
            let part = parts.next();
            part.ok_or_else(|| foreign("an event is cut off").with("sequence", self.sequence))
        };
        let (time, attributes, data) = (part()?, part()?, part()?);
        Ok((time, self.stored(attributes)?, data))
    }

    fn stored<'a>(&self, attributes: &'a [u8]) -> Result<Stored<'a>> {
        let read = serde_json::from_slice::<Stored<'_>>(attributes);
        let version = match &read {
            Ok(stored) => stored.v,
            // Another version may have another shape altogether.
            Err(_) => serde_json::from_slice::<Version>(attributes).map_or(VERSION, |version| version.v),
        };
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::SchemaTooNew,
                "the log was written by a release that this one does not know",
            )
            .with("sequence", self.sequence)
            .with("version", version));
        }
        read.map_err(|e| {
            foreign("the attributes of an event cannot be read")
                .with("sequence", self.sequence)
                .with_source(e)
        })
    }

    fn event_of(&self, time: &[u8], stored: Stored<'_>, data: &[u8]) -> Result<Event> {
        let odd = |what| foreign(what).with("sequence", self.sequence);
        let time = std::str::from_utf8(time).ok().and_then(|text| text.parse().ok());
        let time = time.ok_or_else(|| odd("the time of an event cannot be read"))?;
        let id = self.id.as_slice().try_into();
        let id = id.map_err(|e| odd("the id of an event is not 16 bytes").with_source(e))?;
        let common = |text: Option<Cow<'_, str>>, default: &'static str| {
            text.map_or(Cow::Borrowed(default), |text| Cow::Owned(text.into_owned()))
        };
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let attributes = Attributes {
            event_type: Cow::Owned(stored.event_type.into_owned()),
            schema_version: stored.schema_version,
            source: common(stored.source, SOURCE_DEFAULT),
            topic: Topic::from_stored(stored.topic.into_owned()),
            tenant: common(stored.tenant, TENANT_DEFAULT),
            correlation: owned(stored.correlation),
            causation: owned(stored.causation),
            key: owned(stored.key),
            traceparent: owned(stored.traceparent),
            expires: stored.expires_us.map(Timestamp::from_micros),
            extensions: match stored.extensions {
                Some(text) => Some(Box::new(Extensions::from_column(&text)?)),
                None => None,
            },
            data: Payload::from_stored(data),
        };
        Ok(Event::published(
            self.sequence,
            EventId::from_bytes(id),
            Timestamp::from_micros(time),
            attributes,
        ))
    }
}

/// The id and the fields of an entry of any stream.
pub(super) fn parts(entry: Value) -> Option<(Vec<u8>, Vec<Value>)> {
    let [id, fields] = <[Value; 2]>::try_from(list(entry)?).ok()?;
    Some((bytes(id)?, list(fields)?))
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value {
        Some(values)
    } else {
        None
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value {
        Some(bytes)
    } else {
        None
    }
}

/// Something that no transport of ours can have written.
pub(super) fn foreign(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
        .with_hint("give the bus a prefix of its own on the server, and let nobody else write there")
}
