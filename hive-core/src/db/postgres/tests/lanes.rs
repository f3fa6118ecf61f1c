use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use super::super::{Begin, Isolation, Lanes, Link, column};
use super::{config, database, with_table};
use crate::db::value::Value;
use crate::rng::SystemRng;
use crate::testing::{Postgres, PostgresOptions, Proxy, until};

const LIMIT: Duration = Duration::from_secs(60);

/// Makes the table; on a thread of its own, because a link waits by itself.
fn table(url: &str) {
    std::thread::scope(|scope| scope.spawn(|| drop(with_table(url))).join().unwrap());
}

fn lanes(url: &str, most: usize) -> Arc<Lanes> {
    Arc::new(Lanes::new(config(url), most, Arc::new(SystemRng)))
}

fn count(link: &mut Link) -> Result<i64> {
    let rows = link.query("SELECT count(*) FROM t", &[])?;
    let Value::Int(count) = column(&rows[0], 0)? else {
        panic!("not a count")
    };
    Ok(count)
}

async fn counted(lanes: &Lanes) -> i64 {
    lanes.run(Begin::read(), LIMIT, count).await.unwrap()
}

async fn insert(lanes: &Lanes, key: i64) -> Result<()> {
    let insert = move |link: &mut Link| link.execute("INSERT INTO t (k) VALUES (?1)", &[&key]).map(drop);
    lanes.run(Begin::write(), LIMIT, insert).await
}

