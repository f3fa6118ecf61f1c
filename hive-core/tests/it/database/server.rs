//! PostgreSQL in trouble: restarted, its connections ended, the network cut, many processes at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use hive_core::db::{Db, Migration, Migrations, Options, Write};
use hive_core::testing::{Postgres, PostgresOptions, Proxy};
use hive_errors::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

static ROWS: Migrations = Migrations {
    owner: "test",
    list: &[
        Migration::new(
            1,
            "row",
            "CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
             CREATE TABLE twin (id INTEGER PRIMARY KEY REFERENCES row (id), length INTEGER NOT NULL) STRICT;",
            "DROP TABLE twin; DROP TABLE row;",
        ),
        Migration::new(
            2,
            "counter",
            "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
             INSERT INTO counter (name, value) VALUES ('a', 0);",
            "DROP TABLE counter;",
        ),
    ],
};

fn options(url: &str) -> Options {
    Options::postgres(url).migrations(&ROWS)
}

async fn put(db: &Db, id: i64) -> Result<()> {
    db.write(move |tx| {
        let body = vec![7_u8; 100];
        tx.execute("INSERT INTO row (id, body) VALUES (?1, ?2)", &[&id, &body])?;
        tx.execute("INSERT INTO twin (id, length) VALUES (?1, 100)", &[&id])
            .map(drop)
    })
    .await
}

/// The ids of all rows, once both tables have been found to agree.
async fn ids(db: &Db) -> BTreeSet<i64> {
    let pairs = "SELECT row.id, twin.id FROM row FULL JOIN twin ON row.id = twin.id";
    let rows = db.read(|db| db.query(pairs, &[], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))));
    let rows = rows.await.unwrap();
    assert!(rows.iter().all(|(row, twin)| row == twin));
    rows.into_iter().map(|(row, _)| row).collect()
}

/// What a caller may be told while the server or the network is in trouble.
fn assert_is_trouble(error: &Error) {
    let known = [
        ErrorKind::Storage,
        ErrorKind::Timeout,
        ErrorKind::BreakerOpen,
        ErrorKind::Overloaded,
        ErrorKind::Indeterminate,
    ];
    assert!(known.contains(&error.kind()), "{error:?}");
    let may_try_again = error.kind() != ErrorKind::Indeterminate;
    assert_eq!(error.is_retryable(), may_try_again, "{error:?}");
    assert!(!error.hint().is_empty());
}

/// Writers that go on whatever they are told, and note what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    next: Arc<AtomicI64>,
    troubles: Arc<AtomicU64>,
    tasks: JoinSet<Vec<i64>>,
}

