//! Following the stream while somebody waits for events: a consumer on the server sends every new one by itself.
//!
//! What comes is counted. Where the count has a gap, or the server is silent for longer than its heartbeats allow, the consumer
//! is given up and the next one begins where this one was, so nothing is missed and nothing comes twice. Heartbeats are all that
//! a quiet stream costs; where nobody waits there is no consumer.

use std::sync::Arc;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};
use hive_core::clock::timeout;
use hive_errors::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;

use super::link::Line;
use super::reader::Delivery;
use super::refusal::{Failed, away, refused};
use super::relay::{Feed, Place};
use super::{Shared, wire};
use crate::event::Event;
use crate::limits;

const LAST_DELIVERY: &str = "Nats-Last-Consumer";
const STALLED: &str = "Nats-Consumer-Stalled";

/// Tells who waits of what comes, until it is ended. One per transport.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut told = None;
    let mut failures = 0;
    loop {
        shared.live.watched().await;
        let before = told;
        let Err(error) = shared.session(&mut told).await else {
            failures = 0;
            continue;
        };
        failures = if told == before { failures + 1 } else { 1 };
        if error.kind() != ErrorKind::ShuttingDown {
            tracing::warn!(%error, failures, "the stream of events cannot be followed; trying again");
        }
        shared.link.clock().sleep(shared.link.backoff(failures)).await;
    }
}

/// A consumer that sends what comes, and whoever tells of changes of consumers' states.
struct Session {
    line: Arc<Line>,
    /// What the server calls the consumer.
    name: String,
    events: Subscriber,
    changes: Subscriber,
    /// How many messages came.
    delivered: u64,
    /// Where the last one stands.
    place: Place,
}

impl Shared {
    /// Follows from where somebody was told last, until nobody waits any more.
    async fn session(&self, told: &mut Option<Place>) -> Result<()> {
        let feed = self.feed().await?;
        let after = *told;
        let mut session = self.link.call(|line| self.begin(line, feed, after)).await?;
        *told = Some(session.place);
        // What was changed before it was listened for.
        self.live.touch_all();
        let clock = self.link.clock();
        let (mut heard, mut answers) = (clock.monotonic(), session.line.answers());
        loop {
            let patience = (heard + limits::NATS_HEARTBEATS_PATIENCE).saturating_sub(clock.monotonic());
            let first = tokio::select! {
                first = timeout(clock, patience, session.events.next()) => first,
                Some(change) = session.changes.next() => {
                    if let Some(consumer) = self.names.changed_consumer(&change.subject) {
                        self.live.touch(&consumer);
                    }
                    continue;
                }
            };
            let first = match first {
                Ok(Some(first)) => first,
                Ok(None) => return Err(broken("the connection to the nats server broke")),
                Err(_) => {
                    if session.line.answers() == answers {
                        // Nobody else hears anything on it either.
                        self.link.give_up(&session.line);
                    }
                    return Err(broken("the nats server sends no heartbeats any more"));
                }
            };
            session.line.answered();
            (heard, answers) = (clock.monotonic(), session.line.answers());
            self.tell(&mut session, first).await?;
            *told = Some(session.place);
            if !self.live.is_watched() {
                session.end(&self.names.events).await;
                return Ok(());
            }
        }
    }

