//! What the database room costs, beside bare loops on the same disk in the same minute.
//!
//! `cargo bench -p hive-core --bench storage` prints one `figure <name> <value> <unit>` line per figure and then says of each
//! bar whether it is met. Disks differ by the hour, so the ratios are what counts: every round measures the disk, the
//! bare loops and [`Db`](hive_core::db::Db) one after another, a ratio is taken within its round, and a figure is the
//! median over the rounds, of latencies the median of each round's. `HIVE_BENCH_ROUNDS` sets how many there are; `HIVE_BENCH_ONLY` keeps to the loads whose name holds
//! it, for example `64.1k`.
//!
//! - `raw.sqlite.naive` is what most programs do: one connection, one commit per write.
//! - `raw.sqlite.group` commits whatever waits at once and syncs within the commit.
//! - `raw.sqlite.pipelined` commits without a sync and answers after a stage of its own has synced the log.
//! - `db.sqlite.raw_ratio` is to the better of these two.
//!
//! A name ends in the number of writers, with `.1k` for rows of 1 KiB in place of 200 bytes.

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

mod bare;
mod disk;
mod figures;
mod load;
mod own;

use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::bare::Form;
use crate::figures::{Bar, Figures, SYNCS};
use crate::load::{Load, Measured};

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(400);
const WRITERS: [usize; 5] = [1, 16, 64, 256, 1_000];
const BYTES: [usize; 2] = [200, 1024];
/// Writers while reads are measured.
const WRITERS_BESIDE: usize = 64;
const READERS: [usize; 2] = [1, 16];
/// Threads that sync for the pipelined loop: more of them did not win anywhere.
const SYNC_THREADS: usize = 2;

pub(crate) const TABLE: &str =
    "CREATE TABLE item (id INTEGER PRIMARY KEY, made INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
                                CREATE INDEX item_by_made ON item (made);";
pub(crate) const INSERT: &str = "INSERT INTO item (made, body) VALUES (?1, ?2)";

/// Set in the process that only measures its own memory.
const MEMORY: &str = "HIVE_BENCH_MEMORY";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if std::env::var_os(MEMORY).is_some() {
        println!("{}", own::growth_mib(&runtime, load(1_000, 200)));
        return;
    }
    let rounds = setting("HIVE_BENCH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let only = setting("HIVE_BENCH_ONLY").unwrap_or_default();
    let mut figures = Figures::default();
    for _ in 0..rounds {
        figures.record(SYNCS, disk::syncs_per_s(SPAN), "syncs/s");
        for bytes in BYTES {
            let load = load(1, bytes);
            writes(&mut figures, "raw.sqlite.naive", load, &bare::naive(load));
            for load in WRITERS.map(|writers| Load { writers, ..load }) {
                if load.suffix().contains(&only) {
                    sqlite_writes(&runtime, &mut figures, load);
                }
            }
        }
        let hundred = load(100, 200);
        writes(&mut figures, "db.sqlite", hundred, &own::writes(&runtime, hundred));
        sqlite_reads(&runtime, &mut figures);
        figures.record("db.sqlite.open_ms", own::open_ms(&runtime), "ms");
        figures.record("db.sqlite.memory_mib", memory_mib(), "MiB");
    }
    for bytes in BYTES {
        for writers in WRITERS {
            ratios(&mut figures, load(writers, bytes));
        }
    }
    figures.print();
    figures.judge(&bars("sqlite"));
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn load(writers: usize, bytes: usize) -> Load {
    Load {
        writers,
        bytes,
        span: SPAN,
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

/// The three figures of every loop.
fn writes(figures: &mut Figures, of: &str, load: Load, measured: &Measured) {
    let suffix = load.suffix();
    figures.record(&format!("{of}.write_p50_ms.{suffix}"), measured.p50_ms(), "ms");
    figures.record(&format!("{of}.write_p99_ms.{suffix}"), measured.p99_ms(), "ms");
    figures.record(&format!("{of}.writes_per_s.{suffix}"), measured.per_s(), "writes/s");
}

fn sqlite_writes(runtime: &Runtime, figures: &mut Figures, load: Load) {
    let bare = |form| bare::writer(runtime, load, form);
    writes(figures, "raw.sqlite.group", load, &bare(Form::Group));
    writes(figures, "db.sqlite", load, &own::writes(runtime, load));
    writes(
        figures,
        "raw.sqlite.pipelined",
        load,
        &bare(Form::Pipelined(SYNC_THREADS)),
    );
}

fn ratios(figures: &mut Figures, load: Load) {
    let suffix = load.suffix();
    let of = |name: &str| format!("{name}.writes_per_s.{suffix}");
    let (own, group, pipelined) = (of("db.sqlite"), of("raw.sqlite.group"), of("raw.sqlite.pipelined"));
    let naive = format!("raw.sqlite.naive.writes_per_s.{}", Load { writers: 1, ..load }.suffix());
    figures.ratio(&format!("db.sqlite.raw_ratio.{suffix}"), &own, &[&group, &pipelined]);
    figures.ratio(&format!("db.sqlite.naive_ratio.{suffix}"), &own, &[&naive]);
    figures.ratio(&format!("raw.sqlite.pipelined_ratio.{suffix}"), &pipelined, &[&group]);
}

fn sqlite_reads(runtime: &Runtime, figures: &mut Figures) {
    for readers in READERS {
        let measured = own::reads(runtime, readers, load(WRITERS_BESIDE, 200));
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
