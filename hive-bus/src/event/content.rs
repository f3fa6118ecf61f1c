//! The data of CloudEvents that is not JSON. It is kept in a JSON string: text as it is, anything else in Base64.
//!
//! Which of the two follows from the media type and the bytes alone, so that an event is the same whatever form it came in.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::Event;
use crate::limits;

/// The media type of data that names none.
pub(super) const JSON: &str = "application/json";

/// What the payload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// The data itself.
    #[default]
    Json,
    /// A string: the data is its text.
    Text,
    /// A string: the data is what it says in Base64.
    Base64,
    /// `null`: there is no data, which another system tells apart from data that is `null`.
    Nothing,
}

impl Content {
    /// As it is stored.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Base64 => "base64",
            Self::Nothing => "none",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Json, Self::Text, Self::Base64, Self::Nothing]
            .into_iter()
            .find(|content| content.name() == name)
    }

    /// Takes bytes of this media type.
    pub(super) fn read(media_type: Option<&str>, bytes: &[u8]) -> Result<(Self, Payload)> {
        if bytes.is_empty() && media_type.is_none_or(is_json) {
            return Ok((Self::Nothing, nothing()?));
        }
        if media_type.is_some_and(is_json) {
            return Ok((Self::Json, Payload::parse(bytes, limits::DATA_BYTES_MAX)?));
        }
        if media_type.is_some_and(is_text)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return Ok((Self::Text, Payload::encode(text, limits::DATA_BYTES_MAX)?));
        }
        // Before it is encoded: that takes a third more.
        if bytes.len() > limits::DATA_BYTES_MAX {
            return Err(Error::new(ErrorKind::PayloadTooLarge, "the data is too large")
                .with("size", bytes.len())
                .with("limit", limits::DATA_BYTES_MAX / 4 * 3));
        }
        let text = BASE64.encode(bytes);
        Ok((Self::Base64, Payload::encode(&text, limits::DATA_BYTES_MAX)?))
    }
}

pub(super) fn nothing() -> Result<Payload> {
    Payload::encode(&(), limits::DATA_BYTES_MAX)
}

/// The bytes that a Base64 text stands for, in the one spelling that they have.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>> {
    BASE64
        .decode(text)
        .map_err(|e| Error::new(ErrorKind::InvalidInput, "the text is not Base64 (RFC 4648, padded)").with_source(e))
}

/// Whether it is for JSON: `*/json` or `*/*+json`.
pub(super) fn is_json(media_type: &str) -> bool {
    let subtype = subtype(media_type);
    subtype == "json" || subtype.ends_with("+json")
}

/// Whether it is for text in UTF-8.
pub(super) fn is_text(media_type: &str) -> bool {
    let subtype = subtype(media_type);
    let words = ["xml", "yaml", "javascript", "x-ndjson", "x-www-form-urlencoded"];
    let textual = essence(media_type).starts_with("text/")
        || words.contains(&&*subtype)
        || subtype.ends_with("+xml")
        || subtype.ends_with("+yaml");
    textual && is_utf8(media_type)
}

/// Whether its `charset`, if it has one, is UTF-8 or a part of it.
pub(super) fn is_utf8(media_type: &str) -> bool {
    let mut parameters = media_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    parameters.all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| value.eq_ignore_ascii_case(known))
    })
}

/// Without its parameters, in lower case.
pub(super) fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn subtype(media_type: &str) -> String {
    let essence = essence(media_type);
    essence.split_once('/').map_or("", |(_, subtype)| subtype).to_owned()
}

impl Event {
    /// The media type of its data, CloudEvents' `datacontenttype`: `application/json` unless another system said otherwise;
    /// `None` when it did not say, or there is no data.
    pub fn content_type(&self) -> Option<&str> {
        let (content, media_type) = self.content_and_type();
        match content {
            Content::Json => Some(media_type.unwrap_or(JSON)),
            Content::Text | Content::Base64 => media_type,
            Content::Nothing => None,
        }
    }

    /// Its data as bytes of its media type: JSON, or what another system sent, exactly. Empty when there is none.
    ///
    /// # Errors
    /// `corrupt` when the stored data is not what it says, which only a damaged database can bring about.
    pub fn content(&self) -> Result<Cow<'_, [u8]>> {
        let damaged = |e: Error| Error::new(ErrorKind::Corrupt, "an event's data cannot be read").with_source(e);
        let text = || self.data().decode::<String>().map_err(damaged);
        match self.content_and_type().0 {
            Content::Json => Ok(Cow::Borrowed(self.data().as_bytes())),
            Content::Text => Ok(Cow::Owned(text()?.into_bytes())),
            Content::Base64 => Ok(Cow::Owned(decode_base64(&text()?).map_err(damaged)?)),
            Content::Nothing => Ok(Cow::Borrowed(&[])),
        }
    }

    pub(super) fn content_and_type(&self) -> (Content, Option<&str>) {
        match self.attributes().extensions.as_deref() {
            None => (Content::Json, None),
            Some(extensions) => (extensions.content, extensions.media_type.as_deref()),
        }
    }
}
