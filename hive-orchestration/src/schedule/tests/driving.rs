//! The driver in virtual time, on SQLite.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::driver;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A driver that goes to sleep when there is nothing to do.
struct Driven {
    bench: Bench,
    clock: ManualClock,
    stop: CancellationToken,
    driver: JoinHandle<()>,
}

impl Driven {
    /// The driver is given its schedules first, so that it always has something to sleep for.
    async fn start(bench: Bench, clock: ManualClock) -> Self {
        assert_eq!(clock.sleepers(), 0);
        let stop = CancellationToken::new();
        let driver = tokio::spawn(driver::run(bench.db.clone(), bench.queue.clone(), stop.clone()));
        let driven = Self {
            bench,
            clock,
            stop,
            driver,
        };
        driven.idle().await;
        driven
    }

    /// Until the driver sleeps.
    async fn idle(&self) {
        // If it has just been woken, it lets go of what else it slept for.
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::from_secs(60), self.clock.until_sleepers(1))
            .await
            .unwrap();
    }

    async fn until(&self, end: Timestamp) {
        loop {
            self.idle().await;
            if self.clock.next().is_none_or(|next| self.clock.now() + next > end) {
                return self.clock.advance(end.since(self.clock.now()));
            }
            self.clock.advance_to_next();
        }
    }

    async fn end(self) -> Bench {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), self.driver)
            .await
            .unwrap()
            .unwrap();
        self.bench
    }
}

/// How many tasks each schedule has, by their keys; and when each was submitted after its due time at the latest.
async fn tasks(bench: &Bench) -> BTreeMap<String, (usize, Duration)> {
    let rows = bench
        .db
        .read(|db| {
            db.query("SELECT idempotency, created_at FROM task", &[], |row| {
                Ok((row.get::<String>(0)?, row.get::<Timestamp>(1)?))
            })
        })
        .await
        .unwrap();
    let mut tasks = BTreeMap::new();
    for (key, created_at) in rows {
        let (name, due) = key.strip_prefix("schedule:").unwrap().split_once('@').unwrap();
        let due: Timestamp = due.parse().unwrap();
        assert!(created_at >= due, "{key} is early");
        let (count, late) = tasks.entry(name.to_owned()).or_insert((0, Duration::ZERO));
        *count += 1;
        *late = created_at.since(due).max(*late);
    }
    tasks
}

