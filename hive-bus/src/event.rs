//! Events: facts on a topic, shaped as CloudEvents 1.0.

mod cloudevent;
mod content;
mod extensions;
mod foreign;
mod http;
mod rules;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::extensions::ExtensionValue;
pub(crate) use self::extensions::Extensions;
use self::foreign::Foreign;
pub use self::http::HttpMessage;
use crate::limits;
use crate::topic::Topic;

/// The tenant of an event that names none.
pub const TENANT_DEFAULT: &str = "default";

/// The source of an event that names none.
pub const SOURCE_DEFAULT: &str = "/hive";

/// An event's place in the log: grows with every committed event and is never given twice.
///
/// A cursor that has seen a sequence has seen every event below it: no lower one can still be committed. Numbers may be
/// missing: retention takes events away, and one that was refused may have taken a number along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(u64);

impl Sequence {
    /// Before the first event; the cursor of somebody who has seen nothing.
    pub const START: Self = Self(0);

    /// The sequence with this number; the first event has 1.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one before, or [`Sequence::START`].
    pub(crate) const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Rust type that is the data of one type of event.
///
/// The built-in ones are in [`catalog`](crate::catalog); yours work the same way.
///
/// ```
/// use hive_bus::{NewEvent, Result, Topic, TypedEvent};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct OrderPlaced { shop: String, cents: u64 }
///
/// impl TypedEvent for OrderPlaced {
///     const TYPE: &'static str = "order.placed";
///     const TOPICS: &'static str = "order.placed.*";
///
///     fn topic(&self) -> Result<Topic> {
///         Topic::new(format!("order.placed.{}", self.shop))
///     }
///
///     fn example() -> Self {
///         Self { shop: "berlin".into(), cents: 1_999 }
///     }
/// }
///
/// let event = NewEvent::of(&OrderPlaced::example())?;
/// assert_eq!(event.topic().as_str(), "order.placed.berlin");
/// # Ok::<(), hive_bus::Error>(())
/// ```
pub trait TypedEvent: Serialize + DeserializeOwned + JsonSchema {
    /// The type's name, such as `order.placed`: ASCII without spaces, at most [`limits::TYPE_BYTES_MAX`] bytes. It stands
    /// in stored events, so it never changes.
    const TYPE: &'static str;

    /// The pattern that all its topics match, such as `order.placed.*`.
    const TOPICS: &'static str;

    /// Grows when the data's shape changes so that older readers cannot read it.
    const SCHEMA_VERSION: u16 = 1;

    /// The topic this event belongs on.
    ///
    /// # Errors
    /// `invalid-input` when the data does not make a topic.
    fn topic(&self) -> Result<Topic>;

    /// One that could have happened, for documentation and tests.
    fn example() -> Self;
}

/// What an event is, apart from where and when it was stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) event_type: Cow<'static, str>,
    pub(crate) schema_version: u16,
    pub(crate) source: Cow<'static, str>,
    pub(crate) topic: Topic,
    pub(crate) tenant: Cow<'static, str>,
    pub(crate) correlation: Option<String>,
    pub(crate) causation: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) expires: Option<Timestamp>,
    /// What few events have. Invariant: there is something in it.
    pub(crate) extensions: Option<Box<Extensions>>,
    pub(crate) data: Payload,
}

impl Attributes {
    /// Events with the same of these are handled in order.
    pub(crate) fn order_key(&self) -> &str {
        self.key.as_deref().unwrap_or(self.topic.as_str())
    }

    /// About how many bytes of memory they take.
    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_deref().map_or(0, str::len);
        self.event_type.len()
            + self.source.len()
            + self.topic.as_str().len()
            + self.tenant.len()
            + text(&self.correlation)
            + text(&self.causation)
            + text(&self.key)
            + text(&self.traceparent)
            + self.extensions.as_deref().map_or(0, Extensions::bytes)
            + self.data.size()
    }

    /// What it is in the system that it came from, if that is another one.
    fn foreign(&self) -> Option<&Foreign> {
        self.extensions.as_deref()?.foreign.as_ref()
    }
}

/// An event that is not published yet.
///
/// The setters take anything and the limits are checked when it is published, before anything is written.
///
/// ```
/// use hive_bus::NewEvent;
/// use serde_json::json;
///
/// let event = NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": 1999 }))?
///     .source("/shop/berlin")
///     .correlation("order-4711");
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an event does nothing until it is published"]
pub struct NewEvent {
    pub(crate) id: Option<EventId>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) attributes: Attributes,
}

