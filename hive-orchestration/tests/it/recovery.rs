//! What survives the death of a process, and what a dead process may no longer do.

use std::time::Duration;

use hive_orchestration::builders::Builder;
use hive_orchestration::core::db::{Migration, Migrations, Tx};
use hive_orchestration::task::TaskState;
use hive_orchestration::{Agent, Call, Context, Failure, Result, agent_fn};

use crate::kit::{Home, Ledger, crash, reopened, soon};

static RELEASES: Migrations = Migrations {
    owner: "releases",
    list: &[Migration::new(
        1,
        "release",
        "CREATE TABLE release (name TEXT NOT NULL) STRICT;",
        "DROP TABLE release;",
    )],
};

fn insert(tx: &mut Tx<'_>, name: &str) -> Result<usize> {
    tx.execute("INSERT INTO release (name) VALUES (?1)", &[&name])
}

/// One step, one transaction, one child, then hangs until it is told not to.
struct Release {
    ledger: Ledger,
    hang: bool,
}

struct Notes(Ledger);

impl Agent for Notes {
    const NAME: &'static str = "notes";
    type Input = String;
    type Output = String;

    async fn run(&self, _: &Context, name: String) -> Result<String, Failure> {
        self.0.add("child");
        Ok(format!("notes for {name}"))
    }
}

impl Agent for Release {
    const NAME: &'static str = "release";
    type Input = String;
    type Output = String;

    async fn run(&self, cx: &Context, name: String) -> Result<String, Failure> {
        let log = &self.ledger;
        cx.step("build", async || Ok::<_, Failure>(log.add("step"))).await?;
        let (row, log2) = (name.clone(), log.clone());
        cx.transaction("record", move |tx| {
            log2.add("transaction");
            insert(tx, &row)
        })
        .await?;
        let notes = cx.call("notes", Call::<Notes>::new(name)).await?;
        if self.hang {
            log.add("hanging");
            std::future::pending::<()>().await;
        }
        Ok(notes)
    }
}

fn open(home: &Home, ledger: &Ledger, hang: bool) -> Builder {
    home.hive()
        .agent(Release {
            ledger: ledger.clone(),
            hang,
        })
        .agent(Notes(ledger.clone()))
        .migrations(&RELEASES)
        .drain(Duration::ZERO)
}

pub(super) async fn what_was_done_is_not_done_again(home: Home) {
    let ledger = Ledger::default();
    let hive = open(&home, &ledger, true).start().await.unwrap();
    let task = hive.submit::<Release>("v1".into()).await.unwrap();
    ledger.seen("hanging").await;
    hive.shutdown().await.unwrap();

    let hive = open(&home, &ledger, false).start().await.unwrap();
    let task = hive.task::<String>(task.id());
    assert_eq!(soon(task.result()).await.unwrap(), "notes for v1");
    assert_eq!(ledger.lines(), ["step", "transaction", "child", "hanging"]);
    let rows = hive
        .db()
        .read(|db| db.query("SELECT name FROM release", &[], |row| row.get::<String>(0)))
        .await
        .unwrap();
    assert_eq!(rows, ["v1"]);
    hive.shutdown().await.unwrap();
}

/// Leaves the database as a process does that is killed while `release` runs: the row says `running` and nobody says
/// goodbye.
async fn killed(home: &Home, ledger: &Ledger) -> hive_orchestration::core::id::TaskId {
    let hive = open(home, ledger, true).start().await.unwrap();
    let task = hive.submit::<Release>("v1".into()).await.unwrap();
    ledger.seen("hanging").await;
    crash(hive).await;
    task.id()
}

#[tokio::test]
async fn a_killed_process_loses_its_lease_at_the_next_open() {
    let home = Home::new();
    let ledger = Ledger::default();
    let id = killed(&home, &ledger).await;
    let hive = reopened(|| open(&home, &ledger, false)).await;
    assert_eq!(hive.recovered(), 1);
    assert_eq!(soon(hive.task::<String>(id).result()).await.unwrap(), "notes for v1");
    let events = hive
        .bus()
        .history(hive_orchestration::bus::Query::new().event_type("task.recovered"))
        .await
        .unwrap();
    assert_eq!(events.events.len(), 1);
    hive.shutdown().await.unwrap();
}

struct Dropped(Ledger);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

