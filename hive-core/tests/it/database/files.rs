//! Files that are no hive's, or are but damaged.

use std::fs;
use std::path::Path;

use hive_errors::{Error, ErrorKind};

use super::{contents, open, put, rows};

async fn refused(path: &Path) -> Error {
    open(path).await.unwrap_err()
}

#[tokio::test]
async fn another_programs_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = |name: &str, setup: &str| {
        let conn = rusqlite::Connection::open(dir.path().join(name)).unwrap();
        conn.execute_batch(setup).unwrap();
        conn
    };
    let table = "CREATE TABLE theirs (id INTEGER PRIMARY KEY); INSERT INTO theirs VALUES (1), (2);";
    drop(foreign("plain.db", table));
    drop(foreign("marked.db", "PRAGMA application_id = 7;"));
    drop(foreign("log.db", &format!("PRAGMA journal_mode = WAL; {table}")));
    // Its program has died: the log holds what the file does not.
    let alive = foreign("alive.db", &format!("PRAGMA journal_mode = WAL; {table}"));
    for suffix in ["", "-wal"] {
        let copy = |name: &str| dir.path().join(format!("{name}.db{suffix}"));
        fs::copy(copy("alive"), copy("died")).unwrap();
    }
    let before = contents(dir.path());
    for name in ["plain.db", "marked.db", "log.db", "died.db", "alive.db"] {
        let error = refused(&dir.path().join(name)).await;
        assert_eq!(error.kind(), ErrorKind::NotADatabase, "{name}: {error:?}");
        assert!(error.message().contains("another application"), "{name}: {error:?}");
        let mut after = contents(dir.path());
        // SQLite needs its index of the log to read at all; it is no part of the data.
        after.remove("died.db-shm");
        let names = |files: &std::collections::BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "{name}");
        let changed: Vec<_> = before.keys().filter(|file| before[*file] != after[*file]).collect();
        assert!(changed.is_empty() || changed == ["alive.db-shm"], "{name}: {changed:?}");
    }
    let count = |conn: &rusqlite::Connection| {
        conn.query_row("SELECT count(*) FROM theirs", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(count(&alive), 2);
    assert_eq!(
        count(&rusqlite::Connection::open(dir.path().join("died.db")).unwrap()),
        2
    );
}

#[tokio::test]
async fn what_is_no_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let text = file("text.db", "dear diary, ".repeat(100).as_bytes());
    let short = file("short.db", b"x");
    let header = file("header.db", b"SQLite format 3\0");
    let before = contents(dir.path());
    for path in [&text, &short, &header] {
        let error = refused(path).await;
        assert_eq!(error.kind(), ErrorKind::NotADatabase, "{}: {error:?}", path.display());
        assert_eq!(contents(dir.path()), before, "{}", path.display());
    }
}

#[tokio::test]
async fn places_where_no_file_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for (path, kind, message) in [
        (folder, ErrorKind::Storage, "the path is a folder"),
        (
            dir.path().join("no/such/hive.db"),
            ErrorKind::Storage,
            "the database's folder does not exist",
        ),
        (
            file.join("hive.db"),
            ErrorKind::Storage,
            "the database's folder does not exist",
        ),
        (
            dir.path().join("none/.."),
            ErrorKind::InvalidInput,
            "the database's path names no file",
        ),
        (
            Path::new("").to_owned(),
            ErrorKind::InvalidInput,
            "the database's path names no file",
        ),
    ] {
        let error = refused(&path).await;
        assert_eq!(
            (error.kind(), error.message()),
            (kind, message),
            "{}: {error:?}",
            path.display()
        );
        assert!(!error.is_retryable(), "{error:?}");
        assert!(error.field("path").is_some(), "{error:?}");
    }
    assert_eq!(contents(dir.path()).into_keys().collect::<Vec<_>>(), ["file"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for path in [&pipe, Path::new("/dev/null")] {
        let error = refused(path).await;
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Storage, "the path is not a file")
        );
    }
}

#[tokio::test]
async fn an_empty_file_and_odd_names_are_as_good_as_any() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty.db"), "").unwrap();
    // SQLite would take some of these for something else.
    for name in [
        "empty.db",
        ":memory:",
        "file:hive.db?mode=memory",
        "with space 100%#.db",
        "日本.db",
    ] {
        let path = dir.path().join(name);
        let db = open(&path).await.unwrap();
        put(&db, 1, 10).await.unwrap();
        db.close().await.unwrap();
        assert!(fs::metadata(&path).unwrap().len() > 0, "{name}");
        let db = open(&path).await.unwrap();
        assert_eq!(db.read(rows).await.unwrap(), [1], "{name}");
        assert_eq!(db.place(), path.display().to_string());
    }
}

#[tokio::test]
async fn a_damaged_file_is_told_from_any_other_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let db = open(&path).await.unwrap();
    for id in 0..50 {
        put(&db, id, 3_000).await.unwrap();
    }
    db.close().await.unwrap();
    let whole = fs::read(&path).unwrap();
    // Everything but the page that says what it is.
    let damaged: Vec<u8> = whole[..4_096]
        .iter()
        .copied()
        .chain(whole[4_096..].iter().map(|b| b ^ 0x5a))
        .collect();
    for bytes in [&damaged[..], &whole[..whole.len() / 2]] {
        fs::write(&path, bytes).unwrap();
        let error = match open(&path).await {
            Ok(db) => db
                .read(|db| db.query("SELECT * FROM row", &[], |_| Ok(())))
                .await
                .unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(!error.is_retryable());
    }
    // Whole again, it is as before.
    fs::write(&path, &whole).unwrap();
    drop(fs::remove_file(dir.path().join("hive.db-wal")));
    drop(fs::remove_file(dir.path().join("hive.db-shm")));
    let db = open(&path).await.unwrap();
    assert_eq!(db.read(rows).await.unwrap().len(), 50);
}
