//! Schedules on real databases of both engines.

mod driving;
#[cfg(feature = "postgres")]
mod racing;

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use hive_bus::{Bus, Pattern, Query};
use hive_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use hive_core::db::{Db, Dialect, Tx};
use hive_core::id::IdSource;
use hive_core::lease;
use hive_core::payload::Payload;
use hive_core::rng::{Rng, SeededRng, SystemRng};
use hive_core::testing::TestDb;
use hive_errors::{Error, ErrorKind, Result};

use super::store::{self, Definition, Pass};
use super::{CatchUp, Schedule};
use crate::limits;
use crate::queue::Queue;
use crate::tables;
use crate::task::Priority;
use crate::wake::Wakeups;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// One process: its connection to the database, and its queue.
#[derive(Clone)]
struct Bench {
    db: Db,
    queue: Queue,
    _place: Option<Arc<TestDb>>,
}

impl Bench {
    async fn open(place: &TestDb, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let options = place
            .options()
            .clock(Arc::clone(&clock))
            .migrations(&lease::MIGRATIONS)
            .migrations(&hive_bus::MIGRATIONS)
            .migrations(&tables::MIGRATIONS);
        let db = Db::open(options).await.unwrap();
        let ids = IdSource::new(clock.clone(), rng.clone());
        let bus = Bus::open(db.clone(), clock.clone(), ids.clone()).await.unwrap();
        let queue = Queue::new(bus, clock, rng, ids, Arc::new(Wakeups::default()));
        Self {
            db,
            queue,
            _place: None,
        }
    }

    async fn real(place: &TestDb) -> Self {
        Self::open(place, Arc::new(SystemClock), Arc::new(SystemRng)).await
    }

    /// On SQLite, with the file in the bench's care.
    async fn virtual_time() -> (Self, ManualClock) {
        let (place, clock) = (TestDb::sqlite_in_memory(), ManualClock::new(start()));
        let mut bench = Self::open(&place, Arc::new(clock.clone()), Arc::new(SeededRng::new(7))).await;
        bench._place = Some(Arc::new(place));
        (bench, clock)
    }

