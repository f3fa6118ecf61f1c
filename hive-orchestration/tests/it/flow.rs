//! Limits, seen from outside: what runs at once, what begins in a time, who gets the larger share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hive_orchestration::builders::AnyAgent;
use hive_orchestration::core::clock::Timestamp;
use hive_orchestration::flow::{Limit, Rate, Subject};
use hive_orchestration::task::TaskState;
use hive_orchestration::task::query::TaskQuery;
use hive_orchestration::{Context, Failure, Hive, Signal, agent_fn};

use crate::kit::{Gate, Home, Ledger, soon, until};

/// How many of each kind run, and how many did at most.
#[derive(Clone, Debug, Default)]
struct Crowd(Arc<Mutex<HashMap<String, (usize, usize)>>>);

impl Crowd {
    fn enter(&self, kinds: &[String]) {
        let mut all = self.0.lock().unwrap();
        for kind in kinds {
            let (now, most) = all.entry(kind.clone()).or_default();
            *now += 1;
            *most = (*most).max(*now);
        }
    }

    fn leave(&self, kinds: &[String]) {
        let mut all = self.0.lock().unwrap();
        for kind in kinds {
            all.get_mut(kind).unwrap().0 -= 1;
        }
    }

    fn most(&self, kind: &str) -> usize {
        self.0.lock().unwrap().get(kind).map_or(0, |(_, most)| *most)
    }
}

/// Works for a moment. Its input is its tenant and key.
fn worker(name: &str, crowd: &Crowd) -> AnyAgent {
    let (own, crowd) = (name.to_owned(), crowd.clone());
    agent_fn(name, move |_: Context, (tenant, key): (String, String)| {
        let (crowd, kinds) = (crowd.clone(), [own.clone(), tenant, format!("{own}/{key}")]);
        async move {
            crowd.enter(&kinds);
            tokio::time::sleep(Duration::from_millis(3)).await;
            crowd.leave(&kinds);
            Ok::<_, Failure>(())
        }
    })
}

pub(super) async fn no_more_run_at_once_than_may(home: Home) {
    let crowd = Crowd::default();
    let hive = home
        .hive()
        .agent(worker("a", &crowd))
        .agent(worker("b", &crowd))
        .start()
        .await
        .unwrap();
    for (subject, count) in [
        (Subject::All, 9),
        (Subject::Agent("a".into()), 6),
        (Subject::EachTenant, 4),
        (Subject::Tenant("t0".into()), 2),
        (Subject::EachKey("a".into()), 2),
        (
            Subject::Key {
                agent: "a".into(),
                key: "k1".into(),
            },
            1,
        ),
    ] {
        hive.limit(subject, Limit::new().concurrency(count)).await.unwrap();
    }
    let submit = |nth: usize| {
        let (agent, tenant, key) = (["a", "b"][nth % 2], format!("t{}", nth % 5), format!("k{}", nth % 3));
        hive.submit_named(agent, &(tenant.clone(), key.clone()))
            .tenant(tenant)
            .key(key)
    };
    let tasks = hive.submit_all((0..300).map(submit)).await.unwrap();
    for task in &tasks {
        soon(task.result()).await.unwrap();
    }
    for (kind, limit) in [
        ("a", 6),
        ("t0", 2),
        ("t1", 4),
        ("t2", 4),
        ("t3", 4),
        ("t4", 4),
        ("a/k0", 2),
        ("a/k1", 1),
        ("a/k2", 2),
    ] {
        let most = crowd.most(kind);
        assert!((1..=limit).contains(&most), "{kind}: {most} of {limit}");
    }
    assert!(crowd.most("a") + crowd.most("b") >= 6, "limits are used: {crowd:?}");
    // Nothing is counted that does not run.
    assert!(hive.limits().await.unwrap().iter().all(|limited| limited.running == 0));
    hive.shutdown().await.unwrap();
}

