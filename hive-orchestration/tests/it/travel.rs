//! Runs as data, forks, and looks at what new code would make of open runs.

use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::history::{EntryState, FORKED_FROM, Fork, History};
use hive_orchestration::replay::{Concern, Outcome, check_on, replay};
use hive_orchestration::task::query::TaskQuery;
use hive_orchestration::task::{Decision, TaskState, WaitingFor};
use hive_orchestration::{Agent, Call, Context, Effect, Failure, Hive, Signal, TaskHandle, agent_fn};
use serde_json::{Value, json};

use crate::kit::{Home, Ledger, crash, reopened, soon, until};

const GO: Signal<u32> = Signal::new("go");

struct Helper(Ledger);

impl Agent for Helper {
    const NAME: &'static str = "helper";
    type Input = u32;
    type Output = ();

    async fn run(&self, _: &Context, n: u32) -> Result<(), Failure> {
        self.0.add(format!("helper {n}"));
        if n == 13 {
            return Err(Failure::terminal("unlucky"));
        }
        Ok(())
    }
}

/// Something of everything, and a wait in the middle.
fn journey(ledger: &Ledger) -> AnyAgent {
    let ledger = ledger.clone();
    agent_fn("journey", move |cx: Context, n: u32| {
        let ledger = ledger.clone();
        async move {
            let did = |what: &str| {
                ledger.add(what);
                Ok::<_, Failure>(n)
            };
            let a = cx.scope("first").step("a", async || did("a")).version(3).await?;
            let own = ledger.clone();
            cx.transaction("t", move |_| Ok(own.add("t"))).await?;
            cx.sleep(Duration::from_millis(1)).await?;
            cx.map("each", [1, 2], Call::<Helper>::new).await?;
            // A failure of a child is remembered as well.
            let unlucky = cx.call("unlucky", Call::<Helper>::new(13)).await.is_err();
            cx.step("pay", async || did("pay")).effect(Effect::AtMostOnce).await?;
            let go = cx.wait(GO).ask("go on?").await?;
            let b = cx.step("b", async || did("b")).await?;
            Ok::<_, Failure>((a, go, b, unlucky))
        }
    })
}

async fn started(home: &Home, ledger: &Ledger) -> Hive {
    let hive = home.hive().agent(journey(ledger)).agent(Helper(ledger.clone()));
    hive.start().await.unwrap()
}

/// Waits until it asks its question.
async fn asked<T>(task: &TaskHandle<T>) {
    soon(async {
        let mut changes = task.watch();
        loop {
            let status = changes.next().await.unwrap().expect("the task ended");
            if status
                .waiting_for
                .iter()
                .any(|wait| matches!(wait, WaitingFor::Signal { .. }))
            {
                return;
            }
        }
    })
    .await;
}

/// The step that is held.
async fn held<T>(task: &TaskHandle<T>) -> String {
    let status = soon(async {
        loop {
            let status = until(task, TaskState::Waiting).await;
            if status
                .waiting_for
                .iter()
                .any(|wait| matches!(wait, WaitingFor::Decision { .. }))
            {
                return status;
            }
        }
    })
    .await;
    let step = status.waiting_for.into_iter().find_map(|wait| {
        if let WaitingFor::Decision { step, .. } = wait {
            return Some(step);
        }
        None
    });
    step.unwrap()
}

fn sorted(ledger: &Ledger) -> Vec<String> {
    let mut lines = ledger.lines();
    lines.sort();
    lines
}

const ALL: [&str; 7] = ["a", "b", "helper 1", "helper 13", "helper 2", "pay", "t"];

