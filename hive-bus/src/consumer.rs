//! Durable consumers: each event that matches is handled at least once, in order by key, by one of the members.

mod admin;
mod delivery;
mod desk;
mod driver;
mod state;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hive_core::clock::{Clock, Timestamp};
use hive_core::id::{EventId, IdSource};
use hive_core::shutdown::TaskSet;
use hive_errors::{Error, ErrorKind, Failure, Result, RetryPolicy};
use tokio::task::JoinSet;
use tracing::Instrument;

pub(crate) use self::admin::Admin;
pub use self::admin::ConsumerInfo;
pub use self::delivery::Delivery;
use self::desk::{Desk, Ready, Word};
use self::driver::Driver;
#[cfg(test)]
pub(crate) use self::state::{Candidate, Stretch};
pub(crate) use self::state::{Hold, Member, Outcome, State, Terms, Verdict, shortened};
use crate::event::Sequence;
use crate::limits;
use crate::topic::{Pattern, Patterns};
use crate::transport::{Change, Database, Transport};

/// What the names of relays begin with. Where their events go to, they are consumers like others.
pub(crate) const RELAY_PREFIX: &str = "relay/";

/// Which deliveries wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Events with the same key ([`Event::order_key`](crate::Event::order_key)) are handled one after another, in the order of
    /// their sequences; those of different keys at once.
    #[default]
    ByKey,
    /// As [`Order::ByKey`] for events that were given a key ([`NewEvent::key`](crate::NewEvent::key)); the others each for itself.
    ByOwnKey,
    /// All events are handled one after another.
    Total,
    /// Events are handled as they come, each for itself.
    None,
}

/// Where a new consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begin {
    /// With what is published from now on.
    #[default]
    Now,
    /// With the oldest event there is.
    Oldest,
    /// With this sequence.
    At(Sequence),
    /// With the first event dated so or later.
    Since(Timestamp),
}

/// How a consumer's member in this process works.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    order: Order,
    ack_wait: Duration,
    retry: RetryPolicy,
    in_flight: usize,
    prefetch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            order: Order::ByKey,
            ack_wait: limits::ACK_WAIT_DEFAULT,
            retry: RetryPolicy::exponential(limits::ATTEMPTS_DEFAULT),
            in_flight: limits::IN_FLIGHT_MAX,
            prefetch: limits::PREFETCH_DEFAULT,
        }
    }
}

/// What consumers of one bus share.
pub(crate) struct Company {
    transport: Arc<dyn Transport>,
    database: Option<Database>,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    tasks: TaskSet,
    /// Who works in this process, by the consumer's name.
    at_work: Mutex<HashMap<String, Weak<Handle>>>,
    /// Held by whoever begins to work for a consumer.
    beginning: tokio::sync::Mutex<()>,
}

/// What a driver and the handles of its process share.
pub(crate) struct Shared {
    name: String,
    /// What it was opened with.
    patterns: Patterns,
    transport: Arc<dyn Transport>,
    database: Option<Database>,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    settings: Settings,
    desk: Desk,
    /// What is to be added to the monotonic clock for the transport's time, in microseconds.
    time: AtomicI64,
}

/// Keeps a member at work; the last one to go ends it.
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

/// A member of a durable consumer.
///
/// A consumer has a name under which the transport keeps how far it came: its cursor, what is under way, what failed how often.
/// Whoever opens a consumer of that name, in this process or another that shares the transport, is a member, and each event
/// goes to one of them.
///
/// - **At least once.** An event is delivered until it is acknowledged, rejected, or has had all its attempts. What a member had
///   that died goes to another when its lease runs out ([`Consume::ack_wait`]); on SQLite, where one process owns the file, at
///   once when the file is opened again.
/// - **In order.** As [`Order`] says, also over members and failures: while an event waits to be tried again, those of its key
///   that came after it wait with it.
/// - **Never for ever.** What failed as often as [`Consume::retry`] allows, was rejected, or expired, is a dead letter: see
///   [`Bus::dead_letters`](crate::Bus::dead_letters).
///
/// Clones are the same member. When the last clone and the last [`Delivery`] are gone, it gives back what it had.
#[derive(Clone)]
pub struct Consumer {
    handle: Arc<Handle>,
}

