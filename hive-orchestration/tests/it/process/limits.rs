//! Processes that do as they should not.

use std::time::Duration;

use hive_orchestration::process::ProcessAgent;
use hive_orchestration::{Error, Hive, RetryPolicy};
use serde_json::json;

use super::{Workshop, full};
use crate::kit::{Home, soon};

async fn fail(hive: &Hive, input: &str) -> Error {
    let task = hive.submit_named("worker", &input).await.unwrap();
    soon(task.result()).await.unwrap_err()
}

/// Runs one task that is expected to fail, and then one that is not, in a fresh process.
async fn check(script: &str, change: impl FnOnce(ProcessAgent) -> ProcessAgent, expected: &[&str]) {
    let shop = Workshop::new(&format!(
        r#"
hello()
task = hear()
if task["input"] == "well":
    say(type="output", id=task["id"], output="well")
    hear()
{script}
"#
    ));
    let hive = shop.open(change(shop.agent().grace(Duration::from_millis(200)))).await;
    let error = full(&fail(&hive, "badly").await);
    for word in expected {
        assert!(error.contains(word), "{word} is missing: {error}");
    }
    let task = hive.submit_named("worker", &"well").await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "well", "after {error}");
    assert_eq!(shop.starts(), 2);
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn a_death_is_told_with_status_and_last_words() {
    let script = r#"
sys.stderr.write("x" * 1_000_000 + "\nValueError: no such model\n")
sys.exit(3)"#;
    check(
        script,
        |agent| agent,
        &[
            "the process ended before its task did",
            "exit status 3",
            "ValueError: no such model",
        ],
    )
    .await;
    check(
        "os.kill(os.getpid(), signal.SIGKILL)",
        |agent| agent,
        &["signal 9 (killed)"],
    )
    .await;
    // A process that closes its output has nothing more to say, whatever else it does.
    check(
        "os.close(1)\ntime.sleep(100000)",
        |agent| agent,
        &["the process ended before its task did"],
    )
    .await;
}

#[tokio::test]
async fn garbage_is_quoted() {
    check(
        "print('Loading model…', flush=True)\ntime.sleep(100000)",
        |agent| agent,
        &["a line that is no message", "Loading model…", "standard error"],
    )
    .await;
    check(
        "say(type='output', id='another', output=1)\ntime.sleep(100000)",
        |agent| agent,
        &["no such task", "another"],
    )
    .await;
    check("hello()\ntime.sleep(100000)", |agent| agent, &["said hello before"]).await;
}

#[tokio::test]
async fn a_line_without_an_end_is_cut_off() {
    let script = "while True: sys.stdout.write('x' * 65536)";
    check(script, |agent| agent, &["longer than 2097152 bytes", "xxxx"]).await;
}

#[tokio::test]
async fn who_asks_and_does_not_listen_is_cut_off() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
if task["attempt"] == 1:
    for _ in range(12):
        step(task, "large", lambda: "x" * 1_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
# Each answer is a megabyte.
for call in range(12):
    say(type="step.get", id=task["id"], call=call, name="large")
time.sleep(100000)
"#,
    );
    let hive = shop
        .open(shop.agent().retry(RetryPolicy::fixed(2, Duration::ZERO)))
        .await;
    let error = full(&fail(&hive, "").await);
    assert!(error.contains("does not read the answers"), "{error}");
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn floods_of_words_are_borne() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
for done in range(20_000):
    say(type="progress", id=task["id"], done=done, total=20_000)
for number in range(1_500):
    say(type="log", level="debug", message="number %d" % number)
for _ in range(100):
    sys.stderr.write("y" * 100_000)
say(type="output", id=task["id"], output="done")
hear()
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let task = hive.submit_named("worker", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), "done");
    // Of all those words only some were worth a write.
    let told = task.status().await.unwrap().progress.unwrap();
    assert_eq!(told.done, 19_999);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_process_that_hangs_is_ended() {
    let limit = |agent: ProcessAgent| agent.timeout(Duration::from_millis(300));
    let expected = ["took longer than it may", "300ms"];
    check("time.sleep(100000)", limit, &expected).await;
    // Also when it will not hear of it.
    let deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(100000)";
    check(deaf, limit, &expected).await;
}

