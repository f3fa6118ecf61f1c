//! Migrations: embedded, checksummed, per crate, up and down.

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::guard::{self, Guard, Scope};
use super::sqlite::{self, Writing};
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
    /// SQL that does it. While migrations run, references between tables are not kept (no cascades), so that a table can be
    /// replaced; they are checked at the end.
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

/// Looks at the code's own lists: what is wrong there, no database could mend.
pub(super) fn check_sets(sets: &[&'static Migrations]) -> Result<()> {
    let wrong = |message, set: &Migrations, step: &Migration| {
        Error::new(ErrorKind::InvalidInput, message)
            .with("owner", set.owner)
            .with("version", step.version)
            .with("name", step.name)
            .with_hint("correct the list of migrations in the code; nothing was written")
    };
    for (place, set) in sets.iter().enumerate() {
        if sets.iter().take(place).any(|earlier| earlier.owner == set.owner) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "two sets of migrations have the same owner")
                    .with("owner", set.owner)
                    .with_hint("name each set after its own crate, and give it once"),
            );
        }
        for (index, step) in set.list.iter().enumerate() {
            if usize::try_from(step.version).ok() != Some(index + 1) {
                return Err(wrong("migrations must be numbered 1, 2, 3 … in order", set, step));
            }
            for sql in [step.up, step.down] {
                guard::refuse_breaking(sql)
                    .map_err(|e| wrong("a migration cannot be used", set, step).with_source(e))?;
            }
        }
    }
    Ok(())
}

