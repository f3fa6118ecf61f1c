//! Messages: events that are addressed to somebody.
//!
//! A message is an event of the type `message.sent` on a topic that says whom it is for and how urgent it is:
//!
//! | topic | for whom |
//! |---|---|
//! | `message.agent.<priority>.<agent>` | one agent's mailbox |
//! | `message.capability.<priority>.<capability>` | every mailbox that declares the capability, a copy each |
//! | `message.reply.<priority>.<request>` | whoever waits for the reply to this request |
//!
//! The priority is `low`, `medium`, `high` or `critical`. Names may have dots, so they end the topic. So `message.>` is every
//! message, `message.*.critical.>` the critical ones and `message.agent.*.reviewer` those to one agent. Nothing else is to be
//! published on topics that begin with `message`: a mailbox puts with the dead letters what is no message.

mod address;
mod rules;
mod sent;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::{Payload, fingerprint};
use hive_errors::{Error, ErrorKind, Failure, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::address::{Address, Priority};
pub use self::sent::MessageSent;
use crate::event::{Event, NewEvent, TENANT_DEFAULT};
use crate::limits;

/// A message that was sent. Its id is that of its event, and [`Bus::history`](crate::Bus::history) and
/// [`Bus::trace`](crate::Bus::trace) show it among the other events.
///
/// ```
/// use std::time::Duration;
///
/// use hive_bus::{AgentMessage, Priority};
/// use serde_json::json;
///
/// let message = AgentMessage::to("reviewer")
///     .kind("review.request")
///     .body(&json!({ "diff": "- foo\n+ bar" }))?
///     .from("writer")
///     .priority(Priority::High)
///     .ttl(Duration::from_secs(3_600));
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct AgentMessage {
    /// What tells it from every other message, everywhere: its event's id.
    pub id: EventId,
    /// The agent that sent it; absent when it was no agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whom it is for.
    pub to: Address,
    /// What it is, such as `review.request`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// When it was sent.
    pub timestamp: Timestamp,
    /// From when on it is of no use to anybody: who has not begun it by then is not given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What it says: any JSON value.
    #[schemars(with = "serde_json::Value")]
    pub body: Payload,
    /// Where a reply goes, if not to who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Address>,
    /// In a reply: why the request was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub refusal: Option<Failure>,
    /// How often it may be delivered to a receiver, where that is less than its mailbox would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What it is about, for order: a receiver handles messages of one priority with the same key one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The undertaking it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The id of what caused it: of a reply, the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<String>,
    /// On whose behalf it was sent. A mailbox gets the messages of all tenants.
    pub tenant: String,
    /// The W3C trace context that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl AgentMessage {
    /// Begins a message to an agent, or to another [`Address`].
    pub fn to(address: impl Into<Address>) -> NewMessage {
        NewMessage::new(address.into())
    }

    /// Begins a message to every agent whose mailbox declares this capability when it is sent. Each gets its own copy.
    pub fn broadcast(capability: impl Into<String>) -> NewMessage {
        NewMessage::new(Address::Capability(capability.into()))
    }

    /// The message that an event is.
    ///
    /// # Errors
    /// `invalid-input` when it is none: another type of event, data that is not a message's or breaks its limits, or one that
    /// stands on another topic than it is addressed to.
    pub fn from_event(event: &Event) -> Result<Self> {
        let sent: MessageSent = event.decode()?;
        rules::check(&sent)?;
        let MessageSent {
            from,
            to,
            kind,
            priority,
            body,
            reply_to,
            refusal,
            attempts,
        } = sent;
        if to.topic(priority)? != *event.topic() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the message is on another topic than it is addressed to",
            )
            .with("topic", event.topic())
            .with("to", &to)
            .with("priority", priority));
        }
        Ok(Self {
            id: event.id(),
            from,
            to,
            kind,
            priority,
            timestamp: event.time(),
            expires: event.expires(),
            body,
            reply_to,
            refusal,
            attempts,
            key: event.key().map(str::to_owned),
            correlation: event.correlation().map(str::to_owned),
            causation: event.causation().map(str::to_owned),
            tenant: event.tenant().to_owned(),
            traceparent: event.traceparent().map(str::to_owned),
        })
    }

    /// Its body as a `T`.
    ///
    /// # Errors
    /// `invalid-input` with the path in the body that does not fit.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        self.body.decode().map_err(|e| e.with("message", self.id))
    }

    /// For how long it is of use, from when it was sent.
    pub fn ttl(&self) -> Option<Duration> {
        self.expires.map(|expires| expires.since(self.timestamp))
    }

    /// Where a reply goes: where it says, or else to who sent it.
    pub fn reply_address(&self) -> Option<Address> {
        let sender = || self.from.clone().map(Address::Agent);
        self.reply_to.clone().or_else(sender)
    }

    /// Begins the reply of this agent: to where the message says, caused by the message, and as urgent as it is. To be sent with
    /// [`Bus::send`](crate::Bus::send), or together with other work with [`Bus::send_in`](crate::Bus::send_in).
    ///
    /// Its id follows from the message and the agent. So a receiver replies once to a message, however often it is delivered: a
    /// second reply is refused with `conflict` unless it says the same.
    ///
    /// # Errors
    /// `invalid-input` when the message says neither where replies go nor which agent sent it.
    pub fn answer(&self, agent: &str) -> Result<NewMessage> {
        let address = self.reply_address().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "the message does not say where a reply goes")
                .with("message", self.id)
                .with("attribute", "reply_to")
                .with_hint("acknowledge it; its sender has to set NewMessage::from or NewMessage::reply_to")
        })?;
        Ok(Self::to(address)
            .id(self.reply_id(agent))
            .kind("reply")
            .from(agent)
            .priority(self.priority)
            .caused_by(self))
    }

    /// [`AgentMessage::answer`] that it will not be done. [`AgentMessage::accepted`] gives whoever asked the failure.
    ///
    /// # Errors
    /// As [`AgentMessage::answer`].
    pub fn refuse(&self, agent: &str, failure: impl Into<Failure>) -> Result<NewMessage> {
        Ok(self.answer(agent)?.refusal(failure.into()))
    }

    /// A reply, unless it is a refusal.
    ///
    /// # Errors
    /// The failure with which it was refused, with the fields `request` and `refused_by`.
    pub fn accepted(mut self) -> Result<Self> {
        let Some(refusal) = self.refusal.take() else {
            return Ok(self);
        };
        let (request, by) = (self.causation.unwrap_or_default(), self.from.unwrap_or_default());
        Err(refusal.into_error().with("request", request).with("refused_by", by))
    }

    /// The one reply of this agent to this message. It sorts beside the message: where ids are indexed, that costs least.
    pub(crate) fn reply_id(&self, agent: &str) -> EventId {
        let own = self.id.as_bytes();
        let mark = fingerprint(&[own, agent.as_bytes()].concat()).to_be_bytes();
        let [a, b, c, d, e, f, g, h, ..] = *own;
        let [i, j, k, l, m, n, o, p] = mark;
        // The two bits that say which kind of UUID it is.
        EventId::from_bytes([a, b, c, d, e, f, g, h, i & 0x3f | 0x80, j, k, l, m, n, o, p])
    }
}

