//! What the connections are set to, read back from each of them.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Home, insert};
use crate::db::checkpoint::Checkpoints;
use crate::db::sqlite;

fn setting(conn: &Connection, name: &str) -> String {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| {
        Ok(match row.get::<_, Value>(0)? {
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text,
            other @ (Value::Null | Value::Real(_) | Value::Blob(_)) => format!("{other:?}"),
        })
    })
    .unwrap()
}

fn check(conn: &Connection, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(setting(conn, name), *value, "{name}");
    }
}

#[tokio::test]
async fn every_setting_is_in_force() {
    let home = Home::new();
    home.open().await.close().await.unwrap();
    let path = home.dir.path().join("test.db");

    let mut writing = sqlite::open_writer(&path).unwrap();
    sqlite::configure_writer(&writing.conn).unwrap();
    let checkpoints = Checkpoints::start(&mut writing.conn, &path).unwrap();
    check(
        &writing.conn,
        &[
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("fullfsync", "1"),
            ("checkpoint_fullfsync", "1"),
            ("foreign_keys", "1"),
            ("busy_timeout", "5000"),
            ("cache_size", "-8192"),
            ("temp_store", "2"),
            ("journal_size_limit", "33554432"),
            ("wal_autocheckpoint", "0"),
            ("locking_mode", "normal"),
            ("application_id", "1212765765"),
            ("writable_schema", "0"),
        ],
    );
    checkpoints.end().unwrap();

    let reading = sqlite::open_reader(&path).unwrap();
    check(
        &reading.conn,
        &[
            ("journal_mode", "wal"),
            ("query_only", "1"),
            ("busy_timeout", "5000"),
            ("cache_size", "-2048"),
            ("temp_store", "2"),
        ],
    );
    assert!(reading.conn.is_readonly("main").unwrap());

    let folding = sqlite::open_folder(&path).unwrap();
    check(
        &folding,
        &[
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("checkpoint_fullfsync", "1"),
        ],
    );
}

#[tokio::test]
async fn foreign_keys_are_checked() {
    let home = Home::new();
    let db = home.open().await;
    let error = db
        .write(|tx| {
            tx.execute(
                "CREATE TABLE part (of INTEGER NOT NULL REFERENCES item (id)) STRICT",
                &[],
            )?;
            tx.execute("INSERT INTO part VALUES (404)", &[])
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), hive_errors::ErrorKind::Conflict);
}

#[test]
fn a_setting_that_does_not_take_effect_is_an_error() {
    let conn = Connection::open_in_memory().unwrap();
    // A database in memory has no log.
    let error = sqlite::configure_writer(&conn).unwrap_err();
    assert_eq!(error.field("setting"), Some("journal_mode"), "{error:?}");
    assert_eq!(
        (error.field("expected"), error.field("found")),
        (Some("wal"), Some("memory"))
    );
    assert!(sqlite::expect(&conn, "no_such_setting", "1").is_err());
}

#[tokio::test]
async fn a_database_whose_mode_was_changed_is_set_right() {
    let home = Home::new();
    let db = home.open().await;
    db.write(insert(1)).await.unwrap();
    db.close().await.unwrap();
    let path = home.dir.path().join("test.db");
    let tool = Connection::open(&path).unwrap();
    tool.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    assert_eq!(setting(&tool, "journal_mode"), "delete");
    drop(tool);
    let db = home.open().await;
    let mode = db
        .read(|db| db.query_one("PRAGMA journal_mode", &[], |row| row.get::<String>(0)))
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(super::items(&db).await, [(1, 1)]);
}
