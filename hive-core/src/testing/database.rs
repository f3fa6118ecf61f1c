//! Temporary databases of either engine.

use super::folder::{Folder, folder, memory_folder};
#[cfg(feature = "postgres")]
use super::postgres::Postgres;
use crate::db::{Dialect, Options};

/// A database for one test: empty, its own, and gone with this value. The same test runs on either engine with it.
///
/// ```
/// use hive_core::db::Db;
/// use hive_core::testing::TestDb;
///
/// async fn what_must_hold_on_both(place: TestDb) -> hive_errors::Result<()> {
///     let db = Db::open(place.options()).await?;
///     assert_eq!(db.read(|db| db.query_one("SELECT 1 + 1", &[], |row| row.get::<i64>(0))).await?, 2);
///     db.close().await
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
/// what_must_hold_on_both(TestDb::sqlite()).await
/// # }
/// ```
#[derive(Debug)]
pub struct TestDb {
    place: Place,
}

#[derive(Debug)]
enum Place {
    File(Folder),
    #[cfg(feature = "postgres")]
    Server(String),
}

impl TestDb {
    /// A SQLite file in a temporary folder.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[track_caller]
    pub fn sqlite() -> Self {
        Self {
            place: Place::File(folder()),
        }
    }

    /// A SQLite file in memory where the system has such a place, for tests that write much and crash nothing.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[track_caller]
    pub fn sqlite_in_memory() -> Self {
        Self {
            place: Place::File(memory_folder()),
        }
    }

    /// A new database on [`Postgres::shared`].
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[cfg(feature = "postgres")]
    #[track_caller]
    pub fn postgres() -> Self {
        Self {
            place: Place::Server(Postgres::shared().database()),
        }
    }

    /// What opens it, as often as you like. Add your migrations.
    pub fn options(&self) -> Options {
        match &self.place {
            Place::File(folder) => Options::file(folder.path().join("hive.db")),
            #[cfg(feature = "postgres")]
            Place::Server(url) => Options::postgres(url),
        }
    }

    /// Which engine it is on.
    pub fn dialect(&self) -> Dialect {
        match self.place {
            Place::File(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Place::Server(_) => Dialect::Postgres,
        }
    }
}

#[cfg(feature = "postgres")]
impl Drop for TestDb {
    fn drop(&mut self) {
        // A test that has failed leaves its database for a look at it; a private server takes it along.
        if let Place::Server(url) = &self.place
            && !std::thread::panicking()
        {
            Postgres::shared().drop_database(url);
        }
    }
}
