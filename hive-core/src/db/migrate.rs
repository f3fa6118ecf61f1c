//! Migrations: embedded, checksummed, per crate, up and down.

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::sqlite;
use crate::clock::Timestamp;
use crate::payload::fingerprint;

/// One crate's tables, as the steps that made them.
#[derive(Debug)]
pub struct Migrations {
    /// The crate, by its package name.
    pub owner: &'static str,
    /// Versions 1, 2, 3 … without a gap. Once released, a step is never edited: its checksum is in every database.
    pub list: &'static [Migration],
}

/// One step. Both texts may hold several statements.
#[derive(Debug)]
pub struct Migration {
    /// Its place in the list, from 1.
    pub version: u32,
    /// What it makes, for people.
    pub name: &'static str,
    /// SQL that does it.
    pub up: &'static str,
    /// SQL that undoes it.
    pub down: &'static str,
}

/// A step that is in force in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The crate it belongs to.
    pub owner: String,
    /// Its place in that crate's list.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// When it was applied.
    pub at: Timestamp,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hive_migration (
    owner TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, checksum INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (owner, version)) STRICT, WITHOUT ROWID;";

impl Migration {
    fn checksum(&self) -> i64 {
        fingerprint(format!("{}\0{}", self.up, self.down).as_bytes()).cast_signed()
    }
}

/// Compares what the file holds with what the code knows. Reads only.
///
/// Owners that the code does not name are left alone: a plain tool may open a file that holds more than it needs.
pub(super) fn check(conn: &Connection, sets: &[&'static Migrations]) -> Result<()> {
    for set in sets {
        // Invariant: the code's own list is in order; a gap here is a bug that no database could mend.
        for (index, step) in set.list.iter().enumerate() {
            if usize::try_from(step.version).ok() != Some(index + 1) {
                return Err(Error::new(ErrorKind::Internal, "migrations must be numbered 1, 2, 3 … in order")
                    .with("owner", set.owner)
                    .with("version", step.version));
            }
        }
    }
    let applied = rows(conn)?;
    let known = || {
        applied.iter().filter_map(|row| {
            let set = sets.iter().find(|set| set.owner == row.owner)?;
            Some((row, set, set.list.iter().find(|step| step.version == row.version)))
        })
    };
    // A newer program may also have edited what it had not released: that it is newer is what helps.
    if let Some((row, set, _)) = known().find(|(_, _, step)| step.is_none()) {
        return Err(Error::new(ErrorKind::SchemaTooNew, "the database was written by a newer version")
            .with("owner", &row.owner)
            .with("found", row.version)
            .with("known", set.list.len())
            .with_hint("use the newer version of the program, or undo its migrations with it first"));
    }
    if let Some((row, _, _)) = known().find(|(row, _, step)| step.is_some_and(|step| step.checksum() != row.checksum)) {
        return Err(Error::new(ErrorKind::SchemaChanged, "a migration differs from the one that was applied")
            .with("owner", &row.owner)
            .with("version", row.version)
            .with("name", &row.name));
    }
    Ok(())
}

/// Applies what is missing in one transaction, so that a crash leaves either the old schema or the new one.
pub(super) fn up(conn: &mut Connection, sets: &[&'static Migrations], now: Timestamp) -> Result<()> {
    // Nothing to do is the common case and costs no write.
    if pending(conn, sets)?.is_empty() {
        return Ok(());
    }
    let tx = conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(|e| sqlite::error(e, "the schema could not be locked"))?;
    // Inside the transaction, so that an empty file that never got its schema is still nobody's.
    tx.execute_batch(&format!("PRAGMA application_id = {}", sqlite::APPLICATION_ID))
        .map_err(|e| sqlite::error(e, "the file could not be marked as a hive's"))?;
    apply(&tx, sets, now)?;
    tx.commit().map_err(|e| sqlite::error(e, "the schema could not be brought up to date"))
}

/// [`up`] inside a transaction of the caller's.
pub(super) fn apply(conn: &Connection, sets: &[&'static Migrations], now: Timestamp) -> Result<()> {
    conn.execute_batch(TABLE).map_err(|e| sqlite::error(e, "the migration table could not be made"))?;
    for (owner, step) in pending(conn, sets)? {
        conn.execute_batch(step.up).map_err(|e| failed(e, owner, step))?;
        conn.execute(
            "INSERT INTO hive_migration (owner, version, name, checksum, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![owner, step.version, step.name, step.checksum(), now.as_micros()],
        )
        .map_err(|e| failed(e, owner, step))?;
    }
    Ok(())
}

pub(super) fn down(conn: &Connection, set: &'static Migrations, count: usize) -> Result<()> {
    let mut versions: Vec<u32> = rows(conn)?.into_iter().filter(|row| row.owner == set.owner).map(|r| r.version).collect();
    versions.sort_unstable();
    if count > versions.len() {
        return Err(Error::new(ErrorKind::InvalidInput, "there are not that many migrations to undo")
            .with("owner", set.owner)
            .with("asked", count)
            .with("applied", versions.len()));
    }
    for version in versions.into_iter().rev().take(count) {
        let Some(step) = set.list.iter().find(|step| step.version == version) else { continue };
        conn.execute_batch(step.down).map_err(|e| failed(e, set.owner, step))?;
        conn.execute("DELETE FROM hive_migration WHERE owner = ?1 AND version = ?2", params![set.owner, version])
            .map_err(|e| failed(e, set.owner, step))?;
    }
    Ok(())
}

pub(super) fn applied(conn: &Connection) -> Result<Vec<Applied>> {
    Ok(rows(conn)?
        .into_iter()
        .map(|row| Applied { owner: row.owner, version: row.version, name: row.name, at: row.at })
        .collect())
}

fn pending(conn: &Connection, sets: &[&'static Migrations]) -> Result<Vec<(&'static str, &'static Migration)>> {
    let done = rows(conn)?;
    let missing = |set: &&'static Migrations, step: &&'static Migration| {
        !done.iter().any(|row| row.owner == set.owner && row.version == step.version)
    };
    Ok(sets
        .iter()
        .flat_map(|set| set.list.iter().filter(move |step| missing(set, step)).map(|step| (set.owner, step)))
        .collect())
}

struct AppliedRow {
    owner: String,
    version: u32,
    name: String,
    checksum: i64,
    at: Timestamp,
}

fn rows(conn: &Connection) -> Result<Vec<AppliedRow>> {
    let failed = |e| sqlite::error(e, "the migration table could not be read");
    let exists = conn
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'hive_migration'", [], |_| Ok(()))
        .optional()
        .map_err(failed)?;
    if exists.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = conn
        .prepare("SELECT owner, version, name, checksum, at FROM hive_migration ORDER BY at, owner, version")
        .map_err(failed)?;
    let rows = statement.query_map([], |row| {
        Ok(AppliedRow {
            owner: row.get(0)?,
            version: row.get(1)?,
            name: row.get(2)?,
            checksum: row.get(3)?,
            at: Timestamp::from_micros(row.get(4)?),
        })
    });
    rows.and_then(Iterator::collect).map_err(failed)
}

fn failed(source: rusqlite::Error, owner: &'static str, step: &Migration) -> Error {
    sqlite::error(source, "a migration failed")
        .with("owner", owner)
        .with("version", step.version)
        .with("name", step.name)
}
