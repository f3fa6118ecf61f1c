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
//!     list: &[Migration::new(
//!         1,
//!         "note",
//!         "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",
//!         "DROP TABLE note;",
//!     )],
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
//! in one closure. Because closures share a transaction, none may end it: `COMMIT` and its kin, savepoints, settings and
//! attached files are refused, and so is what would undo the others' work (`OR ROLLBACK`, foreign keys checked at commit).

// In reading order: each uses only those above it, and what this page itself defines.
mod contain;
mod deadline;
mod place;
mod lock;
mod value;
mod set;
mod wakes;
mod house;
mod guard;
mod sqlite;
mod tx;
mod migrate;
mod reader;
mod queue;
mod checkpoint;
mod batch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use self::house::House;
pub use self::migrate::{Applied, Migration, Migrations, Pending};
pub use self::set::{Cell, Kind, Set};
pub use self::tx::{Dialect, Snapshot, Tx};
pub use self::value::{FromValue, Row, ToValue, Value};
pub use self::wakes::Wakes;
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

    /// How many read-only connections serve [`Db::read`] at most, from 1 to [`limits::DB_READERS_MAX`].
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = count.clamp(1, limits::DB_READERS_MAX);
        self
    }

    /// The clock that dates migrations; the system's unless set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// What a write asks for besides its closure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write {
    relaxed: bool,
    read_committed: bool,
}

impl Write {
    /// Acknowledged means on disk. What [`Db::write`] asks for.
    pub const fn durable() -> Self {
        Self {
            relaxed: false,
            read_committed: false,
        }
    }

    /// Acknowledged means committed: other closures see it and it survives the death of the process, but a loss of power may
    /// take it back, with everything written after it. The next durable write makes it durable, too.
    ///
    /// For what can be found out again, such as who works on what; never for what somebody was promised.
    pub const fn relaxed() -> Self {
        Self {
            relaxed: true,
            read_committed: false,
        }
    }

