//! A disk that is full, and one that cannot be written: a small one of its own, where the system lets a test mount one.
#![expect(clippy::print_stderr, reason = "a test that could not do all of it says so")]

use std::fs;
use std::path::Path;
use std::process::Command;

use hive_core::db::Db;
use hive_errors::{Error, ErrorKind};

use super::{OTHER, contents, open, other, put, rows};

const NO_MOUNT: i32 = 77;

/// Runs this test again, alone with a disk of 8 MiB.
fn with_a_disk(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    // The mount goes with the process that sees it.
    let script = format!("mount -t tmpfs -o size=8m tmpfs \"$1\" || exit {NO_MOUNT}; shift; exec \"$@\"");
    let status = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OTHER, dir.path())
        .status();
    match status {
        Ok(status) if status.success() => {}
        // What the engine does then is tested with a disk of the tests' own in faults.rs; this adds the real thing.
        Ok(status) if matches!(status.code(), Some(1 | NO_MOUNT)) => eprintln!("no mounts of one's own here: {status}"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("no mounts of one's own here: {error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_takes_nothing_and_loses_nothing() {
    match other() {
        Some(disk) => fill(&disk).await,
        None => with_a_disk("database::disk::a_full_disk_takes_nothing_and_loses_nothing"),
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_said_to_be_so_and_left_alone() {
    match other() {
        Some(disk) => protect(&disk).await,
        None => with_a_disk("database::disk::a_disk_that_cannot_be_written_is_said_to_be_so_and_left_alone"),
    }
}

/// Mounts the disk again, to be read only or to be written as well.
fn remount(disk: &Path, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(disk)
        .status();
    assert!(status.unwrap().success());
}

async fn protect(disk: &Path) {
    let path = disk.join("hive.db");
    let db = open(&path).await.unwrap();
    put(&db, 0, 6_000).await.unwrap();
    // While it is written it cannot be protected; the system says so, not we.
    db.close().await.unwrap();
    remount(disk, "ro");
    let before = contents(disk);
    for path in [&path, &disk.join("another.db")] {
        let error = open(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DatabaseReadOnly, "{error:?}");
        assert!(!error.hint().is_empty(), "{error:?}");
    }
    assert_eq!(contents(disk), before);
    remount(disk, "rw");
    let db = open(&path).await.unwrap();
    put(&db, 1, 100).await.unwrap();
    assert_eq!(db.read(rows).await.unwrap(), [0, 1]);
    db.close().await.unwrap();
}

/// Writes until it is refused; `next` counts what was acknowledged.
async fn until_full(db: &Db, next: &mut i64, bytes: usize) -> Error {
    loop {
        match put(db, *next, bytes).await {
            Ok(()) => *next += 1,
            Err(error) => return error,
        }
    }
}

async fn fill(disk: &Path) {
    let path = disk.join("hive.db");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 9 << 19]).unwrap();
    let db = open(&path).await.unwrap();
    let mut next = 0;
    // Large ones, then the small ones that still fit.
    for bytes in [60_000, 60_000, 6_000, 100] {
        let error = until_full(&db, &mut next, bytes).await;
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
        assert_eq!(
            db.read(rows).await.unwrap(),
            (0..next).collect::<Vec<_>>(),
            "after {bytes}"
        );
    }
    assert!(next > 10, "{next}");
    // With room again, the same handle goes on.
    fs::write(&ballast, vec![1; 8 << 19]).unwrap();
    put(&db, next, 6_000).await.unwrap();
    next += 1;
    until_full(&db, &mut next, 6_000).await;
    // Closing wants room for folding the log; without it, it says so and nothing is lost.
    if let Err(error) = db.close().await {
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
        assert!(error.hint().contains("nothing is lost"), "{error:?}");
    }
    // So does opening.
    if let Err(error) = open(&path).await {
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
    }
    fs::remove_file(&ballast).unwrap();
    let db = open(&path).await.unwrap();
    assert_eq!(db.read(rows).await.unwrap(), (0..next).collect::<Vec<_>>());
    put(&db, next, 6_000).await.unwrap();
    db.close().await.unwrap();
}
