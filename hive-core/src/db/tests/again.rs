//! Closures share a transaction without being set apart; one that fails after it has written makes the others run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hive_errors::{Error, ErrorKind, Result};

use super::{Home, INSERT, batch, insert, items};
use crate::db::{Stats, Tx};

type Work = Box<dyn FnMut(&mut Tx<'_>) -> Result<()> + Send>;

fn no() -> Error {
    Error::new(ErrorKind::Conflict, "no")
}

fn put(id: i64) -> Work {
    Box::new(move |tx| insert(id)(tx).map(drop))
}

/// Inserts a row and adds to `runs`.
fn counted(id: i64, runs: &Arc<AtomicU64>) -> Work {
    let runs = Arc::clone(runs);
    Box::new(move |tx| {
        runs.fetch_add(1, Ordering::Relaxed);
        insert(id)(tx).map(drop)
    })
}

fn ids(items: Vec<(i64, i64)>) -> Vec<i64> {
    items.into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn what_a_failed_closure_wrote_is_undone_and_nothing_else() {
    let home = Home::new();
    let db = home.open().await;
    let runs = Arc::new(AtomicU64::new(0));
    let spoil: Work = Box::new(|tx| {
        insert(2)(tx)?;
        Err(no())
    });
    let answers = batch(&db, vec![counted(1, &runs), spoil, counted(3, &runs)]).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap_err().to_string(), "no");
    assert_eq!(ids(items(&db).await), [1, 3]);
    assert_eq!(runs.load(Ordering::Relaxed), 3, "the first ran again, the last did not");
    assert_eq!(db.stats(), Stats { writes: 3, commits: 2 }, "nothing is counted twice");
}

#[tokio::test]
async fn a_closure_that_fails_before_it_has_written_makes_nobody_run_again() {
    let home = Home::new();
    let db = home.open().await;
    let runs = Arc::new(AtomicU64::new(0));
    let refused: Work = Box::new(|tx| tx.execute(INSERT, &[&1_i64, &0_i64]).map(drop));
    let wrong: Work = Box::new(|tx| tx.execute("INSERT INTO nowhere VALUES (1)", &[]).map(drop));
    let read: Work = Box::new(|tx| {
        tx.query("SELECT id FROM item", &[], |_| Ok(()))?;
        Err(no())
    });
    let answers = batch(&db, vec![counted(1, &runs), refused, wrong, read, counted(2, &runs)]).await;
    let failed: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, true, true, false]);
    assert_eq!(ids(items(&db).await), [1, 2]);
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn whatever_a_failed_closure_left_is_found() {
    let home = Home::new();
    let db = home.open().await;
    db.write(|tx| {
        tx.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, of INTEGER) STRICT", &[])?;
        tx.execute(
            "CREATE TRIGGER logged AFTER DELETE ON item BEGIN INSERT INTO log (of) VALUES (old.id); END",
            &[],
        )?;
        (10..14).try_for_each(|id| insert(id)(tx).map(drop))
    })
    .await
    .unwrap();
    // Each leaves something that is not a row inserted by a statement of its own.
    let spoilers: [(&str, Work); 7] = [
        (
            "a table",
            Box::new(|tx| run(tx, "CREATE TABLE left (id INTEGER) STRICT")),
        ),
        ("an index", Box::new(|tx| run(tx, "CREATE INDEX left ON item (value)"))),
        (
            "a table of its own",
            Box::new(|tx| run(tx, "CREATE TEMP TABLE left (id INTEGER)")),
        ),
        (
            "a row that went",
            Box::new(|tx| run(tx, "DELETE FROM item WHERE id = 10")),
        ),
        ("all rows that went", Box::new(|tx| run(tx, "DELETE FROM item"))),
        (
            "a row put in another's place",
            Box::new(|tx| run(tx, "REPLACE INTO item (id, value) VALUES (11, 0)")),
        ),
        (
            "what came before a refused row of the same statement",
            Box::new(|tx| run(tx, "INSERT OR FAIL INTO item (id, value) VALUES (50, 0), (10, 0)")),
        ),
    ];
    for (index, (what, mut spoil)) in (20_i64..).zip(spoilers) {
        // After the last one each closure would be set apart anyway.
        let db = if index == 20 {
            db.clone()
        } else {
            reopened(&home, &db).await
        };
        let spoil: Work = Box::new(move |tx| spoil(tx).and(Err(no())));
        let answers = batch(&db, vec![put(index), spoil, put(index + 20)]).await;
        assert!(
            answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(),
            "{what}: {answers:?}"
        );
        let left = db
            .write(|tx| {
                let tables = "SELECT (SELECT count(*) FROM sqlite_schema WHERE name = 'left')
                              + (SELECT count(*) FROM sqlite_temp_schema WHERE name = 'left')
                              + (SELECT count(*) FROM log) + (SELECT count(*) FROM item WHERE id = 50 OR value = 0)";
                tx.query_one(tables, &[], |row| row.get::<i64>(0))
            })
            .await
            .unwrap();
        assert_eq!(left, 0, "{what} was left behind");
        let kept = ids(items(&db).await);
        assert!(
            [10, 11, 12, 13, index, index + 20].iter().all(|id| kept.contains(id)),
            "{what}: {kept:?}"
        );
        db.close().await.unwrap();
    }
}

