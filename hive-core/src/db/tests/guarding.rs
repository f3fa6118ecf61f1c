//! Closures that reach for what is not theirs, and transactions that the engine gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use super::{Gate, Home, ITEMS, batch, insert, items};
use crate::clock::SystemClock;
use crate::db::batch::Writer;
use crate::db::house::House;
use crate::db::lock::FileLock;
use crate::db::reader::Readers;
use crate::db::{Db, Migration, Migrations, Options, ToValue, Tx, Write, place, sqlite};

type Work = Box<dyn FnMut(&mut Tx<'_>) -> Result<()> + Send>;

#[tokio::test]
async fn statements_that_are_not_for_closures_are_refused() {
    let home = Home::new();
    let db = home.open().await;
    let other = home.dir.path().join("other.db").display().to_string();
    for sql in [
        "BEGIN",
        "begin exclusive",
        "COMMIT",
        "END TRANSACTION",
        "ROLLBACK",
        "SAVEPOINT mine",
        "RELEASE part",
        "ROLLBACK TO SAVEPOINT part",
        "/* a remark */ COMMIT",
        "ATTACH 'other.db' AS other",
        "DETACH main",
        "VACUUM INTO 'copy.db'",
        "PRAGMA synchronous = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA Foreign_Keys(OFF)",
        "PRAGMA defer_foreign_keys = ON",
        "PRAGMA writable_schema = 1",
        "PRAGMA query_only = OFF",
        "INSERT OR ROLLBACK INTO item (id, value) VALUES (1, 1)",
        "INSERT OR/**/rollback INTO item (id, value) VALUES (1, 1)",
        "UPDATE OR ROLLBACK item SET id = 1",
        "CREATE TABLE wrong (id INTEGER PRIMARY KEY ON CONFLICT ROLLBACK)",
        "CREATE TABLE wrong (id INTEGER REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER wrong AFTER INSERT ON item BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    ] {
        let refused = |error: Error| {
            // SQLite itself is quicker with some.
            let by_engine = sql.starts_with("VACUUM") && error.kind() == ErrorKind::Storage;
            assert!(error.kind() == ErrorKind::InvalidInput || by_engine, "{sql}: {error:?}");
            assert!(!error.is_retryable(), "{sql}");
            assert!(by_engine || error.field("sql").is_some(), "{sql}: {error:?}");
        };
        // Alone, in a batch, through a query, and twice, should the refused statement have been kept prepared.
        let attempts: Vec<Work> = vec![
            Box::new(move |tx| {
                insert(1)(tx)?;
                tx.execute(sql, &[]).map(drop)
            }),
            Box::new(|tx| insert(2)(tx).map(drop)),
            Box::new(move |tx| {
                insert(3)(tx)?;
                tx.query(sql, &[], |_| Ok(())).map(drop)
            }),
        ];
        let mut answers = batch(&db, attempts).await.into_iter();
        refused(answers.next().unwrap().unwrap_err());
        answers.next().unwrap().unwrap();
        refused(answers.next().unwrap().unwrap_err());
        refused(db.write(move |tx| tx.execute(sql, &[])).await.unwrap_err());
        assert_eq!(items(&db).await, [(2, 2)], "{sql}");
        db.write(|tx| tx.execute("DELETE FROM item", &[])).await.unwrap();
        if !sql.contains("item") && !sql.contains("CREATE") {
            refused(db.read(move |db| db.query(sql, &[], |_| Ok(()))).await.unwrap_err());
            assert_eq!(items(&db).await, [], "{sql}");
        }
    }
    let error = db
        .write(move |tx| tx.execute("ATTACH ?1 AS other", &[&other]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(home.files(), ["test.db", "test.db-lock", "test.db-shm", "test.db-wal"]);
}

#[tokio::test]
async fn statements_that_only_look_like_it_are_not() {
    let home = Home::new();
    let db = home.open().await;
    db.write(|tx| {
        tx.execute(
            "CREATE TABLE rollback_plan (step TEXT NOT NULL, initially TEXT) STRICT",
            &[],
        )?;
        tx.execute("INSERT INTO rollback_plan (step) VALUES ('commit'), ('rollback')", &[])?;
        tx.execute("INSERT OR IGNORE INTO rollback_plan (step) VALUES ('deferred')", &[])?;
        tx.query("PRAGMA table_info(rollback_plan)", &[], |row| row.get::<String>(1))?;
        tx.query("SELECT name FROM pragma_table_info('item')", &[], |row| {
            row.get::<String>(0)
        })?;
        tx.query_one("PRAGMA user_version", &[], |row| row.get::<i64>(0))
    })
    .await
    .unwrap();
    let checked = db
        .read(|db| db.query_one("PRAGMA integrity_check", &[], |row| row.get::<String>(0)))
        .await;
    assert_eq!(checked.unwrap(), "ok");
}

/// A statement that slips past the search for words, and makes the engine give up the transaction.
const GIVE_UP: &str = "INSERT OR /* hidden */ ROLLBACK INTO item (id, value) VALUES (1, 1)";

#[tokio::test]
async fn when_the_engine_gives_up_nothing_is_half_done() {
    let home = Home::new();
    let db = home.open().await;
    db.write(insert(1)).await.unwrap();
    let works: Vec<Work> = vec![
        Box::new(|tx| insert(2)(tx).map(drop)),
        Box::new(|tx| Err(tx.execute("SELECT no_such_column FROM item", &[]).unwrap_err())),
        Box::new(|tx| {
            insert(3)(tx)?;
            // It does not listen, and goes on: nothing of that may reach the file.
            let given_up = tx.execute(GIVE_UP, &[]).unwrap_err();
            assert_eq!(given_up.kind(), ErrorKind::Conflict);
            let late = insert(4)(tx).unwrap_err();
            assert!(late.message().contains("an earlier statement"), "{late}");
            tx.query("SELECT id FROM item", &[], |_| Ok(())).unwrap_err();
            Ok(())
        }),
        Box::new(|tx| insert(5)(tx).map(drop)),
        Box::new(|tx| tx.execute(GIVE_UP, &[]).map(drop)),
        Box::new(|tx| insert(6)(tx).map(drop)),
    ];
    let answers = batch(&db, works).await;
    // Whoever was in the same transaction is told, and may try again; its cause is named.
    for index in [0, 3] {
        let error = answers[index].as_ref().unwrap_err();
        assert_eq!(
            error.message(),
            "the commit failed, nothing of it was written",
            "{index}"
        );
        assert!(
            error.field("cause").unwrap().contains("rolled the transaction back"),
            "{error}"
        );
    }
    assert!(answers[0].as_ref().unwrap_err().is_retryable());
    // Its own errors stay its own, also when the closure took no notice.
    let unnoticed = answers[2].as_ref().unwrap_err();
    assert_eq!(unnoticed.kind(), ErrorKind::Conflict);
    assert!(unnoticed.field("first").unwrap().contains("hidden"), "{unnoticed}");
    assert_eq!(answers[1].as_ref().unwrap_err().message(), "a statement failed");
    assert_eq!(answers[4].as_ref().unwrap_err().kind(), ErrorKind::Conflict);
    // Those behind it go on in another.
    assert!(answers[5].is_ok());
    assert_eq!(items(&db).await, [(1, 1), (6, 6)]);
    // Alone, it is as harmless.
    db.write(|tx| {
        insert(7)(tx)?;
        drop(tx.execute(GIVE_UP, &[]));
        drop(insert(8)(tx));
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(items(&db).await, [(1, 1), (6, 6)]);
}

#[tokio::test]
async fn a_constraint_checked_at_the_commit_fails_it_and_no_later_one() {
    let home = Home::new();
    let db = home.open().await;
    // The words hidden again: such a table cannot be made in the open.
    let deferred = "CREATE TABLE part (of INTEGER REFERENCES item (id) DEFERRABLE INITIALLY /* hidden */ DEFERRED)";
    db.write(move |tx| tx.execute(deferred, &[])).await.unwrap();
    let orphan = |tx: &mut Tx<'_>| tx.execute("INSERT INTO part (of) VALUES (404)", &[]).map(drop);
    let ran = Arc::new(AtomicBool::new(false));
    let hook = Arc::clone(&ran);
    let innocent = move |tx: &mut Tx<'_>| {
        let hook = Arc::clone(&hook);
        tx.on_commit(move || hook.store(true, Ordering::Relaxed));
        insert(1)(tx).map(drop)
    };
    let before = db.stats();
    let works: Vec<Work> = vec![Box::new(innocent), Box::new(orphan)];
    for answer in batch(&db, works).await {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.is_retryable(), "one of the two is innocent");
    }
    assert!(!ran.load(Ordering::Relaxed), "a hook ran although its commit failed");
    // The gate's own, and no more.
    assert_eq!(
        (db.stats().writes, db.stats().commits),
        (before.writes + 1, before.commits + 1)
    );
    assert_eq!(db.write(orphan).await.unwrap_err().kind(), ErrorKind::Conflict);
    db.write(insert(2)).await.unwrap();
    assert_eq!(items(&db).await, [(2, 2)]);
}

#[tokio::test]
async fn a_closure_that_waits_for_the_database_is_told_so() {
    let home = Home::new();
    let db = home.open().await;
    let (inside, hook) = (db.clone(), db.clone());
    let (said, heard) = std::sync::mpsc::channel();
    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }
    db.write(move |tx| {
        assert_eq!(
            block(inside.write(insert(1))).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        let (hook, said) = (hook.clone(), said.clone());
        tx.on_commit(move || said.send(block(hook.write(insert(2))).unwrap_err().kind()).unwrap());
        // Reading is no deadlock; it shows the state before this transaction.
        insert(3)(tx)?;
        assert_eq!(block(items(&inside)), []);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(heard.recv().unwrap(), ErrorKind::InvalidInput);
    assert_eq!(items(&db).await, [(3, 3)]);
}

#[tokio::test]
async fn mistakes_in_a_call_are_not_retried() {
    let home = Home::new();
    let db = home.open().await;
    for (sql, count) in [
        ("SELEC 1", 0),
        ("", 0),
        ("SELECT 1; SELECT 2", 0),
        ("DELETE FROM item; DELETE FROM item", 0),
        ("INSERT INTO nowhere VALUES (1)", 0),
        ("INSERT INTO item (id, value) VALUES (?1, ?2)", 1),
        ("INSERT INTO item (id, value) VALUES (1, 1)", 1),
    ] {
        let error = db
            .write(move |tx| {
                insert(9)(tx)?;
                tx.execute(sql, &[&1_i64 as &dyn ToValue][..count])
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{sql}: {error:?}");
        assert!(!error.is_retryable(), "{sql}: {error:?}");
        assert!(error.hint().contains("correct the statement"), "{sql}: {error:?}");
    }
    assert_eq!(items(&db).await, []);
}

#[tokio::test]
async fn an_insert_that_inserts_nothing_has_no_key() {
    let home = Home::new();
    let db = home.open().await;
    let key = db
        .write(|tx| {
            let key = tx.insert("INSERT INTO item (value) VALUES (?1) RETURNING id", &[&5])?;
            let ignored = "INSERT INTO item (id, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING RETURNING id";
            assert_eq!(tx.insert(ignored, &[&key, &6]).unwrap_err().kind(), ErrorKind::Conflict);
            Ok(key)
        })
        .await
        .unwrap();
    assert_eq!(items(&db).await, [(key, 5)]);
}

/// A writer whose connection was changed in a way that no option allows.
fn writer(home: &Home, change: &str) -> Writer {
    let file = place::resolve(&home.dir.path().join("test.db")).unwrap();
    let lock = FileLock::take(&file).unwrap();
    let house = House::new(Arc::new(SystemClock));
    let writing = sqlite::prepare(&file, &[&ITEMS], &house).unwrap();
    writing.conn.execute_batch(change).unwrap();
    let second = Duration::from_secs(1);
    let readers = Readers::new(file, 1, second, house.clone());
    Writer::start(writing, lock, house, second, readers.others()).unwrap()
}

#[tokio::test]
async fn a_disk_that_is_full_loses_nothing_that_was_acknowledged() {
    let home = Home::new();
    let table = "CREATE TABLE big (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT";
    let writer = writer(&home, &format!("{table}; PRAGMA max_page_count = 64"));
    let put = |id: i64| {
        writer.write(Write::durable(), false, move |tx| {
            tx.execute("INSERT INTO big VALUES (?1, zeroblob(9000))", &[&id])
        })
    };
    let ids = |tx: &mut Tx<'_>| tx.query("SELECT id FROM big ORDER BY id", &[], |row| row.get::<i64>(0));
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    let mut next = 0;
    while refused < 10 {
        // Four at once: those that share a commit with the one that finds no room are told so too.
        let answers = tokio::join!(put(next), put(next + 1), put(next + 2), put(next + 3));
        for answer in [answers.0, answers.1, answers.2, answers.3] {
            match answer {
                Ok(_) => acknowledged.push(next),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
                    assert!(error.is_retryable());
                    refused += 1;
                }
            }
            next += 1;
        }
        assert_eq!(writer.write(Write::durable(), false, ids).await.unwrap(), acknowledged);
    }
    assert!(acknowledged.len() > 10);
    // With room again, work goes on.
    writer
        .write(Write::durable(), false, |tx| {
            tx.execute("DELETE FROM big WHERE id < 4", &[])
        })
        .await
        .unwrap();
    put(1_000).await.unwrap();
    writer.shut();
    writer.ended().await.unwrap();
}

#[tokio::test]
async fn while_a_tool_holds_the_write_lock_everybody_is_told_at_once() {
    let home = Home::new();
    let writer = writer(&home, "PRAGMA busy_timeout = 0");
    let tool = rusqlite::Connection::open(home.dir.path().join("test.db")).unwrap();
    tool.execute_batch("BEGIN IMMEDIATE").unwrap();
    let put = |id: i64| writer.write(Write::durable(), false, insert(id));
    let answers = tokio::join!(put(1), put(2), put(3));
    for answer in [answers.0, answers.1, answers.2] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DatabaseLocked, "{error:?}");
        assert!(error.is_retryable());
    }
    tool.execute_batch("COMMIT").unwrap();
    put(4).await.unwrap();
    let count = |tx: &mut Tx<'_>| tx.query_one("SELECT count(*) FROM item", &[], |row| row.get::<i64>(0));
    assert_eq!(writer.write(Write::durable(), false, count).await.unwrap(), 1);
}

#[tokio::test]
async fn many_distinct_statements_are_no_trouble() {
    let home = Home::new();
    let db = home.open().await;
    db.write(|tx| {
        for id in 0..2_000_i64 {
            tx.execute(&format!("INSERT INTO item (id, value) VALUES ({id}, {id})"), &[])?;
        }
        Ok(())
    })
    .await
    .unwrap();
    db.write(insert(5_000)).await.unwrap();
    let sum = db
        .read(|db| {
            (0..2_000_i64).try_fold(0, |sum, id| {
                let value: i64 = db.query_one(&format!("SELECT value FROM item WHERE id = {id}"), &[], |row| {
                    row.get(0)
                })?;
                Ok(sum + value)
            })
        })
        .await
        .unwrap();
    assert_eq!(sum, (0..2_000).sum::<i64>());
}

static PARENTS: Migrations = Migrations {
    owner: "test",
    list: &[
        Migration::new(
            1,
            "parent and child",
            "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
                 CREATE TABLE child (of INTEGER NOT NULL REFERENCES parent (id) ON DELETE CASCADE) STRICT;",
            "DROP TABLE child; DROP TABLE parent;",
        ),
        Migration::new(
            2,
            "rebuild the parent",
            // The way to change a table that others refer to.
            "CREATE TABLE parent_new (id INTEGER PRIMARY KEY, name TEXT) STRICT;
                 INSERT INTO parent_new (id) SELECT id FROM parent;
                 DROP TABLE parent;
                 ALTER TABLE parent_new RENAME TO parent;",
            "ALTER TABLE parent DROP COLUMN name;",
        ),
    ],
};

#[tokio::test]
async fn a_migration_has_its_commit_to_itself() {
    let home = Home::new();
    let options = || Options::file(home.dir.path().join("m.db")).migrations(&PARENTS);
    let db = Db::open(options()).await.unwrap();
    db.down("test", 1).await.unwrap();
    db.write(|tx| {
        tx.execute("INSERT INTO parent VALUES (1)", &[])?;
        tx.execute("INSERT INTO child VALUES (1)", &[])
    })
    .await
    .unwrap();
    let before = db.stats();
    let gate = Gate::shut(&db).await;
    let write = |sql: &'static str| {
        let db = db.clone();
        tokio::spawn(async move { db.write(move |tx| tx.execute(sql, &[])).await })
    };
    let first = [
        write("INSERT INTO parent VALUES (2)"),
        write("INSERT INTO parent VALUES (3)"),
    ];
    tokio::task::yield_now().await;
    let up = tokio::spawn({
        let db = db.clone();
        async move { db.up().await }
    });
    tokio::task::yield_now().await;
    let second = write("INSERT INTO parent (id, name) VALUES (4, 'four')");
    tokio::task::yield_now().await;
    gate.open().await;
    for task in first {
        task.await.unwrap().unwrap();
    }
    up.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let after = db.stats();
    assert_eq!(
        (after.writes - before.writes, after.commits - before.commits),
        (5, 4),
        "the gate, the two before, the migration, the one behind: {after:?}"
    );
    let ids = |sql: &'static str| db.read(move |db| db.query(sql, &[], |row| row.get::<i64>(0)));
    assert_eq!(ids("SELECT id FROM parent ORDER BY id").await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(
        ids("SELECT of FROM child").await.unwrap(),
        [1],
        "replacing the parent took its children"
    );
    // References are kept again afterwards, also after a migration that would have broken some.
    let orphan = |db: Db| async move { db.write(|tx| tx.execute("INSERT INTO child VALUES (404)", &[])).await };
    assert_eq!(orphan(db.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    db.write(|tx| tx.execute("CREATE TABLE toy (of INTEGER REFERENCES parent (id)) STRICT", &[]))
        .await
        .unwrap();
    db.write(|tx| tx.execute("INSERT INTO toy VALUES (1)", &[]))
        .await
        .unwrap();
    let error = db.down("test", 2).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("table")),
        (ErrorKind::Conflict, Some("toy")),
        "{error:?}"
    );
    assert_eq!(db.current().await.unwrap().len(), 2);
    assert_eq!(orphan(db.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);

    // At open it is the same.
    db.down("test", 1).await.unwrap();
    db.close().await.unwrap();
    let db = Db::open(options()).await.unwrap();
    let children = db
        .read(|db| db.query("SELECT of FROM child", &[], |row| row.get::<i64>(0)))
        .await;
    assert_eq!(children.unwrap(), [1], "replacing the parent took its children");
    assert_eq!(orphan(db.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
}
