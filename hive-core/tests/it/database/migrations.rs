//! Schemas: up, down, newer, edited, wrong.

use std::path::Path;

use hive_core::clock::{ManualClock, Timestamp};
use hive_core::db::{Db, Migration, Migrations, Options};
use hive_errors::{Error, ErrorKind, Result};

use super::contents;

type Step = (&'static str, &'static str);

const NOTE: Step = (
    "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",
    "DROP TABLE note;",
);
const TITLE: Step = (
    "ALTER TABLE note ADD COLUMN title TEXT; CREATE INDEX note_by_title ON note (title);",
    "DROP INDEX note_by_title; ALTER TABLE note DROP COLUMN title;",
);
const TAG: Step = ("CREATE TABLE tag (name TEXT PRIMARY KEY) STRICT;", "DROP TABLE tag;");

/// Lists of migrations are static in real code.
fn set(owner: &'static str, steps: &[Step]) -> &'static Migrations {
    numbered(owner, steps.iter().zip(1..).map(|(step, version)| (version, *step)))
}

fn numbered(owner: &'static str, steps: impl Iterator<Item = (u32, Step)>) -> &'static Migrations {
    let list = steps.map(|(version, (up, down))| Migration::new(version, "step", up, down));
    let list: Vec<Migration> = list.collect();
    Box::leak(Box::new(Migrations {
        owner,
        list: list.leak(),
    }))
}

async fn open(path: &Path, sets: &[&'static Migrations]) -> Result<Db> {
    let clock = ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000));
    let options = Options::file(path).clock(std::sync::Arc::new(clock));
    Db::open(sets.iter().fold(options, |options, set| options.migrations(set))).await
}

async fn refused(path: &Path, sets: &[&'static Migrations]) -> Error {
    open(path, sets).await.unwrap_err()
}

/// The schema as SQL, without what belongs to the house.
async fn schema(db: &Db) -> Vec<String> {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'hive_migration' ORDER BY name";
    db.read(move |db| db.query(sql, &[], |row| row.get(0))).await.unwrap()
}

async fn versions(db: &Db) -> Vec<(String, u32)> {
    let applied = db.current().await.unwrap();
    applied.into_iter().map(|step| (step.owner, step.version)).collect()
}

async fn note(db: &Db, text: &'static str) {
    db.write(move |tx| tx.execute("INSERT INTO note (text) VALUES (?1)", &[&text]))
        .await
        .unwrap();
}

async fn notes(db: &Db) -> Vec<String> {
    db.read(|db| db.query("SELECT text FROM note ORDER BY id", &[], |row| row.get(0)))
        .await
        .unwrap()
}

#[tokio::test]
async fn up_and_down_and_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let sets = [set("notes", &[NOTE, TITLE]), set("a-tags", &[TAG])];
    let db = open(&path, &sets).await.unwrap();
    let all = [
        ("notes".to_owned(), 1),
        ("notes".to_owned(), 2),
        ("a-tags".to_owned(), 1),
    ];
    // In the order in which they were given, not by name.
    assert_eq!(versions(&db).await, all);
    let full = schema(&db).await;
    note(&db, "kept").await;

    db.down("notes", 1).await.unwrap();
    assert_eq!(versions(&db).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(notes(&db).await, ["kept"]);
    assert!(!schema(&db).await.iter().any(|sql| sql.contains("title")));
    db.down("a-tags", 1).await.unwrap();
    db.down("a-tags", 0).await.unwrap();
    assert_eq!(versions(&db).await, [all[0].clone()]);

    let error = db.down("notes", 2).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("applied")),
        (ErrorKind::InvalidInput, Some("1"))
    );
    let error = db.down("nobody", 1).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("owner")),
        (ErrorKind::InvalidInput, Some("nobody"))
    );

    db.up().await.unwrap();
    assert_eq!(versions(&db).await, all);
    assert_eq!(schema(&db).await, full);
    assert_eq!(notes(&db).await, ["kept"]);
    db.up().await.unwrap();

    // The next open has nothing to do, or does what was undone.
    db.down("notes", 1).await.unwrap();
    db.close().await.unwrap();
    let db = open(&path, &sets).await.unwrap();
    assert_eq!(schema(&db).await, full);
    assert_eq!(notes(&db).await, ["kept"]);
}

#[tokio::test]
async fn what_the_code_does_not_know_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let (notes, tags) = (set("notes", &[NOTE]), set("tags", &[TAG]));
    open(&path, &[notes, tags]).await.unwrap().close().await.unwrap();
    let db = open(&path, &[]).await.unwrap();
    assert_eq!(versions(&db).await.len(), 2);
    db.close().await.unwrap();
    let db = open(&path, &[tags]).await.unwrap();
    assert_eq!(schema(&db).await.len(), 2);
}