    async fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Tx<'_>, &Queue) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let queue = self.queue.clone();
        self.db.write(move |tx| work(tx, &queue)).await
    }

    async fn define(&self, new: Definition) -> super::Info {
        self.write(move |tx, queue| store::define(tx, queue, &new))
            .await
            .unwrap()
    }

    async fn info(&self, name: &'static str) -> super::Info {
        self.db.read(move |db| store::info(db, name)).await.unwrap()
    }

    /// Acts upon everything that is due.
    async fn pass(&self) -> Vec<(String, Error)> {
        let mut failed = Vec::new();
        let mut after = None;
        loop {
            let from = after.clone();
            let pass: Pass = self
                .write(move |tx, queue| store::pass(tx, queue, from.as_ref()))
                .await
                .unwrap();
            failed.extend(pass.failed);
            after = pass.next;
            if after.is_none() {
                return failed;
            }
        }
    }

    /// The keys of every task, in the order in which they were submitted.
    async fn keys(&self) -> Vec<String> {
        let work = |db: &hive_core::db::Snapshot<'_>| {
            db.query("SELECT idempotency FROM task ORDER BY seq", &[], |row| {
                Ok(row.get::<Option<String>>(0)?.unwrap_or_default())
            })
        };
        self.db.read(work).await.unwrap()
    }

    /// What has been told of schedules.
    async fn told(&self) -> String {
        let query = Query::new().topics(Pattern::new("schedule.>").unwrap());
        let page = self.queue.bus.history(query).await.unwrap();
        let line = |event: &hive_bus::Event| {
            let data = std::str::from_utf8(event.data().as_bytes()).unwrap();
            // Ids differ from run to run.
            let data = data.split(r#""task":"#).next().unwrap();
            format!("{} {data}\n", event.topic())
        };
        page.events.iter().map(line).collect()
    }
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn definition(name: &str, schedule: Schedule) -> Definition {
    Definition {
        name: name.to_owned(),
        schedule,
        tenant: "default".to_owned(),
        agent: "report".to_owned(),
        priority: Priority::Medium,
        input: Payload::encode(&"in", 100).unwrap(),
    }
}

fn places() -> Vec<TestDb> {
    vec![
        TestDb::sqlite_in_memory(),
        #[cfg(feature = "postgres")]
        TestDb::postgres(),
    ]
}

/// Makes the schedule as if it had waited for `due` since.
async fn wait_for(bench: &Bench, name: &'static str, due: Timestamp) {
    bench
        .write(move |tx, _| {
            tx.execute(
                "UPDATE schedule SET due_at = ?2, fire_at = ?2 WHERE name = ?1",
                &[&name, &due],
            )
        })
        .await
        .unwrap();
}

async fn now(bench: &Bench) -> Timestamp {
    bench.db.read(|db| db.now()).await.unwrap()
}

#[tokio::test]
async fn giving_it_again_changes_nothing_and_another_takes_its_place() {
    for place in places() {
        let bench = Bench::real(&place).await;
        let first = definition("nightly", Schedule::cron("0 3 * * *").unwrap());
        let made = bench.define(first.clone()).await;
        assert_eq!((made.revision, made.fired, made.paused), (1, 0, false));
        assert!(made.next.unwrap() > now(&bench).await);
        // Also when it has missed something: a program that starts must not make it forget.
        let missed = now(&bench).await - HOUR;
        wait_for(&bench, "nightly", missed).await;
        assert_eq!(bench.define(first.clone()).await.next, Some(missed));

        let others = [
            definition("nightly", Schedule::cron("0 4 * * *").unwrap()),
            definition("nightly", Schedule::cron("0 4 * * *").unwrap().catch_up(CatchUp::Skip)),
            Definition {
                priority: Priority::High,
                ..first.clone()
            },
            Definition {
                agent: "other".to_owned(),
                ..first.clone()
            },
            Definition {
                tenant: "other".to_owned(),
                ..first.clone()
            },
            Definition {
                input: Payload::encode(&"other", 100).unwrap(),
                ..first.clone()
            },
        ];
        for (revision, other) in (2..).zip(others) {
            let replaced = bench.define(other.clone()).await;
            assert_eq!(replaced.revision, revision, "{other:?}");
            assert_eq!(replaced.schedule, other.schedule);
            assert!(replaced.next.unwrap() > now(&bench).await);
            assert_eq!(bench.define(other).await, replaced);
        }
        assert!(bench.keys().await.is_empty());
    }
}

#[tokio::test]
async fn what_is_out_of_bounds_is_refused_and_nothing_is_written() {
    for place in places() {
        let bench = Bench::real(&place).await;
        let new = definition("often", Schedule::every(Duration::ZERO));
        let error = bench
            .write(move |tx, queue| store::define(tx, queue, &new))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.field("field")),
            (ErrorKind::InvalidInput, Some("every"))
        );
        let list = bench.db.read(|db| store::list(db, None, 10)).await.unwrap();
        assert!(list.is_empty());
    }
}

#[tokio::test]
async fn there_are_not_more_than_the_limit() {
    let (bench, _clock) = Bench::virtual_time().await;
    let fill = |tx: &mut Tx<'_>, _: &Queue| {
        tx.execute(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
             INSERT INTO schedule (name, tenant, agent, priority, input, spec, revision, created_at)
             SELECT 'filler-' || n, 'default', 'report', 1, x'', '', 1, 0 FROM number",
            &[&(limits::SCHEDULES_MAX as u64)],
        )
    };
    bench.write(fill).await.unwrap();
    let new = definition("one-more", Schedule::every(HOUR));
    let error = bench
        .write(move |tx, queue| store::define(tx, queue, &new))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
}

#[tokio::test]
async fn a_list_has_pages() {
    for place in places() {
        let bench = Bench::real(&place).await;
        for name in ["b", "a-1", "a_2", "C", "d"] {
            bench.define(definition(name, Schedule::every(HOUR))).await;
        }
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().cloned();
            let page = bench
                .db
                .read(move |db| store::list(db, after.as_deref(), 2))
                .await
                .unwrap();
            assert!(page.len() <= 2);
            if page.is_empty() {
                break;
            }
            names.extend(page.into_iter().map(|info| info.name));
        }
        names.sort_unstable();
        assert_eq!(names, ["C", "a-1", "a_2", "b", "d"]);
    }
}

