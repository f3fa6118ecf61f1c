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

use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::{Head, Recent};
use crate::log::{self, Filter};
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
    /// Nothing is lost when the future is dropped: an event counts as handed out only when it is returned.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return Ok(event);
            }
            // Marks the value as seen, so that only what is committed from here on ends the wait below.
            let head = *self.head.borrow_and_update();
            if head.sequence > self.scanned {
                self.turn_page(head.sequence).await?;
                continue;
            }
            if head.closed || self.head.changed().await.is_err() {
                // A publisher's acknowledgement may overtake the news of its event; the database knows what is committed.
                let last = self.db.read(log::head).await?;
                if last > self.scanned {
                    self.turn_page(last).await?;
                    continue;
                }
                return Err(
                    Error::new(ErrorKind::ShuttingDown, "the bus is closed, no more events will come")
                        .with("cursor", self.cursor())
                        .with_hint("store the cursor to go on from there after the restart"),
                );
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
        if let Some(reached) = self.recent.read_after(&self.pattern, self.scanned, &mut self.page) {
            self.scanned = reached;
            return Ok(());
        }
        let (filter, after) = (Arc::clone(&self.filter), self.scanned);
        let found = self
            .db
            .read(move |db| log::read_after(db, &filter, after, limits::PAGE_EVENTS_MAX))
            .await?;
        // Nothing is awaited from here on, so a dropped future has changed nothing.
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

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("pattern", &self.pattern.as_str())
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}
