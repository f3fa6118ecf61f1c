//! Migrations: embedded, checksummed, per crate, up and down.

use hive_errors::{Error, ErrorKind, Result};

use super::guard;
use super::tx::{Dialect, Snapshot, Tx};
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

/// One step.
///
/// ```
/// use hive_core::db::{Migration, Migrations};
///
/// static NOTES: Migrations = Migrations {
///     owner: "notes",
///     list: &[Migration::new(
///         1,
///         "note",
///         "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",
///         "DROP TABLE note;",
///     )],
/// };
/// ```
#[derive(Debug)]
pub struct Migration {
    pub(super) version: u32,
    pub(super) name: &'static str,
    sqlite: Texts,
    postgres: Texts,
}

#[derive(Clone, Copy, Debug)]
struct Texts {
    up: &'static str,
    down: &'static str,
}

impl Migration {
    /// A step with its place in the list, from 1, a name for people, SQL that does it and SQL that undoes it. Both texts
    /// may hold several statements.
    ///
    /// They are written in SQLite's SQL and serve PostgreSQL as well: types and table options are put in its words (see
    /// [the module](super)). While migrations run, references between tables are not kept on SQLite (no cascades), so that a
    /// table can be replaced; they are checked at the end.
    pub const fn new(version: u32, name: &'static str, up: &'static str, down: &'static str) -> Self {
        let texts = Texts { up, down };
        Self {
            version,
            name,
            sqlite: texts,
            postgres: texts,
        }
    }

    /// Gives PostgreSQL texts of its own.
    pub const fn postgres(mut self, up: &'static str, down: &'static str) -> Self {
        self.postgres = Texts { up, down };
        self
    }

    fn texts(&self, dialect: Dialect) -> Texts {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }

    fn checksum(&self, dialect: Dialect) -> i64 {
        let Texts { up, down } = self.texts(dialect);
        fingerprint(format!("{up}\0{down}").as_bytes()).cast_signed()
    }
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

/// A step that is not in force yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// The crate it belongs to.
    pub owner: &'static str,
    /// Its place in that crate's list.
    pub version: u32,
    /// Its name.
    pub name: &'static str,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hive_migration (
    owner TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, checksum INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (owner, version)) STRICT, WITHOUT ROWID;";

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
            for sql in [step.sqlite.up, step.sqlite.down] {
                guard::refuse_breaking(sql)
                    .map_err(|e| wrong("a migration cannot be used", set, step).with_source(e))?;
            }
        }
    }
    Ok(())
}

/// Compares what the database holds with what the code knows. Reads only.
///
/// Owners that the code does not name are left alone: a plain tool may open a database that holds more than it needs.
pub(super) fn check(db: &Snapshot<'_>, sets: &[&'static Migrations]) -> Result<()> {
    let applied = rows(db)?;
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
            if row.checksum != step.checksum(db.dialect()) {
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

/// Applies what is missing, within one transaction, so that a crash leaves either the old schema or the new one.
pub(super) fn up(tx: &mut Tx<'_>, sets: &[&'static Migrations]) -> Result<()> {
    exclude_others(tx)?;
    // Whoever was first may have been a newer program.
    check(tx, sets)?;
    tx.script(TABLE)?;
    let now = tx.now()?;
    for (owner, step) in missing(tx, sets)? {
        tx.script(step.texts(tx.dialect()).up)
            .map_err(|e| failed(e, owner, step))?;
        tx.execute(
            "INSERT INTO hive_migration (owner, version, name, checksum, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[&owner, &step.version, &step.name, &step.checksum(tx.dialect()), &now],
        )
        .map_err(|e| failed(e, owner, step))?;
    }
    check_references(tx)
}

/// Undoes the last `count` steps of one owner, newest first, within one transaction.
pub(super) fn down(tx: &mut Tx<'_>, set: &'static Migrations, count: usize) -> Result<()> {
    exclude_others(tx)?;
    let mut versions: Vec<u32> = rows(tx)?
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
        tx.script(step.texts(tx.dialect()).down)
            .map_err(|e| failed(e, set.owner, step))?;
        tx.execute(
            "DELETE FROM hive_migration WHERE owner = ?1 AND version = ?2",
            &[&set.owner, &version],
        )
        .map_err(|e| failed(e, set.owner, step))?;
    }
    check_references(tx)
}

/// Lets one process at a time change the schema. A SQLite file has only one.
fn exclude_others(tx: &Tx<'_>) -> Result<()> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => tx.each(
            "SELECT pg_advisory_xact_lock(hashtextextended('hive migrations in ' || current_schema(), 0))",
            &[],
            |_| Ok(true),
        ),
    }
}

/// References between tables are not kept while migrations run on SQLite, so that a table can be replaced. They hold again
/// at the end. PostgreSQL keeps them all the time.
fn check_references(tx: &Tx<'_>) -> Result<()> {
    let lost = match tx.dialect() {
        Dialect::Sqlite => tx.query_opt("PRAGMA foreign_key_check", &[], |row| {
            Ok((row.get::<String>(0)?, row.get::<String>(2)?))
        })?,
        Dialect::Postgres => None,
    };
    let Some((table, parent)) = lost else { return Ok(()) };
    Err(
        Error::new(ErrorKind::Conflict, "the migrations leave rows that refer to nothing")
            .with("table", table)
            .with("parent", parent)
            .with_hint("remove or repair such rows in the migration itself; nothing was changed"),
    )
}

/// What is in force, by time; what was applied at one time stands in the order of `sets`, and of versions.
pub(super) fn applied(db: &Snapshot<'_>, sets: &[&'static Migrations]) -> Result<Vec<Applied>> {
    let mut rows = rows(db)?;
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

/// What is not in force yet, in the order in which it would be applied.
pub(super) fn pending(db: &Snapshot<'_>, sets: &[&'static Migrations]) -> Result<Vec<Pending>> {
    let describe = |(owner, step): (&'static str, &'static Migration)| Pending {
        owner,
        version: step.version,
        name: step.name,
    };
    Ok(missing(db, sets)?.into_iter().map(describe).collect())
}

fn missing(db: &Snapshot<'_>, sets: &[&'static Migrations]) -> Result<Vec<(&'static str, &'static Migration)>> {
    let done = rows(db)?;
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

fn rows(db: &Snapshot<'_>) -> Result<Vec<AppliedRow>> {
    let exists = match db.dialect() {
        Dialect::Sqlite => "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'hive_migration'",
        Dialect::Postgres => "SELECT 1 WHERE to_regclass('hive_migration') IS NOT NULL",
    };
    if db.query_opt(exists, &[], |_| Ok(()))?.is_none() {
        return Ok(Vec::new());
    }
    let all = "SELECT owner, version, name, checksum, at FROM hive_migration";
    db.query(all, &[], |row| {
        Ok(AppliedRow {
            owner: row.get(0)?,
            version: row.get(1)?,
            name: row.get(2)?,
            checksum: row.get(3)?,
            at: row.get(4)?,
        })
    })
}

fn failed(error: Error, owner: &'static str, step: &Migration) -> Error {
    Error::new(error.kind(), "a migration failed")
        .with("owner", owner)
        .with("version", step.version)
        .with("name", step.name)
        .with_hint(error.hint().to_owned())
        .with_source(error)
}
