//! What is new: tells subscribers that something was committed, and keeps the newest events at hand for them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::event::{Event, Sequence};
use crate::limits;
use crate::topic::Pattern;

/// How far the log goes, as subscribers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: Sequence,
    /// No more subscriptions.
    pub(crate) closed: bool,
}

/// The publishers' side. Subscribers hold a receiver and the [`Recent`] events, but not this: when it goes, they end.
#[derive(Debug)]
pub(crate) struct Live {
    head: watch::Sender<Head>,
    recent: Arc<Recent>,
}

impl Live {
    pub(crate) fn new(sequence: Sequence) -> Self {
        Self {
            head: watch::Sender::new(Head {
                sequence,
                closed: false,
            }),
            recent: Arc::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> (watch::Receiver<Head>, Arc<Recent>) {
        (self.head.subscribe(), Arc::clone(&self.recent))
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.head.receiver_count() > 0
    }

    /// These events are on disk. They come in the order of their sequences.
    pub(crate) fn committed(&self, events: Vec<Event>) {
        let Some(last) = events.last().map(Event::sequence) else {
            return;
        };
        self.recent.push(events);
        self.committed_to(last);
    }

    /// Everything up to here is on disk; whoever wants it reads it there.
    pub(crate) fn committed_to(&self, last: Sequence) {
        self.head.send_if_modified(|head| {
            let grows = last > head.sequence;
            head.sequence = head.sequence.max(last);
            grows
        });
    }

    pub(crate) fn close(&self) {
        self.head
            .send_if_modified(|head| !std::mem::replace(&mut head.closed, true));
    }
}

/// The newest events, shared by all subscribers. It only saves queries: what is not here is in the database.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ring: RwLock<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Invariant: their sequences follow one another without a hole, so nobody who reads here can miss one.
    events: VecDeque<Event>,
    bytes: usize,
}

impl Recent {
    fn push(&self, events: Vec<Event>) {
        // A panic while the lock was held can only have come from allocation; the ring is whole between statements.
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            ring.push(event);
        }
    }

    /// Adds to `found` the events after `after` that match, as many as a page holds, and says up to where it looked.
    /// `None` when the event next to `after` is not here.
    pub(crate) fn read_after(
        &self,
        pattern: &Pattern,
        after: Sequence,
        found: &mut VecDeque<Event>,
    ) -> Option<Sequence> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.events.front()?.sequence().get();
        let start = after.get().checked_add(1)?.checked_sub(first)?;
        let mut reached = None;
        let mut bytes = 0;
        for event in ring
            .events
            .iter()
            .skip(usize::try_from(start).ok()?)
            .take(limits::PAGE_EVENTS_MAX)
        {
            reached = Some(event.sequence());
            if pattern.matches(event.topic()) {
                bytes += event.bytes();
                found.push_back(event.clone());
            }
            if bytes >= limits::PAGE_BYTES_MAX {
                break;
            }
        }
        reached
    }
}

impl Ring {
    fn push(&mut self, event: Event) {
        let follows = self
            .events
            .back()
            .is_none_or(|last| last.sequence() == event.sequence().before());
        if !follows {
            // Somebody committed what this ring was not told of. What came before it is not next to anything any more.
            self.events.clear();
            self.bytes = 0;
        }
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > limits::RECENT_EVENTS_MAX || self.bytes > limits::RECENT_BYTES_MAX {
            match self.events.pop_front() {
                Some(oldest) => self.bytes -= oldest.bytes(),
                None => break,
            }
        }
    }
}
