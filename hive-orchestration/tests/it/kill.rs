//! Real processes that are killed with SIGKILL at any moment, on one database.
//!
//! The test binary starts itself again as the worker; the book is a file to which every line is appended and synced.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::Hive;
use hive_orchestration::builders::Builder;
use hive_orchestration::core::rng::{Rng, SeededRng, SystemRng};

use crate::kit::{Home, soon};
use crate::program::{self, Book, EFFECTS, Line, Machine};

/// Where the worker finds its folder; only set for a worker.
const FOLDER: &str = "HIVE_KILL_FOLDER";
const SEED: &str = "HIVE_KILL_SEED";
const COUNT: &str = "HIVE_KILL_COUNT";

const ROUNDS: usize = 25;
const PROGRAMS_PER_ROUND: usize = 3;

/// A book that survives whoever writes it.
#[derive(Debug)]
struct FileBook {
    state: Mutex<(File, BTreeMap<String, u32>)>,
}

impl FileBook {
    fn open(folder: &Path) -> Self {
        let path = folder.join("book");
        let mut done = BTreeMap::new();
        for line in lines(folder) {
            if let Line::Done(key) = line {
                *done.entry(key).or_default() += 1;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        Self {
            state: Mutex::new((file, done)),
        }
    }

    fn is_done(&self, key: &str) -> bool {
        self.state.lock().unwrap().1.contains_key(key)
    }
}

fn append(file: &mut File, sign: char, key: &str) {
    file.write_all(format!("{sign} {key}\n").as_bytes()).unwrap();
    file.sync_data().unwrap();
}

impl Book for FileBook {
    fn done(&self, key: &str) -> Option<u32> {
        let mut state = self.state.lock().unwrap();
        let (file, done) = &mut *state;
        append(file, '+', key);
        let times = done.entry(key.to_owned()).or_default();
        *times += 1;
        Some(*times)
    }

    fn confirmed(&self, key: &str) {
        append(&mut self.state.lock().unwrap().0, '=', key);
    }
}

fn lines(folder: &Path) -> Vec<Line> {
    let text = fs::read_to_string(folder.join("book")).unwrap_or_default();
    let read = |line: &str| match line.split_once(' ').unwrap() {
        ("+", key) => Line::Done(key.to_owned()),
        ("=", key) => Line::Confirmed(key.to_owned()),
        other => panic!("{other:?}"),
    };
    text.lines().map(read).collect()
}

fn open(folder: &Path, book: Arc<dyn Book>) -> Builder {
    Hive::open(folder.join("hive.db"))
        .agent(Machine(book))
        .migrations(&EFFECTS)
        .concurrency(4)
}

/// Works until it is killed.
async fn work(folder: &Path) {
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let book = Arc::new(FileBook::open(folder));
    // The one before was waited for, so its lock is gone.
    let hive = open(folder, book.clone()).start().await.unwrap();
    let programs = program::sample(number(SEED), usize::try_from(number(COUNT)).unwrap());
    program::submit(&hive, &programs).await.unwrap();
    program::answer(hive, move |key| book.is_done(key)).await.unwrap();
}

fn start(folder: &Path, seed: u64, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kill::nothing_is_lost_or_done_twice", "--exact"])
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .env(COUNT, count.to_string())
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("worker.log")).unwrap())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return work(Path::new(&folder)).await;
    }
    let seed =
        std::env::var("HIVE_SEED").map_or_else(|_| SystemRng.next_u64() % 1_000_000, |text| text.parse().unwrap());
    println!("HIVE_SEED={seed}");
    let (home, rng) = (Home::new(), SeededRng::new(seed));
    let folder = home.path("");
    for round in 1..=ROUNDS {
        let mut worker = start(&folder, seed, round * PROGRAMS_PER_ROUND);
        // Some die before they have opened the database, some in the middle of their work.
        tokio::time::sleep(Duration::from_millis(rng.next_u64() % 400)).await;
        let ended = worker.try_wait().unwrap();
        let log = || fs::read_to_string(folder.join("worker.log")).unwrap();
        assert!(
            ended.is_none(),
            "the worker of round {round} ended by itself: {}",
            log()
        );
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let book = Arc::new(FileBook::open(&folder));
    let before = lines(&folder).len();
    assert!(before > 10, "the workers did nothing");
    let hive = open(&folder, book.clone()).start().await.unwrap();
    let programs = program::sample(seed, ROUNDS * PROGRAMS_PER_ROUND);
    let ids = program::submit(&hive, &programs).await.unwrap();
    let looked_up = book.clone();
    let answering = tokio::spawn(program::answer(hive.clone(), move |key| looked_up.is_done(key)));
    for id in &ids {
        soon(hive.task::<u64>(*id).result()).await.unwrap();
    }
    answering.abort();
    program::verify(&hive, &programs, &ids, &Default::default(), &lines(&folder)).await;
    hive.shutdown().await.unwrap();
}