pub(super) async fn a_zombie_writes_nothing(home: Home) {
    let ledger = Ledger::default();
    let log = ledger.clone();
    let (go, gate) = tokio::sync::watch::channel(false);
    let agent = agent_fn("zombie", move |cx: Context, _: ()| {
        let (log, mut gate) = (log.clone(), gate.clone());
        async move {
            let attempt = cx.attempt();
            log.add(format!("run {attempt}"));
            let write = {
                let (cx, log) = (cx.clone(), log.clone());
                async move || {
                    let body = async || Ok::<_, Failure>(log.add(format!("write {attempt}")));
                    let step = cx.step("write", body).await;
                    log.add(format!("wrote {attempt}"));
                    step.map(|_| attempt)
                }
            };
            if attempt > 1 {
                return write().await;
            }
            // Its own future is dropped when somebody else takes the task over; these two go on.
            let (cx, second, mut also) = (cx.clone(), log.clone(), gate.clone());
            tokio::spawn(async move {
                gate.wait_for(|open| *open).await.ok();
                write().await
            });
            tokio::spawn(async move {
                also.wait_for(|open| *open).await.ok();
                second.add("transact 1");
                cx.transaction("transact", move |_| Ok(second.add("transacted 1")))
                    .await
            });
            let _dropped = Dropped(log);
            std::future::pending().await
        }
    });
    let noop = agent_fn("noop", async |_: Context, _: ()| Ok::<_, Failure>(()));
    let hive = home.hive().agent(agent).agent(noop).start().await.unwrap();
    let task = hive.submit_named("zombie", &()).await.unwrap();
    ledger.seen("run 1").await;
    // What another instance would do that believes this one dead.
    let id = task.id();
    hive.db()
        .write(move |tx| {
            tx.execute(
                "UPDATE task SET state = 1, epoch = 0 WHERE id = ?1 AND state = 2",
                &[&id],
            )
        })
        .await
        .unwrap();
    // Something has to wake the dispatcher.
    hive.submit_named("noop", &()).await.unwrap();
    assert_eq!(soon(task.result()).await.unwrap(), 2);
    go.send(true).unwrap();
    ledger.seen("write 1").await;
    ledger.seen("transact 1").await;
    // Written after whatever the zombies have to say.
    hive.db().write(|_| Ok(())).await.unwrap();
    hive.shutdown().await.unwrap();
    assert!(
        ledger.lines().contains(&"dropped".to_owned()),
        "a run that lost its lease is stopped"
    );
    assert!(
        !ledger.lines().contains(&"wrote 1".to_owned()),
        "a refused write must not come back to the agent"
    );
    assert!(
        !ledger.lines().contains(&"transacted 1".to_owned()),
        "not even the agent's code runs"
    );
    assert_eq!(
        task_rows(&home).await,
        [(2, 2)],
        "the zombie's output is not the task's"
    );
}

/// Attempt and output of every `zombie` task, as the file holds them.
async fn task_rows(home: &Home) -> Vec<(u32, u32)> {
    let hive = home.hive().start().await.unwrap();
    let rows =
        hive.db()
            .read(|db| {
                db.query(
                "SELECT attempt, output FROM task JOIN task_output ON task_output.task = task.seq WHERE agent = 'zombie'",
                &[],
                |row| Ok((row.get(0)?, row.get::<hive_orchestration::core::payload::Payload>(1)?.decode()?)),
            )
            })
            .await
            .unwrap();
    hive.shutdown().await.unwrap();
    rows
}

pub(super) async fn a_task_that_takes_the_process_down_again_and_again_is_buried(home: Home) {
    let ledger = Ledger::default();
    let open = || {
        let ledger = ledger.clone();
        let hang = agent_fn("hang", move |_: Context, _: ()| {
            ledger.add("run");
            std::future::pending::<Result<(), Failure>>()
        });
        home.hive().agent(hang).drain(Duration::ZERO)
    };
    let hive = open().start().await.unwrap();
    let id = hive.submit_named("hang", &()).await.unwrap().id();
    let mut hive = Some(hive);
    for crashes in 1..=hive_orchestration::limits::CRASHES_MAX {
        ledger.counted(crashes as usize).await;
        crash(hive.take().unwrap()).await;
        hive = Some(reopened(open).await);
    }
    let hive = hive.unwrap();
    let task = hive.task::<()>(id);
    let error = soon(task.result()).await.err().unwrap();
    assert_eq!(error.code(), "task-dead");
    assert_eq!(task.status().await.unwrap().state, TaskState::Dead);
    assert_eq!(ledger.count(), hive_orchestration::limits::CRASHES_MAX as usize);
    hive.shutdown().await.unwrap();
}
