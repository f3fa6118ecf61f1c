//! Sending messages.

use hive_core::db::Tx;
use hive_core::id::EventId;
use hive_errors::Result;

use crate::bus::Bus;
use crate::event::{NewEvent, Sequence};
use crate::message::NewMessage;

impl Bus {
    /// Sends a message and returns its id once it is on disk.
    ///
    /// With an id of its own ([`NewMessage::id`]), sending it again changes nothing.
    ///
    /// # Errors
    /// `invalid-input` and `payload-too-large`, naming the attribute that breaks a limit; `conflict` when another message has its
    /// id; and as [`Bus::publish`].
    ///
    /// # Cancel safety
    /// Dropped, the message may or may not be sent. With an id of its own it can be sent again.
    pub async fn send(&self, message: impl Into<NewMessage>) -> Result<EventId> {
        let (id, event) = self.addressed(message.into())?;
        self.publish(event).await?;
        Ok(id)
    }

    /// [`Bus::send`] for many at once, as [`Bus::publish_all`] does it.
    ///
    /// # Errors
    /// As [`Bus::send`] and [`Bus::publish_all`].
    ///
    /// # Cancel safety
    /// As [`Bus::send`].
    pub async fn send_all(&self, messages: Vec<NewMessage>) -> Result<Vec<EventId>> {
        let (ids, events) = self.all_addressed(messages)?;
        self.publish_all(events).await?;
        Ok(ids)
    }

    /// Sends a message in the caller's transaction: it is sent if and only if the rest of the transaction happens.
    ///
    /// # Errors
    /// As [`Bus::send`] and [`Bus::publish_in`].
    pub fn send_in(&self, tx: &mut Tx<'_>, message: impl Into<NewMessage>) -> Result<EventId> {
        self.post_in(tx, message).map(|(id, _place)| id)
    }

    /// [`Bus::send_in`], with the message's place in the log: replies to it come behind that.
    ///
    /// # Errors
    /// As [`Bus::send_in`].
    pub fn post_in(&self, tx: &mut Tx<'_>, message: impl Into<NewMessage>) -> Result<(EventId, Sequence)> {
        let (id, event) = self.addressed(message.into())?;
        Ok((id, self.publish_in(tx, event)?))
    }

    /// [`Bus::send_in`] for many at once.
    ///
    /// # Errors
    /// As [`Bus::send_in`] and [`Bus::publish_all_in`].
    pub fn send_all_in(&self, tx: &mut Tx<'_>, messages: Vec<NewMessage>) -> Result<Vec<EventId>> {
        let (ids, events) = self.all_addressed(messages)?;
        self.publish_all_in(tx, events)?;
        Ok(ids)
    }

    /// The message as an event, with an id.
    pub(super) fn addressed(&self, mut message: NewMessage) -> Result<(EventId, NewEvent)> {
        let id = *message.id.get_or_insert_with(|| self.ids().next());
        Ok((id, message.into_event(self.clock().now())?))
    }

    fn all_addressed(&self, messages: Vec<NewMessage>) -> Result<(Vec<EventId>, Vec<NewEvent>)> {
        let both: Vec<_> = messages
            .into_iter()
            .map(|message| self.addressed(message))
            .collect::<Result<_>>()?;
        Ok(both.into_iter().unzip())
    }
}
