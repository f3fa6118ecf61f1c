//! The bus on real databases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "postgres")]
mod chaos;
mod consumers;
mod crash;
mod history;
mod lag;
mod publish;
mod registry;
mod subscribe;
#[cfg(all(feature = "postgres", feature = "test-util"))]
mod transports;

use std::path::Path;
use std::sync::Arc;

use hive_bus::{Bus, Event, NewEvent, Query, Sequence};
use hive_core::clock::{ManualClock, Timestamp};
use hive_core::db::{Db, Options};
use hive_core::id::IdSource;
use hive_core::rng::SystemRng;
use tempfile::TempDir;

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

struct Fixture {
    db: Db,
    bus: Bus,
    clock: ManualClock,
    dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(NOW);
        let (db, bus) = open(&dir.path().join("hive.db"), &clock).await;
        Self { db, bus, clock, dir }
    }

    /// Publishes one event and returns its sequence.
    async fn publish(&self, topic: &'static str) -> Sequence {
        self.bus.publish(event(topic)).await.unwrap()
    }

    async fn all(&self) -> Vec<Event> {
        all(&self.bus, Query::new()).await
    }
}

async fn open(path: &Path, clock: &ManualClock) -> (Db, Bus) {
    let db = Db::open(Options::file(path).migrations(&hive_bus::MIGRATIONS))
        .await
        .unwrap();
    let ids = IdSource::new(Arc::new(clock.clone()), Arc::new(SystemRng));
    let bus = Bus::open(db.clone(), Arc::new(clock.clone()), ids).await.unwrap();
    (db, bus)
}

fn event(topic: &'static str) -> NewEvent {
    NewEvent::new("test", topic, &()).unwrap()
}

/// Every page of the answer.
async fn all(bus: &Bus, query: Query) -> Vec<Event> {
    let mut events = Vec::new();
    let mut cursor = None;
    loop {
        let query = cursor.map_or_else(|| query.clone(), |cursor| query.clone().after(cursor));
        let page = bus.history(query).await.unwrap();
        events.extend(page.events);
        cursor = page.next;
        if cursor.is_none() {
            return events;
        }
    }
}

fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence().get()).collect()
}