#[tokio::test]
async fn paused_resumed_triggered_removed() {
    for place in places() {
        let bench = Bench::real(&place).await;
        bench.define(definition("hourly", Schedule::every(HOUR))).await;
        let pause = |tx: &mut Tx<'_>, queue: &Queue| store::pause(tx, queue, "hourly");
        assert!(bench.write(pause).await.unwrap());
        assert!(!bench.write(pause).await.unwrap());
        let paused = bench.info("hourly").await;
        assert_eq!((paused.paused, paused.next), (true, None));

        // What falls into the pause is not made up for, neither in it nor after it.
        wait_for(&bench, "hourly", start()).await;
        assert!(bench.pass().await.is_empty());
        // Another definition does not end a pause.
        bench.define(definition("hourly", Schedule::every(2 * HOUR))).await;
        assert!(bench.info("hourly").await.paused);
        bench.define(definition("hourly", Schedule::every(HOUR))).await;
        wait_for(&bench, "hourly", start()).await;
        bench
            .write(|tx, queue| store::resume(tx, queue, "hourly"))
            .await
            .unwrap();
        assert!(bench.pass().await.is_empty());
        assert!(bench.keys().await.is_empty());
        let resumed = bench.info("hourly").await;
        assert!(!resumed.paused && resumed.next.unwrap() > now(&bench).await);

        let trigger = |tx: &mut Tx<'_>, queue: &Queue| store::trigger(tx, queue, "hourly");
        let (one, two) = (bench.write(trigger).await.unwrap(), bench.write(trigger).await.unwrap());
        assert_ne!(one, two);
        let triggered = bench.info("hourly").await;
        assert_eq!(
            (triggered.fired, triggered.last_task, triggered.last_due),
            (2, Some(two), None)
        );
        assert_eq!(triggered.next, resumed.next);

        let remove = |tx: &mut Tx<'_>, queue: &Queue| store::remove(tx, queue, "hourly");
        assert!(bench.write(remove).await.unwrap());
        assert!(!bench.write(remove).await.unwrap());
        assert_eq!(bench.keys().await.len(), 2);
        for error in [
            bench.write(pause).await.unwrap_err(),
            bench.write(trigger).await.unwrap_err(),
            bench
                .write(|tx, queue| store::resume(tx, queue, "hourly"))
                .await
                .unwrap_err(),
            bench.db.read(|db| store::info(db, "hourly")).await.unwrap_err(),
        ] {
            assert_eq!(
                (error.kind(), error.field("schedule")),
                (ErrorKind::NotFound, Some("hourly"))
            );
        }
    }
}

fn check_told(told: &str, expected: Expect) {
    expected.assert_eq(told);
}

