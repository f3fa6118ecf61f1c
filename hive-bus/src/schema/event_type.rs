//! One type of event, known from Rust or described at run time.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hive_core::payload::{Payload, Schema};
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check::Checker;
use crate::event::{NewEvent, TypedEvent};
use crate::topic::{Pattern, Topic};

/// One type of event in one version, as the registry knows it.
#[derive(Clone)]
pub struct EventType {
    name: Cow<'static, str>,
    schema_version: u16,
    topics: Pattern,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// Functions and not values: a registry is made at every start and most of it is never looked at.
    Rust {
        schema: fn() -> Schema,
        example: fn() -> Result<NewEvent>,
        fits: fn(&Payload) -> Result<()>,
    },
    Described(Arc<Described>),
}

struct Described {
    schema: Schema,
    checker: Checker,
    example: Option<Value>,
    about: Option<String>,
}

/// A type of event that is known only at run time, such as a plugin's or another language's.
///
/// ```
/// use hive_bus::{EventTypeSpec, NewEvent, Pattern, TopicRegistry};
/// use serde_json::json;
///
/// let mut spec = EventTypeSpec::new(
///     "order.placed",
///     Pattern::new("order.placed.*")?,
///     json!({
///         "type": "object",
///         "properties": { "cents": { "type": "integer", "minimum": 0 } },
///         "required": ["cents"],
///     }),
/// );
/// spec.example = Some(json!({ "cents": 1999 }));
///
/// let mut registry = TopicRegistry::empty();
/// registry.register_type(spec)?;
/// let free = NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": -1 }))?;
/// let error = registry.validate(&free).unwrap_err();
/// assert_eq!(error.field("path"), Some("/cents"));
/// # Ok::<(), hive_bus::Error>(())
/// ```
///
/// # The schema
///
/// A part of [JSON Schema](https://json-schema.org/draft/2020-12/json-schema-validation), draft 2020-12: `type`, `enum`,
/// `const`, `required`, `properties`, `additionalProperties`, `items`, `prefixItems`, the bounds on numbers, texts, arrays
/// and objects, `allOf`, `anyOf`, `oneOf`, and `$ref` to `#` or `#/$defs/…`. Titles, descriptions, examples, defaults,
/// `format` and what begins with `x-` are passed over. A schema with any other keyword is refused, so that nobody takes
/// for checked what is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventTypeSpec {
    /// Its name, as for [`TypedEvent::TYPE`].
    pub name: String,
    /// The version of its data's shape; 1 unless set.
    #[serde(default = "first")]
    pub schema_version: u16,
    /// The pattern that all its topics match.
    pub topics: Pattern,
    /// The JSON Schema of its data, at most [`limits::SCHEMA_BYTES_MAX`](crate::limits::SCHEMA_BYTES_MAX) bytes.
    pub schema: Value,
    /// Data that could have happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
    /// What it means; the schema's `description` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

fn first() -> u16 {
    1
}

impl EventTypeSpec {
    /// Version 1 of a type, without an example.
    pub fn new(name: impl Into<String>, topics: Pattern, schema: Value) -> Self {
        Self {
            name: name.into(),
            schema_version: first(),
            topics,
            schema,
            example: None,
            about: None,
        }
    }
}

impl EventType {
    /// The type of `T`, unchecked.
    pub(crate) fn of<T: TypedEvent>() -> Self {
        Self {
            name: Cow::Borrowed(T::TYPE),
            schema_version: T::SCHEMA_VERSION,
            topics: Pattern::from_static(T::TOPICS),
            origin: Origin::Rust {
                schema: Schema::of::<T>,
                example: || NewEvent::of(&T::example()),
                fits: |data| data.decode::<T>().map(drop),
            },
        }
    }

    /// The type that a spec describes. Its schema is checked, and the rest of it is not.
    pub(super) fn described(spec: EventTypeSpec) -> Result<Self> {
        let EventTypeSpec {
            name,
            schema_version,
            topics,
            schema,
            example,
            about,
        } = spec;
        let checker = Checker::new(&schema)?;
        Ok(Self {
            name: Cow::Owned(name),
            schema_version,
            topics,
            origin: Origin::Described(Arc::new(Described {
                schema: Schema::from_value(schema)?,
                checker,
                example,
                about,
            })),
        })
    }

    /// Its name, such as `task.failed`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name's first token, such as `task`.
    pub fn family(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }

    /// The version of its data's shape.
    pub fn schema_version(&self) -> u16 {
        self.schema_version
    }

    /// The pattern that all its topics match.
    pub fn topics(&self) -> &Pattern {
        &self.topics
    }

    /// What it means: the doc comment of its Rust type, or what its description says.
    pub fn about(&self) -> Option<String> {
        let own = match &self.origin {
            Origin::Rust { .. } => None,
            Origin::Described(described) => described.about.clone(),
        };
        own.or_else(|| Some(self.schema().as_value().get("description")?.as_str()?.to_owned()))
    }

    /// The JSON Schema of its data.
    pub fn schema(&self) -> Schema {
        match &self.origin {
            Origin::Rust { schema, .. } => schema(),
            Origin::Described(described) => described.schema.clone(),
        }
    }

    /// An event of this type that could have happened. One that was described at run time is on its pattern with an `x` in
    /// the place of each wildcard.
    ///
    /// # Errors
    /// `not-found` when it was described without an example. Also whatever the type's own [`TypedEvent::topic`] refuses;
    /// never for a registered type.
    pub fn example(&self) -> Result<NewEvent> {
        match &self.origin {
            Origin::Rust { example, .. } => example(),
            Origin::Described(described) => match &described.example {
                Some(data) => self.event(data),
                None => Err(
                    Error::new(ErrorKind::NotFound, "the type was described without an example")
                        .with("event_type", &self.name),
                ),
            },
        }
    }

    pub(super) fn is_described(&self) -> bool {
        matches!(self.origin, Origin::Described(_))
    }

    /// Checks that the type keeps its own rules.
    pub(super) fn check(&self) -> Result<()> {
        Pattern::new(self.topics.as_str().to_owned())?;
        let example = match &self.origin {
            Origin::Described(described) if described.example.is_none() => {
                // Stands for any event of this type: its name and its version are all that is looked at.
                return self.event(&Value::Null)?.check();
            }
            Origin::Described(_) | Origin::Rust { .. } => self.example()?,
        };
        example.check()?;
        self.check_topic(&example)?;
        self.check_data(&example.attributes.data)
    }

    pub(super) fn check_topic(&self, event: &NewEvent) -> Result<()> {
        if self.topics.matches(event.topic()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            "the event is on a topic that its type does not belong on",
        )
        .with("event_type", &self.name)
        .with("topic", event.topic())
        .with("topics", &self.topics))
    }

    pub(super) fn check_data(&self, data: &Payload) -> Result<()> {
        let fits = match &self.origin {
            Origin::Rust { fits, .. } => fits(data),
            Origin::Described(described) => data.decode().and_then(|data| described.checker.check(&data)),
        };
        fits.map_err(|e| e.with("event_type", &self.name))
    }

    /// An event of this type on one of its topics.
    fn event(&self, data: &Value) -> Result<NewEvent> {
        let topic = Topic::new(self.topics.as_str().replace(['*', '>'], "x"))?;
        let event = NewEvent::new(self.name.clone(), topic, data)?;
        Ok(event.schema_version(self.schema_version))
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