impl NewEvent {
    /// An event of the type named `event_type` on `topic`, with `data` encoded as JSON.
    ///
    /// Unless set, its id and time are given when it is published, its source is [`SOURCE_DEFAULT`], its tenant
    /// [`TENANT_DEFAULT`], its schema version 1, and it has no correlation, causation, key, trace, expiry or extensions.
    ///
    /// # Errors
    /// `invalid-input` when the topic is none (see [`Topic::new`]) or the data cannot be JSON; `payload-too-large` when
    /// the data takes more than [`limits::DATA_BYTES_MAX`] bytes.
    pub fn new<T>(
        event_type: impl Into<Cow<'static, str>>,
        topic: impl Into<Cow<'static, str>>,
        data: &T,
    ) -> Result<Self>
    where
        T: Serialize + ?Sized,
    {
        Self::on(event_type.into(), 1, Topic::new(topic)?, data)
    }

    /// An event whose type, version and topic follow from its data.
    ///
    /// # Errors
    /// As [`NewEvent::new`].
    pub fn of<T: TypedEvent>(data: &T) -> Result<Self> {
        Self::on(Cow::Borrowed(T::TYPE), T::SCHEMA_VERSION, data.topic()?, data)
    }

    fn on<T>(event_type: Cow<'static, str>, schema_version: u16, topic: Topic, data: &T) -> Result<Self>
    where
        T: Serialize + ?Sized,
    {
        Ok(Self {
            id: None,
            time: None,
            attributes: Attributes {
                event_type,
                schema_version,
                source: Cow::Borrowed(SOURCE_DEFAULT),
                topic,
                tenant: Cow::Borrowed(TENANT_DEFAULT),
                correlation: None,
                causation: None,
                key: None,
                traceparent: None,
                expires: None,
                extensions: None,
                data: Payload::encode(data, limits::DATA_BYTES_MAX)?,
            },
        })
    }

    /// Gives it an id, so that publishing it again changes nothing. An event of another system is Hive's own from then on:
    /// the id and the subject that it had there are gone.
    pub fn id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self.with_extensions(Extensions::naturalize)
    }

    /// When it happened, if that is not when it is published.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// What it came from: a URI reference of at most [`limits::SOURCE_BYTES_MAX`] bytes.
    pub fn source(mut self, source: impl Into<Cow<'static, str>>) -> Self {
        self.attributes.source = source.into();
        self.named_anew()
    }

    /// Whose it is: ASCII letters, digits and `- _ .`, at most [`limits::TENANT_BYTES_MAX`] bytes.
    pub fn tenant(mut self, tenant: impl Into<Cow<'static, str>>) -> Self {
        self.attributes.tenant = tenant.into();
        self.named_anew()
    }

    /// The undertaking it belongs to (the engine uses the root task's id): at most [`limits::CORRELATION_BYTES_MAX`] bytes
    /// without control characters.
    pub fn correlation(mut self, correlation: impl fmt::Display) -> Self {
        self.attributes.correlation = Some(correlation.to_string());
        self
    }

    /// The id of the event or task that caused it; limits as for [`NewEvent::correlation`].
    pub fn causation(mut self, causation: impl fmt::Display) -> Self {
        self.attributes.causation = Some(causation.to_string());
        self
    }

    /// What it is about, for order: durable consumers handle events with the same key one after another, in the order of
    /// their sequences. Unless set, the topic is the key. Limits as for [`NewEvent::correlation`].
    pub fn key(mut self, key: impl fmt::Display) -> Self {
        self.attributes.key = Some(key.to_string());
        self
    }

