//! Readers: snapshots, their deadline, and what a closure may leave behind.

use std::time::Duration;

use hive_errors::{Error, ErrorKind};

use super::{Gate, Home, INSERT, insert, items};
use crate::db::Db;
use crate::limits;

const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

#[tokio::test]
async fn a_read_sees_what_was_acknowledged_and_nothing_later() {
    let home = Home::new();
    let db = home.open().await;
    db.write(insert(1)).await.unwrap();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let mut inside = Some(inside);
    let reading = tokio::spawn({
        let db = db.clone();
        async move {
            db.read(move |db| {
                let count = || db.query_one("SELECT count(*) FROM item", &[], |row| row.get::<i64>(0));
                let before = count()?;
                inside.take().unwrap().send(()).unwrap();
                gone.recv().unwrap();
                Ok((before, count()?))
            })
            .await
        }
    });
    entered.await.unwrap();
    db.write(insert(2)).await.unwrap();
    assert_eq!(items(&db).await.len(), 2);
    go.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (1, 1));
}

#[tokio::test]
async fn a_runaway_query_is_stopped_and_its_connection_goes_on() {
    let home = Home::new();
    let limit = Duration::from_millis(60);
    let db = Db::open(home.options().readers(1).read_timeout(limit)).await.unwrap();
    let error = db
        .read(|db| db.query_one(ENDLESS, &[], |row| row.get::<i64>(0)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.field("limit_ms"), Some("60"), "{error}");
    assert_eq!(items(&db).await, []);

    // Many short statements are as long as one.
    let error = db
        .read(|db| {
            for number in 0_u64.. {
                db.query_one(&format!("SELECT {number}"), &[], |row| row.get::<i64>(0))?;
            }
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(items(&db).await, []);

    // So is the wait for a connection.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let mut inside = Some(inside);
    let holder = tokio::spawn({
        let db = db.clone();
        async move {
            db.read(move |_| {
                inside.take().unwrap().send(()).unwrap();
                gone.recv().unwrap();
                Ok(())
            })
            .await
        }
    });
    entered.await.unwrap();
    let error = db.read(|_| Ok(())).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("readers")),
        (ErrorKind::Timeout, Some("1")),
        "{error:?}"
    );
    go.send(()).unwrap();
    holder.await.unwrap().unwrap();
    assert_eq!(items(&db).await, []);
}

#[tokio::test]
async fn a_reader_is_whole_after_whatever_a_closure_did() {
    let home = Home::new();
    let db = Db::open(home.options().readers(1)).await.unwrap();
    db.write(insert(1)).await.unwrap();
    let panicked = db
        .read(|db| {
            db.each("SELECT id FROM item", &[], |_| {
                std::panic::resume_unwind(Box::new("in the middle of a row"))
            })
        })
        .await
        .unwrap_err();
    assert_eq!(
        (panicked.kind(), panicked.field("panic")),
        (ErrorKind::Panic, Some("in the middle of a row"))
    );
    let own = db
        .read(|_| Err::<(), _>(Error::new(ErrorKind::NotFound, "mine")))
        .await
        .unwrap_err();
    assert_eq!(own.message(), "mine");
    for sql in [
        "INSERT INTO item (id, value) VALUES (9, 9)",
        "DELETE FROM item RETURNING id",
        "CREATE TABLE other (id INTEGER)",
    ] {
        let error = db.read(move |db| db.query(sql, &[], |_| Ok(()))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error:?}");
        assert!(error.hint().contains("Db::write"), "{error:?}");
    }
    // A scratch table of one reader's own does not outlive its snapshot.
    db.read(|db| db.query("CREATE TEMP TABLE scratch (id INTEGER)", &[], |_| Ok(())))
        .await
        .unwrap_err();
    // Every time it is the same connection, and its snapshot is a new one.
    db.write(insert(2)).await.unwrap();
    assert_eq!(items(&db).await, [(1, 1), (2, 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_reads_than_connections_take_turns() {
    let home = Home::new();
    let db = Db::open(home.options().readers(2)).await.unwrap();
    db.write(|tx| (0..100_i64).try_for_each(|id| tx.execute(INSERT, &[&id, &id]).map(drop)))
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let db = db.clone();
        tasks.spawn(async move { items(&db).await.len() });
    }
    assert_eq!(tasks.join_all().await, [100; 50]);
}

#[tokio::test]
async fn any_number_of_readers_can_be_asked_for() {
    for count in [0, usize::MAX] {
        let home = Home::new();
        let db = Db::open(home.options().readers(count)).await.unwrap();
        assert_eq!(items(&db).await, []);
    }
}

#[tokio::test]
async fn readers_do_not_wait_for_the_writer() {
    let home = Home::new();
    let db = home.open().await;
    let gate = Gate::shut(&db).await;
    assert_eq!(items(&db).await, []);
    gate.open().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_and_a_reader_that_holds_on_costs_nothing_but_its_length() {
    let home = Home::new();
    let db = home.open().await;
    let log = || std::fs::metadata(home.dir.path().join("test.db-wal")).unwrap().len();
    let page = 4_096 + 24;
    db.write(|tx| tx.execute("CREATE TABLE big (body BLOB NOT NULL) STRICT", &[]))
        .await
        .unwrap();
    let churn = |rounds: i64| {
        let db = db.clone();
        async move {
            for round in 0..rounds {
                db.write(move |tx| {
                    tx.execute("DELETE FROM item", &[])?;
                    tx.execute(INSERT, &[&1, &round])?;
                    tx.execute("DELETE FROM big", &[])?;
                    tx.execute("INSERT INTO big VALUES (zeroblob(240000))", &[])
                })
                .await
                .unwrap();
            }
        }
    };
    // Each round writes some sixty pages.
    let most = u64::from(limits::DB_LOG_PAGES_MAX + 100) * page;
    churn(150).await;
    assert!(log() < most, "{} bytes", log());

    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let mut inside = Some(inside);
    let reading = tokio::spawn({
        let db = db.clone();
        async move {
            db.read(move |db| {
                let sum = || db.query_one("SELECT sum(value) FROM item", &[], |row| row.get::<i64>(0));
                let before = sum()?;
                inside.take().unwrap().send(()).unwrap();
                gone.recv().unwrap();
                Ok(before == sum()?)
            })
            .await
        }
    });
    entered.await.unwrap();
    churn(90).await;
    assert!(log() > most, "the reader did not hold the log: {} bytes", log());
    go.send(()).unwrap();
    assert!(reading.await.unwrap().unwrap(), "the snapshot changed under the reader");
    // Folding is tried again after so many pages more.
    churn(20).await;
    let settled = log();
    churn(20).await;
    assert_eq!(log(), settled, "the log did not start again");
}
