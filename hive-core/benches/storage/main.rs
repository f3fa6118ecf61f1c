//! What the database room costs, beside bare loops on the same disk in the same minute.
//!
//! `cargo bench -p hive-core --bench storage` prints one `figure <name> <value> <unit>` line per figure and then says of each
//! bar whether it is met. Disks differ by the hour and by the second, so the ratios are what counts: in every round the bare
//! loops and [`Db`](hive_core::db::Db) take turns in short slices on databases that stay open, and a ratio is the median
//! of those within the slices. Other figures are medians over the rounds. `HIVE_BENCH_ROUNDS` sets how many there are;
//! `HIVE_BENCH_ONLY` keeps to the loads whose name holds it, for example `64.1k`.
//!
//! - `raw.sqlite.naive` is what most programs do: one connection, one commit per write. The number in its name is that of the load
//!   beside which it was measured; it has one writer.
//! - `raw.sqlite.group` commits whatever waits at once and syncs within the commit.
//! - `raw.sqlite.pipelined` commits without a sync and answers after a stage of its own has synced the log.
//! - `db.sqlite.raw_ratio` is to the better of these two.
//!
//! With `--features postgres,test-util` the same on a private PostgreSQL server with its syncs on. `HIVE_BENCH_ENGINE` keeps to one
//! engine, `sqlite` or `postgres`.
//!
//! - `raw.postgres.naive`: one connection, one `INSERT` per transaction.
//! - `raw.postgres.pool`: the same on 32 connections.
//! - `raw.postgres.unnest`: one connection, on which whatever waits is one `INSERT … SELECT unnest(…)`; `unnest2` has two of them.
//! - `db.postgres` appends; `db.postgres.closure` inserts one row in a closure, serializable, and `db.postgres.read_committed`
//!   without that.
//! - `db.postgres.raw_ratio` is to the best of the bare loops.
//!
//! A name ends in the number of writers, with `.1k` for rows of 1 KiB in place of 200 bytes.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "figures go to standard output")]

mod bare;
#[cfg(all(feature = "postgres", feature = "test-util"))]
mod bare_server;
mod own;
#[cfg(all(feature = "postgres", feature = "test-util"))]
mod server;

use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::bare::{Bare, Form, Naive};
use crate::own::Own;
use hive_core_bench::{Bar, Figures, Load, Measured, SYNCS, contest};

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(400);
/// Turns that each contestant gets in a round.
const SLICES: usize = 4;
const SLICE: Duration = Duration::from_millis(80);
const WRITERS: [usize; 6] = [1, 16, 64, 100, 256, 1_000];
const BYTES: [usize; 2] = [200, 1024];
/// Writers while reads are measured.
const WRITERS_BESIDE: usize = 64;
const READERS: [usize; 2] = [1, 16];
const GROUP: Form = Form {
    syncs: None,
    linger: 10,
    log: (500, 1_000),
};
const PIPELINED: Form = Form {
    syncs: Some(2),
    ..GROUP
};
/// The contestants, in the order in which they are measured.
const SQLITE: [&str; 4] = [
    "raw.sqlite.naive",
    "raw.sqlite.group",
    "db.sqlite",
    "raw.sqlite.pipelined",
];

pub(crate) const TABLE: &str =
    "CREATE TABLE item (id INTEGER PRIMARY KEY, made INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
                                CREATE INDEX item_by_made ON item (made);";
pub(crate) const INSERT: &str = "INSERT INTO item (made, body) VALUES (?1, ?2)";

const SQLITE_ENGINE: &str = "sqlite";
const POSTGRES_ENGINE: &str = "postgres";
const HAS_POSTGRES: bool = cfg!(all(feature = "postgres", feature = "test-util"));

/// Set in the process that only measures its own memory.
const MEMORY: &str = "HIVE_BENCH_MEMORY";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if std::env::var_os(MEMORY).is_some() {
        println!(
            "{}",
            own::growth_mib(
                &runtime,
                Load {
                    span: SPAN,
                    ..load(1_000, 200)
                }
            )
        );
        return;
    }
    let rounds = setting("HIVE_BENCH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let only = setting("HIVE_BENCH_ONLY").unwrap_or_default();
    let loads: Vec<Load> = BYTES
        .into_iter()
        .flat_map(|bytes| WRITERS.map(|writers| load(writers, bytes)))
        .filter(|load| load.suffix().contains(&only))
        .collect();
    let engine = setting("HIVE_BENCH_ENGINE");
    let wanted = |name: &str| engine.as_ref().is_none_or(|engine| engine == name);
    assert!(
        wanted(SQLITE_ENGINE) || wanted(POSTGRES_ENGINE),
        "HIVE_BENCH_ENGINE is neither {SQLITE_ENGINE} nor {POSTGRES_ENGINE}"
    );
    let mut figures = Figures::default();
    if wanted(SQLITE_ENGINE) {
        for _ in 0..rounds {
            figures.record(SYNCS, hive_core_bench::syncs_per_s(SPAN), "syncs/s");
            for &load in &loads {
                sqlite_writes(&runtime, &mut figures, load);
            }
            sqlite_reads(&runtime, &mut figures);
            figures.record("db.sqlite.open_ms", own::open_ms(&runtime), "ms");
            figures.record("db.sqlite.memory_mib", memory_mib(), "MiB");
        }
        for &load in &loads {
            ratios(&mut figures, load);
        }
    }
    if wanted(POSTGRES_ENGINE) {
        postgres(&runtime, &mut figures, &loads, rounds);
    }
    figures.print();
    for engine in [SQLITE_ENGINE, POSTGRES_ENGINE] {
        if wanted(engine) && (engine != POSTGRES_ENGINE || HAS_POSTGRES) {
            figures.judge(&bars(engine));
        }
    }
}

