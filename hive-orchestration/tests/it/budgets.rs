//! Budgets, seen from outside: what is counted, who waits, what a crash costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hive_orchestration::budget::{Budget, Resource, Spend};
use hive_orchestration::builders::{AnyAgent, Builder};
use hive_orchestration::core::model::scripted::Scripted;
use hive_orchestration::errors::ErrorKind;
use hive_orchestration::task::{TaskState, TaskStatus, WaitingFor};
use hive_orchestration::{Agent, Call, Context, Effect, Failure, RetryPolicy, TaskHandle, agent_fn};
use tokio::time::sleep;

use crate::kit::{Gate, Home, Ledger, crash, reopened, soon, until};

fn quick(tries: u32) -> RetryPolicy {
    RetryPolicy::exponential(tries).with_base(Duration::from_millis(1))
}

/// What a task waits for of a budget.
fn lacks(status: &TaskStatus) -> Vec<(Resource, u64)> {
    let lacks = |waits: &WaitingFor| {
        if let WaitingFor::Budget { resource, missing, .. } = waits {
            Some((*resource, *missing))
        } else {
            None
        }
    };
    status.waiting_for.iter().filter_map(lacks).collect()
}

async fn until_short<T>(task: &TaskHandle<T>, lack: (Resource, u64)) -> TaskStatus {
    soon(async {
        loop {
            let status = task.status().await.unwrap();
            assert!(!status.state.is_final(), "{status:?}");
            if status.state == TaskState::Waiting && lacks(&status) == [lack] {
                return status;
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

pub(super) async fn what_is_used_is_counted_and_the_rest_given_back(home: Home) {
    let ledger = Ledger::default();
    let log = ledger.clone();
    let agent = agent_fn("asker", move |cx: Context, question: String| {
        let log = log.clone();
        async move {
            let answer = cx
                .step("ask", async || {
                    let answer = cx.model().ask(&*question).await?;
                    cx.spend(Spend::tokens(5))?;
                    match log.add("ask") {
                        1 => Err(Failure::retryable("once more")),
                        _ => Ok(answer),
                    }
                })
                .budget(Spend::tokens(60).micro_usd(100).calls(2))
                .retry(quick(3))
                .await?;
            // Nobody counts what a step uses that says that it uses nothing.
            cx.step("note", async || Ok::<_, Failure>(log.add("note")))
                .budget(Spend::none())
                .await?;
            Ok::<_, Failure>(answer)
        }
    });
    // A word is a token: four are asked, two answered.
    let model = Scripted::new().on("six", "forty two").with_cost_micro_usd(7);
    let hive = home.hive().agent(agent).model(model).start().await.unwrap();
    let budget = Budget::new().tokens(100).micro_usd(1_000);
    let task = hive
        .submit_named("asker", &"what is six seven")
        .budget(budget)
        .await
        .unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "forty two");
    let accounts = task.budget().await.unwrap();
    let account = &accounts[0];
    assert_eq!((accounts.len(), account.task), (1, task.id()));
    assert_eq!((account.tokens.limit, account.tokens.spent), (Some(100), 22));
    assert_eq!((account.micro_usd.limit, account.micro_usd.spent), (Some(1_000), 14));
    // What is not limited is counted all the same.
    assert_eq!((account.calls.limit, account.calls.spent), (None, 2));
    assert_eq!((account.tokens.reserved, account.tokens.over), (0, 0));
    assert_eq!(ledger.lines(), ["ask", "ask", "note"]);
    hive.shutdown().await.unwrap();
}

/// Two steps of one call each.
fn caller(ledger: &Ledger) -> AnyAgent {
    let log = ledger.clone();
    agent_fn("caller", move |cx: Context, _: ()| {
        let log = log.clone();
        async move {
            for name in ["first", "second"] {
                cx.step(name, async || {
                    cx.spend(Spend::none().calls(1))?;
                    Ok::<_, Failure>(log.add(name))
                })
                .budget(Spend::none().calls(1))
                .await?;
            }
            Ok::<_, Failure>(())
        }
    })
}

pub(super) async fn who_has_no_more_waits_until_it_is_granted(home: Home) {
    let ledger = Ledger::default();
    let open = || home.hive().agent(caller(&ledger));
    let hive = open().start().await.unwrap();
    let task = hive
        .submit_named("caller", &())
        .budget(Budget::new().calls(1))
        .await
        .unwrap();
    let status = until_short(&task, (Resource::Calls, 1)).await;
    match status.waiting_for.as_slice() {
        [WaitingFor::Budget { account, .. }] => assert_eq!(*account, task.id()),
        other => panic!("{other:?}"),
    }
    hive.shutdown().await.unwrap();

    let hive = open().start().await.unwrap();
    let task = hive.task::<serde_json::Value>(task.id());
    // What it does not lack does not help, and what is not limited cannot be granted.
    let refused = task.grant(Budget::new().tokens(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(task.status().await.unwrap().state, TaskState::Waiting);
    task.grant(Budget::new().calls(1)).await.unwrap();
    soon(task.result()).await.unwrap();
    assert_eq!(ledger.lines(), ["first", "second"]);
    let account = task.budget().await.unwrap().remove(0);
    assert_eq!((account.calls.limit, account.calls.spent), (Some(2), 2));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_budget_may_let_its_task_fail(home: Home) {
    let ledger = Ledger::default();
    let hive = home.hive().agent(caller(&ledger)).start().await.unwrap();
    let budget = Budget::new().calls(1).fail_when_exhausted();
    let task = hive.submit_named("caller", &()).budget(budget).await.unwrap();
    let error = soon(task.result()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BudgetExhausted);
    assert_eq!(
        (error.field("resource"), error.field("missing")),
        (Some("calls"), Some("1"))
    );
    assert_eq!(ledger.lines(), ["first"]);
    // Raised and brought back, it goes on where it stood.
    task.grant(Budget::new().calls(1)).await.unwrap();
    task.redrive().await.unwrap();
    soon(task.result()).await.unwrap();
    assert_eq!(ledger.lines(), ["first", "second"]);
    hive.shutdown().await.unwrap();
}

/// Uses as many tokens as it is told.
struct Eater;

impl Agent for Eater {
    const NAME: &'static str = "eater";
    type Input = u64;
    type Output = u64;

    async fn run(&self, cx: &Context, tokens: u64) -> Result<u64, Failure> {
        cx.step("eat", async || {
            cx.spend(Spend::tokens(tokens))?;
            Ok::<_, Failure>(tokens)
        })
        .budget(Spend::tokens(tokens))
        .await
    }
}

pub(super) async fn children_draw_on_their_caller(home: Home) {
    let feeder = agent_fn("feeder", async |cx: Context, _: ()| {
        cx.map("meals", [10, 20], Call::<Eater>::new).await?;
        let own = Call::<Eater>::new(25).budget(Budget::new().tokens(20));
        cx.call("diet", own).await?;
        cx.call("last", Call::<Eater>::new(30)).await
    });
    let hive = home.hive().agent(feeder).agent(Eater).start().await.unwrap();
    let budget = Budget::new().tokens(60).children(3).depth(1);
    let task = hive.submit_named("feeder", &()).budget(budget).await.unwrap();
    // The child on a diet needs more than it may have, though there is more above.
    let child = soon(async {
        loop {
            let children = hive
                .tasks(hive_orchestration::task::query::TaskQuery::new().parent(task.id()))
                .await
                .unwrap();
            let waiting = children.tasks.iter().find(|child| child.state == TaskState::Waiting);
            if let Some(child) = waiting {
                return hive.task::<serde_json::Value>(child.id);
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    until_short(&child, (Resource::Tokens, 5)).await;
    let accounts = child.budget().await.unwrap();
    assert_eq!(
        (accounts.len(), accounts[0].task, accounts[1].task),
        (2, child.id(), task.id())
    );
    assert_eq!((accounts[0].tokens.spent, accounts[1].tokens.spent), (0, 30));
    child.grant(Budget::new().tokens(5)).await.unwrap();
    // Three children there may be.
    until_short(&task, (Resource::Children, 1)).await;
    assert_eq!(task.budget().await.unwrap()[0].children.spent, 3);
    task.grant(Budget::new().children(1)).await.unwrap();
    // The last one needs 30, and its caller has five left.
    let last = soon(async {
        loop {
            let accounts = task.budget().await.unwrap();
            let counts = hive.counts(Some(task.id())).await.unwrap();
            if counts.contains(&(TaskState::Waiting, 2)) {
                return accounts;
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!((last[0].tokens.spent, last[0].children.spent), (55, 4));
    task.grant(Budget::new().tokens(25)).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 30);
    let account = task.budget().await.unwrap().remove(0);
    assert_eq!((account.tokens.limit, account.tokens.spent), (Some(85), 85));
    // A child that draws on its caller's account has none to be raised.
    let children = hive
        .tasks(hive_orchestration::task::query::TaskQuery::new().parent(task.id()))
        .await
        .unwrap();
    let refused = hive
        .task::<()>(children.tasks[0].id)
        .grant(Budget::new().tokens(1))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(refused.field("account"), Some(task.id().to_string().as_str()));
    hive.shutdown().await.unwrap();
}

/// Calls itself as often as it is told.
struct Stairs;

impl Agent for Stairs {
    const NAME: &'static str = "stairs";
    type Input = u32;
    type Output = u32;

    async fn run(&self, cx: &Context, down: u32) -> Result<u32, Failure> {
        match down {
            0 => Ok(0),
            _ => Ok(1 + cx.call("down", Call::<Self>::new(down - 1)).await?),
        }
    }
}

pub(super) async fn no_deeper_than_it_may(home: Home) {
    let hive = home.hive().agent(Stairs).start().await.unwrap();
    let submit = async |levels| {
        let budget = Budget::new().depth(levels).fail_when_exhausted();
        let task = hive.submit::<Stairs>(2).budget(budget).await.unwrap();
        soon(task.result()).await
    };
    assert_eq!(submit(2).await.unwrap(), 2);
    let error = submit(1).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field("resource")),
        (ErrorKind::BudgetExhausted, Some("depth"))
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_a_dead_process_had_reserved_is_spent(home: Home) {
    let ledger = Ledger::default();
    let open = |hangs: bool| {
        let log = ledger.clone();
        let agent = agent_fn("worker", move |cx: Context, _: ()| {
            let log = log.clone();
            async move {
                cx.step("work", async || {
                    cx.spend(Spend::tokens(1))?;
                    log.add("works");
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Failure>(7)
                })
                .budget(Spend::tokens(60))
                .await
            }
        });
        home.hive().agent(agent)
    };
    let hive = open(true).start().await.unwrap();
    let task = hive
        .submit_named("worker", &())
        .budget(Budget::new().tokens(100))
        .await
        .unwrap();
    ledger.seen("works").await;
    let line = task.budget().await.unwrap()[0].tokens;
    assert_eq!((line.spent, line.reserved), (0, 60));
    crash(hive).await;

    let hive = reopened(|| open(false)).await;
    let task = hive.task::<i32>(task.id());
    until_short(&task, (Resource::Tokens, 20)).await;
    let line = task.budget().await.unwrap()[0].tokens;
    assert_eq!((line.spent, line.reserved), (60, 0));
    assert_eq!(ledger.count(), 1);
    task.grant(Budget::new().tokens(20)).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 7);
    assert_eq!(task.budget().await.unwrap()[0].tokens.spent, 61);
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_others_give_back_is_used(home: Home) {
    struct Modest(Ledger, Gate);
    impl Agent for Modest {
        const NAME: &'static str = "modest";
        type Input = u64;
        type Output = u64;
        async fn run(&self, cx: &Context, used: u64) -> Result<u64, Failure> {
            cx.step("work", async || {
                self.0.add("works");
                self.1.passed().await;
                cx.spend(Spend::tokens(used))?;
                Ok::<_, Failure>(used)
            })
            .budget(Spend::tokens(80))
            .await
        }
    }
    let (ledger, gate) = (Ledger::default(), Gate::new());
    let all = agent_fn("all", async |cx: Context, _: ()| {
        cx.map("parts", [1, 2, 3], Call::<Modest>::new).await
    });
    let modest = Modest(ledger.clone(), gate.clone());
    let hive = home.hive().agent(all).agent(modest).start().await.unwrap();
    let task = hive
        .submit_named("all", &())
        .budget(Budget::new().tokens(100))
        .await
        .unwrap();
    soon(async {
        while !hive
            .counts(Some(task.id()))
            .await
            .unwrap()
            .contains(&(TaskState::Waiting, 3))
        {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Two wait with their caller, and hold no slot.
    assert_eq!(ledger.count(), 1);
    gate.open();
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!([1, 2, 3]));
    let line = task.budget().await.unwrap()[0].tokens;
    assert_eq!((line.spent, line.reserved, line.over), (6, 0, 0));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_model_is_called_within_a_reservation(home: Home) {
    let agent = agent_fn("asker", async |cx: Context, _: ()| {
        cx.step("ask", async || cx.model().ask("two words").await).await
    });
    let model = Scripted::new().on("two", "one");
    let hive = home.hive().agent(agent).model(model).start().await.unwrap();
    let submit = async |budget: Option<Budget>| {
        let task = hive.submit_named("asker", &());
        let task = match budget {
            Some(budget) => task.budget(budget),
            None => task,
        };
        let task = task.await.unwrap();
        (soon(task.result()).await, task)
    };
    let (answer, task) = submit(None).await;
    assert_eq!(answer.unwrap(), "one");
    assert_eq!(task.budget().await.unwrap(), []);
    let (answer, _) = submit(Some(Budget::new().tokens(10))).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::InvalidInput);
    // Where nothing of it is limited it is counted.
    let (answer, task) = submit(Some(Budget::new().children(1))).await;
    assert_eq!(answer.unwrap(), "one");
    assert_eq!(task.budget().await.unwrap()[0].tokens.spent, 3);
    let each = Budget::new().tokens(10).each_step(Spend::tokens(5));
    let (answer, task) = submit(Some(each)).await;
    assert_eq!(answer.unwrap(), "one");
    assert_eq!(task.budget().await.unwrap()[0].tokens.spent, 3);
    // More is used than was reserved, as nobody could know before: the account is full and says so.
    let little = Budget::new().tokens(2).each_step(Spend::tokens(1));
    let (answer, task) = submit(Some(little)).await;
    assert_eq!(answer.unwrap(), "one");
    let line = task.budget().await.unwrap()[0].tokens;
    assert_eq!((line.limit, line.spent, line.over), (Some(2), 2, 1));
    task.grant(Budget::new().tokens(5)).await.unwrap();
    let line = task.budget().await.unwrap()[0].tokens;
    assert_eq!((line.limit, line.spent, line.over), (Some(7), 3, 0));
    hive.shutdown().await.unwrap();
}

pub(super) async fn nothing_begins_when_its_time_is_over(home: Home) {
    let ledger = Ledger::default();
    let log = ledger.clone();
    let agent = agent_fn("slow", move |cx: Context, _: ()| {
        let log = log.clone();
        async move {
            cx.step("work", async || {
                if log.add("works") == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failure>(7)
            })
            .budget(Spend::tokens(3))
            .await
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let budget = Budget::new().wall_time(Duration::from_millis(400));
    let task = hive.submit_named("slow", &()).budget(budget).await.unwrap();
    let status = until(&task, TaskState::Waiting).await;
    assert!(matches!(lacks(&status)[..], [(Resource::WallTime, 1..)]), "{status:?}");
    assert_eq!(ledger.count(), 1);
    task.grant(Budget::new().wall_time(Duration::from_secs(3_600)))
        .await
        .unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 7);
    let account = task.budget().await.unwrap().remove(0);
    assert_eq!(account.tokens.spent, 3, "what was cut off is spent");
    assert_eq!(account.wall_time, Some(Duration::from_millis(3_600_400)));
    assert!(account.elapsed >= Duration::from_millis(400));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_step_that_must_not_run_twice_waits_before_it_begins(home: Home) {
    let ledger = Ledger::default();
    let open = || -> Builder {
        let log = ledger.clone();
        let agent = agent_fn("payer", move |cx: Context, _: ()| {
            let log = log.clone();
            async move {
                cx.step("pay", async || {
                    cx.spend(Spend::none().calls(1))?;
                    match log.add("pays") {
                        1 => Err(Failure::retryable("the other side was not there")),
                        _ => Ok(7),
                    }
                })
                .budget(Spend::none().calls(1))
                .effect(Effect::AtMostOnce)
                .retry(quick(3))
                .await
            }
        });
        home.hive().agent(agent)
    };
    let hive = open().start().await.unwrap();
    let task = hive
        .submit_named("payer", &())
        .budget(Budget::new().calls(1))
        .await
        .unwrap();
    until_short(&task, (Resource::Calls, 1)).await;
    hive.shutdown().await.unwrap();
    let hive = open().start().await.unwrap();
    let task = hive.task::<i32>(task.id());
    task.grant(Budget::new().calls(1)).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 7);
    assert_eq!(ledger.count(), 2);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_crowd_in_several_processes_spends_no_more_than_there_is(home: Home) {
    struct Part(Arc<AtomicU64>);
    impl Agent for Part {
        const NAME: &'static str = "part";
        type Input = u64;
        type Output = ();
        async fn run(&self, cx: &Context, nth: u64) -> Result<(), Failure> {
            for step in 0..3 {
                let used = (nth * 7 + step * 3) % 11;
                cx.step("work", async || {
                    tokio::task::yield_now().await;
                    cx.spend(Spend::tokens(used))?;
                    self.0.fetch_add(used, Ordering::SeqCst);
                    Ok::<_, Failure>(())
                })
                .budget(Spend::tokens(10))
                .await?;
            }
            Ok(())
        }
    }
    let used = Arc::new(AtomicU64::new(0));
    let open = || {
        let whole = agent_fn("whole", async |cx: Context, _: ()| {
            cx.map("parts", 0..20, |nth| {
                let call = Call::<Part>::new(nth);
                if nth % 2 == 0 {
                    call.budget(Budget::new().tokens(30))
                } else {
                    call
                }
            })
            .await
            .map(drop)
        });
        home.hive().agent(whole).agent(Part(Arc::clone(&used))).concurrency(6)
    };
    let hive = open().start().await.unwrap();
    // A file belongs to one process.
    let other = if home.is_shared() {
        Some(open().start().await.unwrap())
    } else {
        None
    };
    let task = hive
        .submit_named("whole", &())
        .budget(Budget::new().tokens(40))
        .await
        .unwrap();
    let account = soon(async {
        loop {
            let before = used.load(Ordering::SeqCst);
            let account = task.budget().await.unwrap().remove(0);
            let (line, limit) = (account.tokens, account.tokens.limit.unwrap());
            assert!(line.spent + line.reserved <= limit && line.over == 0, "{line:?}");
            assert!(before <= limit, "{before} of {limit}");
            if task.status().await.unwrap().state.is_final() {
                return account;
            }
            if limit - line.spent - line.reserved < 10 && line.reserved == 0 {
                task.grant(Budget::new().tokens(15)).await.unwrap();
            }
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    soon(task.result()).await.unwrap();
    assert_eq!(account.tokens.spent, used.load(Ordering::SeqCst));
    assert!(account.tokens.limit.unwrap() > 40, "nobody waited");
    if let Some(other) = other {
        other.shutdown().await.unwrap();
    }
    hive.shutdown().await.unwrap();
}