/// What a member wants when it comes.
struct Wanted {
    patterns: Patterns,
    begin: Begin,
    late: Vec<Pattern>,
    /// The end of the log.
    head: Sequence,
    widen: bool,
}

/// A consumer that is being opened; await it. See [`Bus::consumer`](crate::Bus::consumer).
#[must_use = "a consumer does nothing until it is awaited"]
pub struct Consume {
    company: Arc<Company>,
    name: String,
    patterns: Result<Patterns>,
    begin: Begin,
    /// Patterns that begin with what is published from now on, wherever the others begin, also where the consumer is there.
    late: Vec<Pattern>,
    widen: bool,
    settings: Settings,
}

impl Consume {
    pub(crate) fn new(company: Arc<Company>, name: String, patterns: Result<Patterns>) -> Self {
        Self {
            company,
            name,
            patterns,
            begin: Begin::Now,
            late: Vec::new(),
            widen: false,
            settings: Settings::default(),
        }
    }

    /// Where it begins if there is none of this name yet; [`Begin::Now`] unless set. One that there is goes on where it was.
    pub fn begin(mut self, begin: Begin) -> Self {
        self.begin = begin;
        self
    }

    /// Lets a consumer that there is already go on with these patterns, when it had others: from its cursor on.
    pub fn with_these_patterns(mut self) -> Self {
        self.widen = true;
        self
    }

    /// Lets these of its patterns begin with what is published from now on, wherever the others begin.
    pub(crate) fn late(mut self, patterns: Vec<Pattern>) -> Self {
        self.late = patterns;
        self
    }

    /// Which deliveries wait for each other; [`Order::ByKey`] unless set. All members must say the same.
    pub fn order(mut self, order: Order) -> Self {
        self.settings.order = order;
        self
    }

    /// How long a delivery is this member's before it is given to another, from [`limits::ACK_WAIT_MIN`] to
    /// [`limits::ACK_WAIT_MAX`]; [`limits::ACK_WAIT_DEFAULT`] unless set. It has to be longer than a handler takes for all that
    /// this member has in hand, or the handler calls [`Delivery::extend`].
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.settings.ack_wait = wait.clamp(limits::ACK_WAIT_MIN, limits::ACK_WAIT_MAX);
        self
    }

    /// How often an event is delivered, and how long it waits after a failure; [`limits::ATTEMPTS_DEFAULT`] times with
    /// exponential backoff unless set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = policy;
        self
    }

    /// How many events all members together may have taken and not finished, from 1 to [`limits::IN_FLIGHT_MAX`], which it is
    /// unless set. All members must say the same.
    pub fn in_flight(mut self, events: usize) -> Self {
        self.settings.in_flight = events.clamp(1, limits::IN_FLIGHT_MAX);
        self
    }

    /// How many events this member may have in hand, begun or not, from 1 to [`limits::IN_FLIGHT_MAX`];
    /// [`limits::PREFETCH_DEFAULT`] unless set. More is faster, less is fairer to other members.
    pub fn prefetch(mut self, events: usize) -> Self {
        self.settings.prefetch = events.clamp(1, limits::IN_FLIGHT_MAX);
        self
    }
}

impl IntoFuture for Consume {
    type Output = Result<Consumer>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let company = Arc::clone(&self.company);
            company.open(self).await
        })
    }
}