/// Inserts keys from `first` on until told to stop; how many were acknowledged and how many are in doubt.
fn inserting(lanes: &Arc<Lanes>, first: i64, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<(Vec<i64>, Vec<i64>)> {
    let (lanes, stop) = (Arc::clone(lanes), Arc::clone(stop));
    tokio::spawn(async move {
        let (mut sure, mut doubtful) = (Vec::new(), Vec::new());
        for key in first.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            match insert(&lanes, key).await {
                Ok(()) => sure.push(key),
                Err(error) if error.kind() == ErrorKind::Indeterminate => doubtful.push(key),
                Err(error) if error.kind() == ErrorKind::BreakerOpen => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        (sure, doubtful)
    })
}

/// What is in the table is what was acknowledged, and of what is in doubt nothing but that.
async fn nothing_is_lost(lanes: &Arc<Lanes>, told: Vec<(Vec<i64>, Vec<i64>)>) {
    let found = lanes.run(Begin::read(), LIMIT, |link| {
        let rows = link.query("SELECT k FROM t", &[])?;
        rows.iter()
            .map(|row| column(row, 0).map(|value| format!("{value:?}")))
            .collect::<Result<Vec<_>>>()
    });
    let found: std::collections::HashSet<String> = found.await.unwrap().into_iter().collect();
    let mut known = 0;
    for (sure, doubtful) in told {
        for key in sure {
            assert!(
                found.contains(&format!("Int({key})")),
                "{key} was acknowledged and is lost"
            );
            known += 1;
        }
        known += doubtful
            .iter()
            .filter(|key| found.contains(&format!("Int({key})")))
            .count();
    }
    assert_eq!(known, found.len(), "something is there that nobody wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn collisions_are_run_again_until_nothing_is_lost() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 6);
    let first = lanes.run(Begin::write(), LIMIT, |link| {
        link.execute("INSERT INTO t (k, v) VALUES (1, '0')", &[])
    });
    first.await.unwrap();
    let meeting = Arc::new(Barrier::new(2));
    let adding = (0..24).map(|adder| {
        let (lanes, meeting) = (Arc::clone(&lanes), Arc::clone(&meeting));
        let mut meets = adder < 2;
        tokio::spawn(async move {
            lanes
                .run(Begin::write(), LIMIT, move |link| {
                    let rows = link.query("SELECT v FROM t WHERE k = 1", &[])?;
                    let Value::Text(text) = column(&rows[0], 0)? else {
                        panic!("not a text")
                    };
                    let next = text.parse::<i64>().unwrap() + 1;
                    if std::mem::take(&mut meets) {
                        // Two have read before either writes.
                        meeting.wait();
                    }
                    link.execute("UPDATE t SET v = ?1 WHERE k = 1", &[&next.to_string()])
                })
                .await
        })
    });
    for adding in adding.collect::<Vec<_>>() {
        // One that gives up says so, and has not counted; with so few it is not to be expected.
        adding.await.unwrap().unwrap();
    }
    let text = lanes.run(Begin::read(), LIMIT, |link| {
        let rows = link.query("SELECT v FROM t WHERE k = 1", &[])?;
        column(&rows[0], 0).map(|value| format!("{value:?}"))
    });
    assert_eq!(text.await.unwrap(), "Text(\"24\")");
    let counts = lanes.counts();
    assert!(counts.collisions > 0 && counts.connects <= 6, "{counts:?}");
    assert_eq!(counts.commits, 25);
}

#[tokio::test]
async fn a_closure_that_fails_or_panics_undoes_itself() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 2);
    let own = lanes.run(Begin::write(), LIMIT, |link| {
        link.execute("INSERT INTO t (k) VALUES (1)", &[])?;
        Err::<(), _>(Error::new(ErrorKind::Drift, "as it likes"))
    });
    assert_eq!(own.await.unwrap_err().kind(), ErrorKind::Drift);
    let panicked = lanes.run(Begin::write(), LIMIT, |link| -> Result<()> {
        link.execute("INSERT INTO t (k) VALUES (2)", &[])?;
        panic!("oh no")
    });
    let error = panicked.await.unwrap_err();
    assert_eq!((error.kind(), error.field("panic")), (ErrorKind::Panic, Some("oh no")));
    let ignored = lanes.run(Begin::write(), LIMIT, |link| {
        let _ignored = link.execute("INSERT INTO nowhere VALUES (1)", &[]);
        Ok(())
    });
    assert_eq!(ignored.await.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(counted(&lanes).await, 0);
    insert(&lanes, 3).await.unwrap();
    assert_eq!(counted(&lanes).await, 1);
}

#[tokio::test]
async fn hooks_run_once_and_before_the_answer() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 1);
    let ran = Arc::new(AtomicUsize::new(0));
    let (hook, tries) = (Arc::clone(&ran), Arc::new(AtomicUsize::new(0)));
    lanes
        .run(Begin::write(), LIMIT, move |link| {
            let hook = Arc::clone(&hook);
            link.on_commit(Box::new(move || {
                hook.fetch_add(1, Ordering::Relaxed);
            }));
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                // As if another had been in the way.
                link.batch(
                    "CREATE FUNCTION pg_temp.collide() RETURNS void LANGUAGE plpgsql AS
                     $$BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '40001'; END$$",
                )?;
                return link.query("SELECT pg_temp.collide()", &[]).map(drop);
            }
            link.execute("INSERT INTO t (k) VALUES (1)", &[]).map(drop)
        })
        .await
        .unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    assert_eq!(lanes.counts().collisions, 1);
    let failing = lanes.run(Begin::write(), LIMIT, |link| {
        link.on_commit(Box::new(|| panic!("a hook of a closure that failed")));
        Err::<(), _>(Error::new(ErrorKind::Drift, "no"))
    });
    failing.await.unwrap_err();
    // One that panics harms nobody.
    let panicking = lanes.run(Begin::write(), LIMIT, |link| {
        link.on_commit(Box::new(|| panic!("a hook")));
        link.execute("INSERT INTO t (k) VALUES (2)", &[])
    });
    assert_eq!(panicking.await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_waits_for_its_own_database_is_told() {
    let url = database();
    let lanes = lanes(&url, 1);
    let inner = Arc::clone(&lanes);
    let runtime = tokio::runtime::Handle::current();
    let waiting = lanes.run(Begin::write(), LIMIT, move |_| {
        runtime.block_on(inner.run(Begin::read(), LIMIT, |_| Ok(())))
    });
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_what_is_in_line_and_then_no_more() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 1);
    let (go, wait) = mpsc::channel::<()>();
    let first = Arc::clone(&lanes);
    let first = tokio::spawn(async move {
        first
            .run(Begin::write(), LIMIT, move |_| Ok(wait.recv().is_err()))
            .await
    });
    let behind: Vec<_> = (0..5)
        .map(|key| {
            let lanes = Arc::clone(&lanes);
            tokio::spawn(async move { insert(&lanes, key).await })
        })
        .collect();
    tokio::task::spawn_blocking({
        let lanes = Arc::clone(&lanes);
        move || until(LIMIT, || (lanes.waiting() == 5).then_some(())).unwrap()
    })
    .await
    .unwrap();
    lanes.shut();
    assert_eq!(insert(&lanes, 9).await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    drop(go);
    lanes.close().await.unwrap();
    assert!(first.await.unwrap().unwrap());
    for behind in behind {
        behind.await.unwrap().unwrap();
    }
    assert_eq!(lanes.counts().commits, 6);
    lanes.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_terminated_lose_nothing() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 4);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| inserting(&lanes, writer * 1_000_000, &stop))
        .collect();
    let ending = {
        let (lanes, stop) = (Arc::clone(&lanes), Arc::clone(&stop));
        move || {
            for round in 1..=15 {
                until(LIMIT, || (lanes.counts().commits > round * 20).then_some(())).unwrap();
                Postgres::shared().terminate_backends(&url);
            }
            stop.store(true, Ordering::Relaxed);
        }
    };
    tokio::task::spawn_blocking(ending).await.unwrap();
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    assert!(lanes.counts().connects > 4);
    nothing_is_lost(&lanes, told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_loses_nothing() {
    let server = Arc::new(Postgres::start(PostgresOptions::new()));
    let url = server.database();
    table(&url);
    let lanes = lanes(&url, 4);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| inserting(&lanes, writer * 1_000_000, &stop))
        .collect();
    let crashing = {
        let (lanes, stop, server) = (Arc::clone(&lanes), Arc::clone(&stop), Arc::clone(&server));
        move || {
            for _ in 0..3 {
                let before = lanes.counts().commits;
                until(LIMIT, || (lanes.counts().commits > before + 50).then_some(())).unwrap();
                server.kill();
                server.start_again();
            }
            let before = lanes.counts().commits;
            until(LIMIT, || (lanes.counts().commits > before + 50).then_some(())).unwrap();
            stop.store(true, Ordering::Relaxed);
        }
    };
    tokio::task::spawn_blocking(crashing).await.unwrap();
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    nothing_is_lost(&lanes, told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_waits_for_a_server_that_is_away_and_newcomers_are_told() {
    let url = database();
    table(&url);
    let at = url.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned();
    let proxy = Arc::new(Proxy::start(at.as_str()));
    let lanes = lanes(&proxy.url(&url), 2);
    insert(&lanes, 1).await.unwrap();
    proxy.cut();
    let early = {
        let lanes = Arc::clone(&lanes);
        tokio::spawn(async move { insert(&lanes, 2).await })
    };
    let told = loop {
        match lanes.run(Begin::read(), Duration::from_millis(300), count).await {
            Err(error) if error.kind() == ErrorKind::BreakerOpen => break error,
            other => drop(other),
        }
    };
    assert!(told.is_retryable() && told.retry_after().is_some(), "{told:?}");
    proxy.restore();
    early.await.unwrap().unwrap();
    assert_eq!(counted(&lanes).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_few_connections_is_shared() {
    let server = Postgres::start(
        PostgresOptions::new()
            .max_connections(7)
            .setting("superuser_reserved_connections", "0"),
    );
    let url = server.database();
    table(&url);
    let lanes = lanes(&url, 16);
    let working: Vec<_> = (0..40)
        .map(|key| {
            let lanes = Arc::clone(&lanes);
            tokio::spawn(async move {
                lanes
                    .run(Begin::write(), LIMIT, move |link| {
                        link.query("SELECT pg_sleep(0.01)", &[])?;
                        link.execute("INSERT INTO t (k) VALUES (?1)", &[&key])
                    })
                    .await
            })
        })
        .collect();
    for working in working {
        assert_eq!(working.await.unwrap().unwrap(), 1);
    }
    assert_eq!(counted(&lanes).await, 40);
    assert!(lanes.counts().connects <= 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_covers_the_wait_in_line() {
    let url = database();
    let lanes = lanes(&url, 1);
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel::<()>();
    let first = Arc::clone(&lanes);
    let first = tokio::spawn(async move {
        first
            .run(Begin::write(), LIMIT, move |_| {
                begun.send(()).unwrap();
                Ok(wait.recv().is_err())
            })
            .await
    });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let late = {
        let (lanes, ran) = (Arc::clone(&lanes), Arc::clone(&ran));
        tokio::spawn(async move {
            let run = move |_: &mut Link| {
                ran.store(true, Ordering::Relaxed);
                Ok(())
            };
            lanes.run(Begin::write(), Duration::from_millis(1), run).await
        })
    };
    let line = Arc::clone(&lanes);
    tokio::task::spawn_blocking(move || {
        let deadline = super::Deadline::after(Duration::from_millis(50));
        until(LIMIT, || {
            (line.waiting() == 1 && deadline.left().is_zero()).then_some(())
        })
        .unwrap();
    })
    .await
    .unwrap();
    drop(go);
    first.await.unwrap().unwrap();
    assert_eq!(late.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(!ran.load(Ordering::Relaxed));
}

#[tokio::test]
async fn reads_see_one_snapshot_and_cannot_write() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 2);
    let writing = lanes.run(Begin::read(), LIMIT, |link| {
        link.execute("INSERT INTO t (k) VALUES (1)", &[])
    });
    assert_eq!(writing.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let committed = Begin {
        isolation: Isolation::ReadCommitted,
        ..Begin::write()
    };
    let found = lanes.run(committed, LIMIT, count).await.unwrap();
    assert_eq!(found, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_stays_open_on_a_lane_that_waits() {
    let url = database();
    table(&url);
    let lanes = lanes(&url, 2);
    let reading = |_| {
        let lanes = Arc::clone(&lanes);
        tokio::spawn(async move { counted(&lanes).await })
    };
    // More than there are lanes, so that reads follow upon reads.
    for reading in (0..100).map(reading).collect::<Vec<_>>() {
        assert_eq!(reading.await.unwrap(), 0);
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()";
    let ended = move || until(LIMIT, || (Postgres::shared().sql(&url, open) == "0").then_some(()));
    tokio::task::spawn_blocking(ended).await.unwrap().unwrap();
    assert!(lanes.counts().connects <= 2, "{:?}", lanes.counts());
}
