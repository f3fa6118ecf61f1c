//! Facts told to whoever listens. Needs the capability `events`.

use serde::Serialize;

use crate::failure::Failure;
use crate::{host, json};

/// Publishes an event on a dot-separated topic and returns its id.
///
/// A later attempt publishes again, unless it is done inside [`steps::remember`](crate::steps::remember).
///
/// # Errors
///
/// The hive's: the topic is malformed or not granted, or the data is too large.
pub fn publish<T: Serialize + ?Sized>(topic: &str, data: &T) -> Result<String, Failure> {
    host::events_publish(topic, &json::encode("the event's data", data)?, "{}")
}
