//! Branches that run side by side: races lost, work beside waits, workers that are all busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_orchestration::core::clock::{ManualClock, Timestamp};
use hive_orchestration::drift::Drift;
use hive_orchestration::errors::RetryPolicy;
use hive_orchestration::task::{Decision, TaskState, WaitingFor};
use hive_orchestration::{Agent, Call, Context, Effect, Failure, Signal, agent_fn, limits};

use crate::kit::{Gate, Home, Ledger, passing, soon, until};

const PRICE: Signal<u64> = Signal::new("price");
const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn a_signal_goes_to_the_wait_that_somebody_looks_at(home: Home) {
    let agent = agent_fn("patient", async |cx: Context, _: ()| {
        let mut rounds = 0;
        loop {
            tokio::select! {
                price = async { cx.wait(PRICE).ask("how much?").await } => return price.map(|price| (price, rounds)),
                _ = cx.sleep(Duration::from_millis(1)), if rounds < 3 => rounds += 1,
            }
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("patient", &()).await.unwrap();
    // On a busy machine it may park while a timer is open as well.
    let status = soon(async {
        loop {
            let status = until(&task, TaskState::Waiting).await;
            if status.waiting_for.len() == 1 {
                return status;
            }
        }
    })
    .await;
    let [WaitingFor::Signal { question, .. }] = &status.waiting_for[..] else {
        panic!("{status:?}")
    };
    assert_eq!(question.as_ref().map(|asked| asked.text.as_str()), Some("how much?"));
    task.signal(&PRICE, &7).await.unwrap();
    let answer = soon(task.result()).await.unwrap();
    assert_eq!(answer[0], 7);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_signal_that_comes_after_the_race_was_lost_is_not_lost(home: Home) {
    let (home, ledger, gate) = (home, Ledger::default(), Gate::new());
    let (log, held) = (ledger.clone(), gate.clone());
    let agent = agent_fn("busy", move |cx: Context, _: ()| {
        let (log, gate) = (log.clone(), held.clone());
        async move {
            tokio::select! {
                _ = async { cx.wait(PRICE).await } => return Err(Failure::terminal("nobody has answered yet")),
                _ = cx.sleep(Duration::from_millis(1)) => {}
            }
            cx.step("work", async || {
                log.add("the race is over");
                gate.passed().await;
                Ok::<_, Failure>(())
            })
            .await?;
            cx.wait(PRICE).await
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("busy", &()).await.unwrap();
    ledger.seen("the race is over").await;
    task.signal(&PRICE, &7).await.unwrap();
    gate.open();
    assert_eq!(soon(task.result()).await.unwrap(), 7);
    hive.shutdown().await.unwrap();
}

pub(super) async fn timers_fire_while_every_worker_is_busy(home: Home) {
    let agent = agent_fn("hasty", async |cx: Context, _: ()| {
        tokio::select! {
            _ = cx.sleep(Duration::from_millis(5)) => Ok("cut short".to_owned()),
            never = async {
                cx.step("slow", async || {
                    std::future::pending::<()>().await;
                    Ok::<_, Failure>(())
                })
                .await
            } => never.map(|()| "done".to_owned()),
        }
    });
    let hive = home.hive().agent(agent).concurrency(1).start().await.unwrap();
    let task = hive.submit_named("hasty", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "cut short");
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_run_awaits_beside_a_wait_gets_done() {
    let (home, ledger, gate) = (Home::new(), Ledger::default(), Gate::new());
    let clock = ManualClock::new(Timestamp::EPOCH);
    let (log, held) = (ledger.clone(), gate.clone());
    let agent = agent_fn("asker", move |cx: Context, _: ()| {
        let (log, gate) = (log.clone(), held.clone());
        async move {
            log.add("begun");
            let (price, asked) = tokio::join!(async { cx.wait(PRICE).ask("how much?").await }, async {
                // Not a step: the hive knows nothing of it.
                gate.passed().await;
                cx.step("ask", async || Ok::<_, Failure>(log.add("asked"))).await
            });
            asked?;
            price
        }
    });
    let noop = agent_fn("noop", async |_: Context, _: ()| Ok::<_, Failure>(()));
    let hive = home
        .hive()
        .agent(agent)
        .agent(noop)
        .concurrency(1)
        .clock(Arc::new(clock.clone()))
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("asker", &()).await.unwrap();
    // The question can be seen and answered although the task does not only wait.
    let status = passing(&clock, &task, |status| !status.waiting_for.is_empty()).await;
    assert_eq!(status.state, TaskState::Running);
    // However long it takes.
    for _ in 0..300 {
        clock.advance(SECOND);
        tokio::task::yield_now().await;
    }
    assert_eq!(task.status().await.unwrap().state, TaskState::Running);
    // It holds no worker meanwhile.
    soon(hive.submit_named("noop", &()).await.unwrap().result())
        .await
        .unwrap();
    gate.open();
    ledger.seen("asked").await;
    // Now there is nothing left but to wait.
    passing(&clock, &task, |status| status.state == TaskState::Waiting).await;
    task.signal(&PRICE, &7).await.unwrap();
    let ended = passing(&clock, &task, |status| status.state.is_final()).await;
    assert_eq!((ended.state, ended.attempt), (TaskState::Succeeded, 2));
    assert_eq!(ledger.lines(), ["begun", "asked", "begun"]);
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn waiting_in_line_for_a_worker_is_no_running_time() {
    let (home, gate) = (Home::new(), Gate::new());
    let clock = ManualClock::new(Timestamp::EPOCH);
    struct Buyer;
    impl Agent for Buyer {
        const NAME: &'static str = "buyer";
        type Input = ();
        type Output = u64;
        async fn run(&self, cx: &Context, (): ()) -> Result<u64, Failure> {
            let price = cx.wait(PRICE).await?;
            cx.step("buy", async || Ok::<_, Failure>(price)).await
        }
        fn timeout(&self) -> Duration {
            10 * SECOND
        }
    }
    let held = gate.clone();
    let hog = agent_fn("hog", move |cx: Context, _: ()| {
        let gate = held.clone();
        async move {
            let held = async || {
                gate.passed().await;
                Ok::<_, Failure>(())
            };
            cx.step("hold", held).await
        }
    });
    let hive = home
        .hive()
        .agent(Buyer)
        .agent(hog)
        .concurrency(1)
        .clock(Arc::new(clock.clone()))
        .start()
        .await
        .unwrap();
    let buyer = hive.submit::<Buyer>(()).await.unwrap();
    soon(async { while buyer.status().await.unwrap().waiting_for.is_empty() {} }).await;
    // It waits in memory and has given its worker away.
    let hog = hive.submit_named("hog", &()).await.unwrap();
    until(&hog, TaskState::Running).await;
    buyer.signal(&PRICE, &7).await.unwrap();
    for _ in 0..20 {
        clock.advance(SECOND);
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(soon(buyer.result()).await.unwrap(), 7);
    assert_eq!(buyer.status().await.unwrap().failures, 0);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_step_that_must_not_run_twice_is_not_tried_again_after_its_time_limit(home: Home) {
    let ledger = Ledger::default();
    let log = ledger.clone();
    let agent = agent_fn("payer", move |cx: Context, _: ()| {
        let log = log.clone();
        async move {
            cx.step("pay", async || {
                if log.add("pay") == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failure>(log.count())
            })
            .effect(Effect::AtMostOnce)
            .timeout(Duration::from_millis(5))
            .retry(RetryPolicy::fixed(9, Duration::from_millis(1)))
            .await
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    for (decision, output) in [(Decision::Adopt(77.into()), 77), (Decision::Rerun, 3)] {
        let before = ledger.count();
        let task = hive.submit_named("payer", &()).await.unwrap();
        if before > 0 {
            // This one pays at once.
            assert_eq!(soon(task.result()).await.unwrap(), before + 1);
            continue;
        }
        let status = until(&task, TaskState::Waiting).await;
        let [WaitingFor::Decision { step, report, .. }] = &status.waiting_for[..] else {
            panic!("{status:?}")
        };
        assert!(report.contains("time limit"), "{report}");
        assert_eq!(ledger.count(), 1, "never a silent second time");
        task.decide(step, decision).await.unwrap();
        assert_eq!(soon(task.result()).await.unwrap(), output);
        assert_eq!(task.status().await.unwrap().failures, 0);
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn the_items_of_a_map_may_not_change_under_way(home: Home) {
    struct Slow;
    impl Agent for Slow {
        const NAME: &'static str = "slow";
        type Input = usize;
        type Output = usize;
        async fn run(&self, cx: &Context, n: usize) -> Result<usize, Failure> {
            // Long enough for the caller to be parked, so that it comes back to its map.
            cx.sleep(4 * limits::PARK_GRACE).await?;
            Ok(n)
        }
    }
    let runs = Arc::new(AtomicUsize::new(0));
    let agent = agent_fn("fickle", move |cx: Context, _: ()| {
        let count = runs.fetch_add(1, Ordering::SeqCst) + 2;
        async move {
            cx.map("each", 0..count, |n| Call::<Slow>::new(n).on_drift(Drift::Fail))
                .await
        }
    });
    let hive = home.hive().agent(agent).agent(Slow).start().await.unwrap();
    let task = hive.submit_named("fickle", &()).await.unwrap();
    let error = soon(task.result()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.field("recorded"), error.field("asked")),
        ("drift", Some("2 of slow"), Some("3 of slow"))
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_agent_that_calls_itself_without_an_end_is_told_so(home: Home) {
    struct Mirror;
    impl Agent for Mirror {
        const NAME: &'static str = "mirror";
        type Input = u32;
        type Output = u32;
        async fn run(&self, cx: &Context, depth: u32) -> Result<u32, Failure> {
            match cx.call("again", Call::<Mirror>::new(depth + 1)).await {
                Ok(deepest) => Ok(deepest),
                Err(failure) if failure.message() == "calls are nested too deep" => Ok(depth),
                Err(failure) => Err(failure),
            }
        }
    }
    let hive = home.hive().agent(Mirror).concurrency(2).start().await.unwrap();
    let task = hive.submit::<Mirror>(0).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), limits::CALL_DEPTH);
    hive.shutdown().await.unwrap();
}
