//! The task that relays.

use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::{Clock, timeout};
use hive_core::id::IdSource;
use hive_core::shutdown::Shutdown;
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::record::Record;
use super::{check_target, name_of};
use crate::consumer::{random, shortened};
use crate::duty::Duty;
use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::Interest;
use crate::telemetry::RelayMetrics;
use crate::topic::{Pattern, Patterns};
use crate::transport::{Database, DeadLetter, DeadReason, Mishap, Transport};

/// Takes events from a database to a transport.
pub(crate) struct Relay {
    database: Database,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    duty: Duty,
    stop: Shutdown,
    everything: Patterns,
    record: Record,
    /// The transport has everything up to here, and nothing after it; `None` when it is to be asked.
    position: Option<Sequence>,
    /// The last event that the transport is known to have had, and when it was heard of, on the monotonic clock.
    had: Sequence,
    heard: Duration,
    failures: u32,
    /// Since when nothing went through, on the monotonic clock.
    failing: Option<Duration>,
    metrics: RelayMetrics,
}

impl Relay {
    /// A relay that begins when it is [run](Relay::run). From now on retention waits for it.
    ///
    /// # Errors
    /// `invalid-input` when the transport is a database; whatever this database refuses. The transport may be away.
    pub(crate) async fn open(
        database: Database,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        ids: IdSource,
        stop: Shutdown,
    ) -> Result<Self> {
        check_target(&*transport).await?;
        let name = name_of(&*transport);
        let duty = Duty::open(format!("hive-bus {name}"), &database, &clock).await?;
        Ok(Self {
            record: Record::open(name, database.clone(), Arc::clone(&clock)).await?,
            metrics: RelayMetrics::new(transport.name()),
            database,
            transport,
            clock,
            ids,
            duty,
            stop,
            everything: Patterns::from(Pattern::ALL),
            position: None,
            had: Sequence::START,
            heard: Duration::ZERO,
            failures: 0,
            failing: None,
        })
    }

