//! Which event a task waits for, as data: nothing of the task is in memory while it waits.
//!
//! A filter only asks for equality, so it comes apart into a *shape*, what is asked for, and a *probe*, the values that are
//! wanted. Of an event and a shape there is one probe, and whoever waits for that event is found by an index, however many wait.

#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use hive_bus::{Event, Pattern, Sequence};
use hive_core::clock::Timestamp;
use hive_core::payload::{Payload, fingerprint};
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::limits;

/// What an event must be like.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) pattern: Pattern,
    pub(crate) tenant: String,
    pub(crate) event_type: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) correlation: Option<String>,
    /// Values in its data, by their JSON pointers.
    data: BTreeMap<String, Value>,
}

/// A filter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) pattern: String,
    pub(crate) shape: String,
    pub(crate) probe: String,
}

/// What is asked for, without the values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) pattern: Pattern,
    tenant: String,
    event_type: bool,
    source: bool,
    correlation: bool,
    data: Vec<String>,
}

/// A wait that has begun, as whoever looks for events hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) task: i64,
    pub(crate) key: String,
    pub(crate) shape: String,
    pub(crate) after: Sequence,
    pub(crate) at: Timestamp,
}

impl Filter {
    pub(crate) fn new(pattern: Pattern, tenant: &str) -> Self {
        Self {
            pattern,
            tenant: tenant.to_owned(),
            event_type: None,
            source: None,
            correlation: None,
            data: BTreeMap::new(),
        }
    }

    /// Asks for a value in the data.
    pub(crate) fn matching(&mut self, pointer: String, value: &impl Serialize) -> Result<()> {
        if !is_pointer(&pointer) {
            return Err(Error::new(ErrorKind::InvalidInput, "this is no JSON pointer")
                .with("pointer", format!("{:.80}", pointer.escape_debug()))
                .with_hint("write /order/id for the id of the order; ~1 is a / and ~0 a ~ within a name"));
        }
        let value =
            Payload::encode(value, limits::EVENT_FILTER_BYTES).map_err(|error| error.with("pointer", &pointer))?;
        let value = normal(value.decode::<Value>()?);
        if self.data.get(&pointer).is_some_and(|other| *other != value) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "two values are wanted at the same place of an event",
            )
            .with("pointer", pointer));
        }
        self.data.insert(pointer, value);
        if self.data.len() > limits::EVENT_CONDITIONS {
            return Err(
                Error::new(ErrorKind::LimitReached, "a filter of events has too many conditions")
                    .with("limit", limits::EVENT_CONDITIONS),
            );
        }
        Ok(())
    }

    /// The filter as it is kept.
    pub(crate) fn awaited(&self) -> Result<Awaited> {
        let shape = Shape {
            pattern: self.pattern.clone(),
            tenant: self.tenant.clone(),
            event_type: self.event_type.is_some(),
            source: self.source.is_some(),
            correlation: self.correlation.is_some(),
            data: self.data.keys().cloned().collect(),
        };
        let named = [&self.event_type, &self.source, &self.correlation];
        let named = named.into_iter().flatten().map(|text| Value::from(text.as_str()));
        let awaited = Awaited {
            pattern: self.pattern.as_str().to_owned(),
            shape: text(&shape)?,
            probe: text(&named.chain(self.data.values().cloned()).collect::<Vec<_>>())?,
        };
        for (part, text) in [
            ("what it asks for", &awaited.shape),
            ("the values it wants", &awaited.probe),
        ] {
            if text.len() > limits::EVENT_FILTER_BYTES {
                return Err(Error::new(ErrorKind::LimitReached, "a filter of events is too large")
                    .with("part", part)
                    .with("bytes", text.len())
                    .with("limit_bytes", limits::EVENT_FILTER_BYTES)
                    .with_hint("ask for an id, and look at the rest when the event has come"));
            }
        }
        Ok(awaited)
    }
}

impl Awaited {
    /// The name under which the journal knows the wait: two filters on one topic are two waits.
    pub(crate) fn name(&self) -> String {
        let whole = format!("{}{}", self.shape, self.probe);
        // Patterns are ASCII.
        format!("{:.100}?{:016x}", self.pattern, fingerprint(whole.as_bytes()))
    }
}

impl Shape {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "a filter of events cannot be read").with_source(e))
    }

    /// What whoever waits with this shape for this event has as the probe; `None` when nobody can.
    pub(crate) fn probe(&self, looked: &Looked<'_>) -> Result<Option<String>> {
        let event = looked.event;
        if event.tenant() != self.tenant || !self.pattern.matches(event.topic()) {
            return Ok(None);
        }
        let mut probe = Vec::with_capacity(self.data.len() + 3);
        if self.event_type {
            probe.push(Value::from(event.event_type()));
        }
        if self.source {
            probe.push(Value::from(event.source()));
        }
        if self.correlation {
            let Some(correlation) = event.correlation() else {
                return Ok(None);
            };
            probe.push(Value::from(correlation));
        }
        for pointer in &self.data {
            let Some(value) = looked.at(pointer) else {
                return Ok(None);
            };
            probe.push(value);
        }
        text(&probe).map(Some)
    }
}

/// An event whose data is read once, when somebody asks for it.
pub(crate) struct Looked<'a> {
    pub(crate) event: &'a Event,
    data: OnceCell<Option<Value>>,
}

impl<'a> Looked<'a> {
    pub(crate) fn new(event: &'a Event) -> Self {
        Self {
            event,
            data: OnceCell::new(),
        }
    }

    fn at(&self, pointer: &str) -> Option<Value> {
        let read = || self.event.data().decode::<Value>().ok();
        let value = self.data.get_or_init(read).as_ref()?.pointer(pointer)?;
        Some(normal(value.clone()))
    }
}

/// An event as the outcome of a wait.
#[derive(Debug)]
pub(crate) struct Came(pub(crate) Event);

impl Came {
    pub(crate) fn payload(event: &Event) -> Result<Payload> {
        Payload::parse(event.to_cloudevent_json()?.as_bytes(), limits::PAYLOAD_BYTES)
    }
}

impl<'de> Deserialize<'de> for Came {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let event = Event::from_cloudevent_json(json.get().as_bytes());
        event.map(Self).map_err(serde::de::Error::custom)
    }
}

/// Empty, or names with slashes before them, in which `~` is only part of `~0` and `~1`.
fn is_pointer(text: &str) -> bool {
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    (text.is_empty() || text.starts_with('/')) && text.split('~').skip(1).all(escaped)
}

/// Values that are equal in JSON are equal here: 1 and 1.0, and objects whatever the order of their names.
fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(whole(&number).unwrap_or(number)),
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Object(members) => {
            let sorted: BTreeMap<String, Value> =
                members.into_iter().map(|(name, value)| (name, normal(value))).collect();
            Value::Object(sorted.into_iter().collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// A float that has no fraction, as an integer, where no other integer has the same float.
fn whole(number: &Number) -> Option<Number> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    (float.fract() == 0.0 && float.abs() < EXACT).then(|| Number::from(float as i64))
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "a filter of events could not be written down").with_source(e))
}
