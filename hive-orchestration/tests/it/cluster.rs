//! Several processes on one PostgreSQL server, which are killed, or stopped for so long that the others take them for dead and
//! then go on; a server that is restarted under them; and clocks that are set all the time.
//!
//! The test binary starts itself again as the workers. The book is a file that all of them append to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hive_orchestration::builders::Builder;
use hive_orchestration::core::clock::{Clock, SystemClock, Timestamp};
use hive_orchestration::core::db::Options;
use hive_orchestration::core::rng::{Rng, SeededRng, SystemRng};
use hive_orchestration::core::testing::{Postgres, PostgresOptions};
use hive_orchestration::{Hive, limits};

use crate::kit::{Home, soon};
use crate::program::{self, Book, EFFECTS, Line, Machine};

/// Where a worker finds the server and the book; only set for a worker.
const URL: &str = "HIVE_CLUSTER_URL";
const BOOK: &str = "HIVE_CLUSTER_BOOK";

const WORKERS: usize = 3;
/// Rounds unless `HIVE_CHAOS_ROUNDS` says otherwise.
const ROUNDS: usize = 12;
const PROGRAMS_PER_ROUND: usize = 6;
/// So long after it came back a process may begin what it had claimed before.
const JUST_BACK_MS: u64 = 2_000;
/// Longer than any process may be silent.
const STOPPED: Duration = limits::SILENCE.saturating_mul(2);

/// A book that several processes write.
#[derive(Debug)]
struct SharedBook {
    path: PathBuf,
    file: Mutex<File>,
    pulse: Arc<Pulse>,
}

/// Notices that the process stood still.
#[derive(Debug)]
struct Pulse {
    last_ms: AtomicU64,
    /// When it last came back from standing still.
    back_ms: AtomicU64,
}