impl Company {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        database: Option<Database>,
        clock: Arc<dyn Clock>,
        ids: IdSource,
    ) -> Self {
        Self {
            transport,
            database,
            tasks: TaskSet::new(Arc::clone(&clock)),
            clock,
            ids,
            at_work: Mutex::default(),
            beginning: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until every member has given back what it had.
    pub(crate) async fn join(&self) {
        // What did not end in time was aborted, and its leases run out.
        drop(self.tasks.join_all(limits::LEAVE_TIMEOUT).await);
    }

    async fn open(&self, asked: Consume) -> Result<Consumer> {
        let Consume {
            name,
            patterns,
            settings,
            begin,
            late,
            widen,
            ..
        } = asked;
        let patterns = patterns?;
        check_name(&name)?;
        if name.starts_with(RELAY_PREFIX) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "a consumer cannot have a relay's name")
                    .with("consumer", name)
                    .with_hint("names that begin with relay/ are those of relays to other transports"),
            );
        }
        let _beginning = self.beginning.lock().await;
        if let Some(handle) = self.working(&name) {
            let has = &handle.shared.patterns;
            if *has != patterns {
                return Err(other_patterns(&name, has, &patterns));
            }
            return Ok(Consumer { handle });
        }
        // Before the end of the log is asked for, so that what comes after that is not missed.
        let interest = self.transport.live().interest(&patterns, Some(&name));
        let head = self.transport.head().await?;
        let member = Member(random(&self.ids));
        let shared = Arc::new(Shared {
            name: name.clone(),
            patterns: patterns.clone(),
            transport: Arc::clone(&self.transport),
            database: self.database.clone(),
            clock: Arc::clone(&self.clock),
            ids: self.ids.clone(),
            settings,
            desk: Desk::default(),
            time: AtomicI64::new(0),
        });
        shared.set_time(self.transport.now().await?);
        let wanted = Wanted {
            patterns,
            begin,
            late,
            head,
            widen,
        };
        let (state, revision) = self.join_in(&shared, member, &wanted).await?;
        let driver = Driver::new(Arc::clone(&shared), interest, member, state, revision);
        self.tasks.spawn("hive-bus consumer", driver.run());
        let handle = Arc::new(Handle { shared });
        self.at_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, Arc::downgrade(&handle));
        Ok(Consumer { handle })
    }

    fn working(&self, name: &str) -> Option<Arc<Handle>> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.retain(|_, handle| handle.strong_count() > 0);
        at_work.get(name).and_then(Weak::upgrade)
    }

    /// The consumer's state, made when there is none.
    async fn join_in(&self, shared: &Shared, member: Member, wanted: &Wanted) -> Result<(State, u64)> {
        for _ in 0..limits::CHANGE_TRIES_MAX {
            let register = self.transport.load(&shared.name).await?;
            let expected = register.as_ref().map(|register| register.revision);
            let (mut state, mut changed) = match register {
                Some(register) => (State::from_bytes(&register.state)?, false),
                None => {
                    let cursor = self.cursor(wanted.begin).await?;
                    let patterns = wanted.patterns.clone();
                    (State::begin(patterns, |pattern| wanted.since(pattern, cursor)), true)
                }
            };
            if *state.patterns() != wanted.patterns {
                if !wanted.widen {
                    return Err(other_patterns(&shared.name, state.patterns(), &wanted.patterns));
                }
                let cursor = state.cursor;
                state.want(wanted.patterns.clone(), |pattern| wanted.since(pattern, cursor));
                changed = true;
            }
            let mut outcome = Outcome::default();
            if self.transport.is_exclusive() {
                // Whoever else has something of it has died.
                let terms = Terms {
                    member,
                    ..shared.terms()
                };
                changed |= state.survive(&terms, &mut outcome) > 0;
            }
            if !changed {
                // Of those that there are, one has a revision.
                return Ok((state, expected.unwrap_or_default()));
            }
            let mut change = Change::new(expected, state.to_bytes());
            change.dead = admin::letters(&*self.transport, &shared.name, &outcome.dead, shared.now()).await?;
            if let Some(revision) = self.transport.store(&shared.name, change).await? {
                return Ok((state, revision));
            }
        }
        Err(too_busy(&shared.name))
    }

    async fn cursor(&self, begin: Begin) -> Result<Sequence> {
        match begin {
            Begin::Now => self.transport.head().await,
            Begin::Oldest => Ok(Sequence::START),
            Begin::At(sequence) => Ok(sequence.before()),
            Begin::Since(time) => self.transport.before(time).await,
        }
    }
}

