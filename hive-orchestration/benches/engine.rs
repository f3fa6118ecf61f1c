//! How fast a hive starts and how much it does. Prints `figure <name> <value> <unit>` lines; medians of several rounds.
//!
//! Every task and step is acknowledged on disk (WAL, synchronous = FULL), so `disk.syncs_per_s` stands beside the rest.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use hive_orchestration::{Context, Failure, Hive, agent_fn};
use tempfile::TempDir;

const TASKS: usize = 4_000;
const STEPS: usize = 20;
const AGENTS: usize = 64;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut figures: Vec<(&str, &str, Vec<f64>)> = Vec::new();
        for _ in 0..ROUNDS {
            let dir = tempfile::tempdir().unwrap();
            let mut add = |name, unit, value| match figures.iter_mut().find(|(known, _, _)| *known == name) {
                Some((_, _, values)) => values.push(value),
                None => figures.push((name, unit, vec![value])),
            };
            add("disk.syncs_per_s", "1/s", syncs_per_s(dir.path()));
            let (cold, warm) = start(&dir).await;
            add("start.cold_ms", "ms", cold);
            add("start.warm_ms", "ms", warm);
            add("engine.sqlite.noop_tasks_per_s", "1/s", noops(&dir).await);
            add("engine.sqlite.task_latency_ms", "ms", latency(&dir).await);
            add("durable.sqlite.steps_per_s.64", "1/s", steps(&dir).await);
        }
        for (name, unit, mut values) in figures {
            values.sort_by(f64::total_cmp);
            println!(
                "figure {name} {:.3} {unit}",
                values.get(values.len() / 2).copied().unwrap_or_default()
            );
        }
    });
}

fn syncs_per_s(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("sync")).unwrap();
    let page = [7_u8; 4096];
    let (started, count) = (Instant::now(), 200);
    for _ in 0..count {
        file.rewind().unwrap();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn builder(dir: &TempDir, name: &str) -> hive_orchestration::builders::Builder {
    let noop = agent_fn("noop", async |_: Context, n: usize| Ok::<_, Failure>(n));
    let stepper = agent_fn("stepper", async |cx: Context, _: ()| {
        for n in 0..STEPS {
            cx.step("step", async || Ok::<_, Failure>(n)).await?;
        }
        Ok::<_, Failure>(())
    });
    Hive::open(dir.path().join(name))
        .agent(noop)
        .agent(stepper)
        .concurrency(AGENTS)
}

/// From nothing, and from a file that is there, to the first completed task.
async fn start(dir: &TempDir) -> (f64, f64) {
    let mut took = [0.0; 2];
    for slot in &mut took {
        let started = Instant::now();
        let hive = builder(dir, "start.db").start().await.unwrap();
        let task = hive.submit_named("noop", &1).await.unwrap();
        task.result().await.unwrap();
        *slot = started.elapsed().as_secs_f64() * 1e3;
        hive.shutdown().await.unwrap();
    }
    let [cold, warm] = took;
    (cold, warm)
}

/// Tasks that do nothing, from submit to acknowledged output, submitted by 64 callers.
async fn noops(dir: &TempDir) -> f64 {
    let hive = builder(dir, "noop.db").start().await.unwrap();
    let started = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..AGENTS {
        let hive = hive.clone();
        callers.spawn(async move {
            for n in 0..TASKS / AGENTS {
                hive.submit_named("noop", &n).await.unwrap().result().await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let rate = TASKS as f64 / started.elapsed().as_secs_f64();
    hive.shutdown().await.unwrap();
    rate
}

/// One task at a time: submit, claim, run, complete, answer.
async fn latency(dir: &TempDir) -> f64 {
    let hive = builder(dir, "latency.db").start().await.unwrap();
    let mut took = Vec::new();
    for n in 0..200 {
        let started = Instant::now();
        hive.submit_named("noop", &n).await.unwrap().result().await.unwrap();
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    hive.shutdown().await.unwrap();
    took.sort_by(f64::total_cmp);
    took.get(took.len() / 2).copied().unwrap_or_default()
}

/// 64 tasks at once, each a chain of durable steps.
async fn steps(dir: &TempDir) -> f64 {
    let hive = builder(dir, "steps.db").start().await.unwrap();
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..AGENTS * 4 {
        tasks.push(hive.submit_named("stepper", &()).await.unwrap());
    }
    for task in tasks {
        task.result().await.unwrap();
    }
    let rate = (AGENTS * 4 * STEPS) as f64 / started.elapsed().as_secs_f64();
    hive.shutdown().await.unwrap();
    rate
}
