//! The tables of consumers: their state, and their dead letters.

use std::collections::BTreeMap;

use hive_core::db::{Cell, Dialect, Kind, Row, Set, Snapshot, ToValue, Tx};
use hive_errors::Result;

use crate::event::Sequence;
use crate::log::{SOME_MAX, in_some};
use crate::transport::{Change, DeadLetter, Register};

const LOAD: &str = "SELECT state, revision FROM consumer WHERE name = ?1";
const CREATE: &str = "INSERT INTO consumer (name, revision, state) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING";
const REPLACE: &str = "UPDATE consumer SET state = ?1, revision = revision + 1 WHERE name = ?2 AND revision = ?3";
const FIND: &str = "SELECT letter FROM dead_letter WHERE consumer = ?17
    AND sequence IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ORDER BY sequence";
const PURGE: &str = "DELETE FROM dead_letter WHERE consumer = ?17
    AND sequence IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// All states. What is to be locked stands behind.
macro_rules! states {
    ($lock:literal) => {
        concat!("SELECT name, state FROM consumer ORDER BY name", $lock)
    };
}

static LETTERS: Set = Set::insert(
    "dead_letter",
    &[
        ("consumer", Kind::Text),
        ("sequence", Kind::Int),
        ("letter", Kind::Blob),
    ],
)
.on_conflict("(consumer, sequence) DO UPDATE SET letter = excluded.letter");

pub(super) fn load(db: &Snapshot<'_>, consumer: &str) -> Result<Option<Register>> {
    db.query_opt(LOAD, &[&consumer], |row| Ok(Register::new(row.get(0)?, row.get(1)?)))
}

/// Each consumer's name and state.
pub(super) fn states(db: &Snapshot<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    read_states(db, states!(""))
}

/// [`states`], of which none changes until the transaction has ended.
pub(super) fn states_held(tx: &mut Tx<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    // Where one writes at a time, there is nobody to be kept from it.
    let alone = tx.dialect() == Dialect::Sqlite;
    read_states(tx, if alone { states!("") } else { states!(" FOR SHARE") })
}

fn read_states(db: &Snapshot<'_>, sql: &str) -> Result<Vec<(String, Vec<u8>)>> {
    db.query(sql, &[], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Replaces the state if it has the expected revision, and gives its new one.
pub(crate) fn store(tx: &mut Tx<'_>, consumer: &str, change: &Change) -> Result<Option<u64>> {
    let Some(revision) = replace(tx, consumer, change)? else {
        return Ok(None);
    };
    // Each once, because a statement replaces no row that it has just written.
    let dead: BTreeMap<u64, &DeadLetter> = change
        .dead
        .iter()
        .map(|letter| (letter.event.sequence().get(), letter))
        .collect();
    let mut letters = Vec::with_capacity(dead.len());
    for (sequence, letter) in dead {
        letters.push([Cell::of(consumer), Cell::of(&sequence), Cell::Blob(letter.to_bytes()?)]);
    }
    if !letters.is_empty() {
        tx.insert_all(&LETTERS, &letters)?;
    }
    purge(tx, consumer, &change.revived)?;
    Ok(Some(revision))
}

fn replace(tx: &mut Tx<'_>, consumer: &str, change: &Change) -> Result<Option<u64>> {
    let (changed, revision) = match change.expected {
        None => {
            // Greater than any that a consumer of this name had before it was removed: states change less than once in a
            // microsecond.
            let first = u64::try_from(tx.now()?.as_micros()).unwrap_or_default().max(1);
            (tx.execute(CREATE, &[&consumer, &first, &change.state])?, first)
        }
        Some(expected) => {
            // No state has come to the last revision there is.
            let Some(next) = expected.checked_add(1) else {
                return Ok(None);
            };
            (tx.execute(REPLACE, &[&change.state, &consumer, &expected])?, next)
        }
    };
    Ok((changed > 0).then_some(revision))
}

pub(super) fn remove(tx: &mut Tx<'_>, consumer: &str) -> Result<bool> {
    tx.execute("DELETE FROM dead_letter WHERE consumer = ?1", &[&consumer])?;
    let removed = tx.execute("DELETE FROM consumer WHERE name = ?1", &[&consumer])?;
    Ok(removed > 0)
}

pub(super) fn consumers(db: &Snapshot<'_>, after: &str, limit: usize) -> Result<Vec<String>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.query(
        "SELECT name FROM consumer WHERE name > ?1 ORDER BY name LIMIT ?2",
        &[&after, &limit],
        |row| row.get(0),
    )
}

pub(super) fn page(db: &Snapshot<'_>, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = i64::try_from(after.get()).unwrap_or(i64::MAX);
    db.query(
        "SELECT letter FROM dead_letter WHERE consumer = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
        &[&consumer, &after, &limit],
        |row| DeadLetter::from_bytes(row.blob(0)?),
    )
}

pub(super) fn find(db: &Snapshot<'_>, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
    let mut found = Vec::new();
    for some in in_some(sequences) {
        let read = |row: &Row<'_>| DeadLetter::from_bytes(row.blob(0)?);
        found.extend(db.query(FIND, &params(&some, &consumer), read)?);
    }
    Ok(found)
}

pub(super) fn purge(tx: &mut Tx<'_>, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
    let mut purged = 0;
    for some in in_some(sequences) {
        purged += tx.execute(PURGE, &params(&some, &consumer))?;
    }
    Ok(purged)
}

fn params<'a>(some: &'a [u64; SOME_MAX], consumer: &'a &str) -> Vec<&'a dyn ToValue> {
    let sequences = some.iter().map(|number| number as &dyn ToValue);
    sequences.chain([consumer as &dyn ToValue]).collect()
}