    async fn begin(&self, line: Arc<Line>, feed: Option<Feed>, told: Option<Place>) -> Result<Session, Failed> {
        #[derive(Deserialize)]
        struct Made {
            name: String,
        }
        let client = line.client();
        let changes = client.subscribe(self.names.every_change()).await.map_err(away)?;
        let end = self.end_on(&line, feed).await?;
        let near = |told: &Place| {
            let behind = end.stream.checked_sub(told.stream);
            behind.is_some_and(|behind| behind <= limits::NATS_FOLLOW_BEHIND)
        };
        let place = told.filter(near).unwrap_or(end);
        let inbox = client.new_inbox();
        let events = client.subscribe(inbox.clone()).await.map_err(away)?;
        let stream = &self.names.events;
        let request = json!({
            "stream_name": stream,
            "config": {
                "deliver_subject": inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": place.stream.saturating_add(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "filter_subject": self.names.every_event(),
                "flow_control": true,
                "idle_heartbeat": limits::NATS_HEARTBEAT.as_nanos(),
                "inactive_threshold": limits::NATS_READER_IDLE.as_nanos(),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        let made = line.ask(format!("CONSUMER.CREATE.{stream}"), &request).await?;
        let Made { name } = made.map_err(refused)?;
        // Everybody who waits looks for themselves at what was passed over.
        self.live.committed_to(place.number);
        Ok(Session {
            line,
            name,
            events,
            changes,
            delivered: 0,
            place,
        })
    }

    /// Tells of the events in a message and in those that have come with it.
    async fn tell(&self, session: &mut Session, first: Message) -> Result<()> {
        let (after, mut bytes) = (session.place.number, 0);
        let mut events = Vec::new();
        let mut next = Some(first);
        let mut taken = Ok(());
        while let Some(message) = next {
            match self.take(session, message).await {
                Ok(event) => {
                    bytes += event.as_ref().map_or(0, Event::bytes);
                    events.extend(event);
                }
                Err(error) => {
                    taken = Err(error);
                    break;
                }
            }
            let room = events.len() < limits::FOLLOW_EVENTS && bytes < limits::PAGE_BYTES_MAX;
            next = if room {
                session.events.next().now_or_never().flatten()
            } else {
                None
            };
        }
        if session.place.number > after {
            self.live.committed(after, events, session.place.number);
        }
        taken
    }

    async fn take(&self, session: &mut Session, message: Message) -> Result<Option<Event>> {
        match message.status {
            None => {}
            Some(StatusCode::IDLE_HEARTBEAT) => {
                session.beat(&message).await?;
                return Ok(None);
            }
            Some(status) => {
                let told = message.description.unwrap_or_default();
                return Err(broken("the consumer on the nats server ended").with("status", format!("{status} {told}")));
            }
        }
        let delivery = Delivery::of(&message).filter(|delivery| delivery.consumer == session.delivered + 1);
        let delivery = delivery.ok_or_else(|| broken("an event was lost on the way from the nats server"))?;
        session.delivered = delivery.consumer;
        session.place = Place {
            stream: delivery.stream,
            number: wire::number(delivery.stream, message.headers.as_ref()),
        };
        Ok(self.readable(delivery.stream, message.headers.as_ref(), &message.payload))
    }
}

impl Session {
    /// The server says that it is there, or asks whether we are.
    async fn beat(&self, message: &Message) -> Result<()> {
        let header = |name: &'static str| {
            let headers: Option<&HeaderMap> = message.headers.as_ref();
            headers
                .and_then(|headers| headers.get(name))
                .map(|value| value.as_str().to_owned())
        };
        let stalled = header(STALLED);
        if let Some(answer) = message.reply.as_ref().map(|reply| reply.to_string()).or(stalled) {
            let answered = self.line.client().publish(answer, bytes::Bytes::new()).await;
            answered.map_err(|e| broken("the connection to the nats server broke").with_source(e))?;
        }
        let last = header(LAST_DELIVERY).and_then(|digits| digits.parse().ok());
        if last.is_some_and(|last: u64| last != self.delivered) {
            return Err(broken("an event was lost on the way from the nats server"));
        }
        Ok(())
    }

    /// Ends the consumer; without that, the server forgets it in a while.
    async fn end(self, stream: &str) {
        let ended: Result<Result<serde_json::Value, _>, _> = self
            .line
            .ask(format!("CONSUMER.DELETE.{stream}.{}", self.name), &json!({}))
            .await;
        if let Err(error) = ended {
            tracing::debug!(?error, "a consumer was left to the nats server");
        }
    }
}

fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::Storage, what)
}
