//! Group commit: what shares a commit, what it costs, and who hears of it when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hive_errors::{Error, ErrorKind};
use tokio::task::JoinSet;

use super::{Gate, Home, INSERT, batch, insert, items};
use crate::db::{Db, Stats};
use crate::limits;

#[tokio::test]
async fn a_lone_writer_pays_one_commit_for_each_write() {
    let home = Home::new();
    let db = home.open().await;
    for id in 0..5 {
        db.write(insert(id)).await.unwrap();
    }
    assert_eq!(db.stats(), Stats { writes: 5, commits: 5 });
}

#[tokio::test]
async fn what_waits_shares_a_commit() {
    let home = Home::new();
    let db = home.open().await;
    let works = (0..64)
        .map(|id| move |tx: &mut crate::db::Tx<'_>| insert(id)(tx).map(drop))
        .collect();
    for answer in batch(&db, works).await {
        answer.unwrap();
    }
    // The gate's own is the other.
    assert_eq!(db.stats(), Stats { writes: 65, commits: 2 });
    assert_eq!(items(&db).await.len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_commits_without_being_told_to() {
    let home = Home::new();
    let db = home.open().await;
    let mut tasks = JoinSet::new();
    for writer in 0..64 {
        let db = db.clone();
        tasks.spawn(async move {
            for round in 0..10 {
                db.write(insert(writer * 10 + round)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let stats = db.stats();
    assert_eq!(stats.writes, 640);
    assert!(stats.commits < 320, "{stats:?}");
    assert_eq!(items(&db).await.len(), 640);
}

#[tokio::test]
async fn closures_run_in_the_order_in_which_they_were_queued() {
    let home = Home::new();
    let db = home.open().await;
    let place = |id: i64| {
        move |tx: &mut crate::db::Tx<'_>| {
            let before: i64 = tx.query_one("SELECT count(*) FROM item", &[], |row| row.get(0))?;
            tx.execute(INSERT, &[&id, &before]).map(drop)
        }
    };
    batch(&db, (0..20).map(place).collect()).await;
    assert_eq!(items(&db).await, (0..20).map(|id| (id, id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_but_failures_is_no_commit() {
    let home = Home::new();
    let db = home.open().await;
    let fail = |id| {
        move |tx: &mut crate::db::Tx<'_>| {
            insert(id)(tx)?;
            Err(Error::new(ErrorKind::Conflict, "changed my mind"))
        }
    };
    for answer in batch(&db, (0..3).map(fail).collect()).await {
        assert_eq!(answer.unwrap_err().to_string(), "changed my mind");
    }
    assert_eq!(db.stats(), Stats { writes: 1, commits: 1 });
    assert_eq!(items(&db).await, []);
}

#[tokio::test]
async fn a_panic_is_an_error_that_says_what_was_said() {
    let home = Home::new();
    let db = home.open().await;
    // In a batch and alone.
    for _ in 0..2 {
        let (panicking, fine) = (db.clone(), db.clone());
        let gate = Gate::shut(&db).await;
        let panicking = tokio::spawn(async move {
            panicking
                .write(|tx| -> hive_errors::Result<()> {
                    insert(1)(tx)?;
                    std::panic::resume_unwind(Box::new("out of ideas".to_owned()))
                })
                .await
        });
        let fine = tokio::spawn(async move { fine.write(|tx| tx.execute("DELETE FROM item", &[])).await });
        gate.open().await;
        let error = panicking.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panic);
        assert_eq!(error.field("panic"), Some("out of ideas"), "{error}");
        assert_eq!(
            fine.await.unwrap().unwrap(),
            0,
            "the panicked closure's row was still there"
        );
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(Bomb));
        }
    }
}

#[tokio::test]
async fn what_panics_when_it_is_dropped_does_not_stop_the_writer() {
    let home = Home::new();
    let db = home.open().await;
    let gate = Gate::shut(&db).await;
    // Nobody waits for the value; nobody runs the hook; what is thrown is itself a bomb.
    let abandoned = [
        tokio::spawn({
            let db = db.clone();
            async move { db.write(|_| Ok(Bomb)).await.map(std::mem::forget) }
        }),
        tokio::spawn({
            let db = db.clone();
            async move {
                db.write(|tx| {
                    let bomb = Bomb;
                    tx.on_commit(move || drop(bomb));
                    Err(Error::new(ErrorKind::Conflict, "no"))
                })
                .await
            }
        }),
        tokio::spawn({
            let db = db.clone();
            async move {
                db.write(|_| -> hive_errors::Result<()> { std::panic::resume_unwind(Box::new(Bomb)) })
                    .await
            }
        }),
    ];
    while db.waiting() < abandoned.len() {
        tokio::task::yield_now().await;
    }
    for task in abandoned {
        task.abort();
        // Gone before there is an answer; a bomb in the hands of the runtime is another matter.
        assert!(task.await.unwrap_err().is_cancelled());
    }
    gate.open().await;
    db.write(insert(1)).await.unwrap();
    assert_eq!(items(&db).await, [(1, 1)]);
    db.close().await.unwrap();
}

#[tokio::test]
async fn hooks_run_once_their_commit_is_there_and_before_the_answer() {
    let home = Home::new();
    let db = home.open().await;
    let (done, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (ran, seen) = (Arc::clone(&done), Arc::clone(&committed));
    // Another connection sees what is committed, and nothing else.
    let path = db.place().to_owned();
    db.write(move |tx| {
        let (path, seen, ran) = (path.clone(), Arc::clone(&seen), Arc::clone(&ran));
        tx.on_commit(move || {
            let other = rusqlite::Connection::open(path).unwrap();
            let count: i64 = other
                .query_row("SELECT count(*) FROM item", [], |row| row.get(0))
                .unwrap();
            seen.store(count == 1, Ordering::Relaxed);
            ran.store(true, Ordering::Relaxed);
        });
        insert(1)(tx)
    })
    .await
    .unwrap();
    assert!(done.load(Ordering::Relaxed), "the answer came before the hook");
    assert!(committed.load(Ordering::Relaxed), "the hook came before the commit");
}

#[tokio::test]
async fn only_hooks_of_what_is_committed_run() {
    let home = Home::new();
    let db = home.open().await;
    let calls = Arc::new(AtomicU64::new(0));
    let works = (0..6_u64)
        .map(|index| {
            let calls = Arc::clone(&calls);
            move |tx: &mut crate::db::Tx<'_>| {
                let calls = Arc::clone(&calls);
                tx.on_commit(move || {
                    calls.fetch_add(1 << (8 * index), Ordering::Relaxed);
                    if index == 0 {
                        std::panic::resume_unwind(Box::new("a hook's own trouble"));
                    }
                });
                match index % 3 {
                    0 => Ok(()),
                    1 => Err(Error::new(ErrorKind::Conflict, "no")),
                    _ => std::panic::resume_unwind(Box::new("no")),
                }
            }
        })
        .collect();
    let answers = batch(&db, works).await;
    assert!(answers[0].is_ok(), "the hook's panic is not the write's");
    assert_eq!(calls.load(Ordering::Relaxed), 1 | 1 << 24, "one bit for each closure");
}

#[tokio::test]
async fn a_write_whose_caller_has_gone_is_written_all_the_same() {
    let home = Home::new();
    let db = home.open().await;
    let gate = Gate::shut(&db).await;
    let gone = tokio::spawn({
        let db = db.clone();
        async move { db.write(insert(7)).await }
    });
    while db.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    gate.open().await;
    db.write(|_| Ok(())).await.unwrap();
    assert_eq!(items(&db).await, [(7, 7)]);
}

#[tokio::test]
async fn a_queue_that_stays_full_refuses_and_writes_nothing() {
    let home = Home::new();
    let timeout = Duration::from_millis(30);
    let db = Db::open(home.options().write_timeout(timeout)).await.unwrap();
    let gate = Gate::shut(&db).await;
    let places = i64::try_from(limits::DB_QUEUE).unwrap();
    let mut queued = JoinSet::new();
    for id in 0..places {
        let db = db.clone();
        queued.spawn(async move { db.write(insert(id)).await });
    }
    while db.waiting() < limits::DB_QUEUE {
        tokio::task::yield_now().await;
    }
    let mut late = JoinSet::new();
    for id in 0..5 {
        let db = db.clone();
        late.spawn(async move { db.write(insert(places + id)).await });
    }
    for answer in late.join_all().await {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
        assert!(error.is_retryable());
        assert_eq!(error.field("waited_ms"), Some("30"), "{error}");
        assert_eq!(error.field("limit"), Some(places.to_string().as_str()), "{error}");
    }
    gate.open().await;
    for answer in queued.join_all().await {
        answer.unwrap();
    }
    assert_eq!(items(&db).await.len(), limits::DB_QUEUE);
    // With room again, the same handle goes on.
    db.write(insert(places)).await.unwrap();
}
