//! The table of events as a transport.

#[cfg(feature = "postgres")]
mod follow;
mod letter;
mod publish;

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use hive_core::clock::{Clock, Timestamp};
use hive_core::db::{Db, Dialect, Snapshot, Tx, Write};
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};

#[cfg(feature = "postgres")]
use self::follow::Follower;
#[cfg(feature = "postgres")]
use self::publish::known;
use self::publish::{Batch, Written};
use super::{Change, DeadLetter, Found, Register, Transport};
use crate::event::{Event, NewEvent, Sequence};
use crate::live::Live;
use crate::log::{self, Filter};
use crate::topic::Patterns;

/// Who hears of a change of a consumer's state.
const CHANGED: &str = "hive_bus_consumer";

/// Says behind which event everything is needed still, if any is.
pub(crate) type Keeper = Arc<dyn Fn(&Snapshot<'_>) -> Result<Option<Sequence>> + Send + Sync>;

/// The events of one database, SQLite or PostgreSQL. Clones are the same transport.
///
/// It is the truth behind every other transport: what is published here is on disk, together with the caller's own writes if
/// it likes.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    live: Live,
    keeper: OnceLock<Keeper>,
    #[cfg(feature = "postgres")]
    follower: Option<Follower>,
}

impl Database {
    /// The events of `db`, which was opened with [`MIGRATIONS`](crate::MIGRATIONS).
    ///
    /// # Errors
    /// `storage` when the tables are missing or cannot be read.
    pub async fn open(db: Db, clock: Arc<dyn Clock>) -> Result<Self> {
        let untold = |e: Error| {
            if e.kind() == ErrorKind::Storage {
                e.with_hint("open the database with hive_bus::MIGRATIONS")
            } else {
                e
            }
        };
        #[cfg(feature = "postgres")]
        if db.dialect() != Dialect::Sqlite {
            let live = Live::new(Sequence::START);
            let follower = Follower::begin(db.clone(), Arc::clone(&clock), live.clone()).await;
            return Ok(Self::of(Inner {
                db,
                clock,
                live,
                keeper: OnceLock::new(),
                follower: Some(follower.map_err(untold)?),
            }));
        }
        let head = db.read(log::head).await.map_err(untold)?;
        Ok(Self::of(Inner {
            db,
            clock,
            live: Live::new(head),
            keeper: OnceLock::new(),
            #[cfg(feature = "postgres")]
            follower: None,
        }))
    }

    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    /// From now on retention asks `keeper`; `false` when it asks another already.
    pub(crate) fn keep_behind(&self, keeper: Keeper) -> bool {
        self.inner.keeper.set(keeper).is_ok()
    }

    pub(crate) fn keeper(&self) -> Option<Keeper> {
        self.inner.keeper.get().cloned()
    }

    /// Writes events in the caller's transaction, in this order.
    ///
    /// # Errors
    /// `conflict` when another event has one of the ids. The others are in the transaction all the same, and nobody is told of
    /// them: the caller has to undo them.
    pub(crate) fn publish_in(&self, tx: &mut Tx<'_>, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        self.write(tx, &Batch::of(events)?)
    }

    fn write(&self, tx: &mut Tx<'_>, batch: &Batch) -> Result<Vec<Sequence>> {
        let Written { sequences, new, last } = batch.write(tx, self.inner.live.is_watched())?;
        if let Some(last) = last {
            self.announce(tx, new, last);
        }
        Ok(sequences)
    }

    /// Writes one event, together with those of other publishers.
    #[cfg(feature = "postgres")]
    async fn append(&self, follower: &Follower, event: NewEvent) -> Result<Sequence> {
        let (id, time, attributes) = event.into_parts()?;
        let row = log::row(id, time, &attributes);
        match self.inner.db.append_returning(&log::EVENTS, row).await? {
            Some(key) => {
                let sequence = log::sequence_of(key)?;
                follower.offer(vec![Event::published(sequence, id, time, attributes)]);
                Ok(sequence)
            }
            None => self.inner.db.read(move |db| known(db, id, &attributes)).await,
        }
    }

    /// Publishes the events of dead letters anew, each at the end of the log and with the id that it had, and throws the letters
    /// away; how many there were.
    pub(crate) fn publish_letters_in(&self, tx: &mut Tx<'_>, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        let letters = letter::find(tx, consumer, sequences)?;
        let count = letters.len();
        let mut events = Vec::with_capacity(count);
        for letter in letters {
            log::remove(tx, letter.event.id())?;
            events.push(NewEvent::from(letter.event));
        }
        self.publish_in(tx, events)?;
        letter::purge(tx, consumer, sequences)?;
        Ok(count)
    }

