//! How agents come, go, fall silent and come back.

use hive_core::rng::SystemRng;
use tokio_util::sync::CancellationToken;

use super::*;

on_both! {
    agents_come_are_busy_drain_and_leave,
    who_has_left_stays_away,
    who_was_forgotten_comes_back_by_a_heartbeat,
    one_that_dies_again_and_again_leaves_few_rows,
    what_is_long_gone_is_forgotten,
    a_schema_is_kept_once_for_each_version,
}

async fn agents_come_are_busy_drain_and_leave(place: &TestDb) {
    let process = Process::open(place, [reviewer(), planner()]).await;
    assert_eq!(process.all().await, []);
    process.register().await;
    assert_eq!(
        process.all().await,
        [
            ("planner".to_owned(), Status::Online),
            ("reviewer".to_owned(), Status::Online)
        ]
    );
    let listing = process.find(Query::new().agent("reviewer")).await.remove(0);
    assert_eq!(listing.instance, process.instance);
    assert_eq!((listing.version.to_string().as_str(), listing.weight), ("1.2.0", 3));
    assert!(listing.capabilities.contains(&RUST) && listing.domains.contains("rust"));
    assert_eq!(
        listing.metadata,
        BTreeMap::from([("owner".to_owned(), "ada".to_owned())])
    );

    process.heartbeat(1, 4).await;
    process.heartbeat(4, 4).await;
    let listing = process.find(Query::new().agent("planner")).await.remove(0);
    assert_eq!(
        (listing.status, listing.running, listing.concurrency),
        (Status::Busy, 4, 4)
    );
    assert!((listing.load_factor() - 1.0).abs() < f64::EPSILON);
    process.heartbeat(3, 4).await;
    process.tx(Presence::drain).await;
    // A heartbeat while it drains does not undo that.
    process.heartbeat(0, 4).await;
    assert!(
        process
            .all()
            .await
            .iter()
            .all(|(_, status)| *status == Status::Draining)
    );
    process.leave().await;
    process.leave().await;
    assert_eq!(process.find(Query::new()).await.len(), 0);
    assert!(process.all().await.iter().all(|(_, status)| *status == Status::Offline));
    let of = |agent: &str, states: &[&str]| -> Vec<String> {
        states.iter().map(|state| format!("agent.{state}.{agent}")).collect()
    };
    let states = ["registered", "online", "busy", "online", "draining", "offline"];
    for agent in ["reviewer", "planner"] {
        let told = process.events().await;
        let told: Vec<String> = told.into_iter().filter(|topic| topic.ends_with(agent)).collect();
        assert_eq!(told, of(agent, &states));
    }
    process.db.close().await.unwrap();
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_falls_silent_is_taken_offline_once_and_may_come_back() {
    let place = TestDb::postgres();
    let silent = Process::open(&place, [reviewer()]).await;
    let other = Process::on(silent.db.clone(), [planner()]).await;
    silent.register().await;
    other.register().await;
    assert_eq!(other.sweep().await, 0);

    silent.silence(seconds(limits::AGENT_TTL) - 1).await;
    assert_eq!(other.sweep().await, 0);
    assert_eq!(other.find(Query::new()).await.len(), 2);
    silent.silence(1).await;
    // Before anybody has swept nobody is misled any more.
    assert_eq!(other.find(Query::new()).await.len(), 1);
    assert_eq!(other.sweep().await, 1);
    assert_eq!(other.sweep().await, 0, "told twice");
    assert!(other.all().await.contains(&("reviewer".to_owned(), Status::Offline)));

    // It only stood still.
    silent.heartbeat(2, 4).await;
    assert!(other.all().await.contains(&("reviewer".to_owned(), Status::Online)));
    let told: Vec<String> = other
        .events()
        .await
        .into_iter()
        .filter(|topic| topic.ends_with("reviewer"))
        .collect();
    let told: Vec<&str> = told.iter().map(|topic| topic.split('.').nth(1).unwrap()).collect();
    assert_eq!(told, ["registered", "online", "offline", "online"]);
}

async fn who_has_left_stays_away(place: &TestDb) {
    let process = Process::open(place, [reviewer()]).await;
    process.register().await;
    process.leave().await;
    // One that was under way.
    process.heartbeat(0, 4).await;
    assert_eq!(process.all().await, [("reviewer".to_owned(), Status::Offline)]);
    assert_eq!(process.sweep().await, 0, "it has left, and is not silent");
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_strands_nobody() {
    let place = TestDb::postgres();
    let process = Process::open(&place, [reviewer()]).await;
    process.register().await;
    // Its last sign of life is an hour ahead.
    process.silence(-3_600).await;
    assert_eq!(process.sweep().await, 0);
    assert_eq!(process.find(Query::new()).await.len(), 1);
    // From then on its time runs as anybody's.
    process.silence(seconds(limits::AGENT_TTL)).await;
    assert_eq!(process.sweep().await, 1);
}

async fn who_was_forgotten_comes_back_by_a_heartbeat(place: &TestDb) {
    let process = Process::open(place, [reviewer(), planner()]).await;
    process.register().await;
    process
        .execute("DELETE FROM agent WHERE name = 'reviewer'", |run| run(&[]))
        .await;
    process.heartbeat(0, 4).await;
    assert_eq!(process.find(Query::new().agent("reviewer")).await.len(), 1);
}

async fn one_that_dies_again_and_again_leaves_few_rows(place: &TestDb) {
    let first = Process::open(place, [reviewer()]).await;
    for _ in 0..20 {
        let next = Process::on(first.db.clone(), [reviewer()]).await;
        // On SQLite that takes the last one offline, on PostgreSQL the last one's silence does.
        next.register().await;
        next.silence(seconds(limits::AGENT_TTL)).await;
        next.sweep().await;
    }
    Process::on(first.db.clone(), [planner()]).await.register().await;
    assert_eq!(
        first.count("agent WHERE name = 'reviewer'").await,
        u64::from(limits::AGENTS_GONE)
    );
    let other_version = Process::on(first.db.clone(), [reviewer().with_version("2.0.0")]).await;
    other_version.register().await;
    assert_eq!(
        first.count("agent WHERE name = 'reviewer'").await,
        u64::from(limits::AGENTS_GONE) + 1
    );
}

async fn what_is_long_gone_is_forgotten(place: &TestDb) {
    let gone = Process::open(place, [reviewer()]).await;
    gone.register().await;
    gone.leave().await;
    let here = Process::on(gone.db.clone(), [planner()]).await;
    here.register().await;
    here.sweep().await;
    assert_eq!((here.count("agent").await, here.count("agent_version").await), (2, 2));
    gone.silence(seconds(limits::AGENT_KEPT)).await;
    here.execute("UPDATE agent_version SET declared_at = 0", |run| run(&[]))
        .await;
    here.sweep().await;
    assert_eq!(here.all().await, [("planner".to_owned(), Status::Online)]);
    assert_eq!(
        here.count("agent_version").await,
        1,
        "a version that nobody has is forgotten with it, others are not"
    );
}

async fn a_schema_is_kept_once_for_each_version(place: &TestDb) {
    let first = Process::open(place, [reviewer()]).await;
    for agent in [reviewer(), reviewer(), reviewer().with_version("2.0.0")] {
        Process::on(first.db.clone(), [agent]).await.register().await;
    }
    assert_eq!((first.count("agent").await, first.count("agent_version").await), (3, 2));
    // The same version with another input: the newest word counts.
    let changed =
        agent_fn("reviewer", async |_cx: Context, number: u64| Ok::<_, Failure>(number)).with_version("1.2.0");
    Process::on(first.db.clone(), [changed]).await.register().await;
    let sql = "SELECT input FROM agent_version WHERE version = '1.2.0'";
    let input: String = first
        .db
        .read(move |db| db.query_one(sql, &[], |row| row.get(0)))
        .await
        .unwrap();
    assert!(input.contains("integer"), "{input}");
}

/// One process owns the file: whoever opens it next knows that the others have died, and waits for nothing.
#[tokio::test]
async fn on_sqlite_the_next_process_takes_the_dead_offline_at_once() {
    let place = TestDb::sqlite();
    let dead = Process::open(&place, [reviewer()]).await;
    dead.register().await;
    dead.db.close().await.unwrap();
    let next = Process::open(&place, [planner()]).await;
    next.register().await;
    assert_eq!(
        next.all().await,
        [
            ("planner".to_owned(), Status::Online),
            ("reviewer".to_owned(), Status::Offline)
        ]
    );
}

/// Whoever stands in the file is there, however the clock goes: a laptop that slept has lost no agent.
#[tokio::test]
async fn on_sqlite_nobody_is_gone_because_time_has_passed() {
    let place = TestDb::sqlite();
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000_000)));
    let options = place
        .options()
        .migrations(&hive_bus::MIGRATIONS)
        .migrations(&MIGRATIONS);
    let db = Db::open(options.clock(clock.clone())).await.unwrap();
    let process = Process::on(db, [reviewer()]).await;
    process.register().await;
    clock.advance(limits::AGENT_KEPT * 2);
    assert_eq!((process.sweep().await, process.find(Query::new()).await.len()), (0, 1));
    // Once it has left, its time runs.
    process.leave().await;
    clock.advance(limits::AGENT_KEPT);
    process.sweep().await;
    assert_eq!(process.all().await, []);
}