#[tokio::test]
async fn a_process_that_stops_when_told_is_kept() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    if task["input"] == "long":
        note("began")
        assert hear() == {"type": "cancel", "id": task["id"]}
        note("cancelled")
    say(type="output", id=task["id"], output=task["input"])
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let task = hive.submit_named("worker", &"long").await.unwrap();
    shop.noted("began").await;
    assert!(task.cancel().await.unwrap());
    assert_eq!(soon(task.result()).await.unwrap_err().kind().code(), "cancelled");
    shop.noted("cancelled").await;
    let next = hive.submit_named("worker", &"short").await.unwrap();
    assert_eq!(soon(next.result()).await.unwrap(), "short");
    assert_eq!(shop.starts(), 1);
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn memory_is_limited_for_the_whole_group() {
    let limit = |agent: ProcessAgent| agent.memory_limit(120 << 20);
    let expected = ["more memory than it may", "125829120"];
    check(
        "hog = bytearray(os.urandom(1 << 20) * 200)\ntime.sleep(100000)",
        limit,
        &expected,
    )
    .await;
    // A child of the process is no way out.
    let child = r#"
subprocess.run([sys.executable, "-c", "import os, time; hog = os.urandom(1 << 20) * 200; time.sleep(100000)"])
time.sleep(100000)"#;
    check(child, limit, &expected).await;
}

#[tokio::test]
async fn a_program_that_never_gets_ready_is_given_up() {
    let shop = Workshop::new(
        r#"
sys.stderr.write("no such module\n")
sys.exit(7)
"#,
    );
    let hive = shop.open(shop.agent()).await;
    let error = full(&fail(&hive, "").await);
    for word in [
        "was given up",
        "exit status 7",
        "no such module",
        "run the program by hand",
    ] {
        assert!(error.contains(word), "{word} is missing: {error}");
    }
    assert_eq!(shop.starts(), 3);
    // For a while it is not even tried.
    let again = full(&fail(&hive, "").await);
    assert!(again.contains("was given up"), "{again}");
    assert_eq!(shop.starts(), 3);
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_start_is_said() {
    let check = async |script: &str, change: fn(ProcessAgent) -> ProcessAgent, expected: &str| {
        let shop = Workshop::new(script);
        let agent = shop.agent().startup(Duration::from_millis(1500));
        let hive = shop.open(change(agent)).await;
        let error = full(&fail(&hive, "").await);
        assert!(error.contains(expected), "{expected} is missing: {error}");
        soon(hive.shutdown()).await.unwrap();
    };
    let once = |agent: ProcessAgent| agent.restart(RetryPolicy::none());
    check(
        "say(type='hello', protocol=2, agents=['worker'])\nhear()",
        once,
        "another version",
    )
    .await;
    check(
        "say(type='hello', protocol=1, agents=['a', 'b'])\nhear()",
        once,
        "serves=\"a, b\"",
    )
    .await;
    check("time.sleep(100000)", once, "did not get ready in time").await;
    check("print('Welcome!', flush=True)\nhear()", once, "Welcome!").await;
    check("say(type='output', id='x', output=1)\nhear()", once, "not ready yet").await;
    check(
        "hello()\nhear()",
        |agent| agent.dir("/no/such/folder"),
        "cannot be started",
    )
    .await;

    let home = Home::new();
    let agent = ProcessAgent::new("worker", "/no/such/program").retry(RetryPolicy::none());
    let hive = Hive::open(home.db()).agent(agent).start().await.unwrap();
    let error = full(&fail(&hive, "").await);
    assert!(
        error.contains("cannot be started") && error.contains("/no/such/program"),
        "{error}"
    );
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn others_in_the_same_process_share_its_fate_and_are_tried_again() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    if task["attempt"] > 1:
        say(type="output", id=task["id"], output=task["attempt"])
    elif task["input"] == "poison":
        os._exit(9)
    note("has " + task["input"])
"#,
    );
    let agent = shop.agent().concurrent(2).retry(RetryPolicy::fixed(2, Duration::ZERO));
    let hive = shop.open(agent).await;
    let good = hive.submit_named("worker", &"good").await.unwrap();
    shop.noted("has good").await;
    let poison = hive.submit_named("worker", &"poison").await.unwrap();
    assert_eq!(soon(poison.result()).await.unwrap(), json!(2));
    assert_eq!(soon(good.result()).await.unwrap(), json!(2));
    assert_eq!(shop.starts(), 2);
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}
