//! Live subscriptions, and what becomes of those that do not keep up.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::{Head, Interest};
use crate::pressure::{Pressure, Share};
use crate::topic::Patterns;
use crate::transport::{Found, Transport};

/// What happens to a subscription that is further behind than its publishers are ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lag {
    /// It reads what it missed from the log, a page at a time, and gets everything. Costs neither memory nor its publishers'
    /// time.
    #[default]
    CatchUp,
    /// [`Bus::publish`](crate::Bus::publish) in this process waits while it is more than so many events behind, up to
    /// [`limits::PUBLISH_TIMEOUT`]. Publishing inside a transaction, and by other processes, does not wait.
    Block(u64),
    /// What is more than so many events old when it comes to it is left out, and counted by [`Subscription::dropped`].
    DropOldest(u64),
    /// It ends with an error when it is more than so many events behind.
    Disconnect(u64),
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    Now,
    After(Sequence),
    At(Timestamp),
}

/// A subscription that is being made; await it. See [`Bus::subscribe`](crate::Bus::subscribe).
#[must_use = "a subscription does nothing until it is awaited"]
#[derive(Debug)]
pub struct Subscribe {
    transport: Arc<dyn Transport>,
    pressure: Arc<Pressure>,
    patterns: Result<Patterns>,
    start: Start,
    lag: Lag,
}

impl Subscribe {
    pub(crate) fn new(transport: Arc<dyn Transport>, pressure: Arc<Pressure>, patterns: Result<Patterns>) -> Self {
        Self {
            transport,
            pressure,
            patterns,
            start: Start::Now,
            lag: Lag::CatchUp,
        }
    }

    /// Begins with the event of this sequence, if it matches, and goes on with all that follow; the past first, then
    /// live, without a gap between.
    pub fn from(self, first: Sequence) -> Self {
        self.after(first.before())
    }

    /// Begins behind `cursor`, which is what [`Subscription::cursor`] gave; [`Sequence::START`] begins with the oldest event.
    pub fn after(mut self, cursor: Sequence) -> Self {
        self.start = Start::After(cursor);
        self
    }

    /// Begins with the first event dated `time` or later.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.start = Start::At(time);
        self
    }

    /// What happens when it does not keep up; [`Lag::CatchUp`] unless set.
    pub fn lag(mut self, lag: Lag) -> Self {
        self.lag = lag;
        self
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self {
                transport,
                pressure,
                patterns,
                start,
                lag,
            } = self;
            let patterns = patterns?;
            if matches!(lag, Lag::Block(0) | Lag::DropOldest(0) | Lag::Disconnect(0)) {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "a subscription must be allowed to be one event behind",
                )
                .with("lag", format!("{lag:?}"))
                .with_hint("give a number from 1"));
            }
            // Before the end of the log is asked for, so that what comes after that is not missed.
            let interest = transport.live().interest(&patterns, None);
            let head = transport.head().await?;
            let scanned = match start {
                Start::Now => head,
                Start::After(cursor) => cursor,
                Start::At(time) => transport.before(time).await?,
            };
            let share = match lag {
                Lag::Block(most) => Some(pressure.join(scanned, most)),
                Lag::CatchUp | Lag::DropOldest(_) | Lag::Disconnect(_) => None,
            };
            Ok(Subscription {
                transport,
                interest,
                patterns,
                scanned,
                page: VecDeque::new(),
                reading: None,
                lag,
                share,
                dropped: 0,
                caught_up: false,
            })
        })
    }
}

/// The events that match some patterns, each once and in the order of their sequences.
///
/// It is a cursor over the log. [`Subscription::next`] hands out what is committed, and waits at the end until more is.
/// What it holds in memory is bounded by [`limits::PAGE_EVENTS_MAX`] and [`limits::PAGE_BYTES_MAX`]; what happens when it
/// does not keep up, its [`Lag`] says. Unless that is set, it loses nothing and holds nobody up.
///
/// The cursor lives in memory only. To go on after a restart, store [`Subscription::cursor`] and give it to
/// [`Subscribe::after`], or let a durable [`Consumer`](crate::Consumer) keep it.
pub struct Subscription {
    transport: Arc<dyn Transport>,
    interest: Interest,
    patterns: Patterns,
    /// Everything up to here was handed out, is in `page`, was dropped, or does not match.
    scanned: Sequence,
    page: VecDeque<Event>,
    /// The read of what comes after `scanned`, while it runs.
    reading: Option<Reading>,
    lag: Lag,
    /// What publishers wait for.
    share: Option<Share>,
    dropped: u64,
    /// It had seen everything up to the end of the log when it began to wait.
    caught_up: bool,
}

/// A read that goes on when nobody polls it: a caller that drops [`Subscription::next`] at every tick of a clock still gets
/// ahead, and one that never calls again keeps no connection.
struct Reading {
    task: JoinHandle<Result<Found>>,
    /// Known to be committed before the read began, so the read has seen everything up to here.
    head: Sequence,
    /// What it finds is too old to be handed out, up to here.
    skip: Option<Sequence>,
}

