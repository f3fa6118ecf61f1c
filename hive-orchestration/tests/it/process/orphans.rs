//! Nobody is left, however it ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hive_orchestration::Hive;

use super::{Workshop, agent, gone, groups, notes};
use crate::kit::soon;

/// Deaf to everything, and with a child that is, too.
const STUBBORN: &str = r#"
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
hello()
subprocess.Popen(["sleep", "100000"])
subprocess.Popen(["sh", "-c", "trap '' TERM HUP; (sleep 100000 & sleep 100000)"])
note("ready")
while True:
    time.sleep(100000)
"#;

#[tokio::test]
async fn a_thousand_tasks_leave_no_process() {
    let shop = Workshop::new(
        r#"
hello()
while True:
    task = hear()
    number = task["input"]
    if number % 100 == 50 and task["attempt"] == 1:
        subprocess.Popen(["sleep", "100000"])
        os._exit(1)
    say(type="output", id=task["id"], output=number)
"#,
    );
    let agent = shop
        .agent()
        .processes(3)
        .concurrent(2)
        .retry(hive_orchestration::RetryPolicy::fixed(10, Duration::ZERO));
    let hive = shop.open(agent).await;
    let mut tasks = Vec::new();
    for number in 0..1_000 {
        tasks.push(hive.submit_named("worker", &number).await.unwrap());
    }
    for (number, task) in tasks.iter().enumerate() {
        assert_eq!(soon(task.result()).await.unwrap(), number);
    }
    assert!((10..=60).contains(&shop.starts()), "{} processes", shop.starts());
    soon(hive.shutdown()).await.unwrap();
    shop.nobody_is_left().await;
}

#[tokio::test]
async fn a_cancelled_task_takes_a_stubborn_process_with_it() {
    let shop = Workshop::new(STUBBORN);
    let hive = shop.open(shop.agent().grace(Duration::from_millis(100))).await;
    let task = hive.submit_named("worker", &()).await.unwrap();
    shop.noted("ready").await;
    assert!(task.cancel().await.unwrap());
    shop.nobody_is_left().await;
    soon(hive.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_takes_everybody_with_it() {
    let shop = Workshop::new(STUBBORN);
    let hive = Hive::open(shop.home.db())
        .agent(shop.agent().grace(Duration::from_millis(100)))
        .drain(Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    hive.submit_named("worker", &()).await.unwrap();
    shop.noted("ready").await;
    soon(hive.shutdown()).await.unwrap();
    // The hive is still there, and with it whatever it keeps.
    shop.nobody_is_left().await;
    drop(hive);
}

#[tokio::test]
async fn an_idle_process_ends_with_its_input() {
    let shop = Workshop::new(
        r#"
hello()
task = hear()
say(type="output", id=task["id"], output=1)
assert sys.stdin.readline() == ""
note("finished")
"#,
    );
    let hive = shop.open(shop.agent().grace(Duration::from_secs(60))).await;
    soon(hive.submit_named("worker", &()).await.unwrap().result())
        .await
        .unwrap();
    soon(hive.shutdown()).await.unwrap();
    assert_eq!(shop.count("finished"), 1);
    shop.nobody_is_left().await;
}

#[test]
fn a_runtime_that_goes_takes_everybody_with_it() {
    let shop = Workshop::new(STUBBORN);
    let start = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let runtime = start();
    runtime.block_on(async {
        let hive = shop.open(shop.agent()).await;
        hive.submit_named("worker", &()).await.unwrap();
        shop.noted("ready").await;
    });
    drop(runtime);
    // Nobody is left to wait for the dead, until another runtime is.
    let alive = |stat: &String| !stat.contains(") Z ");
    for _ in 0..1_000 {
        if !super::members(&groups(&shop.home.path(""))).iter().any(alive) {
            return;
        }
        start().block_on(tokio::time::sleep(Duration::from_millis(10)));
    }
    panic!("somebody is still there");
}

/// Where the host finds its folder; only set for a host.
const FOLDER: &str = "HIVE_PROCESS_FOLDER";

/// A hive with a stubborn process, until it is killed.
async fn host(folder: &Path) {
    let hive = Hive::open(folder.join("hive.db"))
        .agent(agent(folder))
        .start()
        .await
        .unwrap();
    let task = hive.submit_named("worker", &()).await.unwrap();
    task.result().await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_killed_takes_everybody_with_it() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return host(Path::new(&folder)).await;
    }
    // Sooner or later: while the program starts, or when it has long been there.
    for delay in [None, Some(0), Some(3), Some(10), Some(30), Some(100)] {
        let shop = Workshop::new(STUBBORN);
        let folder = shop.home.path("");
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args([
                "process::orphans::a_host_that_is_killed_takes_everybody_with_it",
                "--exact",
            ])
            .env(FOLDER, &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        match delay {
            None => shop.noted("ready").await,
            Some(delay) => {
                soon(async {
                    while notes(&folder).is_empty() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
                .await;
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
        }
        host.kill().unwrap();
        host.wait().unwrap();
        gone(&groups(&folder)).await;
    }
}
