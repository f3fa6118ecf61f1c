//! Relaying: what a database has committed, in its order and each once, whoever relays and however often.
//!
//! The first message of a batch names the sequence that the stream's last one has to have (`Nats-Expected-Last-Sequence`), and
//! each that follows the one before it (`Nats-Expected-Last-Msg-Id`, with ids that only this attempt has). So a batch is stored
//! from the front, up to where something else came in between; and a relay that was thought to be gone and is not gets nothing
//! in: its first message is refused, and with it all that follow. How far it came is not noted beside the events but in them
//! (`Hive-Sequence`), so a crash cannot come between. The note in the bucket is for a stream that keeps none of them any more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::link::Line;
use super::publish::{fitting, ship};
use super::refusal::{Failed, Refused, unpublished};
use super::stream::{self, Which};
use super::{Shared, wire};
use crate::event::{Event, Sequence};

/// Who feeds the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    Published,
    Relayed,
}

/// Where the stream ends: the same place in its own numbers and in those that events have here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) stream: u64,
    pub(super) number: Sequence,
}

/// What a relay in this process knows of the end of the stream: nothing, once it may be another.
#[derive(Debug, Default)]
pub(super) struct Relay {
    end: Option<Place>,
}

struct Outgoing {
    subject: String,
    number: Sequence,
    body: Bytes,
}

/// What a batch came to.
enum Sent {
    /// All of it is stored, the last there.
    Whole(Place),
    /// An attempt whose answers were lost has stored some of it: the stream ends there.
    Part(Place),
    /// Somebody else has written to the stream.
    Overtaken,
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Relayed => "relayed",
        })
    }
}

