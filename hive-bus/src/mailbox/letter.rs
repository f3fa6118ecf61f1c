//! One message in the hands of its receiver.

use std::fmt;
use std::time::Duration;

use hive_core::db::Tx;
use hive_errors::{Error, ErrorKind, Failure, Result};
use serde::Serialize;

use super::Mailbox;
use crate::consumer::Delivery;
use crate::event::Sequence;
use crate::message::{AgentMessage, NewMessage};

/// A message that a mailbox handed out. Exactly one of the methods that take it settles it; dropped unsettled, it counts as failed.
///
/// It stays this process's for the mailbox's [`ack_wait`](super::OpenMailbox::ack_wait). After that it is given to another, and
/// settling it here is refused with `lease-lost`.
#[must_use = "a letter that is dropped counts as failed"]
pub struct Letter {
    mailbox: Mailbox,
    message: AgentMessage,
    delivery: Delivery,
}

impl Letter {
    pub(super) fn new(mailbox: Mailbox, message: AgentMessage, delivery: Delivery) -> Self {
        Self {
            mailbox,
            message,
            delivery,
        }
    }

    pub(super) fn into_delivery(self) -> Delivery {
        self.delivery
    }

    /// The message.
    pub fn message(&self) -> &AgentMessage {
        &self.message
    }

    /// Which delivery of the message to this mailbox this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.delivery.attempt()
    }

    /// The place of the message in the log, by which it is found among the dead letters.
    pub fn sequence(&self) -> Sequence {
        self.delivery.event().sequence()
    }

    /// Says that it is done with, and returns once that is on record: it is not delivered again.
    ///
    /// # Errors
    /// `lease-lost` when it took too long and is another's. Whatever the transport refuses: then it may be delivered again.
    ///
    /// # Cancel safety
    /// Once polled, the word is given; dropped, only the answer is lost.
    pub async fn ack(self) -> Result<()> {
        self.delivery.ack().await
    }

    /// Says that it could not be handled now: it comes again after the mailbox's backoff, or ends with the dead letters when it has
    /// had all its attempts. `error` is remembered.
    ///
    /// # Errors
    /// As [`Letter::ack`].
    ///
    /// # Cancel safety
    /// As [`Letter::ack`].
    pub async fn nack(self, error: impl fmt::Display) -> Result<()> {
        if self.is_last() {
            return self.delivery.exhaust(error).await;
        }
        self.delivery.nack(error).await
    }

    /// [`Letter::nack`] with a delay of its own, in place of the mailbox's backoff.
    ///
    /// # Errors
    /// As [`Letter::ack`].
    ///
    /// # Cancel safety
    /// As [`Letter::ack`].
    pub async fn nack_after(self, delay: Duration, error: impl fmt::Display) -> Result<()> {
        if self.is_last() {
            return self.delivery.exhaust(error).await;
        }
        self.delivery.nack_after(delay, error).await
    }

    /// Says that it can never be handled: it ends with the dead letters at once.
    ///
    /// # Errors
    /// As [`Letter::ack`].
    ///
    /// # Cancel safety
    /// As [`Letter::ack`].
    pub async fn reject(self, error: impl fmt::Display) -> Result<()> {
        self.delivery.reject(error).await
    }

    /// Says that it is still being handled, and begins its time anew.
    ///
    /// # Errors
    /// As [`Letter::ack`].
    ///
    /// # Cancel safety
    /// As [`Letter::ack`].
    pub async fn extend(&self) -> Result<()> {
        self.delivery.extend().await
    }

    /// Acknowledges it in the caller's transaction: what is written there happens exactly once, because it is committed together
    /// with the record that the message was handled. When the transaction is not committed, the letter is still to be settled.
    ///
    /// # Errors
    /// `lease-lost` when it is another's by now: return it, so that nothing of the transaction is kept. `invalid-input` when the
    /// bus has no database.
    pub fn ack_in(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.delivery.ack_in(tx)
    }

    /// Begins the reply: to where the message says, from the mailbox's agent, caused by the message, and as urgent as it is. To be
    /// sent with [`Bus::send`](crate::Bus::send), or together with other work with [`Bus::send_in`](crate::Bus::send_in) beside
    /// [`Letter::ack_in`].
    ///
    /// Its id follows from the message and the agent. So a receiver replies once to a message, however often it is delivered: a
    /// second reply is refused with `conflict` unless it says the same.
    ///
    /// # Errors
    /// `invalid-input` when the message says neither where replies go nor which agent sent it.
    pub fn answer(&self) -> Result<NewMessage> {
        self.message.answer(self.mailbox.agent())
    }

    /// Replies, and then acknowledges the letter. After a crash between the two the letter is delivered again, and the reply that
    /// was sent first stands.
    ///
    /// # Errors
    /// As [`Letter::answer`], [`NewMessage::body`] and [`Bus::send`](crate::Bus::send): the letter counts as failed then. As
    /// [`Letter::ack`]: the reply is sent then.
    ///
    /// # Cancel safety
    /// Dropped, the reply may or may not be sent, and the letter counts as failed unless it was acknowledged.
    pub async fn reply<T: Serialize + ?Sized>(self, body: &T) -> Result<()> {
        let reply = self.answer().and_then(|reply| reply.body(body));
        self.reply_with(reply).await
    }

    /// Replies that it will not be done, and then acknowledges the letter: [`Bus::request`](crate::Bus::request) returns the
    /// failure as an error of the same kind.
    ///
    /// # Errors
    /// As [`Letter::reply`].
    ///
    /// # Cancel safety
    /// As [`Letter::reply`].
    pub async fn refuse(self, failure: impl Into<Failure>) -> Result<()> {
        let reply = self.message.refuse(self.mailbox.agent(), failure);
        self.reply_with(reply).await
    }

    async fn reply_with(self, reply: Result<NewMessage>) -> Result<()> {
        let sent = match reply {
            Ok(reply) => self.mailbox.inner.bus.send(reply).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(_) => self.ack().await,
            Err(error) if self.is_answered(&error) => self.ack().await,
            Err(error) => {
                // Whoever asked hears of the first error.
                drop(self.nack(&error).await);
                Err(error)
            }
        }
    }

    /// Whether that error says that another reply was sent before.
    fn is_answered(&self, error: &Error) -> bool {
        let reply = self.message.reply_id(self.mailbox.agent()).to_string();
        error.kind() == ErrorKind::Conflict && !error.is_retryable() && error.field("id") == Some(&reply)
    }

    /// Whether its sender allows no more attempts.
    fn is_last(&self) -> bool {
        self.message.attempts.is_some_and(|most| self.attempt() >= most)
    }

    /// A span that names the message and what it belongs to, for a handler to run in.
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "letter",
            agent = self.mailbox.agent(),
            message = %self.message.id,
            kind = self.message.kind,
            priority = self.message.priority.as_str(),
            attempt = self.attempt(),
            correlation = self.message.correlation,
            traceparent = self.message.traceparent,
        )
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("agent", &self.mailbox.agent())
            .field("message", &self.message.id)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
