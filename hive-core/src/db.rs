//! The database: closures, not connections.
//!
//! [`Db::write`] runs a short synchronous closure on the one writer, together with whatever else waits, and answers when
//! the commit that holds it is on disk: *acknowledged means on disk*. [`Db::read`] runs a closure on a consistent
//! snapshot from a pool of read-only connections. A closure cannot await, so nobody holds the write lock across one.
//!
//! ```
//! use hive_core::db::{Db, Migration, Migrations, Options};
//!
//! static NOTES: Migrations = Migrations {
//!     owner: "notes",
//!     list: &[Migration {
//!         version: 1,
//!         name: "note",
//!         up: "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",
//!         down: "DROP TABLE note;",
//!     }],
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> hive_errors::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("notes.db");
//! let db = Db::open(Options::file(path).migrations(&NOTES)).await?;
//! db.write(|tx| tx.execute("INSERT INTO note (text) VALUES (?1)", &[&"on disk from here on"])).await?;
//! let notes = db.read(|db| db.query("SELECT text FROM note", &[], |row| row.get::<String>(0))).await?;
//! assert_eq!(notes, ["on disk from here on"]);
//! db.close().await
//! # }
//! ```
//!
//! A closure that fails undoes only its own work; the others in its batch commit. What must be true together is written
//! in one closure.

mod batch;
mod lock;
mod migrate;
mod reader;
mod sqlite;
mod value;


use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

pub use self::migrate::{Applied, Migration, Migrations};
pub use self::value::{FromValue, Row, ToValue, Value};
use crate::clock::{Clock, SystemClock};
use crate::limits;

/// Where the database is and how it is opened.
#[derive(Clone, Debug)]
pub struct Options {
    path: PathBuf,
    migrations: Vec<&'static Migrations>,
    readers: usize,
    write_timeout: Duration,
    read_timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Options {
    /// One SQLite file, made when it does not exist. Its folder must exist.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            migrations: Vec::new(),
            readers: limits::DB_READERS,
            write_timeout: limits::DB_WRITE_TIMEOUT,
            read_timeout: limits::DB_READ_TIMEOUT,
            clock: Arc::new(SystemClock),
        }
    }

    /// Adds a crate's tables. They are checked before anything is written and brought up to date at open, in the order
    /// given.
    pub fn migrations(mut self, set: &'static Migrations) -> Self {
        self.migrations.push(set);
        self
    }

    /// How long a write waits for a place in the writer's queue before it is refused with `overloaded`; 30 s unless set.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a read may take, waiting for a connection included, before it is interrupted; 10 s unless set.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// How many read-only connections serve [`Db::read`]; at least 1.
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = count.max(1);
        self
    }

    /// The clock that dates migrations; the system's unless set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// How much the writer has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Closures whose work is on disk.
    pub writes: u64,
    /// Commits that carried them; `writes / commits` is the mean batch.
    pub commits: u64,
}

/// A handle to the database. Clones are cheap and share one writer and one pool of readers.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    // Before the writer, which gives the file's lock back when it ends.
    readers: reader::Readers,
    writer: batch::Writer,
    migrations: Vec<&'static Migrations>,
    clock: Arc<dyn Clock>,
}