/// An idle process on SQLite wakes the disk for nothing.
#[tokio::test]
async fn on_sqlite_an_idle_process_does_not_write() {
    let place = TestDb::sqlite();
    let process = Process::open(&place, [reviewer()]).await;
    process.register().await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let (draining, ending) = (CancellationToken::new(), CancellationToken::new());
    let keeping = tokio::spawn(keep(
        process.db.clone(),
        process.presence.clone(),
        Arc::new(load(0, 4)),
        (clock.clone(), Arc::new(SystemRng), crate::pace::Pace::default()),
        draining.clone(),
        ending.clone(),
    ));
    let mut heartbeats = Vec::new();
    for round in 0..6 {
        // Whatever it does in a round is done when it sleeps again.
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        heartbeats.push(process.find(Query::new()).await.remove(0).heartbeat_at);
        if round == 2 {
            process.meters.start("reviewer", Duration::ZERO).ended(Ended::Succeeded);
        }
        clock.advance(limits::AGENT_HEARTBEAT);
    }
    heartbeats.dedup();
    assert_eq!(
        heartbeats.len(),
        2,
        "the first, and one because there was something to say"
    );
    draining.cancel();
    while process.find(Query::new()).await.remove(0).status != Status::Draining {
        tokio::task::yield_now().await;
    }
    ending.cancel();
    keeping.await.unwrap();
    assert_eq!(process.all().await, [("reviewer".to_owned(), Status::Offline)]);
}
