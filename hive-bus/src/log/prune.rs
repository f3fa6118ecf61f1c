//! What retention asks of the table of events, and takes from it.

use std::ops::ControlFlow;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot, Tx};
use hive_errors::Result;

use super::sequence_of;
use crate::event::Sequence;
use crate::topic::Topic;

/// What there is to know of an event to decide on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) sequence: Sequence,
    pub(crate) time: Timestamp,
    pub(crate) topic: Topic,
    /// Of its data and attributes, as the columns hold them.
    pub(crate) bytes: u64,
}

/// SQLite takes the size of data from the row's head, without reading it.
macro_rules! select_outline {
    ($rest:literal) => {
        concat!(
            "SELECT sequence, time, topic, CAST(octet_length(type) + octet_length(source) + octet_length(topic)
                 + octet_length(tenant) + coalesce(octet_length(correlation), 0) + coalesce(octet_length(causation), 0)
                 + coalesce(octet_length(key), 0) + coalesce(octet_length(traceparent), 0)
                 + coalesce(octet_length(extensions), 0) + octet_length(data) AS INTEGER)
             FROM event WHERE ",
            $rest
        )
    };
}

const OLDEST: &str = select_outline!("sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3");
const NEWEST: &str = select_outline!("sequence <= ?1 ORDER BY sequence DESC LIMIT ?2");

/// Shows events after `after` and up to `until`, oldest first, at most `limit`. Up to where that was everything.
pub(crate) fn oldest(
    db: &Snapshot<'_>,
    after: Sequence,
    until: Sequence,
    limit: u64,
    mut visit: impl FnMut(Outline),
) -> Result<Sequence> {
    let mut seen = 0;
    let mut reached = after;
    db.each(OLDEST, &[&after.get(), &until.get(), &limit], |row| {
        let outline = read(row)?;
        seen += 1;
        reached = outline.sequence;
        visit(outline);
        Ok(true)
    })?;
    Ok(if seen < limit { until.max(after) } else { reached })
}

/// Shows events up to `until`, newest first, at most `limit` of them or until `visit` has seen enough. Where it goes on; `None` at
/// the end.
pub(crate) fn newest(
    db: &Snapshot<'_>,
    until: Sequence,
    limit: u64,
    mut visit: impl FnMut(Outline) -> ControlFlow<()>,
) -> Result<Option<Sequence>> {
    let mut seen = 0;
    let mut next = None;
    let until = i64::try_from(until.get()).unwrap_or(i64::MAX);
    db.each(NEWEST, &[&until, &limit], |row| {
        let outline = read(row)?;
        seen += 1;
        next = Some(outline.sequence.before());
        let flow = visit(outline);
        if flow.is_break() {
            next = None;
        }
        Ok(flow.is_continue())
    })?;
    Ok(next.filter(|_| seen >= limit))
}

/// Removes events and says which of them there still were.
pub(crate) fn remove_all(tx: &mut Tx<'_>, sequences: &[Sequence]) -> Result<Vec<Sequence>> {
    let mut gone = Vec::with_capacity(sequences.len());
    match tx.dialect() {
        Dialect::Sqlite => {
            for sequence in sequences {
                if tx.execute("DELETE FROM event WHERE sequence = ?1", &[&sequence.get()])? > 0 {
                    gone.push(*sequence);
                }
            }
        }
        Dialect::Postgres => {
            let list: Vec<String> = sequences.iter().map(Sequence::to_string).collect();
            let sql = "DELETE FROM event WHERE sequence = ANY (CAST(string_to_array(?1, ',') AS BIGINT[]))
                       RETURNING sequence";
            tx.each(sql, &[&list.join(",")], |row| {
                gone.push(sequence_of(row.get(0)?)?);
                Ok(true)
            })?;
        }
    }
    Ok(gone)
}

fn read(row: &Row<'_>) -> Result<Outline> {
    Ok(Outline {
        sequence: sequence_of(row.get(0)?)?,
        time: row.get(1)?,
        topic: Topic::from_stored(row.get(2)?),
        bytes: row.get(3)?,
    })
}