impl Db {
    /// Opens the file, or makes it, and brings its schema up to date.
    ///
    /// One process owns the file at a time: an operating-system lock beside it (`<file>-lock`) is taken first and given
    /// back when the last handle goes, or when the process dies, however it dies.
    ///
    /// # Errors
    /// Nothing has been written when one of these comes back: `database-locked` (another process has it), `not-a-database`
    /// (the file is something else), `schema-too-new` and `schema-changed` (see [`Migrations`]), `database-read-only`,
    /// `storage` for anything else that the file system refuses.
    pub async fn open(options: Options) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::open_blocking(options))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "opening the database was cut short").with_source(e))?
    }

    fn open_blocking(options: Options) -> Result<Self> {
        let Options { path, migrations, readers, write_timeout, read_timeout, clock } = options;
        let lock = lock::FileLock::take(&path)?;
        let mut conn = sqlite::open_writer(&path)?;
        migrate::check(&conn, &migrations)?;
        sqlite::configure_writer(&conn)?;
        migrate::up(&mut conn, &migrations, clock.now())?;
        let pool = (0..readers).map(|_| sqlite::open_reader(&path)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            inner: Arc::new(Inner {
                readers: reader::Readers::new(pool, read_timeout),
                writer: batch::Writer::start(conn, lock, write_timeout)?,
                path,
                migrations,
                clock,
            }),
        })
    }

    /// Runs `work` in the writer's next commit and returns its value once that commit is on disk.
    ///
    /// Closures run one after another in the order they were queued. One that fails or panics undoes only itself.
    ///
    /// # Errors
    /// Whatever `work` returns; `overloaded` when the queue stayed full for the write timeout (nothing was written);
    /// `shutting-down` after [`Db::close`]; `storage`, `disk-full` and the like when the commit failed (nothing of it is
    /// in the database).
    ///
    /// # Cancel safety
    /// Dropped before it was queued, nothing happens. Dropped later, the write still commits and only its answer is lost:
    /// read back what matters, or make the write idempotent.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.inner.writer.write(work).await
    }

    /// Runs `work` on a consistent snapshot that holds every write acknowledged before the call.
    ///
    /// # Errors
    /// Whatever `work` returns; `timeout` when it took longer than the read timeout; `shutting-down` after [`Db::close`].
    ///
    /// # Cancel safety
    /// A read changes nothing; dropped, it runs to its end and its value is thrown away.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        self.inner.readers.read(work).await
    }

    /// The migrations in force, in the order they were applied.
    pub async fn current(&self) -> Result<Vec<Applied>> {
        self.read(|db| migrate::applied(db.connection())).await
    }

    /// Undoes the last `count` migrations of `owner`, newest first, in one commit.
    ///
    /// # Errors
    /// `invalid-input` when the owner is unknown here or has fewer migrations in force.
    pub async fn down(&self, owner: &'static str, count: usize) -> Result<()> {
        let set = self.inner.migrations.iter().copied().find(|set| set.owner == owner).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "no migrations with this owner were given at open").with("owner", owner)
        })?;
        self.write(move |tx| migrate::down(tx.connection(), set, count)).await
    }

    /// Brings the schema up to date again, as [`Db::open`] does; only of use after [`Db::down`].
    pub async fn up(&self) -> Result<()> {
        let (sets, now) = (self.inner.migrations.clone(), self.inner.clock.now());
        self.write(move |tx| migrate::apply(tx.connection(), &sets, now)).await
    }

    /// How much the writer has done since it was opened.
    pub fn stats(&self) -> Stats {
        self.inner.writer.stats()
    }

    /// The file's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Finishes what is queued, folds the write-ahead log into the file, closes it and gives its lock back. Later calls on any clone get
    /// `shutting-down`. Closing twice is no error.
    ///
    /// # Cancel safety
    /// Dropped, closing goes on by itself.
    pub async fn close(&self) -> Result<()> {
        self.inner.readers.close().await;
        self.inner.writer.close().await
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("path", &self.inner.path).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A consistent view of the database. A [`Tx`] is one too and sees its own writes.
pub struct Snapshot<'a> {
    conn: &'a rusqlite::Connection,
}

impl<'a> Snapshot<'a> {
    fn new(conn: &'a rusqlite::Connection) -> Self {
        Self { conn }
    }

    fn connection(&self) -> &'a rusqlite::Connection {
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
        self.query_opt(sql, params, map)?.ok_or_else(|| Error::new(ErrorKind::NotFound, "the query found no row"))
    }

    /// Hands rows to `visit` as they come, until it answers `false`.
    pub fn each(
        &self,
        sql: &str,
        params: &[&dyn ToValue],
        mut visit: impl FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut statement = self.conn.prepare_cached(sql).map_err(|e| sqlite::sql_error(e, sql))?;
        let mut rows = statement.query(value::bind(params)).map_err(|e| sqlite::sql_error(e, sql))?;
        while let Some(row) = rows.next().map_err(|e| sqlite::sql_error(e, sql))? {
            if !visit(&Row::new(row))? {
                break;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// What runs when a commit is on disk.
type Hook = Box<dyn FnOnce() + Send>;

/// One closure's part of a transaction: everything in it commits or nothing does.
pub struct Tx<'a> {
    snapshot: Snapshot<'a>,
    hooks: Vec<Hook>,
}

impl<'a> Tx<'a> {
    fn new(conn: &'a rusqlite::Connection) -> Self {
        Self { snapshot: Snapshot::new(conn), hooks: Vec::new() }
    }

    /// Runs one statement and returns how many rows it changed. The statement is prepared once.
    ///
    /// # Errors
    /// `conflict` when a constraint refuses the row; `storage` and its kin otherwise.
    pub fn execute(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<usize> {
        let mut statement = self.snapshot.conn.prepare_cached(sql).map_err(|e| sqlite::sql_error(e, sql))?;
        statement.execute(value::bind(params)).map_err(|e| sqlite::sql_error(e, sql))
    }

    /// Inserts one row into a table with an integer key and returns that key.
    pub fn insert(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<i64> {
        self.execute(sql, params)?;
        Ok(self.snapshot.conn.last_insert_rowid())
    }

    /// Runs `hook` on the writer's thread after the commit is on disk, never if this closure or the commit fails. It must
    /// be short and must not block: wake somebody, count something.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
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
        f.debug_struct("Tx").field("hooks", &self.hooks.len()).finish_non_exhaustive()
    }
}
