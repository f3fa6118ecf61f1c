//! What happened: events by what they are about, and what caused what.

mod trace;

#[cfg(test)]
mod tests;

use std::fmt;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};

pub use self::trace::{Trace, TraceEntry};
use crate::event::{Event, Sequence};
use crate::limits;
use crate::log::Filter;
use crate::topic::Patterns;
use crate::transport::{Database, Transport};

/// Which events of the past to look for. What is not set does not restrict; what is set must all hold.
///
/// A query by correlation goes through an index. Any other reads through the log from where it starts, at a few million
/// rows per second, so begin a rare one [`after`](Query::after) a sequence that you know.
///
/// ```
/// use hive_bus::{Pattern, Query};
///
/// let query = Query::new().topics(Pattern::new("task.failed.>")?).tenant("acme").limit(20);
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a query does nothing until it is given to Bus::history"]
pub struct Query {
    filter: Filter,
    after: Option<Sequence>,
    limit: Option<usize>,
    newest_first: bool,
}

impl Query {
    /// Every event, from the oldest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events of this undertaking.
    pub fn correlation(mut self, correlation: impl fmt::Display) -> Self {
        self.filter.correlation = Some(correlation.to_string());
        self
    }

    /// Only events that this one caused: the id of an event or a task. No index serves it; give the correlation as well where
    /// you know it.
    pub fn causation(mut self, causation: impl fmt::Display) -> Self {
        self.filter.causation = Some(causation.to_string());
        self
    }

    /// Only events on topics that match: a [`Pattern`](crate::Pattern), or several as [`Patterns`].
    pub fn topics(mut self, patterns: impl Into<Patterns>) -> Self {
        self.filter.topics = Some(patterns.into());
        self
    }

    /// Only events of the type with this name.
    pub fn event_type(mut self, name: impl Into<String>) -> Self {
        self.filter.event_type = Some(name.into());
        self
    }

    /// Only events with exactly this source.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.filter.source = Some(source.into());
        self
    }

    /// Only this tenant's events.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.filter.tenant = Some(tenant.into());
        self
    }

    /// Only events that happened at this time or later.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.filter.since = Some(time);
        self
    }

    /// Only events that happened before this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.filter.until = Some(time);
        self
    }

    /// Only events behind this cursor in the order of the query, such as the last page's [`Page::next`]: those with a greater
    /// sequence, or, [newest first](Query::newest_first), this one and those with a lower.
    pub fn after(mut self, cursor: Sequence) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The newest event first, from the end of the log back.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// At most this many events in the page: [`limits::HISTORY_LIMIT_DEFAULT`] unless set, 1 to
    /// [`limits::HISTORY_LIMIT_MAX`].
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = Some(events);
        self
    }
}

/// A part of the answer to a [`Query`], in the order of the sequences or against it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// The events. Fewer than the limit when they are large: a page ends at [`limits::PAGE_BYTES_MAX`] bytes.
    pub events: Vec<Event>,
    /// Where the next page begins: give it to [`Query::after`]. `None` when this page reached the end of the log, or its beginning.
    pub next: Option<Sequence>,
}

pub(crate) async fn page(db: &Database, query: Query) -> Result<Page> {
    let limit = query.limit.unwrap_or(limits::HISTORY_LIMIT_DEFAULT);
    if limit == 0 || limit > limits::HISTORY_LIMIT_MAX {
        return Err(
            Error::new(ErrorKind::InvalidInput, "a history page cannot have this many events")
                .with("limit", limit)
                .with("limit_max", limits::HISTORY_LIMIT_MAX)
                .with_hint("ask for fewer and follow Page::next"),
        );
    }
    let (events, next) = collect(db, query, limit, limits::PAGE_BYTES_MAX).await?;
    Ok(Page { events, next })
}

/// How many events match, whatever the query's limit.
pub(crate) async fn count(db: &Database, query: Query) -> Result<u64> {
    if query.newest_first {
        return Err(
            Error::new(ErrorKind::InvalidInput, "what is counted has no order").with_hint("leave newest_first out")
        );
    }
    // What was acknowledged before the question is part of the answer.
    db.head().await?;
    let (mut count, mut after) = (0, query.after.unwrap_or_default());
    loop {
        let (more, reached, ended) = db.count(query.filter.clone(), after).await?;
        count += more;
        after = reached;
        if ended {
            return Ok(count);
        }
    }
}

pub(crate) async fn trace(db: &Database, correlation: String) -> Result<Trace> {
    let query = Query::new().correlation(correlation);
    let (events, next) = collect(db, query, limits::TRACE_EVENTS_MAX, limits::TRACE_BYTES_MAX).await?;
    Ok(Trace::of(events, next.is_some()))
}

/// Reads until `limit` events or `bytes_max` bytes are found or the log ends. Each read is short, so that a rare match
/// holds no snapshot open for long.
async fn collect(
    db: &Database,
    query: Query,
    limit: usize,
    bytes_max: usize,
) -> Result<(Vec<Event>, Option<Sequence>)> {
    let Query {
        filter,
        mut after,
        newest_first,
        ..
    } = query;
    let mut events = Vec::new();
    let mut bytes = 0;
    // What was acknowledged before the question is part of the answer.
    db.head().await?;
    loop {
        let room = limit - events.len();
        let found = if newest_first {
            db.read_back(filter.clone(), after, room).await?
        } else {
            let after = after.unwrap_or_default();
            db.read_filtered(filter.clone(), after, room).await?
        };
        bytes += found.events.iter().map(Event::bytes).sum::<usize>();
        events.extend(found.events);
        after = Some(found.reached);
        if found.ended {
            return Ok((events, None));
        }
        if events.len() >= limit || bytes >= bytes_max {
            return Ok((events, after));
        }
    }
}
