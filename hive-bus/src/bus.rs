//! The bus: events go in, committed together with what they tell of, and come out again.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hive_core::clock::Clock;
use hive_core::db::{Db, Snapshot, Tx};
use hive_core::id::{EventId, IdSource};
use hive_core::shutdown::{Shutdown, TaskSet};
use hive_errors::{Error, ErrorKind, Result};

use crate::consumer::{Admin, Begin, Company, Consume, ConsumerInfo};
use crate::event::{Event, NewEvent, Sequence};
use crate::history::{self, Page, Query, Trace};
use crate::limits;
use crate::outbox::{self, Relay};
use crate::pressure::Pressure;
use crate::retention::{self, Pruned, RetentionPolicy, Sweeper};
use crate::schema::{TopicRegistry, store};
use crate::subscription::Subscribe;
use crate::telemetry::PublishMetrics;
use crate::topic::Patterns;
use crate::transport::{Database, DeadLetter, Transport};

/// The event bus of one database, or of another transport. Clones are cheap and are the same bus.
///
/// One process opens one bus per database and clones it: subscribers are told of what is published through their bus and
/// its clones, and on SQLite would learn of another bus's events only with the next of their own.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    /// The truth, where there is a database.
    database: Option<Database>,
    /// What subscriptions and consumers read from.
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    pressure: Arc<Pressure>,
    company: Arc<Company>,
    /// Where the relay has its place among consumers, when the others are elsewhere.
    home: Option<Arc<Company>>,
    /// The relay, and whatever else works in the background until it is told to stop.
    tasks: TaskSet,
    stop: Shutdown,
    /// Whether old events are removed in the background.
    keeping: AtomicBool,
    metrics: PublishMetrics,
    /// What events are checked against, once somebody has said so.
    registry: OnceLock<TopicRegistry>,
}

impl Bus {
    /// The bus of `db`, which was opened with [`MIGRATIONS`](crate::MIGRATIONS). The clock dates events and `ids` names them.
    ///
    /// # Errors
    /// `storage` when the table of events is missing or cannot be read.
    pub async fn open(db: Db, clock: Arc<dyn Clock>, ids: IdSource) -> Result<Self> {
        let database = Database::open(db, Arc::clone(&clock)).await?;
        let transport = Arc::new(database.clone());
        Ok(Self::with(Some(database), transport, None, clock, ids))
    }

    /// A bus that publishes to `db` and whose subscribers and consumers read from `transport`, which a relay in the background
    /// feeds: what was published is on disk and in the history, whether the transport is there or not, and is passed on in
    /// order, at least once, and without anybody waiting for it. Sequences, and so cursors, are those of the database.
    ///
    /// `db` was opened with [`MIGRATIONS`](crate::MIGRATIONS); on PostgreSQL also with [`hive_core::lease::MIGRATIONS`], as only
    /// one of the processes that share it relays at a time. Every process that publishes to `db` opens its bus like this, or some
    /// other process relays for it.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use hive_bus::{Bus, NewEvent, Sequence, transport::Memory};
    /// # use hive_core::clock::SystemClock;
    /// # use hive_core::db::{Db, Options};
    /// # use hive_core::id::IdSource;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> hive_bus::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("hive.db");
    /// let db = Db::open(Options::file(path).migrations(&hive_bus::MIGRATIONS)).await?;
    /// let clock = Arc::new(SystemClock);
    /// // In real life a server of Redis or NATS.
    /// let transport = Arc::new(Memory::new(clock.clone()));
    /// let bus = Bus::open_with(db.clone(), transport, clock, IdSource::system()).await?;
    /// let mut orders = bus.subscribe("order.>").after(Sequence::START).await?;
    /// bus.publish(NewEvent::new("order.placed", "order.placed.berlin", &())?).await?;
    /// assert_eq!(orders.next().await?.topic().as_str(), "order.placed.berlin");
    /// bus.shutdown().await?;
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # What is where
    /// History, traces, retention and publishing in transactions are the database's. Subscriptions and consumers, with their
    /// states and dead letters, are the transport's, so [`Delivery::ack_in`](crate::Delivery::ack_in) is refused. The relay
    /// itself is a consumer in the database, called `relay/` and the transport's name: see [`Bus::consumer_info`],
    /// [`Bus::pause`], and [`Bus::dead_letters`] for events that the transport refuses for good. [`Bus::redrive`] sends those
    /// again, at the end of the log with a new sequence, so behind events that they came before.
    ///
    /// # Errors
    /// `invalid-input` when `transport` is a database; `storage` when a table is missing or cannot be read. The transport may
    /// be away: what is published waits for it.
    pub async fn open_with(
        db: Db,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        ids: IdSource,
    ) -> Result<Self> {
        let database = Database::open(db, Arc::clone(&clock)).await?;
        let own = Arc::new(database.clone());
        let home = Company::new(own, Some(database.clone()), Arc::clone(&clock), ids.clone());
        let bus = Self::with(
            Some(database.clone()),
            Arc::clone(&transport),
            Some(Arc::new(home)),
            Arc::clone(&clock),
            ids.clone(),
        );
        let relay = Relay::open(database, transport, clock, ids, bus.inner.stop.clone()).await?;
        bus.inner.tasks.spawn("hive-bus relay", relay.run());
        Ok(bus)
    }

