use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hive_core::db::{Migration, Migrations};
use hive_core::id::IdSource;
use hive_errors::{ErrorKind, Failure};

use super::*;
use crate::agent::{Agent, agent_fn};
use crate::call::Call;
use crate::context::{Context, Effect, Signal};
use crate::hive::Builder;
use crate::queue::StepNews;
use crate::task::{Decision, TaskState};

const GO: Signal<u64> = Signal::new("go");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

static PAID: Migrations = Migrations {
    owner: "paid",
    list: &[Migration::new(
        1,
        "paid",
        "CREATE TABLE paid (amount INTEGER NOT NULL) STRICT;",
        "DROP TABLE paid;",
    )],
};

struct Part;

impl Agent for Part {
    const NAME: &'static str = "part";
    type Input = u64;
    type Output = u64;

    async fn run(&self, cx: &Context, n: u64) -> Result<u64, Failure> {
        cx.step("square", async || Ok::<_, Failure>(n * n)).await
    }
}

/// A bit of everything.
struct Order;

impl Agent for Order {
    const NAME: &'static str = "order";
    type Input = u64;
    type Output = u64;

    async fn run(&self, cx: &Context, n: u64) -> Result<u64, Failure> {
        let one = cx.step("one", async || Ok::<_, Failure>(n + 1)).await?;
        cx.transaction("pay", move |tx| {
            tx.execute("INSERT INTO paid (amount) VALUES (?1)", &[&one])
        })
        .await?;
        let parts = cx.map("parts", [1, 2, 3], Call::<Part>::new).parallel(2).await?;
        cx.sleep(3 * DAY).await?;
        let told = cx.wait(GO).ask("go on?").await?;
        let once = cx
            .step("mail", async || Ok::<_, Failure>(5))
            .effect(Effect::AtMostOnce)
            .await?;
        let (left, right) = (cx.scope("left"), cx.scope("right"));
        let (left, right) = tokio::try_join!(
            left.step("branch", async || Ok::<_, Failure>(7)),
            right.call("child", Call::<Part>::new(4)),
        )?;
        Ok(one + parts.iter().sum::<u64>() + told + once + left + right)
    }
}

const TOTAL: u64 = 2 + 14 + 40 + 5 + 7 + 16;

fn orders(hive: Builder) -> Builder {
    hive.agent(Order).agent(Part).migrations(&PAID)
}

#[test]
fn days_pass_and_people_answer() {
    let mut hive = TestHive::new(1, orders).answering(&GO, &40);
    let begun = hive.now();
    assert_eq!(hive.run::<Order>(1).unwrap(), TOTAL);
    let passed = hive.now().since(begun);
    assert!(passed >= 3 * DAY && passed < 4 * DAY, "{passed:?}");
    let outcome = hive.outcome().unwrap();
    assert_eq!(outcome.tables["paid"], ["2"]);
    assert_eq!(outcome.events["task.succeeded"], 5);
    let order = &outcome.tasks["order(test-1)"];
    assert_eq!(
        (order.state, order.output.as_deref()),
        (TaskState::Succeeded, Some("84"))
    );
    assert_eq!(order.remembered["step:one#1"].value.as_deref(), Some("2"));
    assert_eq!(outcome.tasks.len(), 5, "{outcome}");
}

#[test]
fn the_seed_decides_everything() {
    let history = |seed| {
        let mut hive = TestHive::new(seed, orders).answering(&GO, &40);
        hive.crash_at(9, Cut::After);
        hive.run::<Order>(1).unwrap();
        hive.restart().unwrap();
        hive.run::<Order>(2).unwrap();
        (hive.processes(), hive.dump().unwrap(), hive.digest().unwrap())
    };
    let first = history(5);
    assert_eq!(first.0, 3);
    for _ in 0..5 {
        let again = history(5);
        let differs = first.1.lines().zip(again.1.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None);
        assert_eq!(first, again);
    }
    assert_ne!(first.2, history(6).2);
}

#[test]
fn a_task_goes_on_in_the_next_process() {
    let mut hive = TestHive::new(2, orders);
    let task = hive.submit::<Order>(1).unwrap();
    hive.advance(DAY);
    assert_eq!(hive.status(task).unwrap().state, TaskState::Waiting);
    hive.crash();
    hive.advance(3 * DAY);
    assert_eq!(hive.journal(task).unwrap()["step:one#1"].kind, "step");
    hive.crash();
    hive.signal(task, &GO, &40).unwrap();
    assert_eq!(hive.result::<Order>(task).unwrap(), TOTAL);
    assert_eq!(hive.processes(), 3);
    let other = hive.submit::<Order>(1).unwrap();
    assert!(hive.cancel(other).unwrap());
    assert_eq!(hive.result::<Order>(other).unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn whoever_waits_for_nothing_is_told_so() {
    let mut hive = TestHive::new(2, orders).patience(5 * DAY);
    let error = hive.run::<Order>(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.field("waiting"), Some("order: wait:go#1"));
}

#[test]
fn a_cut_off_step_that_must_not_run_twice_is_decided_on() {
    let runs = std::sync::Arc::new(AtomicU32::new(0));
    let counted = std::sync::Arc::clone(&runs);
    let setup = move |hive: Builder| {
        let runs = std::sync::Arc::clone(&counted);
        hive.agent(agent_fn("mail", move |cx: Context, _: ()| {
            let runs = std::sync::Arc::clone(&runs);
            async move {
                let send = async || Ok::<_, Failure>(runs.fetch_add(1, Ordering::Relaxed));
                cx.step("send", send).effect(Effect::AtMostOnce).await
            }
        }))
    };
    let mut hive = TestHive::new(1, setup).deciding(|_, step| {
        assert_eq!(step, "step:send#1");
        Decision::Adopt(17.into())
    });
    // Submitted, claimed, begun, remembered.
    hive.now();
    hive.crash_at(hive.commits() + 4, Cut::Before);
    assert_eq!(hive.run_named("mail", ()).unwrap(), 17);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(hive.processes(), 2);
}

#[test]
#[should_panic(expected = "use it in a plain #[test]")]
fn an_async_test_is_no_place_for_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { TestHive::new(1, orders).crash() });
}

