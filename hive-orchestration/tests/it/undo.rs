//! What a task did is taken back when it fails after all.

use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::task::TaskState;
use hive_orchestration::task::query::TaskQuery;
use hive_orchestration::{Agent, Call, Context, Failure, Hive, Signal, agent_fn};
use serde_json::json;

use crate::kit::{Home, Ledger, soon, until};

/// Takes one thing back.
struct Back(Ledger);

impl Agent for Back {
    const NAME: &'static str = "back";
    type Input = String;
    type Output = ();

    async fn run(&self, cx: &Context, what: String) -> Result<(), Failure> {
        if what == "stuck" && !self.0.lines().contains(&"mended".to_owned()) {
            return Err(Failure::terminal("cannot be taken back"));
        }
        cx.step("back", async || Ok::<_, Failure>(self.0.add(format!("-{what}"))))
            .await?;
        Ok(())
    }
}

/// Does all of these, and then what the last word says.
fn trip(log: Ledger) -> AnyAgent {
    agent_fn("trip", move |cx: Context, (what, end): (Vec<String>, String)| {
        let log = log.clone();
        async move {
            for one in &what {
                let call = |done: &String| Call::<Back>::new(done.clone());
                let work = async || {
                    log.add(format!("+{one}"));
                    Ok::<_, Failure>(one.clone())
                };
                cx.step("book", work).undo(call).await?;
            }
            cx.undo("last", Call::<Back>::new("last".into())).await?;
            match end.as_str() {
                "fail" => Err(Failure::terminal("rain")),
                "wait" => cx.wait(Signal::<()>::new("go")).await,
                _ => Ok(()),
            }
        }
    })
}

async fn start(home: &Home, log: &Ledger) -> Hive {
    let builder = home.hive().agent(trip(log.clone())).agent(Back(log.clone()));
    builder.start().await.unwrap()
}

pub(super) async fn what_was_done_is_taken_back_in_reverse(home: Home) {
    let ledger = Ledger::default();
    let hive = start(&home, &ledger).await;
    let task = hive
        .submit_named("trip", &json!([["a", "b"], "fail"]))
        .tenant("acme")
        .await
        .unwrap();
    assert_eq!(soon(task.result()).await.err().unwrap().code(), "agent-failed");
    let undo = task.undo().await.unwrap().unwrap();
    soon(undo.result()).await.unwrap();
    assert_eq!(ledger.lines(), ["+a", "+b", "-last", "-b", "-a"]);
    // What was taken back does not stand any more.
    assert_eq!(task.redrive().await.err().unwrap().code(), "conflict");
    let all = hive
        .tasks(TaskQuery::new().label("undoes", task.id().to_string()))
        .await
        .unwrap()
        .tasks;
    assert_eq!((all.len(), all[0].tenant.as_str()), (1, "acme"));
    // One that succeeds leaves nothing behind.
    let task = hive.submit_named("trip", &json!([["c"], "well"])).await.unwrap();
    soon(task.result()).await.unwrap();
    assert!(task.undo().await.unwrap().is_none());
    hive.shutdown().await.unwrap();
}

/// Also when the process that did it is gone, and when only a part was done.
pub(super) async fn cancelling_takes_back_what_was_done_so_far(home: Home) {
    let ledger = Ledger::default();
    let hive = start(&home, &ledger).await;
    let outer = agent_fn("outer", async |cx: Context, input: (Vec<String>, String)| {
        // The child ends because this does.
        tokio::select! {
            done = cx.call("trip", Call::<Named>::new(input)) => done,
            failed = async { cx.wait(Signal::<()>::new("stop")).await } => failed.and(Err(Failure::terminal("stopped"))),
        }
    });
    struct Named;
    impl Agent for Named {
        const NAME: &'static str = "trip";
        type Input = (Vec<String>, String);
        type Output = ();

        async fn run(&self, _: &Context, _: Self::Input) -> Result<(), Failure> {
            Ok(())
        }
    }
    let task = hive.submit_named("trip", &json!([["a", "b"], "wait"])).await.unwrap();
    until(&task, TaskState::Waiting).await;
    hive.shutdown().await.unwrap();
    let hive = home
        .hive()
        .agent(trip(ledger.clone()))
        .agent(Back(ledger.clone()))
        .agent(outer)
        .start()
        .await
        .unwrap();
    let task = hive.task::<()>(task.id());
    assert!(task.cancel().await.unwrap());
    assert!(!task.cancel().await.unwrap());
    soon(task.undo().await.unwrap().unwrap().result()).await.unwrap();
    assert_eq!(ledger.lines(), ["+a", "+b", "-last", "-b", "-a"]);
    // A child that is cancelled with its caller takes its own back.
    let task = hive.submit_named("outer", &json!([["c"], "wait"])).await.unwrap();
    ledger.seen("+c").await;
    let child = soon(async {
        loop {
            let children = hive.tasks(TaskQuery::new().parent(task.id())).await.unwrap().tasks;
            if let Some(child) = children.iter().find(|child| child.state == TaskState::Waiting) {
                return child.id;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    task.signal(&Signal::new("stop"), &()).await.unwrap();
    soon(task.result()).await.err().unwrap();
    assert!(task.undo().await.unwrap().is_none());
    soon(hive.task::<()>(child).undo().await.unwrap().unwrap().result())
        .await
        .unwrap();
    assert_eq!(ledger.lines()[5..], ["+c", "-last", "-c"]);
    hive.shutdown().await.unwrap();
}

pub(super) async fn what_cannot_be_taken_back_stops_the_rest_until_it_can(home: Home) {
    let ledger = Ledger::default();
    let hive = start(&home, &ledger).await;
    let task = hive
        .submit_named("trip", &json!([["a", "stuck", "b"], "fail"]))
        .await
        .unwrap();
    soon(task.result()).await.err().unwrap();
    let undo = task.undo().await.unwrap().unwrap();
    let error = soon(undo.result()).await.err().unwrap();
    assert_eq!(error.field("call"), Some("book"), "{error:?}");
    assert_eq!(ledger.lines()[3..], ["-last", "-b"]);
    ledger.add("mended");
    undo.redrive().await.unwrap();
    soon(undo.result()).await.unwrap();
    assert_eq!(ledger.lines()[5..], ["mended", "-stuck", "-a"]);
    hive.shutdown().await.unwrap();
}

pub(super) async fn nobody_submits_to_the_agent_that_undoes(home: Home) {
    let hive = home.hive().agent(Back(Ledger::default())).start().await.unwrap();
    let error = hive.submit_named("hive-undo", &json!({})).await.err().unwrap();
    assert_eq!(error.code(), "unknown-agent");
    let names: Vec<&str> = hive.agents().map(AnyAgent::name).collect();
    assert_eq!(names, ["back"]);
    hive.shutdown().await.unwrap();
    let taken = agent_fn("hive-undo", async |_: Context, _: ()| Ok::<_, Failure>(()));
    assert_eq!(home.hive().agent(taken).start().await.err().unwrap().code(), "conflict");
}
