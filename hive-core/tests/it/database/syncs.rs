//! What reaches the disk when: one sync for a lone write, none for a relaxed one, and none too few.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use hive_core::db::{Db, Write};
use hive_core_vfs::{Event, File, Timeline, Watched, watch};
use hive_errors::Result;

use super::{another, body, open, other, put, rows};

/// An open database that is watched, once it has settled.
async fn watched(folder: &Path) -> (Watched, Db) {
    let watched = watch(&folder.join("hive.db")).unwrap();
    let db = open(watched.path()).await.unwrap();
    put(&db, 0, 10).await.unwrap();
    (watched, db)
}

async fn put_relaxed(db: &Db, id: i64) -> Result<()> {
    db.write_with(Write::relaxed(), move |tx| {
        tx.execute("INSERT INTO row (id, body) VALUES (?1, ?2)", &[&id, &body(id, 10)])?;
        tx.execute("INSERT INTO twin (id, length) VALUES (?1, 10)", &[&id])
            .map(drop)
    })
    .await
}

/// How often each file has been synced.
fn syncs(watched: &Watched) -> [usize; 2] {
    let events = watched.events();
    let of = |wanted| {
        let found = events
            .iter()
            .filter(|event| matches!(event, Event::Sync { file, .. } if *file == wanted));
        found.count()
    };
    [of(File::Log), of(File::Main)]
}

/// The rows that are there when the power goes now and everything goes that no sync has covered.
async fn after_power_loss(watched: &Watched) -> Vec<i64> {
    let events = watched.events();
    let mut timeline = Timeline::new(&events);
    while timeline.advance().is_some() {}
    let image = timeline.lost();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    for (file, name) in [(File::Main, "hive.db"), (File::Log, "hive.db-wal")] {
        if let Some(bytes) = image.file(file) {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
    }
    let db = open(&path).await.unwrap();
    let found = db.read(rows).await.unwrap();
    db.close().await.unwrap();
    found
}

#[tokio::test]
async fn a_lone_write_is_one_sync_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, db) = watched(dir.path()).await;
    for id in 1..20 {
        let before = syncs(&watched);
        put(&db, id, 200).await.unwrap();
        let after = syncs(&watched);
        assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 0], "write {id}");
    }
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_relaxed_write_syncs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, db) = watched(dir.path()).await;
    let before = syncs(&watched);
    for id in 1..20 {
        put_relaxed(&db, id).await.unwrap();
    }
    assert_eq!(syncs(&watched), before);
    assert_eq!(
        db.read(rows).await.unwrap(),
        (0..20).collect::<Vec<_>>(),
        "others see them"
    );
    assert_eq!(after_power_loss(&watched).await, [0], "nothing promised more");
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_durable_write_makes_every_relaxed_one_before_it_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, db) = watched(dir.path()).await;
    for id in 1..10 {
        put_relaxed(&db, id).await.unwrap();
    }
    put(&db, 10, 10).await.unwrap();
    put_relaxed(&db, 11).await.unwrap();
    assert_eq!(after_power_loss(&watched).await, (0..11).collect::<Vec<_>>());
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_durable_answer_never_rests_on_what_is_not_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, db) = watched(dir.path()).await;
    put_relaxed(&db, 1).await.unwrap();
    // It writes nothing: the row is there.
    let found = db
        .write(|tx| {
            tx.execute("INSERT INTO row (id, body) VALUES (1, x'') ON CONFLICT DO NOTHING", &[])?;
            tx.query_one("SELECT count(*) FROM row WHERE id = 1", &[], |row| row.get::<i64>(0))
        })
        .await
        .unwrap();
    assert_eq!(found, 1);
    assert_eq!(after_power_loss(&watched).await, [0, 1]);
    let before = syncs(&watched);
    db.write(|_| Ok(())).await.unwrap();
    assert_eq!(
        syncs(&watched),
        before,
        "with all of it on disk there is nothing to sync"
    );
    db.close().await.unwrap();
}

#[tokio::test]
async fn one_durable_write_makes_its_whole_batch_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, db) = watched(dir.path()).await;
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let busy = tokio::spawn({
        let db = db.clone();
        async move {
            db.write_with(Write::relaxed(), move |_| {
                begin.send(()).unwrap();
                opened.recv().unwrap();
                Ok(())
            })
            .await
        }
    });
    // From here on what comes is queued until it may end.
    begun.recv().await.unwrap();
    // Polled in this order on one thread, so queued in it.
    let together = async {
        tokio::join!(put_relaxed(&db, 1), put(&db, 2, 10), put_relaxed(&db, 3), async {
            open.send(()).unwrap();
        })
    };
    let (first, second, third, ()) = together.await;
    first.and(second).and(third).unwrap();
    busy.await.unwrap().unwrap();
    assert_eq!(after_power_loss(&watched).await, [0, 1, 2, 3]);
    db.close().await.unwrap();
}

const TEST: &str = "database::syncs::a_relaxed_write_survives_the_death_of_its_process";

#[tokio::test]
async fn a_relaxed_write_survives_the_death_of_its_process() {
    if let Some(path) = other() {
        let db = open(&path).await.unwrap();
        for id in 0.. {
            put_relaxed(&db, id).await.unwrap();
            let line = format!("acknowledged {id}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }
    for count in [1, 10, 300] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hive.db");
        let mut writer = another(&std::env::current_exe().unwrap(), TEST, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut ids = lines
            .map_while(std::io::Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        let mut acknowledged: Vec<i64> = ids.by_ref().take(count).collect();
        writer.kill().unwrap();
        acknowledged.extend(ids);
        assert!(!writer.wait().unwrap().success());
        assert!(acknowledged.len() >= count);
        let db = open(&path).await.unwrap();
        let found = db.read(rows).await.unwrap();
        assert!(
            acknowledged.iter().all(|id| found.contains(id)),
            "acknowledged and gone"
        );
        db.close().await.unwrap();
    }
}
