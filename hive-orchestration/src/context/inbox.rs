//! The messages to a run's agent.

use std::ops::Deref;
use std::time::Duration;

use hive_bus::{AgentMessage, NewMessage};
use hive_core::db::Dialect;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result as HiveResult};
use serde::Serialize;

use super::Context;
use super::drift::Recall;
use super::wait::Claim;
use crate::journal::{Entry, Kind, Standing};
use crate::limits;
use crate::queue::post::{self, Waiting};

impl Context {
    /// The inbox of the run's agent, with the messages that were sent to it on behalf of the run's tenant. All runs of the agent share it;
    /// each message goes to one of them.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure};
    /// # async fn run(cx: Context) -> Result<(), Failure> {
    /// loop {
    ///     let message = cx.inbox().next().await?;
    ///     match message.kind.as_str() {
    ///         "add" => message.reply(&message.decode::<Vec<i64>>()?.iter().sum::<i64>()).await?,
    ///         "stop" => return Ok(()),
    ///         _ => message.refuse(Failure::terminal("I can only add")).await?,
    ///     };
    /// }
    /// # }
    /// ```
    ///
    /// The first time that a run of the agent looks, its [mailbox](hive_bus::Mailbox) is opened by the hive: with the oldest message that
    /// is still there, and with the agent's capabilities. From then on, whether a run waits or not, messages go into the inbox, where they
    /// count as delivered. Do not open the mailbox of such an agent elsewhere.
    pub fn inbox(&self) -> Inbox<'_> {
        Inbox { cx: self }
    }
}

/// The messages to a run's agent. Made by [`Context::inbox`].
///
/// A message is taken and remembered in one commit. After an interruption the run gets the same ones again, in the same order, and no other
/// run does. The most urgent comes first, and the oldest of those; expired ones do not come.
///
/// # Cancel safety
/// Dropped before a message came, nothing is lost: the next use of the inbox in the run goes on where this one was.
#[derive(Clone, Copy, Debug)]
pub struct Inbox<'a> {
    cx: &'a Context,
}

impl Inbox<'_> {
    /// The next message; waits for it, and holds no worker meanwhile.
    pub async fn next(self) -> Result<Received, Failure> {
        let received = self.receive(Waiting::Ever).await?;
        // Invariant: without a time limit there is nothing else to end it.
        Ok(received.ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "a wait without a limit has ended without a message",
            )
        })?)
    }

    /// The next message; `None` when none came in this time.
    pub async fn next_within(self, limit: Duration) -> Result<Option<Received>, Failure> {
        self.receive(Waiting::For(limit)).await
    }

    /// The next message, if there is one.
    pub async fn try_next(self) -> Result<Option<Received>, Failure> {
        self.receive(Waiting::Not).await
    }

    async fn receive(self, waiting: Waiting) -> Result<Option<Received>, Failure> {
        let cx = self.cx;
        let mut claim = Claim {
            cx,
            key: Some(cx.key(Kind::Message, "inbox")?),
        };
        let found = self.found(claim.key(), waiting).await?;
        claim.key = None;
        Ok(found.map(|message| Received {
            cx: cx.clone(),
            message,
        }))
    }

    async fn found(&self, key: &str, waiting: Waiting) -> HiveResult<Option<AgentMessage>> {
        let cx = self.cx;
        loop {
            match cx.recall::<post::Received>(key, Kind::Message).await {
                Recall::Done(post::Received::Letter(message)) => return Ok(Some(*message)),
                Recall::Done(post::Received::Nothing) | Recall::Over => return Ok(None),
                Recall::Done(post::Received::Look) | Recall::New | Recall::Begun => {}
            }
            // Before it is on record: we may be told to look before we hear of that.
            cx.pending(key);
            if let Some(received) = self.look(key, waiting).await? {
                let entry = Entry {
                    kind: Kind::Message,
                    standing: Standing::Done,
                    value: Some(Payload::encode(&received, limits::PAYLOAD_BYTES)?),
                };
                cx.run.journal().put(key.to_owned(), entry);
                continue;
            }
            cx.settled(key, None).await;
        }
    }

    async fn look(&self, key: &str, waiting: Waiting) -> HiveResult<Option<post::Received>> {
        let run = &self.cx.run;
        let _working = run.activity.work();
        let looks = match run.db.dialect() {
            Dialect::Sqlite => 1,
            // A message that was under way at the first look may have been committed before our wait was; its sender has not seen that.
            Dialect::Postgres => 2,
        };
        for _ in 0..looks {
            let (queue, lease, task, key) = (run.queue.clone(), run.lease(), run.claimed.task.clone(), key.to_owned());
            let found = run
                .tell(move |tx| post::receive(tx, &queue, lease, &task, &key, waiting))
                .await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// A message that a run has received. It is the run's: nobody else gets it.
#[derive(Clone, Debug)]
pub struct Received {
    cx: Context,
    message: AgentMessage,
}

impl Received {
    /// The message itself.
    pub fn message(&self) -> &AgentMessage {
        &self.message
    }

    /// Replies, once: the reply and its record are one commit. Its id comes back.
    ///
    /// # Failures
    /// `invalid-input` when the message does not say where a reply goes; `conflict` when the agent has replied to it already, and
    /// otherwise; `payload-too-large`.
    ///
    /// # Cancel safety
    /// As [`Context::send`].
    pub async fn reply<T: Serialize + ?Sized>(&self, body: &T) -> Result<EventId, Failure> {
        // Not held over the await: the body need not be `Sync`.
        let reply = self.message.answer(self.agent()).and_then(|reply| reply.body(body));
        self.reply_with(reply?).await
    }

    /// Replies, once, that it will not be done: whoever asked gets the failure.
    ///
    /// # Failures
    /// As [`Received::reply`].
    ///
    /// # Cancel safety
    /// As [`Context::send`].
    pub async fn refuse(&self, failure: impl Into<Failure>) -> Result<EventId, Failure> {
        let reply = self.message.refuse(self.agent(), failure);
        self.reply_with(reply?).await
    }

    fn agent(&self) -> &str {
        &self.cx.run.claimed.task.agent
    }

    async fn reply_with(&self, reply: NewMessage) -> Result<EventId, Failure> {
        let bus = self.cx.run.queue.bus.clone();
        let name = format!("reply {}", self.message.id);
        self.cx
            .once(Kind::Message, &name, move |tx| bus.send_in(tx, reply.clone()))
            .await
    }
}

impl Deref for Received {
    type Target = AgentMessage;

    fn deref(&self) -> &AgentMessage {
        &self.message
    }
}
