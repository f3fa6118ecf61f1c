//! The table of events: how one is written, and how many are read without reading all.

mod prune;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Dialect, Kind, Migration, Migrations, Row, Set, Snapshot, ToValue, Tx};
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result};

pub(crate) use self::prune::{Outline, newest, oldest, remove_all};
use crate::event::{Attributes, Event, Extensions, Sequence};
use crate::limits;
use crate::schema::store;
use crate::topic::{Pattern, Patterns, Topic};

/// The bus's tables; give them to the database when it is opened.
pub static MIGRATIONS: Migrations = Migrations {
    owner: "hive-bus",
    list: &[
        Migration::new(
            1,
            "event",
            // AUTOINCREMENT, so that a sequence is not given again after retention took the newest event away. Indexes
            // cost every publisher: the ids grow with time, so theirs grows at its end, and so nearly does that of
            // correlations. The data stands last because SQLite reads a row from the front: what the filter refuses is
            // never loaded.
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
                 key            TEXT,
                 traceparent    TEXT,
                 expires        INTEGER,
                 extensions     TEXT,
                 data           BLOB    NOT NULL
             ) STRICT;
             CREATE INDEX event_by_correlation ON event (correlation) WHERE correlation IS NOT NULL;",
            "DROP TABLE event;",
        )
        // Several publish at once here, and a lower sequence may be committed after a higher one. Whoever takes a sequence
        // holds a shared lock from before that until its transaction has ended, and whoever finds a gap can tell from the
        // lock whether it may still be filled: see `transport/database/follow.rs`.
        .postgres(
            "CREATE SEQUENCE event_sequence AS BIGINT;
             CREATE FUNCTION event_next_sequence() RETURNS BIGINT LANGUAGE plpgsql AS $body$
             BEGIN
                 PERFORM pg_advisory_xact_lock_shared(1751742053, 1);
                 RETURN nextval('event_sequence');
             END $body$;
             CREATE TABLE event (
                 sequence       BIGINT PRIMARY KEY DEFAULT event_next_sequence(),
                 id             BYTEA  NOT NULL UNIQUE,
                 time           BIGINT NOT NULL,
                 type           TEXT   NOT NULL,
                 schema_version BIGINT NOT NULL,
                 source         TEXT   NOT NULL,
                 topic          TEXT   NOT NULL,
                 tenant         TEXT   NOT NULL,
                 correlation    TEXT,
                 causation      TEXT,
                 key            TEXT,
                 traceparent    TEXT,
                 expires        BIGINT,
                 extensions     TEXT,
                 data           BYTEA  NOT NULL
             );
             CREATE INDEX event_by_correlation ON event (correlation) WHERE correlation IS NOT NULL;",
            "DROP TABLE event; DROP FUNCTION event_next_sequence(); DROP SEQUENCE event_sequence;",
        ),
        Migration::new(
            2,
            "consumer",
            // The state is a small document that only one writer at a time replaces, by its revision. A dead letter holds
            // its event whole, so that retention may take the original away.
            "CREATE TABLE consumer (
                 name     TEXT    PRIMARY KEY,
                 revision INTEGER NOT NULL,
                 state    BLOB    NOT NULL
             ) STRICT, WITHOUT ROWID;
             CREATE TABLE dead_letter (
                 consumer TEXT    NOT NULL,
                 sequence INTEGER NOT NULL,
                 letter   BLOB    NOT NULL,
                 PRIMARY KEY (consumer, sequence)
             ) STRICT, WITHOUT ROWID;",
            "DROP TABLE dead_letter; DROP TABLE consumer;",
        ),
        Migration::new(3, "event schema", store::CREATE, store::DROP),
    ],
};

/// How many rows one statement looks for by their sequences.
pub(crate) const SOME_MAX: usize = 16;

/// A query for whole rows, in the order in which [`read`] takes their columns.
macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT sequence, id, time, type, schema_version, source, topic, tenant, correlation, causation, key,
                 traceparent, expires, extensions, data
             FROM event WHERE ",
            $where
        )
    };
}

/// The conditions of a [`Filter`] that no index serves. A parameter that is NULL does not filter: one text for every
/// combination, so that few statements are kept prepared. Each is compared first, which tells PostgreSQL its type.
macro_rules! filtered {
    ($select:expr, $where:literal, $more:literal) => {
        concat!(
            $select,
            $where,
            " AND sequence > ?1 AND sequence <= ?2
              AND (type = ?4 OR ?4 IS NULL) AND (source = ?5 OR ?5 IS NULL) AND (tenant = ?6 OR ?6 IS NULL)
              AND (time >= ?7 OR ?7 IS NULL) AND (time < ?8 OR ?8 IS NULL)
              AND (topic >= ?9 OR ?9 IS NULL) AND (topic < ?10 OR ?10 IS NULL)
              AND (causation = ?11 OR ?11 IS NULL)
              ",
            $more
        )
    };
}

