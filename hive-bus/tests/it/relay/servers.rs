//! Relaying to real servers, which are killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hive_bus::Patterns;
use hive_bus::transport::{nats, redis};
use hive_core::db::Options;
use hive_core::id::EventId;
use hive_core::testing;

use super::*;

/// A server of either kind, and a log of its own on it.
#[derive(Clone)]
enum Server {
    Redis(redis::Options),
    Nats(nats::Options),
}

impl Server {
    fn redis(url: &str) -> Self {
        Self::redis_at(url, &own_name())
    }

    fn redis_at(url: &str, name: &str) -> Self {
        Self::Redis(redis::Options::new(url).prefix(format!("{{{name}}}:")))
    }

    fn nats(url: &str) -> Self {
        let name = own_name();
        Self::Nats(nats::Options::new(url).name(&name).prefix(format!("t.{name}")))
    }

    async fn open(&self) -> Arc<dyn Transport> {
        match self {
            Self::Redis(options) => Arc::new(redis::Redis::open(options.clone()).await.unwrap()),
            Self::Nats(options) => Arc::new(nats::Nats::open(options.clone()).await.unwrap()),
        }
    }
}

fn own_name() -> String {
    let id: EventId = IdSource::system().next();
    format!("relay_{id}")
}

async fn open(options: Options, transport: Arc<dyn Transport>) -> (Db, Bus) {
    let options = options.migrations(&lease::MIGRATIONS).migrations(&hive_bus::MIGRATIONS);
    let db = Db::open(options).await.unwrap();
    let bus = Bus::open_with(db.clone(), transport, Arc::new(SystemClock), IdSource::system());
    (db.clone(), bus.await.unwrap())
}

/// Everything that the transport has.
async fn read_all(transport: &dyn Transport) -> Vec<Event> {
    let everything = Patterns::new(["*"]).unwrap();
    let (mut events, mut after) = (Vec::new(), Sequence::START);
    loop {
        let found = transport.read(&everything, after, 1_000).await.unwrap();
        events.extend(found.events);
        after = found.reached;
        if found.ended {
            return events;
        }
    }
}

/// Waits until the transport has everything up to `last`, whatever becomes of the server meanwhile.
async fn has(transport: &dyn Transport, last: Sequence) {
    let there = async {
        while transport.relayed().await.unwrap_or_default() < last {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, there).await.expect("it is not relayed");
}

/// A server that can be killed and started again.
trait Mortal: Send + Sync + 'static {
    fn kill(&self);
    fn start_again(&self);
}

impl Mortal for testing::Redis {
    fn kill(&self) {
        self.kill();
    }

    fn start_again(&self) {
        self.start_again();
    }
}

impl Mortal for testing::Nats {
    fn kill(&self) {
        self.kill();
    }

    fn start_again(&self) {
        self.start_again();
    }
}

/// How often a server is killed, for how long it is away then, and how often three publish twenty events each meanwhile.
struct Outages {
    count: u32,
    length: Duration,
    every: Duration,
}

impl Outages {
    fn short(count: u32) -> Self {
        Self {
            count,
            length: Duration::ZERO,
            every: Duration::from_millis(5),
        }
    }

    /// One of some seconds, or of as many as `HIVE_OUTAGE_S` says.
    fn long() -> Self {
        let seconds = std::env::var("HIVE_OUTAGE_S").map_or(4, |told| told.parse().unwrap());
        Self {
            count: 1,
            length: Duration::from_secs(seconds),
            every: Duration::from_millis(100),
        }
    }
}