    /// The greatest sequence that was ever given.
    pub(crate) async fn last_given(&self) -> Result<Sequence> {
        self.inner.db.read(log::last_given).await
    }

    /// Reads what `filter` wants, up to what is settled.
    pub(crate) async fn read_filtered(&self, filter: Filter, after: Sequence, limit: usize) -> Result<Found> {
        let end = self.settled().await?;
        self.inner
            .db
            .read(move |db| {
                let end = end.map_or_else(|| log::head(db), Ok)?;
                log::read_after(db, &filter, after, end, limit)
            })
            .await
    }

    /// Reads what `filter` wants, newest first, from `until` or the end of what is settled.
    pub(crate) async fn read_back(&self, filter: Filter, until: Option<Sequence>, limit: usize) -> Result<Found> {
        let end = self.settled().await?;
        self.inner
            .db
            .read(move |db| {
                let end = end.map_or_else(|| log::head(db), Ok)?;
                log::read_before(db, &filter, until.map_or(end, |until| until.min(end)), limit)
            })
            .await
    }

    /// Counts what `filter` wants, up to what is settled: how much, up to where, and whether that is the end.
    pub(crate) async fn count(&self, filter: Filter, after: Sequence) -> Result<(u64, Sequence, bool)> {
        let end = self.settled().await?;
        self.inner
            .db
            .read(move |db| {
                let end = end.map_or_else(|| log::head(db), Ok)?;
                log::count_after(db, &filter, after, end)
            })
            .await
    }

    /// Up to where the log may be read; `None` where that is its end.
    async fn settled(&self) -> Result<Option<Sequence>> {
        #[cfg(feature = "postgres")]
        if let Some(follower) = &self.inner.follower {
            let head = self.inner.live.head();
            // Nobody is told any more of what comes, so whoever reads sees for itself.
            return if head.closed {
                follower.settle().await.map(Some)
            } else {
                Ok(Some(head.sequence))
            };
        }
        Ok(None)
    }

    /// Lets it be known that `last` and what is before it was written, once it is committed. `events` are those, or none.
    fn announce(&self, tx: &mut Tx<'_>, events: Vec<Event>, last: Sequence) {
        #[cfg(feature = "postgres")]
        if self.inner.follower.is_some() {
            if !events.is_empty() {
                let inner = Arc::clone(&self.inner);
                tx.on_commit(move || {
                    if let Some(follower) = &inner.follower {
                        follower.offer(events);
                    }
                });
            }
            return tx.notify(log::PUBLISHED);
        }
        let live = self.inner.live.clone();
        match events.first().map(Event::sequence) {
            // One writes at a time, so whatever has a lower sequence is committed, too.
            Some(first) => tx.on_commit(move || live.committed(first.before(), events, last)),
            // Whoever waits from now on reads it from the table.
            None => tx.on_commit(move || live.committed_to(last)),
        }
    }
}

/// A consumer's state, in the caller's transaction.
pub(crate) fn load_in(db: &Snapshot<'_>, consumer: &str) -> Result<Option<Register>> {
    letter::load(db, consumer)
}

/// Replaces a consumer's state in the caller's transaction.
pub(crate) fn store_in(tx: &mut Tx<'_>, consumer: &str, change: &Change) -> Result<Option<u64>> {
    letter::store(tx, consumer, change)
}

/// The names and states of all consumers.
pub(crate) fn states_in(db: &Snapshot<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    letter::states(db)
}

/// [`states_in`], which nobody changes until the transaction has ended.
pub(crate) fn states_held_in(tx: &mut Tx<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    letter::states_held(tx)
}