impl Wanted {
    /// Behind where a pattern counts whose consumer, or who itself, begins at `cursor`.
    fn since(&self, pattern: &Pattern, cursor: Sequence) -> Sequence {
        if self.late.contains(pattern) { self.head } else { cursor }
    }
}

impl Shared {
    /// What time it is for all who share the transport, as far as this process knows.
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(micros(self.clock.monotonic()).saturating_add(self.time.load(Ordering::Relaxed)))
    }

    fn set_time(&self, now: Timestamp) {
        let difference = now.as_micros().saturating_sub(micros(self.clock.monotonic()));
        self.time.store(difference, Ordering::Relaxed);
    }

    fn random(&self) -> u64 {
        random(&self.ids)
    }

    /// For whoever settles; a driver puts its own member in.
    fn terms(&self) -> Terms {
        Terms {
            member: Member(0),
            now: self.now(),
            ack_wait: self.settings.ack_wait,
            in_flight_max: self.settings.in_flight,
            attempts_max: self.settings.retry.attempts_max(),
        }
    }
}

impl Handle {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn say(&self, word: Word) {
        self.shared.desk.say(word);
    }

    fn monotonic(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    fn terms(&self) -> Terms {
        self.shared.terms()
    }

    /// How long an event waits after this delivery of it has failed.
    fn backoff(&self, attempt: u32) -> Duration {
        let retry = &self.shared.settings.retry;
        // After the last attempt nothing waits: it is a dead letter.
        retry
            .delay_after(attempt, self.shared.random(), None)
            .unwrap_or_default()
    }

    fn failed(&self, delay: Duration, error: String) -> Verdict {
        Verdict::Failed {
            from: self.shared.now() + delay,
            error,
        }
    }

    /// Until when a delivery is this member's that is taken or extended now.
    fn deadline(&self) -> Timestamp {
        self.shared.now() + self.shared.settings.ack_wait
    }

    fn database(&self) -> Result<&Database> {
        self.shared.database.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "the consumer's transport is not a database")
                .with("consumer", &self.shared.name)
                .with("transport", self.shared.transport.name())
                .with_hint("acknowledge the delivery after the transaction, and make that idempotent by the event's id")
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.desk.abandon();
    }
}