    /// Relays until it is told to stop.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let turn = match stop.guard(self.duty.begin()).await {
                Ok(Ok(turn)) => turn,
                Ok(Err(error)) if error.kind() == ErrorKind::ShuttingDown => return self.ended(&error),
                Ok(Err(error)) => {
                    self.back_off(&error).await;
                    continue;
                }
                Err(_stop) => return,
            };
            self.position = None;
            self.record.lease = turn.lease().cloned();
            // Before the end of the log is asked for, so that what comes after that is not missed; and only by whoever relays,
            // because the log is followed for those who wait.
            let live = self.database.live();
            let interest = live.interest(&self.everything, Some(&self.record.name));
            match turn.guard(self.follow(&interest)).await {
                Ok(()) => return turn.end().await,
                Err(error) if error.kind() == ErrorKind::LeaseLost => {
                    tracing::warn!(relay = %self.record.name, %error, "another process relays now; waiting for the lease");
                }
                Err(error) => return self.ended(&error),
            }
        }
    }

    /// The database or the transport was closed, and the bus was not.
    fn ended(&self, error: &Error) {
        tracing::error!(relay = %self.record.name, %error, "the relay has ended; what is committed from now on waits for the next");
    }

    /// Relays until it is told to stop.
    ///
    /// # Errors
    /// `lease-lost` when another relays; `shutting-down` when there is no database or no transport any more.
    async fn follow(&mut self, interest: &Interest) -> Result<()> {
        loop {
            if self.stop.is_requested() {
                self.leave(interest).await;
                return Ok(());
            }
            match self.step(interest).await {
                Ok(moved) => {
                    self.failures = 0;
                    self.failing = None;
                    if !moved {
                        self.rest(interest).await;
                    }
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    self.position = None;
                    if error.kind() == ErrorKind::Conflict
                        && let Err(error) = self.record.check().await
                        && is_final(&error)
                    {
                        return Err(error);
                    }
                    self.back_off(&error).await;
                }
            }
        }
    }

    /// Relays a page; whether there was anything.
    async fn step(&mut self, interest: &Interest) -> Result<bool> {
        interest.take();
        if interest.take_touched() {
            self.record.reload().await?;
            // The row says how far the relay had come when it was written.
            if let Some(position) = self.position {
                self.record.reached(position);
            }
        }
        self.record.write_if_due().await?;
        if self.record.is_paused() {
            return Ok(false);
        }
        let after = match self.position {
            Some(position) if self.silence() < limits::RELAY_LOOK => position,
            Some(position) => self.look(position).await?,
            None => self.begin().await?,
        };
        let (events, reached) = self.page(after).await?;
        if reached == after {
            return Ok(false);
        }
        self.send(events).await?;
        self.reached(reached);
        Ok(true)
    }

    /// How long nothing was heard of the transport.
    fn silence(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.heard)
    }

    /// The transport has an event, or all up to where it says.
    fn heard_of(&mut self, had: Sequence) {
        self.had = had;
        self.heard = self.clock.monotonic();
    }

    /// Whether the transport still has what it had: one that lost its last events gets them again, also when there are no new
    /// ones.
    async fn look(&mut self, position: Sequence) -> Result<Sequence> {
        let relayed = self.within(self.transport.relayed()).await?;
        if relayed < self.had {
            tracing::warn!(
                relay = %self.record.name, had = %self.had, has = %relayed,
                "the transport has lost events, which are relayed again"
            );
            return self.begin().await;
        }
        self.heard = self.clock.monotonic();
        Ok(position)
    }

    /// Where the transport's log ends, which is where it goes on.
    async fn begin(&mut self) -> Result<Sequence> {
        self.record.reload().await?;
        // So that it is known what was committed before anybody followed the log.
        self.database.head().await?;
        let relayed = self.within(self.transport.relayed()).await?;
        let last = self.database.last_given().await?;
        if relayed > last {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the transport has events that this database never had, and would leave out what is relayed to it",
            )
            .with("relayed", relayed)
            .with("last", last)
            .with_hint(
                "it was fed from another database, or from this one before it was restored: empty it, or take another name on it",
            ));
        }
        self.heard_of(relayed);
        self.reached(relayed);
        Ok(relayed)
    }

    fn reached(&mut self, position: Sequence) {
        self.position = Some(position);
        self.record.reached(position);
        self.show_lag(position);
    }

    fn show_lag(&self, position: Sequence) {
        let head = self.database.live().head().sequence;
        self.metrics.behind(head.get().saturating_sub(position.get()));
    }

    /// What comes after `after`, and up to where that is everything.
    async fn page(&self, after: Sequence) -> Result<(Vec<Event>, Sequence)> {
        let live = self.database.live();
        if let Some(found) = live.recent(&self.everything, after, limits::BATCH_MAX) {
            return Ok(found);
        }
        let head = live.head().sequence;
        if head <= after {
            return Ok((Vec::new(), after));
        }
        let found = self.database.read(&self.everything, after, limits::BATCH_MAX).await?;
        // The end of the log may lie before `head`, when retention took the newest events away.
        let reached = if found.ended {
            found.reached.max(head)
        } else {
            found.reached
        };
        Ok((found.events, reached))
    }

    async fn send(&mut self, events: Vec<Event>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let (count, last) = (events.len(), events.last().map(Event::sequence));
        match self.within(self.transport.relay(events.clone())).await {
            Ok(()) => {
                self.metrics.relayed(count);
                self.heard_of(last.unwrap_or(self.had));
                Ok(())
            }
            Err(error) if is_refusal(&error) => self.send_singly(events).await,
            Err(error) => Err(error),
        }
    }

    /// Finds out which of the events is refused, and puts it with the dead letters.
    async fn send_singly(&mut self, events: Vec<Event>) -> Result<()> {
        for event in events {
            match self.within(self.transport.relay(vec![event.clone()])).await {
                Ok(()) => {
                    self.metrics.relayed(1);
                    self.heard_of(event.sequence());
                }
                Err(error) if is_refusal(&error) => self.bury(&event, &error).await?,
                Err(error) => return Err(error),
            }
            self.reached(event.sequence());
        }
        Ok(())
    }

    async fn bury(&mut self, event: &Event, error: &Error) -> Result<()> {
        let now = self.database.now().await?;
        let said = shortened(&error.to_string(), limits::MISHAP_LAST_BYTES_MAX);
        let mishap = Mishap::new(now, said);
        let letter = DeadLetter::new(event.clone(), DeadReason::Rejected, 1, now, vec![mishap]);
        self.record.bury(letter).await?;
        self.metrics.died(&self.record.name, DeadReason::Rejected.as_str());
        tracing::error!(
            relay = %self.record.name, event = %event.id(), sequence = %event.sequence(), topic = %event.topic(), %error,
            "the transport refuses an event; it is with the relay's dead letters, and the next ones are relayed"
        );
        Ok(())
    }

    /// A transport that does not answer is one that is away.
    async fn within<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(&*self.clock, limits::RELAY_TIMEOUT, asked).await.flatten()
    }

    /// Waits until there may be something to do.
    async fn rest(&self, interest: &Interest) {
        let look = limits::RELAY_LOOK.saturating_sub(self.silence());
        let wait = self.record.due().map_or(look, |due| due.min(look));
        tokio::select! {
            () = interest.woken() => {}
            () = self.stop.requested() => {}
            () = self.clock.sleep(wait.max(limits::RELAY_BACKOFF_MIN)) => {}
        }
    }

    async fn back_off(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        self.metrics.failed(error);
        self.show_lag(self.position.unwrap_or_else(|| self.record.cursor()));
        let (relay, failures) = (&self.record.name, self.failures);
        let now = self.clock.monotonic();
        let failing = now.saturating_sub(*self.failing.get_or_insert(now));
        if failing < limits::RELAY_PATIENCE {
            tracing::warn!(%relay, failures, %error, "events cannot be relayed; trying again");
        } else {
            tracing::error!(%relay, failures, ?failing, %error, "events have not been relayed for long; trying again");
        }
        let policy = RetryPolicy::exponential(u32::MAX).with_cap(limits::RELAY_BACKOFF_MAX);
        let wait = policy.delay_after(self.failures, random(&self.ids), error.retry_after());
        // Not at once, however the dice fall: this may go on for hours.
        let wait = wait.unwrap_or(limits::RELAY_BACKOFF_MAX).max(limits::RELAY_BACKOFF_MIN);
        tokio::select! {
            () = self.clock.sleep(wait) => {}
            () = self.stop.requested() => {}
        }
    }

    /// Relays what is committed, and writes down how far that is.
    async fn leave(&mut self, interest: &Interest) {
        let clock = Arc::clone(&self.clock);
        let last = async {
            self.database.head().await?;
            while self.step(interest).await? {}
            self.record.settle().await
        };
        if let Err(error) = timeout(&*clock, limits::RELAY_LEAVE, last).await.flatten() {
            let relay = &self.record.name;
            tracing::warn!(%relay, %error, "not everything was relayed before the end; the next relay goes on from there");
        }
    }
}

/// Whether this relay is to end.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::ShuttingDown)
}

/// Whether the transport will never take what it was given.
fn is_refusal(error: &Error) -> bool {
    !error.is_retryable() && matches!(error.kind(), ErrorKind::PayloadTooLarge | ErrorKind::InvalidInput)
}
