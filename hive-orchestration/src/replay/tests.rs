use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hive_core::id::{IdSource, TaskId};
use hive_errors::{ErrorKind, Failure};
use serde_json::json;

use super::drive::Stage;
use super::{Outcome, replay};
use crate::agent::{AnyAgent, agent_fn};
use crate::context::{Context, Signal};
use crate::history::History;

/// The history of a task that remembers these steps.
fn history(entries: &[(&str, u8, serde_json::Value)]) -> History {
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, code, value)| {
            json!({
                "key": key, "kind": "step", "code": code, "name": "a", "occurrence": 1, "state": "done", "value": value,
                "at": "2026-01-01T00:00:00Z",
            })
        })
        .collect();
    let id: TaskId = IdSource::system().next();
    let history = json!({
        "format": 1, "task": id, "root": id, "agent": "agent", "tenant": "default", "state": "waiting", "attempt": 2, "depth": 0,
        "created_at": "2026-01-01T00:00:00Z", "input": null, "entries": entries,
    });
    History::from_json(&history.to_string()).unwrap()
}

fn agent<F, Fut>(work: F) -> AnyAgent
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    agent_fn("agent", move |cx: Context, _: ()| work(cx))
}

#[tokio::test]
async fn branches_end_where_something_new_is_asked_for() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let code = agent(move |cx| {
        let count = Arc::clone(&count);
        async move {
            let (a, b, c) = tokio::join!(
                async { cx.step("a", async || Ok::<_, Failure>(1)).await },
                async {
                    let work = async || {
                        count.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, Failure>(2)
                    };
                    cx.step("b", work).await
                },
                async {
                    cx.progress(1, 2, "half").await?;
                    cx.wait(Signal::<u32>::new("c")).await
                },
            );
            Ok(a? + b? + c?)
        }
    });
    let replayed = replay(
        code,
        &history(&[("step:a#1", 0, json!(1)), ("step:old#1", 0, json!(1))]),
    )
    .await
    .unwrap();
    assert_eq!(replayed.outcome, Outcome::Waits);
    assert_eq!((replayed.used, replayed.unused), (1, vec!["step:old#1".to_owned()]));
    assert_eq!(replayed.new, ["step:b#1", "wait:c#1"]);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_panic_is_a_failure_and_nothing_else() {
    let replayed = replay(agent(async |_| panic!("at the disco")), &history(&[]))
        .await
        .unwrap();
    let Outcome::Fails { failure } = replayed.outcome else {
        panic!("{replayed:?}")
    };
    assert_eq!(failure.kind(), ErrorKind::Panic);
}

#[tokio::test]
async fn code_that_never_rests_is_given_up() {
    let busy = agent(async |cx| {
        loop {
            cx.progress(1, 2, "half").await?;
        }
    });
    let stage = Stage::new().within(Duration::from_millis(20));
    assert_eq!(stage.replay(&busy, &history(&[])).await.unwrap().outcome, Outcome::Busy);
    // What waits for something else than the hive is not waited for.
    let (_keep, never) = tokio::sync::oneshot::channel::<u32>();
    let never = Arc::new(tokio::sync::Mutex::new(Some(never)));
    let other = agent(move |_| {
        let never = Arc::clone(&never);
        async move { Ok(never.lock().await.take().unwrap().await?) }
    });
    assert_eq!(replay(other, &history(&[])).await.unwrap().outcome, Outcome::Waits);
}

#[tokio::test]
async fn code_outside_of_steps_runs() {
    let code = agent(async |cx| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        cx.step("a", async || Ok::<_, Failure>(1)).await
    });
    let replayed = replay(code, &history(&[("step:a#1", 0, json!(7))])).await.unwrap();
    assert!(matches!(replayed.outcome, Outcome::Returns { output } if output.as_bytes() == b"7"));
}

#[tokio::test]
async fn a_model_never_answers_and_another_agents_history_is_refused() {
    let code = agent(async |cx| {
        let answer: String = cx.model().extract("hello").await?;
        Ok(answer.len() as u32)
    });
    assert_eq!(replay(code, &history(&[])).await.unwrap().outcome, Outcome::Waits);
    let other = agent_fn("other", async |_: Context, _: ()| Ok::<_, Failure>(1));
    assert_eq!(
        replay(other, &history(&[])).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}