    /// A bus that has no database: what is published goes to `transport`, which keeps it as safe as it can. It has no
    /// history, and nothing is published in transactions.
    pub fn over(transport: Arc<dyn Transport>, clock: Arc<dyn Clock>, ids: IdSource) -> Self {
        Self::with(None, transport, None, clock, ids)
    }

    fn with(
        database: Option<Database>,
        transport: Arc<dyn Transport>,
        home: Option<Arc<Company>>,
        clock: Arc<dyn Clock>,
        ids: IdSource,
    ) -> Self {
        // Where there is a relay, consumers' states are not in the database, and nothing settles them in its transactions.
        let own = if home.is_some() { None } else { database.clone() };
        let company = Company::new(Arc::clone(&transport), own, Arc::clone(&clock), ids.clone());
        let sink = database.as_ref().map_or(transport.name(), Transport::name);
        Self {
            inner: Arc::new(Inner {
                metrics: PublishMetrics::new(sink),
                tasks: TaskSet::new(Arc::clone(&clock)),
                stop: Shutdown::new(),
                keeping: AtomicBool::new(false),
                database,
                transport,
                clock,
                ids,
                pressure: Arc::default(),
                registry: OnceLock::new(),
                company: Arc::new(company),
                home,
            }),
        }
    }

    /// From now on, events that are published through this bus and its clones are checked against `registry`, as strictly as
    /// the policy of their topic says ([`TopicRegistry::policy`]). Where there is a database, it remembers the types' schemas.
    ///
    /// # Errors
    /// `conflict` when a type's schema would break those who know the one that the database has seen of the same version, with
    /// the type and the places in its data; also when the bus has a registry already. Nothing has changed then.
    pub async fn govern(&self, registry: TopicRegistry) -> Result<()> {
        let taken = || Error::new(ErrorKind::Conflict, "the bus has a registry already");
        if self.inner.registry.get().is_some() {
            return Err(taken());
        }
        if let Some(database) = &self.inner.database {
            let types = registry.clone();
            database.db().write(move |tx| store::record(tx, &types)).await?;
        }
        self.inner.registry.set(registry).map_err(|_other| taken())
    }

    /// What events are checked against, if [`Bus::govern`] was called.
    pub fn registry(&self) -> Option<&TopicRegistry> {
        self.inner.registry.get()
    }

