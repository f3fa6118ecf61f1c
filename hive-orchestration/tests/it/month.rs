//! A month of a busy hive: schedules, timers, waits, children and crashes, the same to the last byte whenever the seed is the same.

use std::time::Duration;

use hive_orchestration::builders::Builder;
use hive_orchestration::core::db::{Migration, Migrations};
use hive_orchestration::core::rng::{Rng, SeededRng};
use hive_orchestration::errors::RetryPolicy;
use hive_orchestration::schedule::Schedule;
use hive_orchestration::task::TaskState;
use hive_orchestration::testing::{Cut, TestHive};
use hive_orchestration::{Agent, Call, Context, Failure, Hive, Priority, Result, Signal};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAYS: u64 = 30;
const APPROVED: Signal<bool> = Signal::new("approved");

static SALES: Migrations = Migrations {
    owner: "sales",
    list: &[Migration::new(
        1,
        "sale",
        "CREATE TABLE sale (number INTEGER PRIMARY KEY, amount INTEGER NOT NULL) STRICT;",
        "DROP TABLE sale;",
    )],
};

/// Looks for something every few minutes, which now and then fails at first.
struct Poll;

impl Agent for Poll {
    const NAME: &'static str = "poll";
    type Input = String;
    type Output = u64;

    async fn run(&self, cx: &Context, _: String) -> Result<u64, Failure> {
        let minute = cx.step("look", async || {
            let minute = cx.clock().now().as_micros().cast_unsigned() / 60_000_000;
            Ok::<_, Failure>(minute)
        });
        let minute = minute.await?;
        if minute.is_multiple_of(7) && cx.attempt() == 1 {
            return Err(Failure::retryable("not yet"));
        }
        Ok(minute)
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy::exponential(20)
    }
}

struct Part;

impl Agent for Part {
    const NAME: &'static str = "part";
    type Input = u64;
    type Output = u64;

    async fn run(&self, cx: &Context, n: u64) -> Result<u64, Failure> {
        cx.sleep(Duration::from_secs(n % 5 * 20)).await?;
        Ok(n * n)
    }
}

struct Report;

impl Agent for Report {
    const NAME: &'static str = "report";
    type Input = u64;
    type Output = u64;

    async fn run(&self, cx: &Context, parts: u64) -> Result<u64, Failure> {
        let parts = cx.map("parts", 0..parts, Call::<Part>::new).parallel(3).await?;
        let sold: u64 = cx
            .transaction("sum", |tx| {
                tx.query_one(
                    "SELECT coalesce(CAST(sum(amount) AS INTEGER), 0) FROM sale",
                    &[],
                    |row| row.get(0),
                )
            })
            .await?;
        Ok(parts.into_iter().sum::<u64>() + sold)
    }
}

/// Lives for days: sleeps, asks, and gives up when nobody answers.
struct Sale;

impl Agent for Sale {
    const NAME: &'static str = "sale";
    type Input = u64;
    type Output = bool;

    async fn run(&self, cx: &Context, number: u64) -> Result<bool, Failure> {
        cx.sleep(HOUR * u32::try_from(number % 48).unwrap_or(1)).await?;
        let limit = HOUR * u32::try_from(1 + number % 20).unwrap_or(1);
        let approved = if number.is_multiple_of(3) {
            // Nobody answers to these.
            let other = cx.scope("nobody");
            tokio::select! {
                biased;
                told = other.wait(Signal::<bool>::new("never")) => told?,
                slept = cx.sleep(limit) => { slept?; false }
            }
        } else {
            cx.wait(APPROVED).ask("may it be sold?").timeout(limit).await?
        };
        if approved {
            cx.transaction("sell", move |tx| {
                tx.execute(
                    "INSERT INTO sale (number, amount) VALUES (?1, ?2)",
                    &[&number, &(number % 100)],
                )
            })
            .await?;
            cx.call("deliver", Call::<Part>::new(number)).await?;
        }
        Ok(approved)
    }
}

