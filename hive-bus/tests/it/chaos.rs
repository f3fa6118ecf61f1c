//! Publishers, consumers and servers are killed at random and started again; a ledger outside of all of them says whether
//! anything that was acknowledged is missing, came out of order, or came twice as something else.
//!
//! Each round lets the processes work for a moment and then kills one of them, or the server. `HIVE_CHAOS_ROUNDS` sets how many
//! there are per transport, `HIVE_CHAOS_SEED` repeats a run as far as the operating system lets it.
#![expect(clippy::print_stdout, reason = "a run says how it can be repeated, and what it saw")]

mod ledger;
mod worker;

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_core::rng::{Rng, SeededRng, SystemRng};
use hive_core::testing::{self, Postgres, PostgresOptions};

use self::ledger::Ledger;
use self::worker::{PLACE, ROLE, Role, START};

/// Rounds per transport, unless said otherwise: a hundred and more over all of them.
const ROUNDS: u64 = 30;
/// Longer than the slowest catches up in.
const LONG: Duration = Duration::from_secs(60);

/// What can be killed beside the workers.
trait Server {
    fn place(&self) -> String;
    fn kill(&self) {}
    fn start_again(&self) {}
    /// Whether publishers and consumers share a process, because one process owns the place.
    fn is_exclusive(&self) -> bool {
        false
    }
}

struct File(testing::Folder);

impl Server for File {
    fn place(&self) -> String {
        format!("sqlite:{}", self.0.path().join("hive.db").display())
    }

    fn is_exclusive(&self) -> bool {
        true
    }
}

struct PostgresServer(Postgres, String);

impl Server for PostgresServer {
    fn place(&self) -> String {
        format!("postgres:{}", self.1)
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn start_again(&self) {
        self.0.start_again();
    }
}

#[cfg(feature = "redis")]
struct RedisServer(testing::Redis);

#[cfg(feature = "redis")]
impl RedisServer {
    /// What the server has acknowledged is on disk: with its usual setting, which puts writing off while it syncs, it may lose the
    /// last second when it is killed, and says so (`Redis::durability`).
    fn sync_always(&self) {
        let client = redis::Client::open(self.0.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let command = redis::cmd("CONFIG")
            .arg("SET")
            .arg("appendfsync")
            .arg("always")
            .exec(&mut connection);
        command.unwrap();
    }
}

#[cfg(feature = "redis")]
impl Server for RedisServer {
    fn place(&self) -> String {
        format!("redis:{}", self.0.url())
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn start_again(&self) {
        self.0.start_again();
        self.sync_always();
    }
}

#[cfg(feature = "nats")]
struct NatsServer(testing::Nats);

#[cfg(feature = "nats")]
impl Server for NatsServer {
    fn place(&self) -> String {
        format!("nats:{}", self.0.url())
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn start_again(&self) {
        self.0.start_again();
    }
}

#[test]
fn chaos_on_sqlite() {
    if worker::is_one() {
        return worker::work();
    }
    run("chaos::chaos_on_sqlite", &File(testing::folder()));
}

#[test]
fn chaos_on_postgres() {
    if worker::is_one() {
        return worker::work();
    }
    let server = Postgres::start(PostgresOptions::default());
    let address = server.database();
    run("chaos::chaos_on_postgres", &PostgresServer(server, address));
}

#[cfg(feature = "redis")]
#[test]
fn chaos_on_redis() {
    if worker::is_one() {
        return worker::work();
    }
    let server = RedisServer(testing::Redis::start());
    server.sync_always();
    run("chaos::chaos_on_redis", &server);
}

#[cfg(feature = "nats")]
#[test]
fn chaos_on_nats() {
    if worker::is_one() {
        return worker::work();
    }
    run("chaos::chaos_on_nats", &NatsServer(testing::Nats::start()));
}

fn run(test: &'static str, server: &dyn Server) {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = setting("HIVE_CHAOS_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("HIVE_CHAOS_SEED").unwrap_or_else(|| SystemRng.next_u64());
    println!("HIVE_CHAOS_SEED={seed}");
    let rng = SeededRng::new(seed);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let roles: &[Role] = if server.is_exclusive() {
        &[Role::Both]
    } else {
        &[Role::Publisher, Role::Consumer, Role::Consumer]
    };
    let place = server.place();
    let start = |role: Role| Worker::start(test, role, &place, &ledger);
    let mut workers: Vec<Worker> = roles.iter().map(|role| start(*role)).collect();
    for round in 0..rounds {
        let before = ledger.lock().unwrap().lines;
        // Each round does some work, however long that takes.
        let worked = testing::until(LONG, || (ledger.lock().unwrap().lines > before + 20).then_some(()));
        assert!(worked.is_some(), "nothing goes on in round {round}");
        std::thread::park_timeout(Duration::from_millis(rng.next_u64() % 60));
        let victim = rng.next_u64() % (workers.len() as u64 + 1);
        match workers.get_mut(victim as usize) {
            Some(worker) => {
                let role = worker.role;
                worker.kill();
                *worker = start(role);
            }
            None => {
                server.kill();
                std::thread::park_timeout(Duration::from_millis(rng.next_u64() % 200));
                server.start_again();
            }
        }
    }
    for worker in &mut workers {
        if worker.role != Role::Consumer {
            worker.kill();
        }
    }
    if server.is_exclusive() {
        workers.push(start(Role::Consumer));
    }
    let finished = testing::until(LONG, || ledger.lock().unwrap().missing().is_empty().then_some(()));
    // Everything that is left is settled by then, too: nothing is stuck, and nothing has died.
    let at_rest = testing::until(LONG, || {
        let line = ledger.lock().unwrap().lines;
        std::thread::park_timeout(Duration::from_millis(500));
        (ledger.lock().unwrap().lines == line).then_some(())
    });
    assert!(at_rest.is_some());
    for worker in &mut workers {
        worker.kill();
    }
    worker::check_at_rest(&place);
    let ledger = ledger.lock().unwrap();
    assert!(
        finished.is_some(),
        "acknowledged and never handled: {:?}",
        ledger.missing()
    );
    ledger.check();
    println!("{rounds} rounds: {}", ledger.summary());
}

/// A process that works until it is killed.
struct Worker {
    role: Role,
    process: Option<Child>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    fn start(test: &str, role: Role, place: &str, ledger: &Arc<Mutex<Ledger>>) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, role.as_str())
            .env(PLACE, place)
            .env(START, ledger.lock().unwrap().next_number().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let ledger = Arc::clone(ledger);
        let reader = std::thread::spawn(move || Ledger::read(&ledger, output));
        Self {
            role,
            process: Some(process),
            reader: Some(reader),
        }
    }

    /// Without warning. What it had said is in the ledger when this returns.
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // A test that failed leaves nobody behind.
            drop(process.kill());
            drop(process.wait());
        }
    }
}
