//! Several children at once: the first that comes in, all that come in, and those that go on alone.

use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::core::clock::{Clock, SystemClock, Timestamp};
use hive_orchestration::task::TaskState;
use hive_orchestration::task::query::TaskQuery;
use hive_orchestration::{Agent, Call, Context, Failure, Signal, TaskId, agent_fn};

use crate::kit::{Home, Ledger, soon, until};

/// Succeeds, fails or waits, as its input says.
struct Runner;

impl Agent for Runner {
    const NAME: &'static str = "runner";
    type Input = String;
    type Output = String;

    async fn run(&self, cx: &Context, input: String) -> Result<String, Failure> {
        match input.as_str() {
            "fall" => Err(Failure::terminal("fell").with("by", "runner")),
            "wait" => {
                cx.wait(Signal::<()>::new("go")).await?;
                Ok("late".into())
            }
            _ => Ok(input),
        }
    }
}

fn race(log: Ledger) -> AnyAgent {
    agent_fn("race", move |cx: Context, runners: Vec<String>| {
        let log = log.clone();
        async move {
            let (place, output) = cx.race("run", runners, Call::<Runner>::new).await?;
            // Another run must be told the same.
            if cx
                .step("noted", async || Ok::<_, Failure>(log.add(format!("{place} {output}"))))
                .await?
                == 1
            {
                cx.wait(Signal::<()>::new("again")).await?;
            }
            Ok::<_, Failure>((place, output))
        }
    })
}

pub(super) async fn the_first_output_wins_and_stays_the_first(home: Home) {
    let ledger = Ledger::default();
    let hive = home
        .hive()
        .agent(race(ledger.clone()))
        .agent(Runner)
        .start()
        .await
        .unwrap();
    let task = hive
        .submit_named("race", &["fall", "wait", "home", "wait"])
        .await
        .unwrap();
    until(&task, TaskState::Waiting).await;
    ledger.seen("2 home").await;
    hive.shutdown().await.unwrap();
    let hive = home
        .hive()
        .agent(race(ledger.clone()))
        .agent(Runner)
        .start()
        .await
        .unwrap();
    let task = hive.task::<(usize, String)>(task.id());
    task.signal(&Signal::new("again"), &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), (2, "home".into()));
    assert_eq!(ledger.count(), 1);
    // Whoever did not win is not waited for.
    let children = hive.tasks(TaskQuery::new().parent(task.id())).await.unwrap().tasks;
    let mut states: Vec<TaskState> = children.iter().map(|child| child.state).collect();
    states.sort_by_key(|state| format!("{state:?}"));
    let cancelled = TaskState::Cancelled;
    assert_eq!(states, [cancelled, cancelled, TaskState::Failed, TaskState::Succeeded]);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_race_that_nobody_wins_fails_with_the_first_failure(home: Home) {
    let hive = home
        .hive()
        .agent(race(Ledger::default()))
        .agent(Runner)
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("race", &["fall", "fall"]).await.unwrap();
    let error = soon(task.result()).await.err().unwrap();
    assert_eq!(
        (error.code(), error.to_string().contains("fell")),
        ("agent-failed", true)
    );
    let empty = hive.submit_named("race", &[""; 0]).await.unwrap();
    assert_eq!(soon(empty.result()).await.err().unwrap().code(), "invalid-input");
    hive.shutdown().await.unwrap();
}

pub(super) async fn failures_may_be_values_and_stand_when_the_task_comes_back(home: Home) {
    let agent = agent_fn("all", async |cx: Context, runners: Vec<String>| {
        let ends = cx
            .map("run", runners, Call::<Runner>::new)
            .parallel(2)
            .settled()
            .await?;
        let ends: Vec<String> = ends
            .into_iter()
            .map(|end| end.unwrap_or_else(|failure| failure.message().to_owned()))
            .collect();
        cx.wait(Signal::<()>::new("go on"))
            .timeout(Duration::from_millis(1))
            .await?;
        Ok::<_, Failure>(ends)
    });
    let hive = home.hive().agent(agent).agent(Runner).start().await.unwrap();
    let task = hive.submit_named("all", &["fall", "a", "fall", "b"]).await.unwrap();
    assert_eq!(soon(task.result()).await.err().unwrap().code(), "timeout");
    task.signal(&Signal::new("go on"), &()).await.err().unwrap();
    task.redrive().await.unwrap();
    task.signal(&Signal::new("go on"), &()).await.unwrap();
    let ends: Vec<String> = serde_json::from_value(soon(task.result()).await.unwrap()).unwrap();
    assert_eq!(ends, ["fell", "a", "fell", "b"]);
    // None of them ran again.
    let children = hive.tasks(TaskQuery::new().parent(task.id())).await.unwrap().tasks;
    let failed = children.iter().filter(|child| child.state == TaskState::Failed).count();
    assert_eq!((children.len(), failed), (4, 2));
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_is_spawned_goes_on_alone_and_is_there_once(home: Home) {
    let agent = agent_fn("parent", async |cx: Context, _: ()| {
        let id = cx.spawn("runner", Call::<Runner>::new("wait".into())).await?;
        if cx.attempt() == 1 {
            return Err(Failure::retryable("once more"));
        }
        Ok::<TaskId, Failure>(id)
    });
    let hive = home.hive().agent(agent).agent(Runner).start().await.unwrap();
    let task = hive.submit_named("parent", &()).await.unwrap();
    let id: TaskId = serde_json::from_value(soon(task.result()).await.unwrap()).unwrap();
    let runner = hive.task::<String>(id);
    until(&runner, TaskState::Waiting).await;
    let all = hive.tasks(TaskQuery::new().agent("runner")).await.unwrap().tasks;
    assert_eq!(all.len(), 1, "{all:?}");
    runner.signal(&Signal::new("go"), &()).await.unwrap();
    assert_eq!(soon(runner.result()).await.unwrap(), "late");
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_time_is_slept_until_and_not_longer_when_it_has_passed(home: Home) {
    let agent = agent_fn("sleeper", async |cx: Context, until: Timestamp| {
        cx.sleep_until(until).await?;
        cx.sleep_until(Timestamp::EPOCH).await
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let wake = SystemClock.now() + Duration::from_millis(300);
    let task = hive.submit_named("sleeper", &wake).await.unwrap();
    soon(task.result()).await.unwrap();
    let ended = task.status().await.unwrap().finished_at.unwrap();
    assert!(ended >= wake, "{ended:?} is before {wake:?}");
    hive.shutdown().await.unwrap();
}
