//! The bus on a server that several processes share: what comes late, what comes to nothing, and what fails meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hive_bus::transport::{Database, Transport};
use hive_bus::{Bus, Error, ErrorKind, Event, NewEvent, Result, Sequence, Subscription};
use hive_core::clock::SystemClock;
use hive_core::db::{Db, Options, Tx};
use hive_core::id::IdSource;
use hive_core::testing::{Postgres, PostgresOptions, Proxy, TestDb};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::event;

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);
/// For what must not come.
const SHORT: Duration = Duration::from_millis(150);

/// What one process has.
#[derive(Clone)]
struct Process {
    db: Db,
    bus: Bus,
}

impl Process {
    async fn open(options: Options) -> Self {
        let db = Db::open(options.migrations(&hive_bus::MIGRATIONS)).await.unwrap();
        let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system()).await;
        Self { db, bus: bus.unwrap() }
    }

    async fn on(url: &str) -> Self {
        Self::open(Options::postgres(url)).await
    }

    async fn publish(&self, topic: &'static str) -> Sequence {
        self.bus.publish(event(topic)).await.unwrap()
    }

    async fn subscribe(&self) -> Subscription {
        self.bus.subscribe("*").await.unwrap()
    }
}

async fn next(subscription: &mut Subscription) -> Event {
    let next = timeout(LONG, subscription.next()).await;
    next.expect("an event comes").unwrap()
}

async fn topics(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(next(subscription).await.topic().to_string());
    }
    topics
}

/// Whether nothing comes, for a while.
async fn is_quiet(subscription: &mut Subscription) -> bool {
    timeout(SHORT, subscription.next()).await.is_err()
}

/// A transaction that has published and is open.
struct Open {
    sequence: Sequence,
    go: mpsc::Sender<bool>,
    ended: JoinHandle<Result<()>>,
}

impl Open {
    async fn publish(process: &Process, topic: &'static str) -> Self {
        let Process { db, bus } = process.clone();
        let (inside, published) = tokio::sync::oneshot::channel();
        let (go, gone) = mpsc::channel();
        let mut inside = Some(inside);
        let ended = tokio::spawn(async move {
            db.write(move |tx| {
                let sequence = bus.publish_in(tx, event(topic))?;
                if let Some(inside) = inside.take() {
                    inside.send(sequence).unwrap();
                }
                if gone.recv().unwrap_or(false) {
                    Ok(())
                } else {
                    Err(Error::new(ErrorKind::NotFound, "the publisher changed its mind"))
                }
            })
            .await
        });
        Self {
            sequence: published.await.unwrap(),
            go,
            ended,
        }
    }

    async fn commit(self) {
        self.go.send(true).unwrap();
        self.ended.await.unwrap().unwrap();
    }

    async fn roll_back(self) {
        self.go.send(false).unwrap();
        self.ended.await.unwrap().unwrap_err();
    }
}

