//! Reading from a cursor.
//!
//! Readers are kept for a while where they stand, because making one takes as long as reading a page. What they hand out is
//! counted, and when one says that there is no more, the stream itself is asked: a cursor never passes an event on the word of a
//! consumer alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hive_errors::Result;

use super::link::Line;
use super::reader::Reader;
use super::refusal::Failed;
use super::relay::{Feed, Place};
use super::stream::{self, Which};
use super::{Shared, wire};
use crate::event::{Event, Sequence};
use crate::limits;
use crate::topic::Patterns;
use crate::transport::Found;

/// Readers that nobody uses at the moment, the newest last.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<VecDeque<Reader>>,
}

/// What is looked for, and how much of it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    patterns: &'a Patterns,
    after: Sequence,
    limit: usize,
}

impl Readers {
    /// One that stands at this cursor or shortly before it.
    fn take(&self, filter: &str, after: Sequence) -> Option<Reader> {
        // Nothing panics while it holds the lock.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let near = |reader: &Reader| {
            let behind = after.get().checked_sub(reader.reached.get());
            reader.filter == filter && behind.is_some_and(|behind| behind <= limits::NATS_READER_BEHIND)
        };
        let (at, _) = idle
            .iter()
            .enumerate()
            .filter(|(_, reader)| near(reader))
            .max_by_key(|(_, reader)| reader.reached)?;
        idle.remove(at)
    }

    fn keep(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Those on a connection that was given up only keep it.
        idle.retain(|other| other.is_beside(&reader));
        idle.push_back(reader);
        if idle.len() > limits::NATS_READERS_MAX {
            idle.pop_front();
        }
    }

    pub(super) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    pub(super) async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found> {
        let feed = self.feed().await?;
        let filter = &*self.names.filter(patterns);
        let wanted = Wanted {
            patterns,
            after,
            limit: limit.max(1),
        };
        let kept = Mutex::new(self.readers.take(filter, after));
        let read = |line: Arc<Line>| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                let mut reader = match kept.filter(|kept| kept.is_fit(&line)) {
                    Some(reader) => reader,
                    None => {
                        let end = self.end_on(&line, feed).await?;
                        if wanted.after >= end.number {
                            return Ok(Found::new(Vec::new(), wanted.after, true));
                        }
                        let next = self.position(&line, feed, wanted.after).await?;
                        self.reader(&line, filter.to_owned(), next, wanted.after).await?
                    }
                };
                let found = self.page(&line, &mut reader, feed, wanted).await?;
                if reader.is_fit(&line) {
                    self.readers.keep(reader);
                }
                Ok(found)
            }
        };
        self.link.call(read).await
    }

    async fn page(
        &self,
        line: &Line,
        reader: &mut Reader,
        feed: Option<Feed>,
        wanted: Wanted<'_>,
    ) -> Result<Found, Failed> {
        let mut events: Vec<Event> = Vec::new();
        let (mut bytes, mut looked) = (0, 0);
        while let Some(message) = reader.next(&self.link).await? {
            looked += 1;
            if reader.reached <= wanted.after {
                continue;
            }
            let event = self.readable(reader.next - 1, message.headers.as_ref(), &message.payload);
            if let Some(event) = event.filter(|event| wanted.patterns.matches(event.topic())) {
                bytes += event.bytes();
                events.push(event);
            }
            if events.len() >= wanted.limit || bytes >= limits::PAGE_BYTES_MAX || looked >= limits::NATS_LOOKS_MAX {
                self.saw(reader.place());
                return Ok(Found::new(events, reader.reached, false));
            }
        }
        // It says that there is no more. Whatever was there at this end is behind it, or is found now.
        let end = self.end_on(line, feed).await?;
        if end.stream >= reader.next {
            let which = Which::From(reader.next, &reader.filter);
            if let Some(message) = stream::get(line, &self.names.events, &which).await? {
                let place = Place {
                    stream: message.sequence,
                    number: wire::number(message.sequence, Some(&message.headers)),
                };
                reader.break_off();
                let event = self.readable(message.sequence, Some(&message.headers), &message.body);
                events.extend(
                    event.filter(|event| event.sequence() > wanted.after && wanted.patterns.matches(event.topic())),
                );
                return Ok(Found::new(events, place.number.max(wanted.after), false));
            }
        }
        reader.passed(end);
        self.saw(end);
        Ok(Found::new(
            events,
            end.number.max(reader.reached).max(wanted.after),
            true,
        ))
    }
}
