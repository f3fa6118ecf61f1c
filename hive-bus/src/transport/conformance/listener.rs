//! Somebody who listens: waits for news, and reads what came.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::Interest;
use crate::topic::Patterns;
use crate::transport::Transport;

/// Follows a log as subscriptions and consumers do: what is at hand from [`Live::recent`](crate::Live::recent), the rest from
/// [`Transport::read`].
pub(super) struct Listener {
    transport: Arc<dyn Transport>,
    interest: Interest,
    patterns: Patterns,
    cursor: Sequence,
    found: VecDeque<Event>,
}

impl Listener {
    /// Begins with what is published from now on.
    pub(super) async fn begin(transport: &Arc<dyn Transport>, patterns: Patterns) -> Self {
        let interest = transport.live().interest(&patterns, None);
        let cursor = transport.head().await.expect("the end of the log is told");
        Self {
            transport: Arc::clone(transport),
            interest,
            patterns,
            cursor,
            found: VecDeque::new(),
        }
    }

    /// Begins with the oldest event.
    pub(super) async fn from_start(transport: &Arc<dyn Transport>, patterns: Patterns) -> Self {
        let mut listener = Self::begin(transport, patterns).await;
        listener.cursor = Sequence::START;
        listener
    }

    /// The next event that matches; waits for it.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.found.pop_front() {
                return event;
            }
            self.interest.take();
            let head = self.transport.live().head().sequence;
            if head > self.cursor {
                self.turn(head).await;
            } else {
                self.interest.woken().await;
            }
        }
    }

    /// The next events that match, so many of them.
    pub(super) async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            events.push(self.next().await);
        }
        events
    }

    async fn turn(&mut self, head: Sequence) {
        let limit = limits::PAGE_EVENTS_MAX;
        let (events, reached) = match self.transport.live().recent(&self.patterns, self.cursor, limit) {
            Some(found) => found,
            None => {
                let read = self.transport.read(&self.patterns, self.cursor, limit).await;
                let page = read.expect("a page is read");
                let reached = if page.ended {
                    page.reached.max(head)
                } else {
                    page.reached
                };
                (page.events, reached)
            }
        };
        let cursor = self.cursor;
        assert!(
            reached > cursor,
            "what is behind {cursor} cannot be reached, up to {head}"
        );
        for event in &events {
            let sequence = event.sequence();
            assert!(
                sequence > cursor && sequence <= reached,
                "{sequence} was found between {cursor} and {reached}"
            );
        }
        self.found.extend(events);
        self.cursor = reached;
    }
}