fn setup(hive: Builder) -> Builder {
    hive.agent(Poll)
        .agent(Part)
        .agent(Report)
        .agent(Sale)
        .migrations(&SALES)
        .concurrency(8)
}

async fn plan(hive: Hive) -> Result<()> {
    hive.schedule("poll", Schedule::every(Duration::from_secs(30 * 60)))
        .submit::<Poll>("inbox".to_owned())
        .await?;
    hive.schedule("report", Schedule::cron("30 7 * * *")?)
        .submit::<Report>(6)
        .await?;
    hive.schedule("week", Schedule::cron("0 0 * * MON")?)
        .submit::<Report>(12)
        .await?;
    Ok(())
}

fn month(seed: u64, days: u64) -> TestHive {
    let rng = SeededRng::new(seed);
    let mut hive = TestHive::new(seed, setup).answering(&APPROVED, &true);
    hive.play(plan).unwrap();
    let mut number = 0;
    for _ in 0..days * 6 {
        for _ in 0..rng.next_u64() % 12 {
            number += 1;
            let urgent = rng.next_u64().is_multiple_of(4);
            hive.play(|hive| async move {
                let sale = hive.submit::<Sale>(number).idempotency_key(number.to_string());
                let sale = if urgent { sale.priority(Priority::High) } else { sale };
                sale.await.map(drop)
            })
            .unwrap();
        }
        if rng.next_u64().is_multiple_of(4) {
            let side = if rng.next_u64().is_multiple_of(2) {
                Cut::Before
            } else {
                Cut::After
            };
            hive.crash_at(hive.commits() + 1 + rng.next_u64() % 60, side);
        }
        hive.advance(4 * HOUR);
    }
    // The last sales come to their ends, and what is due at that moment is done.
    hive.advance(HOUR * 72 + Duration::from_secs(300));
    hive
}

#[test]
fn a_month_is_the_same_from_one_seed() {
    if let Ok(seed) = std::env::var("HIVE_SEED") {
        let mut hive = month(seed.parse().unwrap(), DAYS);
        return println!("{} {} {}", hive.commits(), hive.processes(), hive.digest().unwrap());
    }
    let mut first = month(11, DAYS);
    let outcome = first.outcome().unwrap();
    let runs = outcome.tasks.len();
    let count = |agent: &str| outcome.tasks.values().filter(|task| task.agent == agent).count() as u64;
    assert!(runs > 3_000, "{runs} tasks");
    assert!(first.processes() > 20, "{} processes", first.processes());
    // No tick was lost or came twice, whatever died meanwhile: the last report is of the 33rd day.
    assert_eq!(count("poll"), (DAYS + 3) * 24 * 2);
    assert_eq!(
        outcome.tasks.values().filter(|task| task.agent == "report").count() as u64,
        DAYS + 3 + 5
    );
    for (path, task) in &outcome.tasks {
        let ended = match task.agent.as_str() {
            // Nobody answered in time.
            "sale" => [TaskState::Succeeded, TaskState::Failed].contains(&task.state),
            "poll" | "report" | "part" => task.state == TaskState::Succeeded,
            other => panic!("{other}"),
        };
        assert!(ended, "{path} is {:?}", task.state);
    }
    let sold = outcome
        .tasks
        .values()
        .filter(|task| task.agent == "sale" && task.output.as_deref() == Some("true"));
    assert_eq!(sold.count(), outcome.tables["sale"].len());
    let mut again = month(11, DAYS);
    let (one, two) = (first.dump().unwrap(), again.dump().unwrap());
    let differs = one.lines().zip(two.lines()).find(|(one, two)| one != two);
    assert_eq!(differs, None);
    assert_eq!(first.digest().unwrap(), again.digest().unwrap());
    assert_ne!(month(12, 1).digest().unwrap(), month(13, 1).digest().unwrap());
}
