use std::sync::Arc;

use hive_core::db::{Db, Dialect, Migration, Migrations};
use hive_errors::{ErrorKind, Result};
use tokio::task::JoinSet;

use super::{Place, fork};

const NOTE: Migration = Migration::new(
    1,
    "note",
    "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",
    "DROP TABLE note;",
);
const TITLE: Migration = Migration::new(
    2,
    "title",
    "ALTER TABLE note ADD COLUMN title TEXT; CREATE INDEX note_by_title ON note (title);",
    "DROP INDEX note_by_title; ALTER TABLE note DROP COLUMN title;",
);
const TAG: Migration = Migration::new(
    1,
    "tag",
    "CREATE TABLE tag (name TEXT PRIMARY KEY) STRICT;",
    "DROP TABLE tag;",
);

static FIRST: Migrations = Migrations {
    owner: "notes",
    list: &[NOTE],
};
static SECOND: Migrations = Migrations {
    owner: "notes",
    list: &[NOTE, TITLE],
};
static TAGS: Migrations = Migrations {
    owner: "a-tags",
    list: &[TAG],
};

async fn versions(db: &Db) -> Vec<(String, u32, String)> {
    let applied = db.current().await.unwrap();
    applied
        .into_iter()
        .map(|step| (step.owner, step.version, step.name))
        .collect()
}

async fn pending(db: &Db) -> Vec<(&'static str, u32)> {
    let pending = db.pending().await.unwrap();
    pending.into_iter().map(|step| (step.owner, step.version)).collect()
}

async fn titles(db: &Db) -> Result<Vec<Option<String>>> {
    db.read(|db| db.query("SELECT title FROM note ORDER BY id", &[], |row| row.get(0)))
        .await
}

pub(super) async fn up_down_and_what_is_pending(place: Place) {
    let db = place.open(&[&SECOND, &TAGS]).await.unwrap();
    let all = [("notes", 1, "note"), ("notes", 2, "title"), ("a-tags", 1, "tag")];
    let all = all.map(|(owner, version, name)| (owner.to_owned(), version, name.to_owned()));
    assert_eq!(versions(&db).await, all);
    assert_eq!(pending(&db).await, []);
    db.write(|tx| tx.execute("INSERT INTO note (id, text, title) VALUES (1, 'kept', 'gone')", &[]))
        .await
        .unwrap();
    db.down("notes", 1).await.unwrap();
    assert_eq!(versions(&db).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(pending(&db).await, [("notes", 2)]);
    assert_eq!(titles(&db).await.unwrap_err().kind(), ErrorKind::Storage);
    db.down("notes", 0).await.unwrap();
    for (owner, count) in [("notes", 2), ("nobody", 1)] {
        let error = db.down(owner, count).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{owner}: {error:?}");
    }
    db.up().await.unwrap();
    db.up().await.unwrap();
    assert_eq!(versions(&db).await.len(), 3);
    assert_eq!(titles(&db).await.unwrap(), [None]);
    db.down("a-tags", 1).await.unwrap();
    db.close().await.unwrap();
    // The next open does what was undone.
    let db = place.open(&[&SECOND, &TAGS]).await.unwrap();
    assert_eq!((versions(&db).await.len(), pending(&db).await.len()), (3, 0));
    db.close().await.unwrap();
    // What the code does not know is left alone.
    let db = place.open(&[&TAGS]).await.unwrap();
    assert_eq!(versions(&db).await.len(), 3);
}

pub(super) async fn many_start_at_once(place: Place) {
    let place = Arc::new(place);
    let mut starts = JoinSet::new();
    for _ in 0..8 {
        let place = Arc::clone(&place);
        starts.spawn(async move { place.open(&[&SECOND, &TAGS]).await });
    }
    // What is open stays so until all have tried.
    let (opened, refused): (Vec<_>, Vec<_>) = starts.join_all().await.into_iter().partition(Result::is_ok);
    let opened: Vec<Db> = opened.into_iter().map(Result::unwrap).collect();
    // A file has one owner; a server's database has many, of whom one made the schema.
    let owners = match opened[0].dialect() {
        Dialect::Sqlite => 1,
        Dialect::Postgres => 8,
    };
    assert_eq!((opened.len(), refused.len()), (owners, 8 - owners), "{refused:?}");
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::DatabaseLocked, "{error:?}");
    }
    for db in &opened {
        assert_eq!((versions(db).await.len(), pending(db).await.len()), (3, 0));
        assert_eq!(titles(db).await.unwrap(), []);
    }
}