macro_rules! select_filtered {
    ($where:literal, $more:literal, $order:literal) => {
        concat!(filtered!(select!(""), $where, $more), " ORDER BY sequence", $order)
    };
}

/// SQLite hands rows over one by one and stops when told to. PostgreSQL sends the whole answer, so there the statement knows
/// how much of what it finds is wanted.
macro_rules! bounded {
    ($select:expr, $limit:literal, $bytes:literal, $order:literal) => {
        concat!(
            "SELECT sequence, id, time, type, schema_version, source, topic, tenant, correlation, causation, key,
                 traceparent, expires, extensions, data
             FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY sequence",
            $order,
            ") - octet_length(data) AS before FROM (",
            $select,
            " LIMIT ",
            $limit,
            ") AS found) AS measured WHERE before < ",
            $bytes,
            " ORDER BY sequence",
            $order
        )
    };
}

macro_rules! select_bounded {
    ($where:literal, $order:literal) => {
        bounded!(
            select_filtered!($where, "AND (topic ~ ?12 OR ?12 IS NULL)", $order),
            "?13",
            "?14",
            $order
        )
    };
}

/// The same query, in the four forms that there are of it.
struct Forms {
    /// By sequence, by correlation.
    sqlite: [&'static str; 2],
    postgres: [&'static str; 2],
}

macro_rules! forms {
    ($order:literal) => {
        Forms {
            sqlite: [
                select_filtered!("CAST(?3 AS TEXT) IS NULL", "", $order),
                select_filtered!("correlation = ?3", "", $order),
            ],
            postgres: [
                select_bounded!("CAST(?3 AS TEXT) IS NULL", $order),
                select_bounded!("correlation = ?3", $order),
            ],
        }
    };
}

const BY_ID: &str = select!("id = ?1");
static FORWARD: Forms = forms!("");
static BACKWARD: Forms = forms!(" DESC");
/// SQLite does not know patterns; there the topics are looked at one by one.
static COUNT: Forms = Forms {
    sqlite: [
        filtered!("SELECT topic FROM event WHERE ", "CAST(?3 AS TEXT) IS NULL", ""),
        filtered!("SELECT topic FROM event WHERE ", "correlation = ?3", ""),
    ],
    postgres: [
        filtered!(
            "SELECT count(*) FROM event WHERE ",
            "CAST(?3 AS TEXT) IS NULL",
            "AND (topic ~ ?12 OR ?12 IS NULL)"
        ),
        filtered!(
            "SELECT count(*) FROM event WHERE ",
            "correlation = ?3",
            "AND (topic ~ ?12 OR ?12 IS NULL)"
        ),
    ],
};
#[cfg(feature = "postgres")]
const NEXT: &str = bounded!(
    select!("sequence > ?1 AND sequence <= ?2 ORDER BY sequence"),
    "?3",
    "?4",
    ""
);
const SOME: &str =
    select!("sequence IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ORDER BY sequence");
const HEAD: &str = "SELECT coalesce(max(sequence), 0) FROM event";
const NEXT_ABOVE: &str = "SELECT sequence FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT 1";
const NEXT_BELOW: &str = "SELECT sequence FROM event WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT 1";
const TIME_FROM: &str = "SELECT sequence, time FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT 1";

/// Who hears of what was published.
pub(crate) const PUBLISHED: &str = "hive_bus_event";

/// Rows that many append, where a statement for each would cost too much.
pub(crate) static EVENTS: Set = Set::insert(
    "event",
    &[
        ("id", Kind::Blob),
        ("time", Kind::Int),
        ("type", Kind::Text),
        ("schema_version", Kind::Int),
        ("source", Kind::Text),
        ("topic", Kind::Text),
        ("tenant", Kind::Text),
        ("correlation", Kind::Text),
        ("causation", Kind::Text),
        ("key", Kind::Text),
        ("traceparent", Kind::Text),
        ("expires", Kind::Int),
        ("extensions", Kind::Text),
        ("data", Kind::Blob),
    ],
)
.on_conflict("(id) DO NOTHING")
.returning("id", "sequence")
.notifying(PUBLISHED);

/// An event as a row of [`EVENTS`].
pub(crate) fn row(id: EventId, time: Timestamp, attributes: &Attributes) -> Vec<Cell> {
    vec![
        Cell::of(id.as_bytes().as_slice()),
        Cell::of(&time),
        Cell::of(&*attributes.event_type),
        Cell::of(&attributes.schema_version),
        Cell::of(&*attributes.source),
        Cell::of(attributes.topic.as_str()),
        Cell::of(&*attributes.tenant),
        Cell::of(&attributes.correlation),
        Cell::of(&attributes.causation),
        Cell::of(&attributes.key),
        Cell::of(&attributes.traceparent),
        Cell::of(&attributes.expires),
        Cell::of(&extensions_column(attributes)),
        Cell::of(&attributes.data),
    ]
}

/// Writes rows of [`EVENTS`] and gives their sequences, which grow; `None` for one whose id is there.
pub(crate) fn insert_all(tx: &mut Tx<'_>, rows: &[Vec<Cell>]) -> Result<Vec<Option<Sequence>>> {
    let keys = tx.insert_all_returning(&EVENTS, rows)?;
    keys.into_iter().map(|key| key.map(sequence_of).transpose()).collect()
}

fn extensions_column(attributes: &Attributes) -> Option<String> {
    attributes.extensions.as_deref().map(Extensions::to_column)
}

/// The event with this id.
pub(crate) fn find(db: &Snapshot<'_>, id: EventId) -> Result<Option<Event>> {
    db.query_opt(BY_ID, &[id.as_bytes()], read)
}

/// The newest event's sequence, or [`Sequence::START`].
pub(crate) fn head(db: &Snapshot<'_>) -> Result<Sequence> {
    db.query_one(HEAD, &[], |row| row.get(0)).and_then(sequence_of)
}

/// The greatest sequence that was ever given, also when its event is gone or was rolled back; [`Sequence::START`] when none was.
pub(crate) fn last_given(db: &Snapshot<'_>) -> Result<Sequence> {
    let sql = match db.dialect() {
        Dialect::Sqlite => "SELECT seq FROM sqlite_sequence WHERE name = 'event'",
        Dialect::Postgres => "SELECT last_value FROM event_sequence WHERE is_called",
    };
    let last = db.query_opt(sql, &[], |row| row.get(0))?;
    last.map_or(Ok(Sequence::START), sequence_of)
}

/// Removes the event with this id; whether there was one.
pub(crate) fn remove(tx: &mut Tx<'_>, id: EventId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM event WHERE id = ?1", &[id.as_bytes()])? > 0)
}

/// Which events somebody wants; `None` wants any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    pub(crate) topics: Option<Patterns>,
    pub(crate) event_type: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) causation: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// What one look at a log found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// In the order of their sequences.
    pub events: Vec<Event>,
    /// Every event up to here was looked at.
    pub reached: Sequence,
    /// Whether that is the end of the log, as it stood.
    pub ended: bool,
}

