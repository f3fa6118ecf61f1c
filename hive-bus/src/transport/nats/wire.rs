//! Events as the bodies of messages: CloudEvents in their structured JSON form, so that everybody can read them.
//!
//! An event's sequence is that of its message, or stands in a header where it has another one from the database that it was
//! relayed from.

#[cfg(test)]
mod tests;

use async_nats::HeaderMap;
use bytes::Bytes;
use hive_errors::{Error, ErrorKind, Result};

use crate::event::{Event, NewEvent, Sequence};

/// The sequence that an event has in the database that it was relayed from.
pub(super) const SEQUENCE: &str = "Hive-Sequence";

/// The body of an event's message. One that is to be published has [`Sequence::START`], and the body none.
pub(super) fn write(event: &Event) -> Result<Bytes> {
    event.to_cloudevent_json().map(Bytes::from)
}

/// The event of a message of this sequence.
///
/// # Errors
/// `corrupt` when it is none.
pub(super) fn read(stream_sequence: u64, headers: Option<&HeaderMap>, body: &[u8]) -> Result<Event> {
    // Others can write there, too.
    let event = NewEvent::from_cloudevent_json(body).and_then(NewEvent::into_parts);
    let (id, time, attributes) = event.map_err(|e| {
        Error::new(ErrorKind::Corrupt, "a message is not an event")
            .with("stream_sequence", stream_sequence)
            .with_source(e)
    })?;
    Ok(Event::published(number(stream_sequence, headers), id, time, attributes))
}

/// The sequence of the event in a message of this sequence.
pub(super) fn number(stream_sequence: u64, headers: Option<&HeaderMap>) -> Sequence {
    let relayed = headers.and_then(|headers| headers.get(SEQUENCE));
    let relayed = relayed.and_then(|digits| digits.as_str().parse().ok());
    Sequence::new(relayed.unwrap_or(stream_sequence))
}
