use hive_errors::ErrorKind;

use super::FileLock;

#[test]
fn a_copy_of_the_handle_does_not_keep_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("hive.db");
    let lock = FileLock::take(&database).unwrap();
    // As a child process has one between its start and its program's.
    let copy = lock.file.try_clone().unwrap();
    assert_eq!(FileLock::take(&database).unwrap_err().kind(), ErrorKind::DatabaseLocked);
    drop(lock);
    let again = FileLock::take(&database).unwrap();
    drop(copy);
    assert_eq!(FileLock::take(&database).unwrap_err().kind(), ErrorKind::DatabaseLocked);
    drop(again);
}

#[cfg(unix)]
#[test]
fn only_what_was_made_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("hive.db");
    let file = dir.path().join("hive.db-lock");
    FileLock::take(&database).unwrap().withdraw();
    assert!(!file.exists());
    drop(FileLock::take(&database).unwrap());
    FileLock::take(&database).unwrap().withdraw();
    assert!(file.exists());
}

#[cfg(unix)]
#[test]
fn a_file_that_was_removed_is_another_than_the_one_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db-lock");
    let (file, made) = super::open(&path).unwrap();
    assert!(made && super::is_at(&file, &path));
    std::fs::remove_file(&path).unwrap();
    assert!(!super::is_at(&file, &path));
    let (other, made) = super::open(&path).unwrap();
    assert!(made && super::is_at(&other, &path) && !super::is_at(&file, &path));
    assert!(!super::open(&path).unwrap().1);
}

#[cfg(unix)]
#[test]
fn of_many_who_come_and_go_one_has_it() {
    use std::sync::atomic::{AtomicU32, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("hive.db");
    let (inside, times) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Ok(lock) = FileLock::take(&database) else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    times.fetch_add(1, Ordering::SeqCst);
                    // Each time the file goes with it.
                    lock.withdraw();
                }
            });
        }
    });
    assert!(times.load(Ordering::SeqCst) > 4);
}
