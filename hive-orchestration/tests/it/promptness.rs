//! Nothing waits for the dispatcher's next round: the clock stands still here, so what is not told is never found.

use std::sync::Arc;
use std::time::Duration;

use hive_orchestration::builders::Builder;
use hive_orchestration::core::clock::{ManualClock, Timestamp};
use hive_orchestration::errors::RetryPolicy;
use hive_orchestration::task::{Decision, TaskState, WaitingFor};
use hive_orchestration::{Agent, Call, Context, Failure, Hive, Signal, TaskHandle, agent_fn, limits};

use crate::kit::{Gate, Home, soon};

const GO: Signal<u64> = Signal::new("go");
const WRONG: Signal<String> = Signal::new("go");
/// Shorter than the grace after which a run is parked, so that it is not told on that occasion.
const NAP: Duration = Duration::from_millis(10);

/// Fails the first time, and is tried again at once.
struct Second;

impl Agent for Second {
    const NAME: &'static str = "second";
    type Input = ();
    type Output = u64;
    async fn run(&self, cx: &Context, (): ()) -> Result<u64, Failure> {
        if cx.attempt() == 1 {
            return Err(Failure::retryable("not yet"));
        }
        Ok(7)
    }
    fn retry(&self) -> RetryPolicy {
        RetryPolicy::fixed(2, Duration::ZERO)
    }
}

struct Noop;

impl Agent for Noop {
    const NAME: &'static str = "noop";
    type Input = u64;
    type Output = u64;
    async fn run(&self, _: &Context, n: u64) -> Result<u64, Failure> {
        if n == 13 {
            return Err(Failure::terminal("unlucky"));
        }
        Ok(n)
    }
}

fn open(home: &Home, clock: &ManualClock, gate: &Gate) -> Builder {
    let gate = gate.clone();
    Hive::open(home.db())
        .clock(Arc::new(clock.clone()))
        .concurrency(1)
        .agent(Noop)
        .agent(Second)
        .agent(agent_fn("wait", async |cx: Context, _: ()| cx.wait(GO).await))
        .agent(agent_fn("nap", async |cx: Context, _: ()| cx.sleep(NAP).await))
        .agent(agent_fn("call", async |cx: Context, n: u64| {
            cx.call("noop", Call::<Noop>::new(n)).await
        }))
        .agent(agent_fn("line", async |cx: Context, _: ()| {
            cx.map("noop", 0..3_u64, Call::<Noop>::new).parallel(1).await
        }))
        .agent(agent_fn("hold", move |_: Context, _: ()| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                Ok::<_, Failure>(())
            }
        }))
}

/// Until the task has said that it waits; nothing but what is told happens meanwhile.
async fn waits<T>(task: &TaskHandle<T>) -> WaitingFor {
    soon(async {
        loop {
            if let [wait] = &task.status().await.unwrap().waiting_for[..] {
                return wait.clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Lets just so much time pass that a run which only waits is parked.
async fn parked<T>(clock: &ManualClock, task: &TaskHandle<T>) {
    waits(task).await;
    soon(async {
        while task.status().await.unwrap().state != TaskState::Waiting {
            clock.advance(limits::PARK_GRACE);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_happens_is_told() {
    let (home, clock, gate) = (Home::new(), ManualClock::new(Timestamp::EPOCH), Gate::new());
    let hive = open(&home, &clock, &gate).start().await.unwrap();

    // A submission, and a worker that has become free.
    let tasks = [
        hive.submit::<Noop>(1).await.unwrap(),
        hive.submit::<Noop>(2).await.unwrap(),
        hive.submit::<Noop>(3).await.unwrap(),
    ];
    for task in tasks {
        soon(task.result()).await.unwrap();
    }
    // A failure that is tried again at once.
    assert_eq!(
        soon(hive.submit::<Second>(()).await.unwrap().result()).await.unwrap(),
        7
    );
    // Children, their ends, and the next in line.
    let call = hive.submit_named("call", &5_u64).await.unwrap();
    assert_eq!(soon(call.result()).await.unwrap(), 5);
    let unlucky = hive.submit_named("call", &13_u64).await.unwrap();
    assert_eq!(soon(unlucky.result()).await.unwrap_err().message(), "unlucky");
    let line = hive.submit_named("line", &()).await.unwrap();
    assert_eq!(soon(line.result()).await.unwrap(), serde_json::json!([0, 1, 2]));
    // A signal to a task that waits in memory, beside which the worker is free.
    let wait = hive.submit_named("wait", &()).await.unwrap();
    waits(&wait).await;
    soon(hive.submit::<Noop>(1).await.unwrap().result()).await.unwrap();
    wait.signal(&GO, &7).await.unwrap();
    assert_eq!(soon(wait.result()).await.unwrap(), 7);
    // A cancellation frees the worker.
    let hold = hive.submit_named("hold", &()).await.unwrap();
    let next = hive.submit::<Noop>(1).await.unwrap();
    hold.cancel().await.unwrap();
    soon(next.result()).await.unwrap();
    assert_eq!(
        hive.task::<()>(hold.id()).status().await.unwrap().state,
        TaskState::Cancelled
    );
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn whatever_wakes_a_parked_task_is_told() {
    let (home, clock, gate) = (Home::new(), ManualClock::new(Timestamp::EPOCH), Gate::new());
    let hive = open(&home, &clock, &gate).start().await.unwrap();
    let wait = hive.submit_named("wait", &()).await.unwrap();
    parked(&clock, &wait).await;
    wait.signal(&GO, &7).await.unwrap();
    assert_eq!(soon(wait.result()).await.unwrap(), 7);

    let held = hive.submit_named("wait", &()).await.unwrap();
    held.signal(&WRONG, &"a lot".into()).await.unwrap();
    parked(&clock, &held).await;
    let WaitingFor::Decision { step, .. } = waits(&held).await else {
        panic!("it is not held")
    };
    held.decide(&step, Decision::Adopt(8.into())).await.unwrap();
    assert_eq!(soon(held.result()).await.unwrap(), 8);
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn timers_fire_when_their_time_has_come_and_not_a_round_later() {
    let (home, clock, gate) = (Home::new(), ManualClock::new(Timestamp::EPOCH), Gate::new());
    let hive = open(&home, &clock, &gate).start().await.unwrap();
    for delayed in [true, false] {
        let task = if delayed {
            hive.submit_named("noop", &1).delay(NAP).await.unwrap()
        } else {
            let napping = hive.submit_named("nap", &()).await.unwrap();
            waits(&napping).await;
            napping
        };
        clock.advance(NAP - Duration::from_micros(1));
        assert!(!task.status().await.unwrap().state.is_final(), "it is too early");
        clock.advance(Duration::from_micros(1));
        soon(task.result()).await.unwrap();
    }
    hive.shutdown().await.unwrap();
}
