//! A disk that fails: what could not be written is refused, nothing that was acknowledged is lost, and work goes on by itself
//! once the disk is well.

use std::sync::mpsc;
use std::time::Duration;

use hive_core::db::{Db, Options, Tx, Write};
use hive_core_vfs::{Call, Event, Fault, File, How, Timeline, Watched, watch};
use hive_errors::{ErrorKind, Result};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{ROWS, open, put, rows};

/// Enough of them that the log is folded in the background, but not yet by the writer.
const SOME: i64 = 40;
const BYTES: usize = 60_000;

/// A database on a disk that does as it is told.
struct Home {
    folder: TempDir,
    watched: Watched,
    db: Db,
    /// What was acknowledged: the ids up to here.
    next: i64,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watched = watch(&folder.path().join("hive.db")).unwrap();
        let db = open(watched.path()).await.unwrap();
        Self {
            folder,
            watched,
            db,
            next: 0,
        }
    }

    async fn put(&mut self, bytes: usize) -> Result<()> {
        put(&self.db, self.next, bytes).await?;
        self.next += 1;
        Ok(())
    }

    /// Everything that was acknowledged is there and nothing else, now and after a power cut.
    async fn check(&self) {
        let all: Vec<i64> = (0..self.next).collect();
        assert_eq!(self.db.read(rows).await.unwrap(), all);
        assert_eq!(self.after_power_cut().await, all);
    }

    /// What is there when the power goes now and everything is lost that may be.
    async fn after_power_cut(&self) -> Vec<i64> {
        let events = self.watched.events();
        let mut timeline = Timeline::new(&events);
        while timeline.advance().is_some() {}
        let path = self.folder.path().join("copy.db");
        timeline.lost().write(&path).unwrap();
        let db = open(&path).await.unwrap();
        let rows = db.read(rows).await.unwrap();
        db.close().await.unwrap();
        rows
    }

    /// How many events `is` among those so far.
    fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.watched.events().iter().filter(|event| is(event)).count()
    }

    /// Writes until `is` has come to pass once more.
    async fn put_until(&mut self, is: impl Fn(&Event) -> bool) {
        let before = self.count(&is);
        for _ in 0..2_000 {
            if self.count(&is) > before {
                return;
            }
            self.put(BYTES).await.unwrap();
        }
        panic!("it does not come to pass");
    }
}

fn synced(file: File) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Sync { file: on, .. } if *on == file)
}

fn sync_failed(file: File) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::SyncFailed { file: on, .. } if *on == file)
}

fn written(file: File) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Write { file: on, .. } if *on == file)
}

/// A reader that stays until it is told to go.
struct Pinned {
    go: mpsc::Sender<()>,
    reading: JoinHandle<Result<Vec<i64>>>,
}

impl Pinned {
    async fn new(db: &Db) -> Self {
        let (go, gone) = mpsc::channel();
        let (inside, mut entered) = tokio::sync::mpsc::unbounded_channel();
        let db = db.clone();
        let reading = tokio::spawn(async move {
            db.read(move |db| {
                let before = rows(db)?;
                inside.send(()).unwrap();
                gone.recv().unwrap();
                assert_eq!(rows(db)?, before, "the snapshot changed under the reader");
                Ok(before)
            })
            .await
        });
        entered.recv().await.unwrap();
        Self { go, reading }
    }

    async fn release(self) {
        self.go.send(()).unwrap();
        self.reading.await.unwrap().unwrap();
    }
}

/// A fold that could not be finished because of a reader, and one whose sync fails: what the first had put into the file is
/// no more certain than what the second had, though no later fold puts it there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_sync_failed_is_not_trusted_with_what_it_had_before() {
    let mut home = Home::new().await;
    for _ in 0..SOME / 2 {
        home.put(BYTES).await.unwrap();
    }
    let reader = Pinned::new(&home.db).await;
    // Some of the log is folded, and not synced for as long as the reader keeps the rest.
    home.put_until(written(File::Main)).await;
    home.watched
        .fail(Fault::new(Call::Sync, How::Broken).on(File::Main).times(1));
    reader.release().await;
    home.put_until(sync_failed(File::Main)).await;
    // The disk is well again: the log is folded and starts anew.
    home.put_until(synced(File::Main)).await;
    for _ in 0..5 {
        home.put(100).await.unwrap();
    }
    home.check().await;
    home.db.close().await.unwrap();
    home.db = open(home.watched.path()).await.unwrap();
    home.check().await;
}