    /// Publishes an event and returns its sequence once it is on disk.
    ///
    /// With an id of its own ([`NewEvent::id`]), publishing it again writes nothing and returns the sequence it has.
    ///
    /// # Errors
    /// `invalid-input` and `payload-too-large` when it breaks a limit; `conflict` when another event has its id;
    /// `overloaded` when a subscription with [`Lag::Block`](crate::Lag::Block) does not keep up; whatever the database
    /// refuses. In each case nothing was written.
    ///
    /// # Cancel safety
    /// Dropped, the event may or may not be published. With an id of its own it can be published again.
    pub async fn publish(&self, event: impl Into<NewEvent>) -> Result<Sequence> {
        let sequences = self.append(vec![self.ready(event.into())?]).await?;
        only(&sequences)
    }

    /// [`Bus::publish`] for many at once: one commit, all or nothing, sequences in the order given. On a transport without
    /// transactions, those at the front may be there after an error; publishing again is safe when they have ids.
    ///
    /// # Errors
    /// As [`Bus::publish`]; also `limit-reached` above [`limits::BATCH_MAX`] events.
    ///
    /// # Cancel safety
    /// As [`Bus::publish`].
    pub async fn publish_all(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let events = self.all_ready(events)?;
        self.append(events).await
    }

    /// Publishes an event in the caller's transaction: it is there if and only if the rest of the transaction is.
    /// Subscribers learn of it after the commit, and never if there is none.
    ///
    /// # Errors
    /// As [`Bus::publish`]; it never waits. The transaction goes on unless the caller passes the error up. `invalid-input`
    /// when the bus has no database.
    pub fn publish_in(&self, tx: &mut Tx<'_>, event: impl Into<NewEvent>) -> Result<Sequence> {
        let event = self.ready(event.into())?;
        let sequences = self.database()?.publish_in(tx, vec![event])?;
        only(&sequences)
    }

    /// [`Bus::publish_in`] for many at once: all or none of them, also when the caller goes on after an error.
    ///
    /// # Errors
    /// As [`Bus::publish_all`].
    pub fn publish_all_in(&self, tx: &mut Tx<'_>, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let events = self.all_ready(events)?;
        let database = self.database()?;
        tx.attempt(|tx| database.publish_in(tx, events))
    }

    /// Subscribes to the events that match `pattern`, such as `task.failed.>` or `*` for all. Await it:
    /// `bus.subscribe("task.>").await?` begins with what is published from now on,
    /// `bus.subscribe("task.>").after(cursor).await?` behind a cursor, with the past first.
    ///
    /// # Errors
    /// `invalid-input` when the pattern is none; whatever the transport refuses.
    pub fn subscribe(&self, pattern: impl Into<Cow<'static, str>>) -> Subscribe {
        self.subscribe_to(Patterns::new([pattern]))
    }

    /// [`Bus::subscribe`] to what matches any of several patterns.
    ///
    /// # Errors
    /// As [`Bus::subscribe`].
    pub fn subscribe_any(&self, patterns: impl Into<Patterns>) -> Subscribe {
        self.subscribe_to(Ok(patterns.into()))
    }

    fn subscribe_to(&self, patterns: Result<Patterns>) -> Subscribe {
        Subscribe::new(
            Arc::clone(&self.inner.transport),
            Arc::clone(&self.inner.pressure),
            patterns,
        )
    }

    /// Opens a durable consumer: a name under which the transport keeps how far it came, over restarts and for all members.
    /// Await it; see [`Consumer`](crate::Consumer).
    ///
    /// ```
    /// # use hive_bus::{Begin, Bus, NewEvent, Result};
    /// # async fn example(bus: Bus) -> Result<()> {
    /// let mail = bus.consumer("mail", "order.placed.>").begin(Begin::Oldest).await?;
    /// loop {
    ///     let delivery = mail.next().await?;
    ///     match send_mail(delivery.event()).await {
    ///         Ok(()) => delivery.ack().await?,
    ///         Err(error) => delivery.nack(error).await?,
    ///     }
    /// }
    /// # }
    /// # async fn send_mail(_: &hive_bus::Event) -> std::result::Result<(), &'static str> { Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `invalid-input` when the name or the pattern is none; `conflict` when there is a consumer of this name with other
    /// patterns; whatever the transport refuses.
    pub fn consumer(&self, name: impl Into<String>, pattern: impl Into<Cow<'static, str>>) -> Consume {
        Consume::new(Arc::clone(&self.inner.company), name.into(), Patterns::new([pattern]))
    }