    /// The W3C trace context that it belongs to, such as `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`
    /// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.attributes.traceparent = Some(traceparent.into());
        self
    }

    /// From when on it is of no use to anybody: durable consumers that have not begun it by then put it with the dead
    /// letters instead of handing it out. Published again with another, it keeps the one it has.
    pub fn expires(mut self, at: Timestamp) -> Self {
        self.attributes.expires = Some(at);
        self
    }

    /// The version of its data's shape; 1 unless set, never 0.
    pub fn schema_version(mut self, version: u16) -> Self {
        self.attributes.schema_version = version;
        self
    }

    /// Something that it carries along for others, as CloudEvents' extension attributes do: a name of lower-case ASCII letters
    /// and digits, and a text without control characters, a whole number, or yes or no. At most [`limits::EXTENSIONS_MAX`] of
    /// them, and [`limits::EXTENSION_BYTES_MAX`] bytes in each.
    ///
    /// ```
    /// use hive_bus::{ExtensionValue, NewEvent};
    ///
    /// let event = NewEvent::new("door.opened", "door.opened.north", &())?.extension("severity", 3).extension("drill", true);
    /// # Ok::<(), hive_bus::Error>(())
    /// ```
    pub fn extension(self, name: impl Into<String>, value: impl Into<ExtensionValue>) -> Self {
        self.with_extensions(|extensions| {
            extensions.named.insert(name.into(), value.into());
        })
    }

    /// Where the schema of its data stands: a URI, CloudEvents' `dataschema`.
    pub fn data_schema(self, uri: impl Into<String>) -> Self {
        self.with_extensions(|extensions| extensions.schema = Some(uri.into()))
    }

    /// What happened.
    pub fn event_type(&self) -> &str {
        &self.attributes.event_type
    }

    /// The topic it goes to.
    pub fn topic(&self) -> &Topic {
        &self.attributes.topic
    }

    /// The event as it stands in a log at this sequence: for transports of your own, and to send an event to another system
    /// that is published nowhere.
    ///
    /// # Errors
    /// `invalid-input` and `payload-too-large` when it breaks a limit, or has no id or no time.
    pub fn at(self, sequence: Sequence) -> Result<Event> {
        self.check()?;
        let (id, time, attributes) = self.into_parts()?;
        Ok(Event::published(sequence, id, time, attributes))
    }

    fn with_extensions(mut self, change: impl FnOnce(&mut Extensions)) -> Self {
        let mut extensions = self.attributes.extensions.take().unwrap_or_default();
        change(&mut extensions);
        self.attributes.extensions = Some(extensions).filter(|extensions| !extensions.is_empty());
        self
    }

    /// The id of an event of another system follows from where it is from and whose it is here.
    fn named_anew(mut self) -> Self {
        if let Some(foreign) = self.attributes.foreign() {
            self.id = Some(foreign.event_id(&self.attributes));
        }
        self
    }

    /// Its id, its time and the rest. Every transport begins with this.
    ///
    /// # Errors
    /// `invalid-input` when it has no id or no time yet: the bus gives them.
    pub(crate) fn into_parts(self) -> Result<(EventId, Timestamp, Attributes)> {
        let missing = |name: &'static str| {
            Error::new(
                ErrorKind::InvalidInput,
                "the event has to have an id and a time to be appended",
            )
            .with("attribute", name)
            .with_hint("publish through a Bus, or set them")
        };
        let id = self.id.ok_or_else(|| missing("id"))?;
        let time = self.time.ok_or_else(|| missing("time"))?;
        Ok((id, time, self.attributes))
    }

    /// Checks every limit; done by the bus before anything is written.
    pub(crate) fn check(&self) -> Result<()> {
        rules::check(&self.attributes)
    }
}

/// To publish a received event again, for instance in another database: it keeps its id and time and gets a sequence there.
impl From<Event> for NewEvent {
    fn from(event: Event) -> Self {
        let inner = Arc::unwrap_or_clone(event.0);
        Self {
            id: Some(inner.id),
            time: Some(inner.time),
            attributes: inner.attributes,
        }
    }
}

/// A published event. Clones are cheap and share the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(Arc<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    sequence: Sequence,
    id: EventId,
    time: Timestamp,
    attributes: Attributes,
}

impl Event {
    /// Invariant: `attributes` have passed [`NewEvent::check`], now or before they were stored.
    pub(crate) fn published(sequence: Sequence, id: EventId, time: Timestamp, attributes: Attributes) -> Self {
        Self(Arc::new(Inner {
            sequence,
            id,
            time,
            attributes,
        }))
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }

    /// Its sequence, if it is what `attributes` say: an event that is published again. Whoever does that may have counted anew
    /// when it expires.
    pub(crate) fn same_as(&self, attributes: &Attributes) -> Result<Sequence> {
        let mut again = attributes.clone();
        if let (Some(_), Some(first)) = (again.expires, self.expires()) {
            again.expires = Some(first);
        }
        if self.0.attributes == again {
            return Ok(self.sequence());
        }
        Err(
            Error::new(ErrorKind::Conflict, "another event with this id is published already")
                .with("id", self.id())
                .with("sequence", self.sequence())
                .with_hint("an id belongs to one event for ever; leave it out to get a new one"),
        )
    }

