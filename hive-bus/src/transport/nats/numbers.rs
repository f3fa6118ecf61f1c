//! From the sequences that events have to those that their messages have in the stream, and to single messages.
//!
//! They are the same where the stream is published to. Where it is relayed to, an event keeps the sequence that it has in the
//! database, and both only grow: so a message is found by halving, and mostly at once, because from one message to the next
//! the difference between the two seldom changes.

use std::sync::{MutexGuard, PoisonError};

use async_nats::HeaderMap;
use futures_util::{StreamExt, TryStreamExt, stream as streams};
use hive_core::clock::Timestamp;
use hive_errors::Result;

use super::link::Line;
use super::refusal::Failed;
use super::relay::{Feed, Place};
use super::stream::{self, Stored, Which};
use super::{Shared, wire};
use crate::event::{Event, Sequence};
use crate::limits;

impl Shared {
    pub(super) async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let feed = self.feed().await?;
        let found: Vec<Option<Event>> = streams::iter(sequences.to_vec())
            .map(|sequence| {
                self.link
                    .call(move |line| async move { self.one(&line, feed, sequence).await })
            })
            .buffered(limits::NATS_REQUESTS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn before(&self, time: Timestamp) -> Result<Sequence> {
        let feed = self.feed().await?;
        let late = |message: &Stored| self.event(message).is_some_and(|event| event.time() >= time);
        self.link
            .call(|line| async move {
                // Before it is looked for, so that nothing that comes meanwhile is passed over.
                let end = self.end_on(&line, feed).await?;
                let found = self.search(&line, None, late).await?;
                Ok(found.1.map_or(end.number, |message| number(&message).before()))
            })
            .await
    }

    /// The sequence in the stream from which on there is what comes after this one.
    pub(super) async fn position(&self, line: &Line, feed: Option<Feed>, after: Sequence) -> Result<u64, Failed> {
        match feed {
            Some(Feed::Relayed) if after > Sequence::START => {
                let guess = self.guess(after).saturating_add(1);
                let (position, _) = self
                    .search(line, Some(guess), |message| number(message) > after)
                    .await?;
                Ok(position)
            }
            Some(Feed::Relayed | Feed::Published) | None => Ok(after.get().saturating_add(1)),
        }
    }

    async fn one(&self, line: &Line, feed: Option<Feed>, sequence: Sequence) -> Result<Option<Event>, Failed> {
        let events = &self.names.events;
        let relayed = feed == Some(Feed::Relayed);
        let guess = if relayed { self.guess(sequence) } else { sequence.get() };
        if guess == 0 && !relayed {
            return Ok(None);
        }
        if guess > 0
            && let Some(found) = stream::get_direct(line, events, &Which::At(guess)).await?
            && number(&found) == sequence
        {
            return Ok(self.event(&found));
        }
        let found = if relayed {
            let position = self.position(line, feed, sequence.before()).await?;
            stream::get(line, events, &Which::From(position, &self.names.every_event())).await?
        } else if self.replicas > 1 {
            // Whoever answered may have been behind.
            stream::get(line, events, &Which::At(sequence.get())).await?
        } else {
            None
        };
        let found = found.filter(|message| number(message) == sequence);
        Ok(found.and_then(|message| self.event(&message)))
    }

    /// The first message from which on all are late, as if they were in that order; and where it would be if there is none.
    async fn search(
        &self,
        line: &Line,
        guess: Option<u64>,
        late: impl Fn(&Stored) -> bool,
    ) -> Result<(u64, Option<Stored>), Failed> {
        let every = self.names.every_event();
        let mut found = None;
        // Invariant: nothing before `low` is late, and the first message from `high` on is `found`, or there is none.
        let (mut low, mut high) = (
            1,
            stream::last_sequence(line, &self.names.events).await?.saturating_add(1),
        );
        let mut hints = [guess, None];
        let mut looks = 0_u32;
        while low < high {
            let hint = hints
                .iter_mut()
                .find_map(Option::take)
                .filter(|hint| (low..high).contains(hint));
            let middle = hint.unwrap_or(low + (high - low) / 2);
            looks += 1;
            let near = |sequence: u64| (looks <= 2 && guess.is_some()).then_some(sequence);
            match stream::get(line, &self.names.events, &Which::From(middle, &every)).await? {
                Some(message) if message.sequence < high && !late(&message) => {
                    low = message.sequence + 1;
                    hints = [near(low), None];
                }
                Some(message) if message.sequence < high => {
                    high = middle;
                    hints = [near(middle.saturating_sub(1)), None];
                    found = Some(message);
                }
                // All from here on have come since, or are beyond what is known to be late.
                Some(_) | None => high = middle,
            }
        }
        Ok((low, found))
    }

    /// Where the message of this event stands in the stream, if nothing is missing between here and the last one seen.
    fn guess(&self, sequence: Sequence) -> u64 {
        let Place { stream, number } = *self.seen();
        sequence.get().saturating_sub(number.get().saturating_sub(stream))
    }

    /// A message was seen there.
    pub(super) fn saw(&self, place: Place) {
        *self.seen() = place;
    }

    fn seen(&self) -> MutexGuard<'_, Place> {
        // Nothing panics while it holds the lock.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, message: &Stored) -> Option<Event> {
        self.readable(message.sequence, Some(&message.headers), &message.body)
    }

    /// The event in a message; `None` when it is none, which others may have put there: it is passed over, as everybody would
    /// wait behind it for ever.
    pub(super) fn readable(&self, sequence: u64, headers: Option<&HeaderMap>, body: &[u8]) -> Option<Event> {
        match wire::read(sequence, headers, body) {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::warn!(%error, stream = self.names.events, sequence, "a message that is not an event is passed over");
                None
            }
        }
    }
}

fn number(message: &Stored) -> Sequence {
    wire::number(message.sequence, Some(&message.headers))
}
