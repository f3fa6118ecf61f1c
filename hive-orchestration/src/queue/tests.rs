//! Every verb of a run is fenced, and no statement looks at rows that it does not want.

mod budget;
mod depth;
mod events;
mod fences;
mod model;
mod mutants;
mod plans;

use std::sync::Arc;

use hive_bus::Bus;
use hive_core::clock::{Clock, SystemClock};
use hive_core::db::{Db, Options};
use hive_core::id::IdSource;
use hive_core::payload::Payload;
use hive_core::rng::{Rng, SeededRng};
use hive_core::testing::TestDb;

use super::claim::{Claimed, Room};
use super::pick::Turns;
use super::submit::NewTask;
use super::{Queue, claim, recover, submit};
use crate::family::review::Review;
use crate::tables;

/// A queue on a database of its own, without anybody who works.
pub(super) struct Bench {
    pub(super) db: Db,
    pub(super) queue: Queue,
    _place: Arc<TestDb>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::on(TestDb::sqlite()).await
    }

    pub(super) async fn on(place: TestDb) -> Self {
        Self::by(place, Arc::new(SystemClock)).await
    }

    /// Another process on the same database.
    #[cfg(feature = "postgres")]
    async fn beside(&self) -> Self {
        let options = self._place.options();
        let options = options
            .migrations(&hive_bus::MIGRATIONS)
            .migrations(&tables::MIGRATIONS);
        Self::open(options, Arc::clone(&self._place), Arc::clone(&self.queue.clock)).await
    }

    async fn by(place: TestDb, clock: Arc<dyn Clock>) -> Self {
        let options = place
            .options()
            .clock(clock.clone())
            .migrations(&hive_bus::MIGRATIONS)
            .migrations(&tables::MIGRATIONS);
        Self::open(options, Arc::new(place), clock).await
    }

    async fn open(options: Options, place: Arc<TestDb>, clock: Arc<dyn Clock>) -> Self {
        let db = Db::open(options).await.unwrap();
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(7));
        let ids = IdSource::new(clock.clone(), rng.clone());
        let bus = Bus::open(db.clone(), clock.clone(), ids.clone()).await.unwrap();
        let queue = Queue::new(bus, clock, rng, ids, Arc::default());
        // Not the first epoch, so that there is one before.
        for _ in 0..3 {
            let opening = queue.clone();
            let epoch = super::write(&db, move |tx| recover::begin_epoch(tx, &opening)).await;
            queue.enter(epoch.unwrap());
        }
        Self {
            db,
            queue,
            _place: place,
        }
    }

    /// A task that runs, for the third time.
    async fn running(&self) -> Claimed {
        let queue = self.queue.clone();
        self.db
            .write(move |tx| {
                submit::submit(tx, &queue, &task())?;
                let mut claimed = claim::claim(tx, &queue, &room(1), &Turns::default())?.tasks;
                for _ in 0..2 {
                    tx.execute("UPDATE task SET state = 1 WHERE state = 2", &[])?;
                    claimed = claim::claim(tx, &queue, &room(1), &Turns::default())?.tasks;
                }
                Ok(claimed.remove(0))
            })
            .await
            .unwrap()
    }
}

fn task() -> NewTask {
    let id = IdSource::system().next();
    NewTask {
        record: Some(Arc::new(Review::of("hive/hive", "abc123").into())),
        ..NewTask::new(id, "agent", "default", Payload::encode(&1, 100).unwrap())
    }
}

fn room(total: usize) -> Room {
    Room {
        total,
        agents: vec![("agent".to_owned(), total)],
        ..Room::default()
    }
}
