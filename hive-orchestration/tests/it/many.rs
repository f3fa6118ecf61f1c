//! Many tasks at once: submitted, listed, paused, brought back, forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_orchestration::errors::RetryPolicy;
use hive_orchestration::task::query::TaskQuery;
use hive_orchestration::task::{Scope, TaskState};
use hive_orchestration::{Agent, Call, Context, Failure, agent_fn};

use crate::kit::{Gate, Home, Ledger, soon, until};

fn echo() -> hive_orchestration::builders::AnyAgent {
    agent_fn("echo", async |_: Context, n: usize| Ok::<_, Failure>(n))
}

pub(super) async fn a_batch_is_submitted_whole_or_not_at_all(home: Home) {
    let hive = home.hive().agent(echo()).start().await.unwrap();
    let tasks = hive
        .submit_all((0..2_500).map(|n| hive.submit_named("echo", &n)))
        .await
        .unwrap();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(soon(task.result()).await.unwrap(), n);
    }
    let bad = ["1", "no number", "3"].map(|input| match input.parse::<usize>() {
        Ok(n) => hive.submit_named("echo", &n),
        Err(_) => hive.submit_named("echo", &input),
    });
    let refused = hive.submit_all(bad).await.unwrap_err();
    assert_eq!((refused.code(), refused.field("place")), ("invalid-input", Some("1")));
    // The database refuses as well: the key stands for another input.
    hive.submit_named("echo", &1).idempotency_key("k").await.unwrap();
    let clash = [
        hive.submit_named("echo", &7),
        hive.submit_named("echo", &2).idempotency_key("k"),
    ];
    let refused = hive.submit_all(clash).await.unwrap_err();
    assert_eq!((refused.code(), refused.field("place")), ("conflict", Some("1")));
    let total: u64 = hive.counts(None).await.unwrap().iter().map(|(_, count)| count).sum();
    assert_eq!(total, 2_501);
    hive.shutdown().await.unwrap();
}