/// Without the fault, the same says nothing: what is found above is the fault's doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_that_a_reader_cut_short_is_finished_later() {
    let mut home = Home::new().await;
    for _ in 0..SOME / 2 {
        home.put(BYTES).await.unwrap();
    }
    let reader = Pinned::new(&home.db).await;
    home.put_until(written(File::Main)).await;
    reader.release().await;
    home.put_until(synced(File::Main)).await;
    home.put(100).await.unwrap();
    home.check().await;
    assert_eq!(home.count(sync_failed(File::Main)), 0);
}

/// Whatever goes wrong with the log, those whose commit it was are told so, and the next ones are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_is_refused_and_the_next_is_not() {
    for (call, how, kind) in [
        (Call::Write, How::Broken, ErrorKind::Storage),
        (Call::Write, How::Full, ErrorKind::DiskFull),
        (Call::Write, How::Half, ErrorKind::DiskFull),
        (Call::Sync, How::Broken, ErrorKind::Storage),
    ] {
        let mut home = Home::new().await;
        home.put(BYTES).await.unwrap();
        for after in 0..6 {
            home.watched
                .fail(Fault::new(call, how).on(File::Log).after(after).times(1));
            let fired = home.watched.fired();
            while home.watched.fired() == fired {
                match home.put(9_000).await {
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), kind, "{call:?} {how:?}: {error:?}");
                        assert!(error.is_retryable(), "{error:?}");
                        assert!(!error.hint().is_empty(), "{error:?}");
                    }
                }
            }
            home.watched.heal();
            home.put(9_000).await.unwrap();
            home.check().await;
        }
        home.db.close().await.unwrap();
        home.db = open(home.watched.path()).await.unwrap();
        home.check().await;
    }
}

#[tokio::test]
async fn a_read_that_fails_says_so_and_the_next_does_not() {
    let mut home = Home::new().await;
    home.put(BYTES).await.unwrap();
    // Folded in, so that reads need the file, and a connection that has nothing in its cache.
    home.db.close().await.unwrap();
    home.db = open(home.watched.path()).await.unwrap();
    home.watched.fail(Fault::new(Call::Read, How::Broken).on(File::Main));
    let error = home.db.read(rows).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
    home.watched.heal();
    home.check().await;
}

/// What was written relaxed is promised to nobody, but a durable write that comes after it rests on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_write_never_rests_on_a_log_whose_sync_failed() {
    let mut home = Home::new().await;
    home.put(100).await.unwrap();
    for round in 0..5 {
        let id = home.next;
        home.db
            .write_with(Write::relaxed(), move |tx| {
                tx.execute(
                    "INSERT INTO row (id, body) VALUES (?1, ?2)",
                    &[&id, &vec![id.to_le_bytes()[0]; 5_000]],
                )?;
                tx.execute("INSERT INTO twin (id, length) VALUES (?1, 5000)", &[&id])
                    .map(drop)
            })
            .await
            .unwrap();
        home.next += 1;
        home.watched
            .fail(Fault::new(Call::Sync, How::Broken).on(File::Log).times(1));
        let error = home.put(100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "round {round}: {error:?}");
        home.put(100).await.unwrap();
        home.check().await;
    }
}

/// Opened anew, the database reads the log from its beginning, and with it what a failed commit has left at its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_does_not_come_back_when_the_file_is_opened_anew() {
    let mut home = Home::new().await;
    for _ in 0..3 {
        home.put_until(written(File::Main)).await;
        // The commit fails at its sync, with all of it in the log, and so does the next fold.
        home.watched
            .fail(Fault::new(Call::Sync, How::Broken).on(File::Log).times(1));
        home.put(BYTES).await.unwrap_err();
        home.watched.heal();
        home.watched
            .fail(Fault::new(Call::Sync, How::Broken).on(File::Main).times(1));
        home.put_until(sync_failed(File::Main)).await;
        home.check().await;
    }
}

