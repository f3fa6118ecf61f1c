//! The tables of consumers: their state, and their dead letters.

use hive_core::db::{Snapshot, Tx};
use hive_errors::Result;

use crate::event::Sequence;
use crate::transport::{Change, DeadLetter, Register};

const LOAD: &str = "SELECT state, revision FROM consumer WHERE name = ?1";
const CREATE: &str = "INSERT INTO consumer (name, revision, state) VALUES (?1, 1, ?2) ON CONFLICT (name) DO NOTHING";
const REPLACE: &str = "UPDATE consumer SET state = ?1, revision = revision + 1 WHERE name = ?2 AND revision = ?3";
const BURY: &str = "INSERT INTO dead_letter (consumer, sequence, letter) VALUES (?1, ?2, ?3)
    ON CONFLICT (consumer, sequence) DO UPDATE SET letter = excluded.letter";
const PURGE: &str = "DELETE FROM dead_letter WHERE consumer = ?1 AND sequence = ?2";

pub(super) fn load(db: &Snapshot<'_>, consumer: &str) -> Result<Option<Register>> {
    db.query_opt(LOAD, &[&consumer], |row| Ok(Register::new(row.get(0)?, row.get(1)?)))
}

/// Replaces the state if it has the expected revision, and gives its new one.
pub(crate) fn store(tx: &mut Tx<'_>, consumer: &str, change: &Change) -> Result<Option<u64>> {
    let (changed, revision) = match change.expected {
        None => (tx.execute(CREATE, &[&consumer, &change.state])?, 1),
        Some(expected) => (
            tx.execute(REPLACE, &[&change.state, &consumer, &expected])?,
            expected + 1,
        ),
    };
    if changed == 0 {
        return Ok(None);
    }
    for letter in &change.dead {
        let sequence = letter.event.sequence().get();
        tx.execute(BURY, &[&consumer, &sequence, &letter.to_bytes()?])?;
    }
    purge(tx, consumer, &change.revived)?;
    Ok(Some(revision))
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
    db.query(
        "SELECT letter FROM dead_letter WHERE consumer = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
        &[&consumer, &after.get(), &limit],
        |row| DeadLetter::from_bytes(row.blob(0)?),
    )
}

pub(super) fn find(db: &Snapshot<'_>, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
    let mut found = Vec::new();
    for sequence in sequences {
        found.extend(db.query_opt(
            "SELECT letter FROM dead_letter WHERE consumer = ?1 AND sequence = ?2",
            &[&consumer, &sequence.get()],
            |row| DeadLetter::from_bytes(row.blob(0)?),
        )?);
    }
    Ok(found)
}

pub(super) fn purge(tx: &mut Tx<'_>, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
    let mut purged = 0;
    for sequence in sequences {
        purged += tx.execute(PURGE, &[&consumer, &sequence.get()])?;
    }
    Ok(purged)
}
