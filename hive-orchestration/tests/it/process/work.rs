//! Processes that do as they should.

use std::collections::BTreeSet;
use std::time::Duration;

use hive_orchestration::core::payload::Payload;
use hive_orchestration::process::ProcessAgent;
use hive_orchestration::{Hive, RetryPolicy};
use serde_json::json;

use super::Workshop;
use crate::kit::{Home, soon};

#[tokio::test]
async fn one_process_serves_many_tasks_and_is_kept() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    say(type="output", id=task["id"], output=[task["input"], task["agent"], task["attempt"], task["tenant"]])
"#,
    );
    let hive = shop.open(shop.agent()).await;
    for number in 0..20 {
        let input = json!({"text": "Grüße\n\u{1F600}\"", "number": number, "list": [null, 1.5, {}]});
        let output = soon(hive.submit_named("worker", &input).await.unwrap().result())
            .await
            .unwrap();
        assert_eq!(output, json!([input, "worker", 1, "default"]));
    }
    assert_eq!(shop.starts(), 1);
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn nothing_is_started_before_there_is_work() {
    let shop = Workshop::new("hello()\nhear()");
    let hive = shop.open(shop.agent()).await;
    soon(hive.shutdown()).await.unwrap();
    assert_eq!(shop.notes(), [""; 0]);
}

#[tokio::test]
async fn a_shell_script_is_a_program_too() {
    let home = Home::new();
    let script = r#"
        echo '{"type":"hello","protocol":1,"agents":["other","worker"]}'
        while read -r line; do
            id=${line#*'"id":"'}
            echo "{\"type\":\"output\",\"id\":\"${id%%\"*}\",\"output\":\"$GREETING from $(pwd)\"}"
        done"#;
    let agent = ProcessAgent::new("worker", "sh")
        .args(["-c", script])
        .env("GREETING", "hello")
        .dir("/");
    let hive = Hive::open(home.db()).agent(agent).start().await.unwrap();
    let task = hive.submit_named("worker", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "hello from /");
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn progress_is_seen() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
for done in range(1, 4):
    say(type="progress", id=task["id"], done=done, total=3, note="page %d" % done)
hear()
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let task = hive.submit_named("worker", &()).await.unwrap();
    soon(async {
        let mut changes = task.watch();
        while let Some(status) = changes.next().await.unwrap() {
            if status
                .progress
                .is_some_and(|told| told.done == 3 && told.total == 3 && told.note == "page 3")
            {
                return;
            }
        }
        panic!("the task ended");
    })
    .await;
    task.cancel().await.unwrap();
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_failure_says_whether_to_try_again() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    note("try")
    if task["attempt"] == 1:
        say(type="failure", id=task["id"], message="not yet", retry_after_ms=1)
    else:
        say(type="failure", id=task["id"], message="never", retryable=False, code="budget-exhausted")
"#,
    );
    let hive = shop
        .open(shop.agent().retry(RetryPolicy::fixed(5, Duration::ZERO)))
        .await;
    let error = soon(hive.submit_named("worker", &()).await.unwrap().result())
        .await
        .unwrap_err();
    assert_eq!((error.kind().code(), error.message()), ("budget-exhausted", "never"));
    assert_eq!(shop.count("try"), 2);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn one_process_may_have_several_tasks() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    tasks = [hear() for _ in range(3)]
    for task in reversed(tasks):
        say(type="output", id=task["id"], output=task["input"])
"#,
    );
    let hive = shop.open(shop.agent().concurrent(3)).await;
    let mut tasks = Vec::new();
    for number in 0..6 {
        tasks.push(hive.submit_named("worker", &number).await.unwrap());
    }
    for (number, task) in tasks.iter().enumerate() {
        assert_eq!(soon(task.result()).await.unwrap(), number);
    }
    assert_eq!(shop.starts(), 1);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn several_processes_share_the_work() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
# Nobody ends before all of them are here.
note("here")
while open(os.environ["LEDGER"]).read().count("here") < 3:
    time.sleep(0.01)
say(type="output", id=task["id"], output=os.getpid())
hear()
"#,
    );
    let hive = shop.open(shop.agent().processes(3)).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(hive.submit_named("worker", &()).await.unwrap());
    }
    let mut pids = BTreeSet::new();
    for task in &tasks {
        pids.insert(soon(task.result()).await.unwrap().to_string());
    }
    assert_eq!(pids.len(), 3);
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn a_program_may_serve_one_task_and_end() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
sys.stdout.write(json.dumps({"type": "output", "id": task["id"], "output": task["input"]}))
"#,
    );
    let hive = shop.open(shop.agent()).await;
    for number in 0..5 {
        let task = hive.submit_named("worker", &number).await.unwrap();
        assert_eq!(soon(task.result()).await.unwrap(), number);
    }
    assert_eq!(shop.starts(), 5);
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn input_of_another_type_is_refused_before_anything_runs() {
    let shop = Workshop::new("");
    let hive = shop.open(shop.agent().input::<Vec<u32>>()).await;
    let error = hive.submit_named("worker", &json!([1, "two"])).await.unwrap_err();
    assert_eq!(
        (error.kind().code(), error.field("path")),
        ("invalid-input", Some("[1]"))
    );
    let schema = hive.agents().next().unwrap().input_schema();
    assert_eq!(schema.as_value()["type"], "array");
    assert_eq!(shop.starts(), 0);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn the_largest_payload_passes_both_ways() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
say(type="output", id=task["id"], output=task["input"])
task = hear()
say(type="output", id=task["id"], output="x" * (1 << 20))
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let limit = hive_orchestration::limits::PAYLOAD_BYTES;
    let input = "x".repeat(limit - 2);
    assert_eq!(Payload::encode(&input, limit).unwrap().size(), limit);
    let output = soon(hive.submit_named("worker", &input).await.unwrap().result())
        .await
        .unwrap();
    assert_eq!(output, input);
    let error = soon(hive.submit_named("worker", &()).await.unwrap().result())
        .await
        .unwrap_err();
    assert_eq!(error.kind().code(), "payload-too-large");
    soon(hive.shutdown()).await.unwrap();
}