impl Found {
    /// These events were found, looking at everything up to `reached`.
    pub fn new(events: Vec<Event>, reached: Sequence, ended: bool) -> Self {
        Self { events, reached, ended }
    }
}

/// Reads events after `after` and up to `end`, at most `limit` of them and [`limits::PAGE_BYTES_MAX`] bytes (but at least one
/// that matches), looking at no more than [`limits::SCAN_MAX`] sequences unless an index finds them.
pub(crate) fn read_after(
    db: &Snapshot<'_>,
    filter: &Filter,
    after: Sequence,
    end: Sequence,
    limit: usize,
) -> Result<Found> {
    if end <= after {
        return Ok(Found::new(Vec::new(), after, true));
    }
    let last = filter.stretch_after(after).min(end);
    let (events, stopped) = read_stretch(db, filter, &FORWARD, after, last, limit)?;
    let mut reached = stopped.unwrap_or(last);
    if events.is_empty() && reached < end {
        // Where retention has left nothing, there may be nothing for long.
        let next: Option<i64> = db.query_opt(NEXT_ABOVE, &[&last.get()], |row| row.get(0))?;
        let next = next.map(sequence_of).transpose()?;
        reached = next.map_or(end, Sequence::before).clamp(last, end);
    }
    Ok(Found::new(events, reached, reached >= end))
}

/// [`read_after`] in the other direction: events up to `until`, newest first. Every event after `reached` was looked at then, and it
/// has ended when there is none left.
pub(crate) fn read_before(db: &Snapshot<'_>, filter: &Filter, until: Sequence, limit: usize) -> Result<Found> {
    if until == Sequence::START {
        return Ok(Found::new(Vec::new(), until, true));
    }
    let first = filter.stretch_before(until);
    let (events, stopped) = read_stretch(db, filter, &BACKWARD, first, until, limit)?;
    let mut reached = stopped.map_or(first, Sequence::before);
    if stopped.is_none() {
        let next: Option<i64> = db.query_opt(NEXT_BELOW, &[&reached.get()], |row| row.get(0))?;
        reached = next.map_or(Ok(Sequence::START), sequence_of)?;
    }
    Ok(Found::new(events, reached, reached == Sequence::START))
}