impl Subscription {
    /// The next event that matches; waits for it.
    ///
    /// # Errors
    /// `shutting-down` once [`Bus::close`](crate::Bus::close) was called and everything that was committed until then has
    /// been handed out; also when the transport is closed. `overloaded` when it is further behind than [`Lag::Disconnect`]
    /// allows, with its cursor; it stays so. `storage` and its kin when the log cannot be read: the subscription stays where
    /// it is, and calling again tries again.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: an event counts as handed out only when it is returned, and a read that
    /// was under way is taken up by the next call.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            // Before looking, so that what is committed from here on ends the wait below.
            if let Some(first) = self.interest.take() {
                // Nothing before the first event that woke is for this subscription, where it had seen all before.
                if std::mem::take(&mut self.caught_up) {
                    self.scanned = self.scanned.max(first.before());
                }
            }
            let head = self.transport.live().head();
            self.keep_up(head.sequence)?;
            if let Some(event) = self.page.pop_front() {
                if let Some(share) = &self.share {
                    share.moved(event.sequence());
                }
                return Ok(event);
            }
            if head.sequence > self.scanned || self.reading.is_some() {
                self.turn_page(head).await?;
            } else if head.closed {
                // A publisher's acknowledgement may overtake the news of its event; the log knows what is committed.
                let scanned = self.scanned;
                self.turn_page(head).await?;
                if self.scanned == scanned && self.page.is_empty() {
                    return Err(
                        Error::new(ErrorKind::ShuttingDown, "the bus is closed, no more events will come")
                            .with("cursor", self.cursor())
                            .with_hint("store the cursor to go on from there after the restart"),
                    );
                }
            } else {
                self.caught_up = true;
                self.interest.woken().await;
            }
        }
    }

    /// Up to where everything that matches has been handed out by [`Subscription::next`], or dropped.
    pub fn cursor(&self) -> Sequence {
        self.page.front().map_or(self.scanned, |next| next.sequence().before())
    }

    /// How many events that match were left out because they were too old, as [`Lag::DropOldest`] asks.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The patterns it was made with.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Does what the lag policy says when the log is far ahead.
    fn keep_up(&mut self, head: Sequence) -> Result<()> {
        let behind = head.get().saturating_sub(self.cursor().get());
        match self.lag {
            Lag::Disconnect(most) if behind > most => Err(Error::new(
                ErrorKind::Overloaded,
                "the subscription is too far behind and was ended",
            )
            .with("behind", behind)
            .with("limit", most)
            .with("cursor", self.cursor())
            .with_hint("subscribe again behind the cursor, and do less between two events")
            .terminal()),
            Lag::DropOldest(most) if behind > most => {
                let keep = Sequence::new(head.get() - most);
                while self.page.front().is_some_and(|event| event.sequence() <= keep) {
                    self.page.pop_front();
                    self.dropped += 1;
                }
                Ok(())
            }
            Lag::CatchUp | Lag::Block(_) | Lag::Disconnect(_) | Lag::DropOldest(_) => Ok(()),
        }
    }

    /// What comes after `scanned` up to here is too old to be handed out.
    fn too_old(&self, head: Sequence) -> Option<Sequence> {
        match self.lag {
            Lag::DropOldest(most) => {
                let keep = Sequence::new(head.get().saturating_sub(most));
                (keep > self.scanned).then_some(keep)
            }
            Lag::CatchUp | Lag::Block(_) | Lag::Disconnect(_) => None,
        }
    }

    /// Takes up what comes next, from memory if it is there. The head is known to be committed.
    async fn turn_page(&mut self, head: Head) -> Result<()> {
        // A read under way stands for the page after `scanned`; taking that from memory would hand it out twice.
        if self.reading.is_none()
            && let Some((events, reached)) =
                self.transport
                    .live()
                    .recent(&self.patterns, self.scanned, limits::PAGE_EVENTS_MAX)
        {
            self.take(events, reached, self.too_old(head.sequence));
            return Ok(());
        }
        let skip = self.too_old(head.sequence);
        let reading = self.reading.get_or_insert_with(|| {
            let (transport, patterns, after) = (Arc::clone(&self.transport), self.patterns.clone(), self.scanned);
            let task = tokio::spawn(async move { transport.read(&patterns, after, limits::PAGE_EVENTS_MAX).await });
            Reading {
                task,
                head: head.sequence,
                skip,
            }
        });
        let found = (&mut reading.task).await;
        let (head, skip) = (reading.head, reading.skip);
        self.reading = None;
        // Nothing is awaited from here on, so a dropped future has changed nothing.
        let found =
            found.map_err(|e| Error::new(ErrorKind::Internal, "reading events was cut short").with_source(e))??;
        // The end of the log may lie before `head`, when retention took the newest events away.
        let reached = if found.ended {
            found.reached.max(head)
        } else {
            found.reached
        };
        self.take(found.events, reached, skip);
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>, reached: Sequence, skip: Option<Sequence>) {
        for event in events {
            if skip.is_some_and(|skip| event.sequence() <= skip) {
                self.dropped += 1;
            } else {
                self.page.push_back(event);
            }
        }
        self.scanned = reached;
        if self.page.is_empty()
            && let Some(share) = &self.share
        {
            share.moved(reached);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.task.abort();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("patterns", &self.patterns.to_string())
            .field("cursor", &self.cursor())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}
