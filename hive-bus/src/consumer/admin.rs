//! Looking at consumers from outside, and changing them: pause, seek, dead letters.

use std::collections::HashMap;
use std::sync::Arc;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};

use super::driver::candidate;
use super::state::{Death, Hold, State};
use super::{Begin, Company, Order, too_busy};
use crate::event::{Event, Sequence};
use crate::limits;
use crate::topic::Patterns;
use crate::transport::{Change, DeadLetter, Transport};

/// How a consumer stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// What it listens to.
    pub patterns: Patterns,
    /// Everything that matches up to here was finished or is under way.
    pub cursor: Sequence,
    /// How far that is behind the end of the log, in sequences: at most so many events that match are still to come.
    pub lag: u64,
    /// Events that members have in hand.
    pub taken: usize,
    /// Events that were taken in and wait: to be tried again, or for one of the same key.
    pub waiting: usize,
    /// Whether nothing is handed out at present.
    pub paused: bool,
}

/// Works on consumers that need not be open in this process.
pub(crate) struct Admin<'a>(pub(crate) &'a Arc<Company>);

impl Admin<'_> {
    fn transport(&self) -> &dyn Transport {
        &*self.0.transport
    }

    pub(crate) async fn info(&self, name: &str) -> Result<ConsumerInfo> {
        let head = self.transport().head().await?;
        let (state, _) = self.load(name).await?;
        let taken = state
            .window()
            .values()
            .filter(|entry| matches!(entry.hold, Hold::Taken { .. }))
            .count();
        Ok(ConsumerInfo {
            name: name.to_owned(),
            lag: head.get().saturating_sub(state.cursor.get()),
            taken,
            waiting: state.window().len() - taken,
            paused: state.paused,
            cursor: state.cursor,
            patterns: state.patterns().clone(),
        })
    }

    /// Lets `change` change the state, again and again until nobody else has changed it meanwhile.
    pub(crate) async fn change<T>(&self, name: &str, mut change: impl FnMut(&mut State) -> T) -> Result<T> {
        for _ in 0..limits::CHANGE_TRIES_MAX {
            let (mut state, revision) = self.load(name).await?;
            let value = change(&mut state);
            let mut change = Change::new(Some(revision), state.to_bytes());
            change.wake = true;
            if self.transport().store(name, change).await?.is_some() {
                return Ok(value);
            }
        }
        Err(too_busy(name))
    }

    pub(crate) async fn seek(&self, name: &str, begin: Begin) -> Result<()> {
        let cursor = self.0.cursor(begin).await?;
        self.change(name, |state| state.seek(cursor)).await
    }

    pub(crate) async fn dead_letters(&self, name: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        let (state, _) = self.load(name).await?;
        let mut found = Vec::new();
        let mut after = after;
        let limit = limit.clamp(1, limits::DEAD_PAGE_MAX);
        loop {
            let page = self.transport().dead_letters(name, after, limit).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.event.sequence();
            // Those that were brought back stay on record until they are finished.
            let dead = page.into_iter().filter(|letter| {
                let entry = state.window().get(&letter.event.sequence());
                !entry.is_some_and(|entry| entry.letter)
            });
            found.extend(dead.take(limit - found.len()));
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// Brings these letters back; how many of them there are and there was room for.
    pub(crate) async fn redrive(&self, name: &str, sequences: &[Sequence]) -> Result<usize> {
        if sequences.len() > limits::DEAD_PAGE_MAX {
            return Err(Error::new(
                ErrorKind::LimitReached,
                "these are too many letters to bring back at once",
            )
            .with("letters", sequences.len())
            .with("limit", limits::DEAD_PAGE_MAX)
            .with_hint("bring them back a page at a time"));
        }
        let letters = self.transport().dead(name, sequences).await?;
        // The order is the members' business; one that keeps none does no harm with keys.
        let candidates: Vec<_> = letters
            .iter()
            .map(|letter| candidate(&letter.event, Order::ByKey))
            .collect();
        self.change(name, |state| state.redrive(&candidates, limits::IN_FLIGHT_MAX))
            .await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<bool> {
        self.transport().remove(name).await
    }

    pub(crate) async fn purge(&self, name: &str, sequences: &[Sequence]) -> Result<usize> {
        self.transport().purge(name, sequences).await
    }

    async fn load(&self, name: &str) -> Result<(State, u64)> {
        let register = self.transport().load(name).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no consumer of this name").with("consumer", name)
        })?;
        Ok((State::from_bytes(&register.state)?, register.revision))
    }
}

/// The letters of those that died, whole, as far as their events are still to be had.
pub(super) async fn letters(
    transport: &dyn Transport,
    consumer: &str,
    dead: &[Death],
    now: Timestamp,
) -> Result<Vec<DeadLetter>> {
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    let sequences: Vec<Sequence> = dead.iter().map(|death| death.sequence).collect();
    let mut events: HashMap<Sequence, Event> = HashMap::new();
    for event in transport.get(&sequences).await? {
        events.insert(event.sequence(), event);
    }
    for letter in transport.dead(consumer, &sequences).await? {
        events.entry(letter.event.sequence()).or_insert(letter.event);
    }
    let letter = |death: &Death| {
        let Some(event) = events.get(&death.sequence) else {
            tracing::warn!(
                consumer, sequence = %death.sequence, reason = %death.reason,
                "an event died whose original is gone; there is no letter of it"
            );
            return None;
        };
        let mishaps = death.mishaps.clone();
        Some(DeadLetter::new(
            event.clone(),
            death.reason,
            death.attempts,
            now,
            mishaps,
        ))
    };
    Ok(dead.iter().filter_map(letter).collect())
}
