//! Many at once: waiting costs no worker and no memory, and a large map keeps its order and its bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_orchestration::task::TaskState;
use hive_orchestration::{Agent, Call, Context, Failure, Result, Signal, agent_fn};

use crate::kit::{Home, soon};

const GO: Signal<u64> = Signal::new("go");

/// How many exist now, and how many there were at once.
#[derive(Clone, Debug, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Counted(Gauge);

impl Gauge {
    fn enter(&self) -> Counted {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Counted(self.clone())
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) async fn two_thousand_tasks_wait_without_workers_and_without_memory(home: Home) {
    const TASKS: usize = 2_000;
    let (home, futures) = (home, Gauge::default());
    let counted = futures.clone();
    let waiter = agent_fn("waiter", move |cx: Context, n: u64| {
        let counted = counted.clone();
        async move {
            let _counted = counted.enter();
            cx.wait(GO).await.map(|m| n + m)
        }
    });
    let noop = agent_fn("noop", async |_: Context, _: ()| Ok::<_, Failure>(()));
    let hive = home
        .hive()
        .agent(waiter)
        .agent(noop)
        .concurrency(2)
        .start()
        .await
        .unwrap();
    let submits: Vec<_> = (0..TASKS as u64).map(|n| hive.submit_named("waiter", &n)).collect();
    let ids = hive
        .db()
        .write(move |tx| {
            submits
                .iter()
                .map(|submit| submit.within(tx))
                .collect::<Result<Vec<_>>>()
        })
        .await
        .unwrap();
    soon(async {
        while hive.counts(None).await.unwrap() != [(TaskState::Waiting, TASKS as u64)] {
            tokio::task::yield_now().await;
        }
        // A future goes right after its row says so.
        while futures.now() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The workers are free.
    soon(hive.submit_named("noop", &()).await.unwrap().result())
        .await
        .unwrap();
    let mut sends = tokio::task::JoinSet::new();
    for id in ids {
        let task = hive.task::<u64>(id);
        sends.spawn(async move {
            task.signal(&GO, &1).await.unwrap();
            task.result().await.unwrap()
        });
    }
    let mut sums = soon(sends.join_all()).await;
    sums.sort_unstable();
    assert_eq!(sums, (1..=TASKS as u64).collect::<Vec<_>>());
    hive.shutdown().await.unwrap();
}

struct Child(Gauge);

impl Agent for Child {
    const NAME: &'static str = "child";
    type Input = u64;
    type Output = u64;

    async fn run(&self, cx: &Context, n: u64) -> Result<u64, Failure> {
        let _counted = self.0.enter();
        cx.step("square", async || Ok::<_, Failure>(n * n)).await
    }
}

pub(super) async fn a_thousand_children_in_one_map(home: Home) {
    const CHILDREN: u64 = 1_000;
    for parallel in [None, Some(5)] {
        let children = Gauge::default();
        let parent = agent_fn("parent", move |cx: Context, _: ()| async move {
            let map = cx.map("each", 0..CHILDREN, Call::<Child>::new);
            match parallel {
                Some(limit) => map.parallel(limit).await,
                None => map.await,
            }
        });
        let hive = home
            .hive()
            .agent(parent)
            .agent(Child(children.clone()))
            .concurrency(16)
            .start()
            .await
            .unwrap();
        let task = hive.submit_named("parent", &()).await.unwrap();
        let squares = soon(task.result()).await.unwrap();
        assert_eq!(
            squares,
            serde_json::json!((0..CHILDREN).map(|n| n * n).collect::<Vec<_>>())
        );
        assert!(children.most() <= parallel.unwrap_or(16), "{} at once", children.most());
        assert_eq!(
            hive.counts(Some(task.id())).await.unwrap(),
            [(TaskState::Succeeded, CHILDREN + 1)]
        );
        hive.shutdown().await.unwrap();
    }
}

pub(super) async fn whoever_comes_back_from_a_wait_needs_a_worker_again(home: Home) {
    const WORKERS: usize = 3;
    let (home, working) = (home, Gauge::default());
    let counted = working.clone();
    let napper = agent_fn("napper", move |cx: Context, _: ()| {
        let counted = counted.clone();
        async move {
            for _ in 0..3 {
                // Short enough to be waited for in memory.
                cx.sleep(Duration::from_millis(1)).await?;
                cx.step("work", async || {
                    let _counted = counted.enter();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok::<_, Failure>(())
                })
                .await?;
            }
            Ok::<_, Failure>(())
        }
    });
    let hive = home.hive().agent(napper).concurrency(WORKERS).start().await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..40 {
        tasks.push(hive.submit_named("napper", &()).await.unwrap());
    }
    for task in tasks {
        soon(task.result()).await.unwrap();
    }
    assert_eq!(working.most(), WORKERS, "all of them worked, and never more");
    hive.shutdown().await.unwrap();
}
