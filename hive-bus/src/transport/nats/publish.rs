//! Publishing: many messages under way at once, and yet those at the front first.
//!
//! The messages of one call are sent without waiting for each other's acknowledgements, which is some twenty times as fast. So
//! that none is stored without those before it, each but the first names the id of the one before
//! (`Nats-Expected-Last-Msg-Id`), and the server refuses it where something else is the last. That happens when a message before
//! it was refused, lost with a connection or lost with a server that led; when it was known already; and when another process's
//! message came in between. Then the rest is sent again from there, as many at once as went through the last time and a few
//! more, so that processes that publish at the same time do not spend it on refusals. Within a process, the messages of one call
//! are sent in one piece.
//!
//! Sending again stores nothing twice: the server knows the ids (`Nats-Msg-Id`).

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_MESSAGE_ID};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use hive_core::clock::timeout;
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::SemaphorePermit;

use super::link::Line;
use super::refusal::{Failed, Refused, too_large, unpublished};
use super::relay::Feed;
use super::{Shared, wire};
use crate::event::{Event, NewEvent, Sequence};
use crate::limits;

/// An event on its way.
struct Outgoing {
    subject: String,
    id: String,
    body: Bytes,
    event: Event,
}

/// What became of messages that were sent, up to where one was refused.
struct Sent {
    stored: Vec<Stored>,
    /// Whether all were sent.
    whole: bool,
}

#[derive(Clone, Copy)]
enum Stored {
    New(u64),
    /// Its id was known.
    Known(u64),
}

impl Shared {
    pub(super) async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let mut waiting = Vec::with_capacity(events.len());
        for event in events {
            let (id, time, attributes) = event.into_parts()?;
            let event = Event::published(Sequence::START, id, time, attributes);
            waiting.push(Outgoing {
                subject: self.names.event(event.topic()),
                id: id.to_string(),
                body: wire::write(&event)?,
                event,
            });
        }
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        self.claim(Feed::Published).await?;
        let mut sequences = Vec::with_capacity(waiting.len());
        let mut most = usize::MAX;
        while let Some(rest) = waiting.get(sequences.len()..)
            && !rest.is_empty()
        {
            let part = rest.get(..most.min(fitting(rest.iter().map(size)))).unwrap_or(rest);
            let turn = self.turn(part.iter().map(size).sum()).await?;
            let sent = self.link.call(|line| self.send(line, part)).await?;
            drop(turn);
            self.settle(&sent.stored, part, &mut sequences).await?;
            most = if sent.whole {
                most.saturating_mul(2)
            } else {
                sent.stored.len().saturating_mul(2).max(limits::NATS_CHAIN_MIN)
            };
        }
        Ok(sequences)
    }

    /// Leave to have so many bytes under way.
    pub(super) async fn turn(&self, bytes: usize) -> Result<SemaphorePermit<'_>> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024))
            .unwrap_or(u32::MAX)
            .min(self.in_flight_most);
        let turn = self.in_flight.acquire_many(kibibytes);
        match timeout(self.link.clock(), self.link.request_timeout(), turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Error::new(
                ErrorKind::Overloaded,
                "too many events wait for the nats server's acknowledgement",
            )
            .with_hint("publish more slowly, or allow more of them")),
        }
    }

    /// Sends the messages and waits for what becomes of them.
    async fn send(&self, line: Arc<Line>, part: &[Outgoing]) -> Result<Sent, Failed> {
        let size_max = line.client().max_payload();
        if let Some(large) = part.iter().find(|outgoing| size(outgoing) > size_max) {
            let told = format!("{} bytes are more than {size_max}", size(large));
            return Err(Failed::Answered(too_large(told)));
        }
        let mut acknowledgements = Vec::with_capacity(part.len());
        {
            // What is sent in one piece has no other message of this process in between.
            let _sending = self.sending.lock().await;
            let mut before: Option<&Outgoing> = None;
            for outgoing in part {
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, outgoing.id.as_str());
                if let Some(before) = before {
                    headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, before.id.as_str());
                }
                acknowledgements.push(ship(&line, &outgoing.subject, headers, &outgoing.body).await?);
                before = Some(outgoing);
            }
        }
        let mut stored = Vec::with_capacity(part.len());
        for acknowledgement in acknowledgements {
            match acknowledgement.await {
                Ok(ack) => {
                    line.answered();
                    stored.push(if ack.duplicate {
                        Stored::Known(ack.sequence)
                    } else {
                        Stored::New(ack.sequence)
                    });
                }
                Err(error) => match unpublished(error)? {
                    Refused::Id | Refused::Sequence => {
                        line.answered();
                        // Those behind it are refused as well.
                        return Ok(Sent { stored, whole: false });
                    }
                },
            }
        }
        Ok(Sent { stored, whole: true })
    }

    /// The sequences of what is stored, as far as it is these events that have the ids.
    async fn settle(&self, stored: &[Stored], part: &[Outgoing], sequences: &mut Vec<Sequence>) -> Result<()> {
        let known: Vec<Sequence> = stored
            .iter()
            .filter_map(|stored| match stored {
                Stored::New(_) => None,
                Stored::Known(sequence) => Some(Sequence::new(*sequence)),
            })
            .collect();
        let mut found = self.get(&known).await?.into_iter().peekable();
        for (stored, outgoing) in stored.iter().zip(part) {
            sequences.push(match stored {
                Stored::New(sequence) => Sequence::new(*sequence),
                Stored::Known(sequence) => match found.next_if(|event| event.sequence().get() == *sequence) {
                    Some(event) => event.same_as(outgoing.event.attributes())?,
                    // It is not kept any more, and the server still knows its id.
                    None => Sequence::new(*sequence),
                },
            });
        }
        Ok(())
    }
}

/// Sends a message whose acknowledgement is waited for later.
pub(super) async fn ship(
    line: &Line,
    subject: &str,
    headers: HeaderMap,
    body: &Bytes,
) -> Result<PublishAckFuture, Failed> {
    let message = PublishMessage::build().payload(body.clone()).headers(headers);
    match line.jetstream().send_publish(subject.to_owned(), message).await {
        Ok(acknowledgement) => Ok(acknowledgement),
        Err(error) => match unpublished(error) {
            Err(failed) => Err(failed),
            // Nobody answers before it is sent.
            Ok(_) => Err(Failed::Unready(Error::new(
                ErrorKind::Internal,
                "a message was refused unsent",
            ))),
        },
    }
}

/// How many of the messages of these sizes are sent at once, at least one.
pub(super) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |size: &usize| {
        bytes += size;
        bytes <= limits::NATS_PART_BYTES_MAX
    };
    sizes.take(limits::BATCH_MAX).take_while(fits).count().max(1)
}

/// About how many bytes a message takes on its way.
fn size(outgoing: &Outgoing) -> usize {
    outgoing.body.len() + outgoing.subject.len() + limits::NATS_HEADER_BYTES
}
