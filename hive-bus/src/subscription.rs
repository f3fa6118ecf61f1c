//! Live subscriptions that miss nothing.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use hive_core::db::Db;
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::{Head, Recent};
use crate::log::{self, Filter, Found};
use crate::topic::Pattern;

/// A subscription that is being made; await it. See [`Bus::subscribe`](crate::Bus::subscribe).
#[must_use = "a subscription does nothing until it is awaited"]
#[derive(Debug)]
pub struct Subscribe {
    pub(crate) db: Db,
    pub(crate) head: watch::Receiver<Head>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) pattern: Result<Pattern>,
    /// `None`: from now on.
    pub(crate) after: Option<Sequence>,
}

impl Subscribe {
    /// Begins with the event of this sequence, if it matches, and goes on with all that follow; the past first, then
    /// live, without a gap between.
    pub fn from(self, first: Sequence) -> Self {
        self.after(first.before())
    }

    /// Begins behind `cursor`, which is what [`Subscription::cursor`] gave; [`Sequence::START`] begins with the oldest event.
    pub fn after(mut self, cursor: Sequence) -> Self {
        self.after = Some(cursor);
        self
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self {
                db,
                head,
                recent,
                pattern,
                after,
            } = self;
            let pattern = pattern?;
            let scanned = match after {
                Some(cursor) => cursor,
                // A snapshot holds every write acknowledged before it, so what was published before is the past.
                None => db.read(log::head).await?,
            };
            let filter = Filter {
                topics: Some(pattern.clone()),
                ..Filter::default()
            };
            Ok(Subscription {
                db,
                head,
                recent,
                pattern,
                filter: Arc::new(filter),
                scanned,
                page: VecDeque::new(),
                reading: None,
            })
        })
    }
}

/// The events that match a pattern, each once and in the order of their sequences.
///
/// It is a cursor over the log. [`Subscription::next`] hands out what is committed, and waits at the end until more is.
/// A subscriber that does not keep up loses nothing and holds nobody up: it reads what it missed from the database, a
/// page at a time, so what it holds in memory is bounded by [`limits::PAGE_EVENTS_MAX`] and [`limits::PAGE_BYTES_MAX`].
///
/// The cursor lives in memory only. To go on after a restart, store [`Subscription::cursor`] and give it to
/// [`Subscribe::after`].
pub struct Subscription {
    db: Db,
    head: watch::Receiver<Head>,
    recent: Arc<Recent>,
    pattern: Pattern,
    filter: Arc<Filter>,
    /// Everything up to here was handed out, is in `page`, or does not match.
    scanned: Sequence,
    page: VecDeque<Event>,
    /// The read of what comes after `scanned`, while it runs.
    reading: Option<Reading>,
}

/// A read that goes on when nobody polls it: a caller that drops [`Subscription::next`] at every tick of a clock still gets
/// ahead, and one that never calls again keeps no connection.
struct Reading {
    task: JoinHandle<Result<Found>>,
    /// Known to be committed before the read began, so the read has seen everything up to here.
    head: Sequence,
}

impl Subscription {
    /// The next event that matches; waits for it.
    ///
    /// # Errors
    /// `shutting-down` once [`Bus::close`](crate::Bus::close) was called, or the last handle to the bus is gone, and
    /// everything that was committed until then has been handed out; also when the database is closed. `storage` and its
    /// kin when the database cannot be read: the subscription stays where it is, and calling again tries again.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: an event counts as handed out only when it is returned, and a read that
    /// was under way is taken up by the next call.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return Ok(event);
            }
            // Marks the value as seen, so that only what is committed from here on ends the wait below.
            let head = *self.head.borrow_and_update();
            if head.sequence > self.scanned {
                self.turn_page(head.sequence).await?;
            } else if head.closed || self.head.changed().await.is_err() {
                // A publisher's acknowledgement may overtake the news of its event; the database knows what is committed.
                let scanned = self.scanned;
                self.turn_page(scanned).await?;
                if self.scanned == scanned {
                    return Err(
                        Error::new(ErrorKind::ShuttingDown, "the bus is closed, no more events will come")
                            .with("cursor", self.cursor())
                            .with_hint("store the cursor to go on from there after the restart"),
                    );
                }
            }
        }
    }

    /// Up to where everything that matches has been handed out by [`Subscription::next`].
    pub fn cursor(&self) -> Sequence {
        self.page.front().map_or(self.scanned, |next| next.sequence().before())
    }

    /// The pattern it was made with.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Takes up what comes next, from memory if it is there. `head` is known to be committed.
    async fn turn_page(&mut self, head: Sequence) -> Result<()> {
        // A read under way stands for the page after `scanned`; taking that from memory would hand it out twice.
        if self.reading.is_none()
            && let Some(reached) = self.recent.read_after(&self.pattern, self.scanned, &mut self.page)
        {
            self.scanned = reached;
            return Ok(());
        }
        let reading = self.reading.get_or_insert_with(|| {
            let (db, filter, after) = (self.db.clone(), Arc::clone(&self.filter), self.scanned);
            let task = tokio::spawn(async move {
                db.read(move |db| log::read_after(db, &filter, after, limits::PAGE_EVENTS_MAX))
                    .await
            });
            Reading { task, head }
        });
        let found = (&mut reading.task).await;
        let head = reading.head;
        self.reading = None;
        // Nothing is awaited from here on, so a dropped future has changed nothing.
        let found =
            found.map_err(|e| Error::new(ErrorKind::Internal, "reading events was cut short").with_source(e))??;
        self.page.extend(found.events);
        // The end of the table may lie before `head`, when retention took the newest events away.
        self.scanned = if found.ended {
            found.reached.max(head)
        } else {
            found.reached
        };
        Ok(())
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
            .field("pattern", &self.pattern.as_str())
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}
