//! Workers that are whole processes, made more and fewer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hive_orchestration::autoscale::{Driver, Load, Observation, Policy, WorkerProcesses, Workers};
use hive_orchestration::bus::Query;
use hive_orchestration::bus::catalog::SystemScaled;
use hive_orchestration::core::id::InstanceId;
use hive_orchestration::core::shutdown::Shutdown;
use hive_orchestration::{Hive, Result, RetryPolicy};

use crate::kit::{Home, soon};
use crate::process::{gone, groups, notes};

/// Says which group it is in, and who it is; then does what the test wants.
const PRELUDE: &str = r#"
    note() { echo "$*" >>"$LEDGER"; }
    read -r _ _ _ _ group _ </proc/$$/stat
    note "group $group"
"#;

fn workers(home: &Home, script: &str) -> WorkerProcesses {
    WorkerProcesses::new("/bin/sh")
        .args(["-c", &format!("{PRELUDE}\n{script}")])
        .env("LEDGER", home.path("ledger"))
        .restart(RetryPolicy::fixed(3, Duration::from_millis(5)))
}

async fn noted(home: &Home, word: &str, times: usize) {
    let all = || notes(&home.path(""));
    let count = || all().iter().filter(|note| note.split(' ').next() == Some(word)).count();
    soon(async {
        while count() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(count(), times, "{:?}", all());
}

#[tokio::test]
async fn those_that_are_too_many_end_in_good_order_the_youngest_first() {
    let home = Home::new();
    let script = r#"
        trap 'note "drained $group"; exit 0' TERM
        note ready
        while :; do sleep 0.01; done"#;
    let workers = workers(&home, script).drain(Duration::from_secs(60));
    assert_eq!(workers.running(), 0);
    workers.set(1).await.unwrap();
    noted(&home, "ready", 1).await;
    let oldest = groups(&home.path(""));
    workers.set(3).await.unwrap();
    workers.set(3).await.unwrap();
    noted(&home, "ready", 3).await;
    assert_eq!(workers.running(), 3);
    workers.set(1).await.unwrap();
    noted(&home, "drained", 2).await;
    assert_eq!(workers.running(), 1);
    let mut younger = groups(&home.path(""));
    younger.retain(|group| !oldest.contains(group));
    gone(&younger).await;
    soon(workers.close()).await;
    noted(&home, "drained", 3).await;
    gone(&groups(&home.path(""))).await;
    assert_eq!(workers.set(1).await.unwrap_err().kind().code(), "shutting-down");
}

#[tokio::test]
async fn one_that_does_not_drain_is_killed_with_its_children() {
    let home = Home::new();
    let workers = workers(&home, "trap '' TERM; sleep 100000 & note ready; wait; sleep 100000");
    let workers = workers.drain(Duration::from_millis(100));
    workers.set(2).await.unwrap();
    noted(&home, "ready", 2).await;
    workers.set(0).await.unwrap();
    gone(&groups(&home.path(""))).await;
    soon(workers.close()).await;
}

#[tokio::test]
async fn one_that_dies_is_replaced_and_one_that_always_does_is_left_alone() {
    let home = Home::new();
    let workers = workers(&home, "sleep 100000 & kill -9 $$");
    workers.set(1).await.unwrap();
    noted(&home, "group", 3).await;
    gone(&groups(&home.path(""))).await;
    // It rests now; asking for more of them is another matter.
    tokio::time::sleep(Duration::from_millis(200)).await;
    noted(&home, "group", 3).await;
    assert_eq!(workers.running(), 1);
    soon(workers.close()).await;
}

#[tokio::test]
async fn when_nobody_holds_them_any_more_they_are_killed() {
    let home = Home::new();
    let workers = workers(&home, "trap '' TERM; note ready; sleep 100000");
    workers.set(2).await.unwrap();
    noted(&home, "ready", 2).await;
    drop(workers);
    gone(&groups(&home.path(""))).await;
}

/// The load that the test says there is.
struct Said(Mutex<Observation>);

#[async_trait]
impl Load for Said {
    async fn observe(&self) -> Result<Observation> {
        Ok(*self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn a_driver_starts_and_ends_processes_and_says_so() {
    let home = Home::new();
    let hive = Hive::open(home.db()).start().await.unwrap();
    let workers = workers(&home, "note ready; sleep 100000");
    let mut much = Observation::default();
    (much.queued, much.oldest_wait, much.service_per_s) = (2, Duration::from_secs(2), 1.0);
    let load = Arc::new(Said(Mutex::new(much)));
    let policy = Policy::between(0, 3)
        .unwrap()
        .with_steady(Duration::ZERO)
        .with_cool_down(Duration::ZERO, Duration::ZERO)
        .with_idle(Duration::ZERO)
        .with_smoothing(Duration::ZERO);
    let instance = InstanceId::from_bytes([7; 16]);
    let driver = Driver::new("team", policy, Arc::new(workers.clone()), load.clone())
        .every(Duration::from_millis(20))
        .events(hive.bus().clone(), instance);
    let stop = Shutdown::new();
    let driving = tokio::spawn(driver.run(stop.clone()));
    noted(&home, "ready", 3).await;
    *load.0.lock().unwrap() = Observation::default();
    gone(&groups(&home.path(""))).await;
    stop.request();
    soon(driving).await.unwrap();
    assert_eq!(workers.running(), 0);

    let scaled = Query::new().event_type("system.scaled");
    let page = hive.bus().history(scaled).await.unwrap();
    let told: Vec<SystemScaled> = page.events.iter().map(|event| event.decode().unwrap()).collect();
    let shape = |event: &SystemScaled| (event.from, event.to, event.reason.clone());
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert_eq!(shape(first), (0, 2, "woken".to_owned()));
    assert_eq!((last.to, last.reason.as_str()), (0, "idle"));
    assert!(
        told.iter()
            .all(|event| event.instance == instance && event.workers == "team")
    );
    soon(workers.close()).await;
    hive.shutdown().await.unwrap();
}