#[tokio::test]
async fn another_releases_schema_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let db = open(&path, &[set("notes", &[NOTE, TITLE])]).await.unwrap();
    note(&db, "kept").await;
    db.close().await.unwrap();
    let before = contents(dir.path());

    let newer = refused(&path, &[set("notes", &[NOTE])]).await;
    assert_eq!(newer.kind(), ErrorKind::SchemaTooNew, "{newer:?}");
    assert_eq!((newer.field("found"), newer.field("known")), (Some("2"), Some("1")));

    for edited in [
        ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT) STRICT;", NOTE.1),
        (NOTE.0, "DROP TABLE IF EXISTS note;"),
    ] {
        let error = refused(&path, &[set("notes", &[edited, TITLE])]).await;
        assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error:?}");
        assert_eq!(
            (error.field("owner"), error.field("version")),
            (Some("notes"), Some("1"))
        );
        // Newer and edited: that it is newer is what helps.
        assert_eq!(
            refused(&path, &[set("notes", &[edited])]).await.kind(),
            ErrorKind::SchemaTooNew
        );
    }
    assert_eq!(contents(dir.path()), before);
    let db = open(&path, &[set("notes", &[NOTE, TITLE])]).await.unwrap();
    assert_eq!(notes(&db).await, ["kept"]);
}

#[tokio::test]
async fn lists_that_are_at_odds_with_themselves_make_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let with = |versions: &[u32]| numbered("notes", versions.iter().map(|version| (*version, TAG)));
    for (what, sets) in [
        ("a gap", vec![with(&[1, 3])]),
        ("from zero", vec![with(&[0, 1])]),
        ("twice", vec![with(&[1, 1])]),
        ("out of order", vec![with(&[2, 1])]),
        ("one owner, two sets", vec![set("notes", &[NOTE]), set("notes", &[TAG])]),
        (
            "what closures may not do",
            vec![set("notes", &[("INSERT OR ROLLBACK INTO note VALUES (1, 'x')", "")])],
        ),
    ] {
        let error = refused(&path, &sets).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error:?}");
        assert_eq!(error.field("owner"), Some("notes"), "{what}: {error:?}");
    }
    assert!(contents(dir.path()).is_empty());
}

#[tokio::test]
async fn a_migration_that_fails_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let db = open(&path, &[set("notes", &[NOTE])]).await.unwrap();
    note(&db, "kept").await;
    let before = schema(&db).await;
    db.close().await.unwrap();
    for (up, kind) in [
        ("CREATE TABLE one (id INTEGER); CREATE TABLE two (", ErrorKind::Storage),
        (
            "DELETE FROM note; INSERT INTO note (id, text) VALUES (1, 'a'), (1, 'b');",
            ErrorKind::Conflict,
        ),
        ("DROP TABLE note; SELECT * FROM note;", ErrorKind::Storage),
        (
            "CREATE TABLE one (id INTEGER); COMMIT; CREATE TABLE two (id INTEGER);",
            ErrorKind::InvalidInput,
        ),
        ("DELETE FROM note; ROLLBACK;", ErrorKind::InvalidInput),
        ("PRAGMA journal_mode = DELETE;", ErrorKind::InvalidInput),
        (
            "CREATE TABLE part (of INTEGER REFERENCES note (id)) STRICT; INSERT INTO part VALUES (404);",
            ErrorKind::Conflict,
        ),
    ] {
        let broken = set("notes", &[NOTE, TITLE, (up, "")]);
        let error = refused(&path, &[broken]).await;
        assert_eq!(error.kind(), kind, "{up}: {error:?}");
        if !up.contains("part") {
            assert_eq!(
                (error.field("owner"), error.field("version")),
                (Some("notes"), Some("3")),
                "{error:?}"
            );
        }
        let db = open(&path, &[set("notes", &[NOTE])]).await.unwrap();
        assert_eq!(schema(&db).await, before, "{up}");
        assert_eq!(notes(&db).await, ["kept"], "{up}");
        assert_eq!(versions(&db).await.len(), 1);
        db.close().await.unwrap();
    }
    // Put right, it goes through.
    let db = open(&path, &[set("notes", &[NOTE, TITLE, TAG])]).await.unwrap();
    assert_eq!(versions(&db).await.len(), 3);
    assert_eq!(notes(&db).await, ["kept"]);

    // On a new file, nothing is left that would make it somebody's.
    let fresh = dir.path().join("fresh.db");
    refused(&fresh, &[set("notes", &[("nonsense", "")])]).await;
    let tables = rusqlite_tables(&fresh);
    assert_eq!(tables, (0, 0));
    open(&fresh, &[set("notes", &[NOTE])])
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
}

/// The application id of a file and how many tables it has.
fn rusqlite_tables(path: &Path) -> (i64, i64) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    (
        number("PRAGMA application_id"),
        number("SELECT count(*) FROM sqlite_schema"),
    )
}

#[tokio::test]
async fn a_record_that_was_tampered_with_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let notes = set("notes", &[NOTE, TITLE]);
    open(&path, &[notes]).await.unwrap().close().await.unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("DELETE FROM hive_migration WHERE version = 1")
        .unwrap();
    drop(conn);
    let error = refused(&path, &[notes]).await;
    assert_eq!(
        (error.kind(), error.field("version")),
        (ErrorKind::Corrupt, Some("1")),
        "{error:?}"
    );
}