    /// What durable consumers keep order by: events with the same are handled one after another. Its key, or else its topic.
    pub fn order_key(&self) -> &str {
        self.0.attributes.order_key()
    }

    /// Its place in the log.
    pub fn sequence(&self) -> Sequence {
        self.0.sequence
    }

    /// What tells it from every other event, everywhere.
    pub fn id(&self) -> EventId {
        self.0.id
    }

    /// The name of its type, such as `task.failed`.
    pub fn event_type(&self) -> &str {
        &self.0.attributes.event_type
    }

    /// The version of its data's shape.
    pub fn schema_version(&self) -> u16 {
        self.0.attributes.schema_version
    }

    /// What it came from, a URI reference.
    pub fn source(&self) -> &str {
        &self.0.attributes.source
    }

    /// The topic it was published on; also the subject of the CloudEvent, unless it came from another system.
    pub fn topic(&self) -> &Topic {
        &self.0.attributes.topic
    }

    /// The subject that it has as a CloudEvent: its topic, or what another system gave it, if anything.
    pub fn subject(&self) -> Option<&str> {
        let attributes = &self.0.attributes;
        match attributes.foreign() {
            None => Some(attributes.topic.as_str()),
            Some(foreign) => foreign.subject(&attributes.topic),
        }
    }

    /// The id that it has in the system that it came from; `None` when it is Hive's own. It is unique together with the
    /// source, and [`Event::id`] follows from both.
    pub fn foreign_id(&self) -> Option<&str> {
        self.0.attributes.foreign().map(|foreign| foreign.id.as_str())
    }

    /// An extension attribute that Hive has no name of its own for.
    pub fn extension(&self, name: &str) -> Option<&ExtensionValue> {
        self.0.attributes.extensions.as_deref()?.named.get(name)
    }

    /// Every extension attribute that Hive has no name of its own for, by name.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, &ExtensionValue)> {
        let extensions = self.0.attributes.extensions.as_deref();
        let named = extensions.into_iter().flat_map(|extensions| &extensions.named);
        named.map(|(name, value)| (name.as_str(), value))
    }

    /// Where the schema of its data stands, a URI.
    pub fn data_schema(&self) -> Option<&str> {
        self.0.attributes.extensions.as_deref()?.schema.as_deref()
    }

    /// When it happened.
    pub fn time(&self) -> Timestamp {
        self.0.time
    }

    /// Whose it is.
    pub fn tenant(&self) -> &str {
        &self.0.attributes.tenant
    }

    /// The undertaking it belongs to.
    pub fn correlation(&self) -> Option<&str> {
        self.0.attributes.correlation.as_deref()
    }

    /// The id of the event or task that caused it.
    pub fn causation(&self) -> Option<&str> {
        self.0.attributes.causation.as_deref()
    }

    /// What it is about, for order; `None` when that is its topic.
    pub fn key(&self) -> Option<&str> {
        self.0.attributes.key.as_deref()
    }

    /// The W3C trace context that it belongs to.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.attributes.traceparent.as_deref()
    }

    /// From when on it is of no use to anybody.
    pub fn expires(&self) -> Option<Timestamp> {
        self.0.attributes.expires
    }

    /// What happened, as JSON. What came from another system and is not JSON is a string here, text as it is and anything else
    /// in Base64; see [`Event::content`].
    pub fn data(&self) -> &Payload {
        &self.0.attributes.data
    }

    /// Whether it is of `T`'s type.
    pub fn is<T: TypedEvent>(&self) -> bool {
        self.event_type() == T::TYPE
    }

    /// Its data as a `T`.
    ///
    /// # Errors
    /// `invalid-input` when it is of another type, of a newer version than `T`, or its data does not fit `T`.
    pub fn decode<T: TypedEvent>(&self) -> Result<T> {
        if !self.is::<T>() {
            return Err(Error::new(ErrorKind::InvalidInput, "the event is of another type")
                .with("type", self.event_type())
                .with("expected", T::TYPE)
                .with_hint("look at event_type() before decoding"));
        }
        if self.schema_version() > T::SCHEMA_VERSION {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the event's data is of a newer version than this program knows",
            )
            .with("type", T::TYPE)
            .with("version", self.schema_version())
            .with("known", T::SCHEMA_VERSION)
            .with_hint("update the program that reads it"));
        }
        self.data().decode()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Inner>() + self.0.attributes.bytes()
    }
}
