//! Events as CloudEvents 1.0, from <https://github.com/cloudevents/spec>: which attribute is what. How they are written is
//! said in `cloudevent/json.rs` and `http.rs`.
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
//! | schema of the data | `dataschema` |
//! | other extensions | the same |
//!
//! An event of another system, which is one whose `id` is none of Hive's, gets what it needs here and is sent on with what it
//! had there:
//!
//! - its id here is a UUIDv5 of tenant, source and `id`, so that receiving it twice publishes it once;
//! - its topic is its `subject` where that is a topic, and otherwise its type, with `_` for what no topic can have;
//! - its `sequence` orders the events of its source and stays what it is; its place in this log is `hivesequence`;
//! - `tenant` and `schemaversion` are left out where they say what their absence says.
//!
//! Its time is the same moment, in UTC and to the microsecond. Data of any media type is taken; what is not JSON is the same
//! bytes again.

mod json;

use std::borrow::Cow;
use std::collections::BTreeMap;

use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::content::{self, Content};
use super::extensions::{ExtensionValue, Extensions};
use super::foreign::Foreign;
use super::{Attributes, Event, NewEvent, Sequence, TENANT_DEFAULT, rules};
use crate::limits;

const SPECVERSION: &str = "1.0";

/// Digits of the largest sequence that a database can hold.
const SEQUENCE_DIGITS: usize = 19;

/// An event's place in this log, by a name that no other system uses.
const HIVE_SEQUENCE: &str = "hivesequence";

/// Members of a CloudEvent: extensions, the attributes that CloudEvents and Hive know, and its data.
const MEMBERS_MAX: usize = limits::EXTENSIONS_MAX + 20;

/// Names that are no extension's to take: they mean something to CloudEvents, or to Hive.
pub(super) const TAKEN: &[&str] = &[
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    HIVE_SEQUENCE,
    "tenant",
    "correlationid",
    "causationid",
    "partitionkey",
    "traceparent",
    "expirytime",
    "schemaversion",
];

/// Every attribute of an event, in the order in which people like to read them.
pub(super) fn attributes(event: &Event) -> Vec<(&str, ExtensionValue)> {
    let Attributes {
        event_type,
        schema_version,
        source,
        topic: _,
        tenant,
        correlation,
        causation,
        key,
        traceparent,
        expires,
        extensions,
        data: _,
    } = event.attributes();
    let foreign = event.foreign_id();
    let mut list: Vec<(&str, ExtensionValue)> = vec![
        ("specversion", SPECVERSION.into()),
        (
            "id",
            foreign.map_or_else(|| event.id().to_string().into(), ExtensionValue::from),
        ),
        ("source", source.as_ref().into()),
        ("type", event_type.as_ref().into()),
    ];
    let mut set = |name, value: Option<ExtensionValue>| list.extend(value.map(|value| (name, value)));
    let text = |text: &Option<String>| text.as_deref().map(ExtensionValue::from);
    set("subject", event.subject().map(ExtensionValue::from));
    set("time", Some(event.time().to_string().into()));
    set("datacontenttype", event.content_type().map(ExtensionValue::from));
    set("dataschema", event.data_schema().map(ExtensionValue::from));
    // One that is in no log yet has none.
    let sequence = Some(event.sequence()).filter(|sequence| *sequence > Sequence::START);
    let sequence = sequence.map(|sequence| format!("{:0SEQUENCE_DIGITS$}", sequence.get()));
    let place = if foreign.is_some() { HIVE_SEQUENCE } else { "sequence" };
    set(place, sequence.map(ExtensionValue::from));
    let own = foreign.is_none();
    let tenant = Some(tenant.as_ref()).filter(|tenant| own || *tenant != TENANT_DEFAULT);
    set("tenant", tenant.map(ExtensionValue::from));
    let version = Some(i32::from(*schema_version)).filter(|version| own || *version != 1);
    set("schemaversion", version.map(ExtensionValue::from));
    set("correlationid", text(correlation));
    set("causationid", text(causation));
    set("partitionkey", text(key));
    set("traceparent", text(traceparent));
    set("expirytime", expires.map(|at| at.to_string().into()));
    let named = extensions
        .as_deref()
        .into_iter()
        .flat_map(|extensions| &extensions.named);
    list.extend(named.map(|(name, value)| (name.as_str(), value.clone())));
    list
}

