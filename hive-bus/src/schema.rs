//! Which types of event exist, what their data looks like, which topics they belong on, and how strictly all that is taken.

mod asyncapi;
mod check;
mod compatible;
mod event_type;
mod keyword;
mod number;
mod policy;
pub(crate) mod store;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use hive_core::nearest::nearest;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde_json::Value;

pub use self::compatible::SchemaChange;
pub use self::event_type::{EventType, EventTypeSpec};
use self::policy::Policies;
pub use self::policy::Validation;
use crate::event::{NewEvent, TypedEvent};
use crate::limits;
use crate::topic::Patterns;

/// The types of event that a program knows: [`catalog::registry`](crate::catalog::registry) has the built-in ones,
/// [`TopicRegistry::register`] adds yours, and [`TopicRegistry::register_type`] those that are known only at run time.
///
/// It lists types, in every version that is in use; it checks events against them, as strictly as their topic is meant to
/// be; and it refuses a schema that breaks who knows another one of the same version.
///
/// ```
/// use hive_bus::{NewEvent, Pattern, Validation, catalog};
/// use serde_json::json;
///
/// let mut registry = catalog::registry();
/// registry.policy(Pattern::new("task.>")?, Validation::Strict)?;
///
/// let own = NewEvent::new("order.placed", "order.placed.berlin", &json!({}))?;
/// registry.admit(&own)?; // nobody registered it, and nobody is strict about orders
/// let false_friend = NewEvent::new("task.fialed", "task.fialed.reviewer", &json!({}))?;
/// assert_eq!(registry.admit(&false_friend).unwrap_err().code(), "not-found");
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TopicRegistry {
    /// By name and version. Invariant: no name without a version.
    types: BTreeMap<Cow<'static, str>, BTreeMap<u16, EventType>>,
    policies: Policies,
}

impl TopicRegistry {
    /// Knows nothing yet.
    pub fn empty() -> Self {
        Self::default()
    }

    /// For types whose rules a test has checked.
    pub(crate) fn of_checked(types: impl IntoIterator<Item = EventType>) -> Self {
        let mut registry = Self::empty();
        for known in types {
            registry.insert(known);
        }
        registry
    }

    /// Adds a type, or a version of it beside others.
    ///
    /// Adding a version again is no error when it is on the same topics and one of the two schemas describes all that the
    /// other does (see [`SchemaChange`]); that one counts then. A description cannot add to a Rust type.
    ///
    /// # Errors
    /// `conflict` when the version is there on other topics or with another schema, with the places in the data where they
    /// differ; `invalid-input` when the type breaks its own rules: its pattern is none, its example is not on a topic that the
    /// pattern matches, or does not survive being written and read; `limit-reached` when there are
    /// [`limits::TYPES_MAX`] already.
    pub fn register<T: TypedEvent>(&mut self) -> Result<()> {
        self.add(EventType::of::<T>())
    }

    /// [`TopicRegistry::register`] for a type that is known only at run time.
    ///
    /// # Errors
    /// As [`TopicRegistry::register`]; also `invalid-input` naming the path and the keyword when the schema is none or has
    /// something in it that is not understood, see [`EventTypeSpec`], and `payload-too-large` when it has more than
    /// [`limits::SCHEMA_BYTES_MAX`] bytes.
    pub fn register_type(&mut self, spec: EventTypeSpec) -> Result<()> {
        let name: String = shown(&spec.name);
        self.add(EventType::described(spec).map_err(|e| e.with("event_type", name))?)
    }

