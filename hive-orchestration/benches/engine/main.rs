//! What the engine does in a second, beside a bare loop that writes the same rows on the same disk in the same minute.
//!
//! `cargo bench -p hive-orchestration --bench engine --features postgres` prints one `figure <name> <value> <unit>` line per figure
//! and then says of each bar whether it is met; without the feature PostgreSQL is not measured. Everything that is counted was
//! acknowledged with full durability. Figures are medians over the rounds; a ratio is the median of those within the rounds.
//! `HIVE_BENCH_ROUNDS` sets how many there are, `HIVE_BENCH_ONLY` keeps to the parts whose name holds it (`start`, `sqlite`,
//! `postgres`, `claim`, `wake`, `recover`, `recover postgres`, `steps`, `crowd`, `idle`).
//!
//! - `engine.<engine>.noop_tasks_per_s`: tasks that do nothing, submitted a hundred at a time by sixteen callers and run to their
//!   acknowledged ends; `…_per_s.closed` by 100 callers one at a time. `raw.<engine>.noop_tasks_per_s` is the bare loop: the same
//!   rows of tasks, inputs, outputs and events in the same tables, without types, scheduling or handlers;
//!   `engine.<engine>.raw_ratio` the engine to that. `bare.<engine>.jobs_per_s` is the least that a queue can do: one narrow table,
//!   no events.
//! - `raw.<engine>.events_ratio`: the bare loop to the same without events, which is what it costs that every transition can be
//!   followed and traced.
//! - `engine.<engine>.burn_down_per_s`: 16,000 tasks that wait, from the moment that they may start until the last has ended.
//! - `engine.<engine>.limits_ratio.<n>`: noop tasks a second of a hundred keys under a limit on the agent, or three on agent, tenant and
//!   key, that are never reached, to the same without limits.
//! - `engine.<engine>.submit_per_s.<n>`: acknowledged submissions one after another, and in batches of a hundred.
//! - `engine.claim_ratio.1m`: noop tasks a second beside a million that have ended, to those in an empty database.
//! - `engine.wake_p50_ms`, `engine.wake_p99_ms`: from the commit of a submission until its agent runs, in a hive that was idle.
//! - `engine.recover_first_ms`, `engine.recover_all_ms`: from the start of a hive whose predecessor was killed with ten thousand
//!   tasks running until the first and the last of them runs again.
//! - `engine.postgres.recover_first_ms`, `engine.postgres.recover_all_ms`: the same where others share the database, from the death
//!   of a process, of which nobody is told, until one that is started then runs the first and the last of its tasks.
//! - `engine.steps_per_s.64`: durable steps of 64 agents at once.
//! - `engine.crowd_write_p99_ms`: a step's time when 100 agents work at once.
//! - `engine.idle_cpu_ratio`: what part of one processor a hive takes in which a hundred thousand tasks wait.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop"
)]

mod kit;
#[cfg(feature = "postgres")]
mod postgres;
mod raw;
#[cfg(feature = "postgres")]
mod raw_server;
mod sqlite;
mod trial;
#[cfg(feature = "postgres")]
mod victim;

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
    #[cfg(feature = "postgres")]
    victim::be(&runtime);
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
    for engine in ["sqlite", "postgres"] {
        let (own, raw) = (
            format!("engine.{engine}.noop_tasks_per_s"),
            format!("raw.{engine}.noop_tasks_per_s"),
        );
        figures.ratio(&format!("engine.{engine}.raw_ratio"), &own, &[&raw]);
        let silent = format!("raw.{engine}.silent_tasks_per_s");
        figures.ratio(&format!("raw.{engine}.events_ratio"), &raw, &[&silent]);
        let keyed = format!("engine.{engine}.keyed_tasks_per_s");
        for limits in [1, 3] {
            let limited = format!("engine.{engine}.limited_tasks_per_s.{limits}");
            figures.ratio(&format!("engine.{engine}.limits_ratio.{limits}"), &limited, &[&keyed]);
        }
    }
    figures.ratio(
        "engine.claim_ratio.1m",
        "engine.full.noop_tasks_per_s",
        &["engine.empty.noop_tasks_per_s"],
    );
    figures.print();
    figures.judge(&bars);
}

type Part = fn(&Runtime, &mut Figures) -> Vec<(String, Bar)>;

const PARTS: &[(&str, Part)] = &[
    ("start", trial::start),
    ("sqlite", sqlite::run),
    #[cfg(feature = "postgres")]
    ("postgres", postgres::run),
    ("claim", trial::claim),
    ("wake", trial::wake),
    ("steps", trial::steps),
    ("crowd", trial::crowd),
    ("recover", trial::recover),
    #[cfg(feature = "postgres")]
    ("recover postgres", victim::recover),
    ("idle", trial::idle),
];
