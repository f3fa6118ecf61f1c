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

//!
//! # Where the engines differ
//!
//! Whatever a closure can see is the same on both, but for these, which a program that is to run on both keeps clear of:
//!
//! - **Parameters.** On PostgreSQL each has one type throughout its statement, and it must be that of its column: bind it twice
//!   rather than use it as a number here and as text there, and `CAST` one whose type nothing tells.
//! - **Order.** Without `ORDER BY`, also in what `RETURNING` returns, it is any. NULL stands first on SQLite and last on
//!   PostgreSQL unless `NULLS FIRST` or `NULLS LAST` says so.
//! - **Keys.** Generated ones are unique and grow on both. On PostgreSQL a key that was given does not move the counter, and an
//!   undone closure leaves a gap: give keys always or never.
//! - **Arithmetic.** A sum of integers is `numeric` on PostgreSQL: `CAST` it. What is too large for an integer is an error on both;
//!   what is too large for a real is infinity on SQLite and an error on PostgreSQL. `LIKE` tells case on PostgreSQL.
//! - **Size.** An indexed text may have some 2,700 bytes on PostgreSQL; a larger one is `payload-too-large`.
//! - **Commits.** A connection that is lost during the commit leaves it unknown whether it took place: `indeterminate`, which SQLite
//!   does not know. Row locks and collisions are PostgreSQL's alone; they cost time, not results.
//! - **Wake-ups.** Who begins to listen on PostgreSQL is woken once when the connection is there.

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
#[cfg(feature = "postgres")]
mod dialect;
#[cfg(feature = "postgres")]
mod postgres;
mod tx;
mod migrate;
mod options;
mod reader;
mod sync;
mod queue;
mod checkpoint;
mod batch;
mod file;
#[cfg(feature = "postgres")]
mod server;
mod look;
#[cfg(feature = "test-util")]
mod memory;
mod backup;
mod health;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};

pub use self::health::{Concern, Finding};
use self::house::House;
#[cfg(feature = "test-util")]
pub use self::memory::{Cut, Memory};
pub use self::migrate::{Applied, Migration, Migrations, Pending};
use self::options::Place;
pub use self::options::{Options, Stats, Write};
pub use self::set::{Cell, Kind, Set};
pub use self::tx::{Dialect, Snapshot, Tx};
pub use self::value::{FromValue, Row, ToValue, Value};
pub use self::wakes::Wakes;

/// A handle to the database. Clones are cheap and share one writer and one pool of readers.
///
/// [`Db::close`] ends it in good order. When the last handle is dropped instead, that drop waits until what is queued is
/// written.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    place: String,
    migrations: Vec<&'static Migrations>,
    house: House,
}

/// What keeps the data.
enum Engine {
    File(file::File),
    Look(look::Look),
    #[cfg(feature = "postgres")]
    Server(server::Server),
    #[cfg(feature = "test-util")]
    Memory(memory::Opened),
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
        migrate::check_sets(&options.migrations)?;
        let house = House::new(Arc::clone(&options.clock));
        let times = options.times();
        let sets = options.migrations.clone();
        let (engine, place) = match options.place {
            Place::File(path) => {
                let (place, own) = (path.display().to_string(), house.clone());
                let open = move || file::File::open(&path, &options.migrations, &own, options.readers, times);
                let file = tokio::task::spawn_blocking(open).await.map_err(|e| {
                    Error::new(ErrorKind::Internal, "opening the database was cut short").with_source(e)
                })?;
                (Engine::File(file?), place)
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                let server = server::Server::open(&address.0, &sets, &house, options.connections, times).await?;
                let place = server.place().to_owned();
                (Engine::Server(server), place)
            }
            #[cfg(feature = "test-util")]
            Place::Memory(memory) => {
                let opened = memory::Opened::open(&memory, &sets, &house)?;
                (Engine::Memory(opened), "memory".to_owned())
            }
        };
        let inner = Inner {
            engine,
            place,
            migrations: sets,
            house,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `work` in a transaction and returns its value once the commit that holds it is on disk.
    ///
    /// Closures come to the same end as if they had run one after another, on SQLite in the order they were queued. One that
    /// fails or panics undoes only itself. One that waits for this database would wait for ever: it gets `invalid-input`
    /// instead.
    ///
    /// A closure may be run again, when its first run was undone because of what others wrote or because another of the same
    /// batch failed, so it must have no effect but on its `tx`; what is to happen once belongs into [`Tx::on_commit`].
    ///
    /// # Errors
    /// Whatever `work` returns; `panic` with what it said when it panicked; `overloaded` when the queue stayed full for the
    /// write timeout (nothing was written); `shutting-down` after [`Db::close`]; `storage`, `disk-full` and the like when
    /// the commit failed. Nothing of a failed commit is in the database; only when it was the sync that failed may a crash
    /// before the next commit bring it back. On PostgreSQL also `conflict`, retryable, when the closure collided with others
    /// too often; `breaker-open` while the server is known to be away; and `indeterminate` when the connection was lost
    /// during the commit: then nobody knows whether it took place.
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
        match &self.inner.engine {
            Engine::File(file) => file.write(asked, work).await,
            Engine::Look(look) => Err(look.refused()),
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.write(asked, work).await,
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => memory.write(asked, false, work).await,
        }
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
        self.append_rows(set, vec![row]).await.map(drop)
    }