impl Consumer {
    /// The consumer's name.
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// The next event to handle; waits for it. Members and clones get each one another.
    ///
    /// # Errors
    /// `shutting-down` once the bus is closed; `not-found` when the consumer was removed. While the transport is away it
    /// waits.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Result<Delivery> {
        loop {
            let ready = self.handle.shared.desk.next().await?;
            if let Some(delivery) = self.begin(ready) {
                return Ok(delivery);
            }
        }
    }

    /// The next event if one is ready.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn try_next(&self) -> Result<Option<Delivery>> {
        while let Some(ready) = self.handle.shared.desk.try_next()? {
            if let Some(delivery) = self.begin(ready) {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    /// Whether an event is ready.
    pub(crate) fn has_ready(&self) -> Result<bool> {
        self.handle.shared.desk.has_ready()
    }

    /// How many events are ready.
    #[cfg(test)]
    pub(crate) fn ready_count(&self) -> usize {
        self.handle.shared.desk.look_ahead()
    }

    /// Returns once an event may be ready, or when none will come any more. It takes none, so that one can wait for several
    /// consumers and then choose.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn ready(&self) {
        self.handle.shared.desk.ready().await;
    }

    /// Begins with what stood on the desk, unless its time was over while it did.
    fn begin(&self, ready: Ready) -> Option<Delivery> {
        let expired = ready.expires.is_some_and(|expires| expires <= self.handle.shared.now());
        let delivery = Delivery::new(Arc::clone(&self.handle), ready);
        if expired {
            delivery.settle_unheard(Verdict::Expired);
            return None;
        }
        Some(delivery)
    }

    /// The next event, and as many more as are ready, up to `most`: for handlers that do many in one go.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    ///
    /// # Cancel safety
    /// As [`Consumer::next`].
    pub async fn batch(&self, most: usize) -> Result<Vec<Delivery>> {
        let mut batch = vec![self.next().await?];
        while batch.len() < most
            && let Ok(Some(delivery)) = self.try_next()
        {
            batch.push(delivery);
        }
        Ok(batch)
    }

    /// Acknowledges many deliveries in one go, and returns once that is on record.
    ///
    /// # Errors
    /// As [`Delivery::ack`], for the first that was refused; the others are settled all the same.
    ///
    /// # Cancel safety
    /// As [`Delivery::ack`], for those that were polled.
    pub async fn ack_all(&self, deliveries: impl IntoIterator<Item = Delivery>) -> Result<()> {
        // Each is said before the first answer is waited for, so that they are one change of the state.
        let answers: Vec<_> = deliveries
            .into_iter()
            .map(|delivery| delivery.settle_later(Verdict::Done))
            .collect();
        let mut result = Ok(());
        for answer in answers {
            result = result.and(delivery::told(answer).await);
        }
        result
    }

    /// Handles events with `handler`, up to `at_once` at a time, until the bus is closed: acknowledges what it returns `Ok` for,
    /// tries again what fails, and rejects what fails terminally ([`Failure::terminal`]). A panic is a failure.
    ///
    /// # Errors
    /// As [`Consumer::next`], when it ends for another reason than that the bus is closed.
    ///
    /// # Cancel safety
    /// Dropped, the handlers under way are dropped, and their deliveries count as failed.
    pub async fn run<F, T>(&self, at_once: usize, handler: F) -> Result<()>
    where
        F: Fn(Arc<Delivery>) -> T,
        T: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut running = JoinSet::new();
        let ended = loop {
            while running.len() >= at_once.max(1) {
                // Its own delivery says how it ended.
                drop(running.join_next().await);
            }
            while running.try_join_next().is_some() {}
            let delivery = match self.next().await {
                Ok(delivery) => Arc::new(delivery),
                Err(error) => break error,
            };
            let span = delivery.span();
            let work = handler(Arc::clone(&delivery));
            let settle = async move {
                match work.await {
                    Ok(()) => delivery.settle_unheard(Verdict::Done),
                    Err(failure) => delivery.fail(&failure),
                }
            };
            running.spawn(settle.instrument(span));
        };
        while running.join_next().await.is_some() {}
        if ended.kind() == ErrorKind::ShuttingDown {
            Ok(())
        } else {
            Err(ended)
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.name())
            .field("desk", &self.handle.shared.desk)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Consume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consume")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Company {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Company").finish_non_exhaustive()
    }
}

/// A name that is a key on every transport, and safe to show.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    let unfit = if name.is_empty() {
        Some(Cow::Borrowed("it is empty"))
    } else if name.len() > limits::CONSUMER_BYTES_MAX {
        Some(Cow::Borrowed("it is too long"))
    } else {
        name.chars()
            .find(|&c| !plain(c))
            .map(|found| Cow::Owned(format!("it has the character {:?}", found)))
    };
    match unfit {
        None => Ok(()),
        Some(unfit) => Err(Error::new(ErrorKind::InvalidInput, "a consumer cannot have this name")
            .with("why", unfit)
            .with("limit", limits::CONSUMER_BYTES_MAX)
            .with_hint("names are made of ASCII letters, digits and - _ . : /")),
    }
}

fn other_patterns(name: &str, has: &Patterns, asked: &Patterns) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "there is a consumer of this name, with other patterns",
    )
    .with("consumer", name)
    .with("has", has)
    .with("asked", asked)
    .with_hint("take another name, or say Consume::with_these_patterns to let it go on with the new ones")
}

fn too_busy(name: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the consumer's state was changed by others each time",
    )
    .with("consumer", name)
    .retryable()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The random part of an id.
pub(crate) fn random(ids: &IdSource) -> u64 {
    let id: EventId = ids.next();
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
    // The two highest bits say which kind of UUID it is.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) << 2
}
