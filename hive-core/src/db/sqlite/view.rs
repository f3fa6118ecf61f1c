//! What a closure sees of SQLite: its statements, run on a connection that others share in turn.

use std::cell::RefCell;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::{CachedStatement, Connection};

use super::super::deadline::Deadline;
use super::super::guard::{Guard, Scope};
use super::super::set::{Cell, Inserted, Set};
use super::super::value::{self, Row, ToValue};
use super::{error, one_line, with_sql};

/// One closure's part of a transaction.
pub(in crate::db) struct View<'a> {
    conn: &'a Connection,
    guard: &'a Guard,
    /// `None` on the writer.
    deadline: Option<Deadline>,
    /// The first error after which the engine had rolled the whole transaction back.
    broken: RefCell<Option<Error>>,
}

impl<'a> View<'a> {
    pub(in crate::db) fn new(conn: &'a Connection, guard: &'a Guard, deadline: Option<Deadline>) -> Self {
        Self {
            conn,
            guard,
            deadline,
            broken: RefCell::new(None),
        }
    }

    pub(in crate::db) fn each(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<Result<()>> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(value::bind(params)).map_err(|e| self.failed(e, sql))?;
        while let Some(row) = rows.next().map_err(|e| self.failed(e, sql))? {
            match visit(&Row::sqlite(row)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(own) => return Ok(Err(own)),
            }
        }
        Ok(Ok(()))
    }

    pub(in crate::db) fn execute(&self, sql: &str, params: &[&dyn ToValue]) -> Result<usize> {
        let mut statement = self.prepare(sql)?;
        if statement.column_count() == 0 {
            return statement.execute(value::bind(params)).map_err(|e| self.failed(e, sql));
        }
        // What it returns is not wanted, only how much.
        let mut rows = statement.query(value::bind(params)).map_err(|e| self.failed(e, sql))?;
        let mut count = 0;
        while rows.next().map_err(|e| self.failed(e, sql))?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Inserts rows that fit the set, one after another.
    pub(in crate::db) fn insert<R: AsRef<[Cell]>>(&self, set: &Set, rows: &[R]) -> Result<Inserted> {
        let mut inserted = Inserted::default();
        if rows.is_empty() {
            return Ok(inserted);
        }
        let sql = set.row_sql();
        let mut statement = self.prepare(sql)?;
        let tells = set.check_telling().is_ok();
        for row in rows {
            let count = statement
                .execute(value::bind(row.as_ref()))
                .map_err(|e| self.failed(e, sql))?;
            inserted.count += count;
            if tells {
                // The engine remembers it anyway; `RETURNING` would make a table for the answer each time.
                inserted.keys.push((count > 0).then(|| self.conn.last_insert_rowid()));
            }
        }
        Ok(inserted)
    }

    /// Several statements without parameters, as migrations have them.
    pub(in crate::db) fn script(&self, sql: &str) -> Result<()> {
        self.conn.execute_batch(sql).map_err(|e| self.failed(e, sql))
    }

    /// One of the house's own statements that closures may not run.
    pub(in crate::db) fn control(&self, sql: &'static str) -> Result<()> {
        self.guard.within(Scope::House, || {
            super::run(self.conn, sql, "a part of the transaction could not be set apart")
        })
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'a>> {
        // After the engine has rolled back, each further statement would be a transaction of its own.
        if self.conn.is_autocommit() {
            return Err(
                Error::new(ErrorKind::Storage, "the transaction was rolled back by the engine")
                    .with("sql", one_line(sql))
                    .with_hint("return the first error instead of going on after it"),
            );
        }
        // Short statements never meet the engine's own look at the deadline.
        if let Some(deadline) = self.deadline
            && deadline.has_passed()
        {
            return Err(deadline.passed());
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
            match error(source, "a statement failed") {
                error if error.kind() == ErrorKind::Timeout => return deadline.passed().with_source(error),
                error if error.kind() == ErrorKind::DatabaseReadOnly => {
                    return Error::new(ErrorKind::InvalidInput, "a read cannot write")
                        .with("sql", one_line(sql))
                        .with_hint("use Db::write")
                        .with_source(error);
                }
                error => return with_sql(error, sql),
            }
        }
        let error = with_sql(error(source, "a statement failed"), sql);
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
    pub(in crate::db) fn take_broken(&self) -> Option<Error> {
        self.broken.borrow_mut().take()
    }
}
