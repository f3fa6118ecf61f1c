//! Agents that behave badly: whatever they do, their task comes to an end.

use std::sync::Arc;
use std::time::Duration;

use hive_orchestration::core::clock::{ManualClock, Timestamp};
use hive_orchestration::errors::RetryPolicy;
use hive_orchestration::task::TaskState;
use hive_orchestration::{Agent, Context, Failure, Hive, agent_fn};

use crate::kit::{Home, passing, soon};

/// Panics where it is dropped, unless a panic is under way.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped the bomb");
        }
    }
}

struct Bomber;

impl Agent for Bomber {
    const NAME: &'static str = "bomber";
    type Input = ();
    type Output = u32;

    async fn run(&self, cx: &Context, (): ()) -> Result<u32, Failure> {
        if cx.attempt() == 1 {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        }
        Ok(cx.attempt())
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[tokio::test]
async fn a_destructor_that_panics_is_a_failure_of_the_attempt() {
    let home = Home::new();
    let clock = ManualClock::new(Timestamp::EPOCH);
    let hive = Hive::open(home.db())
        .agent(Bomber)
        .clock(Arc::new(clock.clone()))
        .start()
        .await
        .unwrap();
    let task = hive.submit::<Bomber>(()).await.unwrap();
    let status = passing(&clock, &task, |status| status.state.is_final()).await;
    assert_eq!((status.state, status.failures), (TaskState::Succeeded, 1));
    assert_eq!(soon(task.result()).await.unwrap(), 2);
    hive.shutdown().await.unwrap();
}

/// Panics where the hive asks for its settings.
struct Rude {
    timeout: bool,
}

impl Agent for Rude {
    const NAME: &'static str = "rude";
    type Input = ();
    type Output = ();

    async fn run(&self, _: &Context, (): ()) -> Result<(), Failure> {
        Err(Failure::retryable("not yet"))
    }

    fn retry(&self) -> RetryPolicy {
        if self.timeout {
            return RetryPolicy::none();
        }
        panic!("none of your business")
    }

    fn timeout(&self) -> Duration {
        if self.timeout {
            panic!("none of your business");
        }
        Duration::from_secs(1)
    }
}

pub(super) async fn settings_that_panic_end_the_task(home: Home) {
    for timeout in [false, true] {
        let hive = home.hive().agent(Rude { timeout }).start().await.unwrap();
        let task = hive.submit::<Rude>(()).await.unwrap();
        let error = soon(task.result()).await.unwrap_err();
        assert_eq!(error.code(), "task-dead");
        let failure = task.status().await.unwrap().failure.unwrap();
        assert!(failure.message().contains("none of your business"), "{failure}");
        hive.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_written_is_not_waited_for_for_ever() {
    let home = Home::new();
    let agent = agent_fn("fine", async |_: Context, _: ()| Ok::<_, Failure>("fine".to_owned()));
    let hive = home.hive().agent(agent).start().await.unwrap();
    // Somebody's constraint refuses every success.
    hive.db()
        .write(|tx| {
            tx.execute(
                "CREATE TRIGGER refuse BEFORE UPDATE OF state ON task WHEN new.state = 4
                 BEGIN SELECT RAISE(ABORT, 'no success today'); END",
                &[],
            )
        })
        .await
        .unwrap();
    let task = hive.submit_named("fine", &()).await.unwrap();
    let error = soon(task.result()).await.unwrap_err();
    assert_eq!(error.code(), "conflict");
    assert_eq!(task.status().await.unwrap().state, TaskState::Failed);
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn watchers_hear_of_a_run_that_begins() {
    let home = Home::new();
    let clock = ManualClock::new(Timestamp::EPOCH);
    let agent = agent_fn("endless", async |_: Context, _: ()| {
        std::future::pending::<Result<(), Failure>>().await
    });
    let hive = Hive::open(home.db())
        .agent(agent)
        .clock(Arc::new(clock.clone()))
        .start()
        .await
        .unwrap();
    let task = hive
        .submit_named("endless", &())
        .delay(Duration::from_secs(60))
        .await
        .unwrap();
    let mut changes = task.watch();
    assert_eq!(changes.next().await.unwrap().unwrap().state, TaskState::Scheduled);
    clock.advance(Duration::from_secs(60));
    assert_eq!(soon(changes.next()).await.unwrap().unwrap().state, TaskState::Running);
    task.cancel().await.unwrap();
    assert_eq!(soon(changes.next()).await.unwrap().unwrap().state, TaskState::Cancelled);
    assert!(changes.next().await.unwrap().is_none());
    hive.shutdown().await.unwrap();
}
