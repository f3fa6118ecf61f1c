//! What consumers cost that have nothing to do.

use std::time::{Duration, Instant};

use hive_core_bench::{Bar, Figures};
use tokio::runtime::Runtime;

use crate::{setting, sqlite};

const CONSUMERS: usize = 1_000;
const SECONDS: u64 = 10;

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let (own, _folder) = sqlite::open(runtime);
    let seconds = setting("HIVE_BENCH_IDLE_S").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let before = memory_kib();
    let (ratio, bytes) = runtime.block_on(async {
        let mut idle = Vec::new();
        for number in 0..CONSUMERS {
            let name = format!("idle-{number}");
            idle.push(own.bus.consumer(name, format!("idle.{number}.>")).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let bytes = (memory_kib() - before) * 1_024.0 / CONSUMERS as f64;
        let (begun, used) = (Instant::now(), processor_s());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        ((processor_s() - used) / begun.elapsed().as_secs_f64(), bytes)
    });
    figures.record("bus.idle_cpu_ratio", ratio, "processors");
    figures.record("bus.idle_bytes", bytes, "B/consumer");
    own.close(runtime);
    vec![("bus.idle_cpu_ratio".to_owned(), Bar::Below(0.002))]
}

/// Seconds that this process has run on a processor: user and system time in `/proc/self/stat`, in hundredths.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn memory_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