/// A CloudEvent in pieces, whatever form it came in. An attribute without a value was named and is not there.
#[derive(Default)]
pub(super) struct Parts(BTreeMap<String, Option<ExtensionValue>>);

/// What came as its data.
pub(super) enum Data<'a> {
    Nothing,
    Json(Payload),
    Bytes(Cow<'a, [u8]>),
}

/// A received event, and the sequence that it had where it came from.
pub(super) struct Received {
    pub(super) event: NewEvent,
    pub(super) sequence: Option<String>,
}

impl Parts {
    /// Adds an attribute.
    ///
    /// # Errors
    /// When there is one of this name already, or too many, or no attribute can have this name.
    pub(super) fn add(&mut self, name: &str, value: Option<ExtensionValue>) -> Result<()> {
        name_rule(name)?;
        if self.0.len() >= MEMBERS_MAX {
            return Err(
                Error::new(ErrorKind::LimitReached, "the CloudEvent has too many attributes")
                    .with("limit", MEMBERS_MAX)
                    .with_hint("put them into its data"),
            );
        }
        if self.0.insert(name.to_owned(), value).is_some() {
            return Err(twice(name));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The media type of the data, without white space around it.
    pub(super) fn media_type(&self) -> Result<Option<&str>> {
        match self.0.get("datacontenttype") {
            None | Some(None) => Ok(None),
            Some(Some(ExtensionValue::Text(text))) => {
                let text = text.trim();
                rules::media_type(text)?;
                Ok(Some(text))
            }
            Some(Some(other)) => Err(not_text("datacontenttype", other.kind())),
        }
    }

    /// The event that the pieces make.
    pub(super) fn read(mut self, data: Data<'_>) -> Result<Received> {
        let version = self.required("specversion")?;
        if version != SPECVERSION {
            return Err(wrong("specversion", &version, "send CloudEvents 1.0"));
        }
        let id = self.required("id")?;
        let own = id.parse::<EventId>().ok();
        let source = Cow::Owned(self.required("source")?);
        let event_type = self.required("type")?;
        let subject = self.text("subject")?;
        let (topic, foreign) = match own {
            Some(_) => {
                let subject = subject.ok_or_else(|| {
                    missing("subject").with_hint("the subject of an event with an id of Hive's is its topic")
                })?;
                let topic = subject.parse().map_err(|e: Error| e.with("attribute", "subject"))?;
                (topic, None)
            }
            None => {
                rules::carried("id", &id)?;
                if let Some(subject) = &subject {
                    rules::carried("subject", subject)?;
                }
                let (topic, subject) = Foreign::place(&event_type, subject);
                (topic, Some(Foreign { id, subject }))
            }
        };
        let time = self.date("time")?;
        let media_type = self.media_type()?.map(str::to_owned);
        self.0.remove("datacontenttype");
        let (content, data) = match data {
            Data::Nothing => (Content::Nothing, content::nothing()?),
            Data::Json(payload) => (Content::Json, payload),
            Data::Bytes(bytes) => {
                Content::read(media_type.as_deref(), &bytes).map_err(|e| e.with("attribute", "data"))?
            }
        };
        let (content, media_type) = match content {
            // Hive's own events always have data.
            Content::Nothing if own.is_some() => (Content::Json, None),
            // There is nothing whose type it could be.
            Content::Nothing => (Content::Nothing, None),
            Content::Json => (content, media_type.filter(|text| text != content::JSON)),
            Content::Text | Content::Base64 => (content, media_type),
        };
        let sequence = match own {
            Some(_) => {
                self.0.remove(HIVE_SEQUENCE);
                self.text("sequence")?
            }
            None => self.text(HIVE_SEQUENCE)?,
        };
        let mut attributes = Attributes {
            event_type: Cow::Owned(event_type),
            schema_version: self.schema_version()?,
            source,
            topic,
            tenant: self.text("tenant")?.map_or(Cow::Borrowed(TENANT_DEFAULT), Cow::Owned),
            correlation: self.id_text("correlationid")?,
            causation: self.id_text("causationid")?,
            key: self.id_text("partitionkey")?,
            traceparent: self.text("traceparent")?,
            expires: self.date("expirytime")?,
            extensions: None,
            data,
        };
        let extensions = Extensions {
            schema: self.text("dataschema")?,
            media_type,
            content,
            foreign,
            named: self
                .0
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        };
        attributes.extensions = Some(Box::new(extensions)).filter(|extensions| !extensions.is_empty());
        rules::check(&attributes)?;
        let derived = attributes.foreign().map(|foreign| foreign.event_id(&attributes));
        Ok(Received {
            event: NewEvent {
                id: own.or(derived),
                time,
                attributes,
            },
            sequence,
        })
    }

    /// Takes an attribute that is a string, if it is there.
    fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.0.remove(name).flatten() {
            None => Ok(None),
            Some(ExtensionValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(not_text(name, other.kind())),
        }
    }

    fn required(&mut self, name: &'static str) -> Result<String> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// Checked under the name that its sender knows.
    fn id_text(&mut self, name: &'static str) -> Result<Option<String>> {
        let text = self.text(name)?;
        if let Some(text) = &text {
            rules::id(name, text)?;
        }
        Ok(text)
    }

    fn date(&mut self, name: &'static str) -> Result<Option<Timestamp>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        if text.len() > limits::DATE_BYTES_MAX || text.contains(char::is_control) {
            return Err(wrong(name, &text, "write the time as 2026-01-02T03:04:05Z"));
        }
        text.parse().map(Some).map_err(|e: Error| e.with("attribute", name))
    }

    /// An integer, or its digits: not every form of a CloudEvent tells them apart.
    fn schema_version(&mut self) -> Result<u16> {
        const HINT: &str = "schemaversion is an integer from 1 to 65535";
        let number = match self.0.remove("schemaversion").flatten() {
            None => return Ok(1),
            Some(ExtensionValue::Int(number)) => number.to_string(),
            Some(ExtensionValue::Text(digits)) => digits,
            Some(ExtensionValue::Bool(value)) => return Err(wrong("schemaversion", &value.to_string(), HINT)),
        };
        digits(&number)
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| wrong("schemaversion", &number, HINT))
    }
}

impl Received {
    /// The event as it stands in the log that it was written from.
    pub(super) fn published(self) -> Result<Event> {
        let foreign = self.event.attributes.foreign().is_some();
        let name = if foreign { HIVE_SEQUENCE } else { "sequence" };
        let text = self.sequence.ok_or_else(|| missing(name))?;
        let sequence =
            digits(&text).ok_or_else(|| wrong(name, &text, "a sequence is a positive number in decimal digits"))?;
        let NewEvent { id, time, attributes } = self.event;
        let (id, time) = (id.ok_or_else(|| missing("id"))?, time.ok_or_else(|| missing("time"))?);
        Ok(Event::published(Sequence::new(sequence), id, time, attributes))
    }
}

/// A positive number that a database can hold, from nothing but digits.
fn digits(text: &str) -> Option<u64> {
    let number = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let number: i64 = number.parse().ok()?;
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// What CloudEvents lets an attribute be called, and no longer than it says that it should be.
pub(super) fn name_rule(name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if plain && !name.is_empty() && name.len() <= limits::EXTENSION_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        "an attribute of the event has a name that none can have",
    )
    .with("attribute", shown(name))
    .with("limit", limits::EXTENSION_NAME_BYTES_MAX)
    .with_hint("names are lower-case ASCII letters and digits"))
}

fn twice(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is there twice").with("attribute", name)
}

fn missing(name: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is missing").with("attribute", name)
}

fn not_text(name: &str, found: &'static str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        "an attribute of the CloudEvent is not a string",
    )
    .with("attribute", name)
    .with("found", found)
}

pub(super) fn wrong(name: &str, found: &str, hint: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "an attribute of the CloudEvent is wrong")
        .with("attribute", name)
        .with("found", shown(found))
        .with_hint(hint)
}

/// The text is a stranger's: its beginning is enough to recognise it by.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
