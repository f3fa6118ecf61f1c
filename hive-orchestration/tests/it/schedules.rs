//! Schedules as a hive's user sees them, over restarts and kills.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hive_orchestration::builders::Builder;
use hive_orchestration::core::clock::Timestamp;
use hive_orchestration::core::rng::{Rng, SystemRng};
use hive_orchestration::errors::ErrorKind;
use hive_orchestration::schedule::{CatchUp, Schedule};
use hive_orchestration::{Agent, Context, Failure, Hive, Priority};

use crate::kit::{Home, Ledger, crash, reopened, soon};

const HOUR: Duration = Duration::from_secs(60 * 60);

struct Report(Ledger);

impl Agent for Report {
    const NAME: &'static str = "report";
    type Input = String;
    type Output = ();
    async fn run(&self, _: &Context, about: String) -> Result<(), Failure> {
        self.0.add(about);
        Ok(())
    }
}

fn open(path: impl AsRef<Path>, ledger: &Ledger) -> Builder {
    Hive::open(path.as_ref()).agent(Report(ledger.clone()))
}

#[tokio::test]
async fn what_is_due_is_run_by_its_agent() {
    let (home, ledger) = (Home::new(), Ledger::default());
    let hive = open(home.db(), &ledger).start().await.unwrap();
    let past: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let made = hive
        .schedule("move", Schedule::once(past))
        .priority(Priority::High)
        .submit::<Report>("once".to_owned())
        .await
        .unwrap();
    assert_eq!(
        (made.agent.as_str(), made.tenant.as_str(), made.next),
        ("report", "default", Some(past))
    );
    ledger.seen("once").await;
    let id = soon(async {
        loop {
            if let Some(id) = hive.schedule_info("move").await.unwrap().last_task {
                return id;
            }
        }
    })
    .await;
    hive.task::<()>(id).result().await.unwrap();

    hive.schedule("hourly", Schedule::every(HOUR))
        .submit_named("report", &"by hand")
        .await
        .unwrap();
    assert!(hive.pause_schedule("hourly").await.unwrap());
    let id = hive.trigger_schedule("hourly").await.unwrap();
    hive.task::<()>(id).result().await.unwrap();
    assert_eq!(ledger.lines(), ["once", "by hand"]);
    hive.resume_schedule("hourly").await.unwrap();
    let names: Vec<String> = hive
        .schedules(None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|info| info.name)
        .collect();
    assert_eq!(names, ["hourly", "move"]);
    assert!(hive.remove_schedule("hourly").await.unwrap());
    assert_eq!(
        hive.schedule_info("hourly").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_schedule_is_there_if_and_only_if_the_transaction_is() {
    let (home, ledger) = (Home::new(), Ledger::default());
    let hive = open(home.db(), &ledger).start().await.unwrap();
    let define = hive
        .schedule("hourly", Schedule::every(HOUR))
        .submit::<Report>("in".to_owned());
    let undone = hive.db().write(move |tx| {
        define.within(tx)?;
        Err::<(), _>(hive_orchestration::Error::new(ErrorKind::Cancelled, "changed my mind"))
    });
    undone.await.unwrap_err();
    assert!(hive.schedules(None, 10).await.unwrap().is_empty());
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn mistakes_are_named_and_nothing_is_written() {
    let (home, ledger) = (Home::new(), Ledger::default());
    let hive = open(home.db(), &ledger).start().await.unwrap();
    let hourly = || Schedule::every(HOUR);
    for (error, kind, field, value) in [
        (
            Schedule::cron("0 25 * * *").unwrap_err(),
            ErrorKind::InvalidInput,
            "position",
            "3",
        ),
        (
            Schedule::cron("@daily").unwrap().zone("Europe/Belrin").unwrap_err(),
            ErrorKind::InvalidInput,
            "value",
            "Europe/Belrin",
        ),
        (
            hive.schedule("two words", hourly())
                .submit::<Report>(String::new())
                .await
                .unwrap_err(),
            ErrorKind::InvalidInput,
            "value",
            "two words",
        ),
        (
            hive.schedule("often", Schedule::every(Duration::ZERO))
                .submit::<Report>(String::new())
                .await
                .unwrap_err(),
            ErrorKind::InvalidInput,
            "field",
            "every",
        ),
        (
            hive.schedule("hourly", hourly())
                .submit_named("reprot", &"x")
                .await
                .unwrap_err(),
            ErrorKind::UnknownAgent,
            "schedule",
            "hourly",
        ),
        (
            hive.schedule("hourly", hourly())
                .submit_named("report", &7)
                .await
                .unwrap_err(),
            ErrorKind::InvalidInput,
            "schedule",
            "hourly",
        ),
        (
            hive.schedule("hourly", hourly())
                .tenant("two words")
                .submit::<Report>(String::new())
                .await
                .unwrap_err(),
            ErrorKind::InvalidInput,
            "field",
            "tenant",
        ),
    ] {
        assert_eq!((error.kind(), error.field(field)), (kind, Some(value)), "{error:?}");
    }
    assert!(hive.schedules(None, 10).await.unwrap().is_empty());
    hive.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_was_missed_while_nobody_was_there_is_made_up_for() {
    let (home, ledger) = (Home::new(), Ledger::default());
    let hive = reopened(|| open(home.db(), &ledger)).await;
    let second = Schedule::every(Duration::from_secs(1)).catch_up(CatchUp::All { at_most: 1_000 });
    hive.schedule("ticks", second.clone())
        .submit::<Report>("tick".to_owned())
        .await
        .unwrap();
    ledger.counted(1).await;
    crash(hive).await;
    let seen = ledger.count();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let hive = reopened(|| open(home.db(), &ledger)).await;
    ledger.counted(seen + 2).await;
    hive.shutdown().await.unwrap();
}

/// Where the worker finds its folder; only set for a worker.
const FOLDER: &str = "HIVE_SCHEDULE_FOLDER";

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["schedules::killed_at_any_moment_each_due_time_has_its_task", "--exact"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("worker.log")).unwrap())
        .spawn()
        .unwrap()
}

/// Gives its schedule, as a program does at each start, and works until it is killed.
async fn work(folder: &Path) {
    let hive = open(folder.join("hive.db"), &Ledger::default()).start().await.unwrap();
    let second = Schedule::every(Duration::from_secs(1)).catch_up(CatchUp::All { at_most: 1_000 });
    hive.schedule("ticks", second)
        .submit::<Report>("tick".to_owned())
        .await
        .unwrap();
    std::future::pending().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_each_due_time_has_its_task() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return work(Path::new(&folder)).await;
    }
    let home = Home::new();
    let folder = home.path("");
    for _ in 0..8 {
        let mut worker = start(&folder);
        tokio::time::sleep(Duration::from_millis(200 + SystemRng.next_u64() % 1_200)).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let hive = open(home.db(), &Ledger::default()).start().await.unwrap();
    let end = soon(async {
        loop {
            let info = hive.schedule_info("ticks").await.unwrap();
            // It has caught up when what it waits for lies ahead.
            let now = hive.db().read(|db| db.now()).await.unwrap();
            if info.fired > 0 && info.next.unwrap() > now {
                return hive.pause_schedule("ticks").await.unwrap();
            }
        }
    })
    .await;
    assert!(end);
    let keys = hive.db().read(|db| {
        db.query("SELECT idempotency FROM task ORDER BY idempotency", &[], |row| {
            row.get::<String>(0)
        })
    });
    let due: Vec<Timestamp> = keys
        .await
        .unwrap()
        .iter()
        .map(|key| key.strip_prefix("schedule:ticks@").unwrap().parse().unwrap())
        .collect();
    assert!(due.len() > 3, "{due:?}");
    for pair in due.windows(2) {
        assert_eq!(pair[1].since(pair[0]), Duration::from_secs(1), "{due:?}");
    }
    assert_eq!(hive.schedule_info("ticks").await.unwrap().fired as usize, due.len());
    hive.shutdown().await.unwrap();
}
