//! How a hive ends, and what is left for the next one.

use std::sync::Arc;
use std::time::Duration;

use hive_orchestration::builders::{AnyAgent, Builder};
use hive_orchestration::core::clock::{ManualClock, Timestamp};
use hive_orchestration::core::id::TaskId;
use hive_orchestration::task::TaskState;
use hive_orchestration::{Context, Failure, Hive, Signal, agent_fn, limits};

use crate::kit::{Gate, Home, Ledger, reopened, soon, until};

/// Runs until the gate is open.
fn runner(ledger: &Ledger, gate: &Gate) -> AnyAgent {
    let (ledger, gate) = (ledger.clone(), gate.clone());
    agent_fn("runner", move |cx: Context, _: ()| {
        let (ledger, gate) = (ledger.clone(), gate.clone());
        async move {
            ledger.add("run");
            gate.passed().await;
            Ok::<_, Failure>(cx.attempt())
        }
    })
}

/// Crashes that are held against the task.
async fn crashes(hive: &Hive, id: TaskId) -> u32 {
    hive.db()
        .read(move |db| db.query_one("SELECT crashes FROM task WHERE id = ?1", &[&id], |row| row.get(0)))
        .await
        .unwrap()
}

pub(super) async fn attempts_that_end_in_time_may_end(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let hive = home.hive().agent(runner(&ledger, &gate)).start().await.unwrap();
    let task = hive.submit_named("runner", &()).await.unwrap();
    ledger.seen("run").await;
    let closing = tokio::spawn({
        let hive = hive.clone();
        async move { hive.shutdown().await }
    });
    // What comes while it drains is taken, and left for the next process.
    tokio::task::yield_now().await;
    let late = hive.submit_named("runner", &()).await.unwrap();
    gate.open();
    assert_eq!(soon(task.result()).await.unwrap(), 1);
    soon(closing).await.unwrap().unwrap();

    let hive = home.hive().agent(runner(&ledger, &gate)).start().await.unwrap();
    assert_eq!(hive.recovered(), 0);
    assert_eq!(hive.task::<u32>(task.id()).status().await.unwrap().attempt, 1);
    assert_eq!(soon(hive.task::<u32>(late.id()).result()).await.unwrap(), 1);
    hive.shutdown().await.unwrap();
}

pub(super) async fn attempts_that_do_not_are_handed_back_unharmed(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let open = || home.hive().agent(runner(&ledger, &gate)).drain(Duration::ZERO);
    let hive = open().start().await.unwrap();
    let task = hive.submit_named("runner", &()).await.unwrap();
    ledger.seen("run").await;
    let waiting = tokio::spawn({
        let task = task.clone();
        async move { task.result().await }
    });
    tokio::task::yield_now().await;
    hive.shutdown().await.unwrap();
    assert_eq!(soon(waiting).await.unwrap().unwrap_err().code(), "shutting-down");

    gate.open();
    let hive = open().start().await.unwrap();
    assert_eq!(hive.recovered(), 0, "nothing was left running");
    assert_eq!(soon(hive.task::<u32>(task.id()).result()).await.unwrap(), 2);
    assert_eq!(hive.task::<u32>(task.id()).status().await.unwrap().failures, 0);
    assert_eq!(crashes(&hive, task.id()).await, 0);
    hive.shutdown().await.unwrap();
}

/// A shutdown at any moment around a claim: no run may be missed by it.
pub(super) async fn no_run_is_missed(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let open = || home.hive().agent(runner(&ledger, &gate)).drain(Duration::ZERO);
    let mut tasks = Vec::new();
    for round in 0..40 {
        let hive = open().start().await.unwrap();
        assert_eq!(hive.recovered(), 0, "round {round}");
        tasks.push(hive.submit_named("runner", &()).await.unwrap().id());
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        // A run that was missed would hold it up for as long as `limits::DRAIN`.
        tokio::time::timeout(limits::DRAIN / 2, hive.shutdown())
            .await
            .expect("a run was missed")
            .unwrap();
    }
    gate.open();
    let hive = open().start().await.unwrap();
    for id in tasks {
        soon(hive.task::<u32>(id).result()).await.unwrap();
        assert_eq!(crashes(&hive, id).await, 0);
    }
    hive.shutdown().await.unwrap();
}

