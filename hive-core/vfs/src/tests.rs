//! The shim under SQLite itself.

use rusqlite::{Connection, ErrorCode};

use crate::{Call, Event, Fault, File, How, Timeline, Watched, watch};

struct Home {
    _folder: tempfile::TempDir,
    watched: Watched,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watched = watch(&folder.path().join("test.db")).unwrap();
        Self {
            _folder: folder,
            watched,
        }
    }

    fn open(&self) -> Connection {
        let conn = Connection::open(self.watched.path()).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS t (x)")
            .unwrap();
        conn
    }
}

#[test]
fn everything_that_reaches_the_files_is_written_down() {
    let home = Home::new();
    let conn = home.open();
    conn.execute("INSERT INTO t VALUES (zeroblob(9000))", []).unwrap();
    home.watched.mark(7);
    conn.close().unwrap();
    let events = home.watched.events();
    let last = events
        .iter()
        .rposition(|event| matches!(event, Event::Sync { file: File::Log, .. }))
        .unwrap();
    let mark = events.iter().position(|event| *event == Event::Mark(7)).unwrap();
    assert!(
        events[..mark]
            .iter()
            .any(|event| matches!(event, Event::Sync { file: File::Log, .. }))
    );
    assert!(last > 0);
    assert!(
        events.contains(&Event::Delete { file: File::Log }),
        "closing removes the log"
    );
    assert!(
        events.contains(&Event::Delete { file: File::Journal }),
        "the journal is there before the log is"
    );
    let mut timeline = Timeline::new(&events);
    while timeline.advance().is_some() {}
    let image = timeline.whole();
    assert_eq!(
        image.file(File::Main),
        Some(&*std::fs::read(home.watched.path()).unwrap())
    );
    assert_eq!(image.file(File::Log), None);
}

#[test]
fn an_image_is_a_database_again() {
    let home = Home::new();
    let conn = home.open();
    conn.execute("INSERT INTO t VALUES (1)", []).unwrap();
    let events = home.watched.events();
    let mut timeline = Timeline::new(&events);
    while timeline.advance().is_some() {}
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    for image in [timeline.lost(), timeline.whole()] {
        image.write(&copy).unwrap();
        let conn = Connection::open(&copy).unwrap();
        let count: i64 = conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }
}

#[test]
fn faults_hit_what_they_are_meant_for_and_no_more() {
    for (call, how, code) in [
        (Call::Write, How::Broken, ErrorCode::SystemIoFailure),
        (Call::Sync, How::Broken, ErrorCode::SystemIoFailure),
        (Call::Write, How::Full, ErrorCode::DiskFull),
        (Call::Write, How::Half, ErrorCode::DiskFull),
    ] {
        let home = Home::new();
        let conn = home.open();
        let insert = || conn.execute("INSERT INTO t VALUES (1)", []);
        home.watched.fail(Fault::new(call, how).on(File::Main));
        insert().unwrap();
        assert_eq!(home.watched.fired(), 0, "a commit does not touch the main file");
        home.watched.fail(Fault::new(call, how).on(File::Log).times(1));
        assert_eq!(
            insert().unwrap_err().sqlite_error_code(),
            Some(code),
            "{call:?} {how:?}"
        );
        assert_eq!(home.watched.fired(), 1);
        insert().unwrap();
        home.watched.fail(Fault::new(call, how).on(File::Log));
        insert().unwrap_err();
        home.watched.heal();
        insert().unwrap();
    }
}

#[test]
fn reads_fail_as_well() {
    let home = Home::new();
    let conn = home.open();
    conn.execute_batch("INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA cache_size = 0")
        .unwrap();
    let other = Connection::open(home.watched.path()).unwrap();
    home.watched.fail(Fault::new(Call::Read, How::Broken).on(File::Main));
    let count = |conn: &Connection| conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    assert_eq!(
        count(&other).unwrap_err().sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure)
    );
    home.watched.heal();
    assert_eq!(count(&other).unwrap(), 1);
}

#[test]
fn each_handle_hears_of_a_failed_sync_once() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    let insert = |conn: &Connection| conn.execute("INSERT INTO t VALUES (1)", []);
    insert(&one).unwrap();
    insert(&two).unwrap();
    home.watched
        .fail(Fault::new(Call::Sync, How::Broken).on(File::Log).times(1));
    insert(&one).unwrap_err();
    insert(&two).unwrap_err();
    insert(&one).unwrap();
    insert(&two).unwrap();
    // One that is opened later does not.
    insert(&home.open()).unwrap();
}

#[test]
fn a_file_that_nobody_watches_is_the_platforms_own() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    home.watched.fail(Fault::new(Call::Write, How::Broken));
    let conn = Connection::open(folder.path().join("other.db")).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        .unwrap();
    Connection::open_in_memory()
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    assert!(home.watched.events().is_empty());
    assert!(watch(home.watched.path()).is_err(), "twice");
}
