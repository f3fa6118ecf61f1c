//! What is held for a person: the report stands, and every decision leads on.

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::core::id::TaskId;
use hive_orchestration::task::{Decision, TaskState, WaitingFor};
use hive_orchestration::{Context, Effect, Failure, Hive, Signal, TaskHandle, agent_fn, limits};

use crate::kit::{Home, Ledger, crash, reopened, soon, until};

const PRICE: Signal<u64> = Signal::new("price");
/// The same name, and a sender who is wrong about the type.
const WRONG: Signal<String> = Signal::new("price");

/// The step that is held, and why.
async fn held<T>(task: &TaskHandle<T>) -> (String, String) {
    let mut changes = task.watch();
    soon(async {
        loop {
            let status = changes.next().await.unwrap().expect("the task ended");
            for wait in status.waiting_for {
                if let WaitingFor::Decision { step, report, .. } = wait
                    && status.state == TaskState::Waiting
                {
                    return (step, report);
                }
            }
        }
    })
    .await
}

/// Pays at most once while it waits for a price; the first process dies while it pays.
fn payer(ledger: &Ledger) -> AnyAgent {
    let ledger = ledger.clone();
    agent_fn("payer", move |cx: Context, _: ()| {
        let ledger = ledger.clone();
        async move {
            let pay = async || {
                if ledger.add("pay") == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failure>(ledger.count() as u64)
            };
            let (paid, price) = tokio::join!(async { cx.step("pay", pay).effect(Effect::AtMostOnce).await }, async {
                cx.wait(PRICE).await
            });
            Ok::<_, Failure>((paid?, price?))
        }
    })
}

pub(super) async fn why_a_step_is_held_stands_until_the_decision(home: Home) {
    let ledger = Ledger::default();
    let open = || home.hive().agent(payer(&ledger));
    let hive = open().start().await.unwrap();
    let id = hive.submit_named("payer", &()).await.unwrap().id();
    ledger.seen("pay").await;
    crash(hive).await;

    let hive = reopened(open).await;
    let task = hive.task::<(u64, u64)>(id);
    let (step, why) = held(&task).await;
    assert!(why.contains("must not run twice"), "{why}");
    // Something else brings the task back, in this process and in the next.
    task.signal(&PRICE, &7).await.unwrap();
    hive.shutdown().await.unwrap();
    let hive = reopened(open).await;
    let task = hive.task::<(u64, u64)>(id);
    assert_eq!(held(&task).await, (step.clone(), why));
    task.decide(&step, Decision::Rerun).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), (2, 7));
    assert_eq!(ledger.count(), 2);
    hive.shutdown().await.unwrap();
}

fn buyer() -> AnyAgent {
    agent_fn("buyer", async |cx: Context, _: ()| cx.wait(PRICE).await)
}

async fn sent_wrong(home: &Home) -> (Hive, TaskId, String) {
    let hive = home.hive().agent(buyer()).start().await.unwrap();
    let task = hive.submit_named("buyer", &()).await.unwrap();
    task.signal(&WRONG, &"a lot".to_owned()).await.unwrap();
    let (step, why) = held(&task).await;
    assert!(why.contains("does not fit the type"), "{why}");
    (hive, task.id(), step)
}

pub(super) async fn a_signal_of_the_wrong_type_may_be_sent_again(home: Home) {
    let (hive, id, step) = sent_wrong(&home).await;
    let task = hive.task::<u64>(id);
    // A decision that fits no better is held as well.
    task.decide(&step, Decision::Adopt("still a lot".into())).await.unwrap();
    held(&task).await;
    task.decide(&step, Decision::Rerun).await.unwrap();
    soon(async {
        loop {
            if let [WaitingFor::Signal { .. }] = &task.status().await.unwrap().waiting_for[..] {
                return;
            }
        }
    })
    .await;
    task.signal(&PRICE, &7).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 7);
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_decision_survives_the_process_that_took_it(home: Home) {
    for (decision, then) in [(Decision::Adopt(7.into()), None), (Decision::Rerun, Some(8))] {
        let (hive, id, step) = sent_wrong(&home).await;
        hive.shutdown().await.unwrap();
        // A hive without the agent takes the decision, and cannot act on it.
        let hive = home.hive().start().await.unwrap();
        hive.task::<u64>(id).decide(&step, decision).await.unwrap();
        let again = hive.task::<u64>(id).decide(&step, Decision::Rerun).await.unwrap_err();
        assert_eq!(again.code(), "not-found", "the first decision stands");
        hive.shutdown().await.unwrap();

        let hive = home.hive().agent(buyer()).start().await.unwrap();
        let task = hive.task::<u64>(id);
        if let Some(price) = then {
            until(&task, TaskState::Waiting).await;
            task.signal(&PRICE, &price).await.unwrap();
        }
        assert_eq!(soon(task.result()).await.unwrap(), then.unwrap_or(7));
        hive.shutdown().await.unwrap();
    }
}

pub(super) async fn signals_that_nobody_reads_do_not_pile_up(home: Home) {
    let hive = home.hive().agent(buyer()).start().await.unwrap();
    let task = hive.submit_named("buyer", &()).await.unwrap();
    until(&task, TaskState::Waiting).await;
    const NOISE: Signal<u64> = Signal::new("noise");
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..=limits::SIGNALS_KEPT {
        let task = task.clone();
        sends.spawn(async move { task.signal(&NOISE, &(n as u64)).await });
    }
    let refused: Vec<_> = soon(sends.join_all())
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    let codes: Vec<_> = refused
        .iter()
        .map(|error| (error.code(), error.field("signal")))
        .collect();
    assert_eq!(codes, [("limit-reached", Some("noise"))]);
    let nameless = task.signal(&Signal::new(""), &1).await.unwrap_err();
    assert_eq!(
        (nameless.code(), nameless.field("field")),
        ("invalid-input", Some("signal"))
    );
    // The one that it waits for gets through.
    task.signal(&PRICE, &7).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 7);
    hive.shutdown().await.unwrap();
}