impl Shared {
    /// Who feeds the stream, once somebody has.
    pub(super) async fn feed(&self) -> Result<Option<Feed>> {
        if let Some(feed) = self.feed.get() {
            return Ok(Some(*feed));
        }
        let subject = &*self.names.feed();
        let found = self
            .link
            .call(|line| async move { self.last(&line, &self.names.states, subject).await });
        let Some(found) = found.await? else { return Ok(None) };
        let feed = [Feed::Published, Feed::Relayed]
            .into_iter()
            .find(|feed| feed.to_string().as_bytes() == &*found.body)
            .ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, "it cannot be read who feeds the transport").with("subject", subject)
            })?;
        Ok(Some(*self.feed.get_or_init(|| feed)))
    }

    /// Makes sure that nobody feeds the stream in another way.
    pub(super) async fn claim(&self, by: Feed) -> Result<()> {
        loop {
            match self.feed().await? {
                Some(feed) if feed == by => return Ok(()),
                Some(_) => {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "a transport is fed by a relay or by publishers, not by both",
                    )
                    .with("stream", &self.names.events));
                }
                // Whoever writes it first has it, and everybody reads what is there then.
                None => {
                    self.put(&self.names.feed(), Some(0), by.to_string().into()).await?;
                }
            }
        }
    }

    pub(super) async fn relay(&self, events: Vec<Event>) -> Result<()> {
        self.claim(Feed::Relayed).await?;
        let mut relay = self.relay.lock().await;
        let mut waiting = events.as_slice();
        while !waiting.is_empty() {
            let end = match relay.end {
                Some(end) => end,
                None => self.end().await?,
            };
            // Invariant: it is only known while nothing has failed.
            relay.end = None;
            let from = waiting.partition_point(|event| event.sequence() <= end.number);
            waiting = waiting.get(from..).unwrap_or_default();
            let part = waiting
                .get(..fitting(waiting.iter().map(Event::bytes)))
                .unwrap_or(waiting);
            if part.is_empty() {
                relay.end = Some(end);
                break;
            }
            let part: Vec<Outgoing> = part.iter().map(|event| self.outgoing(event)).collect::<Result<_>>()?;
            let turn = self.turn(part.iter().map(|outgoing| outgoing.body.len()).sum()).await?;
            let tried = AtomicBool::new(false);
            let sent = self
                .link
                .call(|line| self.send_relayed(line, &part, end, &tried))
                .await?;
            drop(turn);
            let end = match sent {
                Sent::Whole(end) | Sent::Part(end) => end,
                Sent::Overtaken => {
                    return Err(
                        Error::new(ErrorKind::Conflict, "somebody else relays to the same transport")
                            .with("stream", &self.names.events)
                            .with_hint("one relay at a time; ask anew how far it came"),
                    );
                }
            };
            self.note(end).await?;
            relay.end = Some(end);
        }
        Ok(())
    }

    pub(super) async fn relayed(&self) -> Result<Sequence> {
        match self.feed().await? {
            Some(Feed::Relayed) => Ok(self.end().await?.number),
            Some(Feed::Published) | None => Ok(Sequence::START),
        }
    }

    /// Where the stream ends.
    pub(super) async fn end(&self) -> Result<Place> {
        let feed = self.feed().await?;
        self.link
            .call(|line| async move { self.end_on(&line, feed).await })
            .await
    }

    pub(super) async fn end_on(&self, line: &Line, feed: Option<Feed>) -> Result<Place, Failed> {
        let every = self.names.every_event();
        let stream = stream::last_sequence(line, &self.names.events).await?;
        match feed {
            Some(Feed::Relayed) => {}
            Some(Feed::Published) | None => {
                return Ok(Place {
                    stream,
                    number: Sequence::new(stream),
                });
            }
        }
        let last = stream::get(line, &self.names.events, &Which::Last(&every)).await?;
        let last = last.map(|message| Place {
            stream: message.sequence.max(stream),
            number: wire::number(message.sequence, Some(&message.headers)),
        });
        if let Some(last) = last
            && last.stream == stream
        {
            return Ok(last);
        }
        // The last ones were removed, or one has come since.
        let noted = self.noted(line).await?;
        Ok(Place {
            stream: last.map_or(stream, |last| last.stream),
            number: noted.number.max(last.unwrap_or_default().number),
        })
    }

    fn outgoing(&self, event: &Event) -> Result<Outgoing> {
        Ok(Outgoing {
            subject: self.names.event(event.topic()),
            number: event.sequence(),
            body: wire::write(event)?,
        })
    }

    async fn send_relayed(
        &self,
        line: Arc<Line>,
        part: &[Outgoing],
        end: Place,
        tried: &AtomicBool,
    ) -> Result<Sent, Failed> {
        let again = tried.swap(true, Ordering::Relaxed);
        let attempt = self.link.token();
        let mut acknowledgements = Vec::with_capacity(part.len());
        let mut before: Option<String> = None;
        for outgoing in part {
            let id = format!("{attempt}.{}", outgoing.number);
            let mut headers = HeaderMap::new();
            match before {
                None => headers.insert(NATS_EXPECTED_LAST_SEQUENCE, end.stream.to_string()),
                Some(before) => headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, before),
            }
            headers.insert(NATS_MESSAGE_ID, id.as_str());
            headers.insert(wire::SEQUENCE, outgoing.number.to_string());
            acknowledgements.push(ship(&line, &outgoing.subject, headers, &outgoing.body).await?);
            before = Some(id);
        }
        let mut reached = end;
        for (acknowledgement, outgoing) in acknowledgements.into_iter().zip(part) {
            match acknowledgement.await {
                Ok(ack) => {
                    line.answered();
                    reached = Place {
                        stream: ack.sequence,
                        number: outgoing.number,
                    };
                }
                Err(error) => match unpublished(error)? {
                    Refused::Id | Refused::Sequence => {
                        line.answered();
                        return Ok(if again {
                            Sent::Part(self.end_on(&line, Some(Feed::Relayed)).await?)
                        } else {
                            Sent::Overtaken
                        });
                    }
                },
            }
        }
        Ok(Sent::Whole(reached))
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    v: u8,
    #[serde(flatten)]
    end: Place,
}

impl Shared {
    /// How far a relay came when it noted that last.
    async fn noted(&self, line: &Line) -> Result<Place, Failed> {
        let found = self.last(line, &self.names.states, &self.names.relayed()).await?;
        let Some(found) = found else {
            return Ok(Place::default());
        };
        let note: Note = serde_json::from_slice(&found.body).map_err(|e| {
            Failed::Answered(
                Error::new(ErrorKind::Corrupt, "it cannot be read how far the relay came")
                    .with("subject", &found.subject)
                    .with_source(e),
            )
        })?;
        Ok(note.end)
    }

    async fn note(&self, end: Place) -> Result<()> {
        let note = serde_json::to_vec(&Note { v: 1, end })
            .map_err(|e| Error::new(ErrorKind::Internal, "a note could not be written").with_source(e))?;
        // One that is older and comes late says less than the events do.
        self.put(&self.names.relayed(), None, note.into()).await?;
        Ok(())
    }
}
