//! The HTTP binding of CloudEvents, over plain headers and bytes: whatever HTTP library is used, it can say and take these.
//!
//! | mode | `content-type` | headers | body |
//! |---|---|---|---|
//! | binary | that of the data | an attribute each, `ce-…` | the data |
//! | structured | `application/cloudevents+json` | | the event |
//! | batch | `application/cloudevents-batch+json` | | an array of events |
//!
//! The trace context of an event is `ce-traceparent`. The header `traceparent` belongs to the request that happened to bring
//! the event and is not looked at: a second attempt has another one, and the event would no longer be the same.

mod header;

use std::borrow::Cow;

use hive_errors::{Error, ErrorKind, Result};

use self::header::{decode, encode};
use super::cloudevent::{self, Data, Parts, wrong};
use super::{Event, NewEvent, content};
use crate::limits;

const CONTENT_TYPE: &str = "content-type";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// What every media type of CloudEvents begins with, also of formats that are not read here.
const CLOUDEVENTS: &str = "application/cloudevents";

/// What the name of a header begins with that holds an attribute.
const PREFIX: &str = "ce-";

/// What a request or a response says of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpMessage {
    /// Names in lower case with their values, all in printable ASCII.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body; its length is for the HTTP library to say.
    pub body: Vec<u8>,
}

impl HttpMessage {
    fn of(content_type: &str, body: String) -> Self {
        Self {
            headers: vec![(CONTENT_TYPE.to_owned(), content_type.to_owned())],
            body: body.into_bytes(),
        }
    }

    /// The headers, as [`NewEvent::from_http`] takes them.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Event {
    /// The event in binary mode: its attributes in headers, its data as the body.
    ///
    /// ```
    /// use hive_bus::{NewEvent, Sequence};
    /// use hive_core::{clock::Timestamp, id::EventId};
    ///
    /// let event = NewEvent::new("order.placed", "order.placed.berlin", &["for", "Jörg"])?
    ///     .correlation("order 4711")
    ///     .id(EventId::from_bytes([7; 16]))
    ///     .time(Timestamp::EPOCH)
    ///     .at(Sequence::new(1))?;
    /// let message = event.to_http_binary()?;
    /// assert!(message.headers().any(|header| header == ("ce-correlationid", "order%204711")));
    /// assert_eq!(message.body, r#"["for","Jörg"]"#.as_bytes());
    ///
    /// let received = NewEvent::from_http(message.headers(), &message.body)?;
    /// assert_eq!(received, [NewEvent::from(event)]);
    /// # Ok::<(), hive_bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid-input` when its data is itself in a format of CloudEvents: a receiver would take the one for the other. Send
    /// it structured. Otherwise as [`Event::content`].
    pub fn to_http_binary(&self) -> Result<HttpMessage> {
        let mut headers = Vec::new();
        for (name, value) in cloudevent::attributes(self) {
            if name != "datacontenttype" {
                headers.push((format!("{PREFIX}{name}"), encode(&value.to_string())));
            }
        }
        if let Some(media_type) = self.content_type() {
            if mode(media_type).is_some() {
                return Err(wrong("datacontenttype", media_type, "send the event structured"));
            }
            headers.push((CONTENT_TYPE.to_owned(), media_type.to_owned()));
        }
        Ok(HttpMessage {
            headers,
            body: self.content()?.into_owned(),
        })
    }

    /// The event in structured mode: all of it in the body, as JSON.
    ///
    /// # Errors
    /// As [`Event::to_cloudevent_json`].
    pub fn to_http_structured(&self) -> Result<HttpMessage> {
        Ok(HttpMessage::of(STRUCTURED, self.to_cloudevent_json()?))
    }

    /// Several events in one message, as a JSON array.
    ///
    /// # Errors
    /// As [`Event::batch_to_cloudevents_json`].
    pub fn batch_to_http(events: &[Self]) -> Result<HttpMessage> {
        Ok(HttpMessage::of(BATCH, Self::batch_to_cloudevents_json(events)?))
    }
}

