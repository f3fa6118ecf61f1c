use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_core::db::Write;
use hive_errors::{Error, ErrorKind};
use tokio::task::JoinSet;

use super::{PUT, Place, put, things};

pub(super) async fn what_was_acknowledged_is_read_by_whoever_asks_next(place: Place) {
    let db = place.db().await;
    let mut tasks = JoinSet::new();
    for task in 0..8_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            for turn in 0..25 {
                let id = task * 100 + turn;
                let name = format!("n{id}");
                if turn % 2 == 0 {
                    db.write(move |tx| tx.execute(PUT, &[&id, &name])).await.unwrap();
                } else {
                    db.write_with(Write::durable().read_committed(), move |tx| {
                        tx.execute(PUT, &[&id, &name])
                    })
                    .await
                    .unwrap();
                }
                let found = db.read(move |db| {
                    db.query_opt("SELECT id FROM thing WHERE id = ?1", &[&id], |row| row.get::<i64>(0))
                });
                assert_eq!(found.await.unwrap(), Some(id));
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(things(&db).await, 200);
}

pub(super) async fn a_read_sees_one_moment(place: Place) {
    let db = place.db().await;
    db.write(|tx| {
        for id in 0..10_i64 {
            tx.execute(
                "INSERT INTO thing (id, name, size) VALUES (?1, ?2, 100)",
                &[&id, &id.to_string()],
            )?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let mut tasks = JoinSet::new();
    for from in 0..4_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            for turn in 0..20 {
                let to = (from + turn) % 10;
                db.write(move |tx| {
                    tx.execute("UPDATE thing SET size = size - 1 WHERE id = ?1", &[&from])?;
                    tx.execute("UPDATE thing SET size = size + 1 WHERE id = ?1", &[&to])
                })
                .await
                .unwrap();
            }
        });
    }
    for _ in 0..2 {
        let db = db.clone();
        tasks.spawn(async move {
            for _ in 0..40 {
                let (first, second) = db
                    .read(|db| {
                        let sum = |odd: i64| {
                            db.query_one(
                                "SELECT CAST(sum(size) AS INTEGER) FROM thing WHERE id % 2 = ?1",
                                &[&odd],
                                |row| row.get::<i64>(0),
                            )
                        };
                        // In two statements, between which others write.
                        let (even, odd) = (sum(0)?, sum(1)?);
                        Ok((even + odd, sum(0)? + sum(1)?))
                    })
                    .await
                    .unwrap();
                assert_eq!((first, second), (1_000, 1_000));
            }
        });
    }
    tasks.join_all().await;
}

pub(super) async fn hooks_run_in_order_after_the_commit(place: Place) {
    let db = place.db().await;
    let log: Arc<Mutex<Vec<u32>>> = Arc::default();
    let said = Arc::clone(&log);
    db.write(move |tx| {
        for number in 1..=3 {
            let said = Arc::clone(&said);
            tx.on_commit(move || said.lock().unwrap().push(number));
        }
        assert!(said.lock().unwrap().is_empty());
        tx.execute(PUT, &[&1, &"one"])
    })
    .await
    .unwrap();
    assert_eq!(*log.lock().unwrap(), [1, 2, 3]);
    let said = Arc::clone(&log);
    let failed = db.write(move |tx| {
        let said = Arc::clone(&said);
        tx.on_commit(move || said.lock().unwrap().push(4));
        Err::<(), _>(Error::new(ErrorKind::NotFound, "changed my mind"))
    });
    assert!(failed.await.is_err());
    assert_eq!(*log.lock().unwrap(), [1, 2, 3]);
    // One that panics harms nobody.
    db.write(|tx| {
        tx.on_commit(|| std::panic::resume_unwind(Box::new("a hook")));
        tx.execute(PUT, &[&2, &"two"])
    })
    .await
    .unwrap();
    assert_eq!(things(&db).await, 2);
}

pub(super) async fn a_closure_sees_its_own_writes(place: Place) {
    let db = place.db().await;
    let seen = db
        .write(|tx| {
            tx.execute(PUT, &[&1, &"one"])?;
            tx.execute("UPDATE thing SET size = 5", &[])?;
            let size = tx.query_one("SELECT size FROM thing WHERE id = 1", &[], |row| row.get::<i64>(0))?;
            assert_eq!(tx.execute("DELETE FROM thing WHERE size = ?1", &[&size])?, 1);
            let none = tx.query_opt("SELECT size FROM thing", &[], |row| row.get::<i64>(0))?;
            Ok((size, none))
        })
        .await
        .unwrap();
    assert_eq!(seen, (5, None));
}

pub(super) async fn many_writers_lose_nothing(place: Place) {
    let db = place.db().await;
    let mut tasks = JoinSet::new();
    for task in 0..32_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            for turn in 0..10 {
                let asked = if turn % 3 == 0 {
                    Write::relaxed()
                } else {
                    Write::durable()
                };
                db.write_with(asked, move |tx| {
                    tx.execute("INSERT INTO tally (n) VALUES (?1)", &[&(task * 10 + turn)])
                })
                .await
                .unwrap();
            }
        });
    }
    tasks.join_all().await;
    let mut found = db
        .read(|db| db.query("SELECT n FROM tally", &[], |row| row.get::<i64>(0)))
        .await
        .unwrap();
    found.sort_unstable();
    assert_eq!(found, (0..320).collect::<Vec<i64>>());
}

