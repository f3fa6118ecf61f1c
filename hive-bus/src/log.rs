//! The table of events: how one is written, and how many are read without reading all.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hive_core::clock::Timestamp;
use hive_core::db::{Migration, Migrations, Row, Snapshot, Tx};
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};

use crate::event::{Attributes, Event, Sequence};
use crate::limits;
use crate::topic::{Pattern, Topic};

/// The bus's tables; give them to the database when it is opened.
pub static MIGRATIONS: Migrations = Migrations {
    owner: "hive-bus",
    list: &[Migration::new(
        1,
        "event",
        // AUTOINCREMENT, so that a sequence is not given again after retention took the newest event away. Indexes cost
        // every publisher: the ids grow with time, so theirs grows at its end, and so nearly does that of correlations.
        // The data stands last because SQLite reads a row from the front: what the filter refuses is never loaded.
        "CREATE TABLE event (
                 sequence       INTEGER PRIMARY KEY AUTOINCREMENT,
                 id             BLOB    NOT NULL UNIQUE,
                 time           INTEGER NOT NULL,
                 type           TEXT    NOT NULL,
                 schema_version INTEGER NOT NULL,
                 source         TEXT    NOT NULL,
                 topic          TEXT    NOT NULL,
                 tenant         TEXT    NOT NULL,
                 correlation    TEXT,
                 causation      TEXT,
                 data           BLOB    NOT NULL
             ) STRICT;
             CREATE INDEX event_by_correlation ON event (correlation) WHERE correlation IS NOT NULL;",
        "DROP TABLE event;",
    )],
};

const INSERT: &str = "INSERT INTO event
    (id, time, type, schema_version, source, topic, tenant, correlation, causation, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    RETURNING sequence";

/// A query for whole rows, in the order in which [`read`] takes their columns.
macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT sequence, id, time, type, schema_version, source, topic, tenant, correlation, causation, data
             FROM event WHERE ",
            $where
        )
    };
}

/// The conditions of a [`Filter`] that no index serves. A parameter that is NULL does not filter: one text for every
/// combination, so that few statements are kept prepared.
macro_rules! select_filtered {
    ($where:literal) => {
        concat!(
            select!($where),
            " AND sequence > ?1 AND sequence <= ?2
              AND (?4 IS NULL OR type = ?4) AND (?5 IS NULL OR source = ?5) AND (?6 IS NULL OR tenant = ?6)
              AND (?7 IS NULL OR time >= ?7) AND (?8 IS NULL OR time < ?8)
              AND (?9 IS NULL OR topic >= ?9) AND (?10 IS NULL OR topic < ?10)
              ORDER BY sequence"
        )
    };
}

const BY_ID: &str = select!("id = ?1");
const BY_SEQUENCE: &str = select_filtered!("CAST(?3 AS TEXT) IS NULL");
const BY_CORRELATION: &str = select_filtered!("correlation = ?3");
const HEAD: &str = "SELECT coalesce(max(sequence), 0) FROM event";

/// Writes one event and gives its sequence. Invariant: its attributes have been checked.
pub(crate) fn insert(tx: &mut Tx<'_>, id: EventId, time: Timestamp, attributes: &Attributes) -> Result<Sequence> {
    let Attributes {
        event_type,
        schema_version,
        source,
        topic,
        tenant,
        correlation,
        causation,
        data,
    } = attributes;
    let row = tx.insert(
        INSERT,
        &[
            id.as_bytes(),
            &time,
            &&**event_type,
            schema_version,
            &&**source,
            &topic.as_str(),
            &&**tenant,
            correlation,
            causation,
            data,
        ],
    )?;
    sequence_of(row)
}

/// The event with this id.
pub(crate) fn find(db: &Snapshot<'_>, id: EventId) -> Result<Option<Event>> {
    db.query_opt(BY_ID, &[id.as_bytes()], read)
}