#[tokio::test]
async fn a_year() {
    let (bench, clock) = Bench::virtual_time().await;
    let berlin = |text: &str| Schedule::cron(text).unwrap().zone("Europe/Berlin").unwrap();
    for (name, schedule) in [
        ("nightly", berlin("30 2 * * *")),
        ("first-mondays", berlin("0 9 * * MON#1")),
        ("by-day", berlin("0 2-22/4 * * *")),
        ("spread", Schedule::every(6 * HOUR).jitter(HOUR)),
        ("odd", Schedule::every(36 * HOUR).anchor(start() + HOUR).unwrap()),
        ("once", Schedule::once(start() + 100 * DAY)),
        ("leap-day", berlin("0 0 29 2 *")),
    ] {
        bench.define(definition(name, schedule)).await;
    }
    let driven = Driven::start(bench, clock).await;
    driven.until(start() + 365 * DAY).await;
    driven.idle().await;
    let bench = driven.end().await;
    let tasks = tasks(&bench).await;
    let counts: Vec<(&str, usize)> = tasks.iter().map(|(name, (count, _))| (name.as_str(), *count)).collect();
    let expected = [
        // Also on the day that has no two o'clock, and on the one that has two.
        ("by-day", 6 * 365),
        ("first-mondays", 12),
        ("nightly", 365),
        ("odd", 244),
        ("once", 1),
        // The last falls due with the year's end and waits for its jitter.
        ("spread", 4 * 365 - 1),
    ];
    assert_eq!(counts, expected);
    for (name, (_, late)) in &tasks {
        let most = if name == "spread" { HOUR } else { Duration::ZERO };
        assert!(*late <= most, "{name} is late by {late:?}");
    }
    assert!(tasks["spread"].1 > HOUR / 2);
    assert_eq!(bench.info("once").await.next, None);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_and_back() {
    let (bench, clock) = Bench::virtual_time().await;
    bench.define(definition("latest", Schedule::every(HOUR))).await;
    let all = Schedule::every(HOUR).catch_up(CatchUp::All { at_most: 5 });
    bench.define(definition("all", all)).await;
    bench
        .define(definition("skip", Schedule::every(HOUR).catch_up(CatchUp::Skip)))
        .await;
    let driven = Driven::start(bench, clock).await;
    // A day and half an hour at once.
    driven.clock.set_wall(start() + DAY + HOUR / 2);
    driven.idle().await;
    let counts = |tasks: BTreeMap<String, (usize, Duration)>| -> Vec<(String, usize)> {
        tasks.into_iter().map(|(name, (count, _))| (name, count)).collect()
    };
    let expected = [("all".to_owned(), 5), ("latest".to_owned(), 1)];
    assert_eq!(counts(tasks(&driven.bench).await), expected);
    // Back again, and through the same day: it has been.
    driven.clock.set_wall(start());
    driven.until(start() + DAY + HOUR / 2).await;
    driven.idle().await;
    assert_eq!(counts(tasks(&driven.bench).await), expected);
    // Then on, as ever.
    driven.until(start() + DAY + 2 * HOUR).await;
    driven.idle().await;
    let expected = [("all".to_owned(), 7), ("latest".to_owned(), 3), ("skip".to_owned(), 2)];
    assert_eq!(counts(tasks(&driven.bench).await), expected);
    driven.end().await;
}

#[tokio::test]
async fn after_a_clock_was_far_ahead_resuming_begins_anew() {
    let (bench, clock) = Bench::virtual_time().await;
    bench.define(definition("hourly", Schedule::every(HOUR))).await;
    clock.set_wall(start() + 3_650 * DAY);
    bench.pass().await;
    clock.set_wall(start() + HOUR / 2);
    assert!(bench.info("hourly").await.next.unwrap() > start() + 3_650 * DAY);
    bench
        .write(|tx, queue| store::resume(tx, queue, "hourly"))
        .await
        .unwrap();
    assert_eq!(bench.info("hourly").await.next, Some(start() + HOUR));
    clock.set_wall(start() + HOUR);
    bench.pass().await;
    assert_eq!(bench.keys().await.len(), 2);
}

#[tokio::test]
async fn changes_are_heard_at_once() {
    let (bench, clock) = Bench::virtual_time().await;
    bench.define(definition("rare", Schedule::every(30 * DAY))).await;
    let driven = Driven::start(bench, clock).await;
    // The clock stands still: only who is told can act.
    driven
        .bench
        .define(definition("past", Schedule::once(start() - HOUR)))
        .await;
    let mut told = driven.bench.queue.bus.subscribe("schedule.fired.past").await.unwrap();
    let wait = async {
        while driven.bench.keys().await.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(50), told.next()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    driven.end().await;
}

#[tokio::test]
async fn one_that_cannot_be_acted_upon_is_tried_again_and_the_others_are_on_time() {
    let (bench, clock) = Bench::virtual_time().await;
    bench.define(definition("good", Schedule::every(HOUR))).await;
    bench.define(definition("bad", Schedule::every(HOUR))).await;
    let spoil = |tx: &mut Tx<'_>, _: &Queue| {
        let sql = "UPDATE schedule SET spec = replace(spec, 'version', 'nonsense') WHERE name = 'bad'";
        tx.execute(sql, &[])
    };
    bench.write(spoil).await.unwrap();
    let driven = Driven::start(bench, clock).await;
    driven.until(start() + 3 * HOUR).await;
    driven.idle().await;
    assert_eq!(tasks(&driven.bench).await["good"], (3, Duration::ZERO));
    // Mended, it goes on by itself.
    let mend = |tx: &mut Tx<'_>, _: &Queue| {
        let sql = "UPDATE schedule SET spec = replace(spec, 'nonsense', 'version') WHERE name = 'bad'";
        tx.execute(sql, &[])
    };
    driven.bench.write(mend).await.unwrap();
    driven.until(start() + 3 * HOUR + HOUR / 2).await;
    driven.idle().await;
    let (count, late) = tasks(&driven.bench).await["bad"];
    assert_eq!(count, 1);
    assert!(late <= Duration::from_secs(60), "{late:?}");
    driven.end().await;
}

#[tokio::test]
async fn with_nothing_to_do_the_driver_does_nothing_and_ends_when_it_is_told() {
    let (bench, clock) = Bench::virtual_time().await;
    let stop = CancellationToken::new();
    let driver = tokio::spawn(driver::run(bench.db.clone(), bench.queue.clone(), stop.clone()));
    tokio::task::yield_now().await;
    assert_eq!(clock.sleepers(), 0);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), driver)
        .await
        .unwrap()
        .unwrap();
    // And when it finds the database closed.
    bench.db.close().await.unwrap();
    let closed = driver::run(bench.db.clone(), bench.queue.clone(), CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(60), closed).await.unwrap();
}
