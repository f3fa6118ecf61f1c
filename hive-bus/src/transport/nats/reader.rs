//! A reader: a consumer on the server that hands out messages from a cursor on when it is asked for them.
//!
//! It is made without acknowledgements and lives in the server's memory, which forgets it soon after it was asked last.

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use hive_core::clock::timeout;
use serde::Deserialize;
use serde_json::json;

use super::link::{Line, Link};
use super::refusal::{Failed, away, refused};
use super::relay::Place;
use super::{Shared, wire};
use crate::event::Sequence;
use crate::limits;

pub(super) struct Reader {
    line: Arc<Line>,
    pub(super) filter: String,
    /// Where it is asked.
    requests: String,
    inbox: String,
    messages: Subscriber,
    waiting: VecDeque<Message>,
    /// How many messages it has handed out, as the server counts.
    delivered: u64,
    /// The sequence in the stream of what it looks at next.
    pub(super) next: u64,
    /// Every event up to here was looked at.
    pub(super) reached: Sequence,
    /// It cannot be trusted any more to hand out what comes next.
    broken: bool,
}

/// Where a message stands.
pub(super) struct Delivery {
    /// In the stream.
    pub(super) stream: u64,
    /// Among what this consumer was given.
    pub(super) consumer: u64,
}

impl Delivery {
    /// What the server writes where a message would be acknowledged:
    /// `$JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.delivery.time.pending[.more]`.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let tokens: Vec<&str> = message.reply.as_deref()?.split('.').collect();
        let rest = match tokens.len() {
            9 => tokens.get(2..)?,
            11.. => tokens.get(4..)?,
            _ => return None,
        };
        Some(Self {
            stream: rest.get(3)?.parse().ok()?,
            consumer: rest.get(4)?.parse().ok()?,
        })
    }
}

impl Shared {
    /// A reader of the messages from `next` on whose subjects match `filter`.
    pub(super) async fn reader(
        &self,
        line: &Arc<Line>,
        filter: String,
        next: u64,
        reached: Sequence,
    ) -> Result<Reader, Failed> {
        #[derive(Deserialize)]
        struct Made {
            name: String,
        }
        let stream = &self.names.events;
        let inbox = line.client().new_inbox();
        let messages = line.client().subscribe(inbox.clone()).await.map_err(away)?;
        let request = json!({
            "stream_name": stream,
            "config": {
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": next,
                "ack_policy": "none",
                "replay_policy": "instant",
                "filter_subject": filter,
                "inactive_threshold": limits::NATS_READER_IDLE.as_nanos(),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        let made = line.ask(format!("CONSUMER.CREATE.{stream}"), &request).await?;
        let Made { name } = made.map_err(refused)?;
        Ok(Reader {
            line: Arc::clone(line),
            filter,
            requests: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            inbox,
            messages,
            waiting: VecDeque::new(),
            delivered: 0,
            next,
            reached,
            broken: false,
        })
    }
}

impl Reader {
    /// Whether it is on this connection and can go on.
    pub(super) fn is_fit(&self, line: &Arc<Line>) -> bool {
        !self.broken && Arc::ptr_eq(&self.line, line)
    }

    /// Whether both are on the same connection.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.line, &other.line)
    }

    /// The next message; `None` when the server says that there is none, or says nothing that can be trusted: it has to be asked
    /// in another way then.
    pub(super) async fn next(&mut self, link: &Link) -> Result<Option<Message>, Failed> {
        if self.waiting.is_empty() && !self.broken {
            self.fetch(link).await?;
        }
        let Some(message) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let delivery = Delivery::of(&message).filter(|delivery| delivery.consumer == self.delivered + 1);
        let Some(delivery) = delivery.filter(|delivery| delivery.stream >= self.next) else {
            // One was lost on the way.
            self.broken = true;
            self.waiting.clear();
            return Ok(None);
        };
        self.delivered = delivery.consumer;
        self.next = delivery.stream.saturating_add(1);
        self.reached = wire::number(delivery.stream, message.headers.as_ref());
        Ok(Some(message))
    }

    /// Where the last message that it handed out stands.
    pub(super) fn place(&self) -> Place {
        Place {
            stream: self.next.saturating_sub(1),
            number: self.reached,
        }
    }

    /// There is nothing for it up to here.
    pub(super) fn passed(&mut self, end: Place) {
        self.reached = self.reached.max(end.number);
    }

    /// It was found to have missed a message, or to be behind the stream.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
    }

    /// Asks for messages, as many as a page holds, and takes them in.
    async fn fetch(&mut self, link: &Link) -> Result<(), Failed> {
        // What is there now, without waiting for more.
        let request = json!({
            "batch": limits::PAGE_EVENTS_MAX,
            "max_bytes": limits::PAGE_BYTES_MAX,
            "no_wait": true,
        });
        let client = self.line.client();
        let asked = client.publish_with_reply(self.requests.clone(), self.inbox.clone(), request.to_string().into());
        asked.await.map_err(away)?;
        while self.waiting.len() < limits::PAGE_EVENTS_MAX {
            // A server that counts wrongly says nothing at all where there is nothing.
            let Ok(message) = timeout(link.clock(), limits::NATS_SILENCE, self.messages.next()).await else {
                self.broken = true;
                return Ok(());
            };
            let Some(message) = message else {
                return Err(away("the subscription ended"));
            };
            self.line.answered();
            match message.status {
                None => self.waiting.push_back(message),
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(()),
                Some(_) => {
                    // It has as many bytes as were asked for, or it is gone.
                    self.broken = self.waiting.is_empty();
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
