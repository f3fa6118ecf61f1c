//! Dead letters as bytes, the same on every transport.

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{DeadLetter, DeadReason, Mishap};
use crate::event::Event;
use crate::limits;

/// What is stored. Its shape has a version of its own, in the field `v`.
#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    event: Box<RawValue>,
    reason: DeadReason,
    attempts: u32,
    at: Timestamp,
    mishaps: Vec<Mishap>,
}

impl DeadLetter {
    /// It died of this at this time. Of `mishaps`, the newest [`limits::MISHAPS_MAX`] are kept.
    pub fn new(event: Event, reason: DeadReason, attempts: u32, at: Timestamp, mut mishaps: Vec<Mishap>) -> Self {
        let too_many = mishaps.len().saturating_sub(limits::MISHAPS_MAX);
        mishaps.drain(..too_many);
        Self {
            event,
            reason,
            attempts,
            at,
            mishaps,
        }
    }

    /// As a transport stores it: JSON.
    ///
    /// # Errors
    /// `invalid-input` when the event's data is not JSON, which only a damaged store can bring about.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let unwritable =
            |e: serde_json::Error| Error::new(ErrorKind::Internal, "a dead letter could not be written").with_source(e);
        let stored = Stored {
            v: 1,
            event: RawValue::from_string(self.event.to_cloudevent_json()?).map_err(unwritable)?,
            reason: self.reason,
            attempts: self.attempts,
            at: self.at,
            mishaps: self.mishaps.clone(),
        };
        serde_json::to_vec(&stored).map_err(unwritable)
    }

    /// Reads what [`DeadLetter::to_bytes`] wrote.
    ///
    /// # Errors
    /// `corrupt` when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Corrupt, "a dead letter cannot be read").with_source(e)
        };
        let stored: Stored = serde_json::from_slice(bytes).map_err(|e| corrupt(e.into()))?;
        let event = Event::from_cloudevent_json(stored.event.get().as_bytes()).map_err(|e| corrupt(e.into()))?;
        Ok(Self::new(
            event,
            stored.reason,
            stored.attempts,
            stored.at,
            stored.mishaps,
        ))
    }
}
