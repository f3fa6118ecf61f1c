use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hive_core::db::{Db, Tx};
use hive_errors::{Error, ErrorKind, Result};

use super::{PUT, Place, put, things};

async fn fails(db: &Db, sql: &'static str) -> Error {
    let error = db.write(move |tx| tx.execute(sql, &[])).await.unwrap_err();
    assert!(
        error.source().is_some() || error.kind() == ErrorKind::InvalidInput,
        "{sql}: {error:?}"
    );
    error
}

use std::error::Error as _;

pub(super) async fn each_kind_of_failure_is_called_the_same(place: Place) {
    let db = place.db().await;
    put(&db, 1, "one").await.unwrap();
    for (sql, kind) in [
        ("INSERT INTO thing (id, name) VALUES (1, 'other')", ErrorKind::Conflict),
        ("INSERT INTO thing (id, name) VALUES (2, 'one')", ErrorKind::Conflict),
        (
            "INSERT INTO thing (id, name) VALUES (2, 'two'), (3, 'two')",
            ErrorKind::Conflict,
        ),
        ("INSERT INTO thing (id) VALUES (2)", ErrorKind::Conflict),
        (
            "INSERT INTO thing (id, name, size) VALUES (2, 'two', 1000)",
            ErrorKind::Conflict,
        ),
        ("UPDATE thing SET name = NULL", ErrorKind::Conflict),
        ("INSERT INTO part (id, thing) VALUES (1, 404)", ErrorKind::Conflict),
        ("SELECT * FROM nowhere", ErrorKind::Storage),
        ("INSERT INTO nowhere (id) VALUES (1)", ErrorKind::Storage),
        ("UPDATE thing SET nothing = 1", ErrorKind::Storage),
        ("SELEC 1", ErrorKind::Storage),
        ("INSERT INTO thing (id, name VALUES (1, 2)", ErrorKind::Storage),
        ("CREATE TABLE thing (id INTEGER)", ErrorKind::Storage),
        ("SELECT nofunction(1)", ErrorKind::Storage),
    ] {
        let error = fails(&db, sql).await;
        assert_eq!(error.kind(), kind, "{sql}: {error:?}");
        assert!(!error.is_retryable(), "trying again would mend it? {sql}: {error:?}");
    }
    for count in [0, 1, 3] {
        let error = db
            .write(move |tx| {
                let all: [&dyn hive_core::db::ToValue; 3] = [&7, &"seven", &9];
                tx.execute(PUT, &all[..count])
            })
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Storage,
            "{count} parameters for two: {error:?}"
        );
    }
    let none = db.read(|db| db.query_one("SELECT id FROM thing WHERE id = 404", &[], |row| row.get::<i64>(0)));
    assert_eq!(none.await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = db
        .write(|_| Err::<(), _>(Error::new(ErrorKind::BudgetExhausted, "my own")))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::BudgetExhausted, "my own"));
    assert_eq!(things(&db).await, 1);
}

pub(super) async fn what_a_closure_may_not_run_is_refused(place: Place) {
    let db = place.db().await;
    put(&db, 1, "one").await.unwrap();
    for sql in [
        "BEGIN",
        "COMMIT",
        "  -- a remark\n commit",
        "END",
        "ROLLBACK",
        "/* a remark */ ROLLBACK",
        "SAVEPOINT mine",
        "RELEASE attempt",
        "ROLLBACK TO attempt",
    ] {
        let error = fails(&db, sql).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error:?}");
        let error = db.read(move |db| db.query(sql, &[], |_| Ok(()))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error:?}");
        let error = db
            .write(move |tx| {
                tx.execute(PUT, &[&2, &"two"])?;
                tx.attempt(|tx| tx.execute(sql, &[]))
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error:?}");
    }
    assert_eq!(things(&db).await, 1);
}

pub(super) async fn a_read_cannot_write(place: Place) {
    let db = place.db().await;
    put(&db, 1, "one").await.unwrap();
    for sql in [
        "INSERT INTO thing (id, name) VALUES (2, 'two')",
        "INSERT INTO thing (id, name) VALUES (2, 'two') RETURNING id",
        "UPDATE thing SET size = 1",
        "DELETE FROM thing",
        "CREATE TABLE other (id INTEGER)",
        "DROP TABLE thing",
    ] {
        let error = db.read(move |db| db.query(sql, &[], |_| Ok(()))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error:?}");
    }
    // The connection that it was tried on is none the worse.
    for _ in 0..20 {
        assert_eq!(things(&db).await, 1);
    }
}

