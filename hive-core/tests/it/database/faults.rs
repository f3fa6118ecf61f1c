//! A disk that fails: what could not be written is refused, nothing that was acknowledged is lost, and work goes on by itself
//! once the disk is well.

use std::sync::mpsc;

use hive_core::db::Db;
use hive_core_vfs::{Call, Event, Fault, File, How, Timeline, Watched, watch};
use hive_errors::Result;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{open, put, rows};

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
