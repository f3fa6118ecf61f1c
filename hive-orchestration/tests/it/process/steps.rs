//! What processes remember.

use std::time::Duration;

use hive_orchestration::RetryPolicy;
use hive_orchestration::task::{Decision, TaskState};
use serde_json::json;

use super::Workshop;
use crate::kit::{soon, until};

fn again() -> RetryPolicy {
    RetryPolicy::fixed(5, Duration::ZERO)
}

#[tokio::test]
async fn a_process_that_is_killed_goes_on_where_it_stood() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    def work(name):
        note(name)
        return {"by": task["attempt"], "name": name}
    plan = step(task, "plan", lambda: work("plan"))
    # The same name again is another step.
    first = step(task, "page", lambda: work("first"))
    if task["attempt"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    second = step(task, "page", lambda: work("second"))
    say(type="output", id=task["id"], output=[plan, first, second])
"#,
    );
    let hive = shop.open(shop.agent().retry(again())).await;
    let output = soon(hive.submit_named("worker", &()).await.unwrap().result())
        .await
        .unwrap();
    let by = |attempt: u32, name: &str| json!({"by": attempt, "name": name});
    assert_eq!(output, json!([by(1, "plan"), by(1, "first"), by(2, "second")]));
    for word in ["plan", "first", "second"] {
        assert_eq!(shop.count(word), 1, "{word}");
    }
    assert_eq!(shop.starts(), 2);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn what_was_handed_over_before_the_end_is_remembered() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
if ask("step.get", id=task["id"], name="plan")["found"]:
    say(type="output", id=task["id"], output="remembered")
    hear()
# It does not wait for the answer.
say(type="step.put", id=task["id"], call=9, name="plan", output=1)
os._exit(3)
"#,
    );
    let hive = shop.open(shop.agent().retry(again())).await;
    let task = hive.submit_named("worker", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "remembered");
    assert_eq!(shop.starts(), 2);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_step_that_must_not_run_twice_waits_for_a_person_and_holds_no_process() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    if task["input"] == "quick":
        say(type="output", id=task["id"], output="quick")
        continue
    say(type="step.get", id=task["id"], call=1, name="pay", effect="at-most-once")
    reply = hear()
    if reply["type"] == "cancel":
        say(type="failure", id=task["id"], message="stopped")
    elif reply["found"]:
        say(type="output", id=task["id"], output=reply["output"])
    else:
        note("paid")
        os.kill(os.getpid(), signal.SIGKILL)
"#,
    );
    let hive = shop.open(shop.agent().retry(again())).await;
    let task = hive.submit_named("worker", &"slow").await.unwrap();
    until(&task, TaskState::Waiting).await;
    // The only process is free for others meanwhile.
    let other = hive.submit_named("worker", &"quick").await.unwrap();
    assert_eq!(soon(other.result()).await.unwrap(), "quick");
    task.decide("step:pay#1", Decision::Adopt(json!("receipt")))
        .await
        .unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "receipt");
    assert_eq!(shop.count("paid"), 1);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_step_that_failed_may_be_tried_again() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
assert not ask("step.get", id=task["id"], name="pay", effect="at-most-once")["found"]
told = ask("step.put", id=task["id"], name="pay", failure={"message": "no money", "code": "timeout"})
assert told["error"]["code"] == "timeout" and "no money" in told["error"]["message"], told
assert not ask("step.get", id=task["id"], name="pay 2", effect="at-most-once")["found"]
assert ask("step.put", id=task["id"], name="pay 2", output=None)["stored"]
refused = ask("step.put", id=task["id"], name="pay 2", output=None)
assert refused["error"]["code"] == "invalid-input", refused
refused = ask("step.get", id=task["id"], name="")
assert refused["error"]["code"] == "invalid-input", refused
say(type="output", id=task["id"], output="fine")
hear()
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let task = hive.submit_named("worker", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "fine");
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn steps_may_be_open_side_by_side() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
names = ["step %d" % number for number in range(100)]
for call, name in enumerate(names):
    say(type="step.get", id=task["id"], call=call, name=name)
    # Never more than are allowed.
    if call >= 50:
        say(type="step.put", id=task["id"], call=1000 + call, name=names[call - 50], output=call)
for call in range(100, 150):
    say(type="step.put", id=task["id"], call=1000 + call, name=names[call - 50], output=call)
replies = [hear() for _ in range(200)]
assert sorted(r["call"] for r in replies if r.get("found") is False) == list(range(100))
assert sorted(r["call"] for r in replies if r.get("stored")) == list(range(1050, 1150)), replies
say(type="output", id=task["id"], output="fine")
hear()
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let task = hive.submit_named("worker", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "fine");
    soon(hive.shutdown()).await.unwrap();
}