/// While the disk fails, whoever writes is told; nothing waits for ever and nothing is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stays_broken_is_tried_again_with_each_write() {
    let mut home = Home::new().await;
    home.watched.fail(Fault::new(Call::Sync, How::Broken).on(File::Main));
    let before = home.next;
    let mut refused = 0;
    while refused < 5 {
        match home.put(BYTES).await {
            Ok(()) => assert!(home.next < before + 2_000, "the log is never folded"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
                assert!(error.is_retryable(), "{error:?}");
                refused += 1;
            }
        }
        // Reading goes on all the while.
        assert_eq!(
            home.db.read(rows).await.unwrap().len(),
            usize::try_from(home.next).unwrap()
        );
    }
    assert!(home.count(sync_failed(File::Main)) > 3);
    home.watched.heal();
    home.put(100).await.unwrap();
    home.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stays_is_waited_for_before_the_file_is_opened_anew() {
    let mut home = Home::new().await;
    let options = Options::file(home.watched.path()).migrations(&ROWS);
    home.db.close().await.unwrap();
    home.db = Db::open(options.read_timeout(Duration::from_millis(100)))
        .await
        .unwrap();
    let reader = Pinned::new(&home.db).await;
    // Not all of the log can be folded in with the reader there, so it is the log's sync that fails.
    home.put(100).await.unwrap();
    home.watched
        .fail(Fault::new(Call::Sync, How::Broken).on(File::Log).times(1));
    let relaxed = |tx: &mut Tx<'_>| tx.execute("UPDATE row SET id = id", &[]);
    home.db.write_with(Write::relaxed(), relaxed).await.unwrap();
    home.put(100).await.unwrap_err();
    // The reader keeps its snapshot for longer than a read may take: who writes is told what he waits for.
    let error = home.put(100).await.unwrap_err();
    assert!(error.to_string().contains("a read goes on for too long"), "{error}");
    assert!(error.is_retryable(), "{error:?}");
    reader.go.send(()).unwrap();
    let timeout = reader.reading.await.unwrap().unwrap_err();
    assert_eq!(timeout.kind(), ErrorKind::Timeout, "{timeout:?}");
    home.put(100).await.unwrap();
    home.check().await;
}

/// Closing folds the log in. When that fails, it says so, and leaves the log to the next open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_on_a_broken_disk_loses_nothing() {
    for (call, file) in [
        (Call::Sync, File::Main),
        (Call::Write, File::Main),
        (Call::Sync, File::Log),
    ] {
        let mut home = Home::new().await;
        for _ in 0..SOME {
            home.put(BYTES).await.unwrap();
        }
        home.watched.fail(Fault::new(call, How::Broken).on(file));
        let error = home.db.close().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
        assert!(error.hint().contains("nothing is lost"), "{error:?}");
        // It cannot be opened while the disk is broken, or it can; nothing is lost by trying.
        drop(open(home.watched.path()).await);
        home.watched.heal();
        home.db = open(home.watched.path()).await.unwrap();
        home.check().await;
        home.put(100).await.unwrap();
        home.check().await;
    }
}

/// A query without an end is a reader that holds on to its snapshot: its time runs out, and the log starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_without_an_end_does_not_keep_the_log_for_ever() {
    let mut home = Home::new().await;
    home.put(100).await.unwrap();
    home.db.close().await.unwrap();
    let options = Options::file(home.watched.path()).migrations(&ROWS);
    home.db = Db::open(options.read_timeout(Duration::from_millis(500)))
        .await
        .unwrap();
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n, (SELECT id FROM row LIMIT 1)";
    let (inside, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let db = home.db.clone();
    let reading = tokio::spawn(async move {
        db.read(move |db| {
            inside
                .send(db.query_one("SELECT count(*) FROM row", &[], |row| row.get::<i64>(0))?)
                .unwrap();
            db.query_one(endless, &[], |row| row.get::<i64>(0))
        })
        .await
    });
    entered.recv().await.unwrap();
    let mut longest = 0;
    let mut next = home.next;
    // Writers do not wait for it.
    while !reading.is_finished() {
        put(&home.db, next, BYTES).await.unwrap();
        next += 1;
        longest = longest.max(log_of(&home));
    }
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    home.next = next;
    // From its beginning, over what is there.
    home.put_until(|event| {
        matches!(
            event,
            Event::Write {
                file: File::Log,
                offset: 0,
                ..
            }
        )
    })
    .await;
    for _ in 0..SOME {
        home.put(BYTES).await.unwrap();
    }
    assert!(
        longest > 0 && log_of(&home) <= longest.max(32 << 20),
        "{} of {longest}",
        log_of(&home)
    );
    home.check().await;
}

fn log_of(home: &Home) -> u64 {
    std::fs::metadata(home.folder.path().join("hive.db-wal")).unwrap().len()
}