fn crash_orders() -> CrashTest {
    CrashTest::new(1, orders)
        .answering(&GO, &40)
        .deciding(|_, _| Decision::Adopt(5.into()))
}

#[test]
fn whenever_it_crashes_the_same_comes_of_it() {
    let report = crash_orders()
        .twice(20)
        .run(|hive| async move { hive.submit::<Order>(1).idempotency_key("o").await?.result().await })
        .unwrap();
    assert!(report.commits > 25, "{report:?}");
    assert_eq!(report.crashes, 2 * report.commits + 20);
    // A crash after the work and before its commit was among them.
    assert_eq!(report.executions["step:one#1"], 2);
    assert_eq!(report.executions["step:mail#1"], 1);
}

#[test]
fn an_effect_beside_the_record_is_found() {
    let pay = |hive: Builder| {
        hive.migrations(&PAID)
            .agent(agent_fn("pay", async |cx: Context, _: ()| {
                let db = cx.run.db.clone();
                // Not a transaction: the row is there before the step is on record.
                let pay = async || {
                    db.write(|tx| tx.execute("INSERT INTO paid (amount) VALUES (1)", &[]))
                        .await
                };
                cx.step("pay", pay).await
            }))
    };
    let failed = crash_everywhere(pay, |hive| async move {
        hive.submit_named("pay", &()).idempotency_key("p").await?.result().await
    });
    let said = failed.unwrap_err().to_string();
    assert!(said.contains("with it:         2 rows of paid"), "{said}");
    assert!(said.contains("a crash after commit"), "{said}");
}

#[test]
fn a_result_that_depends_on_the_crash_is_found() {
    let count = |hive: Builder| {
        hive.agent(agent_fn("count", async |cx: Context, _: ()| {
            cx.step("first", async || Ok::<_, Failure>(())).await?;
            Ok::<_, Failure>(cx.attempt())
        }))
    };
    let play = |hive: crate::Hive| async move {
        hive.submit_named("count", &())
            .idempotency_key("c")
            .await?
            .result()
            .await
    };
    let said = crash_everywhere(count, play).unwrap_err().to_string();
    assert!(said.contains("without a crash the play returned 1"), "{said}");
}

#[test]
fn a_play_that_fails_is_told_of() {
    let fails = |hive: Builder| {
        hive.agent(agent_fn("fails", async |_: Context, _: ()| {
            Err::<(), _>(Failure::terminal("no"))
        }))
    };
    let said = crash_everywhere(fails, |hive| async move {
        hive.submit_named("fails", &())
            .idempotency_key("f")
            .await?
            .result()
            .await
    });
    let said = said.unwrap_err().to_string();
    assert!(
        said.starts_with("seed 1: the play failed: error[agent-failed]: no"),
        "{said}"
    );
}

#[test]
fn a_step_that_was_on_record_must_not_run_again() {
    let (steps, ids) = (steps::Steps::default(), IdSource::system());
    let (told, task) = (steps.hook(), ids.next());
    told(task, "a", StepNews::Begins);
    told(task, "a", StepNews::Begins);
    assert_eq!(steps.wrong(), Vec::<String>::new(), "it was not on record");
    told(task, "a", StepNews::Remembered);
    told(task, "b", StepNews::BeginsOnce);
    told(ids.next(), "a", StepNews::Begins);
    assert_eq!(steps.wrong(), Vec::<String>::new());
    told(task, "a", StepNews::Begins);
    assert_eq!(steps.wrong(), ["a was on record and was executed again"]);
    steps.set_free(task, "b");
    told(task, "b", StepNews::BeginsOnce);
    assert_eq!(steps.wrong().len(), 1, "a person said that it may");
    told(task, "b", StepNews::BeginsOnce);
    assert_eq!(steps.wrong()[1], "b must not run twice and did");
    steps.settle([(task, "c".to_owned())].into());
    told(task, "c", StepNews::Begins);
    assert_eq!(steps.wrong().len(), 3);
}

#[test]
fn ids_in_rows_and_outputs_are_the_tasks_names() {
    let setup = |hive: Builder| {
        hive.migrations(&NAMED)
            .agent(agent_fn("name", async |cx: Context, _: ()| {
                let id = cx.task_id();
                let insert = move |tx: &mut hive_core::db::Tx<'_>| {
                    let text = format!("of {id}, not task_x");
                    tx.execute("INSERT INTO named (id, text) VALUES (?1, ?2)", &[&id, &text])
                };
                cx.transaction("name", insert).await?;
                Ok::<_, Failure>(id.to_string())
            }))
    };
    let mut hive = TestHive::new(1, setup);
    hive.run_named("name", ()).unwrap();
    let outcome = hive.outcome().unwrap();
    assert_eq!(outcome.tables["named"], ["name(test-1) 'of name(test-1), not task_x'"]);
    assert_eq!(
        outcome.tasks["name(test-1)"].output.as_deref(),
        Some("\"name(test-1)\"")
    );
}

static NAMED: Migrations = Migrations {
    owner: "named",
    list: &[Migration::new(
        1,
        "named",
        "CREATE TABLE named (id BLOB NOT NULL, text TEXT NOT NULL) STRICT;",
        "DROP TABLE named;",
    )],
};
