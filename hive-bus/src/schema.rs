//! Which types of event exist, what their data looks like and which topics they belong on.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use hive_core::nearest::nearest;
use hive_core::payload::{Payload, Schema};
use hive_errors::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::event::{NewEvent, TypedEvent};
use crate::limits;
use crate::topic::Pattern;

/// One type of event, as the registry knows it.
#[derive(Clone)]
pub struct EventType {
    name: &'static str,
    schema_version: u16,
    topics: Pattern,
    // Functions and not values: a registry is made at every start and most of it is never looked at.
    schema: fn() -> Schema,
    example: fn() -> Result<NewEvent>,
    fits: fn(&Payload) -> Result<()>,
}

impl EventType {
    /// The type of `T`, unchecked.
    pub(crate) fn of<T: TypedEvent>() -> Self {
        Self {
            name: T::TYPE,
            schema_version: T::SCHEMA_VERSION,
            topics: Pattern::from_static(T::TOPICS),
            schema: Schema::of::<T>,
            example: || NewEvent::of(&T::example()),
            fits: |data| data.decode::<T>().map(drop),
        }
    }

    /// Its name, such as `task.failed`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name's first token, such as `task`.
    pub fn family(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// The version of its data's shape.
    pub fn schema_version(&self) -> u16 {
        self.schema_version
    }

    /// The pattern that all its topics match.
    pub fn topics(&self) -> &Pattern {
        &self.topics
    }

    /// What it means: the doc comment of its Rust type, if it has one.
    pub fn about(&self) -> Option<String> {
        let schema = self.schema();
        schema
            .as_value()
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    /// The JSON Schema of its data.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// An event of this type that could have happened.
    ///
    /// # Errors
    /// Whatever the type's own [`TypedEvent::topic`] refuses; never for a registered type.
    pub fn example(&self) -> Result<NewEvent> {
        (self.example)()
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("name", &self.name)
            .field("schema_version", &self.schema_version)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

/// The types of event that a program knows: [`catalog::registry`](crate::catalog::registry) has the built-in ones, and
/// [`TopicRegistry::register`] adds yours.
///
/// It documents and checks; the bus itself carries events of any type.
#[derive(Clone, Debug, Default)]
pub struct TopicRegistry {
    types: BTreeMap<&'static str, EventType>,
}

impl TopicRegistry {
    /// Knows nothing yet.
    pub fn empty() -> Self {
        Self::default()
    }

    /// For types whose rules a test has checked.
    pub(crate) fn of_checked(types: impl IntoIterator<Item = EventType>) -> Self {
        Self {
            types: types.into_iter().map(|known| (known.name, known)).collect(),
        }
    }

    /// Adds a type.
    ///
    /// # Errors
    /// `conflict` when the name is taken; `invalid-input` when the type breaks its own rules: its pattern is none, its
    /// example is not on a topic that the pattern matches, or does not survive being written and read.
    pub fn register<T: TypedEvent>(&mut self) -> Result<()> {
        if self.types.contains_key(T::TYPE) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a type of event with this name is registered already",
            )
            .with("event_type", T::TYPE)
            .with_hint("give yours a prefix of its own, such as shop.order.placed"));
        }
        let new = EventType::of::<T>();
        new.check().map_err(|e| e.with("event_type", T::TYPE))?;
        self.types.insert(T::TYPE, new);
        Ok(())
    }

    /// The type with this name.
    pub fn get(&self, name: &str) -> Option<&EventType> {
        self.types.get(name)
    }

    /// Every type, by name.
    pub fn types(&self) -> impl Iterator<Item = &EventType> {
        self.types.values()
    }

    /// How many types it knows.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Checks an event against its type: known, not of a newer version, on a topic of its, and with data that decodes.
    ///
    /// # Errors
    /// `not-found` when the type is unknown, `invalid-input` for the rest, with the path in the data where that is to blame.
    pub fn validate(&self, event: &NewEvent) -> Result<()> {
        let attributes = &event.attributes;
        let known = self.known(&attributes.event_type)?;
        if attributes.schema_version > known.schema_version {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the event's data is of a newer version than is registered",
            )
            .with("event_type", known.name)
            .with("version", attributes.schema_version)
            .with("known", known.schema_version));
        }
        known.check_topic(event)?;
        (known.fits)(&attributes.data).map_err(|e| e.with("event_type", known.name))
    }

    /// Checks data alone against the type with this name.
    ///
    /// # Errors
    /// As [`TopicRegistry::validate`].
    pub fn validate_data(&self, event_type: &str, data: &Payload) -> Result<()> {
        let known = self.known(event_type)?;
        (known.fits)(data).map_err(|e| e.with("event_type", known.name))
    }

    fn known(&self, name: &str) -> Result<&EventType> {
        self.get(name).ok_or_else(|| {
            // The name may be a stranger's.
            let shown: String = name
                .chars()
                .take(limits::TYPE_BYTES_MAX)
                .flat_map(char::escape_debug)
                .collect();
            let error = Error::new(ErrorKind::NotFound, "no type of event with this name is registered")
                .with("event_type", shown);
            match nearest(name, self.types.keys().copied()) {
                Some(known) => error.with_hint(format!(
                    "did you mean `{known}`? If it is a type of your own, register it"
                )),
                None => error.with_hint("register it, or look at TopicRegistry::types for the names that are known"),
            }
        })
    }
}

impl EventType {
    fn check(&self) -> Result<()> {
        Pattern::new(self.topics.as_str().to_owned())?;
        let example = self.example()?;
        example.check()?;
        self.check_topic(&example)?;
        (self.fits)(&example.attributes.data)
    }

    fn check_topic(&self, event: &NewEvent) -> Result<()> {
        if self.topics.matches(event.topic()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            "the event is on a topic that its type does not belong on",
        )
        .with("event_type", self.name)
        .with("topic", event.topic())
        .with("topics", &self.topics))
    }
}
