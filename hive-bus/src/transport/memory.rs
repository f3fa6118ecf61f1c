//! A log in memory, for tests and for what may go with the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hive_core::clock::{Clock, Timestamp};
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};

use super::{Change, DeadLetter, Found, Register, Transport};
use crate::event::{Event, NewEvent, Sequence};
use crate::limits;
use crate::live::Live;
use crate::topic::Patterns;

/// Events in this process's memory. Clones are the same transport; it is gone with the last.
///
/// It keeps the newest events, [`limits::MEMORY_EVENTS_MAX`] of them and [`limits::MEMORY_BYTES_MAX`] bytes: whoever is
/// further behind loses what was before.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    live: Live,
    state: Mutex<State>,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// In the order of their sequences.
    events: VecDeque<Event>,
    bytes: usize,
    last: Sequence,
    ids: HashMap<EventId, Sequence>,
    consumers: BTreeMap<String, Consumer>,
    /// The newest revision of any consumer.
    revisions: u64,
    /// Who feeds it, once anybody has.
    feed: Option<Feed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    Published,
    Relayed,
}

struct Consumer {
    register: Register,
    dead: BTreeMap<Sequence, DeadLetter>,
}

impl Consumer {
    fn new() -> Self {
        Self {
            register: Register::new(Vec::new(), 0),
            dead: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// An empty log, whose dates come from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                live: Live::new(Sequence::START),
                state: Mutex::default(),
                closed: AtomicBool::new(false),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock panics but for allocation.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<()> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::ShuttingDown, "the transport is closed"));
        }
        Ok(())
    }
}

impl State {
    fn fed(&mut self, by: Feed) -> Result<()> {
        if *self.feed.get_or_insert(by) == by {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "a transport is fed by a relay or by publishers, not by both",
        ))
    }

    fn push(&mut self, event: Event) {
        self.last = event.sequence();
        self.ids.insert(event.id(), event.sequence());
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > limits::MEMORY_EVENTS_MAX || self.bytes > limits::MEMORY_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.ids.remove(&oldest.id());
        }
    }

    fn find(&self, sequence: Sequence) -> Option<&Event> {
        let at = self.events.binary_search_by_key(&sequence, Event::sequence).ok()?;
        self.events.get(at)
    }
}

#[async_trait]
impl Transport for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        self.open()?;
        let mut state = self.state();
        state.fed(Feed::Published)?;
        let after = state.last;
        let mut sequences = Vec::with_capacity(events.len());
        let mut new = Vec::with_capacity(events.len());
        let published = events.into_iter().try_for_each(|event| {
            let (id, time, attributes) = event.into_parts()?;
            let known = state.ids.get(&id).and_then(|sequence| state.find(*sequence));
            sequences.push(match known {
                Some(known) => known.same_as(&attributes)?,
                None => {
                    let sequence = Sequence::new(state.last.get() + 1);
                    let event = Event::published(sequence, id, time, attributes);
                    state.push(event.clone());
                    new.push(event);
                    sequence
                }
            });
            Ok(())
        });
        // Under the lock, so that they are told in order; also when one failed, as those before it are there.
        self.inner.live.committed(after, new, state.last);
        published.map(|()| sequences)
    }

    async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found> {
        let state = self.state();
        let start = state.events.partition_point(|event| event.sequence() <= after);
        let mut events = Vec::new();
        let mut bytes = 0;
        for event in state.events.range(start..) {
            if patterns.matches(event.topic()) {
                bytes += event.bytes();
                events.push(event.clone());
                if events.len() >= limit || bytes >= limits::PAGE_BYTES_MAX {
                    let reached = event.sequence();
                    return Ok(Found::new(events, reached, reached == state.last));
                }
            }
        }
        Ok(Found::new(events, state.last.max(after), true))
    }

    async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>> {
        let state = self.state();
        Ok(sequences
            .iter()
            .filter_map(|sequence| state.find(*sequence).cloned())
            .collect())
    }

    async fn find(&self, id: EventId) -> Result<Option<Event>> {
        let state = self.state();
        let sequence = state.ids.get(&id);
        Ok(sequence.and_then(|sequence| state.find(*sequence).cloned()))
    }

    async fn head(&self) -> Result<Sequence> {
        Ok(self.state().last)
    }

    async fn before(&self, time: Timestamp) -> Result<Sequence> {
        let state = self.state();
        let first = state.events.iter().find(|event| event.time() >= time);
        Ok(first.map_or(state.last, |event| event.sequence().before()))
    }

    fn live(&self) -> &Live {
        &self.inner.live
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.inner.clock.now())
    }

    async fn load(&self, consumer: &str) -> Result<Option<Register>> {
        let state = self.state();
        Ok(state.consumers.get(consumer).map(|known| known.register.clone()))
    }

    async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>> {
        self.open()?;
        let mut state = self.state();
        let known = state.consumers.get(consumer);
        if known.map(|known| known.register.revision) != change.expected {
            return Ok(None);
        }
        // One count for all, so that none is given again to a consumer that is made after another of its name was removed.
        state.revisions += 1;
        let next = state.revisions;
        let known = state.consumers.entry(consumer.to_owned()).or_insert_with(Consumer::new);
        known.register = Register::new(change.state, next);
        for letter in change.dead {
            known.dead.insert(letter.event.sequence(), letter);
        }
        for sequence in change.revived {
            known.dead.remove(&sequence);
        }
        drop(state);
        if change.wake {
            self.inner.live.touch(consumer);
        }
        Ok(Some(next))
    }

    async fn remove(&self, consumer: &str) -> Result<bool> {
        let removed = self.state().consumers.remove(consumer).is_some();
        self.inner.live.touch(consumer);
        Ok(removed)
    }

    async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let state = self.state();
        let names = state.consumers.keys().filter(|name| name.as_str() > after);
        Ok(names.take(limit).cloned().collect())
    }

    async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        let state = self.state();
        let Some(known) = state.consumers.get(consumer) else {
            return Ok(Vec::new());
        };
        let from = Sequence::new(after.get().saturating_add(1));
        Ok(known
            .dead
            .range(from..)
            .take(limit)
            .map(|(_, letter)| letter.clone())
            .collect())
    }

    async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
        let state = self.state();
        let Some(known) = state.consumers.get(consumer) else {
            return Ok(Vec::new());
        };
        Ok(sequences
            .iter()
            .filter_map(|sequence| known.dead.get(sequence).cloned())
            .collect())
    }

    async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        let mut state = self.state();
        let Some(known) = state.consumers.get_mut(consumer) else {
            return Ok(0);
        };
        Ok(sequences
            .iter()
            .filter(|sequence| known.dead.remove(sequence).is_some())
            .count())
    }

    async fn relay(&self, events: Vec<Event>) -> Result<()> {
        self.open()?;
        let mut state = self.state();
        state.fed(Feed::Relayed)?;
        let after = state.last;
        let new: Vec<Event> = events.into_iter().filter(|event| event.sequence() > after).collect();
        for event in &new {
            state.push(event.clone());
        }
        self.inner.live.committed(after, new, state.last);
        Ok(())
    }

    async fn relayed(&self) -> Result<Sequence> {
        let state = self.state();
        Ok(match state.feed {
            Some(Feed::Relayed) => state.last,
            Some(Feed::Published) | None => Sequence::START,
        })
    }

    async fn close(&self) -> Result<()> {
        self.inner.live.close();
        self.inner.closed.store(true, Ordering::Release);
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Memory")
            .field("events", &state.events.len())
            .field("last", &state.last)
            .finish_non_exhaustive()
    }
}
