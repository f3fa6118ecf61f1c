//! How a database is opened, what a write may ask for, and what has been done.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::migrate::Migrations;
use crate::clock::{Clock, SystemClock};
use crate::limits;

/// Where the database is and how it is opened.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) place: Place,
    pub(super) migrations: Vec<&'static Migrations>,
    pub(super) readers: usize,
    #[cfg(feature = "postgres")]
    pub(super) connections: usize,
    pub(super) write_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// Which engine, and where it keeps its data.
#[derive(Clone, Debug)]
pub(super) enum Place {
    File(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Address),
    #[cfg(feature = "test-util")]
    Memory(super::memory::Memory),
}

/// Where a server is and how to be let in, which may hold a password.
#[cfg(feature = "postgres")]
#[derive(Clone)]
pub(super) struct Address(pub(super) String);

#[cfg(feature = "postgres")]
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Options {
    /// One SQLite file, made when it does not exist. Its folder must exist.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::File(path.into()))
    }

    /// A database on a PostgreSQL server, 14 or newer, that several processes share: `postgres://user:password@host/database`
    /// or `host=… dbname=…`. TLS as `sslmode` says: `disable`, `prefer` (the default), `require`, `verify-ca` and
    /// `verify-full`, with the certificates of `sslrootcert` or else of the operating system.
    #[cfg(feature = "postgres")]
    pub fn postgres(address: impl Into<String>) -> Self {
        Self::at(Place::Postgres(Address(address.into())))
    }

    /// A database in memory, for simulations.
    #[cfg(feature = "test-util")]
    pub fn memory(memory: &super::memory::Memory) -> Self {
        Self::at(Place::Memory(memory.clone()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            migrations: Vec::new(),
            readers: limits::DB_READERS,
            #[cfg(feature = "postgres")]
            connections: limits::DB_LANES,
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

    /// How many connections to a server reads and writes have at most, from 1 to [`limits::DB_LANES_MAX`]; they are made
    /// when they are needed.
    #[cfg(feature = "postgres")]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.clamp(1, limits::DB_LANES_MAX);
        self
    }

    /// How many read-only connections to a file serve [`Db::read`](super::Db::read) at most, from 1 to
    /// [`limits::DB_READERS_MAX`].
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = count.clamp(1, limits::DB_READERS_MAX);
        self
    }

    pub(super) fn times(&self) -> Times {
        Times {
            write: self.write_timeout,
            read: self.read_timeout,
        }
    }

    /// The clock that dates migrations; the system's unless set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// How long what may take.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) write: Duration,
    pub(super) read: Duration,
}

/// What a write asks for besides its closure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write {
    relaxed: bool,
    read_committed: bool,
}

impl Write {
    /// Acknowledged means on disk. What [`Db::write`](super::Db::write) asks for.
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

    #[cfg(feature = "postgres")]
    pub(super) const fn is_read_committed(self) -> bool {
        self.read_committed
    }

    pub(super) const fn is_relaxed(self) -> bool {
        self.relaxed
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
