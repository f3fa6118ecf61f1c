//! What the bus costs, beside the bare engine or client under it, on the same disk in the same minute.
//!
//! `cargo bench -p hive-bus --bench bus --features postgres,redis,nats,test-util` prints one `figure <name> <value> <unit>` line
//! per figure and then says of each bar whether it is met; without a feature, that transport is not measured. Contestants take
//! turns in short slices, and a ratio is the median of those within the slices; other figures are medians over the rounds.
//! `HIVE_BENCH_ROUNDS` sets how many there are, `HIVE_BENCH_ONLY` keeps to the parts whose name holds it (`sqlite`, `postgres`,
//! `redis`, `nats`, `match`, `fanout`, `deliver`, `messages`, `idle`), and `HIVE_BENCH_IDLE_S` says for how long the idle
//! consumers are watched.
//!
//! - `bus.<transport>.events_per_s.<n>`: events of 200 B that were acknowledged, by so many publishers one at a time; `batched`
//!   is eight publishers with a hundred at a time. `raw.<transport>.…` is the bare loop that inserts or appends the same bytes,
//!   `bus.<transport>.raw_ratio.…` the bus to that.
//! - `bus.<transport>.consumed_per_s`: events that a durable consumer was given and acknowledged, everything on record.
//! - `bus.deliver_p50_ms`, `bus.deliver_p99_ms`: from the call that publishes to the subscriber that has it, in one process, the
//!   sync included; `bus.deliver_across_…` the same between two processes on PostgreSQL.
//! - `bus.fanout_per_s.<n>`: events handed out to so many subscribers of everything, all together.
//! - `bus.match_us.10000`: one topic against so many patterns.
//! - `bus.sqlite.messages_per_s`: messages that were sent, received and acknowledged.
//! - `bus.idle_cpu_ratio`: what part of one processor a thousand idle consumers take.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and has no clock port"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop"
)]

mod deliver;
mod fanout;
mod idle;
mod matching;
mod messages;
#[cfg(all(feature = "nats", feature = "test-util"))]
mod nats;
#[cfg(all(feature = "postgres", feature = "test-util"))]
mod postgres;
mod publish;
#[cfg(all(feature = "redis", feature = "test-util"))]
mod redis;
mod sqlite;

use std::time::Duration;

use hive_core_bench::{Bar, Figures, SYNCS, syncs_per_s};
use tokio::runtime::Runtime;

const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_millis(400);
/// Turns that each contestant gets in a round.
const SLICES: usize = 4;
const SLICE: Duration = Duration::from_millis(150);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if deliver::is_child() {
        return deliver::child(&runtime);
    }
    let rounds = setting("HIVE_BENCH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let only = setting("HIVE_BENCH_ONLY").unwrap_or_default();
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
    publish::ratios(&mut figures);
    figures.print();
    figures.judge(&bars);
}

type Part = fn(&Runtime, &mut Figures) -> Vec<(String, Bar)>;

const PARTS: &[(&str, Part)] = &[
    ("match", matching::run),
    ("sqlite", sqlite::run),
    ("deliver", deliver::run),
    ("fanout", fanout::run),
    #[cfg(all(feature = "postgres", feature = "test-util"))]
    ("postgres", postgres::run),
    #[cfg(all(feature = "redis", feature = "test-util"))]
    ("redis", redis::run),
    #[cfg(all(feature = "nats", feature = "test-util"))]
    ("nats", nats::run),
    ("messages", messages::run),
    ("idle", idle::run),
];

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