#[async_trait]
impl Transport for Database {
    fn name(&self) -> &'static str {
        if self.inner.db.dialect() == Dialect::Sqlite {
            "sqlite"
        } else {
            "postgres"
        }
    }

    async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        #[cfg(feature = "postgres")]
        if let (Some(follower), 1) = (&self.inner.follower, events.len()) {
            let mut sequences = Vec::with_capacity(1);
            for event in events {
                sequences.push(self.append(follower, event).await?);
            }
            return Ok(sequences);
        }
        let (database, batch) = (self.clone(), Batch::of(events)?);
        let work = move |tx: &mut Tx<'_>| database.write(tx, &batch);
        // What is there already is found whoever wrote it, also when that was a moment ago.
        self.inner.db.write_with(Write::durable().read_committed(), work).await
    }

    async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found> {
        let filter = Filter {
            topics: Some(patterns.clone()),
            ..Filter::default()
        };
        self.read_filtered(filter, after, limit).await
    }

    async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>> {
        let sequences = sequences.to_vec();
        self.inner.db.read(move |db| log::get(db, &sequences)).await
    }

    async fn find(&self, id: EventId) -> Result<Option<Event>> {
        self.inner.db.read(move |db| log::find(db, id)).await
    }

    async fn head(&self) -> Result<Sequence> {
        #[cfg(feature = "postgres")]
        if let Some(follower) = &self.inner.follower {
            return follower.settle().await;
        }
        // A snapshot holds every write acknowledged before it.
        self.inner.db.read(log::head).await
    }

    async fn before(&self, time: Timestamp) -> Result<Sequence> {
        let end = self.head().await?;
        self.inner.db.read(move |db| log::before(db, time, end)).await
    }

    fn live(&self) -> &Live {
        &self.inner.live
    }

    async fn now(&self) -> Result<Timestamp> {
        if self.inner.db.dialect() == Dialect::Sqlite {
            return Ok(self.inner.clock.now());
        }
        self.inner.db.read(|db| db.now()).await
    }

    async fn load(&self, consumer: &str) -> Result<Option<Register>> {
        let consumer = consumer.to_owned();
        self.inner.db.read(move |db| letter::load(db, &consumer)).await
    }

    async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>> {
        let (consumer, wake) = (consumer.to_owned(), change.wake);
        let live = self.inner.live.clone();
        let asked = if change.relaxed {
            Write::relaxed()
        } else {
            Write::durable()
        };
        let work = move |tx: &mut Tx<'_>| {
            let stored = letter::store(tx, &consumer, &change)?;
            if stored.is_some() && wake {
                let (live, consumer) = (live.clone(), consumer.clone());
                tx.on_commit(move || live.touch(&consumer));
                tx.notify(CHANGED);
            }
            Ok(stored)
        };
        // Every statement is guarded by the revision, or changes nothing when it is run again.
        self.inner.db.write_with(asked.read_committed(), work).await
    }

    async fn remove(&self, consumer: &str) -> Result<bool> {
        let consumer = consumer.to_owned();
        let live = self.inner.live.clone();
        let work = move |tx: &mut Tx<'_>| {
            let (live, name) = (live.clone(), consumer.clone());
            tx.on_commit(move || live.touch(&name));
            tx.notify(CHANGED);
            letter::remove(tx, &consumer)
        };
        self.inner.db.write(work).await
    }

    async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let after = after.to_owned();
        self.inner.db.read(move |db| letter::consumers(db, &after, limit)).await
    }

    async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        let consumer = consumer.to_owned();
        let work = move |db: &Snapshot<'_>| letter::page(db, &consumer, after, limit);
        self.inner.db.read(work).await
    }

    async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
        let (consumer, sequences) = (consumer.to_owned(), sequences.to_vec());
        let work = move |db: &Snapshot<'_>| letter::find(db, &consumer, &sequences);
        self.inner.db.read(work).await
    }

    async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        let (consumer, sequences) = (consumer.to_owned(), sequences.to_vec());
        let work = move |tx: &mut Tx<'_>| letter::purge(tx, &consumer, &sequences);
        self.inner.db.write(work).await
    }

    async fn relay(&self, _events: Vec<Event>) -> Result<()> {
        Err(not_relayed())
    }

    async fn relayed(&self) -> Result<Sequence> {
        Err(not_relayed())
    }

    fn is_exclusive(&self) -> bool {
        self.inner.db.dialect() == Dialect::Sqlite
    }

    async fn close(&self) -> Result<()> {
        self.inner.live.close();
        #[cfg(feature = "postgres")]
        if let Some(follower) = &self.inner.follower {
            follower.end().await;
        }
        Ok(())
    }
}

fn not_relayed() -> Error {
    Error::new(ErrorKind::InvalidInput, "events are not relayed to a database")
        .with_hint("a relay takes events from a database to another transport; publish here instead")
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("db", &self.inner.db)
            .field("live", &self.inner.live)
            .finish()
    }
}