pub(super) async fn newer_and_edited_schemas_are_refused(place: Place) {
    place.open(&[&SECOND]).await.unwrap().close().await.unwrap();
    let newer = place.open(&[&FIRST]).await.unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::SchemaTooNew, "{newer:?}");
    assert_eq!((newer.field("found"), newer.field("known")), (Some("2"), Some("1")));
    static EDITED: Migrations = Migrations {
        owner: "notes",
        list: &[
            Migration::new(
                1,
                "note",
                "CREATE TABLE note (id INTEGER PRIMARY KEY) STRICT;",
                "DROP TABLE note;",
            ),
            TITLE,
        ],
    };
    let edited = place.open(&[&EDITED]).await.unwrap_err();
    assert_eq!(edited.kind(), ErrorKind::SchemaChanged, "{edited:?}");
    assert_eq!(
        (edited.field("owner"), edited.field("version")),
        (Some("notes"), Some("1"))
    );
    static GAP: Migrations = Migrations {
        owner: "notes",
        list: &[NOTE, Migration::new(3, "gap", "", "")],
    };
    for sets in [vec![&GAP], vec![&FIRST, &SECOND]] {
        let error = place.open(&sets).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    let db = place.open(&[&SECOND]).await.unwrap();
    assert_eq!(titles(&db).await.unwrap(), []);
}

pub(super) async fn a_failed_migration_leaves_nothing(place: Place) {
    let db = place.open(&[&FIRST]).await.unwrap();
    db.write(|tx| tx.execute("INSERT INTO note (id, text) VALUES (1, 'kept')", &[]))
        .await
        .unwrap();
    db.close().await.unwrap();
    macro_rules! broken {
        ($up:literal) => {{
            static BROKEN: Migrations = Migrations {
                owner: "notes",
                list: &[NOTE, TITLE, Migration::new(3, "broken", $up, "")],
            };
            ($up, &BROKEN)
        }};
    }
    for ((up, set), kind) in [
        (
            broken!("CREATE TABLE one (id INTEGER); CREATE TABLE two ("),
            ErrorKind::Storage,
        ),
        (
            broken!("DELETE FROM note; INSERT INTO note (id, text) VALUES (1, 'a'), (1, 'b');"),
            ErrorKind::Conflict,
        ),
        (broken!("DROP TABLE note; SELECT * FROM note;"), ErrorKind::Storage),
        (
            broken!("CREATE TABLE one (id INTEGER); COMMIT;"),
            ErrorKind::InvalidInput,
        ),
    ] {
        let error = place.open(&[set]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{up}: {error:?}");
        let db = place.open(&[&FIRST]).await.unwrap();
        assert_eq!(versions(&db).await.len(), 1, "{up}");
        let notes = db.read(|db| db.query("SELECT text FROM note", &[], |row| row.get::<String>(0)));
        assert_eq!(notes.await.unwrap(), ["kept"], "{up}");
        db.write(|tx| tx.execute("CREATE TABLE one (id INTEGER)", &[]))
            .await
            .unwrap();
        db.write(|tx| tx.execute("DROP TABLE one", &[])).await.unwrap();
        db.close().await.unwrap();
    }
    let db = place.open(&[&SECOND]).await.unwrap();
    assert_eq!(titles(&db).await.unwrap(), [None]);
}

pub(super) async fn an_engine_may_have_a_text_of_its_own(place: Place) {
    static FORKED: Migrations = Migrations {
        owner: "forked",
        list: &[Migration::new(
            1,
            "hello",
            "CREATE VIEW hello AS SELECT 'a file' AS said;",
            "DROP VIEW hello;",
        )
        .postgres(
            "CREATE VIEW hello AS SELECT 'a server'::text AS said;",
            "DROP VIEW hello;",
        )],
    };
    let db = place.open(&[&FORKED]).await.unwrap();
    let said = db.read(|db| db.query_one("SELECT said FROM hello", &[], |row| row.get::<String>(0)));
    assert_eq!(said.await.unwrap(), fork(&db, "a file", "a server"));
    db.down("forked", 1).await.unwrap();
    db.up().await.unwrap();
}

pub(super) async fn references_hold(place: Place) {
    let db = place.db().await;
    super::put(&db, 1, "one").await.unwrap();
    db.write(|tx| tx.execute("INSERT INTO part (id, thing) VALUES (1, 1)", &[]))
        .await
        .unwrap();
    for sql in [
        "DELETE FROM thing",
        "UPDATE thing SET id = 2",
        "UPDATE part SET thing = 2",
    ] {
        let error = db.write(move |tx| tx.execute(sql, &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{sql}: {error:?}");
    }
    db.write(|tx| {
        tx.execute("DELETE FROM part", &[])?;
        tx.execute("DELETE FROM thing", &[])
    })
    .await
    .unwrap();
}
