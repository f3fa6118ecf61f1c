//! What a database does, whatever the engine: every case runs on each.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod closures;
mod failures;
mod schema;
mod sets;
mod values;
mod wakes;

use hive_core::db::{Cell, Db, Dialect, FromValue, Migration, Migrations, Options, Row, Value};
use hive_errors::Result;

/// Where a database of one engine is made for a test.
pub(crate) struct Place {
    options: Options,
    _folder: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Place {
    /// A file in a folder that goes when the place does.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            options: Options::file(folder.path().join("hive.db")),
            _folder: Some(Box::new(folder)),
        }
    }

    /// A file in memory, for what only asks what is in it.
    #[cfg(all(feature = "postgres", feature = "test-util"))]
    pub(crate) fn sqlite_in_memory() -> Self {
        let folder = hive_core::testing::memory_folder();
        Self {
            options: Options::file(folder.path().join("hive.db")),
            _folder: Some(Box::new(folder)),
        }
    }

    /// A new database on the server for tests.
    #[cfg(all(feature = "postgres", feature = "test-util"))]
    pub(crate) fn postgres() -> Self {
        let url = hive_core::testing::Postgres::shared().database();
        Self {
            options: Options::postgres(url),
            _folder: None,
        }
    }

    pub(crate) fn options(&self) -> Options {
        self.options.clone()
    }

    pub(crate) async fn open(&self, sets: &[&'static Migrations]) -> Result<Db> {
        let options = sets.iter().fold(self.options(), |options, set| options.migrations(set));
        Db::open(options).await
    }

    /// With the table that most cases work on.
    async fn db(&self) -> Db {
        self.open(&[&THINGS]).await.unwrap()
    }
}

macro_rules! cases {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod sqlite {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(super::Place::sqlite()).await;
            }
        )*)*}

        #[cfg(all(feature = "postgres", feature = "test-util"))]
        mod postgres {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(super::Place::postgres()).await;
            }
        )*)*}
    };
}

cases! {
    values {
        every_value_comes_back_as_it_was,
        what_cannot_be_stored_is_refused,
        what_does_not_fit_its_column_is_refused,
        types_of_the_house_come_back,
        text_sorts_by_its_bytes,
        a_column_of_another_type_is_told,
    }
    failures {
        each_kind_of_failure_is_called_the_same,
        what_a_closure_may_not_run_is_refused,
        a_read_cannot_write,
        a_statement_that_fails_dooms_its_closure,
        an_attempt_fails_alone,
        a_closure_that_fails_undoes_only_itself,
        a_closure_that_panics_is_an_error,
    }
    closures {
        what_was_acknowledged_is_read_by_whoever_asks_next,
        a_read_sees_one_moment,
        hooks_run_in_order_after_the_commit,
        a_closure_sees_its_own_writes,
        many_writers_lose_nothing,
        counters_do_not_lose_increments,
        generated_keys_are_told,
        what_is_returned_is_counted,
        rows_stop_when_told_to,
        the_time_goes_on,
        a_closed_database_says_so,
    }
    schema {
        up_down_and_what_is_pending,
        many_start_at_once,
        newer_and_edited_schemas_are_refused,
        a_failed_migration_leaves_nothing,
        an_engine_may_have_a_text_of_its_own,
        references_hold,
    }
    sets {
        a_set_is_inserted_whole_or_not_at_all,
        a_set_that_meets_itself_does_as_it_was_told,
        an_appended_row_fails_alone,
        a_row_that_does_not_fit_is_refused,
        many_append_at_once,
        rows_that_are_inserted_tell_their_keys,
        keys_grow_in_the_order_of_the_rows,
        many_append_at_once_and_learn_their_keys,
        what_is_refused_keeps_no_key_from_others,
        rows_are_known_again_by_any_kind_of_identity,
        a_set_without_keys_is_refused_where_they_are_asked_for,
    }
    wakes {
        a_commit_wakes_who_listens,
        rows_of_a_set_wake_who_listens_for_them,
        what_is_undone_wakes_nobody,
        a_wake_up_between_looking_and_waiting_is_not_lost,
    }
}

pub(crate) static THINGS: Migrations = Migrations {
    owner: "things",
    list: &[Migration::new(
        1,
        "thing",
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER CHECK (size < 1000),
             weight REAL, body BLOB, note TEXT) STRICT;
         CREATE TABLE part (id INTEGER PRIMARY KEY, thing INTEGER NOT NULL REFERENCES thing (id), note TEXT) STRICT;
         CREATE TABLE tally (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL) STRICT;",
        "DROP TABLE tally; DROP TABLE part; DROP TABLE thing;",
    )],
};

/// Any column's value.
pub(crate) struct Any(pub(crate) Cell);

impl FromValue for Any {
    const EXPECTED: &'static str = "anything";

    fn from_value(value: Value<'_>) -> Option<Self> {
        Some(Self(match value {
            Value::Null => Cell::Null,
            Value::Int(number) => Cell::Int(number),
            Value::Real(number) => Cell::Real(number),
            Value::Text(text) => Cell::Text(text.to_owned()),
            Value::Blob(bytes) => Cell::Blob(bytes.to_vec()),
            other => panic!("a value of a new kind: {other:?}"),
        }))
    }
}

/// The first `count` columns of a row.
pub(crate) fn cells(row: &Row<'_>, count: usize) -> Result<Vec<Cell>> {
    (0..count).map(|index| row.get::<Any>(index).map(|any| any.0)).collect()
}

/// How many things there are.
async fn things(db: &Db) -> i64 {
    db.read(|db| db.query_one("SELECT count(*) FROM thing", &[], |row| row.get(0)))
        .await
        .unwrap()
}

const PUT: &str = "INSERT INTO thing (id, name) VALUES (?1, ?2)";

async fn put(db: &Db, id: i64, name: &'static str) -> Result<()> {
    db.write(move |tx| tx.execute(PUT, &[&id, &name]).map(drop)).await
}

/// What a statement is on an engine, where it cannot be one text.
fn fork(db: &Db, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match db.dialect() {
        Dialect::Sqlite => sqlite,
        Dialect::Postgres => postgres,
    }
}
