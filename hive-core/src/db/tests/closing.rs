//! Ends: close, close twice, drop, and what is still under way then.

use std::time::Duration;

use hive_errors::{ErrorKind, Result};

use super::{Gate, Home, insert, items};
use crate::db::Db;
use crate::limits;

fn is_shut<T: std::fmt::Debug>(answer: Result<T>) {
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::ShuttingDown);
}

#[tokio::test]
async fn a_closed_database_is_one_file_and_can_be_opened_again() {
    let home = Home::new();
    let db = home.open().await;
    db.write(insert(1)).await.unwrap();
    assert_eq!(items(&db).await, [(1, 1)]);
    let stats = db.stats();
    let clone = db.clone();
    db.close().await.unwrap();
    assert_eq!(home.files(), ["test.db", "test.db-lock"]);

    // The handles that are left say so, and never hang.
    for handle in [&db, &clone] {
        is_shut(handle.write(insert(2)).await);
        is_shut(handle.read(|_| Ok(())).await);
        is_shut(handle.current().await);
        is_shut(handle.up().await);
        is_shut(handle.down("test", 1).await);
        handle.close().await.unwrap();
        assert_eq!(handle.stats(), stats);
    }
    // The lock is given back although handles are left.
    let again = home.open().await;
    assert_eq!(items(&again).await, [(1, 1)]);
    again.close().await.unwrap();
}

#[tokio::test]
async fn closing_finishes_what_is_queued() {
    let home = Home::new();
    let db = home.open().await;
    let gate = Gate::shut(&db).await;
    let queued: Vec<_> = (0..10)
        .map(|id| {
            let db = db.clone();
            tokio::spawn(async move { db.write(insert(id)).await })
        })
        .collect();
    while db.waiting() < 10 {
        tokio::task::yield_now().await;
    }
    let closing: Vec<_> = (0..3)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.close().await })
        })
        .collect();
    tokio::task::yield_now().await;
    is_shut(db.write(insert(99)).await);
    gate.open().await;
    for task in queued {
        assert_eq!(task.await.unwrap().unwrap(), 1);
    }
    for task in closing {
        task.await.unwrap().unwrap();
    }
    let again = home.open().await;
    assert_eq!(items(&again).await.len(), 10);
}

#[tokio::test]
async fn closing_goes_on_by_itself_and_refuses_those_who_wait_for_a_place() {
    let home = Home::new();
    let db = home.open().await;
    let gate = Gate::shut(&db).await;
    let mut queued = tokio::task::JoinSet::new();
    let tasks = limits::DB_QUEUE + 5;
    for id in 0..tasks {
        let db = db.clone();
        let id = i64::try_from(id).unwrap();
        queued.spawn(async move { db.write(insert(id)).await });
    }
    while db.waiting() < limits::DB_QUEUE {
        tokio::task::yield_now().await;
    }
    // Begun, and dropped at its first wait.
    assert!(tokio::time::timeout(Duration::ZERO, db.close()).await.is_err());
    for _ in 0..5 {
        is_shut(queued.join_next().await.unwrap().unwrap());
    }
    gate.open().await;
    let written = queued
        .join_all()
        .await
        .into_iter()
        .filter(|answer| answer.is_ok())
        .count();
    assert_eq!(written, limits::DB_QUEUE);
    db.close().await.unwrap();
    assert_eq!(items(&home.open().await).await.len(), limits::DB_QUEUE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_reads_that_run() {
    let home = Home::new();
    let db = home.open().await;
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let mut inside = Some(inside);
    let reading = tokio::spawn({
        let db = db.clone();
        async move {
            db.read(move |db| {
                inside.take().unwrap().send(()).unwrap();
                gone.recv().unwrap();
                db.query_one("SELECT count(*) FROM item", &[], |row| row.get::<i64>(0))
            })
            .await
        }
    });
    entered.await.unwrap();
    let mut closing = Box::pin(db.close());
    assert!(
        tokio::time::timeout(Duration::from_millis(20), &mut closing)
            .await
            .is_err()
    );
    go.send(()).unwrap();
    closing.await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 0);
    assert_eq!(home.files(), ["test.db", "test.db-lock"]);
}

#[tokio::test]
async fn dropping_the_last_handle_finishes_and_gives_the_lock_back() {
    let home = Home::new();
    let db = home.open().await;
    let gate = Gate::shut(&db).await;
    // Queued and cancelled: only the queue holds it.
    let cancelled = tokio::spawn({
        let db = db.clone();
        async move { db.write(insert(3)).await }
    });
    while db.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    cancelled.abort();
    drop(cancelled.await);
    gate.open.send(()).unwrap();
    gate.passed.await.unwrap().unwrap();
    drop(db);
    assert_eq!(home.files(), ["test.db", "test.db-lock"]);
    assert_eq!(items(&home.open().await).await, [(3, 3)]);
}

#[tokio::test]
async fn the_last_handle_may_go_on_the_writers_own_thread() {
    let home = Home::new();
    let db = home.open().await;
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let write = tokio::spawn({
        let (db, mut own) = (db.clone(), Some(db.clone()));
        async move {
            db.write(move |tx| {
                gone.recv().unwrap();
                insert(1)(tx)?;
                drop(own.take());
                Ok(())
            })
            .await
        }
    });
    tokio::task::yield_now().await;
    write.abort();
    drop(write.await);
    drop_elsewhere(db).await;
    go.send(()).unwrap();
    // The thread ends by itself, a moment later.
    let again = loop {
        match Db::open(home.options()).await {
            Ok(db) => break db,
            Err(error) => assert_eq!(error.kind(), ErrorKind::DatabaseLocked, "{error:?}"),
        }
    };
    assert_eq!(items(&again).await, [(1, 1)]);
}

/// Not the last handle; but were it, this would wait.
async fn drop_elsewhere(db: Db) {
    tokio::task::spawn_blocking(move || drop(db)).await.unwrap();
}