pub(super) async fn counters_do_not_lose_increments(place: Place) {
    let db = place.db().await;
    put(&db, 1, "counter").await.unwrap();
    db.write(|tx| tx.execute("UPDATE thing SET size = 0", &[]))
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let db = db.clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                // Read, then write what follows from it: others must not come between.
                db.write(|tx| {
                    let size = tx.query_one("SELECT size FROM thing WHERE id = 1", &[], |row| row.get::<i64>(0))?;
                    tx.execute("UPDATE thing SET size = ?1 WHERE id = 1", &[&(size + 1)])
                })
                .await
                .unwrap();
            }
        });
    }
    tasks.join_all().await;
    let size = db.read(|db| db.query_one("SELECT size FROM thing", &[], |row| row.get::<i64>(0)));
    assert_eq!(size.await.unwrap(), 80);
}

pub(super) async fn what_is_returned_is_counted(place: Place) {
    let db = place.db().await;
    let counts = db.write(|tx| {
        let three = tx.execute("INSERT INTO tally (n) VALUES (1), (2), (3) RETURNING id", &[])?;
        let two = tx.execute("UPDATE tally SET n = n + 10 WHERE n < 3 RETURNING n", &[])?;
        let none = tx.execute("DELETE FROM tally WHERE n = 99 RETURNING id", &[])?;
        let all = tx.execute("SELECT id FROM tally", &[])?;
        Ok((three, two, none, all))
    });
    assert_eq!(counts.await.unwrap(), (3, 2, 0, 3));
}

pub(super) async fn generated_keys_are_told(place: Place) {
    let db = place.db().await;
    const TALLY: &str = "INSERT INTO tally (n) VALUES (?1) RETURNING id";
    let (one, two) = db
        .write(|tx| Ok((tx.insert(TALLY, &[&10])?, tx.insert(TALLY, &[&20])?)))
        .await
        .unwrap();
    assert!(one < two);
    for (id, n) in [(one, 10_i64), (two, 20)] {
        let found =
            db.read(move |db| db.query_one("SELECT n FROM tally WHERE id = ?1", &[&id], |row| row.get::<i64>(0)));
        assert_eq!(found.await.unwrap(), n);
    }
    // None is given twice, also not that of a row which is gone.
    let three = db
        .write(|tx| {
            tx.execute("DELETE FROM tally", &[])?;
            tx.insert(TALLY, &[&30])
        })
        .await
        .unwrap();
    assert!(three > two);
    put(&db, 1, "one").await.unwrap();
    let none = db.write(|tx| {
        let refused = tx.insert(
            "INSERT INTO thing (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING RETURNING id",
            &[],
        );
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
        tx.insert(
            "INSERT INTO thing (id, name) VALUES (2, 'x') ON CONFLICT DO NOTHING RETURNING id",
            &[],
        )
    });
    assert_eq!(none.await.unwrap(), 2);
}

pub(super) async fn rows_stop_when_told_to(place: Place) {
    let db = place.db().await;
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        put(&db, id, name).await.unwrap();
    }
    let seen = db
        .write(|tx| {
            let mut seen = Vec::new();
            tx.each("SELECT id FROM thing ORDER BY id", &[], |row| {
                seen.push(row.get::<i64>(0)?);
                Ok(seen.len() < 2)
            })?;
            // A statement left unfinished is in nobody's way.
            tx.execute("DELETE FROM thing WHERE id = 3", &[])?;
            seen.extend(tx.query_opt("SELECT id FROM thing ORDER BY id DESC", &[], |row| row.get::<i64>(0))?);
            Ok(seen)
        })
        .await
        .unwrap();
    assert_eq!(seen, [1, 2, 2]);
}

pub(super) async fn the_time_goes_on(place: Place) {
    let db = place.db().await;
    let (one, two) = db.write(|tx| Ok((tx.now()?, tx.now()?))).await.unwrap();
    let three = db.read(|db| db.now()).await.unwrap();
    assert!(one <= two && two <= three, "{one} {two} {three}");
    // Both clocks are those of this machine.
    let here = hive_core::clock::Clock::now(&hive_core::clock::SystemClock);
    assert!(
        here.since(three).max(three.since(here)) < Duration::from_secs(3_600),
        "{three} and here {here}"
    );
}

pub(super) async fn a_closed_database_says_so(place: Place) {
    let db = place.db().await;
    put(&db, 1, "one").await.unwrap();
    let clone = db.clone();
    db.close().await.unwrap();
    db.close().await.unwrap();
    assert_eq!(put(&clone, 2, "two").await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    assert_eq!(
        clone.read(|_| Ok(())).await.unwrap_err().kind(),
        ErrorKind::ShuttingDown
    );
    assert_eq!(things(&place.db().await).await, 1);
}
