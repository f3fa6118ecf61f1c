//! A database that is looked at and not owned, and one that is not there.

use std::path::Path;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};

use super::house::House;
use super::migrate;
use super::options::{Options, Place, Times};
use super::place;
use super::reader::Readers;
#[cfg(feature = "postgres")]
use super::server;
use super::tx::Snapshot;
use super::{Db, Engine, Inner};

/// What reads may look at: a file that another process may own, or nothing.
pub(super) struct Look {
    readers: Option<Readers>,
}

impl Look {
    fn at(path: &Path, house: &House, readers: usize, times: Times) -> Result<Self> {
        let file = place::resolve(path)?;
        if !file.exists() {
            return Err(Error::new(ErrorKind::NotFound, "there is no database to look at")
                .with("path", path.display())
                .with_hint("give the path of a database that a hive has made"));
        }
        Ok(Self {
            readers: Some(Readers::new(file, readers, times.read, house.clone())),
        })
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        match &self.readers {
            Some(readers) => readers.read(work).await,
            None => Err(absent()),
        }
    }

    pub(super) fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.shut();
        }
    }

    /// The refusal of whatever would write.
    pub(super) fn refused(&self) -> Error {
        if self.readers.is_none() {
            return absent();
        }
        Error::new(ErrorKind::DatabaseReadOnly, "the database was opened to be looked at")
            .with_hint("open it with `Db::open` to write to it")
    }
}

fn absent() -> Error {
    Error::new(ErrorKind::ShuttingDown, "there is no database behind this handle").terminal()
}

impl Db {
    /// Opens a database to look at it, whoever owns it: it takes no lock, brings no schema up to date and writes nothing, so a
    /// hive may run on it meanwhile. Reads see what was committed when they begin.
    ///
    /// On SQLite whatever would write gets `database-read-only`; on PostgreSQL it is for the caller to write nothing. Migrations
    /// in the options are compared with what is in force ([`Db::pending`]) and not applied.
    ///
    /// # Errors
    /// `not-found` when there is no such file; `schema-too-new` and `schema-changed` as for [`Db::open`]; `storage` when it
    /// cannot be reached.
    pub async fn look(options: Options) -> Result<Self> {
        migrate::check_sets(&options.migrations)?;
        let house = House::new(Arc::clone(&options.clock));
        let times = options.times();
        let sets = options.migrations.clone();
        let (engine, place) = match &options.place {
            Place::File(path) => {
                let look = Look::at(path, &house, options.readers, times)?;
                (Engine::Look(look), path.display().to_string())
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                let server = server::Server::open(&address.0, &[], &house, options.connections, times).await?;
                let place = server.place().to_owned();
                (Engine::Server(server), place)
            }
            #[cfg(feature = "test-util")]
            Place::Memory(_) => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "a database in memory has one process, and no other looks at it",
                )
                .with("field", "options")
                .with_hint("read it through the handle that its process has"));
            }
        };
        let inner = Inner {
            engine,
            place,
            migrations: sets.clone(),
            house,
        };
        let db = Self { inner: Arc::new(inner) };
        match db.read(move |db| migrate::check(db, &sets)).await {
            Ok(()) => Ok(db),
            Err(error) => {
                // What is wrong with it matters more than how it ended.
                drop(db.close().await);
                Err(error)
            }
        }
    }

    /// A handle with no database behind it: every call gets `shutting-down`. For code that is to run where nothing may be read or
    /// written.
    pub fn nowhere() -> Self {
        let options = Options::file("");
        Self {
            inner: Arc::new(Inner {
                engine: Engine::Look(Look { readers: None }),
                place: "nowhere".to_owned(),
                migrations: Vec::new(),
                house: House::new(options.clock),
            }),
        }
    }
}
