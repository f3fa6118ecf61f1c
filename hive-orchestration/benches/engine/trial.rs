//! One question each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hive_core_bench::{Bar, Figures, Measured};
use hive_orchestration::{Context, Failure, Hive, Signal, agent_fn};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::kit;

const STEPS: usize = 20;

/// From nothing, and from a file that is there, to the first completed task.
pub(crate) fn start(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["start.cold_ms", "start.warm_ms"] {
        let begun = Instant::now();
        let hive = runtime.block_on(async {
            let hive = kit::noop(Hive::open(folder.path().join("hive.db")))
                .start()
                .await
                .unwrap();
            hive.submit_named("noop", &1).await.unwrap().result().await.unwrap();
            hive
        });
        figures.record(name, begun.elapsed().as_secs_f64() * 1e3, "ms");
        runtime.block_on(hive.shutdown()).unwrap();
    }
    Vec::new()
}

/// Whether those who have ended cost those who come anything.
pub(crate) fn claim(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    const ENDED: i64 = 1_000_000;
    for full in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let hive = kit::noop(Hive::open(folder.path().join("hive.db"))).concurrency(256);
            let hive = hive.start().await.unwrap();
            if full {
                for part in 0..100 {
                    let (from, to) = (part * ENDED / 100, (part + 1) * ENDED / 100);
                    hive.db().write(move |tx| history(tx, from, to)).await.unwrap();
                }
            }
            kit::batched(&hive, kit::TASKS / 10).await;
            let name = if full {
                "engine.full.noop_tasks_per_s"
            } else {
                "engine.empty.noop_tasks_per_s"
            };
            figures.record(name, kit::batched(&hive, kit::TASKS).await, "tasks/s");
            hive.shutdown().await.unwrap();
        });
    }
    vec![("engine.claim_ratio.1m".to_owned(), Bar::Ratio(0.8))]
}

/// Tasks that ended long ago, with all that they left.
fn history(tx: &mut hive_core::db::Tx<'_>, from: i64, to: i64) -> hive_orchestration::Result<()> {
    let numbers = "WITH RECURSIVE nth (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM nth WHERE n + 1 < ?2)";
    let tasks = format!(
        "{numbers} INSERT INTO task (seq, id, tenant, agent, flow_key, root, ordinal, depth, state, priority, run_at, attempt, created_at,
                                     finished_at)
         SELECT n + 1000000000, randomblob(16), 'default', 'noop', '', randomblob(16), 0, 0, 4, 1, 0, 1, 0, 1 FROM nth"
    );
    tx.execute(&tasks, &[&from, &to])?;
    let bodies = format!("{numbers} INSERT INTO task_body (task, input) SELECT n + 1000000000, x'31' FROM nth");
    tx.execute(&bodies, &[&from, &to])?;
    let outputs = format!("{numbers} INSERT INTO task_output (task, output) SELECT n + 1000000000, x'31' FROM nth");
    tx.execute(&outputs, &[&from, &to]).map(drop)
}

/// From a submission's commit to the agent, when nothing else goes on.
pub(crate) fn wake(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let times = runtime.block_on(async {
        let (started, mut starts) = mpsc::unbounded_channel();
        let agent = agent_fn("told", move |_: Context, _: ()| {
            let started = started.clone();
            async move {
                started.send(Instant::now()).unwrap();
                Ok::<_, Failure>(())
            }
        });
        let hive = Hive::open(folder.path().join("hive.db"))
            .agent(agent)
            .start()
            .await
            .unwrap();
        let mut times = Vec::new();
        for _ in 0..300 {
            let task = hive.submit_named("told", &()).await.unwrap();
            let committed = Instant::now();
            times.push(starts.recv().await.unwrap().saturating_duration_since(committed));
            task.result().await.unwrap();
        }
        hive.shutdown().await.unwrap();
        times
    });
    let measured = Measured::new(times, Duration::from_secs(1));
    figures.record("engine.wake_p50_ms", measured.p50_ms(), "ms");
    figures.record("engine.wake_p99_ms", measured.p99_ms(), "ms");
    Vec::new()
}

/// 64 agents at once, each a chain of durable steps.
pub(crate) fn steps(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let tasks = 256;
    let spent = runtime.block_on(async {
        let hive = Hive::open(folder.path().join("hive.db"))
            .agent(stepper())
            .concurrency(64)
            .start()
            .await
            .unwrap();
        let begun = Instant::now();
        let new = (0..tasks).map(|_| hive.submit_named("stepper", &()));
        for task in hive.submit_all(new).await.unwrap() {
            task.result().await.unwrap();
        }
        let spent = begun.elapsed();
        hive.shutdown().await.unwrap();
        spent
    });
    figures.record(
        "engine.steps_per_s.64",
        (tasks * STEPS) as f64 / spent.as_secs_f64(),
        "steps/s",
    );
    Vec::new()
}