    fn add(&mut self, new: EventType) -> Result<()> {
        let name = shown(new.name());
        new.check().map_err(|e| e.with("event_type", &name))?;
        if let Some(known) = self.get_version(new.name(), new.schema_version()) {
            if known.topics() != new.topics() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "a type of event with this name is registered already, on other topics",
                )
                .with("event_type", name)
                .with("topics", new.topics())
                .with("known", known.topics())
                .with_hint("give yours a prefix of its own, such as shop.order.placed"));
            }
            let changes = compatible::compatible(known.schema().as_value(), new.schema().as_value())
                .map_err(|e| e.with("event_type", &name).with("version", new.schema_version()))?;
            if changes.iter().all(SchemaChange::is_loss) {
                return Ok(());
            }
            // What a Rust type reads is known better than a description can say.
            let stays = new.is_described() && !known.is_described();
            if stays || !changes.iter().all(SchemaChange::is_gain) {
                let changes: Vec<String> = changes.iter().map(SchemaChange::to_string).collect();
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "a type of event with this name and version is registered already, and neither can stand for both",
                )
                .with("event_type", name)
                .with("version", new.schema_version())
                .with("changes", changes.join("; "))
                .with_hint("let one describe all that the other does, or give yours a version or a name of its own"));
            }
        } else if self.every().count() >= limits::TYPES_MAX {
            return Err(
                Error::new(ErrorKind::LimitReached, "too many types of event are registered")
                    .with("limit", limits::TYPES_MAX)
                    .with_hint("tell events apart by their data or their topic instead of by their type"),
            );
        }
        self.insert(new);
        Ok(())
    }

    fn insert(&mut self, new: EventType) {
        let versions = self.types.entry(Cow::Owned(new.name().to_owned())).or_default();
        versions.insert(new.schema_version(), new);
    }

    /// The newest version of the type with this name.
    pub fn get(&self, name: &str) -> Option<&EventType> {
        self.types.get(name)?.values().next_back()
    }

    /// The type with this name, in this version.
    pub fn get_version(&self, name: &str, schema_version: u16) -> Option<&EventType> {
        self.types.get(name)?.get(&schema_version)
    }

    /// Every version of the type with this name, the oldest first.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &EventType> {
        self.types.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// Every type in its newest version, by name.
    pub fn types(&self) -> impl Iterator<Item = &EventType> {
        self.types.values().filter_map(|versions| versions.values().next_back())
    }

    /// Every version of every type.
    pub(crate) fn every(&self) -> impl Iterator<Item = &EventType> {
        self.types.values().flat_map(BTreeMap::values)
    }

    /// How many types it knows, whatever their versions.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Sets how strictly events on these topics are checked; [`Validation::Lenient`] unless set.
    ///
    /// Where several rules speak of a topic, the one that was set last counts: go from the general to the particular. A rule
    /// for the same patterns takes the place of the one before.
    ///
    /// # Errors
    /// `limit-reached` when there are [`limits::POLICIES_MAX`] already.
    pub fn policy(&mut self, topics: impl Into<Patterns>, validation: Validation) -> Result<()> {
        self.policies.set(topics.into(), validation)
    }

    /// Checks an event as strictly as its topic wants it: what is asked before an event is published. See [`Validation`].
    ///
    /// # Errors
    /// As [`TopicRegistry::validate`], for what the policy does not let pass.
    pub fn admit(&self, event: &NewEvent) -> Result<()> {
        match self.policies.of(event.topic()) {
            Validation::Strict => self.validate(event),
            Validation::Off => Ok(()),
            Validation::Lenient => {
                let attributes = &event.attributes;
                let known = self.reader(&attributes.event_type, attributes.schema_version);
                known.map_or(Ok(()), |known| known.check_data(&attributes.data))
            }
        }
    }

    /// Checks an event against its type: known, not of a newer version, on a topic of its, and with data that fits. A
    /// version that is not registered itself is checked as its readers read it, which is as the next newer one.
    ///
    /// # Errors
    /// `not-found` when the type is unknown, `invalid-input` for the rest, with the path in the data where that is to blame.
    pub fn validate(&self, event: &NewEvent) -> Result<()> {
        let attributes = &event.attributes;
        let newest = self.known(&attributes.event_type)?;
        let known = self
            .reader(&attributes.event_type, attributes.schema_version)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "the event's data is of a newer version than is registered",
                )
                .with("event_type", newest.name())
                .with("version", attributes.schema_version)
                .with("known", newest.schema_version())
            })?;
        known.check_topic(event)?;
        known.check_data(&attributes.data)
    }

    /// Checks data alone against the newest version of the type with this name.
    ///
    /// # Errors
    /// As [`TopicRegistry::validate`].
    pub fn validate_data(&self, event_type: &str, data: &Payload) -> Result<()> {
        self.known(event_type)?.check_data(data)
    }

    /// The types as a document of [AsyncAPI 3.0](https://www.asyncapi.com/docs/reference/specification/v3.0.0), for
    /// whoever uses the hive's events from outside: a channel for each pattern of topics, a message for each version of each
    /// type, with the schema of its data and an example. `title` and `version` are the application's own.
    pub fn asyncapi(&self, title: &str, version: &str) -> Value {
        asyncapi::document(self.every(), title, version)
    }

    /// What reads data of this version: the version itself, or the next newer one.
    fn reader(&self, name: &str, schema_version: u16) -> Option<&EventType> {
        let (_, known) = self.types.get(name)?.range(schema_version..).next()?;
        Some(known)
    }

    fn known(&self, name: &str) -> Result<&EventType> {
        self.get(name).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, "no type of event with this name is registered")
                .with("event_type", shown(name));
            match nearest(name, self.types.keys().map(AsRef::as_ref)) {
                Some(known) => error.with_hint(format!(
                    "did you mean `{known}`? If it is a type of your own, register it"
                )),
                None => error.with_hint("register it, or look at TopicRegistry::types for the names that are known"),
            }
        })
    }
}

/// A name that may be a stranger's.
fn shown(name: &str) -> String {
    name.chars()
        .take(limits::TYPE_BYTES_MAX)
        .flat_map(char::escape_debug)
        .collect()
}