    /// [`Db::append`], and tells the key that the row was given; `None` when the conflict clause left it out.
    ///
    /// Keys grow from one append to those that begin after it. Of appends at the same time, on PostgreSQL, a row may come to be
    /// seen after another with a larger key.
    ///
    /// # Errors
    /// As [`Db::append`]; `invalid-input` also for a set that is declared without [`Set::returning`].
    ///
    /// # Cancel safety
    /// As [`Db::write`].
    pub async fn append_returning(&self, set: &'static Set, row: Vec<Cell>) -> Result<Option<i64>> {
        let keys = self.append_all_returning(set, vec![row]).await?;
        Ok(keys.into_iter().next().flatten())
    }

    /// [`Db::append_returning`] for several rows, which stay together: all of them or, when the table refuses one, none.
    /// Keys are in the rows' order and grow.
    ///
    /// # Errors
    /// As [`Db::append_returning`].
    ///
    /// # Cancel safety
    /// As [`Db::write`].
    pub async fn append_all_returning(&self, set: &'static Set, rows: Vec<Vec<Cell>>) -> Result<Vec<Option<i64>>> {
        set.check_telling()?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.append_rows(set, rows).await
    }

    async fn append_rows(&self, set: &'static Set, rows: Vec<Vec<Cell>>) -> Result<Vec<Option<i64>>> {
        for row in &rows {
            set.check(row)?;
        }
        match &self.inner.engine {
            Engine::File(file) => file.append(set, rows).await,
            Engine::Look(look) => Err(look.refused()),
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.append(set, rows).await,
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => {
                let insert = move |tx: &mut Tx<'_>| tx.insert_checked(set, &rows).map(|inserted| inserted.keys);
                memory.write(Write::durable(), false, insert).await
            }
        }
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
        match &self.inner.engine {
            Engine::File(file) => file.read(work).await,
            Engine::Look(look) => look.read(work).await,
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.read(work).await,
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => memory.read(work).await,
        }
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
        self.change_schema(move |tx| migrate::down(tx, set, count)).await
    }

    /// Brings the schema up to date again, as [`Db::open`] does; only of use after [`Db::down`].
    pub async fn up(&self) -> Result<()> {
        let sets = self.inner.migrations.clone();
        self.change_schema(move |tx| migrate::up(tx, &sets)).await
    }

    async fn change_schema<F>(&self, work: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        match &self.inner.engine {
            Engine::File(file) => file.change_schema(work).await,
            Engine::Look(look) => Err(look.refused()),
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.change_schema(work).await,
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => memory.write(Write::durable(), true, work).await,
        }
    }

    /// Begins to listen on `channel`: every commit from now on whose closure called [`Tx::notify`] with it wakes
    /// [`Wakes::wait`].
    pub fn listen(&self, channel: &'static str) -> Wakes {
        self.inner.house.wakeups.listen(channel)
    }

    /// Which SQL the engine speaks.
    pub fn dialect(&self) -> Dialect {
        match self.inner.engine {
            Engine::File(_) | Engine::Look(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Engine::Server(_) => Dialect::Postgres,
            #[cfg(feature = "test-util")]
            Engine::Memory(_) => Dialect::Sqlite,
        }
    }

    /// How much the writer has done since it was opened.
    pub fn stats(&self) -> Stats {
        match &self.inner.engine {
            Engine::File(file) => file.stats(),
            Engine::Look(_) => Stats::default(),
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.stats(),
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => memory.stats(),
        }
    }

    /// The file's path as it was given, or the server's address without the password: for people.
    pub fn place(&self) -> &str {
        &self.inner.place
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
        match &self.inner.engine {
            Engine::File(file) => file.close().await,
            Engine::Look(look) => {
                look.close();
                Ok(())
            }
            #[cfg(feature = "postgres")]
            Engine::Server(server) => server.close().await,
            #[cfg(feature = "test-util")]
            Engine::Memory(memory) => {
                memory.close();
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("place", &self.inner.place)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
