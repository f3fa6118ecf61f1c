//! Asking and waiting for the reply.

use std::time::Duration;

use hive_core::clock::timeout;
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};

use crate::bus::Bus;
use crate::event::Event;
use crate::limits;
use crate::message::{Address, AgentMessage, NewMessage};

impl Bus {
    /// Sends a message and waits for the reply to it, for as long as `deadline`; the first one, where several agents are asked.
    ///
    /// The message expires at the deadline at the latest, so that nobody begins it for someone who has gone. Unless it belongs to
    /// an undertaking, it begins one that is called after it: a reply that comes too late is found with
    /// [`Bus::history`](Bus::history) by this correlation. Where replies go is set by this.
    ///
    /// With an id of its own, a request whose reply was not heard, after a crash for instance, can be made again: the reply that
    /// was sent meanwhile is returned.
    ///
    /// # Errors
    /// `timeout` when no reply came in time; what [`Letter::refuse`](crate::Letter::refuse) was given, when the receiver refused,
    /// with the fields `request` and `refused_by`; and as [`Bus::send`] and [`Bus::subscribe`].
    ///
    /// # Cancel safety
    /// Dropped, the message may be sent, and expires at the deadline unless somebody begins it.
    pub async fn request(&self, message: impl Into<NewMessage>, deadline: Duration) -> Result<AgentMessage> {
        let mut message = message.into().ttl_at_most(deadline.min(limits::TTL_MAX));
        let id = *message.id.get_or_insert_with(|| self.ids().next());
        message.correlation.get_or_insert_with(|| id.to_string());
        let to = message.sent.to.clone();
        let answer = self.ask(id, message);
        match timeout(self.clock(), deadline, answer).await {
            Ok(reply) => reply?.accepted(),
            Err(late) => Err(Error::new(ErrorKind::Timeout, "no reply came in time")
                .with("request", id)
                .with("to", to)
                .with("deadline", format!("{deadline:?}"))
                .with_hint("look at Bus::message_status for how far it came, and allow more time if it was begun")
                .with_source(late)),
        }
    }

    async fn ask(&self, id: EventId, message: NewMessage) -> Result<AgentMessage> {
        let address = Address::Reply(id);
        let pattern = address.pattern()?;
        let (_, event) = self.addressed(message.reply_to(address))?;
        // Before it is sent, so that no reply is missed.
        let mut replies = self.subscribe(pattern.clone()).await?;
        let sequence = self.publish(event).await?;
        if sequence <= replies.cursor() {
            // It was sent before, and so may be the reply.
            replies = self.subscribe(pattern).after(sequence).await?;
        }
        loop {
            if let Some(reply) = reply_to(id, &replies.next().await?) {
                return Ok(reply);
            }
        }
    }
}

/// The reply that this event is, if it is one to this request.
fn reply_to(request: EventId, event: &Event) -> Option<AgentMessage> {
    match AgentMessage::from_event(event) {
        Ok(reply) => (reply.causation.as_deref() == Some(&request.to_string())).then_some(reply),
        Err(error) => {
            tracing::warn!(%request, sequence = %event.sequence(), %error, "what came in place of a reply is no message");
            None
        }
    }
}
