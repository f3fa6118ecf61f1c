//! Whether what is stored is sound.

use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;

use super::{Db, Engine, migrate, sqlite};
use crate::limits;

#[cfg(feature = "postgres")]
mod server;

/// What [`Db::check`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Concern {
    /// Pages, rows and indexes agree with each other.
    Structure,
    /// No row refers to one that is not there.
    Reference,
    /// The schema is the one that the migrations make.
    Schema,
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Structure => "structure",
            Self::Reference => "reference",
            Self::Schema => "schema",
        })
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What is concerned.
    pub concern: Concern,
    /// What was found, for people.
    pub detail: String,
}

impl Finding {
    fn new(concern: Concern, detail: impl Into<String>) -> Self {
        Self {
            concern,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.concern, self.detail)
    }
}

impl Db {
    /// Looks through the whole database and says what is wrong with it; nothing when it is sound. It changes nothing and holds
    /// up neither reads nor writes.
    ///
    /// On SQLite every page, index and reference is read, which takes about a second for each gigabyte that is in memory, and
    /// the write-ahead log cannot start again meanwhile. On PostgreSQL it is indexes that are not valid, constraints that were
    /// never checked, and every B-tree where the extension `amcheck` is installed and may be used. At most
    /// [`limits::DB_FINDINGS`] of each concern are told.
    ///
    /// # Errors
    /// Damage is a finding and no error. `timeout` after [`limits::DB_APART_TIMEOUT`], on PostgreSQL when one look takes
    /// longer than a read may; `overloaded` when a backup or a check is running; `shutting-down`; `storage` when
    /// the database cannot be reached.
    ///
    /// # Cancel safety
    /// Dropped, checking is broken off.
    pub async fn check(&self) -> Result<Vec<Finding>> {
        let mut found = self.check_migrations().await?;
        match &self.inner.engine {
            Engine::File(file) => {
                let check = |conn: &Connection, _: &_| check_file(conn);
                found.extend(file.readers().apart(limits::DB_APART_TIMEOUT, check).await?);
            }
            // Whoever owns it checks it.
            Engine::Look(look) => return Err(look.refused()),
            #[cfg(feature = "postgres")]
            Engine::Server(_) => found.extend(server::check(self).await?),
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => found.extend(memory.inspect(check_file)?),
        }
        Ok(found)
    }

    async fn check_migrations(&self) -> Result<Vec<Finding>> {
        let sets = self.inner.migrations.clone();
        let looked = self.read(move |db| {
            migrate::check(db, &sets)?;
            migrate::pending(db, &sets)
        });
        match looked.await {
            Ok(pending) => {
                let missing = pending.iter().map(|pending| format!("not in force: {pending:?}"));
                Ok(missing.map(|detail| Finding::new(Concern::Schema, detail)).collect())
            }
            Err(error) if is_schema(&error) => Ok(vec![Finding::new(Concern::Schema, error.to_string())]),
            Err(error) if is_damage(&error) => Ok(vec![Finding::new(Concern::Structure, error.to_string())]),
            Err(error) => Err(error),
        }
    }
}

fn is_schema(error: &Error) -> bool {
    [ErrorKind::SchemaChanged, ErrorKind::SchemaTooNew].contains(&error.kind())
}

fn is_damage(error: &Error) -> bool {
    [ErrorKind::Corrupt, ErrorKind::NotADatabase].contains(&error.kind())
}

fn check_file(conn: &Connection) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    // Both look at the same state.
    let outcome = run(conn, "BEGIN DEFERRED")
        .and_then(|()| structure(conn, &mut found))
        .and_then(|()| references(conn, &mut found));
    match outcome {
        // Damage may be such that not even the looking goes on.
        Err(error) if is_damage(&error) => found.push(Finding::new(Concern::Structure, error.to_string())),
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    Ok(found)
}

fn run(conn: &Connection, sql: &str) -> Result<()> {
    conn.execute_batch(sql).map_err(failed)
}

fn failed(source: rusqlite::Error) -> Error {
    sqlite::error(source, "the database could not be checked")
}

fn structure(conn: &Connection, found: &mut Vec<Finding>) -> Result<()> {
    let sql = format!("PRAGMA integrity_check({})", limits::DB_FINDINGS);
    let mut statement = conn.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let text: String = row.get(0).map_err(failed)?;
        if text != "ok" {
            found.push(Finding::new(Concern::Structure, text));
        }
    }
    Ok(())
}

fn references(conn: &Connection, found: &mut Vec<Finding>) -> Result<()> {
    let sql = "SELECT \"table\", rowid, \"parent\" FROM pragma_foreign_key_check LIMIT ?1";
    let mut statement = conn.prepare(sql).map_err(failed)?;
    let limit = i64::try_from(limits::DB_FINDINGS).unwrap_or(i64::MAX);
    let mut rows = statement.query([limit]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let table: String = row.get(0).map_err(failed)?;
        let id: Option<i64> = row.get(1).map_err(failed)?;
        let parent: String = row.get(2).map_err(failed)?;
        // A table without row ids has none to name.
        let which = id.map_or_else(|| "a row".to_owned(), |id| format!("row {id}"));
        let detail = format!("{which} of {table} refers to nothing in {parent}");
        found.push(Finding::new(Concern::Reference, detail));
    }
    Ok(())
}