#[tokio::test]
async fn every_change_and_every_task_is_told_of() {
    let (bench, clock) = Bench::virtual_time().await;
    let hourly = Schedule::every(HOUR);
    bench.define(definition("hourly", hourly.clone())).await;
    clock.advance(HOUR);
    bench.pass().await;
    clock.advance(4 * HOUR);
    bench.pass().await;
    bench.define(definition("hourly", hourly.catch_up(CatchUp::Skip))).await;
    bench
        .write(|tx, queue| store::trigger(tx, queue, "hourly"))
        .await
        .unwrap();
    bench
        .write(|tx, queue| store::pause(tx, queue, "hourly"))
        .await
        .unwrap();
    bench
        .write(|tx, queue| store::resume(tx, queue, "hourly"))
        .await
        .unwrap();
    clock.advance(2 * HOUR + HOUR / 2);
    bench.pass().await;
    bench
        .write(|tx, queue| store::remove(tx, queue, "hourly"))
        .await
        .unwrap();
    check_told(
        &bench.told().await,
        expect![[r#"
        schedule.defined.hourly {"agent":"report","next":"2026-01-01T01:00:00.000000Z","replaced":false,"schedule":"hourly","timing":"every 3600s"}
        schedule.fired.hourly {"due":"2026-01-01T01:00:00.000000Z","schedule":"hourly",
        schedule.fired.hourly {"due":"2026-01-01T05:00:00.000000Z","schedule":"hourly",
        schedule.missed.hourly {"missed":3,"schedule":"hourly","since":"2026-01-01T02:00:00.000000Z"}
        schedule.defined.hourly {"agent":"report","next":"2026-01-01T06:00:00.000000Z","replaced":true,"schedule":"hourly","timing":"every 3600s"}
        schedule.fired.hourly {"schedule":"hourly",
        schedule.paused.hourly {"schedule":"hourly"}
        schedule.resumed.hourly {"next":"2026-01-01T06:00:00.000000Z","schedule":"hourly"}
        schedule.missed.hourly {"missed":2,"schedule":"hourly","since":"2026-01-01T06:00:00.000000Z"}
        schedule.removed.hourly {"schedule":"hourly"}
    "#]],
    );
    // The task's own history has the schedule in it.
    let info = bench
        .queue
        .bus
        .history(Query::new().event_type("schedule.fired"))
        .await
        .unwrap();
    for event in info.events {
        let fired: hive_bus::catalog::ScheduleFired = event.decode().unwrap();
        let trace = bench.queue.bus.trace(fired.task).await.unwrap();
        let types: Vec<String> = trace
            .entries()
            .iter()
            .map(|entry| entry.event.event_type().to_owned())
            .collect();
        assert_eq!(types, ["task.submitted", "schedule.fired"]);
    }
}

#[tokio::test]
async fn a_single_time_that_has_passed_is_made_up_for_once() {
    for place in places() {
        let bench = Bench::real(&place).await;
        let past = definition("move", Schedule::once(start()));
        assert_eq!(bench.define(past.clone()).await.next, Some(start()));
        bench.pass().await;
        bench.define(past.clone()).await;
        bench.pass().await;
        assert_eq!(bench.keys().await, ["schedule:move@2026-01-01T00:00:00.000000Z"]);
        let done = bench.info("move").await;
        assert_eq!((done.next, done.fired, done.last_due), (None, 1, Some(start())));
        // Nor when it is made anew, with another input: the due time has its task.
        bench.write(|tx, queue| store::remove(tx, queue, "move")).await.unwrap();
        let again = Definition {
            input: Payload::encode(&"other", 100).unwrap(),
            ..past
        };
        bench.define(again).await;
        assert!(bench.pass().await.is_empty());
        assert_eq!(bench.keys().await.len(), 1);
        assert_eq!(bench.info("move").await.fired, 0);
    }
}

#[tokio::test]
async fn a_crash_between_the_task_and_the_next_step_leaves_neither() {
    for place in places() {
        let bench = Bench::real(&place).await;
        let all = Schedule::every(HOUR).catch_up(CatchUp::All { at_most: 3 });
        bench.define(definition("hourly", all)).await;
        let missed = now(&bench).await - 3 * HOUR;
        wait_for(&bench, "hourly", missed).await;
        let before = bench.info("hourly").await;
        let died = bench
            .write(|tx, queue| {
                let pass = store::pass(tx, queue, None)?;
                assert_eq!(pass.tasks, 3);
                Err::<(), _>(Error::new(ErrorKind::Storage, "the process died"))
            })
            .await;
        assert_eq!(died.unwrap_err().message(), "the process died");
        assert_eq!(bench.info("hourly").await, before);
        assert!(bench.keys().await.is_empty());
        bench.pass().await;
        bench.pass().await;
        assert_eq!(bench.keys().await.len(), 3);
    }
}

#[tokio::test]
async fn a_step_that_was_decided_on_an_older_row_is_refused() {
    for place in places() {
        let bench = Bench::real(&place).await;
        bench.define(definition("hourly", Schedule::every(HOUR))).await;
        let (queue, due) = (bench.queue.clone(), now(&bench).await - HOUR);
        wait_for(&bench, "hourly", due).await;
        // Between reading and writing, somebody else takes the step: a trigger of the database does it here.
        let sqlite = ["CREATE TRIGGER overtaken AFTER INSERT ON task
             BEGIN UPDATE schedule SET revision = revision + 1; END"];
        let postgres = [
            "CREATE FUNCTION overtake() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN UPDATE schedule SET revision = revision + 1; RETURN NEW; END'",
            "CREATE TRIGGER overtaken AFTER INSERT ON task FOR EACH ROW EXECUTE FUNCTION overtake()",
        ];
        let on_sqlite = place.dialect() == Dialect::Sqlite;
        let statements = if on_sqlite {
            sqlite.as_slice()
        } else {
            postgres.as_slice()
        };
        for sql in statements.iter().map(ToString::to_string) {
            bench.write(move |tx, _| tx.execute(&sql, &[])).await.unwrap();
        }
        let overtaken = bench
            .db
            .write(move |tx| store::pass(tx, &queue, None))
            .await
            .unwrap_err();
        assert_eq!(
            (overtaken.kind(), overtaken.is_retryable()),
            (ErrorKind::Conflict, true)
        );
        assert!(bench.keys().await.is_empty());
        assert_eq!(bench.info("hourly").await.next, Some(due));
    }
}

#[tokio::test]
async fn one_that_cannot_be_acted_upon_does_not_hold_up_the_others() {
    for place in places() {
        let bench = Bench::real(&place).await;
        let count = limits::SCHEDULE_BATCH * 2 + 3;
        for number in 0..count {
            bench
                .define(definition(&format!("s{number:02}"), Schedule::every(HOUR)))
                .await;
        }
        // A whole page that cannot be read, before everything else.
        bench
            .write(|tx, _| {
                tx.execute("UPDATE schedule SET due_at = 5, fire_at = 5", &[])?;
                tx.execute(
                    "UPDATE schedule SET spec = 'nonsense', fire_at = 4 WHERE name < ?1",
                    &[&format!("s{:02}", limits::SCHEDULE_BATCH)],
                )
            })
            .await
            .unwrap();
        let failed = bench.pass().await;
        assert_eq!(failed.len(), limits::SCHEDULE_BATCH);
        for (name, error) in failed {
            assert_eq!(
                (error.kind(), error.field("schedule")),
                (ErrorKind::Corrupt, Some(&*name))
            );
        }
        assert_eq!(bench.keys().await.len(), count - limits::SCHEDULE_BATCH);
    }
}

#[tokio::test]
async fn one_that_fails_half_way_leaves_nothing_and_does_not_hold_up_the_others() {
    let (bench, clock) = Bench::virtual_time().await;
    for name in ["a", "b", "c"] {
        let all = Schedule::every(HOUR).catch_up(CatchUp::All { at_most: 3 });
        bench.define(definition(name, all)).await;
    }
    // Its third task is refused.
    bench
        .write(|tx, _| {
            tx.execute(
                "CREATE TRIGGER refused BEFORE INSERT ON task WHEN NEW.idempotency LIKE 'schedule:b@2026-01-01T03:%'
                 BEGIN SELECT RAISE(ABORT, 'refused'); END",
                &[],
            )
        })
        .await
        .unwrap();
    clock.advance(3 * HOUR);
    let failed = bench.pass().await;
    assert_eq!(failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(bench.keys().await.len(), 6);
    let told = bench.told().await;
    assert_eq!(told.matches("schedule.fired.b").count(), 0, "{told}");
    assert_eq!(bench.info("b").await.next, Some(start() + HOUR));
}

#[tokio::test]
async fn the_walk_over_what_is_due_reads_nothing_else() {
    let (bench, _clock) = Bench::virtual_time().await;
    let plan = bench
        .db
        .read(|db| {
            db.query(
                "EXPLAIN QUERY PLAN SELECT min(fire_at) FROM schedule WHERE paused = 0 AND fire_at IS NOT NULL",
                &[],
                |row| row.get::<String>(3),
            )
        })
        .await
        .unwrap();
    assert!(plan.iter().all(|line| line.contains("schedule_due")), "{plan:?}");
}
