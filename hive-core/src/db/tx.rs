//! What a closure is given: a view to read, or a part of a transaction to write.

#[cfg(feature = "test-util")]
mod rewrite;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;

use super::deadline::Deadline;
use super::guard::Guard;
#[cfg(feature = "postgres")]
use super::postgres::{self, Link};
use super::set::{Cell, Inserted, Set};
use super::sqlite;
use super::sqlite::view::View;
use super::value::{Row, ToValue};
use super::wakes::Wakeups;
use crate::clock::{Clock, Timestamp};

/// Which SQL an engine speaks. Whoever tells them apart wants to hear of a third, so the list is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite's, in which every text is written unless it forks.
    Sqlite,
    /// PostgreSQL's.
    Postgres,
}

/// A consistent view of the database. A [`Tx`] is one too and sees its own writes.
pub struct Snapshot<'a> {
    engine: Engine<'a>,
    clock: &'a dyn Clock,
    /// What the first statement that failed said.
    doomed: RefCell<Option<Error>>,
    #[cfg(feature = "test-util")]
    rewrite: rewrite::Rewrite,
}

/// Where the statements go.
enum Engine<'a> {
    Sqlite(View<'a>),
    #[cfg(feature = "postgres")]
    Postgres(RefCell<&'a mut Link>),
}

impl<'a> Snapshot<'a> {
    pub(super) fn sqlite(
        conn: &'a Connection,
        guard: &'a Guard,
        deadline: Option<Deadline>,
        clock: &'a dyn Clock,
    ) -> Self {
        Self {
            engine: Engine::Sqlite(View::new(conn, guard, deadline)),
            clock,
            doomed: RefCell::new(None),
            #[cfg(feature = "test-util")]
            rewrite: rewrite::Rewrite::default(),
        }
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(link: &'a mut Link, clock: &'a dyn Clock) -> Self {
        Self {
            engine: Engine::Postgres(RefCell::new(link)),
            clock,
            doomed: RefCell::new(None),
            #[cfg(feature = "test-util")]
            rewrite: rewrite::Rewrite::default(),
        }
    }

    /// Which SQL the engine speaks, for the few statements that cannot be one text for both.
    pub fn dialect(&self) -> Dialect {
        match self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    /// What time it is for whoever shares this database: its own clock on PostgreSQL, so that the clocks of several machines
    /// need not agree; the clock given at open on SQLite, which one process owns.
    ///
    /// # Errors
    /// As [`Snapshot::query`]; it is a statement on PostgreSQL.
    pub fn now(&self) -> Result<Timestamp> {
        match self.engine {
            Engine::Sqlite(_) => Ok(self.clock.now()),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => self.query_one(
                "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
                &[],
                |row| row.get(0),
            ),
        }
    }

    /// Every row of the answer, mapped. The statement is prepared once per connection.
    ///
    /// # Errors
    /// As [`Snapshot::each`].
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
    ///
    /// # Errors
    /// As [`Snapshot::each`].
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
    /// `not-found` when there is none; otherwise as [`Snapshot::each`].
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
    /// PostgreSQL sends the whole answer first: give a `LIMIT` where `visit` would stop early.
    ///
    /// # Errors
    /// What `visit` returns, after which the closure may go on. Any other error dooms the closure: its later statements
    /// are refused, and nothing of it is kept, whatever it returns. `invalid-input` for a statement that a closure may not
    /// run (transaction control, settings) or that writes where only reading is possible; `timeout` when the read's time
    /// is up.
    pub fn each(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        mut visit: impl FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        #[cfg(feature = "test-util")]
        let sql = &*self.rewrite.text(sql);
        self.statement(|| match &self.engine {
            Engine::Sqlite(view) => view.each(sql, params, &mut visit),
            #[cfg(feature = "postgres")]
            Engine::Postgres(link) => {
                // Not borrowed while rows are visited: the visitor may have statements of its own.
                let rows = link.borrow_mut().query(sql, params)?;
                for row in &rows {
                    match visit(&Row::postgres(row)) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(own) => return Ok(Err(own)),
                    }
                }
                Ok(Ok(()))
            }
        })?
    }

    /// Several statements without parameters, as migrations have them.
    pub(super) fn script(&self, sql: &str) -> Result<()> {
        self.statement(|| match &self.engine {
            Engine::Sqlite(view) => view.script(sql),
            #[cfg(feature = "postgres")]
            Engine::Postgres(link) => link.borrow_mut().batch(sql),
        })
    }

    /// Runs one statement, unless an earlier one failed; its own failure is remembered.
    ///
    /// PostgreSQL goes on in no transaction in which a statement failed. So that a closure comes to the same end wherever it
    /// runs, none goes on.
    fn statement<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(first) = &*self.doomed.borrow() {
            return Err(after(first));
        }
        run().inspect_err(|error| {
            self.doomed.borrow_mut().get_or_insert_with(|| after(error));
        })
    }

    /// Why nothing of the closure can be kept, if so.
    pub(super) fn doom(&self) -> Option<Error> {
        self.doomed.borrow().as_ref().map(after)
    }

    /// Why the engine rolled back the whole transaction, if that is known.
    pub(super) fn take_broken(&self) -> Option<Error> {
        match &self.engine {
            Engine::Sqlite(view) => view.take_broken(),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => None,
        }
    }
}

/// What is said after a statement has failed with `first`.
fn after(first: &Error) -> Error {
    const MESSAGE: &str = "an earlier statement of the closure failed";
    let error = Error::new(first.kind(), MESSAGE)
        .with(
            "first",
            if first.message() == MESSAGE {
                first.field("first").unwrap_or_default().to_owned()
            } else {
                first.to_string()
            },
        )
        .with_hint("return the first error; wrap what may fail in Tx::attempt to go on after it");
    if first.is_retryable() {
        error.retryable()
    } else {
        error.terminal()
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// What becomes of a point to which a closure can be undone.
#[derive(Clone, Copy)]
enum Mark {
    Set,
    Keep,
    Undo,
}

/// What runs when a commit is on disk.
pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// One closure's part of a transaction: everything in it commits or nothing does.
pub struct Tx<'a> {
    snapshot: Snapshot<'a>,
    wakeups: &'a Arc<Wakeups>,
    hooks: Vec<Hook>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(snapshot: Snapshot<'a>, wakeups: &'a Arc<Wakeups>) -> Self {
        Self {
            snapshot,
            wakeups,
            hooks: Vec::new(),
        }
    }

    /// Runs one statement and returns how many rows it inserted, updated or deleted, or returned if it returns any. The
    /// statement is prepared once.
    ///
    /// # Errors
    /// `conflict` when a constraint refuses the row; `invalid-input` for a value that cannot be stored, and for a statement
    /// that a closure may not run: beginning or ending transactions, savepoints, settings, attaching files, and what
    /// would undo other closures' work (`OR ROLLBACK`, foreign keys checked only at the commit); `storage` and its kin
    /// otherwise. Each of them dooms the closure, see [`Snapshot::each`]: write `ON CONFLICT` where a conflict is no
    /// surprise, or use [`Tx::attempt`].
    pub fn execute(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<usize> {
        #[cfg(feature = "test-util")]
        let sql = &*self.snapshot.rewrite.text(sql);
        self.snapshot.statement(|| match &self.snapshot.engine {
            Engine::Sqlite(view) => view.execute(sql, params),
            #[cfg(feature = "postgres")]
            Engine::Postgres(link) => link.borrow_mut().execute(sql, params),
        })
    }

    /// Inserts one row and returns its integer key, with a statement that ends in `RETURNING` and the key's column.
    ///
    /// # Errors
    /// As [`Tx::execute`]; `conflict` when the statement went without inserting (`ON CONFLICT DO NOTHING`), which dooms
    /// nothing.
    pub fn insert(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<i64> {
        self.query_opt(sql, params, |row| row.get(0))?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the statement gave no key")
                .with("sql", sqlite::one_line(sql))
                .with_hint("it met a row that was there, or does not end in RETURNING and the key's column")
        })
    }

    /// Inserts `rows` as one set and returns how many were inserted, which a conflict clause may make fewer. One statement
    /// on PostgreSQL however many rows, one prepared statement run for each on SQLite.
    ///
    /// # Errors
    /// As [`Tx::execute`]; `invalid-input` when a row has not as many values as the set has columns, or one of another
    /// kind.
    pub fn insert_all(&mut self, set: &'static Set, rows: &[impl AsRef<[Cell]>]) -> Result<usize> {
        for row in rows {
            set.check(row.as_ref())?;
        }
        self.insert_checked(set, rows).map(|inserted| inserted.count)
    }

    /// As [`Tx::insert_all`], and tells for each row the key that it was given; `None` for one that the conflict clause left
    /// out. Keys grow from row to row.
    ///
    /// # Errors
    /// As [`Tx::insert_all`]; `invalid-input` when the set is declared without [`Set::returning`].
    pub fn insert_all_returning(&mut self, set: &'static Set, rows: &[impl AsRef<[Cell]>]) -> Result<Vec<Option<i64>>> {
        set.check_telling()?;
        for row in rows {
            set.check(row.as_ref())?;
        }
        self.insert_checked(set, rows).map(|inserted| inserted.keys)
    }

    /// Inserts rows that fit the set.
    pub(super) fn insert_checked(&mut self, set: &Set, rows: &[impl AsRef<[Cell]>]) -> Result<Inserted> {
        let inserted = self.snapshot.statement(|| match &self.snapshot.engine {
            Engine::Sqlite(view) => view.insert(set, rows),
            #[cfg(feature = "postgres")]
            Engine::Postgres(link) => postgres::insert_set(&mut link.borrow_mut(), set, rows),
        })?;
        if let Some(channel) = set.channel().filter(|_| inserted.count > 0) {
            self.notify(channel);
        }
        Ok(inserted)
    }

    /// Runs a part of the closure that may fail and be undone alone: when `work` fails, what it wrote is undone, its
    /// [`Tx::on_commit`] hooks are forgotten, and the closure can go on.
    ///
    /// # Errors
    /// What `work` returns; or, when it returned a value although one of its statements had failed, that.
    pub fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.hooks.len();
        self.mark(Mark::Set)?;
        let result = work(self);
        let result = match (result, self.snapshot.doom()) {
            (Ok(_), Some(doom)) => Err(doom),
            (result, _) => result,
        };
        if result.is_err() {
            self.hooks.truncate(before);
            // Before the statement is undone none other would be let through.
            let doom = self.snapshot.doomed.take();
            if let Err(error) = self.mark(Mark::Undo) {
                self.snapshot.doomed.replace(doom.or(Some(after(&error))));
            }
            return result;
        }
        self.mark(Mark::Keep)?;
        result
    }

    fn mark(&self, mark: Mark) -> Result<()> {
        self.snapshot.statement(|| match &self.snapshot.engine {
            Engine::Sqlite(view) => match mark {
                Mark::Set => view.control("SAVEPOINT attempt /* a part of a closure */"),
                Mark::Keep => view.control("RELEASE attempt /* a part of a closure */"),
                Mark::Undo => {
                    view.control("ROLLBACK TO attempt /* a part of a closure */")?;
                    view.control("RELEASE attempt /* a part of a closure */")
                }
            },
            #[cfg(feature = "postgres")]
            Engine::Postgres(link) => match mark {
                Mark::Set => {
                    link.borrow_mut().savepoint();
                    Ok(())
                }
                Mark::Keep => link.borrow_mut().release(),
                Mark::Undo => link.borrow_mut().rollback_to(),
            },
        })
    }

    /// Runs `hook` after the commit is on disk and before [`Db::write`](super::Db::write) answers, never if this closure or
    /// the commit fails. It must be short and must not block: wake somebody, count something.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Wakes whoever listens on `channel`, once the commit is on disk: in this process at once, in others that share the
    /// database within milliseconds. Many calls may become one wake-up.
    pub fn notify(&mut self, channel: &'static str) {
        let wakeups = Arc::clone(self.wakeups);
        self.on_commit(move || wakeups.notify(channel));
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
