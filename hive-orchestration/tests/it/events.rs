//! Tasks that wait for events.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::bus::{Bus, MIGRATIONS, NewEvent, Pattern, Retention, RetentionPolicy, Sequence};
use hive_orchestration::core::clock::SystemClock;
use hive_orchestration::core::db::Db;
use hive_orchestration::core::id::IdSource;
use hive_orchestration::task::{TaskState, WaitingFor};
use hive_orchestration::{Context, Failure, Hive, Signal, TaskHandle, agent_fn};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::kit::{Home, Ledger, crash, reopened, soon, until};

/// Waits for the payment of an order, and says how much it was.
fn clerk() -> AnyAgent {
    agent_fn("clerk", async |cx: Context, order: u64| {
        let paid = cx.wait_event("order.paid.*").matching("/order", order).await?;
        let cents = paid.data().decode::<Value>()?["cents"].as_u64();
        Ok::<_, Failure>((paid.sequence().get(), cents))
    })
}

fn paid(order: u64, cents: u64) -> NewEvent {
    NewEvent::new(
        "order.paid",
        "order.paid.berlin",
        &json!({"order": order, "cents": cents}),
    )
    .unwrap()
}

async fn pay(hive: &Hive, order: u64, cents: u64) -> u64 {
    hive.bus().publish(paid(order, cents)).await.unwrap().get()
}

async fn submit(hive: &Hive, order: u64) -> TaskHandle<Value> {
    hive.submit_named("clerk", &order).await.unwrap()
}

/// The database alone, without anybody who looks after tasks.
async fn alone(home: &Home) -> (Db, Bus) {
    let options = || home.options().migrations(&MIGRATIONS);
    let db = soon(async {
        loop {
            match Db::open(options()).await {
                Ok(db) => return db,
                Err(error) => assert_eq!(error.code(), "database-locked"),
            }
        }
    })
    .await;
    let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system())
        .await
        .unwrap();
    (db, bus)
}

pub(super) async fn the_first_event_that_matches_ends_the_wait(home: Home) {
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    // Before anybody waits.
    pay(&hive, 7, 1).await;
    let task = submit(&hive, 7).await;
    let status = until(&task, TaskState::Waiting).await;
    let [
        WaitingFor::Event {
            pattern, until: None, ..
        },
    ] = &status.waiting_for[..]
    else {
        panic!("{status:?}");
    };
    assert_eq!(pattern, "order.paid.*");
    // Another order, another tenant, another topic: none is what is waited for.
    pay(&hive, 8, 2).await;
    hive.bus().publish(paid(7, 3).tenant("other")).await.unwrap();
    let shipped = NewEvent::new("order.paid", "order.shipped.berlin", &json!({"order": 7, "cents": 4})).unwrap();
    hive.bus().publish(shipped).await.unwrap();
    // Of two in one commit, the first.
    let both = hive.bus().publish_all(vec![paid(7, 5), paid(7, 6)]).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), json!([both[0].get(), 5]));
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_event_from_before_counts_only_since_it_is_asked_for(home: Home) {
    let asker = agent_fn("asker", async |cx: Context, since: bool| {
        let wait = cx.wait_event("answer.>").timeout(Duration::from_millis(300));
        let wait = if since { wait.since(Sequence::START) } else { wait };
        Ok::<_, Failure>(
            wait.await
                .map(|event| event.sequence().get())
                .map_err(|failure| failure.kind().code().to_owned()),
        )
    });
    let hive = home.hive().agent(asker).start().await.unwrap();
    let early = NewEvent::new("answer", "answer.early", &json!(1)).unwrap();
    let early = hive.bus().publish(early).await.unwrap().get();
    let task = hive.submit_named("asker", &true).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), json!({"Ok": early}));
    let task = hive.submit_named("asker", &false).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), json!({"Err": "timeout"}));
    hive.shutdown().await.unwrap();
}