/// The newest event's sequence, or [`Sequence::START`].
pub(crate) fn head(db: &Snapshot<'_>) -> Result<Sequence> {
    db.query_one(HEAD, &[], |row| row.get(0)).and_then(sequence_of)
}

/// Which events somebody wants; `None` wants any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    pub(crate) topics: Option<Pattern>,
    pub(crate) event_type: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// What one look at the log found.
#[derive(Debug)]
pub(crate) struct Found {
    /// In the order of their sequences.
    pub(crate) events: Vec<Event>,
    /// Every event up to here was looked at.
    pub(crate) reached: Sequence,
    /// Whether that is the end of the log, as it stood.
    pub(crate) ended: bool,
}

/// Reads events after `after`, at most `limit` of them and [`limits::PAGE_BYTES_MAX`] bytes (but at least one that matches),
/// looking at no more than [`limits::SCAN_MAX`] sequences unless an index finds them.
pub(crate) fn read_after(db: &Snapshot<'_>, filter: &Filter, after: Sequence, limit: usize) -> Result<Found> {
    let end = head(db)?;
    if end <= after {
        return Ok(Found {
            events: Vec::new(),
            reached: after,
            ended: true,
        });
    }
    let (sql, last) = match filter.correlation {
        Some(_) => (BY_CORRELATION, end),
        None => (
            BY_SEQUENCE,
            end.min(Sequence::new(after.get().saturating_add(limits::SCAN_MAX))),
        ),
    };
    let (topic_from, topic_below) = topic_range(filter.topics.as_ref());
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut reached = last;
    db.each(
        sql,
        &[
            &after.get(),
            &last.get(),
            &filter.correlation,
            &filter.event_type,
            &filter.source,
            &filter.tenant,
            &filter.since,
            &filter.until,
            &topic_from,
            &topic_below,
        ],
        |row| {
            if let Some(pattern) = &filter.topics
                && !pattern.matches_str(row.text(6)?)
            {
                return Ok(true);
            }
            let event = read(row)?;
            bytes += event.bytes();
            let sequence = event.sequence();
            events.push(event);
            let room = events.len() < limit && bytes < limits::PAGE_BYTES_MAX;
            if !room {
                reached = sequence;
            }
            Ok(room)
        },
    )?;
    Ok(Found {
        events,
        reached,
        ended: reached >= end,
    })
}

/// Bounds on the text of every topic that `pattern` can match, for the engine to skip the rest by: from the first, below
/// the second.
fn topic_range(pattern: Option<&Pattern>) -> (Option<String>, Option<String>) {
    let Some(pattern) = pattern else { return (None, None) };
    let prefix = pattern.literal_prefix();
    if pattern.is_literal() {
        // Topics have no control characters, so none lies between a text and the same text with one behind.
        return (Some(prefix.to_owned()), Some(format!("{prefix}\u{1}")));
    }
    match prefix.strip_suffix('.') {
        // `/` follows `.` in ASCII.
        Some(tokens) => (Some(prefix.to_owned()), Some(format!("{tokens}/"))),
        None => (None, None),
    }
}

fn read(row: &Row<'_>) -> Result<Event> {
    let id = <[u8; 16]>::try_from(row.blob(1)?)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "an event's id is not 16 bytes").with_source(e))?;
    let attributes = Attributes {
        event_type: Cow::Owned(row.get(3)?),
        schema_version: row.get(4)?,
        source: Cow::Owned(row.get(5)?),
        topic: Topic::from_stored(row.get(6)?),
        tenant: Cow::Owned(row.get(7)?),
        correlation: row.get(8)?,
        causation: row.get(9)?,
        data: row.get(10)?,
    };
    Ok(Event::published(
        sequence_of(row.get(0)?)?,
        EventId::from_bytes(id),
        row.get(2)?,
        attributes,
    ))
}

fn sequence_of(row: i64) -> Result<Sequence> {
    u64::try_from(row)
        .map(Sequence::new)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "an event's sequence is negative").with_source(e))
}