pub(super) async fn whoever_waits_makes_room(home: Home) {
    const GO: Signal<()> = Signal::new("go");
    let (ledger, gate) = (Ledger::default(), Gate::new());
    let (seen, held) = (ledger.clone(), gate.clone());
    let agent = agent_fn("waiter", move |cx: Context, nth: usize| {
        let (ledger, gate) = (seen.clone(), held.clone());
        async move {
            ledger.add(format!("begins {nth}"));
            cx.wait(GO).await?;
            ledger.add(format!("goes on {nth}"));
            gate.passed().await;
            Ok::<_, Failure>(nth)
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    let limit = Limit::new()
        .concurrency(1)
        .rate(Rate::new(10, Duration::from_millis(10)).burst(10));
    hive.limit(Subject::Agent("waiter".into()), limit).await.unwrap();
    let mut tasks = Vec::new();
    for nth in 0..3 {
        tasks.push(hive.submit_named("waiter", &nth).await.unwrap());
    }
    // Each waits without a place, so that all three begin.
    for task in &tasks {
        until(task, TaskState::Waiting).await;
    }
    // From here on nothing may begin; what has begun goes on.
    let limit = Limit::new()
        .concurrency(1)
        .rate(Rate::new(1, Duration::from_secs(3_600)));
    hive.limit(Subject::Agent("waiter".into()), limit).await.unwrap();
    let last = hive.submit_named("waiter", &3).await.unwrap();
    until(&last, TaskState::Waiting).await;
    let late = hive.submit_named("waiter", &4).await.unwrap();
    for task in &tasks {
        task.signal(&GO, &()).await.unwrap();
    }
    soon(async {
        while !ledger.lines().iter().any(|line| line.starts_with("goes on")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // One at a time: the others have been told to go on and find no place.
    let running = hive.limits().await.unwrap()[0].running;
    assert_eq!(running, 1);
    let went_on = ledger.lines().iter().filter(|line| line.starts_with("goes on")).count();
    assert_eq!(went_on, 1);
    gate.open();
    for (nth, task) in tasks.iter().enumerate() {
        assert_eq!(soon(task.result()).await.unwrap(), nth);
    }
    assert_eq!(late.status().await.unwrap().state, TaskState::Queued);
    assert!(hive.unlimit(Subject::Agent("waiter".into())).await.unwrap());
    assert!(!hive.unlimit(Subject::Agent("waiter".into())).await.unwrap());
    for task in [last, late] {
        task.signal(&GO, &()).await.unwrap();
        soon(task.result()).await.unwrap();
    }
    hive.shutdown().await.unwrap();
}

/// When the tasks began, by the database's clock.
async fn beginnings(hive: &Hive, agent: &str) -> Vec<Timestamp> {
    let page = hive.tasks(TaskQuery::new().agent(agent)).await.unwrap();
    let mut begun: Vec<Timestamp> = page.tasks.iter().filter_map(|task| task.claimed_at).collect();
    begun.sort_unstable();
    begun
}

pub(super) async fn no_more_begin_than_the_rate_says(home: Home) {
    let echo = |name: &str| agent_fn(name, async |_: Context, nth: usize| Ok::<_, Failure>(nth));
    let hive = home
        .hive()
        .agent(echo("plain"))
        .agent(echo("keyed"))
        .start()
        .await
        .unwrap();
    let (period, burst) = (Duration::from_millis(100), 3);
    let rate = Rate::new(10, period).burst(burst);
    hive.limit(Subject::Agent("plain".into()), Limit::new().rate(rate))
        .await
        .unwrap();
    hive.limit(
        Subject::EachKey("keyed".into()),
        Limit::new().rate(Rate::new(1, Duration::from_millis(40))),
    )
    .await
    .unwrap();
    let plain = (0..30).map(|nth| hive.submit_named("plain", &nth));
    let keyed = (0..30).map(|nth| hive.submit_named("keyed", &nth).key((nth % 3).to_string()));
    let tasks = hive.submit_all(plain.chain(keyed)).await.unwrap();
    for task in &tasks {
        soon(task.result()).await.unwrap();
    }
    let windows = |begun: &[Timestamp], burst: u32, interval: Duration| {
        for (first, start) in begun.iter().enumerate() {
            for (nth, end) in begun.iter().enumerate().skip(first) {
                let allowed = f64::from(burst) + end.since(*start).as_secs_f64() / interval.as_secs_f64();
                assert!(
                    (nth - first + 1) as f64 <= allowed + 1e-3,
                    "{} in {:?}",
                    nth - first + 1,
                    end.since(*start)
                );
            }
        }
    };
    windows(&beginnings(&hive, "plain").await, burst, period / 10);
    let all = hive.tasks(TaskQuery::new().agent("keyed")).await.unwrap().tasks;
    for key in 0..3 {
        // In the order of submission, as the page is in the reverse.
        let mut begun: Vec<Timestamp> = all
            .iter()
            .rev()
            .skip(key)
            .step_by(3)
            .filter_map(|task| task.claimed_at)
            .collect();
        begun.sort_unstable();
        windows(&begun, 1, Duration::from_millis(40));
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn tenants_and_keys_share_by_weight(home: Home) {
    let order = Ledger::default();
    let seen = order.clone();
    let agent = agent_fn("one", move |_: Context, whose: String| {
        let order = seen.clone();
        async move {
            order.add(whose);
            Ok::<_, Failure>(())
        }
    });
    let hive = home.hive().agent(agent).start().await.unwrap();
    hive.limit(Subject::Agent("one".into()), Limit::new().concurrency(1))
        .await
        .unwrap();
    hive.limit(Subject::Tenant("large".into()), Limit::new().weight(3))
        .await
        .unwrap();
    let heavy = Subject::Key {
        agent: "one".into(),
        key: "heavy".into(),
    };
    hive.limit(heavy, Limit::new().weight(2)).await.unwrap();
    hive.pause(hive_orchestration::task::Scope::All).await.unwrap();
    let mut tasks = Vec::new();
    for (tenant, key, whose) in [
        ("small", None, "small"),
        ("large", Some("light"), "light"),
        ("large", Some("heavy"), "heavy"),
    ] {
        for _ in 0..60 {
            let mut submit = hive.submit_named("one", &whose).tenant(tenant);
            if let Some(key) = key {
                submit = submit.key(key);
            }
            tasks.push(submit);
        }
    }
    let tasks = hive.submit_all(tasks).await.unwrap();
    hive.resume(hive_orchestration::task::Scope::All).await.unwrap();
    for task in &tasks {
        soon(task.result()).await.unwrap();
    }
    let lines = order.lines();
    let share = |whose: &str| lines.iter().take(72).filter(|line| *line == whose).count();
    for (whose, due) in [("small", 18_usize), ("light", 18), ("heavy", 36)] {
        assert!(
            share(whose).abs_diff(due) <= 2,
            "{whose} got {} of 72 and not {due}",
            share(whose)
        );
    }
    hive.shutdown().await.unwrap();
}

pub(super) async fn a_limit_holds_through_restarts(home: Home) {
    let crowd = Crowd::default();
    let open = || home.hive().agent(worker("a", &crowd));
    let hive = open().start().await.unwrap();
    let limit = Limit::new()
        .concurrency(2)
        .rate(Rate::new(1_000, Duration::from_secs(1)).burst(7))
        .weight(5);
    hive.limit(Subject::EachKey("a".into()), limit).await.unwrap();
    hive.shutdown().await.unwrap();
    let hive = crate::kit::reopened(open).await;
    let limits = hive.limits().await.unwrap();
    assert_eq!(
        (&limits[0].subject, limits[0].limit),
        (&Subject::EachKey("a".into()), limit)
    );
    let tasks = (0..50).map(|_| hive.submit_named("a", &("default", "k")).key("k"));
    for task in hive.submit_all(tasks).await.unwrap() {
        soon(task.result()).await.unwrap();
    }
    assert!(crowd.most("a/k") <= 2, "{crowd:?}");
    let refused = hive.limit(Subject::All, Limit::new().concurrency(0)).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.field("field")),
        ("invalid-input", Some("concurrency"))
    );
    let refused = hive.submit_named("a", &("default", "k")).key("").await.unwrap_err();
    assert_eq!((refused.code(), refused.field("field")), ("invalid-input", Some("key")));
    hive.shutdown().await.unwrap();
}

/// Several processes share one limit, and hear of each other's ends.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_limit() {
    let (home, crowd) = (Home::postgres(), Crowd::default());
    let mut hives = Vec::new();
    for _ in 0..3 {
        hives.push(home.hive().agent(worker("a", &crowd)).start().await.unwrap());
    }
    let limit = Limit::new()
        .concurrency(3)
        .rate(Rate::new(20, Duration::from_millis(100)).burst(5));
    hives[0].limit(Subject::Agent("a".into()), limit).await.unwrap();
    hives[1]
        .limit(Subject::EachKey("a".into()), Limit::new().concurrency(1))
        .await
        .unwrap();
    let turn = AtomicUsize::new(0);
    let mut tasks = Vec::new();
    for nth in 0..120 {
        let hive = &hives[turn.fetch_add(1, Ordering::Relaxed) % hives.len()];
        let key = format!("k{}", nth % 7);
        tasks.push(hive.submit_named("a", &("default", &key)).key(&key).await.unwrap());
    }
    for task in &tasks {
        soon(task.result()).await.unwrap();
    }
    assert!((1..=3).contains(&crowd.most("a")), "{crowd:?}");
    for key in 0..7 {
        assert_eq!(crowd.most(&format!("a/k{key}")), 1, "{crowd:?}");
    }
    let begun = beginnings(&hives[2], "a").await;
    for (first, start) in begun.iter().enumerate() {
        for (nth, end) in begun.iter().enumerate().skip(first) {
            let allowed = 5.0 + end.since(*start).as_secs_f64() / 0.005;
            assert!(
                (nth - first + 1) as f64 <= allowed + 1e-3,
                "{} in {:?}",
                nth - first + 1,
                end.since(*start)
            );
        }
    }
    for hive in hives {
        hive.shutdown().await.unwrap();
    }
}
