//! The bus: events go in, committed together with what they tell of, and come out again.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hive_core::clock::Clock;
use hive_core::db::{Db, Tx};
use hive_core::id::IdSource;
use hive_errors::{Error, ErrorKind, Result};

use crate::event::{Event, NewEvent, Sequence};
use crate::history::{self, Page, Query, Trace};
use crate::limits;
use crate::live::Live;
use crate::log;
use crate::subscription::Subscribe;
use crate::topic::Pattern;

/// The event bus of one database. Clones are cheap and are the same bus.
///
/// One process opens one bus per database and clones it: subscribers are told of what is published through their bus and
/// its clones, and would learn of another bus's events only with the next of their own.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    live: Arc<Live>,
}

/// What publishing one event came to.
enum Stored {
    New(Event),
    /// It was there already.
    Known(Sequence),
}

impl Bus {
    /// The bus of `db`, which was opened with [`MIGRATIONS`](crate::MIGRATIONS). The clock dates events and `ids` names them.
    ///
    /// # Errors
    /// `storage` when the table of events is missing or cannot be read.
    pub async fn open(db: Db, clock: Arc<dyn Clock>, ids: IdSource) -> Result<Self> {
        let head = db.read(log::head).await.map_err(|e| {
            if e.kind() == ErrorKind::Storage {
                e.with_hint("open the database with hive_bus::MIGRATIONS")
            } else {
                e
            }
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                clock,
                ids,
                live: Arc::new(Live::new(head)),
            }),
        })
    }

    /// Publishes an event and returns its sequence once it is on disk.
    ///
    /// With an id of its own ([`NewEvent::id`]), publishing it again writes nothing and returns the sequence it has.
    ///
    /// # Errors
    /// `invalid-input` and `payload-too-large` when it breaks a limit; `conflict` when another event has its id; whatever
    /// the database refuses. In each case nothing was written.
    ///
    /// # Cancel safety
    /// Dropped, the event may or may not be published. With an id of its own it can be published again.
    pub async fn publish(&self, event: impl Into<NewEvent>) -> Result<Sequence> {
        let event = event.into();
        event.check()?;
        let bus = self.clone();
        self.inner.db.write(move |tx| bus.store_one(tx, event.clone())).await
    }

    /// [`Bus::publish`] for many at once: one commit, all or nothing, sequences in the order given.
    ///
    /// # Errors
    /// As [`Bus::publish`]; also `limit-reached` above [`limits::BATCH_MAX`] events.
    ///
    /// # Cancel safety
    /// As [`Bus::publish`].
    pub async fn publish_all(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        check_all(&events)?;
        let bus = self.clone();
        self.inner.db.write(move |tx| bus.store_all(tx, events.clone())).await
    }

    /// Publishes an event in the caller's transaction: it is there if and only if the rest of the transaction is.
    /// Subscribers learn of it after the commit, and never if there is none.
    ///
    /// # Errors
    /// As [`Bus::publish`]. The transaction goes on unless the caller passes the error up.
    pub fn publish_in(&self, tx: &mut Tx<'_>, event: impl Into<NewEvent>) -> Result<Sequence> {
        let event = event.into();
        event.check()?;
        self.store_one(tx, event)
    }

    /// [`Bus::publish_in`] for many at once. The limits are checked before the first is written.
    ///
    /// # Errors
    /// As [`Bus::publish_all`]. When the database refuses one, those before it stay in the transaction unless the caller
    /// passes the error up.
    pub fn publish_all_in(&self, tx: &mut Tx<'_>, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        check_all(&events)?;
        self.store_all(tx, events)
    }

    /// Subscribes to the events that match `pattern`, such as `task.failed.>` or `*` for all. Await it:
    /// `bus.subscribe("task.>").await?` begins with what is published from now on,
    /// `bus.subscribe("task.>").after(cursor).await?` behind a cursor, with the past first.
    ///
    /// # Errors
    /// `invalid-input` when the pattern is none; whatever the database refuses.
    pub fn subscribe(&self, pattern: impl Into<Cow<'static, str>>) -> Subscribe {
        let (head, recent) = self.inner.live.subscribe();
        Subscribe {
            db: self.inner.db.clone(),
            head,
            recent,
            pattern: Pattern::new(pattern),
            after: None,
        }
    }

    /// One page of the past, oldest first; follow [`Page::next`] for more.
    ///
    /// # Errors
    /// `invalid-input` when the limit is out of bounds; whatever the database refuses.
    pub async fn history(&self, query: Query) -> Result<Page> {
        history::page(&self.inner.db, query).await
    }

    /// The events of one undertaking as a tree of causes. Empty when there are none.
    ///
    /// # Errors
    /// Whatever the database refuses.
    pub async fn trace(&self, correlation: impl fmt::Display) -> Result<Trace> {
        history::trace(&self.inner.db, correlation.to_string()).await
    }

    /// Ends every subscription, present and future, once it has handed out what is committed. Publishing goes on until
    /// the database is closed, so that a process can still tell how it ended.
    pub fn close(&self) {
        self.inner.live.close();
    }

    fn store_one(&self, tx: &mut Tx<'_>, event: NewEvent) -> Result<Sequence> {
        match self.store(tx, event)? {
            Stored::Known(sequence) => Ok(sequence),
            Stored::New(event) => {
                let sequence = event.sequence();
                self.announce(tx, vec![event]);
                Ok(sequence)
            }
        }
    }

    fn store_all(&self, tx: &mut Tx<'_>, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let mut sequences = Vec::with_capacity(events.len());
        let mut new = Vec::with_capacity(events.len());
        let stored = events.into_iter().try_for_each(|event| {
            sequences.push(match self.store(tx, event)? {
                Stored::Known(sequence) => sequence,
                Stored::New(event) => {
                    let sequence = event.sequence();
                    new.push(event);
                    sequence
                }
            });
            Ok(())
        });
        // Also when one failed: the caller may commit the others all the same.
        self.announce(tx, new);
        stored.map(|()| sequences)
    }

    fn store(&self, tx: &mut Tx<'_>, event: NewEvent) -> Result<Stored> {
        let NewEvent { id, time, attributes } = event;
        if let Some(id) = id
            && let Some(known) = log::find(tx, id)?
        {
            if *known.attributes() == attributes {
                return Ok(Stored::Known(known.sequence()));
            }
            return Err(
                Error::new(ErrorKind::Conflict, "another event with this id is published already")
                    .with("id", id)
                    .with("sequence", known.sequence())
                    .with_hint("an id belongs to one event for ever; leave it out to get a new one"),
            );
        }
        let id = id.unwrap_or_else(|| self.inner.ids.next());
        let time = time.unwrap_or_else(|| self.inner.clock.now());
        let sequence = log::insert(tx, id, time, &attributes)?;
        Ok(Stored::New(Event::published(sequence, id, time, attributes)))
    }

    fn announce(&self, tx: &mut Tx<'_>, events: Vec<Event>) {
        let Some(last) = events.last().map(Event::sequence) else {
            return;
        };
        let live = Arc::clone(&self.inner.live);
        if live.is_watched() {
            tx.on_commit(move || live.committed(events));
        } else {
            // Whoever subscribes before the commit reads it from the database.
            tx.on_commit(move || live.committed_to(last));
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("db", &self.inner.db)
            .field("live", &self.inner.live)
            .finish_non_exhaustive()
    }
}

fn check_all(events: &[NewEvent]) -> Result<()> {
    if events.len() > limits::BATCH_MAX {
        return Err(Error::new(ErrorKind::LimitReached, "the batch has too many events")
            .with("events", events.len())
            .with("limit", limits::BATCH_MAX)
            .with_hint("publish it in several batches"));
    }
    events.iter().try_for_each(NewEvent::check)
}
