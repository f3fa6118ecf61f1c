//! What a closure is given: a view to read, or a part of a transaction to write.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{CachedStatement, Connection};

use super::guard::Guard;
use super::sqlite;
use super::value::{self, Row, ToValue};

/// When a read must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) limit: Duration,
}

impl Deadline {
    /// Real time: the engine calls from C while a query runs, and virtual time cannot pass there.
    #[expect(clippy::disallowed_methods, reason = "a deadline inside the engine's own loop")]
    pub(super) fn after(limit: Duration) -> Option<Self> {
        Instant::now().checked_add(limit).map(|at| Self { at, limit })
    }

    #[expect(clippy::disallowed_methods, reason = "a deadline inside the engine's own loop")]
    pub(super) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// A consistent view of the database. A [`Tx`] is one too and sees its own writes.
pub struct Snapshot<'a> {
    conn: &'a Connection,
    guard: &'a Guard,
    /// `None` on the writer.
    deadline: Option<Deadline>,
    /// The first error after which the engine had rolled the whole transaction back.
    broken: RefCell<Option<Error>>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(conn: &'a Connection, guard: &'a Guard, deadline: Option<Deadline>) -> Self {
        Self {
            conn,
            guard,
            deadline,
            broken: RefCell::new(None),
        }
    }

    pub(super) fn connection(&self) -> &'a Connection {
        self.conn
    }

    /// Every row of the answer, mapped. The statement is prepared once per connection.
    pub fn query<T>(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, |row| {
            found.push(map(row)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// The first row, or `None`.
    pub fn query_opt<T>(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.each(sql, params, |row| {
            found = Some(map(row)?);
            Ok(false)
        })?;
        Ok(found)
    }

    /// The first row.
    ///
    /// # Errors
    /// `not-found` when there is none.
    pub fn query_one<T>(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.query_opt(sql, params, map)?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "the query found no row"))
    }

    /// Hands rows to `visit` as they come, until it answers `false`.
    ///
    /// # Errors
    /// What `visit` returns; `invalid-input` for a statement that a closure may not run (transaction control, settings) or
    /// that writes where only reading is possible; `timeout` when the read's time is up.
    pub fn each(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        mut visit: impl FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(value::bind(params)).map_err(|e| self.failed(e, sql))?;
        while let Some(row) = rows.next().map_err(|e| self.failed(e, sql))? {
            if !visit(&Row::new(row))? {
                break;
            }
        }
        Ok(())
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'a>> {
        // After the engine has rolled back, each further statement would be a transaction of its own.
        if self.conn.is_autocommit() {
            return Err(
                Error::new(ErrorKind::Storage, "the transaction was rolled back by the engine")
                    .with("sql", sqlite::one_line(sql))
                    .with_hint("return the first error instead of going on after it"),
            );
        }
        // Short statements never meet the engine's own look at the deadline.
        if let Some(deadline) = self.deadline
            && deadline.left().is_zero()
        {
            return Err(too_slow(deadline));
        }
        let statement = self.conn.prepare_cached(sql).map_err(|e| self.failed(e, sql))?;
        if let Err(error) = self.guard.inspect(sql) {
            statement.discard();
            return Err(error);
        }
        Ok(statement)
    }

    fn failed(&self, source: rusqlite::Error, sql: &str) -> Error {
        if let Some(deadline) = self.deadline {
            match sqlite::error(source, "a statement failed") {
                error if error.kind() == ErrorKind::Timeout => return too_slow(deadline).with_source(error),
                error if error.kind() == ErrorKind::DatabaseReadOnly => {
                    return Error::new(ErrorKind::InvalidInput, "a read cannot write")
                        .with("sql", sqlite::one_line(sql))
                        .with_hint("use Db::write")
                        .with_source(error);
                }
                error => return sqlite::with_sql(error, sql),
            }
        }
        let error = sqlite::with_sql(sqlite::error(source, "a statement failed"), sql);
        if self.conn.is_autocommit() {
            // The others of the transaction did nothing wrong: for them it is the database's trouble, or its owner's.
            let shared = [ErrorKind::DiskFull, ErrorKind::DatabaseReadOnly, ErrorKind::Corrupt];
            let kind = if shared.contains(&error.kind()) {
                error.kind()
            } else {
                ErrorKind::Storage
            };
            let cause = Error::new(kind, "the engine rolled the transaction back").with("cause", &error);
            self.broken.borrow_mut().get_or_insert(cause);
        }
        error
    }

    /// Why the engine rolled back the whole transaction, if that is known.
    pub(super) fn take_broken(&self) -> Option<Error> {
        self.broken.borrow_mut().take()
    }
}

fn too_slow(deadline: Deadline) -> Error {
    Error::new(ErrorKind::Timeout, "the read took longer than its limit").with("limit_ms", deadline.limit.as_millis())
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// What runs when a commit is on disk.
pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// One closure's part of a transaction: everything in it commits or nothing does.
pub struct Tx<'a> {
    snapshot: Snapshot<'a>,
    hooks: Vec<Hook>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a Connection, guard: &'a Guard) -> Self {
        Self {
            snapshot: Snapshot::new(conn, guard, None),
            hooks: Vec::new(),
        }
    }

    /// Runs one statement and returns how many rows it inserted, updated or deleted. The statement is prepared once.
    ///
    /// # Errors
    /// `conflict` when a constraint refuses the row; `invalid-input` for a value that cannot be stored, and for a statement
    /// that a closure may not run: beginning or ending transactions, savepoints, settings, attaching files, and what
    /// would undo other closures' work (`OR ROLLBACK`, foreign keys checked only at the commit); `storage` and its kin
    /// otherwise.
    pub fn execute(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<usize> {
        let mut statement = self.snapshot.prepare(sql)?;
        statement
            .execute(value::bind(params))
            .map_err(|e| self.snapshot.failed(e, sql))
    }

    /// Inserts one row into a table with an integer key and returns that key. Not for `ON CONFLICT DO UPDATE`, which may
    /// insert nothing.
    ///
    /// # Errors
    /// As [`Tx::execute`]; `conflict` when the statement went without inserting (`OR IGNORE`).
    pub fn insert(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<i64> {
        if self.execute(sql, params)? == 0 {
            // The connection would answer with the key of whichever row came last.
            return Err(
                Error::new(ErrorKind::Conflict, "the statement inserted no row").with("sql", sqlite::one_line(sql))
            );
        }
        Ok(self.snapshot.conn.last_insert_rowid())
    }

    /// Runs `hook` on the writer's thread after the commit is on disk and before [`Db::write`](super::Db::write) answers,
    /// never if this closure or the commit fails. It must be short and must not block: wake somebody, count something.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    pub(super) fn take_hooks(&mut self) -> Vec<Hook> {
        std::mem::take(&mut self.hooks)
    }
}

impl<'a> std::ops::Deref for Tx<'a> {
    type Target = Snapshot<'a>;

    fn deref(&self) -> &Snapshot<'a> {
        &self.snapshot
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}