    /// On PostgreSQL, each statement sees what others have committed by then, and nothing is checked at the end: cheaper, for
    /// closures whose every write is guarded by its own `WHERE`. Without it, closures come to the same end as if they had
    /// run one after another (`SERIALIZABLE`), and are run again when that was not so. SQLite runs them one after another
    /// in any case.
    #[must_use]
    pub const fn read_committed(mut self) -> Self {
        self.read_committed = true;
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
///
/// [`Db::close`] ends it in good order. When the last handle is dropped instead, that drop waits until what is queued is
/// written.
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
    house: House,
}

impl Db {
    /// Opens the file, or makes it, and brings its schema up to date.
    ///
    /// One process owns the file at a time: an operating-system lock beside it (`<file>-lock`) is taken first and given
    /// back when the database is closed, when the last handle goes, or when the process dies, however it dies.
    ///
    /// # Errors
    /// Nothing has been written when one of these comes back: `database-locked` (another process has it; the field `pid`
    /// says which), `not-a-database` (the file is something else), `schema-too-new` and `schema-changed` (see
    /// [`Migrations`]), `database-read-only`, `invalid-input` (the lists of migrations are at odds with themselves).
    ///
    /// The schema is as it was when a migration fails, with whatever its SQL met, or with `conflict` when it leaves rows
    /// that refer to nothing. `disk-full`, `corrupt`, and `storage` for anything else that the file system refuses.
    ///
    /// # Cancel safety
    /// Dropped, opening goes on to its end; the database is then closed again.
    pub async fn open(options: Options) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::open_blocking(options))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "opening the database was cut short").with_source(e))?
    }

    fn open_blocking(options: Options) -> Result<Self> {
        let Options {
            path,
            migrations,
            readers,
            write_timeout,
            read_timeout,
            clock,
        } = options;
        migrate::check_sets(&migrations)?;
        let file = place::resolve(&path)?;
        let lock = lock::FileLock::take(&file)?;
        let house = House::new(clock);
        let writing = match sqlite::prepare(&file, &migrations, &house) {
            Ok(writing) => writing,
            Err(error) => {
                lock.withdraw();
                return Err(error);
            }
        };
        let readers = reader::Readers::new(file, readers, read_timeout, house.clone());
        let writer = batch::Writer::start(writing, lock, house.clone(), write_timeout, readers.end())?;
        let inner = Inner {
            readers,
            writer,
            path,
            migrations,
            house,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `work` in the writer's next commit and returns its value once that commit is on disk.
    ///
    /// Closures come to the same end as if they had run one after another, on SQLite in the order they were queued. One that
    /// fails or panics undoes only itself. One that waits for this database would wait for ever: it gets `invalid-input`
    /// instead. PostgreSQL may have to run a closure again because of what others wrote, so it must have no effect but on
    /// its `tx`.
    ///
    /// # Errors
    /// Whatever `work` returns; `panic` with what it said when it panicked; `overloaded` when the queue stayed full for the
    /// write timeout (nothing was written); `shutting-down` after [`Db::close`]; `storage`, `disk-full` and the like when
    /// the commit failed. Nothing of a failed commit is in the database; only when it was the sync that failed may a crash
    /// before the next commit bring it back.
    ///
    /// # Cancel safety
    /// Dropped before it was queued, nothing happens. Dropped later, the write still commits and only its answer is lost:
    /// read back what matters, or make the write idempotent.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.write_with(Write::durable(), work).await
    }

    /// [`Db::write`] with other promises.
    ///
    /// # Errors
    /// As [`Db::write`].
    ///
    /// # Cancel safety
    /// As [`Db::write`].
    pub async fn write_with<T, F>(&self, asked: Write, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.inner.writer.write(asked, false, work).await
    }

    /// Inserts one row, together with whatever else is appended to the same set, and returns once it is on disk: the way for
    /// rows that come often and from many.
    ///
    /// # Errors
    /// As [`Db::write`]; a row that the table refuses fails alone. `invalid-input` when it does not fit the set.
    ///
    /// # Cancel safety
    /// As [`Db::write`].
    pub async fn append(&self, set: &'static Set, row: Vec<Cell>) -> Result<()> {
        set.check(&row)?;
        self.write(move |tx| tx.insert_all(set, std::slice::from_ref(&row)).map(drop))
            .await
    }

    /// Runs `work` on a consistent snapshot that holds every write acknowledged before the call.
    ///
    /// # Errors
    /// Whatever `work` returns; `panic` with what it said when it panicked; `invalid-input` when it tries to write;
    /// `timeout` when it was at a statement after the read timeout, or no connection became free in it (what `work` does
    /// between statements cannot be interrupted); `shutting-down` after [`Db::close`].
    ///
    /// # Cancel safety
    /// A read changes nothing; dropped, it runs to its end and its value is thrown away.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        self.inner.readers.read(work).await
    }

    /// The migrations in force, by the time they were applied; those of one time in the order given at open.
    pub async fn current(&self) -> Result<Vec<Applied>> {
        let sets = self.inner.migrations.clone();
        self.read(move |db| migrate::applied(db, &sets)).await
    }

    /// The migrations given at open that are not in force, in the order in which [`Db::up`] would apply them; none unless
    /// [`Db::down`] was called.
    pub async fn pending(&self) -> Result<Vec<Pending>> {
        let sets = self.inner.migrations.clone();
        self.read(move |db| migrate::pending(db, &sets)).await
    }

    /// Undoes the last `count` migrations of `owner`, newest first, in one commit.
    ///
    /// # Errors
    /// `invalid-input` when the owner is unknown here or has fewer migrations in force; `conflict` when rows would be left
    /// that refer to nothing. Nothing was changed then.
    pub async fn down(&self, owner: &'static str, count: usize) -> Result<()> {
        let set = self
            .inner
            .migrations
            .iter()
            .copied()
            .find(|set| set.owner == owner)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "no migrations with this owner were given at open",
                )
                .with("owner", owner)
            })?;
        self.inner
            .writer
            .write(SCHEMA, true, move |tx| migrate::down(tx, set, count))
            .await
    }

    /// Brings the schema up to date again, as [`Db::open`] does; only of use after [`Db::down`].
    pub async fn up(&self) -> Result<()> {
        let sets = self.inner.migrations.clone();
        self.inner
            .writer
            .write(SCHEMA, true, move |tx| migrate::up(tx, &sets))
            .await
    }

    /// Begins to listen on `channel`: every commit from now on whose closure called [`Tx::notify`] with it wakes
    /// [`Wakes::wait`].
    pub fn listen(&self, channel: &'static str) -> Wakes {
        self.inner.house.wakeups.listen(channel)
    }

    /// Which SQL the engine speaks.
    pub fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    /// How much the writer has done since it was opened.
    pub fn stats(&self) -> Stats {
        self.inner.writer.stats()
    }

    /// The file's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Finishes what is queued and the reads that run, folds the write-ahead log into the file, closes it and gives its lock
    /// back. Later calls on any clone get `shutting-down`, and so do writes that still wait for a place in the queue.
    /// Closing twice is no error.
    ///
    /// # Errors
    /// What kept the log from being folded in. Nothing is lost then: the next open does it.
    ///
    /// # Cancel safety
    /// Dropped, closing goes on by itself.
    pub async fn close(&self) -> Result<()> {
        self.inner.readers.shut();
        self.inner.writer.shut();
        self.inner.writer.ended().await
    }
}

/// Migrations wait for each other on a lock of their own, and must see what was done meanwhile.
const SCHEMA: Write = Write::durable().read_committed();

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("path", &self.inner.path)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