fn run(tx: &mut Tx<'_>, sql: &str) -> Result<()> {
    tx.execute(sql, &[]).map(drop)
}

async fn reopened(home: &Home, db: &crate::db::Db) -> crate::db::Db {
    db.close().await.unwrap();
    home.open().await
}

#[tokio::test]
async fn a_closure_that_panicked_is_not_run_again() {
    let home = Home::new();
    let db = home.open().await;
    let runs = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&runs);
    let panics: Work = Box::new(move |tx| {
        seen.fetch_add(1, Ordering::Relaxed);
        insert(2)(tx)?;
        std::panic::resume_unwind(Box::new("no further"))
    });
    let answers = batch(&db, vec![put(1), panics, put(3)]).await;
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Panic);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(ids(items(&db).await), [1, 3]);
}

#[tokio::test]
async fn hooks_of_a_run_that_was_undone_are_forgotten() {
    let home = Home::new();
    let db = home.open().await;
    let calls = Arc::new(AtomicU64::new(0));
    let hooked = |id: i64| -> Work {
        let calls = Arc::clone(&calls);
        Box::new(move |tx| {
            let calls = Arc::clone(&calls);
            tx.on_commit(move || {
                calls.fetch_add(1, Ordering::Relaxed);
            });
            insert(id)(tx).map(drop)
        })
    };
    let spoil: Work = Box::new(|tx| {
        insert(3)(tx)?;
        Err(no())
    });
    batch(&db, vec![hooked(1), hooked(2), spoil]).await;
    assert_eq!(calls.load(Ordering::Relaxed), 2, "once for each that is there");
}

#[tokio::test]
async fn closures_that_fail_often_are_set_apart_and_run_once() {
    let home = Home::new();
    let db = home.open().await;
    let runs = Arc::new(AtomicU64::new(0));
    let spoil = || -> Work {
        Box::new(|tx| {
            insert(1_000)(tx)?;
            Err(no())
        })
    };
    for round in 0..10_i64 {
        batch(
            &db,
            vec![counted(round * 2, &runs), spoil(), counted(round * 2 + 1, &runs)],
        )
        .await;
    }
    assert_eq!(ids(items(&db).await), (0..20).collect::<Vec<_>>());
    assert_eq!(runs.load(Ordering::Relaxed), 21, "only the very first ran again");
}

#[tokio::test]
async fn a_database_that_was_only_looked_at_closes_cleanly() {
    let home = Home::new();
    let db = home.open().await;
    db.write(insert(1)).await.unwrap();
    db.close().await.unwrap();
    // As a copy or another tool's work arrives: the log is begun at open.
    let tool = rusqlite::Connection::open(home.dir.path().join("test.db")).unwrap();
    tool.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    drop(tool);
    let db = home.open().await;
    assert_eq!(ids(items(&db).await), [1]);
    db.close().await.unwrap();
}