impl Load {
    fn start(db: &Db, writers: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            next: Arc::new(AtomicI64::new(1_000)),
            troubles: Arc::default(),
            tasks: JoinSet::new(),
        };
        for _ in 0..writers {
            let (db, stop) = (db.clone(), Arc::clone(&load.stop));
            let (next, troubles) = (Arc::clone(&load.next), Arc::clone(&load.troubles));
            load.tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // Each id once: whether one that failed was written after all is not known.
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match put(&db, id).await {
                        Ok(()) => acknowledged.push(id),
                        Err(error) => {
                            assert_is_trouble(&error);
                            troubles.fetch_add(1, Ordering::Relaxed);
                            let pause = error.retry_after().unwrap_or(Duration::from_millis(5));
                            tokio::time::sleep(pause.min(Duration::from_millis(200))).await;
                        }
                    }
                }
                acknowledged
            });
        }
        load
    }

    /// Waits until this many more ids have been tried.
    async fn progress(&self, writes: i64) {
        let from = self.next.load(Ordering::Relaxed);
        while self.next.load(Ordering::Relaxed) < from + writes {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) -> BTreeSet<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// A proxy to the server that `url` names.
fn proxy_to(url: &str) -> Proxy {
    let host = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    Proxy::start(host)
}

fn on_thread(work: impl FnOnce() + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_blocking(work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_and_killed_under_load_loses_nothing() {
    let server = Arc::new(Postgres::start(PostgresOptions::new().fsync(true)));
    let url = server.database();
    let db = Db::open(options(&url)).await.unwrap();
    let load = Load::start(&db, 8);
    for round in 0..6 {
        load.progress(100).await;
        let (server, url) = (Arc::clone(&server), url.clone());
        let trouble = move || match round % 3 {
            0 => {
                server.terminate_backends(&url);
            }
            1 => server.restart(),
            _ => {
                server.kill();
                server.start_again();
            }
        };
        on_thread(trouble).await.unwrap();
    }
    load.progress(100).await;
    let acknowledged = load.end().await;
    // Without being opened again.
    put(&db, -1).await.unwrap();
    let found = ids(&db).await;
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    assert!(acknowledged.len() > 300, "{}", acknowledged.len());
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_is_an_error_and_then_a_memory() {
    let url = Postgres::shared().database();
    let proxy = Arc::new(proxy_to(&url));
    let limit = Duration::from_secs(2);
    let through = options(&proxy.url(&url)).write_timeout(limit).read_timeout(limit);
    let db = Db::open(through).await.unwrap();
    put(&db, 1).await.unwrap();

    proxy.cut();
    for id in 10..16 {
        assert_is_trouble(&put(&db, id).await.unwrap_err());
    }
    let reading = db.read(|db| db.query("SELECT id FROM row", &[], |row| row.get::<i64>(0)));
    assert_is_trouble(&reading.await.unwrap_err());

    proxy.restore();
    until_it_writes(&db, 2).await;
    assert_eq!(ids(&db).await, BTreeSet::from([1, 2]));

    // Bytes that are swallowed: nobody may wait for ever.
    proxy.stall();
    assert_is_trouble(&put(&db, 20).await.unwrap_err());
    proxy.restore();
    until_it_writes(&db, 3).await;
    let found = ids(&db).await;
    assert!(found.is_superset(&BTreeSet::from([1, 2, 3])), "{found:?}");

    // Under load, with the network coming and going.
    let load = Load::start(&db, 8);
    for _ in 0..5 {
        load.progress(50).await;
        proxy.drop_connections();
    }
    load.progress(50).await;
    let acknowledged: BTreeSet<i64> = load.end().await;
    let found = ids(&db).await;
    assert!(acknowledged.is_subset(&found));
    db.close().await.unwrap();
}

/// Tries until the breaker has noticed that the network is back.
async fn until_it_writes(db: &Db, id: i64) {
    for _ in 0..200 {
        match put(db, id).await {
            Ok(()) => return,
            // An earlier try of ours may have got through.
            Err(error) if error.kind() == ErrorKind::Conflict => return,
            Err(error) => {
                assert_is_trouble(&error);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    panic!("the database did not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_open_at_once_make_the_schema_once() {
    let url = Postgres::shared().database();
    let mut opening = JoinSet::new();
    for _ in 0..12 {
        let options = options(&url);
        opening.spawn(async move { Db::open(options).await.unwrap() });
    }
    let opened = opening.join_all().await;
    for (id, db) in (0..).zip(&opened) {
        put(db, id).await.unwrap();
    }
    let steps = opened[0].current().await.unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (step.version, step.name.as_str())).collect();
    assert_eq!(steps, [(1, "row"), (2, "counter")]);
    assert_eq!(ids(&opened[3]).await.len(), 12);
    for db in opened {
        db.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closures_that_collide_are_run_again_until_all_are_done() {
    let url = Postgres::shared().database();
    let (one, other) = (
        Db::open(options(&url)).await.unwrap(),
        Db::open(options(&url)).await.unwrap(),
    );
    let runs = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for index in 0..40 {
        let db = if index % 2 == 0 { one.clone() } else { other.clone() };
        let runs = Arc::clone(&runs);
        tasks.spawn(async move {
            // Reads, thinks, writes: wrong at any isolation level below the one that is asked for.
            let add = move |tx: &mut hive_core::db::Tx<'_>| {
                runs.fetch_add(1, Ordering::Relaxed);
                let value: i64 = tx.query_one("SELECT value FROM counter WHERE name = 'a'", &[], |row| row.get(0))?;
                tx.execute("UPDATE counter SET value = ?1 WHERE name = 'a'", &[&(value + 1)])
            };
            loop {
                match db.write(add.clone()).await {
                    Ok(_) => return,
                    // It collided too often; nothing was written.
                    Err(error) => assert!(error.kind() == ErrorKind::Conflict && error.is_retryable(), "{error:?}"),
                }
            }
        });
    }
    tasks.join_all().await;
    let value = one.read(|db| db.query_one("SELECT value FROM counter", &[], |row| row.get::<i64>(0)));
    assert_eq!(value.await.unwrap(), 40);
    assert!(runs.load(Ordering::Relaxed) > 40, "they never collided");
    one.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_wakes_who_listens_in_another_process() {
    let url = Postgres::shared().database();
    let (here, there) = (
        Db::open(options(&url)).await.unwrap(),
        Db::open(options(&url)).await.unwrap(),
    );
    let long = Duration::from_secs(30);
    let mut far = there.listen("work");
    let mut near = here.listen("work");
    // Until the server has heard that somebody listens.
    let mut woken = false;
    for _ in 0..100 {
        here.write(|tx| {
            tx.notify("work");
            tx.execute("UPDATE counter SET value = value + 1", &[])
        })
        .await
        .unwrap();
        assert!(near.wait(long).await);
        woken = far.wait(Duration::from_millis(200)).await;
        if woken {
            break;
        }
    }
    assert!(woken);
    // Not for what was undone.
    while far.wait(Duration::from_millis(100)).await || near.wait(Duration::ZERO).await {}
    let failed = here.write(|tx| {
        tx.notify("work");
        Err::<(), _>(Error::new(ErrorKind::Conflict, "no"))
    });
    failed.await.unwrap_err();
    assert!(!near.wait(Duration::ZERO).await);
    assert!(!far.wait(Duration::from_millis(100)).await);
    here.close().await.unwrap();
    there.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_and_the_password_is_not() {
    let url = Postgres::shared().database();
    let bad = |from: &str, to: &str| {
        assert!(url.contains(from), "{url}");
        url.replacen(from, to, 1)
    };
    let password = url
        .split("://")
        .nth(1)
        .unwrap()
        .split(['@', ':'])
        .nth(1)
        .unwrap()
        .to_owned();
    let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let cases = [
        (bad(&format!(":{password}@"), ":guessed-it@"), "guessed-it"),
        (bad(&format!("/{database}"), "/no_such_database"), &password),
        (
            url.replace(url.split('@').nth(1).unwrap().split('/').next().unwrap(), "127.0.0.1:9"),
            &password,
        ),
        ("postgres://user:secret@[bad".to_owned(), "secret"),
        ("mysql://user:secret@localhost/db".to_owned(), "secret"),
    ];
    for (address, secret) in cases {
        let options = options(&address).read_timeout(Duration::from_secs(1));
        let shown = format!("{options:?}");
        let error = Db::open(options).await.unwrap_err();
        for text in [shown, format!("{error:?}"), format!("{error:#?}"), error.to_string()] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(
            error.fields().count() > 0 || error.kind() == ErrorKind::Config,
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_guards_itself_needs_no_second_run() {
    let url = Postgres::shared().database();
    let db = Db::open(options(&url)).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..30 {
        let db = db.clone();
        let add = |tx: &mut hive_core::db::Tx<'_>| tx.execute("UPDATE counter SET value = value + 1", &[]);
        tasks.spawn(async move { db.write_with(Write::relaxed().read_committed(), add).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await, [1; 30]);
    let value = db.read(|db| db.query_one("SELECT value FROM counter", &[], |row| row.get::<i64>(0)));
    assert_eq!(value.await.unwrap(), 30);
    db.close().await.unwrap();
}