/// Somebody else's connection.
async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn outside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_first_is_handed_out_first() {
    let place = TestDb::postgres();
    let (one, other) = (
        Process::open(place.options()).await,
        Process::open(place.options()).await,
    );
    let (mut here, mut there) = (one.subscribe().await, other.subscribe().await);
    for publisher in [&one, &other] {
        let late = Open::publish(publisher, "late").await;
        let early = publisher.publish("early").await;
        let also = other.publish("also").await;
        assert!(late.sequence < early && early < also);
        for subscription in [&mut here, &mut there] {
            assert!(is_quiet(subscription).await, "handed out before what is to come");
            assert!(
                subscription.cursor() < late.sequence,
                "a cursor went past what is to come"
            );
        }
        // Whoever comes now begins behind it, and so waits for it.
        let coming = one.bus.clone();
        let mut coming = tokio::spawn(async move { coming.subscribe("*").await.unwrap() });
        let head = Database::open(other.db.clone(), Arc::new(SystemClock));
        let mut head = tokio::spawn(async move { head.await.unwrap().head().await.unwrap() });
        assert!(timeout(SHORT, &mut coming).await.is_err() && timeout(SHORT, &mut head).await.is_err());

        late.commit().await;
        for subscription in [&mut here, &mut there] {
            assert_eq!(topics(subscription, 3).await, ["late", "early", "also"]);
            assert_eq!(subscription.cursor(), also);
        }
        assert_eq!(timeout(LONG, coming).await.unwrap().unwrap().cursor(), also);
        assert_eq!(timeout(LONG, head).await.unwrap().unwrap(), also);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_gives_up_leaves_a_gap_that_nobody_waits_for() {
    let place = TestDb::postgres();
    let (one, other) = (
        Process::open(place.options()).await,
        Process::open(place.options()).await,
    );
    let (mut here, mut there) = (one.subscribe().await, other.subscribe().await);
    for publisher in [&one, &other] {
        let dead = Open::publish(publisher, "dead").await;
        let later = one.publish("kept").await;
        for subscription in [&mut here, &mut there] {
            assert!(is_quiet(subscription).await);
        }
        dead.roll_back().await;
        for subscription in [&mut here, &mut there] {
            assert_eq!(next(subscription).await.sequence(), later);
        }
        // Where nothing comes behind it, nobody waits for it either.
        Open::publish(publisher, "dead").await.roll_back().await;
        assert_eq!(timeout(LONG, other.subscribe()).await.unwrap().cursor(), later);
    }
    let all = crate::all(&one.bus, hive_bus::Query::new()).await;
    assert_eq!(all.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_publishes_later_holds_nobody_up() {
    let place = TestDb::postgres();
    let (one, other) = (
        Process::open(place.options()).await,
        Process::open(place.options()).await,
    );
    let (mut here, mut there) = (one.subscribe().await, other.subscribe().await);
    one.publish("before").await;
    let open = Open::publish(&other, "open").await;
    for subscription in [&mut here, &mut there] {
        assert_eq!(topics(subscription, 1).await, ["before"]);
    }
    open.commit().await;
    for subscription in [&mut here, &mut there] {
        assert_eq!(topics(subscription, 1).await, ["open"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_stands_still_delays_and_loses_nothing() {
    let url = outside(|| Postgres::shared().database()).await;
    let (one, other) = (Process::on(&url).await, Process::on(&url).await);
    let (mut here, mut there) = (one.subscribe().await, other.subscribe().await);
    // By its own hand, by the server's patience, by an administrator.
    for end in 0..3 {
        let first = one.publish("first").await;
        let stopped = connect(&url).await;
        if end == 1 {
            let patience = "SET idle_in_transaction_session_timeout = '400ms'";
            stopped.batch_execute(patience).await.unwrap();
        }
        let begun = "BEGIN; INSERT INTO event (id, time, type, schema_version, source, topic, tenant, data)
             VALUES (decode(md5(random()::text), 'hex'), 0, 'test', 1, '/hive', 'stopped', 'default', 'null')";
        stopped.batch_execute(begun).await.unwrap();
        let mut last = first;
        for _ in 0..10 {
            last = one.publish("a").await;
            last = last.max(other.publish("b").await);
        }
        for subscription in [&mut here, &mut there] {
            assert_eq!(next(subscription).await.sequence(), first);
        }
        let kept = end == 0;
        match end {
            0 => {
                assert!(is_quiet(&mut here).await && is_quiet(&mut there).await);
                stopped.batch_execute("COMMIT").await.unwrap();
            }
            1 => {}
            _ => {
                assert!(is_quiet(&mut here).await && is_quiet(&mut there).await);
                let backend = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND state = 'idle in transaction'";
                let url = url.clone();
                outside(move || Postgres::shared().sql(&url, backend)).await;
            }
        }
        for subscription in [&mut here, &mut there] {
            let mut seen = Vec::new();
            while subscription.cursor() < last {
                seen.push(next(subscription).await);
            }
            let sequences = crate::sequences(&seen);
            assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
            assert_eq!(seen.len(), 20 + usize::from(kept), "{end}");
            assert_eq!(
                seen.iter().filter(|event| event.topic().as_str() == "stopped").count(),
                usize::from(kept)
            );
        }
    }
    outside(move || Postgres::shared().drop_database(&url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_transactions_of_others_hold_nobody_up() {
    let (url, elsewhere) = outside(|| (Postgres::shared().database(), Postgres::shared().database())).await;
    let (one, other) = (Process::on(&url).await, Process::on(&url).await);
    let (mut here, mut there) = (one.subscribe().await, other.subscribe().await);
    one.publish("a").await;
    // One that reads, one that writes, one with a lock of its own, and one with the same lock in another database.
    let others = [
        connect(&url).await,
        connect(&url).await,
        connect(&url).await,
        connect(&elsewhere).await,
    ];
    for (other, sql) in others.iter().zip([
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM event",
        "BEGIN; CREATE TABLE mine (id BIGINT); INSERT INTO mine VALUES (1); UPDATE consumer SET revision = revision",
        "BEGIN; SELECT pg_advisory_xact_lock(1751742053, 2), pg_advisory_xact_lock(1751742053), pg_advisory_xact_lock(1)",
        "BEGIN; SELECT pg_advisory_xact_lock_shared(1751742053, 1)",
    ]) {
        other.batch_execute(sql).await.unwrap();
    }
    // With gaps, for which those who could fill them are looked for.
    for _ in 0..3 {
        Open::publish(&one, "dead").await.roll_back().await;
        other.publish("a").await;
    }
    for subscription in [&mut here, &mut there] {
        assert_eq!(topics(subscription, 4).await, ["a", "a", "a", "a"]);
    }
    assert_eq!(timeout(LONG, one.subscribe()).await.unwrap().cursor(), here.cursor());
    drop(others);
    outside(move || {
        Postgres::shared().drop_database(&url);
        Postgres::shared().drop_database(&elsewhere);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_run_again_leave_gaps_and_no_events() {
    let place = TestDb::postgres();
    let (one, other) = (
        Process::open(place.options()).await,
        Process::open(place.options()).await,
    );
    let mut here = one.subscribe().await;
    let counter = "CREATE TABLE counter (value INTEGER NOT NULL); INSERT INTO counter VALUES (0)";
    for sql in counter.split(';') {
        one.db.write(move |tx| tx.execute(sql, &[]).map(drop)).await.unwrap();
    }
    let add = |process: &Process, runs: Arc<AtomicU32>, wait: Option<mpsc::Receiver<()>>| {
        let Process { db, bus } = process.clone();
        let mut wait = wait;
        let work = move |tx: &mut Tx<'_>| {
            let value = tx.query_one("SELECT value FROM counter", &[], |row| row.get::<i64>(0))?;
            // Only now does it see the counter as it was.
            runs.fetch_add(1, Ordering::SeqCst);
            let sequence = bus.publish_in(tx, NewEvent::new("test", "counted", &(value + 1))?)?;
            if let Some(wait) = wait.take() {
                wait.recv().unwrap();
            }
            tx.execute("UPDATE counter SET value = ?1", &[&(value + 1)])?;
            Ok(sequence)
        };
        async move { db.write(work).await }
    };
    let mut sequences = Vec::new();
    for _ in 0..3 {
        let (go, wait) = mpsc::channel();
        let (runs, others) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let first = tokio::spawn(add(&one, Arc::clone(&runs), Some(wait)));
        while runs.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        sequences.push(add(&other, others, None).await.unwrap());
        go.send(()).unwrap();
        sequences.push(first.await.unwrap().unwrap());
        assert!(runs.load(Ordering::SeqCst) > 1, "the first did not collide");
    }
    let mut seen = Vec::new();
    for number in 1..=6_i64 {
        let event = next(&mut here).await;
        assert_eq!(event.data().decode::<i64>().unwrap(), number);
        seen.push(event.sequence());
    }
    assert_eq!(seen, sequences);
    assert!(seen[5].get() > 6, "nothing was run again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_role_can_publish_and_follow() {
    // A database and everything in it belongs to a role that may do nothing else.
    let (url, own) = outside(|| {
        let url = Postgres::shared().database();
        let name = url.rsplit('/').next().unwrap().to_owned();
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD 'plain'; ALTER DATABASE {name} OWNER TO {name}");
        for sql in sql.split("; ") {
            Postgres::shared().sql(&url, sql);
        }
        let address = url.rsplit('@').next().unwrap();
        let own = format!("postgres://{name}:plain@{address}");
        (url, own)
    })
    .await;
    let (one, other) = (Process::on(&own).await, Process::on(&own).await);
    let mut there = other.subscribe().await;
    let late = Open::publish(&one, "late").await;
    other.publish("early").await;
    assert!(is_quiet(&mut there).await);
    late.commit().await;
    assert_eq!(topics(&mut there, 2).await, ["late", "early"]);
    Open::publish(&one, "dead").await.roll_back().await;
    one.publish("last").await;
    assert_eq!(topics(&mut there, 1).await, ["last"]);
    for process in [one, other] {
        process.db.close().await.unwrap();
    }
    outside(move || {
        let name = url.rsplit('/').next().unwrap().to_owned();
        Postgres::shared().drop_database(&url);
        Postgres::shared().sql(Postgres::shared().url(), &format!("DROP ROLE {name}"));
    })
    .await;
}

/// Publishers that go on whatever they are told, and note what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
    tasks: JoinSet<BTreeSet<u64>>,
}

impl Load {
    fn start(processes: &[Process]) -> Self {
        let (stop, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for process in processes.iter().cycle().take(6) {
            let (process, stop, tried) = (process.clone(), Arc::clone(&stop), Arc::clone(&tried));
            tasks.spawn(async move {
                let mut acknowledged = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = tried.fetch_add(1, Ordering::Relaxed);
                    let event = |part: u64| NewEvent::new("load", "load", &(number, part)).unwrap();
                    let published = if number % 3 == 0 {
                        process.bus.publish_all(vec![event(0), event(1)]).await.map(drop)
                    } else {
                        process.bus.publish(event(0)).await.map(drop)
                    };
                    match published {
                        Ok(()) => {
                            acknowledged.insert(number);
                        }
                        Err(error) => {
                            let pause = error.retry_after().unwrap_or(Duration::from_millis(5));
                            tokio::time::sleep(pause.min(Duration::from_millis(200))).await;
                        }
                    }
                }
                acknowledged
            });
        }
        Self { stop, tried, tasks }
    }

    async fn progress(&self, events: u64) {
        let from = self.tried.load(Ordering::Relaxed);
        while self.tried.load(Ordering::Relaxed) < from + events {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// Everything up to an event on the topic `end`, however often reading fails on the way.
fn collect(mut subscription: Subscription) -> JoinHandle<Vec<Event>> {
    tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            match subscription.next().await {
                Ok(event) if event.topic().as_str() == "end" => return seen,
                Ok(event) => seen.push(event),
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::ShuttingDown, "{error:?}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    })
}

/// Ends the load, and finds that all subscribers saw what the log has, each event once and in order, with all that was
/// acknowledged in it.
async fn settle(load: Load, last: &Process, subscribers: Vec<JoinHandle<Vec<Event>>>) {
    let acknowledged = load.end().await;
    assert!(acknowledged.len() > 200, "{}", acknowledged.len());
    while let Err(error) = last.bus.publish(event("end")).await {
        assert_ne!(error.kind(), ErrorKind::ShuttingDown, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let query = hive_bus::Query::new().limit(hive_bus::limits::HISTORY_LIMIT_MAX);
    let mut log = crate::all(&last.bus, query).await;
    log.retain(|event| event.topic().as_str() != "end");
    for subscriber in subscribers {
        let seen = timeout(LONG, subscriber).await.expect("the end comes").unwrap();
        assert_eq!(crate::sequences(&seen), crate::sequences(&log));
    }
    let there: BTreeSet<u64> = log
        .iter()
        .map(|event| event.data().decode::<(u64, u64)>().unwrap().0)
        .collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_while_the_server_comes_and_goes() {
    let server = Arc::new(Postgres::start(PostgresOptions::new()));
    let url = server.database();
    let processes = [Process::on(&url).await, Process::on(&url).await];
    let mut subscribers = Vec::new();
    for process in &processes {
        subscribers.push(collect(process.subscribe().await));
        subscribers.push(collect(
            process.bus.subscribe_any(hive_bus::Pattern::ALL).await.unwrap(),
        ));
    }
    let load = Load::start(&processes);
    for round in 0..6 {
        load.progress(100).await;
        let (server, url) = (Arc::clone(&server), url.clone());
        outside(move || match round % 3 {
            0 => drop(server.terminate_backends(&url)),
            1 => server.restart(),
            _ => {
                server.kill();
                server.start_again();
            }
        })
        .await;
    }
    load.progress(100).await;
    settle(load, &processes[0], subscribers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_while_the_network_comes_and_goes() {
    let url = outside(|| Postgres::shared().database()).await;
    let host = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let proxies = [Arc::new(Proxy::start(host)), Arc::new(Proxy::start(host))];
    let limit = Duration::from_secs(2);
    let through = |proxy: &Proxy| {
        Options::postgres(proxy.url(&url))
            .write_timeout(limit)
            .read_timeout(limit)
    };
    let processes = [
        Process::open(through(&proxies[0])).await,
        Process::open(through(&proxies[1])).await,
    ];
    let mut subscribers = Vec::new();
    for process in &processes {
        subscribers.push(collect(process.subscribe().await));
    }
    let load = Load::start(&processes);
    for round in 0..8 {
        load.progress(60).await;
        let proxy = Arc::clone(&proxies[round % 2]);
        outside(move || match round / 2 {
            0 => proxy.drop_connections(),
            1 => proxy.delay(Duration::from_millis(3)),
            2 => {
                proxy.cut();
                proxy.restore();
            }
            _ => proxy.stall(),
        })
        .await;
        load.progress(30).await;
        let proxy = Arc::clone(&proxies[round % 2]);
        outside(move || proxy.restore()).await;
    }
    load.progress(60).await;
    settle(load, &processes[1], subscribers).await;
    for process in processes {
        process.db.close().await.unwrap();
    }
    outside(move || Postgres::shared().drop_database(&url)).await;
}