pub(super) async fn an_event_that_comes_while_nobody_is_there_is_found(home: Home) {
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    let (first, second) = (submit(&hive, 1).await, submit(&hive, 2).await);
    until(&first, TaskState::Waiting).await;
    until(&second, TaskState::Waiting).await;
    hive.shutdown().await.unwrap();
    let (db, bus) = alone(&home).await;
    let sequence = bus.publish(paid(1, 10)).await.unwrap();
    bus.shutdown().await.unwrap();
    db.close().await.unwrap();

    let hive = home.hive().agent(clerk()).start().await.unwrap();
    let task = hive.task::<Value>(first.id());
    assert_eq!(soon(task.result()).await.unwrap(), json!([sequence.get(), 10]));
    let sequence = pay(&hive, 2, 20).await;
    let task = hive.task::<Value>(second.id());
    assert_eq!(soon(task.result()).await.unwrap(), json!([sequence, 20]));
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_crash_at_any_moment_loses_no_event(home: Home) {
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    let tasks: Vec<_> = futures(8, |order| submit(&hive, order)).await;
    until(&tasks[0], TaskState::Waiting).await;
    for order in 0..8 {
        pay(&hive, order, order).await;
    }
    // Some of them may have been told, and some may not wait yet: those begin after the crash and get what comes later.
    crash(hive).await;
    let hive = reopened(|| home.hive().agent(clerk())).await;
    for order in 0..8 {
        pay(&hive, order, order).await;
    }
    for (order, task) in tasks.iter().enumerate() {
        let task = hive.task::<Value>(task.id());
        soon(async {
            // One that began to wait after both has not missed anything, but needs another.
            loop {
                tokio::select! {
                    result = task.result() => {
                        assert_eq!(result.unwrap()[1], json!(order));
                        break;
                    }
                    () = tokio::time::sleep(Duration::from_secs(2)) => drop(pay(&hive, order as u64, order as u64).await),
                }
            }
        })
        .await;
    }
    hive.shutdown().await.unwrap();
}

async fn futures<T, F: Future<Output = T>>(count: u64, make: impl Fn(u64) -> F) -> Vec<T> {
    let mut all = Vec::new();
    for number in 0..count {
        all.push(make(number).await);
    }
    all
}

pub(super) async fn many_waits_end_with_one_event(home: Home) {
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    // More than are settled in one transaction.
    let tasks = hive
        .submit_all((0..600).map(|_| hive.submit_named("clerk", &7)))
        .await
        .unwrap();
    for task in &tasks {
        until(task, TaskState::Waiting).await;
    }
    let sequence = pay(&hive, 7, 70).await;
    for task in &tasks {
        assert_eq!(soon(task.result()).await.unwrap(), json!([sequence, 70]));
    }
    hive.shutdown().await.unwrap();
}

/// Questions and answers cross each other all the time: no answer may be missed, and each wait gets the first.
pub(super) async fn no_answer_is_missed_however_quick_it_is(home: Home) {
    const ROUNDS: u64 = 4;
    let place: Arc<OnceLock<Bus>> = Arc::default();
    let known = Arc::clone(&place);
    let asker = agent_fn("asker", move |cx: Context, id: u64| {
        let known = Arc::clone(&known);
        async move {
            let mut answers = Vec::new();
            for round in 0..ROUNDS {
                let since = cx
                    .step("question", async || {
                        let question = NewEvent::new("question", "question.x", &json!({"id": id, "round": round}))?;
                        known.get().unwrap().publish(question).await
                    })
                    .await?;
                let answer = cx
                    .wait_event(format!("answer.{}.*", id % 5))
                    .matching("/id", id)
                    .matching("/round", round)
                    .since(since)
                    .await?;
                answers.push(answer.data().decode::<Value>()?["n"].as_u64());
            }
            Ok::<_, Failure>(answers)
        }
    });
    let hive = home.hive().agent(asker).start().await.unwrap();
    let bus = place.get_or_init(|| hive.bus().clone()).clone();
    let mut questions = bus.subscribe("question.*").await.unwrap();
    let answering = tokio::spawn(async move {
        while let Ok(question) = questions.next().await {
            let data = question.data().decode::<Value>().unwrap();
            let topic = format!("answer.{}.x", data["id"].as_u64().unwrap() % 5);
            // Twice: only the first counts.
            for n in 1..3 {
                let answer = json!({"id": data["id"], "round": data["round"], "n": n});
                bus.publish(NewEvent::new("answer", topic.clone(), &answer).unwrap())
                    .await
                    .unwrap();
            }
        }
    });
    let tasks = hive
        .submit_all((0..40).map(|id| hive.submit_named("asker", &id)))
        .await
        .unwrap();
    for task in &tasks {
        assert_eq!(soon(task.result()).await.unwrap(), json!(vec![1; ROUNDS as usize]));
    }
    hive.shutdown().await.unwrap();
    answering.await.unwrap();
}

pub(super) async fn who_waits_too_long_is_told_and_may_wait_again(home: Home) {
    let agent = agent_fn("clerk", async |cx: Context, order: u64| {
        let paid = cx
            .wait_event("order.paid.*")
            .matching("/order", order)
            .timeout(Duration::from_millis(200))
            .await?;
        Ok::<_, Failure>(paid.sequence().get())
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = submit(&hive, 7).await;
    let error = soon(task.result()).await.err().unwrap();
    assert_eq!((error.code(), error.field("topics")), ("timeout", Some("order.paid.*")));
    // What comes too late is no longer for it.
    pay(&hive, 7, 1).await;
    task.redrive().await.unwrap();
    soon(async {
        loop {
            let state = task.status().await.unwrap().state;
            if state == TaskState::Succeeded {
                break;
            }
            if state == TaskState::Failed {
                task.redrive().await.unwrap();
            }
            pay(&hive, 7, 2).await;
        }
    })
    .await;
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_cancelled_wait_is_over(home: Home) {
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    let (gone, stays) = (submit(&hive, 7).await, submit(&hive, 7).await);
    until(&gone, TaskState::Waiting).await;
    until(&stays, TaskState::Waiting).await;
    assert!(gone.cancel().await.unwrap());
    let sequence = pay(&hive, 7, 1).await;
    assert_eq!(soon(stays.result()).await.unwrap(), json!([sequence, 1]));
    assert_eq!(gone.status().await.unwrap().state, TaskState::Cancelled);
    // Brought back, it waits for what comes from now on.
    gone.redrive().await.unwrap();
    until(&gone, TaskState::Waiting).await;
    let sequence = pay(&hive, 7, 2).await;
    assert_eq!(soon(gone.result()).await.unwrap(), json!([sequence, 2]));
    assert_eq!(hive.forget(Duration::ZERO).await.unwrap(), 2);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_wait_that_lost_a_race_is_taken_up_again(home: Home) {
    let agent = agent_fn("racer", async |cx: Context, _: ()| {
        tokio::select! {
            biased;
            go = cx.wait(Signal::<()>::new("go")) => go?,
            _ = cx.wait_event("order.paid.*") => return Err(Failure::terminal("not yet")),
        }
        cx.wait(Signal::<()>::new("on")).await?;
        Ok::<_, Failure>(cx.wait_event("order.paid.*").await?.sequence().get())
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("racer", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    task.signal(&Signal::new("go"), &()).await.unwrap();
    soon(async {
        while task.status().await.unwrap().waiting_for.len() != 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let first = pay(&hive, 7, 1).await;
    pay(&hive, 7, 2).await;
    task.signal(&Signal::new("on"), &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), json!(first));
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_is_no_filter_is_the_agents_failure(home: Home) {
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let agent = agent_fn("hostile", move |cx: Context, _: ()| {
        let seen = seen.clone();
        async move {
            for pattern in ["", "a..b", "order.pa*", ">.a", "a b", "a\0", "ö", &"x".repeat(256)] {
                let failure = cx.wait_event(pattern.to_owned()).await.err().unwrap();
                assert!(failure.is_terminal());
                seen.add(format!("{pattern:.8} {}", failure.kind().code()));
            }
            let failure = cx.wait_event("*").matching("order", 1).await.err().unwrap();
            seen.add(failure.kind().code());
            let long = "x".repeat(2_000);
            let failure = cx.wait_event("*").source(long).await.err().unwrap();
            seen.add(failure.kind().code());
            Ok::<_, Failure>(())
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let task = hive.submit_named("hostile", &()).await.unwrap();
    soon(task.result()).await.unwrap();
    let lines = ledger.lines();
    assert_eq!(lines.len(), 10);
    assert!(
        lines[..9].iter().all(|line| line.ends_with("invalid-input")),
        "{lines:?}"
    );
    assert_eq!(lines[9], "limit-reached");
    hive.shutdown().await.unwrap();
}

/// A policy that keeps nothing but the newest event.
fn newest_only() -> RetentionPolicy {
    RetentionPolicy::new([Retention::of(Pattern::ALL).count(1).even_unread()]).unwrap()
}

pub(super) async fn retention_leaves_what_was_not_looked_at(home: Home) {
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    let task = submit(&hive, 7).await;
    until(&task, TaskState::Waiting).await;
    hive.shutdown().await.unwrap();
    let (db, bus) = alone(&home).await;
    let sequence = bus.publish(paid(7, 1)).await.unwrap();
    for order in 100..110 {
        bus.publish(paid(order, 1)).await.unwrap();
    }
    bus.shutdown().await.unwrap();
    db.close().await.unwrap();
    // Whoever cannot run the task looks for its events all the same, and forgets none before.
    let hive = home.hive().start().await.unwrap();
    hive.bus().retain(&newest_only()).await.unwrap();
    soon(async {
        while hive.task::<Value>(task.id()).status().await.unwrap().state == TaskState::Waiting {
            tokio::task::yield_now().await;
        }
    })
    .await;
    hive.shutdown().await.unwrap();
    let hive = home.hive().agent(clerk()).start().await.unwrap();
    assert_eq!(
        soon(hive.task::<Value>(task.id()).result()).await.unwrap(),
        json!([sequence.get(), 1])
    );
    // Nobody waits any more.
    let pruned = hive.bus().retain(&newest_only()).await.unwrap();
    assert!(pruned.events > 10 && pruned.held_back == 0, "{pruned:?}");
    hive.shutdown().await.unwrap();
}

pub(super) async fn filters_beyond_number_are_told_apart(home: Home) {
    let agent = agent_fn("clerk", async |cx: Context, order: u64| {
        let paid = cx.wait_event(format!("order.paid.n{order}")).await?;
        Ok::<_, Failure>(paid.sequence().get())
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    // More topics than one subscription tells apart.
    let tasks = hive
        .submit_all((0..100).map(|order| hive.submit_named("clerk", &order)))
        .await
        .unwrap();
    for task in &tasks {
        until(task, TaskState::Waiting).await;
    }
    let mut publishing = JoinSet::new();
    for order in 0..100 {
        let bus = hive.bus().clone();
        publishing.spawn(async move {
            let event = NewEvent::new("order.paid", format!("order.paid.n{order}"), &()).unwrap();
            (order, bus.publish(event).await.unwrap().get())
        });
    }
    for (order, sequence) in publishing.join_all().await {
        assert_eq!(soon(tasks[order].result()).await.unwrap(), json!(sequence));
    }
    hive.shutdown().await.unwrap();
}

/// What one process waits for is told by another, also when the first has died in the middle of it.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_takes_over_what_a_dead_one_waited_for() {
    let home = Home::postgres();
    let (first, second) = (
        home.hive().agent(clerk()).start().await.unwrap(),
        home.hive().start().await.unwrap(),
    );
    let (told, orphan) = (submit(&first, 1).await, submit(&first, 2).await);
    until(&told, TaskState::Waiting).await;
    until(&orphan, TaskState::Waiting).await;
    let sequence = pay(&second, 1, 1).await;
    assert_eq!(soon(told.result()).await.unwrap(), json!([sequence, 1]));
    crash(first).await;
    let sequence = pay(&second, 2, 2).await;
    let orphan = second.task::<Value>(orphan.id());
    soon(async {
        while orphan.status().await.unwrap().state == TaskState::Waiting {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let third = home.hive().agent(clerk()).start().await.unwrap();
    assert_eq!(soon(orphan.result()).await.unwrap(), json!([sequence, 2]));
    third.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