/// Compares what the file holds with what the code knows. Reads only.
///
/// Owners that the code does not name are left alone: a plain tool may open a file that holds more than it needs.
pub(super) fn check(conn: &Connection, sets: &[&'static Migrations]) -> Result<()> {
    let applied = rows(conn)?;
    for set in sets {
        let mut own: Vec<&AppliedRow> = applied.iter().filter(|row| row.owner == set.owner).collect();
        own.sort_by_key(|row| row.version);
        // A newer program may also have edited what it had not released: that it is newer is what helps.
        if let Some(row) = own
            .iter()
            .find(|row| !set.list.iter().any(|step| step.version == row.version))
        {
            return Err(
                Error::new(ErrorKind::SchemaTooNew, "the database was written by a newer version")
                    .with("owner", &row.owner)
                    .with("found", row.version)
                    .with("known", set.list.len())
                    .with_hint("use the newer version of the program, or undo its migrations with it first"),
            );
        }
        for (row, step) in own.iter().zip(set.list) {
            if row.version != step.version {
                return Err(Error::new(ErrorKind::Corrupt, "the record of a migration is missing")
                    .with("owner", &row.owner)
                    .with("version", step.version)
                    .with("name", step.name));
            }
            if row.checksum != step.checksum() {
                return Err(Error::new(
                    ErrorKind::SchemaChanged,
                    "a migration differs from the one that was applied",
                )
                .with("owner", &row.owner)
                .with("version", row.version)
                .with("name", &row.name));
            }
        }
    }
    Ok(())
}

/// Applies what is missing in one transaction, so that a crash leaves either the old schema or the new one.
pub(super) fn up(writing: &mut Writing, sets: &[&'static Migrations], now: Timestamp) -> Result<()> {
    let Writing { conn, guard, .. } = writing;
    // Nothing to do is the common case and costs no write.
    if pending(conn, sets)?.is_empty() {
        return Ok(());
    }
    sqlite::foreign_keys(conn, false)?;
    let done = up_alone(conn, guard, sets, now);
    // Whatever became of it: the transaction has ended.
    done.and(sqlite::foreign_keys(conn, true))
}

fn up_alone(conn: &mut Connection, guard: &Guard, sets: &[&'static Migrations], now: Timestamp) -> Result<()> {
    let tx = conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(|e| sqlite::error(e, "the schema could not be locked"))?;
    // Inside the transaction, so that an empty file that never got its schema is still nobody's.
    tx.execute_batch(&format!("PRAGMA application_id = {}", sqlite::APPLICATION_ID))
        .map_err(|e| sqlite::error(e, "the file could not be marked as a hive's"))?;
    guard.within(Scope::Migration, || apply(&tx, sets, now))?;
    tx.commit()
        .map_err(|e| sqlite::error(e, "the schema could not be brought up to date"))
}

/// [`up`] inside a transaction of the caller's.
pub(super) fn apply(conn: &Connection, sets: &[&'static Migrations], now: Timestamp) -> Result<()> {
    conn.execute_batch(TABLE)
        .map_err(|e| sqlite::error(e, "the migration table could not be made"))?;
    for (owner, step) in pending(conn, sets)? {
        conn.execute_batch(step.up).map_err(|e| failed(e, owner, step))?;
        conn.execute(
            "INSERT INTO hive_migration (owner, version, name, checksum, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![owner, step.version, step.name, step.checksum(), now.as_micros()],
        )
        .map_err(|e| failed(e, owner, step))?;
    }
    check_references(conn)
}

pub(super) fn down(conn: &Connection, set: &'static Migrations, count: usize) -> Result<()> {
    let mut versions: Vec<u32> = rows(conn)?
        .into_iter()
        .filter(|row| row.owner == set.owner)
        .map(|r| r.version)
        .collect();
    versions.sort_unstable();
    if count > versions.len() {
        return Err(
            Error::new(ErrorKind::InvalidInput, "there are not that many migrations to undo")
                .with("owner", set.owner)
                .with("asked", count)
                .with("applied", versions.len()),
        );
    }
    for version in versions.into_iter().rev().take(count) {
        let Some(step) = set.list.iter().find(|step| step.version == version) else {
            continue;
        };
        conn.execute_batch(step.down).map_err(|e| failed(e, set.owner, step))?;
        conn.execute(
            "DELETE FROM hive_migration WHERE owner = ?1 AND version = ?2",
            params![set.owner, version],
        )
        .map_err(|e| failed(e, set.owner, step))?;
    }
    check_references(conn)
}

/// References between tables are not kept while migrations run, so that a table can be replaced. They hold again at the end.
fn check_references(conn: &Connection) -> Result<()> {
    let lost = conn
        .query_row("PRAGMA foreign_key_check", [], |row| Ok((row.get(0)?, row.get(2)?)))
        .optional();
    let lost: Option<(String, String)> = lost.map_err(|e| sqlite::error(e, "the references could not be checked"))?;
    let Some((table, parent)) = lost else { return Ok(()) };
    Err(
        Error::new(ErrorKind::Conflict, "the migrations leave rows that refer to nothing")
            .with("table", table)
            .with("parent", parent)
            .with_hint("remove or repair such rows in the migration itself; nothing was changed"),
    )
}

/// What is in force, by time; what was applied at one time stands in the order of `sets`, and of versions.
pub(super) fn applied(conn: &Connection, sets: &[&'static Migrations]) -> Result<Vec<Applied>> {
    let mut rows = rows(conn)?;
    let place = |owner: &str| sets.iter().position(|set| set.owner == owner);
    rows.sort_by_key(|row| (row.at, place(&row.owner), row.version));
    Ok(rows
        .into_iter()
        .map(|row| Applied {
            owner: row.owner,
            version: row.version,
            name: row.name,
            at: row.at,
        })
        .collect())
}

fn pending(conn: &Connection, sets: &[&'static Migrations]) -> Result<Vec<(&'static str, &'static Migration)>> {
    let done = rows(conn)?;
    let missing = |set: &&'static Migrations, step: &&'static Migration| {
        !done
            .iter()
            .any(|row| row.owner == set.owner && row.version == step.version)
    };
    Ok(sets
        .iter()
        .flat_map(|set| {
            set.list
                .iter()
                .filter(move |step| missing(set, step))
                .map(|step| (set.owner, step))
        })
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
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'hive_migration'",
            [],
            |_| Ok(()),
        )
        .optional()
        .map_err(failed)?;
    if exists.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = conn
        .prepare("SELECT owner, version, name, checksum, at FROM hive_migration")
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