pub(super) async fn a_statement_that_fails_dooms_its_closure(place: Place) {
    let db = place.db().await;
    put(&db, 1, "one").await.unwrap();
    let error = db
        .write(|tx| {
            tx.execute(PUT, &[&2, &"two"])?;
            let first = tx.execute(PUT, &[&3, &"two"]).unwrap_err();
            assert_eq!(first.kind(), ErrorKind::Conflict);
            // Whatever comes after gets the same.
            assert_eq!(tx.execute(PUT, &[&4, &"four"]).unwrap_err().kind(), ErrorKind::Conflict);
            let read = tx.query("SELECT id FROM thing", &[], |row| row.get::<i64>(0));
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(tx.attempt(|_| Ok(())).unwrap_err().kind(), ErrorKind::Conflict);
            Ok("all is well")
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(things(&db).await, 1);
    // What the closure returns by itself stands when it fails in its own way.
    let error = db
        .write(|tx| {
            drop(tx.execute("nonsense", &[]));
            Err::<(), _>(Error::new(ErrorKind::NotFound, "my own"))
        })
        .await
        .unwrap_err();
    assert!(
        [ErrorKind::NotFound, ErrorKind::Storage].contains(&error.kind()),
        "{error:?}"
    );
    // A read, too.
    let error = db
        .read(|db| {
            drop(db.query("SELECT * FROM nowhere", &[], |_| Ok(())));
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
    // What a visitor returns is its own affair.
    let kept = db.write(|tx| {
        let mine = tx.query("SELECT id FROM thing", &[], |_| {
            Err::<(), _>(Error::new(ErrorKind::NotFound, "not this one"))
        });
        assert_eq!(mine.unwrap_err().kind(), ErrorKind::NotFound);
        tx.execute(PUT, &[&2, &"two"])
    });
    assert_eq!(kept.await.unwrap(), 1);
    assert_eq!(things(&db).await, 2);
}

fn refused(tx: &mut Tx<'_>) -> Result<usize> {
    tx.execute(PUT, &[&100, &"hundred"])?;
    tx.execute(PUT, &[&101, &"hundred"])
}

pub(super) async fn an_attempt_fails_alone(place: Place) {
    let db = place.db().await;
    let hooks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&hooks);
    db.write(move |tx| {
        let hook = |tx: &mut Tx<'_>, bit: u32| {
            let hooks = Arc::clone(&counted);
            tx.on_commit(move || _ = hooks.fetch_or(1 << bit, Ordering::SeqCst));
        };
        hook(tx, 0);
        tx.execute(PUT, &[&1, &"one"])?;
        let error = tx.attempt(|tx| {
            hook(tx, 1);
            refused(tx)
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
        // A closure's own change of mind.
        let error = tx.attempt(|tx| {
            hook(tx, 2);
            tx.execute(PUT, &[&2, &"two"])?;
            Err::<(), _>(Error::new(ErrorKind::NotFound, "after all not"))
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
        // One that hides its failure.
        let error = tx.attempt(|tx| {
            drop(refused(tx));
            Ok(())
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
        // Within each other.
        tx.attempt(|tx| {
            hook(tx, 3);
            tx.execute(PUT, &[&3, &"three"])?;
            let inner = tx.attempt(refused);
            assert_eq!(inner.unwrap_err().kind(), ErrorKind::Conflict);
            tx.attempt(|tx| tx.execute(PUT, &[&4, &"four"]))
        })?;
        let seen = tx.query("SELECT id FROM thing ORDER BY id", &[], |row| row.get::<i64>(0))?;
        assert_eq!(seen, [1, 3, 4]);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(hooks.load(Ordering::SeqCst), 0b1001);
    assert_eq!(things(&db).await, 3);
}

pub(super) async fn a_closure_that_fails_undoes_only_itself(place: Place) {
    let db = place.db().await;
    let mut writes = tokio::task::JoinSet::new();
    for id in 0..120_i64 {
        let db = db.clone();
        writes.spawn(async move {
            let name = format!("n{id}");
            let done = db
                .write(move |tx| {
                    tx.execute(PUT, &[&id, &name])?;
                    match id % 4 {
                        0 | 1 => Ok(()),
                        2 => Err(Error::new(ErrorKind::NotFound, "changed my mind")),
                        _ => tx
                            .execute("INSERT INTO part (id, thing) VALUES (1, 404)", &[])
                            .map(drop),
                    }
                })
                .await;
            assert_eq!(done.is_ok(), id % 4 < 2, "{id}: {done:?}");
        });
    }
    writes.join_all().await;
    let found = db
        .read(|db| db.query("SELECT id FROM thing ORDER BY id", &[], |row| row.get::<i64>(0)))
        .await
        .unwrap();
    let expected: Vec<i64> = (0..120).filter(|id| id % 4 < 2).collect();
    assert_eq!(found, expected);
}

pub(super) async fn a_closure_that_panics_is_an_error(place: Place) {
    let db = place.db().await;
    let error = db
        .write(|tx| -> Result<()> {
            tx.execute(PUT, &[&1, &"one"])?;
            std::panic::resume_unwind(Box::new("lost my mind"))
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panic, "{error:?}");
    let error = db
        .read(|_| -> Result<()> { std::panic::resume_unwind(Box::new("me too")) })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panic, "{error:?}");
    for id in 1..20 {
        let name = format!("n{id}");
        db.write(move |tx| tx.execute(PUT, &[&id, &name])).await.unwrap();
    }
    assert_eq!(things(&db).await, 19);
}