/// A message that is not sent yet.
///
/// The setters take anything; the limits are checked when it is sent, before anything is written.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a message does nothing until it is sent"]
pub struct NewMessage {
    pub(crate) id: Option<EventId>,
    time: Option<Timestamp>,
    lifetime: Lifetime,
    pub(crate) correlation: Option<String>,
    causation: Option<String>,
    key: Option<String>,
    tenant: Option<String>,
    traceparent: Option<String>,
    pub(crate) sent: MessageSent,
}

/// How long a message is of use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lifetime {
    Unbounded,
    For(Duration),
    Until(Timestamp),
}

impl NewMessage {
    fn new(to: Address) -> Self {
        Self {
            id: None,
            time: None,
            lifetime: Lifetime::Unbounded,
            correlation: None,
            causation: None,
            key: None,
            tenant: None,
            traceparent: None,
            sent: MessageSent {
                from: None,
                to,
                kind: String::new(),
                priority: Priority::default(),
                body: Payload::from_stored(b"null"),
                reply_to: None,
                refusal: None,
                attempts: None,
            },
        }
    }

    /// Gives it an id, so that sending it again changes nothing; otherwise it gets one when it is sent.
    pub fn id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// What it is, such as `review.request`: ASCII without spaces, at most [`limits::TYPE_BYTES_MAX`] bytes. It has to be said.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.sent.kind = kind.into();
        self
    }

    /// What it says; `null` unless set.
    ///
    /// # Errors
    /// `payload-too-large` above [`limits::BODY_BYTES_MAX`] bytes of JSON; `invalid-input` when it has no JSON form.
    pub fn body<T: Serialize + ?Sized>(mut self, body: &T) -> Result<Self> {
        self.sent.body = Payload::encode(body, limits::BODY_BYTES_MAX).map_err(|e| e.with("attribute", "body"))?;
        Ok(self)
    }

    /// What it says, as JSON that is there already.
    pub fn payload(mut self, body: Payload) -> Self {
        self.sent.body = body;
        self
    }

    /// The agent that sends it, which gets the replies unless [`NewMessage::reply_to`] says otherwise. Nobody checks that; the
    /// event's source is then `/hive/<agent>`.
    pub fn from(mut self, agent: impl Into<String>) -> Self {
        self.sent.from = Some(agent.into());
        self
    }

    /// How urgent it is; [`Priority::Medium`] unless set.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.sent.priority = priority;
        self
    }

    /// For how long it is of use, up to [`limits::TTL_MAX`]: who has not begun it by then is not given it, and it is with the dead
    /// letters. Unless set, it waits for ever.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetime = Lifetime::For(ttl);
        self
    }

    /// [`NewMessage::ttl`] at most.
    pub fn ttl_at_most(mut self, most: Duration) -> Self {
        self.lifetime = match self.lifetime {
            Lifetime::For(ttl) => Lifetime::For(ttl.min(most)),
            Lifetime::Unbounded => Lifetime::For(most),
            Lifetime::Until(_) => self.lifetime,
        };
        self
    }

    /// Where replies go.
    pub fn reply_to(mut self, address: impl Into<Address>) -> Self {
        self.sent.reply_to = Some(address.into());
        self
    }

    /// Makes it a refusal.
    pub(crate) fn refusal(mut self, failure: Failure) -> Self {
        self.sent.kind = "refusal".to_owned();
        self.sent.refusal = Some(failure);
        self
    }

    /// How often it may be delivered to a receiver, up to [`limits::MESSAGE_ATTEMPTS_MAX`]; unless set, as often as its mailbox
    /// delivers any, which is never exceeded.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.sent.attempts = Some(attempts);
        self
    }

    /// What it is about, for order: a receiver handles messages of one priority with the same key one after another, in the order in
    /// which they were sent, and a failure holds up those behind it. Those without a key do not wait for each other. At most
    /// [`limits::CORRELATION_BYTES_MAX`] bytes without control characters.
    pub fn ordered_by(mut self, key: impl fmt::Display) -> Self {
        self.key = Some(key.to_string());
        self
    }

    /// The undertaking it belongs to; limits as for [`NewMessage::ordered_by`].
    pub fn correlation(mut self, correlation: impl fmt::Display) -> Self {
        self.correlation = Some(correlation.to_string());
        self
    }

    /// The id of the event, message or task that caused it; limits as for [`NewMessage::ordered_by`].
    pub fn causation(mut self, causation: impl fmt::Display) -> Self {
        self.causation = Some(causation.to_string());
        self
    }

    /// On whose behalf it is sent: ASCII letters, digits and `- _ .`, at most [`limits::TENANT_BYTES_MAX`] bytes.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The W3C trace context that it belongs to.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Another message brought it about: it belongs to the same undertaking, on behalf of the same tenant. A message that belongs
    /// to none begins one, which is called after it.
    pub fn caused_by(mut self, cause: &AgentMessage) -> Self {
        let own = || cause.id.to_string();
        self.causation = Some(own());
        self.correlation = Some(cause.correlation.clone().unwrap_or_else(own));
        self.tenant = Some(cause.tenant.clone());
        self.traceparent.clone_from(&cause.traceparent);
        self
    }

    /// Whom it is for.
    pub fn address(&self) -> &Address {
        &self.sent.to
    }

    /// What it is, as [`NewMessage::kind`] said; empty unless it did.
    pub fn type_name(&self) -> &str {
        &self.sent.kind
    }

    /// Checks it, as sending it does.
    ///
    /// # Errors
    /// `invalid-input` and `payload-too-large`, naming the attribute that breaks a limit.
    pub fn check(&self) -> Result<()> {
        self.clone().into_event(Timestamp::EPOCH)?.check()
    }

    /// The event that it is, sent at `now` unless it was sent before.
    ///
    /// # Errors
    /// `invalid-input` and `payload-too-large`, naming the attribute that is to blame.
    pub(crate) fn into_event(self, now: Timestamp) -> Result<NewEvent> {
        rules::check(&self.sent)?;
        let time = self.time.unwrap_or(now);
        let expires = match self.lifetime {
            Lifetime::Unbounded => None,
            Lifetime::For(ttl) => Some(time + rules::ttl(ttl)?),
            Lifetime::Until(expires) => Some(expires),
        };
        let mut event = NewEvent::of(&self.sent)
            .map_err(|e| e.with("attribute", "body"))?
            .time(time)
            .tenant(self.tenant.unwrap_or_else(|| TENANT_DEFAULT.to_owned()));
        if let Some(from) = &self.sent.from {
            event = event.source(format!("/hive/{from}"));
        }
        event.id = self.id;
        event.attributes.expires = expires;
        event.attributes.correlation = self.correlation;
        event.attributes.causation = self.causation;
        event.attributes.key = self.key;
        event.attributes.traceparent = self.traceparent;
        Ok(event)
    }
}

/// To send a message again: it keeps its id, so that sending it where it was sent before changes nothing.
impl From<AgentMessage> for NewMessage {
    fn from(message: AgentMessage) -> Self {
        let AgentMessage {
            id,
            from,
            to,
            kind,
            priority,
            timestamp,
            expires,
            body,
            reply_to,
            refusal,
            attempts,
            key,
            correlation,
            causation,
            tenant,
            traceparent,
        } = message;
        Self {
            id: Some(id),
            time: Some(timestamp),
            lifetime: expires.map_or(Lifetime::Unbounded, Lifetime::Until),
            correlation,
            causation,
            key,
            tenant: Some(tenant),
            traceparent,
            sent: MessageSent {
                from,
                to,
                kind,
                priority,
                body,
                reply_to,
                refusal,
                attempts,
            },
        }
    }
}