/// How many events after `after` match, up to where that was counted, and whether that is `end`. It looks no further than
/// [`read_after`] does.
pub(crate) fn count_after(
    db: &Snapshot<'_>,
    filter: &Filter,
    after: Sequence,
    end: Sequence,
) -> Result<(u64, Sequence, bool)> {
    let last = filter.stretch_after(after).min(end);
    if last <= after {
        return Ok((0, after, true));
    }
    let mut count = 0;
    filter.each(db, &COUNT, after, last, None, |row| {
        match (db.dialect(), &filter.topics) {
            (Dialect::Postgres, _) => count += row.get::<u64>(0)?,
            (_, Some(patterns)) => count += u64::from(patterns.matches_str(row.text(0)?)),
            (_, None) => count += 1,
        }
        Ok(true)
    })?;
    Ok((count, last, last >= end))
}

/// The events after `after` and up to `until` in the order of these forms, and the one that filled the page, if any did.
fn read_stretch(
    db: &Snapshot<'_>,
    filter: &Filter,
    forms: &Forms,
    after: Sequence,
    until: Sequence,
    limit: usize,
) -> Result<(Vec<Event>, Option<Sequence>)> {
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut data = 0;
    let mut stopped = None;
    filter.each(db, forms, after, until, Some(limit), |row| {
        if let Some(patterns) = &filter.topics
            && !patterns.matches_str(row.text(6)?)
        {
            return Ok(true);
        }
        let event = read(row)?;
        bytes += event.bytes();
        data += event.data().size();
        let sequence = event.sequence();
        events.push(event);
        // The second bound is the one that PostgreSQL goes by: where the answer may have ended early, so does this.
        let room = events.len() < limit && bytes < limits::PAGE_BYTES_MAX && data < limits::PAGE_BYTES_MAX;
        if !room {
            stopped = Some(sequence);
        }
        Ok(room)
    })?;
    Ok((events, stopped))
}

impl Filter {
    /// How far one look goes that begins after `after`.
    fn stretch_after(&self, after: Sequence) -> Sequence {
        match self.correlation {
            Some(_) => Sequence::new(i64::MAX.cast_unsigned()),
            None => Sequence::new(after.get().saturating_add(limits::SCAN_MAX)),
        }
    }

    /// How far one look goes that begins at `until` and goes back.
    fn stretch_before(&self, until: Sequence) -> Sequence {
        match self.correlation {
            Some(_) => Sequence::START,
            None => Sequence::new(until.get().saturating_sub(limits::SCAN_MAX)),
        }
    }

    /// Shows the rows after `after` and up to `until` that match, but for the patterns, which SQLite does not know; with a limit,
    /// PostgreSQL is told of it.
    fn each(
        &self,
        db: &Snapshot<'_>,
        forms: &Forms,
        after: Sequence,
        until: Sequence,
        limit: Option<usize>,
        visit: impl FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let (topic_from, topic_below) = topic_range(self.topics.as_ref());
        let (after, until) = (after.get(), until.get());
        let mut params: Vec<&dyn ToValue> = vec![
            &after,
            &until,
            &self.correlation,
            &self.event_type,
            &self.source,
            &self.tenant,
            &self.since,
            &self.until,
            &topic_from,
            &topic_below,
            &self.causation,
        ];
        let regex = self.topics.as_ref().and_then(Patterns::regex);
        let bounds = limit.map(|limit| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            (limit, i64::try_from(limits::PAGE_BYTES_MAX).unwrap_or(i64::MAX))
        });
        let [by_sequence, by_correlation] = match db.dialect() {
            Dialect::Sqlite => forms.sqlite,
            Dialect::Postgres => {
                params.push(&regex);
                if let Some((limit, bytes)) = &bounds {
                    params.extend::<[&dyn ToValue; 2]>([limit, bytes]);
                }
                forms.postgres
            }
        };
        let sql = match self.correlation {
            Some(_) => by_correlation,
            None => by_sequence,
        };
        db.each(sql, &params, visit)
    }
}

