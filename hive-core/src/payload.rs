//! Payloads: what goes in and out of agents and events, as bounded, canonical JSON.
//!
//! A [`Payload`] is the only form in which values of unknown type travel through a hive and rest in its database. Its
//! JSON is *canonical*: no white space, the keys of every object sorted by their bytes, structs' fields included. Equal
//! values therefore have equal bytes and equal fingerprints, whatever the order of a `HashMap` or of a struct's
//! fields in the source code. Numbers keep the spelling they came with.
//!
//! A [`Schema`] is the JSON Schema of a type.

mod canonical;
mod fingerprint;
mod schema;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX};

pub use fingerprint::fingerprint;
pub use schema::Schema;

/// A value as canonical JSON. Cheap to clone; clones share the bytes.
///
/// `Debug` shows size and fingerprint only, because a payload may hold what must not stand in a log.
///
/// ```
/// use hive_core::{limits, payload::Payload};
///
/// let payload = Payload::encode(&("ship it", 7), limits::PAYLOAD_BYTES_DEFAULT)?;
/// assert_eq!(payload.as_bytes(), br#"["ship it",7]"#);
/// assert_eq!(payload.decode::<(String, u8)>()?, ("ship it".to_owned(), 7));
/// # Ok::<(), hive_errors::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    /// The payload of `value`, at most `max_bytes` long; [`PAYLOAD_BYTES_DEFAULT`](crate::limits::PAYLOAD_BYTES_DEFAULT)
    /// is the usual bound.
    ///
    /// No more than `max_bytes` are ever held: what lies beyond is counted for the error and thrown away.
    /// As everywhere in `serde_json`, a float that is not finite becomes `null`.
    ///
    /// # Errors
    /// [`ErrorKind::PayloadTooLarge`] with the fields `size` and `limit`, in bytes; [`ErrorKind::InvalidInput`] when the
    /// value has no JSON form (a map with keys that are no strings), names a key twice, or nests deeper than
    /// [`PAYLOAD_DEPTH_MAX`].
    pub fn encode<T: Serialize + ?Sized>(value: &T, max_bytes: usize) -> Result<Self> {
        let mut writer = Bounded {
            bytes: Vec::new(),
            size: 0,
            max: max_bytes,
        };
        let mut serializer = serde_json::Serializer::with_formatter(&mut writer, Compact { depth: 0 });
        if let Err(source) = value.serialize(&mut serializer) {
            // The writer never fails, so an I/O error can only be the formatter's: the value nests too deep.
            return Err(if source.is_io() {
                too_deep()
            } else {
                Error::new(ErrorKind::InvalidInput, "the value has no JSON form")
                    .with("type", std::any::type_name::<T>())
                    .with_source(source)
            });
        }
        check_size(writer.size, max_bytes)?;
        Ok(Self(canonical::rewrite(&writer.bytes)?.into()))
    }

    /// The payload of JSON text from outside, at most [`PAYLOAD_BYTES_MAX`] long.
    ///
    /// # Errors
    /// As [`Payload::parse`].
    pub fn from_bytes(json: impl AsRef<[u8]>) -> Result<Self> {
        Self::parse(json.as_ref(), PAYLOAD_BYTES_MAX)
    }

    /// The payload of JSON text from outside, at most `max_bytes` long. The text need not be canonical; the payload is.
    ///
    /// # Errors
    /// [`ErrorKind::PayloadTooLarge`] with the fields `size` and `limit`, in bytes; [`ErrorKind::InvalidInput`] when the
    /// text is not one JSON value (with `line` and `column`), names a key twice, or nests deeper than
    /// [`PAYLOAD_DEPTH_MAX`].
    pub fn parse(json: &[u8], max_bytes: usize) -> Result<Self> {
        check_size(json.len(), max_bytes)?;
        let text = std::str::from_utf8(json).map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "the payload is not UTF-8")
                .with("offset", source.valid_up_to())
                .with_source(source)
        })?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "the payload is not JSON")
                .with("line", source.line())
                .with("column", source.column())
                .with_source(source)
        })?;
        Ok(Self(canonical::rewrite(json)?.into()))
    }

    /// The payload whose canonical JSON was taken from [`Payload::as_bytes`] and kept. The bytes are trusted, not read;
    /// [`Payload::decode`] will notice damage.
    pub fn from_stored(canonical: &[u8]) -> Self {
        Self(canonical.into())
    }

    /// The value in this payload.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with the field `path`, such as `reasons[2].text`, and `type` when the value does not
    /// fit `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let mut deserializer = serde_json::Deserializer::from_slice(&self.0);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            misfit::<T>(&path, error.into_inner())
        })?;
        deserializer.end().map_err(|source| misfit::<T>(".", source))?;
        Ok(value)
    }

    /// The canonical JSON.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes the canonical JSON has.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// A number that equal values share and different values almost never do; the same on every machine and in every
    /// release. Not a defence against someone who looks for collisions.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.0)
    }
}

/// The error of a value that does not fit its type, for payloads and model output alike.
pub(crate) fn misfit<T>(path: &str, source: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "the payload does not fit its type")
        .with("path", path)
        .with("type", std::any::type_name::<T>())
        .with_source(source)
}

fn check_size(size: usize, limit: usize) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PayloadTooLarge, "the payload is too large")
        .with("size", size)
        .with("limit", limit))
}

fn too_deep() -> Error {
    Error::new(ErrorKind::InvalidInput, "the payload nests too deep")
        .with("limit", PAYLOAD_DEPTH_MAX)
        .with_hint("flatten the value, or store its deep part as a string")
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("size", &self.size())
            .field("fingerprint", &format_args!("{:016x}", self.fingerprint()))
            .finish()
    }
}

/// As the JSON value itself and not as a string of it; only for `serde_json`.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_slice::<&RawValue>(&self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// From any JSON value; only for `serde_json`. The same checks and bounds as [`Payload::from_bytes`].
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_bytes(json.get()).map_err(serde::de::Error::custom)
    }
}

/// Keeps the first `max` bytes at most and counts all.
struct Bounded {
    bytes: Vec<u8>,
    size: usize,
    max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.size = self.size.saturating_add(more.len());
        if self.size <= self.max {
            self.bytes.extend_from_slice(more);
        } else {
            // Too large already: the memory is better given back at once.
            self.bytes = Vec::new();
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes no white space and refuses to nest beyond [`PAYLOAD_DEPTH_MAX`], before the stack runs out.
struct Compact {
    depth: usize,
}

impl Compact {
    fn enter(&mut self) -> io::Result<()> {
        self.depth += 1;
        if self.depth > PAYLOAD_DEPTH_MAX {
            Err(io::ErrorKind::InvalidData.into())
        } else {
            Ok(())
        }
    }
}

impl serde_json::ser::Formatter for Compact {
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }
}
