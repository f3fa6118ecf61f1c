//! Timers, signals and people.

use std::sync::Arc;
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::bus::Query;
use hive_orchestration::core::clock::{ManualClock, Timestamp};
use hive_orchestration::task::question::{Interrupt, InterruptionQuery};
use hive_orchestration::task::{Decision, TaskState, TaskStatus, WaitingFor};
use hive_orchestration::{Agent, Approval, Call, Context, Effect, Failure, Signal, agent_fn};

use crate::kit::{Home, Ledger, soon, until};

const RELEASE: Signal<Approval> = Approval::signal("release");
const PRICE: Signal<u64> = Signal::new("price");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn release() -> AnyAgent {
    agent_fn("release", async |cx: Context, _: ()| {
        cx.wait(RELEASE).ask("ship it?").timeout(3 * DAY).await
    })
}

pub(super) async fn a_person_answers_and_the_question_stands_until_then(home: Home) {
    let hive = home.hive().agent(release()).start().await.unwrap();
    let task = hive.submit_named("release", &()).await.unwrap();
    let status = until(&task, TaskState::Waiting).await;
    let [
        WaitingFor::Signal {
            name,
            question,
            until: deadline,
            ..
        },
    ] = &status.waiting_for[..]
    else {
        panic!("{status:?}");
    };
    assert_eq!(
        (name.as_str(), question.as_ref().map(|asked| asked.text.as_str())),
        ("release", Some("ship it?"))
    );
    assert!(deadline.is_some());
    task.answer(&RELEASE, "ada", &Approval::yes()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap()["approved"], true);
    let late = task.answer(&RELEASE, "bob", &Approval::yes()).await.err().unwrap();
    assert_eq!(late.code(), "conflict");
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_signal_before_its_wait_is_kept_and_each_wait_takes_one(home: Home) {
    let agent = agent_fn("prices", async |cx: Context, _: ()| {
        cx.wait(Signal::<()>::new("go")).await?;
        Ok::<_, Failure>((cx.wait(PRICE).await?, cx.wait(PRICE).await?))
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("prices", &()).await.unwrap();
    task.signal(&PRICE, &1).await.unwrap();
    task.signal(&PRICE, &2).await.unwrap();
    until(&task, TaskState::Waiting).await;
    task.signal(&Signal::new("go"), &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!([1, 2]));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_wait_survives_its_process(home: Home) {
    let hive = home.hive().agent(release()).start().await.unwrap();
    let task = hive.submit_named("release", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    hive.shutdown().await.unwrap();

    let hive = home.hive().agent(release()).start().await.unwrap();
    assert_eq!(hive.recovered(), 0, "a waiting task was not running");
    let task = hive.task::<Approval>(task.id());
    task.answer(&RELEASE, "ada", &Approval::no("too early")).await.unwrap();
    let answer = soon(task.result()).await.unwrap();
    assert_eq!((answer.approved, answer.comment.as_str()), (false, "too early"));
    hive.shutdown().await.unwrap();
}

/// Lets days pass for a hive on a manual clock until the task has ended.
async fn let_time_pass<T>(clock: &ManualClock, task: &hive_orchestration::TaskHandle<T>, step: Duration) {
    soon(async {
        while !task.status().await.unwrap().state.is_final() {
            clock.advance(step);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_answers_in_three_days() {
    let (home, start) = (Home::new(), Timestamp::from_micros(0));
    let clock = Arc::new(ManualClock::new(start));
    let hive = home.hive().agent(release()).clock(clock.clone()).start().await.unwrap();
    let task = hive.submit_named("release", &()).await.unwrap();
    let_time_pass(&clock, &task, Duration::from_secs(600)).await;
    let error = task.result().await.err().unwrap();
    assert_eq!((error.code(), error.field("signal")), ("timeout", Some("release")));
    let took = task.status().await.unwrap().finished_at.unwrap().since(start);
    assert!(took >= 3 * DAY, "{took:?}");
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_timer_is_never_early_and_begins_once() {
    let home = Home::new();
    let nap = || agent_fn("nap", async |cx: Context, _: ()| cx.sleep(DAY).await);
    let start = Timestamp::from_micros(0);
    let clock = Arc::new(ManualClock::new(start));
    let hive = home.hive().agent(nap()).clock(clock.clone()).start().await.unwrap();
    let task = hive.submit_named("nap", &()).await.unwrap();
    let parked = soon(async {
        loop {
            let status = task.status().await.unwrap();
            if status.state == TaskState::Waiting {
                return status;
            }
            clock.advance(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    })
    .await;
    hive.shutdown().await.unwrap();

    let end = |status: TaskStatus| match status.waiting_for.as_slice() {
        [WaitingFor::Timer { until, .. }] => *until,
        other => panic!("{other:?}"),
    };
    let fixed = end(parked);
    // The process is away for half a day; the timer's end stays where it was.
    clock.advance(DAY / 2);
    let hive = home.hive().agent(nap()).clock(clock.clone()).start().await.unwrap();
    let task = hive.task::<()>(task.id());
    assert_eq!(end(task.status().await.unwrap()), fixed);
    let_time_pass(&clock, &task, Duration::from_secs(60)).await;
    let took = task.status().await.unwrap().finished_at.unwrap().since(start);
    assert!(took >= DAY, "{took:?}");
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_delayed_task_is_scheduled_first() {
    let home = Home::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let noop = agent_fn("noop", async |_: Context, _: ()| Ok::<_, Failure>(()));
    let hive = home.hive().agent(noop).clock(clock.clone()).start().await.unwrap();
    let task = hive.submit_named("noop", &()).delay(DAY).await.unwrap();
    assert_eq!(task.status().await.unwrap().state, TaskState::Scheduled);
    let_time_pass(&clock, &task, Duration::from_secs(3600)).await;
    assert_eq!(task.status().await.unwrap().state, TaskState::Succeeded);
    hive.shutdown().await.unwrap();
}

pub(super) async fn whichever_comes_first_wins_and_the_loser_is_cancelled_with_its_parent(home: Home) {
    struct Slow;
    impl Agent for Slow {
        const NAME: &'static str = "slow";
        type Input = ();
        type Output = ();
        async fn run(&self, cx: &Context, (): ()) -> Result<(), Failure> {
            cx.sleep(DAY).await
        }
    }
    let race = agent_fn("race", async |cx: Context, _: ()| {
        tokio::select! {
            answer = async { cx.wait(PRICE).await } => answer,
            slow = cx.call("slow", Call::<Slow>::new(())) => slow.map(|()| 0),
        }
    });
    let hive = home.hive().agent(race).agent(Slow).start().await.unwrap();
    let task = hive.submit_named("race", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    task.signal(&PRICE, &42).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 42);
    assert_eq!(
        hive.counts(Some(task.id())).await.unwrap(),
        [(TaskState::Succeeded, 1), (TaskState::Cancelled, 1)]
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_branch_that_works_while_another_waits_is_not_cut_short(home: Home) {
    let ledger = Ledger::default();
    let log = ledger.clone();
    let agent = agent_fn("both", move |cx: Context, _: ()| {
        let log = log.clone();
        async move {
            let (price, steps) = tokio::join!(async { cx.wait(PRICE).await }, async {
                let mut steps = 0;
                for _ in 0..5 {
                    // Longer than the grace after which a run that only waits is parked.
                    cx.step("work", async || {
                        tokio::time::sleep(Duration::from_millis(30)).await;
                        log.add("work");
                        Ok::<_, Failure>(())
                    })
                    .await?;
                    steps += 1;
                }
                Ok::<_, Failure>(steps)
            });
            Ok::<_, Failure>((price?, steps?))
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("both", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    assert_eq!(ledger.count(), 5, "parked only when the work was done");
    task.signal(&PRICE, &1).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!([1, 5]));
    assert_eq!(ledger.count(), 5);
    hive.shutdown().await.unwrap();
}

/// Pays once; the first process dies while it pays.
fn payer(ledger: &Ledger, hang: bool) -> AnyAgent {
    let ledger = ledger.clone();
    agent_fn("payer", move |cx: Context, _: ()| {
        let ledger = ledger.clone();
        async move {
            cx.step("pay", async || {
                ledger.add("pay");
                if hang {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failure>("paid by us".to_owned())
            })
            .effect(Effect::AtMostOnce)
            .await
        }
    })
}

async fn interrupted_payment(home: &Home, ledger: &Ledger) -> hive_orchestration::core::id::TaskId {
    let hive = home
        .hive()
        .agent(payer(ledger, true))
        .drain(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("payer", &()).await.unwrap();
    soon(async {
        while ledger.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    hive.shutdown().await.unwrap();
    task.id()
}

pub(super) async fn an_interrupted_at_most_once_step_waits_for_a_decision(home: Home) {
    for (decision, output, paid) in [
        (
            Decision::Adopt("found on the statement".into()),
            "found on the statement",
            1,
        ),
        (Decision::Rerun, "paid by us", 2),
    ] {
        let ledger = Ledger::default();
        let id = interrupted_payment(&home, &ledger).await;
        let hive = home.hive().agent(payer(&ledger, false)).start().await.unwrap();
        let task = hive.task::<String>(id);
        let status = until(&task, TaskState::Waiting).await;
        let [WaitingFor::Decision { step, report, .. }] = &status.waiting_for[..] else {
            panic!("{status:?}")
        };
        assert!(report.contains("must not run twice"), "{report}");
        assert_eq!(ledger.count(), 1, "never a silent second time");
        let unknown = task.decide("step:other#1", Decision::Rerun).await.err().unwrap();
        assert_eq!(unknown.code(), "not-found");
        task.decide(step, decision).await.unwrap();
        assert_eq!(soon(task.result()).await.unwrap(), output);
        assert_eq!(ledger.count(), paid);
        hive.shutdown().await.unwrap();
    }
}

pub(super) async fn a_record_that_no_longer_fits_is_held_not_retried(home: Home) {
    // The old code recorded a number under this name and then waited.
    let old = agent_fn("changed", async |cx: Context, _: ()| {
        cx.step("answer", async || Ok::<_, Failure>(42)).await?;
        cx.wait(PRICE).await.map(|_| "old".to_owned())
    });
    let hive = home.hive().agent(old).start().await.unwrap();
    let task = hive.submit_named("changed", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    hive.shutdown().await.unwrap();

    // The new code expects text there.
    let new = agent_fn("changed", async |cx: Context, _: ()| {
        let answer: String = cx
            .step("answer", async || Ok::<_, Failure>("forty-two".to_owned()))
            .await?;
        cx.wait(PRICE).await?;
        Ok::<_, Failure>(answer)
    });
    let hive = home.hive().agent(new).start().await.unwrap();
    let task = hive.task::<String>(task.id());
    task.signal(&PRICE, &1).await.unwrap();
    let mut changes = task.watch();
    let report = soon(async {
        loop {
            let status = changes.next().await.unwrap().unwrap();
            assert!(!status.state.is_final(), "{status:?}");
            if let Some(WaitingFor::Decision { report, .. }) = status.waiting_for.first()
                && status.state == TaskState::Waiting
            {
                return report.clone();
            }
        }
    })
    .await;
    assert!(report.contains("does not fit the type"), "{report}");
    task.decide("step:answer#1", Decision::Adopt("42".into()))
        .await
        .unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "42");
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_outcome_that_nobody_wants_any_more_does_not_keep_the_worker(home: Home) {
    struct Quick;
    impl Agent for Quick {
        const NAME: &'static str = "quick";
        type Input = ();
        type Output = ();
        async fn run(&self, _: &Context, (): ()) -> Result<(), Failure> {
            Ok(())
        }
    }
    let agent = agent_fn("fickle", async |cx: Context, _: ()| {
        // Calls, then loses interest before the answer comes.
        tokio::select! {
            biased;
            _ = cx.call("quick", Call::<Quick>::new(())) => {}
            () = tokio::task::yield_now() => {}
        }
        cx.wait(PRICE).await
    });
    let hive = home
        .hive()
        .agent(agent)
        .agent(Quick)
        .concurrency(1)
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("fickle", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    let other = hive.submit::<Quick>(()).await.unwrap();
    soon(other.result()).await.unwrap();
    task.signal(&PRICE, &3).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 3);
    hive.shutdown().await.unwrap();
}

pub(super) async fn the_same_name_in_two_scopes_is_two_steps(home: Home) {
    let agent = agent_fn("scopes", async |cx: Context, _: ()| {
        let (left, right) = (cx.scope("left"), cx.scope("left/right"));
        let inner = left.scope("right");
        let step = async |cx: &Context, n: u32| cx.step("n", async || Ok::<_, Failure>(n)).await;
        let (a, b, c, d) = tokio::join!(step(&cx, 1), step(&left, 2), step(&right, 3), step(&inner, 4));
        // Asked again by another name for the same scope: the second use of the name, so a new step.
        let e = step(&cx.scope("left"), 5).await;
        Ok::<_, Failure>((
            vec![a?, b?, c?, d?, e?],
            cx.idempotency_key("k") == left.idempotency_key("k"),
        ))
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("scopes", &()).await.unwrap();
    assert_eq!(
        soon(task.result()).await.unwrap(),
        serde_json::json!([[1, 2, 3, 4, 5], false])
    );
    let mut keys = hive
        .db()
        .read(|db| db.query("SELECT key FROM journal", &[], |row| row.get::<String>(0)))
        .await
        .unwrap();
    keys.sort();
    assert_eq!(
        keys,
        [
            "step:n#1",
            "step[left%2Fright]:n#1",
            "step[left/right]:n#1",
            "step[left]:n#1",
            "step[left]:n#2"
        ]
    );
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_step_may_become_one_that_must_not_run_twice(home: Home) {
    let with = |effect| {
        agent_fn("changed", move |cx: Context, _: ()| async move {
            let n: u32 = cx.step("n", async || Ok::<_, Failure>(1)).effect(effect).await?;
            cx.wait(PRICE).await.map(|price| price + u64::from(n))
        })
    };
    let hive = home.hive().agent(with(Effect::Repeatable)).start().await.unwrap();
    let task = hive.submit_named("changed", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    hive.shutdown().await.unwrap();
    let hive = home.hive().agent(with(Effect::AtMostOnce)).start().await.unwrap();
    let task = hive.task::<u64>(task.id());
    task.signal(&PRICE, &1).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 2);
    hive.shutdown().await.unwrap();
}

pub(super) async fn names_that_are_none_are_the_agents_failure(home: Home) {
    let agent = agent_fn("names", async |cx: Context, name: String| {
        cx.step(&name, async || Ok::<_, Failure>(())).await
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    for name in [String::new(), "a\nb".into(), "x".repeat(129)] {
        let task = hive.submit_named("names", &name).await.unwrap();
        let error = soon(task.result()).await.err().unwrap();
        assert_eq!(
            (error.code(), error.field("field")),
            ("invalid-input", Some("step")),
            "{error}"
        );
        assert_eq!(task.status().await.unwrap().failures, 1, "it is not tried again");
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_question_says_who_may_answer_and_what(home: Home) {
    let agent = agent_fn("vote", async |cx: Context, _: ()| {
        let answer = cx
            .wait(Signal::<String>::new("vote"))
            .ask("which one?")
            .choices(["red".to_owned(), "blue".to_owned()])
            .may_answer(["ada", "grace"])
            .answered()
            .await?;
        Ok::<_, Failure>((answer.value, answer.by))
    });
    let vote = Signal::<String>::new("vote");
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("vote", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    for (by, value, code) in [
        (Some("bob"), "red", "forbidden"),
        (Some("Ada"), "red", "forbidden"),
        (None, "red", "forbidden"),
        (Some("ada"), "green", "invalid-input"),
        (Some(""), "red", "invalid-input"),
    ] {
        let told = match by {
            Some(by) => task.answer(&vote, by, &value.into()).await,
            None => task.signal(&vote, &value.into()).await,
        };
        assert_eq!(told.err().unwrap().code(), code, "{by:?} {value}");
    }
    assert_eq!(task.status().await.unwrap().state, TaskState::Waiting);
    task.answer(&vote, "grace", &"blue".into()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!(["blue", "grace"]));
    let events = hive.bus().history(Query::new()).await.unwrap().events;
    let told: Vec<&str> = events
        .iter()
        .filter(|event| ["task.asked", "task.answered"].contains(&event.event_type()))
        .map(|event| event.event_type())
        .collect();
    assert_eq!(told, ["task.asked", "task.answered"]);
    hive.shutdown().await.unwrap();
}

/// What comes before the question is taken when it answers it, and otherwise kept for another.
pub(super) async fn an_early_answer_is_taken_by_the_question_that_it_fits(home: Home) {
    let agent = agent_fn("early", async |cx: Context, _: ()| {
        cx.wait(Signal::<()>::new("go")).await?;
        let asked = cx.wait(PRICE).ask("how much?").may_answer(["ada"]).answered().await?;
        Ok::<_, Failure>((asked.value, asked.by, cx.wait(PRICE).await?))
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("early", &()).await.unwrap();
    task.signal(&PRICE, &1).await.unwrap();
    task.answer(&PRICE, "ada", &2).await.unwrap();
    task.signal(&Signal::new("go"), &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), serde_json::json!([2, "ada", 1]));
    hive.shutdown().await.unwrap();
}

pub(super) async fn whoever_is_needed_sees_what_waits_longest_first(home: Home) {
    let asks = agent_fn("asks", async |cx: Context, name: String| {
        cx.progress(1, 2, "half way").await?;
        cx.wait(PRICE).ask(name).await
    });
    let once = agent_fn("once", async |cx: Context, _: ()| {
        cx.step("pay", async || {
            std::future::pending::<()>().await;
            Ok::<_, Failure>(1)
        })
        .effect(Effect::AtMostOnce)
        .timeout(Duration::from_millis(1))
        .await
    });
    let hive = home.hive().agent(asks).agent(once).start().await.unwrap();
    let mut tasks = Vec::new();
    for name in ["first", "second", "third"] {
        let task = hive.submit_named("asks", &name).tenant("acme").await.unwrap();
        until(&task, TaskState::Waiting).await;
        tasks.push(task);
    }
    let held = hive.submit_named("once", &()).await.unwrap();
    until(&held, TaskState::Waiting).await;
    let all = hive.interruptions(InterruptionQuery::new()).await.unwrap();
    let seen: Vec<String> = all
        .interruptions
        .iter()
        .map(|one| match &one.on {
            Interrupt::Question {
                signal,
                question,
                until,
            } => {
                assert_eq!(*until, None);
                format!("{signal}: {}", question.text)
            }
            Interrupt::Decision { step, .. } => step.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["price: first", "price: second", "price: third", "step:pay#1"]);
    assert_eq!(all.interruptions[0].progress.as_ref().unwrap().note, "half way");
    assert!(all.next.is_none() && all.interruptions.iter().all(|one| one.since >= Timestamp::EPOCH));
    // What is answered, or of a task that has ended, is waited for no more; pages go on where they ended.
    tasks[0].signal(&PRICE, &1).await.unwrap();
    tasks[1].cancel().await.unwrap();
    let page = hive.interruptions(InterruptionQuery::new().limit(1)).await.unwrap();
    assert_eq!(page.interruptions[0].task, tasks[2].id());
    let rest = hive
        .interruptions(InterruptionQuery::new().after(page.next.unwrap()))
        .await
        .unwrap();
    assert_eq!((rest.interruptions.len(), rest.interruptions[0].task), (1, held.id()));
    let acme = hive
        .interruptions(InterruptionQuery::new().tenant("acme").agent("asks"))
        .await
        .unwrap();
    assert_eq!(acme.interruptions.len(), 1);
    hive.shutdown().await.unwrap();
}
