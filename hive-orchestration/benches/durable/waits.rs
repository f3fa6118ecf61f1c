//! Tasks that wait, and go on.

use std::time::{Duration, Instant};

use hive_core_bench::{Bar, Figures, Measured};
use hive_orchestration::task::TaskState;
use hive_orchestration::{Context, Failure, Hive, Signal, agent_fn};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const GO: Signal<u32> = Signal::new("go");
const STEPS: usize = 1_000;
const WAITING: usize = 100_000;

/// A task is behind a thousand steps, its process ends, and the next goes on with it.
pub(crate) fn resume(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let spent = runtime.block_on(async {
        let (behind, mut reached) = mpsc::unbounded_channel();
        let open = || {
            let behind = behind.clone();
            let agent = agent_fn("long", move |cx: Context, _: ()| {
                let behind = behind.clone();
                async move {
                    for n in 0..STEPS {
                        cx.step("step", async || Ok::<_, Failure>(n)).await?;
                    }
                    behind.send(Instant::now()).unwrap();
                    std::future::pending::<Result<(), Failure>>().await
                }
            });
            Hive::open(folder.path().join("hive.db"))
                .agent(agent)
                .drain(Duration::ZERO)
        };
        let hive = open().start().await.unwrap();
        hive.submit_named("long", &()).await.unwrap();
        reached.recv().await.unwrap();
        hive.shutdown().await.unwrap();
        let begun = Instant::now();
        let hive = open().start().await.unwrap();
        let spent = reached.recv().await.unwrap() - begun;
        hive.shutdown().await.unwrap();
        spent
    });
    figures.record("durable.resume_ms.1000", spent.as_secs_f64() * 1e3, "ms");
    Vec::new()
}

/// From a signal until the code of the parked task goes on.
pub(crate) fn signal(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let folder = tempfile::tempdir().unwrap();
    let times = runtime.block_on(async {
        let (going, mut went) = mpsc::unbounded_channel();
        let agent = agent_fn("waiter", move |cx: Context, _: ()| {
            let going = going.clone();
            async move {
                let value = cx.wait(GO).await?;
                going.send(Instant::now()).unwrap();
                Ok::<_, Failure>(value)
            }
        });
        let hive = Hive::open(folder.path().join("hive.db"))
            .agent(agent)
            .start()
            .await
            .unwrap();
        let tasks = hive
            .submit_all((0..200).map(|_| hive.submit_named("waiter", &())))
            .await
            .unwrap();
        parked(&hive, tasks.len()).await;
        let mut times = Vec::new();
        for task in tasks {
            let begun = Instant::now();
            task.signal(&GO, &7).await.unwrap();
            times.push(went.recv().await.unwrap().saturating_duration_since(begun));
            task.result().await.unwrap();
        }
        hive.shutdown().await.unwrap();
        times
    });
    let measured = Measured::new(times, Duration::from_secs(1));
    figures.record("durable.signal_p50_ms", measured.p50_ms(), "ms");
    figures.record("durable.signal_p99_ms", measured.p99_ms(), "ms");
    Vec::new()
}

/// What the process holds for each task that waits.
pub(crate) fn waiting(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let tasks = std::env::var("HIVE_BENCH_WAITING").map_or(WAITING, |told| told.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let bytes = runtime.block_on(async {
        let waiter = agent_fn("waiter", async |cx: Context, _: ()| cx.wait(GO).await);
        let hive = Hive::open(folder.path().join("hive.db"))
            .agent(waiter)
            .concurrency(256)
            .start()
            .await
            .unwrap();
        let submit = async |count: usize| {
            for _ in 0..count / 1_000 {
                hive.submit_all((0..1_000).map(|_| hive.submit_named("waiter", &())))
                    .await
                    .unwrap();
            }
        };
        // What a busy hive holds anyway is there before it is measured.
        submit(tasks / 10).await;
        parked(&hive, tasks / 10).await;
        let before = resident();
        submit(tasks).await;
        parked(&hive, tasks + tasks / 10).await;
        let held = resident().saturating_sub(before);
        hive.shutdown().await.unwrap();
        held as f64 / tasks as f64
    });
    figures.record("durable.waiting_bytes", bytes, "B");
    vec![("durable.waiting_bytes".to_owned(), Bar::Below(1_024.0))]
}

async fn parked(hive: &Hive, tasks: usize) {
    while hive.counts(None).await.unwrap() != [(TaskState::Waiting, tasks as u64)] {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Bytes of this process's memory that are in use.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}