/// The same for a cancellation: with one worker, a run that was missed would hold it for ever.
pub(super) async fn no_run_outlives_its_cancellation(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let noop = agent_fn("noop", async |_: Context, _: ()| Ok::<_, Failure>(()));
    let hive = home
        .hive()
        .agent(runner(&ledger, &gate))
        .agent(noop)
        .concurrency(1)
        .start()
        .await
        .unwrap();
    for round in 0..100 {
        let task = hive.submit_named("runner", &()).await.unwrap();
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        assert!(task.cancel().await.unwrap());
        soon(hive.submit_named("noop", &()).await.unwrap().result())
            .await
            .unwrap();
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn after_the_end_everything_says_so(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let hive = home
        .hive()
        .agent(runner(&ledger, &gate))
        .drain(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("runner", &()).await.unwrap();
    let mut changes = task.watch();
    until(&task, TaskState::Running).await;
    let (first, second) = tokio::join!(hive.shutdown(), hive.shutdown());
    first.unwrap();
    second.unwrap();
    hive.shutdown().await.unwrap();
    let errors = [
        hive.submit_named("runner", &()).await.unwrap_err(),
        task.status().await.unwrap_err(),
        task.result().await.unwrap_err(),
        task.cancel().await.unwrap_err(),
        task.signal(&Signal::new("any"), &1).await.unwrap_err(),
        changes.next().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), "shutting-down");
        assert!(error.message().contains("the hive is closed"), "{error}");
        assert!(
            error.hint().contains("opened again") || error.hint().contains("open the hive again"),
            "{error}"
        );
    }
}

pub(super) async fn a_hive_that_is_dropped_drains_by_itself(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let open = || home.hive().agent(runner(&ledger, &gate));
    let hive = open().start().await.unwrap();
    let task = hive.submit_named("runner", &()).await.unwrap();
    ledger.seen("run").await;
    drop(hive);
    gate.open();
    // The handle is no hive: it does not keep it open.
    assert_eq!(soon(task.result()).await.unwrap(), 1);
    let hive = reopened(open).await;
    assert_eq!((hive.recovered(), ledger.count()), (0, 1));
    hive.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_run_that_blocks_its_thread_does_not_hold_the_shutdown() {
    let home = Home::new();
    let clock = ManualClock::new(Timestamp::EPOCH);
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (ledger, gate) = (Ledger::default(), Arc::new(std::sync::Mutex::new(gate)));
    let log = ledger.clone();
    let open = |block: bool| -> Builder {
        let (log, gate) = (log.clone(), gate.clone());
        let blocker = agent_fn("blocker", move |_: Context, _: ()| {
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                log.add("blocking");
                if block {
                    // What no agent should do.
                    gate.lock().unwrap().recv().ok();
                }
                Ok::<_, Failure>(())
            }
        });
        home.hive().agent(blocker).clock(Arc::new(clock.clone()))
    };
    let hive = open(true).start().await.unwrap();
    let task = hive.submit_named("blocker", &()).await.unwrap();
    ledger.seen("blocking").await;
    let closing = tokio::spawn(async move { hive.shutdown().await });
    soon(async {
        while !closing.is_finished() {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await;
    closing.await.unwrap().unwrap();
    drop(go);
    let hive = reopened(|| open(false)).await;
    assert_eq!(hive.recovered(), 1, "nobody could take its lease back");
    soon(hive.task::<()>(task.id()).result()).await.unwrap();
    hive.shutdown().await.unwrap();
}

pub(super) async fn subscriptions_end_with_the_hive(home: Home) {
    let noop = agent_fn("noop", async |_: Context, _: ()| Ok::<_, Failure>(()));
    let hive = home.hive().agent(noop).start().await.unwrap();
    let mut events = hive.bus().subscribe("task.succeeded.>").await.unwrap();
    let listener = tokio::spawn(async move {
        let mut seen = 0;
        loop {
            match events.next().await {
                Ok(_) => seen += 1,
                Err(error) => return (seen, error.code()),
            }
        }
    });
    let task = hive.submit_named("noop", &()).await.unwrap();
    soon(task.result()).await.unwrap();
    hive.shutdown().await.unwrap();
    // The hive's handle is still there, and with it the bus.
    assert_eq!(soon(listener).await.unwrap(), (1, "shutting-down"));
    drop(hive);
}