#[cfg(all(feature = "postgres", feature = "test-util"))]
fn postgres(runtime: &Runtime, figures: &mut Figures, loads: &[Load], rounds: usize) {
    let bench = server::Bench::open(runtime);
    for _ in 0..rounds {
        figures.record(SYNCS, hive_core_bench::syncs_per_s(SPAN), "syncs/s");
        bench.empty(runtime);
        for &load in loads {
            bench.writes(runtime, figures, load);
        }
        bench.reads(runtime, figures, SPAN);
    }
    bench.close(runtime);
    for &load in loads {
        server::ratios(figures, load);
    }
}

#[cfg(not(all(feature = "postgres", feature = "test-util")))]
fn postgres(_: &Runtime, _: &mut Figures, _: &[Load], _: usize) {
    println!("PostgreSQL is not measured: it is compiled in with --features postgres,test-util");
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn load(writers: usize, bytes: usize) -> Load {
    Load {
        writers,
        bytes,
        span: SLICE,
    }
}

fn bars(engine: &str) -> Vec<(String, Bar)> {
    let bar = |name: &str, bar| (format!("db.{engine}.{name}"), bar);
    vec![
        bar("raw_ratio.64", Bar::Ratio(0.7)),
        bar("naive_ratio.64", Bar::Ratio(10.0)),
        bar("write_p99_ms.100", Bar::BelowMs(50.0)),
        bar("read_p99_ms.1", Bar::BelowMs(10.0)),
        bar("read_p99_ms.16", Bar::BelowMs(10.0)),
    ]
}

/// What every loop's figures are. Rates are kept slice by slice; a percentile needs all of them.
fn writes(figures: &mut Figures, of: &str, load: Load, slices: Vec<Measured>) {
    let suffix = load.suffix();
    for slice in &slices {
        figures.record(&format!("{of}.writes_per_s.{suffix}"), slice.per_s(), "writes/s");
    }
    let round = Measured::join(slices);
    figures.record(&format!("{of}.write_p50_ms.{suffix}"), round.p50_ms(), "ms");
    figures.record(&format!("{of}.write_p99_ms.{suffix}"), round.p99_ms(), "ms");
}

fn sqlite_writes(runtime: &Runtime, figures: &mut Figures, load: Load) {
    let (naive, group, pipelined) = (Naive::open(), Bare::open(GROUP), Bare::open(PIPELINED));
    let own = Own::open(runtime);
    let slices = contest(
        SLICES,
        &[
            &|| naive.measure(load),
            &|| group.measure(runtime, load),
            &|| own.measure(runtime, load),
            &|| pipelined.measure(runtime, load),
        ],
    );
    for (of, slices) in SQLITE.into_iter().zip(slices) {
        writes(figures, of, load, slices);
    }
    own.close(runtime);
    group.close();
    pipelined.close();
}

fn ratios(figures: &mut Figures, load: Load) {
    let suffix = load.suffix();
    let [naive, group, own, pipelined] = SQLITE.map(|of| format!("{of}.writes_per_s.{suffix}"));
    figures.ratio(&format!("db.sqlite.raw_ratio.{suffix}"), &own, &[&group, &pipelined]);
    figures.ratio(&format!("db.sqlite.naive_ratio.{suffix}"), &own, &[&naive]);
    figures.ratio(&format!("raw.sqlite.pipelined_ratio.{suffix}"), &pipelined, &[&group]);
}

fn sqlite_reads(runtime: &Runtime, figures: &mut Figures) {
    for readers in READERS {
        let measured = own::reads(
            runtime,
            readers,
            Load {
                span: SPAN,
                ..load(WRITERS_BESIDE, 200)
            },
        );
        let mut record = |name: &str, value, unit| figures.record(&format!("db.sqlite.{name}.{readers}"), value, unit);
        record("reads_per_s", measured.per_s(), "reads/s");
        record("read_p50_ms", measured.p50_ms(), "ms");
        record("read_p99_ms", measured.p99_ms(), "ms");
    }
}

/// In a process of its own: one that has measured before keeps what it was given.
fn memory_mib() -> f64 {
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own).env(MEMORY, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
