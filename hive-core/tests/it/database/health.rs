//! Whether damage is found.

use std::fs;
use std::path::Path;

use hive_core::db::{Concern, Finding};
use hive_errors::ErrorKind;

use super::{open, put};

/// A closed database with rows in it.
async fn stored(path: &Path, rows: i64) {
    let db = open(path).await.unwrap();
    for id in 0..rows {
        put(&db, id, 2_000).await.unwrap();
    }
    db.close().await.unwrap();
}

async fn checked(path: &Path) -> Vec<Finding> {
    let db = open(path).await.unwrap();
    let found = db.check().await.unwrap();
    db.close().await.unwrap();
    found
}

#[tokio::test]
async fn a_sound_database_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    stored(&path, 20).await;
    assert_eq!(checked(&path).await, []);
}

#[tokio::test]
async fn a_reference_to_nothing_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    stored(&path, 3).await;
    let tool = rusqlite::Connection::open(&path).unwrap();
    tool.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM row WHERE id = 1")
        .unwrap();
    drop(tool);
    let found = checked(&path).await;
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["reference: row 1 of twin refers to nothing in row"]);
    assert_eq!(found[0].concern, Concern::Reference);
}

#[tokio::test]
async fn a_page_that_was_written_over_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    stored(&path, 400).await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let mut seen = 0;
    // Not the first, which is the schema: with that nothing can be opened.
    for page in [pages / 4, pages / 2, pages * 3 / 4] {
        for junk in [0_u8, 0xFF] {
            let mut damaged = whole.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(junk);
            fs::write(&path, damaged).unwrap();
            let found = checked(&path).await;
            assert!(
                found.iter().any(|finding| finding.concern == Concern::Structure),
                "page {page} of {pages} filled with {junk}: {found:?}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[tokio::test]
async fn a_schema_that_is_behind_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("hive.db")).await.unwrap();
    db.down("test", 1).await.unwrap();
    let found = db.check().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].concern, Concern::Schema);
    db.up().await.unwrap();
    assert_eq!(db.check().await.unwrap(), []);
    db.close().await.unwrap();
    assert_eq!(db.check().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
}

#[cfg(all(feature = "postgres", feature = "test-util"))]
mod server {
    //! The same on PostgreSQL.

    use hive_core::db::{Concern, Db, Options};
    use hive_core::testing::Postgres;
    use hive_errors::ErrorKind;

    use super::super::ROWS;

    async fn open(url: &str) -> Db {
        Db::open(Options::postgres(url).migrations(&ROWS)).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_server_knows_to_be_unsound_is_found() {
        let server = Postgres::shared();
        let url = server.database();
        let db = open(&url).await;
        assert_eq!(db.check().await.unwrap(), []);
        server.sql(
            &url,
            "ALTER TABLE twin ADD CONSTRAINT positive CHECK (length > 0) NOT VALID; CREATE INDEX slow ON twin (length)",
        );
        server.sql(
            &url,
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'slow'::regclass",
        );
        let told: Vec<String> = db.check().await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "structure: index slow is not valid",
                "reference: constraint positive of twin was never checked"
            ]
        );
        db.close().await.unwrap();
        server.drop_database(&url);
    }

    #[tokio::test]
    async fn a_tree_that_is_out_of_order_is_found() {
        let server = Postgres::shared();
        let url = server.database();
        let db = open(&url).await;
        server.sql(&url, "CREATE EXTENSION amcheck");
        // The order that the tree was built in is turned round behind its back.
        let compare = |sign: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION turned (a bigint, b bigint) RETURNS integer LANGUAGE sql IMMUTABLE
                 AS 'SELECT {sign} btint8cmp(a, b)'"
            )
        };
        server.sql(&url, &compare(""));
        server.sql(
            &url,
            "CREATE OPERATOR CLASS turning FOR TYPE bigint USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
             OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 turned (bigint, bigint)",
        );
        server.sql(
            &url,
            "CREATE TABLE pile (id bigint); INSERT INTO pile SELECT generate_series(1, 1000)",
        );
        server.sql(&url, "CREATE INDEX tree ON pile USING btree (id turning)");
        assert_eq!(db.check().await.unwrap(), []);
        server.sql(&url, &compare("-"));
        let found = db.check().await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].concern, Concern::Structure);
        assert!(found[0].detail.contains("tree"), "{found:?}");
        db.close().await.unwrap();
        server.drop_database(&url);
    }

    #[tokio::test]
    async fn a_server_is_not_copied_from_here() {
        let server = Postgres::shared();
        let url = server.database();
        let db = open(&url).await;
        let dir = tempfile::tempdir().unwrap();
        let error = db.backup(dir.path().join("copy.db")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.hint().contains("pg_dump"), "{error:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        db.close().await.unwrap();
        server.drop_database(&url);
    }
}
