//! Copies of a database that is in use.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use hive_core::db::Db;
use hive_errors::{ErrorKind, Result};
use tokio::task::JoinSet;

use super::{OTHER, open, other, put, rows};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Enough rows that copying takes a while.
async fn filled(path: &Path, rows: i64, bytes: usize) -> Db {
    let db = open(path).await.unwrap();
    for first in (0..rows).step_by(100) {
        let mut puts = JoinSet::new();
        for id in first..(first + 100).min(rows) {
            let db = db.clone();
            puts.spawn(async move { put(&db, id, bytes).await.unwrap() });
        }
        puts.join_all().await;
    }
    db
}

/// The rows of a copy, which is opened, found whole and closed again.
async fn copied(path: &Path) -> Vec<i64> {
    let db = open(path).await.unwrap();
    assert_eq!(db.check().await.unwrap(), []);
    let found = db.read(rows).await.unwrap();
    db.close().await.unwrap();
    found
}

/// What is in a folder besides the database's own files.
fn left(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("hive.db")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_holds_what_was_acknowledged_before_and_nothing_by_half() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(&dir.path().join("hive.db"), 500, 1_000).await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(500)));
    let mut writing = JoinSet::new();
    for _ in 0..4 {
        let (db, stop, next) = (db.clone(), Arc::clone(&stop), Arc::clone(&next));
        writing.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                put(&db, next.fetch_add(1, Ordering::Relaxed), 1_000).await.unwrap();
            }
        });
    }
    let mut largest = 0;
    for round in 0..5 {
        let before = db.read(rows).await.unwrap();
        let written = db.stats().writes;
        let copy = dir.path().join(format!("copy{round}.db"));
        db.backup(&copy).await.unwrap();
        let found = copied(&copy).await;
        assert!(before.iter().all(|id| found.contains(id)), "round {round}");
        largest = largest.max(db.stats().writes - written);
    }
    assert!(largest > 0, "writers stood still while the copies were made");
    stop.store(true, Ordering::Relaxed);
    writing.join_all().await;
    db.backup(dir.path().join("last.db")).await.unwrap();
    assert_eq!(copied(&dir.path().join("last.db")).await, db.read(rows).await.unwrap());
    db.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(&dir.path().join("hive.db"), 3, 10).await;
    let target = dir.path().join("copy.db");
    // A log or a journal without its database would become the copy's.
    for name in ["copy.db", "copy.db-wal", "copy.db-journal"] {
        let path = dir.path().join(name);
        fs::write(&path, "dear").unwrap();
        let error = db.backup(&target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.field("path").unwrap().ends_with(name), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), b"dear");
        assert_eq!(left(dir.path()), [name]);
        fs::remove_file(path).unwrap();
    }
    let itself = db.backup(dir.path().join("hive.db")).await.unwrap_err();
    assert_eq!(itself.kind(), ErrorKind::InvalidInput);
    for nowhere in [dir.path().join("missing/copy.db"), PathBuf::from("/"), PathBuf::new()] {
        let error = db.backup(&nowhere).await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::InvalidInput,
            "{}: {error:?}",
            nowhere.display()
        );
    }
    db.backup(&target).await.unwrap();
    assert_eq!(copied(&target).await, [0, 1, 2]);
    db.close().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_copy_is_as_private_as_the_database() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    let db = filled(&path, 1, 10).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    db.backup(dir.path().join("copy.db")).await.unwrap();
    let mode = fs::metadata(dir.path().join("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    db.close().await.unwrap();
}

/// Copies once whatever was broken off before has ended.
async fn copy(db: &Db, target: &Path) -> Result<()> {
    loop {
        match db.backup(target).await {
            Err(error) if error.kind() == ErrorKind::Overloaded => tokio::task::yield_now().await,
            done => return done,
        }
    }
}

/// Waits until the unfinished copy is there, or is gone.
async fn until_part(folder: &Path, there: bool) {
    let look = async {
        while left(folder).iter().any(|name| name.contains(".part")) != there {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_broken_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(&dir.path().join("hive.db"), 4_000, 8_000).await;
    let target = dir.path().join("copy.db");
    let mut broken_off = 0;
    for _ in 0..10 {
        // Whichever comes first: a copy may be done before anybody has looked.
        let done = tokio::select! {
            done = copy(&db, &target) => Some(done),
            () = until_part(dir.path(), true) => None,
        };
        match done {
            Some(done) => {
                done.unwrap();
                fs::remove_file(&target).unwrap();
            }
            None => {
                until_part(dir.path(), false).await;
                assert_eq!(left(dir.path()), [""; 0]);
                broken_off += 1;
            }
        }
    }
    assert!(broken_off > 0);
    put(&db, 4_000, 10).await.unwrap();
    tokio::time::timeout(PATIENCE, copy(&db, &target))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(copied(&target).await.len(), 4_001);
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let db = filled(&dir.path().join("hive.db"), 4_000, 8_000).await;
    let target = dir.path().join("copy.db");
    let copying = tokio::spawn({
        let (db, target) = (db.clone(), target.clone());
        async move { db.backup(target).await }
    });
    let begun = async {
        while left(dir.path()).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    db.close().await.unwrap();
    match copying.await.unwrap() {
        // It was quicker.
        Ok(()) => assert_eq!(copied(&target).await.len(), 4_000),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ShuttingDown, "{error:?}");
            assert_eq!(left(dir.path()), [""; 0]);
        }
    }
    assert_eq!(db.backup(&target).await.unwrap_err().kind(), ErrorKind::ShuttingDown);
}

const FULL: &str = "database::backup::a_copy_that_does_not_fit_leaves_nothing";
const NO_MOUNT: i32 = 77;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_copy_that_does_not_fit_leaves_nothing() {
    if let Some(disk) = other() {
        let db = filled(&disk.join("hive.db"), 500, 9_000).await;
        // All but so much that half of a copy fits.
        let ballast = disk.join("hive.db.ballast");
        let mut rest = fs::File::create(&ballast).unwrap();
        while rest.write_all(&[1; 1 << 16]).is_ok() {}
        let full = rest.metadata().unwrap().len();
        rest.set_len(full - (2 << 20)).unwrap();
        let error = db.backup(disk.join("copy.db")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
        assert_eq!(left(&disk), [""; 0]);
        // An open file keeps its room.
        drop(rest);
        fs::remove_file(ballast).unwrap();
        put(&db, 500, 10).await.unwrap();
        assert_eq!(db.read(rows).await.unwrap().len(), 501);
        return db.close().await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    // The mount goes with the process that sees it.
    let script = format!("mount -t tmpfs -o size=48m tmpfs \"$1\" || exit {NO_MOUNT}; shift; exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", FULL, "--nocapture"])
        .env(OTHER, dir.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(NO_MOUNT) => eprintln!("no mounts of one's own here"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("no mounts of one's own here: {error}"),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{error}"),
    }
}