impl NewEvent {
    /// Reads the events of an HTTP message in any mode; which one it is, `content-type` tells. One event, unless it is a batch,
    /// which is taken whole or not at all.
    ///
    /// Names of headers may be in any case; those that say nothing of events are passed over. For what becomes of each event,
    /// see [`NewEvent::from_cloudevent`].
    ///
    /// # Errors
    /// `invalid-input` naming the attribute, the header or the event that is wrong; `payload-too-large` when the body is larger
    /// than [`limits::DATA_BYTES_MAX`], [`limits::CLOUDEVENT_BYTES_MAX`] or [`limits::CLOUDEVENTS_BYTES_MAX`] in the three
    /// modes; `limit-reached` above [`limits::HTTP_HEADERS_MAX`] headers, [`limits::HTTP_HEADER_BYTES_MAX`] bytes in those
    /// that are read, or [`limits::BATCH_MAX`] events.
    pub fn from_http<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Result<Vec<Self>> {
        let Headers {
            content_type,
            attributes,
        } = Headers::sort(headers)?;
        match content_type.map(mode) {
            None | Some(None) => binary(content_type, &attributes, body).map(|event| vec![event]),
            Some(Some(Mode::Structured)) => Self::from_cloudevent_json(body).map(|event| vec![event]),
            Some(Some(Mode::Batch)) => Self::from_cloudevents_json(body),
            Some(Some(Mode::Unknown)) => Err(wrong(
                CONTENT_TYPE,
                content_type.unwrap_or_default(),
                "send CloudEvents as JSON, or in binary mode",
            )),
        }
    }
}

/// How a media type of CloudEvents says that events are written.
enum Mode {
    Structured,
    Batch,
    /// In a format that is not read here.
    Unknown,
}

/// `None` for every other media type: then it is the data's.
fn mode(media_type: &str) -> Option<Mode> {
    let essence = content::essence(media_type);
    match essence.as_str() {
        _ if !essence.starts_with(CLOUDEVENTS) => None,
        _ if !content::is_utf8(media_type) => Some(Mode::Unknown),
        STRUCTURED => Some(Mode::Structured),
        BATCH => Some(Mode::Batch),
        _ => Some(Mode::Unknown),
    }
}

/// The headers that say something of events.
struct Headers<'a> {
    content_type: Option<&'a str>,
    /// Names without what they begin with.
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Headers<'a> {
    fn sort(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut sorted = Self {
            content_type: None,
            attributes: Vec::new(),
        };
        let mut bytes = 0;
        for (count, (name, value)) in headers.into_iter().enumerate() {
            if count == limits::HTTP_HEADERS_MAX {
                return Err(Error::new(ErrorKind::LimitReached, "the message has too many headers")
                    .with("limit", limits::HTTP_HEADERS_MAX));
            }
            let prefix = name.split_at_checked(PREFIX.len());
            if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                if sorted.content_type.replace(value.trim()).is_some() {
                    return Err(
                        Error::new(ErrorKind::InvalidInput, "a header of the message is there twice")
                            .with("header", CONTENT_TYPE),
                    );
                }
            } else if let Some((prefix, attribute)) = prefix
                && prefix.eq_ignore_ascii_case(PREFIX)
            {
                sorted.attributes.push((attribute, value));
            } else {
                continue;
            }
            bytes += name.len() + value.len();
            if bytes > limits::HTTP_HEADER_BYTES_MAX {
                return Err(
                    Error::new(ErrorKind::LimitReached, "the event's headers are too long together")
                        .with("limit", limits::HTTP_HEADER_BYTES_MAX),
                );
            }
        }
        Ok(sorted)
    }
}

fn binary(content_type: Option<&str>, attributes: &[(&str, &str)], body: &[u8]) -> Result<NewEvent> {
    let mut parts = Parts::default();
    for (name, value) in attributes {
        let name = name.to_ascii_lowercase();
        let value = decode(value).map_err(|e| e.with("attribute", &name))?;
        if name == "datacontenttype" {
            return Err(wrong(&name, &value, "in binary mode, content-type says it"));
        }
        parts.add(&name, Some(value.into()))?;
    }
    if parts.is_empty() {
        return Err(
            Error::new(ErrorKind::InvalidInput, "the message has no CloudEvent").with_hint(
                "send ce-specversion, ce-id, ce-source and ce-type, or a CloudEvent as application/cloudevents+json",
            ),
        );
    }
    // One that is there and says nothing is as good as none.
    let content_type = content_type.filter(|text| !text.is_empty());
    if let Some(media_type) = content_type {
        parts.add("datacontenttype", Some(media_type.into()))?;
    }
    if body.len() > limits::DATA_BYTES_MAX {
        return Err(Error::new(ErrorKind::PayloadTooLarge, "the data is too large")
            .with("size", body.len())
            .with("limit", limits::DATA_BYTES_MAX));
    }
    Ok(parts.read(Data::Bytes(Cow::Borrowed(body)))?.event)
}
