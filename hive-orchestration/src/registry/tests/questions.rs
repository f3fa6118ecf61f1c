//! What can be asked of those that are there.

use super::*;

on_both! {
    questions_have_answers,
    statistics_are_added_up_over_processes,
    statistics_leave_the_window,
    hostile_questions_find_nothing,
}

async fn questions_have_answers(place: &TestDb) {
    let one = Process::open(place, [reviewer(), planner()]).await;
    let other = Process::on(
        one.db.clone(),
        [reviewer().with_version("2.0.0-rc.1").with_domain("sql")],
    )
    .await;
    one.register().await;
    other.heartbeat(0, 4).await;
    let versions = |found: Vec<Listing>| -> Vec<String> {
        let mut versions: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}", one.agent, one.version))
            .collect();
        versions.sort();
        versions
    };
    for (query, expected) in [
        (
            Query::new(),
            vec!["planner 0.1.0", "reviewer 1.2.0", "reviewer 2.0.0-rc.1"],
        ),
        (Query::new().agent("planner"), vec!["planner 0.1.0"]),
        (
            Query::new().capability(REVIEW),
            vec!["reviewer 1.2.0", "reviewer 2.0.0-rc.1"],
        ),
        (Query::new().capability(Capability::new("rev")), vec![]),
        (Query::new().domain("sql"), vec!["reviewer 2.0.0-rc.1"]),
        (Query::new().version(">=1".parse().unwrap()), vec!["reviewer 1.2.0"]),
        (Query::new().agent("reviewer").version("<1".parse().unwrap()), vec![]),
        (
            Query::new()
                .capability(RUST)
                .domain("rust")
                .version("^2.0.0-rc".parse().unwrap()),
            vec!["reviewer 2.0.0-rc.1"],
        ),
    ] {
        assert_eq!(versions(one.find(query.clone()).await), expected, "{query:?}");
    }
}

async fn statistics_are_added_up_over_processes(place: &TestDb) {
    let one = Process::open(place, [reviewer()]).await;
    let other = Process::on(one.db.clone(), [reviewer()]).await;
    for (process, how, times) in [(&one, Ended::Succeeded, 3), (&other, Ended::Failed, 3)] {
        for _ in 0..times {
            process.meters.start("reviewer", Duration::from_millis(20)).ended(how);
        }
    }
    other.meters.died("reviewer", 1);
    one.heartbeat(0, 4).await;
    other.heartbeat(0, 4).await;
    // What one process did still counts when it has gone.
    other.leave().await;
    let sum = one.db.read(|db| statistics(db, "reviewer")).await.unwrap();
    assert_eq!((sum.completed, sum.failed, sum.dead, sum.ended()), (3, 3, 1, 6));
    assert_eq!(sum.wait.unwrap().mean, Duration::from_millis(20));
    assert!(sum.run.unwrap().p95 < Duration::from_secs(1));
    let nobody = one.db.read(|db| statistics(db, "nobody")).await.unwrap();
    assert_eq!(nobody, Statistics::default());
}

async fn statistics_leave_the_window(place: &TestDb) {
    let process = Process::open(place, [reviewer()]).await;
    process.meters.start("reviewer", Duration::ZERO).ended(Ended::Succeeded);
    process.heartbeat(0, 4).await;
    process.silence(seconds(limits::STATISTICS_WINDOW) + 1).await;
    let sum = process.db.read(|db| statistics(db, "reviewer")).await.unwrap();
    assert_eq!(sum, Statistics::default());
}

async fn hostile_questions_find_nothing(place: &TestDb) {
    let process = Process::open(place, [reviewer()]).await;
    process.register().await;
    let long = "x".repeat(100_000);
    for name in [
        "",
        "'; DROP TABLE agent; --",
        "%",
        "_eviewer",
        "REVIEWER",
        "reviewer ",
        "é",
        long.as_str(),
    ] {
        assert_eq!(process.find(Query::new().agent(name)).await.len(), 0);
        assert_eq!(process.find(Query::new().domain(name)).await.len(), 0);
    }
    assert_eq!(process.find(Query::new()).await.len(), 1);
}

#[test]
fn agents_with_one_name_or_a_hostile_one_are_refused_together() {
    let mut registry = Registry::default();
    registry.add(reviewer()).unwrap();
    assert_eq!(
        registry.add(reviewer().with_version("2.0.0")).unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(
        registry.add(planner().with_capability("Plan!")).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(registry.names().collect::<Vec<_>>(), ["reviewer"]);
    assert_eq!(registry.declarations().count(), 1);
}