/// All events after `after` and up to `end`, at most `limit` of them and [`limits::PAGE_BYTES_MAX`] bytes of data (but at least
/// one); and whether that is all.
#[cfg(feature = "postgres")]
pub(crate) fn next(db: &Snapshot<'_>, after: Sequence, end: Sequence, limit: usize) -> Result<(Vec<Event>, bool)> {
    let (after, end) = (after.get(), end.get().min(i64::MAX.cast_unsigned()));
    let (rows, bytes) = (limit as u64, limits::PAGE_BYTES_MAX as u64);
    let events = db.query(NEXT, &[&after, &end, &rows, &bytes], read)?;
    let data: usize = events.iter().map(|event| event.data().size()).sum();
    let all = events.len() < limit && data < limits::PAGE_BYTES_MAX;
    Ok((events, all))
}

/// The events with these sequences, as far as there are any, in the order asked for.
pub(crate) fn get(db: &Snapshot<'_>, sequences: &[Sequence]) -> Result<Vec<Event>> {
    let mut found = HashMap::with_capacity(sequences.len());
    for some in in_some(sequences) {
        let params: Vec<&dyn ToValue> = some.iter().map(|number| number as &dyn ToValue).collect();
        for event in db.query(SOME, &params, read)? {
            found.insert(event.sequence(), event);
        }
    }
    let wanted = sequences.iter().filter_map(|sequence| found.get(sequence));
    Ok(wanted.cloned().collect())
}

/// Sequences for statements that look for [`SOME_MAX`] at once: on a server, each statement is a journey. What a statement has
/// room for beyond the last is that one again.
pub(crate) fn in_some(sequences: &[Sequence]) -> impl Iterator<Item = [u64; SOME_MAX]> {
    sequences.chunks(SOME_MAX).filter_map(|chunk| {
        let last = chunk.last()?.get();
        let mut some = [last; SOME_MAX];
        for (place, sequence) in some.iter_mut().zip(chunk) {
            *place = sequence.get();
        }
        Some(some)
    })
}

/// The cursor that stands before the first event dated `time` or later, at `end` at most, as if the log were in the order of its
/// dates: it is but for events that were published with a date of their own, which may end up on either side.
pub(crate) fn before(db: &Snapshot<'_>, time: Timestamp, end: Sequence) -> Result<Sequence> {
    let at = |after: u64| {
        db.query_opt(TIME_FROM, &[&after], |row| {
            Ok((sequence_of(row.get(0)?)?.get(), row.get::<Timestamp>(1)?))
        })
    };
    // Invariant: every event up to `low` is earlier, and the first one after `high` is not, or there is none.
    let (mut low, mut high) = (0, end.get());
    while low < high {
        let middle = low + (high - low) / 2;
        match at(middle)? {
            Some((sequence, found)) if found < time && sequence <= high => low = sequence,
            Some(_) | None => high = middle,
        }
    }
    Ok(Sequence::new(low))
}

/// Bounds on the text of every topic that one of the patterns can match, for the engine to skip the rest by: from the first,
/// below the second.
fn topic_range(patterns: Option<&Patterns>) -> (Option<String>, Option<String>) {
    let mut ranges = patterns.into_iter().flat_map(Patterns::iter).map(pattern_range);
    let Some((mut from, mut below)) = ranges.next() else {
        return (None, None);
    };
    for (other_from, other_below) in ranges {
        // A missing bound bounds nothing: whatever the others say, neither does the whole.
        from = from.zip(other_from).map(|(one, other)| one.min(other));
        below = below.zip(other_below).map(|(one, other)| one.max(other));
    }
    (from, below)
}

fn pattern_range(pattern: &Pattern) -> (Option<String>, Option<String>) {
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
    let extensions: Option<String> = row.get(13)?;
    let attributes = Attributes {
        event_type: Cow::Owned(row.get(3)?),
        schema_version: row.get(4)?,
        source: Cow::Owned(row.get(5)?),
        topic: Topic::from_stored(row.get(6)?),
        tenant: Cow::Owned(row.get(7)?),
        correlation: row.get(8)?,
        causation: row.get(9)?,
        key: row.get(10)?,
        traceparent: row.get(11)?,
        expires: row.get(12)?,
        extensions: extensions
            .as_deref()
            .map(Extensions::from_column)
            .transpose()?
            .map(Box::new),
        data: row.get(14)?,
    };
    Ok(Event::published(
        sequence_of(row.get(0)?)?,
        EventId::from_bytes(id),
        row.get(2)?,
        attributes,
    ))
}

pub(crate) fn sequence_of(row: i64) -> Result<Sequence> {
    u64::try_from(row)
        .map(Sequence::new)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "an event's sequence is negative").with_source(e))
}
