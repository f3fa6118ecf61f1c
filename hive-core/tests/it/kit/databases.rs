//! Temporary databases.

use hive_core::db::{Db, Dialect, Migration, Migrations};
use hive_core::testing::TestDb;

static MARKS: Migrations = Migrations {
    owner: "marks",
    list: &[Migration::new(
        1,
        "mark",
        "CREATE TABLE mark (id INTEGER PRIMARY KEY) STRICT;",
        "DROP TABLE mark;",
    )],
};

async fn open(place: &TestDb) -> Db {
    Db::open(place.options().migrations(&MARKS)).await.unwrap()
}

async fn mark(db: &Db) -> i64 {
    db.write(|tx| {
        tx.execute("INSERT INTO mark DEFAULT VALUES", &[])?;
        tx.query_one("SELECT count(*) FROM mark", &[], |row| row.get(0))
    })
    .await
    .unwrap()
}

/// Two are apart, and one can be opened again.
async fn is_ones_own(make: fn() -> TestDb, dialect: Dialect) {
    let (one, other) = (make(), make());
    assert_eq!((one.dialect(), other.dialect()), (dialect, dialect));
    let (first, second) = (open(&one).await, open(&other).await);
    assert_eq!((mark(&first).await, mark(&first).await, mark(&second).await), (1, 2, 1));
    first.close().await.unwrap();
    let again = open(&one).await;
    assert_eq!(mark(&again).await, 3);
    again.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test]
async fn a_file_is_ones_own() {
    is_ones_own(TestDb::sqlite, Dialect::Sqlite).await;
    is_ones_own(TestDb::sqlite_in_memory, Dialect::Sqlite).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_on_the_server_is_ones_own_and_goes() {
    use hive_core::testing::Postgres;

    is_ones_own(TestDb::postgres, Dialect::Postgres).await;
    let place = TestDb::postgres();
    let db = open(&place).await;
    let name = db.read(|db| db.query_one("SELECT current_database()", &[], |row| row.get::<String>(0)));
    let name = name.await.unwrap();
    let server = Postgres::shared();
    let there = || {
        server.sql(
            server.url(),
            &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'"),
        )
    };
    assert_eq!(there().trim(), "1");
    db.close().await.unwrap();
    drop(place);
    assert_eq!(there().trim(), "0");
}