fn stepper() -> hive_orchestration::builders::AnyAgent {
    agent_fn("stepper", async |cx: Context, _: ()| {
        let mut times = Vec::new();
        for n in 0..STEPS {
            let begun = Instant::now();
            cx.step("step", async || Ok::<_, Failure>(n)).await?;
            times.push(begun.elapsed().as_micros() as u64);
        }
        Ok::<_, Failure>(times)
    })
}

/// What a write takes when a hundred agents work at once.
pub(crate) fn crowd(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let times = runtime.block_on(async {
        let hive = Hive::open(folder.path().join("hive.db"))
            .agent(stepper())
            .concurrency(100)
            .start()
            .await
            .unwrap();
        let mut runs = JoinSet::new();
        for _ in 0..100 {
            let hive = hive.clone();
            runs.spawn(async move {
                let task = hive.submit_named("stepper", &()).await.unwrap();
                serde_json::from_value::<Vec<u64>>(task.result().await.unwrap()).unwrap()
            });
        }
        let times: Vec<Duration> = runs
            .join_all()
            .await
            .into_iter()
            .flatten()
            .map(Duration::from_micros)
            .collect();
        hive.shutdown().await.unwrap();
        times
    });
    let measured = Measured::new(times, Duration::from_secs(1));
    figures.record("engine.crowd_write_p99_ms", measured.p99_ms(), "ms");
    Vec::new()
}

/// A hive dies with ten thousand tasks running; the next goes on with them.
pub(crate) fn recover(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    const RUNNING: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let open = |count: &Arc<AtomicUsize>, first: &watch::Sender<bool>| {
        let (count, first) = (Arc::clone(count), first.clone());
        let agent = agent_fn("endless", move |_: Context, _: ()| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                first.send_replace(true);
            }
            std::future::pending::<Result<(), Failure>>()
        });
        Hive::open(folder.path().join("hive.db"))
            .agent(agent)
            .concurrency(RUNNING)
            .drain(Duration::ZERO)
    };
    runtime.block_on(async {
        let (count, first) = (Arc::<AtomicUsize>::default(), watch::Sender::new(false));
        let hive = open(&count, &first).start().await.unwrap();
        let begun = Instant::now();
        hive.submit_all((0..RUNNING).map(|_| hive.submit_named("endless", &())))
            .await
            .unwrap();
        until(&count, RUNNING).await;
        figures.record("engine.running_10k_ms", begun.elapsed().as_secs_f64() * 1e3, "ms");
        // Nothing more is written: as a process ends that is killed.
        hive.db().close().await.unwrap();
        drop(hive);
        let (count, first) = (Arc::<AtomicUsize>::default(), watch::Sender::new(false));
        let begun = Instant::now();
        let hive = loop {
            match open(&count, &first).start().await {
                Ok(hive) => break hive,
                Err(error) => assert_eq!(error.code(), "database-locked"),
            }
        };
        first.subscribe().wait_for(|first| *first).await.unwrap();
        figures.record("engine.recover_first_ms", begun.elapsed().as_secs_f64() * 1e3, "ms");
        until(&count, RUNNING).await;
        figures.record("engine.recover_all_ms", begun.elapsed().as_secs_f64() * 1e3, "ms");
        hive.shutdown().await.unwrap();
    });
    Vec::new()
}

async fn until(count: &AtomicUsize, wanted: usize) {
    while count.load(Ordering::SeqCst) < wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A hundred thousand tasks wait for a signal; what that costs.
pub(crate) fn idle(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    const WAITING: usize = 100_000;
    const GO: Signal<u32> = Signal::new("go");
    let folder: TempDir = tempfile::tempdir().unwrap();
    let spent = runtime.block_on(async {
        let waiter = agent_fn("waiter", async |cx: Context, _: ()| cx.wait(GO).await);
        let hive = Hive::open(folder.path().join("hive.db"))
            .agent(waiter)
            .concurrency(1_000)
            .start()
            .await
            .unwrap();
        for _ in 0..WAITING / 1_000 {
            hive.submit_all((0..1_000).map(|_| hive.submit_named("waiter", &())))
                .await
                .unwrap();
        }
        loop {
            let counts = hive.counts(None).await.unwrap();
            if counts == [(hive_orchestration::task::TaskState::Waiting, WAITING as u64)] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let span = std::env::var("HIVE_BENCH_IDLE_S").map_or(5, |told| told.parse().unwrap());
        let (before, begun) = (cpu(), Instant::now());
        tokio::time::sleep(Duration::from_secs(span)).await;
        let spent = (cpu() - before) / begun.elapsed().as_secs_f64();
        hive.shutdown().await.unwrap();
        spent
    });
    figures.record("engine.idle_cpu_ratio", spent, "ratio");
    Vec::new()
}

/// Seconds of processor time that this process has had.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