    /// [`Bus::consumer`] of what matches any of several patterns.
    ///
    /// # Errors
    /// As [`Bus::consumer`].
    pub fn consumer_any(&self, name: impl Into<String>, patterns: impl Into<Patterns>) -> Consume {
        Consume::new(Arc::clone(&self.inner.company), name.into(), Ok(patterns.into()))
    }

    /// The names of the durable consumers after `after`, sorted, a page of at most `limit`. The relay is one of them.
    pub async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let mut names = self.inner.transport.consumers(after, limit).await?;
        let relay = outbox::name_of(&*self.inner.transport);
        if self.inner.home.is_some() && *relay > *after {
            let place = names.partition_point(|name| *name < relay);
            names.insert(place, relay);
            names.truncate(limit);
        }
        Ok(names)
    }

    /// How a consumer stands.
    ///
    /// # Errors
    /// `not-found` when there is none of this name.
    pub async fn consumer_info(&self, name: &str) -> Result<ConsumerInfo> {
        self.admin(name).info(name).await
    }

    /// Hands out nothing more to a consumer's members, in every process, until it is resumed. What they have they may settle.
    ///
    /// # Errors
    /// `not-found` when there is none of this name.
    pub async fn pause(&self, name: &str) -> Result<()> {
        self.admin(name).change(name, |state| state.paused = true).await
    }

    /// Undoes [`Bus::pause`].
    ///
    /// # Errors
    /// `not-found` when there is none of this name.
    pub async fn resume(&self, name: &str) -> Result<()> {
        self.admin(name).change(name, |state| state.paused = false).await
    }

    /// Lets a consumer go on from somewhere else: replay from the beginning, a sequence or a time, or skip what it has not
    /// read. What its members have in hand is theirs no more.
    ///
    /// # Errors
    /// `not-found` when there is none of this name; `invalid-input` for a relay.
    pub async fn seek(&self, name: &str, begin: Begin) -> Result<()> {
        if outbox::is_relay(name) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "a relay goes on from where its transport is")
                    .with("relay", name)
                    .with_hint("what the transport has lost is relayed again by itself"),
            );
        }
        self.admin(name).seek(name, begin).await
    }

    /// Removes a consumer, with what it remembers and with its dead letters; whether there was one. Its members end with
    /// `not-found`.
    pub async fn remove_consumer(&self, name: &str) -> Result<bool> {
        self.admin(name).remove(name).await
    }

    /// A consumer's dead letters after a sequence, oldest first, at most `limit` and [`limits::DEAD_PAGE_MAX`].
    ///
    /// # Errors
    /// `not-found` when there is none of this name.
    pub async fn dead_letters(&self, name: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        self.admin(name).dead_letters(name, after, limit).await
    }

    /// Brings dead letters back: the consumer is given them again, with all their attempts before them. Says how many of them
    /// there are and there was room for, from the front. Those of a relay are published again, at the end of the log.
    ///
    /// # Errors
    /// `not-found` when there is no such consumer; `limit-reached` for more than [`limits::DEAD_PAGE_MAX`] at once.
    pub async fn redrive(&self, name: &str, sequences: &[Sequence]) -> Result<usize> {
        if outbox::is_relay(name)
            && let Some(database) = &self.inner.database
        {
            return outbox::redrive(database, name, sequences).await;
        }
        self.admin(name).redrive(name, sequences).await
    }

    /// Throws dead letters away; how many there were.
    pub async fn purge(&self, name: &str, sequences: &[Sequence]) -> Result<usize> {
        self.admin(name).purge(name, sequences).await
    }

    /// Closes the bus, waits until consumers have given back what they had and the relay has taken along what is committed, each
    /// for at most [`limits::LEAVE_TIMEOUT`], and ends the transport's connections.
    ///
    /// # Errors
    /// Whatever the transport meets.
    pub async fn shutdown(&self) -> Result<()> {
        self.close();
        self.inner.company.join().await;
        self.inner.stop.request();
        // What did not end in time was aborted, and goes on when the bus is opened again.
        drop(self.inner.tasks.join_all(limits::LEAVE_TIMEOUT).await);
        let closed = self.inner.transport.close().await;
        match &self.inner.database {
            Some(database) => closed.and(database.close().await),
            None => closed,
        }
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.inner.transport
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub(crate) fn ids(&self) -> &IdSource {
        &self.inner.ids
    }

    /// Where events are asked for by their ids.
    pub(crate) async fn find(&self, id: EventId) -> Result<Option<Event>> {
        self.sink().find(id).await
    }

    /// Looks after the consumer of this name where it is.
    pub(crate) fn admin(&self, name: &str) -> Admin<'_> {
        match &self.inner.home {
            Some(home) if outbox::is_relay(name) => Admin(home),
            Some(_) | None => Admin(&self.inner.company),
        }
    }

    /// One page of the past, oldest first unless the query says otherwise; follow [`Page::next`] for more.
    ///
    /// # Errors
    /// `invalid-input` when the limit is out of bounds or the bus has no database; whatever the database refuses.
    pub async fn history(&self, query: Query) -> Result<Page> {
        history::page(self.database()?, query).await
    }

    /// Up to where the log is settled: everything up to here is there, or never will be, and everything that was acknowledged before
    /// this call is among it. Whatever is committed from here on has a greater sequence.
    ///
    /// # Errors
    /// Whatever the database, or the transport where there is none, meets.
    pub async fn head(&self) -> Result<Sequence> {
        self.sink().head().await
    }

    /// How many events of the past match, whatever the query's limit. It reads through what no index finds, as
    /// [`Bus::history`] does.
    ///
    /// # Errors
    /// `invalid-input` when the query has an order or the bus has no database; whatever the database refuses.
    pub async fn count(&self, query: Query) -> Result<u64> {
        history::count(self.database()?, query).await
    }

    /// The events of one undertaking as a tree of causes. Empty when there are none.
    ///
    /// # Errors
    /// `invalid-input` when the bus has no database; whatever the database refuses.
    pub async fn trace(&self, correlation: impl fmt::Display) -> Result<Trace> {
        history::trace(self.database()?, correlation.to_string()).await
    }

    /// Removes once what the policy says may go, and no durable consumer of the database needs: see [`RetentionPolicy`] for what that
    /// is. What consumers of another transport have read does not matter here; the relay to it does.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use hive_bus::{Bus, Pattern, Result, Retention, RetentionPolicy};
    /// # async fn example(bus: Bus) -> Result<()> {
    /// let month = Duration::from_secs(30 * 24 * 60 * 60);
    /// let policy = RetentionPolicy::new([Retention::of(Pattern::ALL).age(month)])?;
    /// let pruned = bus.retain(&policy).await?;
    /// println!("{} events removed, {} held back by {:?}", pruned.events, pruned.held_back, pruned.held_by);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `invalid-input` when the bus has no database: other transports bound what they keep by themselves. Whatever the database
    /// refuses; what was removed until then stays so, and calling again goes on.
    ///
    /// # Cancel safety
    /// Dropped, it has removed a part. Calling again goes on.
    pub async fn retain(&self, policy: &RetentionPolicy) -> Result<Pruned> {
        retention::pass(self.database()?, policy).await
    }

    /// From now on [`Bus::retain`] and [`Bus::keep`] of this bus and its clones leave everything behind the sequence that `keeper`
    /// gives, whatever the policy says: somebody who is no consumer has not looked at it. `keeper` is asked in the transaction that
    /// removes, so a need that is written down in the database before is respected.
    ///
    /// # Errors
    /// `invalid-input` when the bus has no database; `conflict` when there is a keeper already.
    pub fn keep_behind(
        &self,
        keeper: impl Fn(&Snapshot<'_>) -> Result<Option<Sequence>> + Send + Sync + 'static,
    ) -> Result<()> {
        if self.database()?.keep_behind(Arc::new(keeper)) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Conflict, "somebody keeps events already"))
        }
    }

    /// Lets [`Bus::retain`] run in the background until [`Bus::shutdown`], every so often (at least
    /// [`limits::RETENTION_EVERY_MIN`]), the first time after a minute at the latest. Of several processes that share a database
    /// on PostgreSQL, one does it, with its own policy; the database is opened with [`hive_core::lease::MIGRATIONS`] there.
    ///
    /// # Errors
    /// `invalid-input` when the bus has no database; `conflict` when it was called before; whatever the database refuses.
    pub async fn keep(&self, policy: RetentionPolicy, every: Duration) -> Result<()> {
        let Inner { clock, stop, .. } = &*self.inner;
        let database = self.database()?.clone();
        let sweeper = Sweeper::open(database, policy, every, Arc::clone(clock), stop.clone()).await?;
        if self.inner.keeping.swap(true, Ordering::AcqRel) {
            return Err(
                Error::new(ErrorKind::Conflict, "old events are removed in the background already")
                    .with_hint("give all rules in one policy"),
            );
        }
        self.inner.tasks.spawn("hive-bus retention", sweeper.run());
        Ok(())
    }

    /// Ends every subscription, present and future, once it has handed out what is committed. Publishing goes on until
    /// the database is closed, so that a process can still tell how it ended.
    pub fn close(&self) {
        self.inner.transport.live().close();
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let begun = self.inner.clock.monotonic();
        let sent = async {
            self.relieved().await?;
            self.sink().publish(events).await
        };
        let sent = sent.await;
        let took = self.inner.clock.monotonic().saturating_sub(begun);
        match &sent {
            Ok(sequences) => self.inner.metrics.published(sequences.len(), took),
            Err(error) => self.inner.metrics.failed(error),
        }
        sent
    }

    /// Where events are published: the database, if there is one.
    fn sink(&self) -> &dyn Transport {
        match &self.inner.database {
            Some(database) => database,
            None => &*self.inner.transport,
        }
    }

    fn database(&self) -> Result<&Database> {
        self.inner.database.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "this bus has no database")
                .with("transport", self.inner.transport.name())
                .with_hint("open it with Bus::open, or with Bus::open_with, which relays to another transport")
        })
    }

    async fn relieved(&self) -> Result<()> {
        let live = self.inner.transport.live();
        self.inner.pressure.relieved(live, &*self.inner.clock).await
    }

    /// The event with an id and a time, if it keeps the limits.
    fn ready(&self, mut event: NewEvent) -> Result<NewEvent> {
        event.check()?;
        if let Some(registry) = self.inner.registry.get() {
            registry.admit(&event)?;
        }
        event.id.get_or_insert_with(|| self.inner.ids.next());
        event.time.get_or_insert_with(|| self.inner.clock.now());
        Ok(event)
    }

    fn all_ready(&self, events: Vec<NewEvent>) -> Result<Vec<NewEvent>> {
        if events.len() > limits::BATCH_MAX {
            return Err(Error::new(ErrorKind::LimitReached, "the batch has too many events")
                .with("events", events.len())
                .with("limit", limits::BATCH_MAX)
                .with_hint("publish it in several batches"));
        }
        events.into_iter().map(|event| self.ready(event)).collect()
    }
}

fn only(sequences: &[Sequence]) -> Result<Sequence> {
    let only = sequences.first().copied();
    only.ok_or_else(|| Error::new(ErrorKind::Internal, "the transport gave no sequence"))
}

/// Subscriptions outlive the bus; nothing more will come for them.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(database) = &self.database {
            database.live().close();
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("transport", &self.inner.transport)
            .finish_non_exhaustive()
    }
}