impl Pulse {
    fn start() -> Arc<Self> {
        let pulse = Arc::new(Self {
            last_ms: AtomicU64::new(u64::try_from(SystemClock.monotonic().as_millis()).unwrap()),
            back_ms: AtomicU64::new(0),
        });
        let own = Arc::clone(&pulse);
        tokio::spawn(async move {
            loop {
                own.beat();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        pulse
    }

    fn beat(&self) -> u64 {
        let now = u64::try_from(SystemClock.monotonic().as_millis()).unwrap();
        let last = self.last_ms.swap(now, Ordering::SeqCst);
        if now.saturating_sub(last) > u64::try_from(limits::SILENCE.as_millis()).unwrap() {
            self.back_ms.store(now, Ordering::SeqCst);
        }
        now
    }
}

impl SharedBook {
    fn open(path: &Path, pulse: Arc<Pulse>) -> Self {
        Self {
            path: path.to_owned(),
            file: Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap()),
            pulse,
        }
    }

    /// With how long the book was when the run began that writes.
    fn append(&self, sign: char, key: &str, since: u64) {
        // One call, so that lines of several processes do not mix.
        self.file
            .lock()
            .unwrap()
            .write_all(format!("{sign} {key} {since}\n").as_bytes())
            .unwrap();
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |book| book.len())
    }

    fn count(&self, key: &str) -> u32 {
        let done = format!("+ {key} ");
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        u32::try_from(text.lines().filter(|line| line.starts_with(&done)).count()).unwrap()
    }
}

/// A wall clock that somebody sets every half second, by up to an hour, forwards or back. Time passes as it does.
#[derive(Debug)]
struct Jumping {
    seed: u64,
}

#[async_trait]
impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let turn = u64::try_from(self.monotonic().as_millis() / 500).unwrap();
        let by = Duration::from_secs(SeededRng::new(self.seed.wrapping_add(turn)).next_u64() % 7_200);
        SystemClock.now() + by - Duration::from_secs(3_600)
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration).await;
    }

    async fn sleep_until(&self, at: Timestamp) {
        while self.now() < at {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The book of one run.
#[derive(Debug)]
struct Life {
    book: Arc<SharedBook>,
    since_ms: u64,
    /// How long the book was when it began.
    since: u64,
}

impl Life {
    fn new(book: &Arc<SharedBook>) -> Self {
        Self {
            since_ms: book.pulse.beat(),
            since: book.length(),
            book: Arc::clone(book),
        }
    }
}

impl Book for Life {
    fn done(&self, key: &str) -> Option<u32> {
        self.book.pulse.beat();
        let times = self.book.count(key) + 1;
        // A run that stood still has been taken over, most likely: then the world pays no attention to it. It goes on all the same,
        // so that it tries to tell the database. So has one that began at once after its process came back: what it is to do was
        // claimed before.
        let back_ms = self.book.pulse.back_ms.load(Ordering::SeqCst);
        let stood_still = back_ms > 0 && self.since_ms < back_ms + JUST_BACK_MS;
        self.book.append(if stood_still { '?' } else { '+' }, key, self.since);
        Some(times)
    }

    fn confirmed(&self, key: &str) {
        self.book.append('=', key, self.since);
    }

    fn run(&self) -> Option<Arc<dyn Book>> {
        Some(Arc::new(Self::new(&self.book)))
    }
}

fn lines(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line of a process that was killed may be cut short, and is then not ended.
    let mut told = Vec::new();
    let mut confirmed: BTreeMap<&str, u64> = BTreeMap::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let place = at;
        at += line.len() as u64;
        let Some((key, since)) = line.strip_suffix('\n').and_then(|line| line[2..].rsplit_once(' ')) else {
            continue;
        };
        let since: u64 = since.parse().unwrap();
        match &line[..1] {
            "=" => drop(confirmed.entry(key).or_insert(place)),
            // A run that began before that cannot know it. Others took its task over because its process was not heard of, and what
            // it tells the database is refused; the world pays no attention to it either.
            _ if confirmed.get(key).is_some_and(|place| *place >= since) => continue,
            _ => {}
        }
        told.push((&line[..1], key));
    }
    let done: BTreeSet<&str> = told
        .iter()
        .filter(|(sign, _)| *sign == "+")
        .map(|(_, key)| *key)
        .collect();
    let read = |(sign, key): &(&str, &str)| match *sign {
        "+" => Some(Line::Done((*key).to_owned())),
        "=" => Some(Line::Confirmed((*key).to_owned())),
        // What a run did that had stood still counts if nobody had taken it over, and so nobody did it again.
        "?" => (!done.contains(key)).then(|| Line::Done((*key).to_owned())),
        other => panic!("{other:?}"),
    };
    told.iter().filter_map(read).collect()
}

fn open(url: &str, book: Arc<dyn Book>) -> Builder {
    Hive::on(Options::postgres(url))
        .agent(Machine(book))
        .migrations(&EFFECTS)
        .clock(Arc::new(Jumping {
            seed: SystemRng.next_u64(),
        }))
        .concurrency(4)
}

/// Works until it is killed.
async fn work(url: &str, path: &Path) {
    let book = Arc::new(SharedBook::open(path, Pulse::start()));
    let _hive = soon(async {
        loop {
            // The server may be away for the moment.
            match open(url, Arc::new(Life::new(&book))).start().await {
                Ok(hive) => return hive,
                Err(error) => assert!(error.is_retryable() || error.code() == "config", "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    std::future::pending().await
}

struct Workers {
    url: String,
    folder: PathBuf,
    running: Vec<Child>,
    started: usize,
}

impl Workers {
    fn start(&mut self) {
        self.started += 1;
        let log = self.folder.join(format!("worker-{}.log", self.started));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["cluster::nothing_is_lost_or_done_twice", "--exact", "--nocapture"])
            .env(URL, &self.url)
            .env(BOOK, self.folder.join("book"))
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        self.running.push(child);
    }

    fn kill(&mut self, place: usize) {
        let mut victim = self.running.remove(place);
        assert!(victim.try_wait().unwrap().is_none(), "a worker ended by itself");
        victim.kill().unwrap();
        victim.wait().unwrap();
    }

    fn signal(&self, place: usize, signal: &str) {
        let id = self.running[place].id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.running {
            let _gone = worker.kill();
            let _gone = worker.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice() {
    if let Ok(url) = std::env::var(URL) {
        return work(&url, Path::new(&std::env::var(BOOK).unwrap())).await;
    }
    let seed =
        std::env::var("HIVE_SEED").map_or_else(|_| SystemRng.next_u64() % 1_000_000, |seed| seed.parse().unwrap());
    let rounds = std::env::var("HIVE_CHAOS_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    println!("HIVE_SEED={seed}");
    let (home, rng) = (Home::new(), SeededRng::new(seed));
    let server = tokio::task::spawn_blocking(|| Postgres::start(PostgresOptions::default()))
        .await
        .unwrap();
    let server = Arc::new(server);
    let own = Arc::clone(&server);
    let url = tokio::task::spawn_blocking(move || own.database()).await.unwrap();
    let path = home.path("book");
    let book = Arc::new(SharedBook::open(&path, Pulse::start()));
    let hive = open(&url, Arc::new(Life::new(&book))).start().await.unwrap();
    let mut workers = Workers {
        url,
        folder: home.path(""),
        running: Vec::new(),
        started: 0,
    };
    for _ in 0..WORKERS {
        workers.start();
    }
    let looked_up = Arc::clone(&book);
    let mut answering = tokio::spawn(program::answer(hive.clone(), move |key| looked_up.count(key) > 0));
    let programs = program::sample(seed, rounds * PROGRAMS_PER_ROUND);
    let (mut ids, mut did) = (Vec::new(), [0; 3]);
    for round in 1..=rounds {
        ids = insist(|| program::submit(&hive, &programs[..round * PROGRAMS_PER_ROUND])).await;
        tokio::time::sleep(Duration::from_millis(rng.next_u64() % 500)).await;
        let place = (rng.next_u64() % WORKERS as u64) as usize;
        match rng.next_u64() % 8 {
            0..=4 => {
                did[0] += 1;
                workers.kill(place);
                workers.start();
            }
            5..=6 => {
                did[1] += 1;
                workers.signal(place, "-STOP");
                tokio::time::sleep(STOPPED).await;
                workers.signal(place, "-CONT");
            }
            _ => {
                did[2] += 1;
                let own = Arc::clone(&server);
                tokio::task::spawn_blocking(move || own.restart()).await.unwrap();
            }
        }
    }
    let results = async {
        for id in &ids {
            let task = hive.task::<u64>(*id);
            let result = tokio::time::timeout(Duration::from_secs(90), insist(|| task.result())).await;
            assert!(result.is_ok(), "{:?}", task.status().await);
        }
    };
    tokio::select! {
        () = results => {}
        ended = &mut answering => panic!("nobody answers any more: {ended:?}"),
    }
    answering.abort();
    drop(workers);
    let written = lines(&path);
    println!(
        "{} killed, {} stopped, {} restarts of the server; {} lines",
        did[0],
        did[1],
        did[2],
        written.len()
    );
    program::verify(&hive, &programs, &ids, &Default::default(), &written).await;
    hive.shutdown().await.unwrap();
}

/// The server may be away for the moment.
async fn insist<T, F: Future<Output = hive_orchestration::Result<T>>>(ask: impl Fn() -> F) -> T {
    soon(async {
        loop {
            match ask().await {
                Ok(value) => return value,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}