/// Many publish while the server is killed again and again. Exactly what was committed arrives, and who listens hears it once and
/// in order.
async fn killed_under_load(database: TestDb, server: Server, outages: Outages, mortal: &Arc<impl Mortal>) {
    let (db, bus) = open(database.options(), server.open().await).await;
    let (ending, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut publishers = JoinSet::new();
    for publisher in 0..3 {
        let (bus, ending, published) = (bus.clone(), Arc::clone(&ending), Arc::clone(&published));
        publishers.spawn(async move {
            while !ending.load(Ordering::Relaxed) {
                // The database is there all the time.
                bus.publish_all(some(&format!("load.{publisher}"), 20)).await.unwrap();
                published.fetch_add(20, Ordering::Relaxed);
                tokio::time::sleep(outages.every).await;
            }
        });
    }
    let mut subscription = bus.subscribe("*").after(Sequence::START).await.unwrap();
    let listening = tokio::spawn(async move {
        let mut heard: Vec<Event> = Vec::new();
        loop {
            match subscription.next().await {
                Ok(event) if event.event_type() == "last" => {
                    heard.push(event);
                    return heard;
                }
                Ok(event) => heard.push(event),
                // The server is away.
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
    for _ in 0..outages.count {
        let before = published.load(Ordering::Relaxed);
        while published.load(Ordering::Relaxed) < before + 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let own = Arc::clone(mortal);
        tokio::task::spawn_blocking(move || own.kill()).await.unwrap();
        let before = published.load(Ordering::Relaxed);
        tokio::time::sleep(outages.length).await;
        // Nobody who publishes notices.
        let meanwhile = published.load(Ordering::Relaxed) - before;
        assert!(u128::from(meanwhile) >= outages.length.as_millis() / outages.every.as_millis());
        let own = Arc::clone(mortal);
        tokio::task::spawn_blocking(move || own.start_again()).await.unwrap();
    }
    ending.store(true, Ordering::Relaxed);
    publishers.join_all().await;
    let last = bus.publish(NewEvent::new("last", "last", &()).unwrap()).await.unwrap();
    let transport = server.open().await;
    has(&*transport, last).await;
    let committed = all(&bus, Query::new().limit(1_000)).await;
    assert!(committed.len() as u32 > outages.count * 200);
    assert_eq!(read_all(&*transport).await, committed);
    let heard = timeout(LONG, listening)
        .await
        .expect("not everything was heard")
        .unwrap();
    assert_eq!(heard, committed);
    transport.close().await.unwrap();
    end(db, bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_server_that_is_killed_under_load_misses_nothing() {
    let server = Arc::new(testing::Redis::start());
    let target = Server::redis(server.url());
    killed_under_load(TestDb::sqlite(), target, Outages::short(20), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_that_is_killed_under_load_misses_nothing() {
    let server = Arc::new(testing::Nats::start());
    let target = Server::nats(server.url());
    killed_under_load(TestDb::sqlite(), target, Outages::short(20), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_away_for_long_are_caught_up_with() {
    let (redis, nats) = (Arc::new(testing::Redis::start()), Arc::new(testing::Nats::start()));
    let (one, other) = (Server::redis(redis.url()), Server::nats(nats.url()));
    tokio::join!(
        killed_under_load(TestDb::sqlite(), one, Outages::long(), &redis),
        killed_under_load(TestDb::sqlite(), other, Outages::long(), &nats),
    );
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_miss_nothing_of_postgres_either() {
    let server = Arc::new(testing::Redis::start());
    let target = Server::redis(server.url());
    killed_under_load(TestDb::postgres(), target, Outages::short(4), &server).await;
    let server = Arc::new(testing::Nats::start());
    let target = Server::nats(server.url());
    killed_under_load(TestDb::postgres(), target, Outages::short(4), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_has_lost_is_relayed_again() {
    let server = testing::Redis::start();
    let target = Server::redis(server.url());
    let clock = ManualClock::new(NOW);
    let place = TestDb::sqlite();
    let db = Db::open(place.options().migrations(&hive_bus::MIGRATIONS))
        .await
        .unwrap();
    let bus = Bus::open_with(
        db.clone(),
        target.open().await,
        Arc::new(clock.clone()),
        IdSource::system(),
    );
    let bus = bus.await.unwrap();
    let published = bus.publish_all(some("a", 20)).await.unwrap();
    let transport = target.open().await;
    has(&*transport, published[19]).await;
    forget_everything(&server).await;
    assert_eq!(transport.relayed().await.unwrap(), Sequence::START);
    let flying = tokio::spawn(async move {
        loop {
            clock.until_sleepers(1).await;
            clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    has(&*transport, published[19]).await;
    assert_eq!(read_all(&*transport).await, all(&bus, Query::new()).await);
    // Or it is noticed by what comes next, which would leave a hole.
    forget_everything(&server).await;
    let last = last(&bus).await;
    has(&*transport, last).await;
    assert_eq!(read_all(&*transport).await, all(&bus, Query::new()).await);
    flying.abort();
    transport.close().await.unwrap();
    end(db, bus).await;
}

async fn forget_everything(server: &testing::Redis) {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = ::redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
}

/// Set in the process that is to be killed: the server, the name of its log there, and its database.
const VICTIM: &str = "HIVE_BUS_TEST_RELAY_VICTIM";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_it_relays_loses_and_repeats_nothing() {
    if let Ok(told) = std::env::var(VICTIM) {
        let [url, name, path] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
        return publish_until_killed(url, name, path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hive.db");
    let name = own_name();
    let url = testing::Redis::shared().url();
    let target = Server::redis_at(url, &name);
    let mut before = 0;
    for round in 1..=5 {
        kill_after(&format!("{url} {name} {}", path.display()), round * 40);
        let (db, bus) = open(Options::file(&path), target.open().await).await;
        let last = bus
            .publish(NewEvent::new("last", "last", &round).unwrap())
            .await
            .unwrap();
        let transport = target.open().await;
        has(&*transport, last).await;
        let committed = all(&bus, Query::new().limit(1_000)).await;
        assert!(committed.len() > before + round * 40);
        before = committed.len();
        assert_eq!(read_all(&*transport).await, committed);
        transport.close().await.unwrap();
        end(db, bus).await;
    }
}

/// Runs the test in a process of its own, and kills it without warning after so many words.
fn kill_after(told: &str, count: usize) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "relay::servers::a_kill_while_it_relays_loses_and_repeats_nothing",
            "--nocapture",
        ])
        .env(VICTIM, told)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let words = lines
        .filter(|line| line.as_ref().unwrap() == "published")
        .take(count)
        .count();
    victim.kill().unwrap();
    assert!(!victim.wait().unwrap().success());
    assert_eq!(words, count, "the victim ended early");
}

async fn publish_until_killed(url: &str, name: &str, path: &str) {
    let target = Server::redis_at(url, name);
    let (_db, bus) = open(Options::file(path), target.open().await).await;
    loop {
        bus.publish_all(some("load", 7)).await.unwrap();
        std::io::stdout().write_all(b"published\n").unwrap();
        tokio::task::yield_now().await;
    }
}
