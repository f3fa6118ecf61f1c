//! What durable agents cost: their steps, beside a bare loop that writes the same rows on the same disk in the same minute; what they
//! leave on disk and hold in memory; and how soon they go on.
//!
//! `cargo bench -p hive-orchestration --bench durable --features postgres` prints one `figure <name> <value> <unit>` line per figure and
//! then says of each bar whether it is met; without the feature PostgreSQL is not measured. Everything that is counted was acknowledged
//! with full durability. Figures are medians over the rounds; a ratio is the median of those within the rounds. `HIVE_BENCH_ROUNDS` sets
//! how many there are, `HIVE_BENCH_ONLY` keeps to the parts whose name holds it (`sqlite`, `postgres`, `disk`, `resume`, `signal`,
//! `waiting`), `HIVE_BENCH_WAITING` how many tasks wait in the last.
//!
//! - `durable.<engine>.steps_per_s.<n>`: small steps a second of so many agents at once, each one after the other.
//! - `raw.sqlite.steps_per_s.64`: a bare loop that asks for 64 leases and writes 64 entries of the journal in each commit;
//!   `durable.sqlite.raw_ratio.64` the agents to that.
//! - `durable.bytes_per_step`: what the file grows by for each small step.
//! - `durable.resume_ms.1000`: from the start of a hive until a task that has done a thousand steps is behind them again.
//! - `durable.signal_p50_ms`, `…_p99_ms`: from a signal to a parked task until its code goes on.
//! - `durable.waiting_bytes`: memory of the process for each task that waits.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

mod raw;
mod steps;
mod waits;

use std::time::Duration;

use hive_core_bench::{Bar, Figures, SYNCS, syncs_per_s};
use tokio::runtime::Runtime;

const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_millis(400);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let rounds = std::env::var("HIVE_BENCH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let only = std::env::var("HIVE_BENCH_ONLY").unwrap_or_default();
    let mut figures = Figures::default();
    let mut bars = Vec::new();
    for round in 0..rounds {
        figures.record(SYNCS, syncs_per_s(SPAN), "syncs/s");
        for (name, part) in PARTS {
            if name.contains(&only) {
                let part_bars = part(&runtime, &mut figures);
                if round == 0 {
                    bars.extend(part_bars);
                }
            }
        }
    }
    figures.ratio(
        "durable.sqlite.raw_ratio.64",
        "durable.sqlite.steps_per_s.64",
        &["raw.sqlite.steps_per_s.64"],
    );
    figures.print();
    figures.judge(&bars);
}

type Part = fn(&Runtime, &mut Figures) -> Vec<(String, Bar)>;

const PARTS: &[(&str, Part)] = &[
    ("sqlite", steps::sqlite),
    #[cfg(feature = "postgres")]
    ("postgres", steps::postgres),
    ("disk", steps::disk),
    ("resume", waits::resume),
    ("signal", waits::signal),
    ("waiting", waits::waiting),
];
