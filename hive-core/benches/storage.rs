//! What the database room costs, beside bare loops on the same disk in the same minute.
//!
//! `cargo bench -p hive-core --bench storage` prints one `figure <name> <value> <unit>` line per figure. Disks differ by the
//! hour, so the ratios are what counts: every round measures the disk, both bare loops and [`Db`] one after another, and
//! a ratio is the median over the rounds.
//!
//! - `naive` is what most programs do: one connection, one commit per write.
//! - `raw` is the best bare loop: a writer thread that commits everything which waits at once and lingers a little for more,
//!   without savepoints, erased closures, hooks or limits. It is the ceiling for [`Db`].

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop"
)]
#![expect(clippy::print_stdout, reason = "figures go to standard output")]

use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hive_core::db::{Db, Migration, Migrations, Options};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const WRITERS: [usize; 4] = [1, 16, 64, 256];
const SPAN: Duration = Duration::from_millis(700);
const BODY_BYTES: usize = 200;

const TABLE: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, made INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
                     CREATE INDEX item_by_made ON item (made);";
const INSERT: &str = "INSERT INTO item (made, body) VALUES (?1, ?2)";

static ITEMS: Migrations = Migrations {
    owner: "bench",
    list: &[Migration {
        version: 1,
        name: "item",
        up: TABLE,
        down: "DROP TABLE item;",
    }],
};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut syncs = Vec::new();
    let mut naive = Vec::new();
    let mut raw = vec![Vec::new(); WRITERS.len()];
    let mut own = vec![Vec::new(); WRITERS.len()];
    let mut p99 = Vec::new();
    for _ in 0..ROUNDS {
        syncs.push(measure_syncs());
        naive.push(measure_naive());
        for (index, &writers) in WRITERS.iter().enumerate() {
            raw[index].push(measure_raw(&runtime, writers).per_s());
            own[index].push(measure_db(&runtime, writers).per_s());
        }
        p99.push(measure_db(&runtime, 100).p99_ms());
    }
    figure("disk.syncs_per_s", median(&syncs), "syncs/s");
    figure("raw.naive.writes_per_s", median(&naive), "writes/s");
    for (index, writers) in WRITERS.iter().enumerate() {
        let ratios = |to: &[f64]| median(&own[index].iter().zip(to).map(|(own, to)| own / to).collect::<Vec<_>>());
        figure(
            &format!("raw.group.writes_per_s.{writers}"),
            median(&raw[index]),
            "writes/s",
        );
        figure(
            &format!("db.sqlite.writes_per_s.{writers}"),
            median(&own[index]),
            "writes/s",
        );
        figure(&format!("db.sqlite.raw_ratio.{writers}"), ratios(&raw[index]), "ratio");
        figure(&format!("db.sqlite.naive_ratio.{writers}"), ratios(&naive), "ratio");
    }
    figure("db.sqlite.write_p99_ms.100", median(&p99), "ms");
}

fn figure(name: &str, value: f64, unit: &str) {
    println!("figure {name} {value:.3} {unit}");
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How long each acknowledged write took, and all of them together.
struct Measured {
    writes: Vec<Duration>,
    span: Duration,
}

impl Measured {
    fn per_s(&self) -> f64 {
        self.writes.len() as f64 / self.span.as_secs_f64()
    }

    fn p99_ms(mut self) -> f64 {
        self.writes.sort_unstable();
        self.writes[self.writes.len() * 99 / 100].as_secs_f64() * 1e3
    }
}

/// Overwrites 4 KiB and syncs, over and over: what a commit costs at least.
fn measure_syncs() -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path().join("sync"))
        .unwrap();
    let page = [7; 4096];
    file.write_all(&page).unwrap();
    file.sync_all().unwrap();
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < SPAN {
        file.rewind().unwrap();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn bare_connection(path: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192")
        .unwrap();
    conn.execute_batch(TABLE).unwrap();
    conn
}

fn measure_naive() -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let conn = bare_connection(&dir.path().join("bench.db"));
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < SPAN {
        conn.prepare_cached(INSERT)
            .unwrap()
            .execute(rusqlite::params![count, [7_u8; BODY_BYTES].as_slice()])
            .unwrap();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

type Row = (i64, Vec<u8>, oneshot::Sender<()>);

fn measure_raw(runtime: &Runtime, writers: usize) -> Measured {
    let dir = tempfile::tempdir().unwrap();
    let conn = bare_connection(&dir.path().join("bench.db"));
    let (rows, waiting) = channel::<Row>();
    let writer = std::thread::spawn(move || raw_writer(&conn, &waiting));
    let measured = measure(runtime, writers, move |made| {
        let rows = rows.clone();
        async move {
            let (answer, written) = oneshot::channel();
            rows.send((made, vec![7; BODY_BYTES], answer)).unwrap();
            written.await.unwrap();
        }
    });
    writer.join().unwrap();
    measured
}

fn raw_writer(conn: &rusqlite::Connection, waiting: &Receiver<Row>) {
    let mut begin = conn.prepare("BEGIN IMMEDIATE").unwrap();
    let mut insert = conn.prepare(INSERT).unwrap();
    let mut commit = conn.prepare("COMMIT").unwrap();
    let (mut batch, mut parties, mut usual) = (Vec::new(), 1, Duration::ZERO);
    loop {
        if batch.is_empty() {
            let Ok(row) = waiting.recv() else { return };
            batch.push(row);
        }
        batch.extend(waiting.try_iter());
        let until = Instant::now() + usual / 10;
        while batch.len() < parties
            && let Ok(row) = waiting.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            batch.push(row);
        }
        let begun = Instant::now();
        begin.execute([]).unwrap();
        for (made, body, _) in &batch {
            insert.execute(rusqlite::params![made, body]).unwrap();
        }
        commit.execute([]).unwrap();
        usual = (usual * 7 + begun.elapsed()) / 8;
        let next: Vec<Row> = waiting.try_iter().collect();
        parties = batch.len() + next.len();
        for (.., answer) in std::mem::replace(&mut batch, next) {
            let _gone = answer.send(());
        }
    }
}

fn measure_db(runtime: &Runtime, writers: usize) -> Measured {
    let dir = tempfile::tempdir().unwrap();
    let db = runtime
        .block_on(Db::open(Options::file(dir.path().join("bench.db")).migrations(&ITEMS)))
        .unwrap();
    let handle = db.clone();
    let measured = measure(runtime, writers, move |made| {
        let db = handle.clone();
        async move {
            let body = vec![7_u8; BODY_BYTES];
            db.write(move |tx| tx.execute(INSERT, &[&made, &body])).await.unwrap();
        }
    });
    runtime.block_on(db.close()).unwrap();
    measured
}

/// Runs `write` in `writers` tasks, each awaiting its last one first, until time is up.
fn measure<F>(runtime: &Runtime, writers: usize, write: impl Fn(i64) -> F + Clone + Send + 'static) -> Measured
where
    F: Future<Output = ()> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (write, stop) = (write.clone(), Arc::clone(&stop));
            tasks.spawn(async move {
                let (mut writes, mut made) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    write(made).await;
                    writes.push(begun.elapsed());
                    made += 1;
                }
                writes
            });
        }
        drop(write);
        tokio::time::sleep(SPAN).await;
        stop.store(true, Ordering::Relaxed);
        let writes = tasks.join_all().await.into_iter().flatten().collect();
        Measured {
            writes,
            span: started.elapsed(),
        }
    })
}