pub(super) async fn one_task_has_a_key_until_it_ends_or_begins(home: Home) {
    let gate = Gate::new();
    let held = gate.clone();
    let agent = agent_fn("hold", move |_: Context, n: usize| {
        let gate = held.clone();
        async move {
            gate.passed().await;
            Ok::<_, Failure>(n)
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let first = hive.submit_named("hold", &1).single("s").await.unwrap();
    until(&first, TaskState::Running).await;
    let second = hive.submit_named("hold", &2).single("s").await.unwrap();
    assert_eq!(second.id(), first.id());
    let other = hive.submit_named("hold", &3).single("s").tenant("other").await.unwrap();
    assert_ne!(other.id(), first.id());
    hive.pause(Scope::Agent("hold".to_owned())).await.unwrap();
    let waiting = hive.submit_named("hold", &4).single_until_start("t").await.unwrap();
    let same = hive.submit_named("hold", &5).single_until_start("t").await.unwrap();
    assert_eq!(same.id(), waiting.id());
    hive.resume(Scope::Agent("hold".to_owned())).await.unwrap();
    until(&waiting, TaskState::Running).await;
    let next = hive.submit_named("hold", &6).single_until_start("t").await.unwrap();
    assert_ne!(next.id(), waiting.id());
    gate.open();
    assert_eq!(soon(second.result()).await.unwrap(), 1);
    let again = hive.submit_named("hold", &7).single("s").await.unwrap();
    assert_ne!(again.id(), first.id());
    assert_eq!(soon(again.result()).await.unwrap(), 7);
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_is_paused_does_not_start(home: Home) {
    let hive = home
        .hive()
        .agent(echo())
        .agent(agent_fn("other", async |_: Context, n: usize| Ok::<_, Failure>(n)));
    let hive = hive.start().await.unwrap();
    for scope in [
        Scope::Agent("echo".to_owned()),
        Scope::Tenant("t".to_owned()),
        Scope::All,
    ] {
        assert!(hive.pause(scope.clone()).await.unwrap());
        assert!(!hive.pause(scope.clone()).await.unwrap());
        let paused = hive.submit_named("echo", &1).tenant("t").await.unwrap();
        if scope != Scope::All {
            let free = hive.submit_named("other", &2).await.unwrap();
            assert_eq!(soon(free.result()).await.unwrap(), 2);
        }
        assert_eq!(paused.status().await.unwrap().state, TaskState::Queued);
        assert!(hive.resume(scope.clone()).await.unwrap());
        assert!(!hive.resume(scope).await.unwrap());
        assert_eq!(soon(paused.result()).await.unwrap(), 1);
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn tasks_are_listed_and_cancelled_by_what_is_asked(home: Home) {
    let hive = home.hive().agent(echo()).start().await.unwrap();
    hive.pause(Scope::All).await.unwrap();
    for n in 0..25_usize {
        let task = hive.submit_named("echo", &n).label("shard", (n % 2).to_string());
        task.tenant(if n < 20 { "a" } else { "b" }).await.unwrap();
    }
    let list = async |query: TaskQuery| {
        let (mut all, mut query) = (Vec::new(), query.limit(4));
        loop {
            let page = hive.tasks(query.clone()).await.unwrap();
            assert!(page.tasks.len() <= 4);
            all.extend(page.tasks);
            match page.next {
                Some(next) => query = query.after(next),
                None => return all,
            }
        }
    };
    let all = list(TaskQuery::new()).await;
    assert_eq!(all.len(), 25);
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    assert_eq!(list(TaskQuery::new().label("shard", "1")).await.len(), 12);
    assert_eq!(list(TaskQuery::new().label("shard", "1").tenant("b")).await.len(), 2);
    assert_eq!(list(TaskQuery::new().state(TaskState::Running)).await.len(), 0);
    assert_eq!(hive.cancel_all(TaskQuery::new().tenant("b")).await.unwrap(), 5);
    assert_eq!(list(TaskQuery::new().state(TaskState::Cancelled)).await.len(), 5);
    hive.resume(Scope::All).await.unwrap();
    for task in list(TaskQuery::new().tenant("a")).await {
        soon(hive.task::<usize>(task.id).result()).await.unwrap();
    }
    assert_eq!(hive.cancel_all(TaskQuery::new()).await.unwrap(), 0);
    assert_eq!(hive.forget(Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(hive.forget(Duration::ZERO).await.unwrap(), 25);
    assert_eq!(list(TaskQuery::new()).await.len(), 0);
    hive.shutdown().await.unwrap();
}

/// Fails until it is mended.
struct Broken {
    mended: Arc<AtomicBool>,
    ledger: Ledger,
}

impl Agent for Broken {
    const NAME: &'static str = "broken";
    type Input = usize;
    type Output = usize;

    async fn run(&self, cx: &Context, n: usize) -> Result<usize, Failure> {
        cx.step("first", async || Ok::<_, Failure>(self.ledger.add(format!("step {n}"))))
            .await?;
        if n % 2 == 1 && !self.mended.load(Ordering::SeqCst) {
            return Err(Failure::retryable("not yet"));
        }
        Ok(n)
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy::fixed(2, Duration::from_millis(1))
    }
}

struct Caller;

impl Agent for Caller {
    const NAME: &'static str = "caller";
    type Input = usize;
    type Output = usize;

    async fn run(&self, cx: &Context, count: usize) -> Result<usize, Failure> {
        Ok(cx.map("all", 0..count, Call::<Broken>::new).await?.into_iter().sum())
    }
}

pub(super) async fn what_is_dead_comes_back_and_goes_on_where_it_stood(home: Home) {
    let (mended, ledger) = (Arc::new(AtomicBool::new(false)), Ledger::default());
    let broken = Broken {
        mended: Arc::clone(&mended),
        ledger: ledger.clone(),
    };
    let hive = home.hive().agent(broken).agent(Caller).start().await.unwrap();
    let alone = hive.submit::<Broken>(1).await.unwrap();
    let caller = hive.submit::<Caller>(4).await.unwrap();
    assert_eq!(soon(alone.result()).await.unwrap_err().code(), "task-dead");
    soon(caller.result()).await.unwrap_err();
    assert_eq!(alone.redrive().await.map_err(|error| error.code()), Ok(()));
    assert_eq!(
        soon(hive.task::<usize>(alone.id()).result()).await.unwrap_err().code(),
        "task-dead"
    );
    mended.store(true, Ordering::SeqCst);
    let child = hive
        .tasks(TaskQuery::new().parent(caller.id()))
        .await
        .unwrap()
        .tasks
        .remove(0);
    assert_eq!(
        hive.task::<usize>(child.id).redrive().await.unwrap_err().code(),
        "conflict"
    );
    assert_eq!(hive.redrive_all(TaskQuery::new()).await.unwrap(), 1);
    assert_eq!(soon(hive.task::<usize>(alone.id()).result()).await.unwrap(), 1);
    assert_eq!(alone.redrive().await.unwrap_err().code(), "conflict");
    caller.redrive().await.unwrap();
    assert_eq!(soon(hive.task::<usize>(caller.id()).result()).await.unwrap(), 6);
    // Nothing that is remembered was done again, and nobody was called twice.
    let steps = |n: usize| {
        ledger
            .lines()
            .iter()
            .filter(|line| **line == format!("step {n}"))
            .count()
    };
    assert_eq!(
        [steps(0), steps(1), steps(2), steps(3)].into_iter().sum::<usize>(),
        5,
        "{:?}",
        ledger.lines()
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_deadline_ends_whatever_goes_on(home: Home) {
    let agent = agent_fn("endless", async |_: Context, _: ()| {
        std::future::pending::<Result<(), Failure>>().await
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let soon_over = Duration::from_millis(60);
    let running = hive.submit_named("endless", &()).deadline(soon_over).await.unwrap();
    let delayed = hive
        .submit_named("endless", &())
        .delay(Duration::from_secs(600))
        .deadline(soon_over);
    let delayed = delayed.await.unwrap();
    for task in [running, delayed] {
        assert_eq!(soon(task.result()).await.unwrap_err().code(), "timeout");
        assert_eq!(task.status().await.unwrap().state, TaskState::Failed);
    }
    // It has not kept its worker.
    let page = hive.tasks(TaskQuery::new().state(TaskState::Running)).await.unwrap();
    assert_eq!(page.tasks, []);
    hive.shutdown().await.unwrap();
}
