//! What a run publishes and sends, and what it asks others by message.

use std::time::Duration;

use hive_bus::{AgentMessage, NewEvent, NewMessage, Sequence};
use hive_core::db::Tx;
use hive_core::id::EventId;
use hive_errors::{ErrorKind, Failure, Result as HiveResult};
use serde::de::DeserializeOwned;

use super::Context;
use super::drift::Recall;
use crate::journal::{Entry, Kind, Standing};
use crate::queue::post::{self, Question};
use crate::queue::{Queue, TaskRef};

impl Context {
    /// Publishes an event, once: it and its record are one commit. It is of the run's tenant, belongs to its undertaking and is caused by
    /// its task. Its place in the log comes back.
    ///
    /// As with steps, events of the same type are told apart by how often they came.
    ///
    /// # Failures
    /// Terminal ones, when it breaks a limit ([`Bus::publish`](hive_bus::Bus::publish)) or is on a topic of messages.
    ///
    /// # Cancel safety
    /// Dropped before the answer, it may be published or not; when the task comes back to it, the journal tells.
    pub async fn publish(&self, event: impl Into<NewEvent>) -> Result<Sequence, Failure> {
        let (event, outbox) = (event.into(), self.outbox());
        let name = format!("publish {}", event.event_type());
        self.once(Kind::Message, &name, move |tx| outbox.publish(tx, event.clone()))
            .await
    }

    /// Sends a message to an agent, once: it and its record are one commit. It is from the run's agent and of its tenant, belongs to its
    /// undertaking and is caused by its task, whatever it says itself. Its id comes back.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure, bus::AgentMessage};
    /// # async fn run(cx: Context) -> Result<(), Failure> {
    /// cx.send(AgentMessage::to("reviewer").kind("review.hint").body("mind the tests")?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// As with steps, messages of the same type are told apart by how often they came.
    ///
    /// # Failures
    /// Terminal ones, when it breaks a limit; see [`Bus::send`](hive_bus::Bus::send).
    ///
    /// # Cancel safety
    /// As [`Context::publish`].
    pub async fn send(&self, message: impl Into<NewMessage>) -> Result<EventId, Failure> {
        let (message, outbox) = (message.into(), self.outbox());
        let name = format!("send {}", message.type_name());
        self.once(Kind::Message, &name, move |tx| outbox.send(tx, message.clone()))
            .await
    }

    /// Sends a message, once, and waits for the reply to it, for as long as `deadline`, through crashes and restarts: the first one, where
    /// several agents are asked. While it waits the task holds no worker.
    ///
    /// The message expires at the deadline, so that nobody begins it for somebody who has gone. Whoever has the mailbox of the one who is
    /// asked replies: an agent with [`Received::reply`](crate::builders::Received::reply), other code with
    /// [`Letter::reply`](hive_bus::Letter::reply).
    ///
    /// # Failures
    /// Terminal, of kind `timeout`, when no reply came in time; what the other one refused it with; `invalid-input` when the reply is no
    /// `A`; and those of [`Context::send`].
    ///
    /// # Cancel safety
    /// Dropped, the message may be sent, and the reply is heard by nobody. The next request is another message.
    pub async fn request<A: DeserializeOwned>(
        &self,
        message: impl Into<NewMessage>,
        deadline: Duration,
    ) -> Result<A, Failure> {
        let message = message.into();
        self.asked(message, deadline).await?.decode().map_err(Failure::from)
    }

    async fn asked(&self, message: NewMessage, deadline: Duration) -> Result<AgentMessage, Failure> {
        let (name, to) = (
            format!("request {}", message.type_name()),
            message.address().to_string(),
        );
        let key = self.key(Kind::Message, &name)?;
        loop {
            match self.recall::<AgentMessage>(&key, Kind::Message).await {
                Recall::Done(reply) => return Ok(reply.accepted()?),
                Recall::Over => {
                    return Err(Failure::terminal("no reply came in time")
                        .with_kind(ErrorKind::Timeout)
                        .with("to", to)
                        .with("type", message.type_name())
                        .with("deadline", format!("{deadline:?}")));
                }
                Recall::Begun => {}
                Recall::New => self.ask(&key, message.clone(), deadline).await?,
            }
            self.settled(&key, None).await;
        }
    }

    async fn ask(&self, key: &str, message: NewMessage, deadline: Duration) -> Result<(), Failure> {
        let _working = self.run.activity.work();
        let (queue, task) = (self.run.queue.clone(), self.run.claimed.task.clone());
        // Before it is on record: the reply may be there before we hear of that.
        self.pending(key);
        let question = Question {
            lease: self.run.lease(),
            key: key.to_owned(),
            message,
            deadline,
        };
        let asked = self.run.tell(move |tx| post::ask(tx, &queue, &task, &question)).await;
        if asked.is_err() {
            self.run.journal().forget(key);
        }
        Ok(asked?)
    }

    /// Notes that something is waited for under this key.
    pub(super) fn pending(&self, key: &str) {
        let entry = Entry {
            kind: Kind::Message,
            standing: Standing::Pending,
            value: None,
        };
        self.run.journal().put(key.to_owned(), entry);
    }

    /// What a run sends and publishes as a part of a transaction of its own.
    pub fn outbox(&self) -> Outbox {
        Outbox {
            queue: self.run.queue.clone(),
            task: self.run.claimed.task.clone(),
        }
    }
}

/// Sends and publishes in a transaction: it happens if and only if the rest of the transaction does. Made by [`Context::outbox`].
///
/// ```
/// # use hive_orchestration::{Context, Failure, bus::AgentMessage};
/// # fn accept(_: &mut hive_orchestration::core::db::Tx<'_>, _: i64) -> hive_orchestration::Result<()> { Ok(()) }
/// # async fn run(cx: Context, order: i64) -> Result<(), Failure> {
/// let outbox = cx.outbox();
/// cx.transaction("accept", move |tx| {
///     accept(tx, order)?;
///     outbox.send(tx, AgentMessage::to("packer").kind("order.accepted").body(&order)?)
/// })
/// .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Queue,
    task: TaskRef,
}

impl Outbox {
    /// Sends a message; see [`Context::send`].
    ///
    /// # Errors
    /// As [`Bus::send_in`](hive_bus::Bus::send_in).
    pub fn send(&self, tx: &mut Tx<'_>, message: impl Into<NewMessage>) -> HiveResult<EventId> {
        self.queue.bus.send_in(tx, post::own(&self.task, message.into()))
    }

    /// Publishes an event; see [`Context::publish`].
    ///
    /// # Errors
    /// As [`Bus::publish_in`](hive_bus::Bus::publish_in); `invalid-input` for one on a topic of messages.
    pub fn publish(&self, tx: &mut Tx<'_>, event: impl Into<NewEvent>) -> HiveResult<Sequence> {
        self.queue
            .bus
            .publish_in(tx, post::own_event(&self.task, event.into())?)
    }
}