pub(super) async fn a_history_holds_what_a_task_remembers_and_comes_back_from_json(home: Home) {
    let ledger = Ledger::default();
    let hive = started(&home, &ledger).await;
    let task = hive.submit_named("journey", &5).await.unwrap();
    asked(&task).await;
    task.signal(&Signal::new("early"), &json!({"a": 1})).await.unwrap();
    let open = task.export().await.unwrap();
    let keys: Vec<&str> = open.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "step[first]:a#1",
            "transaction:t#1",
            "sleep:timer#1",
            "call:each#1",
            "call:unlucky#1",
            "step:pay#1",
            "wait:go#1"
        ]
    );
    let [a, t, nap, each, unlucky, pay, go] = &open.entries[..] else {
        panic!()
    };
    assert_eq!(
        (a.scope.as_str(), a.name.as_str(), a.occurrence, a.version),
        ("first", "a", 1, 3)
    );
    assert_eq!(a.value.as_ref().unwrap().as_bytes(), b"5");
    assert!(a.type_name.as_ref().unwrap().contains("u32"));
    assert_eq!(
        (t.kind.as_str(), nap.value.is_some(), pay.code),
        ("transaction", false, 1)
    );
    assert_eq!(each.type_name.as_deref(), Some("2 of helper"));
    assert_eq!(each.children.len(), 2);
    assert_eq!(each.children[0].output.as_ref().unwrap().as_bytes(), b"null");
    assert_eq!(unlucky.children[0].failure.as_ref().unwrap().message(), "unlucky");
    assert_eq!(
        (go.state, go.note.as_deref()),
        (EntryState::Pending, Some(r#"{"text":"go on?"}"#))
    );
    assert_eq!(open.signals[0].signal, "early");
    assert!(!open.state.is_final() && open.output.is_none());

    task.signal(&GO, &7).await.unwrap();
    let output = soon(task.result()).await.unwrap();
    assert_eq!(output, json!([5, 7, 5, true]));
    let ended = hive.export(task.id()).await.unwrap();
    assert_eq!(ended.output.as_ref().unwrap().decode::<Value>().unwrap(), output);
    for history in [&open, &ended] {
        let back = History::from_json(&history.to_json().unwrap()).unwrap();
        assert_eq!(&back, history);
        let replayed = replay(journey(&ledger), &back).await.unwrap();
        assert!(replayed.concerns().is_empty(), "{replayed:?}");
        assert_eq!((replayed.used, replayed.new.len()), (history.entries.len(), 0));
        if history.output.is_some() {
            assert_eq!(replayed.same_output, Some(true), "{replayed:?}");
        } else {
            assert_eq!(replayed.outcome, Outcome::Waits);
        }
    }
    assert_eq!(sorted(&ledger), ALL, "replays do no work");
    let later = ended.to_json().unwrap().replace("\"format\": 1", "\"format\": 2");
    assert_eq!(History::from_json(&later).unwrap_err().code(), "invalid-input");
    let strange = ended.to_json().unwrap().replace("\"code\": 2", "\"code\": 200");
    assert_eq!(History::from_json(&strange).unwrap_err().field("code"), Some("200"));
    assert_eq!(History::from_json("{}").unwrap_err().code(), "invalid-input");
    let missing = hive
        .export(hive_orchestration::core::id::IdSource::system().next())
        .await;
    assert_eq!(missing.unwrap_err().code(), "not-found");
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_fork_does_again_what_comes_after_and_nothing_else(home: Home) {
    let ledger = Ledger::default();
    let hive = started(&home, &ledger).await;
    let task = hive.submit_named("journey", &5).await.unwrap();
    asked(&task).await;
    // Of one that goes on: it waits for itself.
    let beside = hive.fork(task.id(), Fork::at_end()).await.unwrap();
    asked(&beside).await;
    assert_eq!(ledger.count(), ALL.len() - 1, "{:?}", ledger.lines());
    task.signal(&GO, &7).await.unwrap();
    soon(task.result()).await.unwrap();
    beside.signal(&GO, &8).await.unwrap();
    assert_eq!(soon(beside.result()).await.unwrap(), json!([5, 8, 5, true]));
    let count = ALL.len() + 1;
    assert_eq!(ledger.count(), count, "b, twice: {:?}", ledger.lines());

    // Of one that has ended, before different entries. What is kept: all but what is said.
    for (before, again) in [
        ("b", vec!["b"]),
        ("step:pay#1", vec!["pay", "b"]),
        ("unlucky", vec!["helper 13", "pay", "b"]),
    ] {
        let known = ledger.count();
        let fork = hive.fork(task.id(), before).await.unwrap();
        if before != "b" {
            asked(&fork).await;
            fork.signal(&GO, &9).await.unwrap();
        }
        let go = if before == "b" { 7 } else { 9 };
        assert_eq!(soon(fork.result()).await.unwrap(), json!([5, go, 5, true]));
        assert_eq!(ledger.lines()[known..], again[..], "{before}");
        assert_eq!(fork.export().await.unwrap().forked_from, Some(task.id().to_string()));
    }
    // A fork of a fork, with children that are nobody's rows.
    let second = hive.fork(beside.id(), Fork::at_end()).await.unwrap();
    let third = hive.fork(second.id(), Fork::at_end()).await.unwrap();
    for fork in [&second, &third] {
        assert_eq!(soon(fork.result()).await.unwrap(), json!([5, 8, 5, true]));
    }
    let found = hive
        .tasks(TaskQuery::default().label(FORKED_FROM, task.id().to_string()))
        .await
        .unwrap();
    assert_eq!(found.tasks.len(), 4);

    let missing = hive.fork(task.id(), "nothing").await.unwrap_err();
    assert_eq!(missing.code(), "not-found");
    assert!(
        missing.field("entries").unwrap().contains("transaction:t#1"),
        "{missing:?}"
    );
    assert_eq!(sorted(&Ledger::default()).len(), 0);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_fork_may_have_another_input_or_another_outcome(home: Home) {
    let ledger = Ledger::default();
    let hive = started(&home, &ledger).await;
    let task = hive.submit_named("journey", &5).await.unwrap();
    asked(&task).await;
    let fork = hive
        .fork(task.id(), Fork::before("go").with_input(&6).with_value(&1))
        .await
        .unwrap();
    assert_eq!(
        soon(fork.result()).await.unwrap(),
        json!([5, 1, 6, true]),
        "a is kept, b is of the new input"
    );
    // A call may be given outputs.
    let fork = hive
        .fork(task.id(), Fork::before("each").with_value(&[(), ()]))
        .await
        .unwrap();
    asked(&fork).await;
    let helped = ledger.lines().iter().filter(|line| line.starts_with("helper")).count();
    assert_eq!(
        helped,
        4,
        "two, the unlucky one, and that once more: {:?}",
        ledger.lines()
    );
    let wrong = hive
        .fork(task.id(), Fork::before("go").with_input(&"six"))
        .await
        .unwrap_err();
    assert_eq!(wrong.code(), "invalid-input");
    let nobody = hive.fork(task.id(), Fork::at_end().with_value(&1)).await.unwrap_err();
    assert_eq!(nobody.field("field"), Some("value"));
    let nap = hive
        .fork(task.id(), Fork::before("timer").with_value(&1))
        .await
        .unwrap_err();
    assert_eq!(nap.field("entry"), Some("sleep:timer#1"));
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_is_not_known_is_held_in_the_fork_as_well(home: Home) {
    let ledger = Ledger::default();
    let payer = || {
        let ledger = ledger.clone();
        agent_fn("payer", move |cx: Context, _: u32| {
            let ledger = ledger.clone();
            async move {
                let pay = async || {
                    if ledger.add("pay") == 1 {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Failure>(1)
                };
                cx.step("pay", pay).effect(Effect::AtMostOnce).await
            }
        })
    };
    let hive = home.hive().agent(payer()).start().await.unwrap();
    let task = hive.submit_named("payer", &1).await.unwrap();
    ledger.seen("pay").await;
    let fork = hive.fork(task.id(), Fork::at_end()).await.unwrap();
    assert_eq!(held(&fork).await, "step:pay#1");
    fork.decide("step:pay#1", Decision::Adopt(json!(2))).await.unwrap();
    assert_eq!(soon(fork.result()).await.unwrap(), 2);
    assert_eq!(ledger.count(), 1, "never a silent second time");
    task.cancel().await.unwrap();
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_decision_on_a_drift_stands(home: Home) {
    let ledger = Ledger::default();
    let versioned = |version: u32, ends: bool| {
        let ledger = ledger.clone();
        agent_fn("versioned", move |cx: Context, _: u32| {
            let ledger = ledger.clone();
            async move {
                let a = cx
                    .step("a", async || Ok::<_, Failure>(ledger.add("a")))
                    .version(version)
                    .await?;
                if !ends {
                    cx.wait(GO).await?;
                }
                Ok::<_, Failure>(a)
            }
        })
    };
    let open = |version| home.hive().agent(versioned(version, false));
    let hive = open(1).start().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let task = hive.submit_named("versioned", &1).await.unwrap();
        asked(&task).await;
        ids.push(task.id());
    }
    crash(hive).await;
    let hive = reopened(|| open(2)).await;
    for (id, decision) in ids.iter().zip([Decision::Adopt(json!(40)), Decision::Rerun]) {
        let task = hive.task::<Value>(*id);
        // It waited, and nothing has woken it.
        task.signal(&GO, &1).await.unwrap();
        assert_eq!(held(&task).await, "step:a#1");
        task.decide("step:a#1", decision).await.unwrap();
    }
    for (id, output) in ids.iter().zip([40, 3]) {
        assert_eq!(soon(hive.task::<Value>(*id).result()).await.unwrap(), output);
    }
    assert_eq!(ledger.count(), 3);
    // What was decided is the record of the new version, for good.
    for id in &ids {
        let history = hive.export(*id).await.unwrap();
        let a = history.entries.iter().find(|entry| entry.name == "a").unwrap();
        assert_eq!(a.version, 2);
        assert!(a.note.is_none(), "what a person decided needs no note");
        let replayed = replay(versioned(2, true), &history).await.unwrap();
        assert_eq!(replayed.drifts, [], "{replayed:?}");
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn children_that_are_called_anew_take_the_place_of_the_others(home: Home) {
    let ledger = Ledger::default();
    let caller = |count: u32| {
        agent_fn("caller", move |cx: Context, _: u32| async move {
            let each = cx.map("each", 0..count, Call::<Helper>::new).await?;
            cx.wait(GO).await?;
            Ok::<_, Failure>(each.len())
        })
    };
    let open = |count| home.hive().agent(caller(count)).agent(Helper(ledger.clone()));
    let hive = open(2).start().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let task = hive.submit_named("caller", &1).await.unwrap();
        asked(&task).await;
        task.signal(&GO, &1).await.unwrap();
        soon(task.result()).await.unwrap();
        ids.push(hive.fork(task.id(), "go").await.unwrap().id());
        asked(&hive.task::<Value>(*ids.last().unwrap())).await;
    }
    assert_eq!(ledger.count(), 4, "forks call nobody");
    hive.shutdown().await.unwrap();
    let hive = open(3).start().await.unwrap();
    for (id, decision) in ids
        .iter()
        .zip([Decision::Adopt(json!([null, null, null])), Decision::Rerun])
    {
        let task = hive.task::<Value>(*id);
        task.signal(&GO, &1).await.unwrap();
        assert_eq!(held(&task).await, "call:each#1");
        task.decide("call:each#1", decision).await.unwrap();
        assert_eq!(soon(task.result()).await.unwrap(), 3);
    }
    assert_eq!(ledger.count(), 7, "{:?}", ledger.lines());
    let children = hive.export(ids[1]).await.unwrap().entries;
    let children = children
        .iter()
        .find(|entry| entry.name == "each")
        .unwrap()
        .children
        .len();
    assert_eq!(children, 3);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_check_looks_at_every_open_run_and_writes_nothing(home: Home) {
    let missing = Hive::open(home.path("missing.db")).check().await.unwrap_err();
    assert_eq!(missing.code(), "not-found");
    assert!(!home.path("missing.db").exists());
    let ledger = Ledger::default();
    let hive = started(&home, &ledger).await;
    let task = hive.submit_named("journey", &5).await.unwrap();
    let later = hive
        .submit_named("journey", &5)
        .delay(Duration::from_secs(3_600))
        .await
        .unwrap();
    asked(&task).await;
    let done = hive.submit_named("helper", &1).await.unwrap();
    soon(done.result()).await.unwrap();
    let count = |hive: &Hive| {
        let db = hive.db().clone();
        async move {
            db.read(|db| {
                db.query_one(
                    "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM journal), (SELECT count(*) FROM instance),
                            (SELECT count(*) FROM agent_version)",
                    &[],
                    |row| Ok([row.get::<i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?]),
                )
            })
            .await
            .unwrap()
        }
    };
    let (before, worked) = (count(&hive).await, ledger.count());
    // While a hive runs on it, with agents that are the same, others, and none.
    let same = home
        .hive()
        .agent(journey(&ledger))
        .agent(Helper(ledger.clone()))
        .check()
        .await
        .unwrap();
    assert!(same.is_clean() && same.runs == 2 && same.safe == 2, "{same}");
    let none = home.hive().check().await.unwrap();
    assert_eq!(none.findings.len(), 2);
    assert!(
        none.findings
            .iter()
            .all(|finding| finding.concerns == [Concern::NoAgent]),
        "{none}"
    );
    let other = agent_fn("journey", async |_: Context, _: u32| Ok::<_, Failure>(1));
    let other = check_on(hive.db(), [other]).await.unwrap();
    let [finding] = &other.findings[..] else {
        panic!("{other}")
    };
    assert_eq!(finding.task, task.id());
    // What has waited and what is pending is no loss, what a sleep has left neither.
    let lost = "step[first]:a#1, transaction:t#1, call:each#1, call:unlucky#1, step:pay#1";
    assert!(other.to_string().contains(lost), "{other}");
    let twice = check_on(hive.db(), [journey(&ledger), journey(&ledger)])
        .await
        .unwrap_err();
    assert_eq!(twice.code(), "conflict");
    assert_eq!((count(&hive).await, ledger.count()), (before, worked));
    later.cancel().await.unwrap();
    hive.shutdown().await.unwrap();
}
