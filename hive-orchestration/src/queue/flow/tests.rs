use std::collections::HashSet;

use hive_core::id::IdSource;
use hive_core::payload::Payload;

use super::*;
use crate::queue::claim::{self, Claimed, Room};
use crate::queue::pick::Turns;
use crate::queue::submit::{self, NewTask};
use crate::queue::tests::Bench;

fn task(agent: &str, tenant: &str, key: &str) -> NewTask {
    NewTask {
        key: key.to_owned(),
        ..NewTask::new(
            IdSource::system().next(),
            agent,
            tenant,
            Payload::encode(&1, 100).unwrap(),
        )
    }
}

/// Submits, and claims round after round until a look brings nothing.
async fn claims(bench: &Bench, tasks: Vec<NewTask>, turns: &mut Turns) -> Vec<Claimed> {
    let queue = bench.queue.clone();
    bench
        .db
        .write(move |tx| submit::submit_all(tx, &queue, &tasks).map(drop))
        .await
        .unwrap();
    let mut all = Vec::new();
    loop {
        let (queue, own) = (bench.queue.clone(), turns.clone());
        let room = Room {
            total: 50,
            agents: vec![("agent".to_owned(), 50), ("other".to_owned(), 50)],
            ..Room::default()
        };
        let claims = bench
            .db
            .write(move |tx| claim::claim(tx, &queue, &room, &own))
            .await
            .unwrap();
        *turns = claims.turns;
        all.extend(claims.tasks);
        if !claims.more {
            return all;
        }
    }
}

async fn set(bench: &Bench, subject: Subject, limit: Limit) {
    let queue = bench.queue.clone();
    let setting = move |tx: &mut Tx<'_>| super::limit(tx, &queue, &subject, &limit);
    bench.db.write(setting).await.unwrap();
}

/// A thousand keys that are full stand before the one that is not: it is found all the same.
#[tokio::test]
async fn full_keys_hide_nothing() {
    let bench = Bench::new().await;
    set(&bench, Subject::EachKey("agent".into()), Limit::new().concurrency(1)).await;
    let mut turns = Turns::default();
    let keys = 0..1_000;
    let tasks = keys.flat_map(|key| vec![task("agent", "default", &format!("{key:04}")); 1]);
    let first = claims(&bench, tasks.collect(), &mut turns).await;
    assert_eq!(first.len(), 1_000);
    // All of them are full now.
    let tasks = (0..1_000).map(|key| task("agent", "default", &format!("{key:04}")));
    assert!(claims(&bench, tasks.collect(), &mut turns).await.is_empty());
    for key in ["0500x", "9999", "/"] {
        let found = claims(&bench, vec![task("agent", "default", key)], &mut turns).await;
        assert_eq!(found.len(), 1, "{key}");
    }
}

/// More tenants than are looked at together, with more to do than is taken: each gets its turn.
#[tokio::test]
async fn every_tenant_is_looked_at() {
    let bench = Bench::new().await;
    let mut turns = Turns::default();
    set(&bench, Subject::All, Limit::new().concurrency(10)).await;
    let tasks = (0..300).flat_map(|nth| (0..2).map(move |_| task("agent", &format!("t{nth:03}"), "")));
    let mut running = claims(&bench, tasks.collect(), &mut turns).await;
    let mut seen = HashSet::new();
    for _ in 0..60 {
        assert!(running.len() <= 10);
        seen.extend(running.iter().map(|claimed| claimed.task.tenant.clone()));
        let ended: Vec<i64> = running.iter().map(|claimed| claimed.lease.task).collect();
        bench
            .db
            .write(move |tx| {
                for seq in &ended {
                    tx.execute("UPDATE task SET state = 4 WHERE seq = ?1", &[seq])?;
                }
                Ok(())
            })
            .await
            .unwrap();
        running = claims(&bench, Vec::new(), &mut turns).await;
    }
    assert_eq!(seen.len(), 300);
}

/// What is limited while it runs counts at once, and a narrower limit counts in place of the wider one.
#[tokio::test]
async fn runs_under_way_count() {
    let bench = Bench::new().await;
    let mut turns = Turns::default();
    let three = |tenant: &str| {
        vec![
            task("agent", tenant, ""),
            task("agent", tenant, ""),
            task("other", tenant, ""),
        ]
    };
    assert_eq!(claims(&bench, three("a"), &mut turns).await.len(), 3);
    set(&bench, Subject::EachTenant, Limit::new().concurrency(4)).await;
    set(&bench, Subject::Tenant("b".into()), Limit::new().concurrency(2)).await;
    assert_eq!(claims(&bench, three("a"), &mut turns).await.len(), 1);
    assert_eq!(claims(&bench, three("b"), &mut turns).await.len(), 2);
    assert_eq!(claims(&bench, three("c"), &mut turns).await.len(), 3);
    let counts = |limits: Vec<Limited>| -> Vec<(Subject, u64)> {
        limits
            .into_iter()
            .map(|limited| (limited.subject, limited.running))
            .collect()
    };
    let limits = bench.db.read(limited).await.unwrap();
    assert_eq!(
        counts(limits),
        [(Subject::Tenant("b".into()), 2), (Subject::EachTenant, 7)]
    );
    let queue = bench.queue.clone();
    let gone = bench
        .db
        .write(move |tx| unlimit(tx, &queue, &Subject::Tenant("b".into())))
        .await;
    assert!(gone.unwrap());
    let more = claims(&bench, Vec::new(), &mut turns).await;
    assert_eq!(more.len(), 1, "b has one left, and a is full");
    assert_eq!(bench.db.read(limited).await.unwrap()[0].running, 10);
}

/// While few run nobody counts them; near the limit they are counted, and those that have ended since make room.
#[tokio::test]
async fn what_is_far_from_its_limit_is_not_counted() {
    let bench = Bench::new().await;
    let mut turns = Turns::default();
    set(&bench, Subject::Agent("agent".into()), Limit::new().concurrency(120)).await;
    let known = async || {
        let most = "SELECT most FROM flow_use";
        bench
            .db
            .read(move |db| db.query_one(most, &[], |row| row.get::<i64>(0)))
            .await
            .unwrap()
    };
    for round in 1..=20 {
        let tasks = (0..30).map(|_| task("agent", "default", "")).collect();
        let claimed = claims(&bench, tasks, &mut turns).await;
        assert_eq!(claimed.len(), 30, "round {round}");
        let most = known().await;
        assert!((30..=120).contains(&most), "round {round}: {most}");
        let all_end = move |tx: &mut Tx<'_>| tx.execute("UPDATE task SET state = 4 WHERE state = 2", &[]).map(drop);
        bench.db.write(all_end).await.unwrap();
    }
    let queue = bench.queue.clone();
    let subject = Subject::Agent("agent".into());
    let change = move |tx: &mut Tx<'_>| limit(tx, &queue, &subject, &Limit::new().concurrency(5));
    bench.db.write(change).await.unwrap();
    assert_eq!(known().await, -1);
    let tasks = (0..30).map(|_| task("agent", "default", "")).collect();
    assert_eq!(claims(&bench, tasks, &mut turns).await.len(), 5);
}

/// What nobody uses any more is forgotten, and a rate that still holds somebody up is not.
#[tokio::test]
async fn uses_are_forgotten() {
    let bench = Bench::new().await;
    let mut turns = Turns::default();
    let quick = Limit::new().rate(Rate::new(1, Duration::from_secs(1)));
    set(&bench, Subject::EachKey("agent".into()), quick).await;
    let slow = Subject::Key {
        agent: "agent".into(),
        key: "slow".into(),
    };
    set(
        &bench,
        slow,
        Limit::new().rate(Rate::new(1, Duration::from_secs(3_600))),
    )
    .await;
    let keys = (0..100).map(|key| key.to_string()).chain(["slow".to_owned()]);
    let tasks: Vec<NewTask> = keys.map(|key| task("agent", "default", &key)).collect();
    assert_eq!(claims(&bench, tasks, &mut turns).await.len(), 101);
    let left = bench
        .db
        .write(move |tx| {
            let later = tx.now()? + limits::FLOW_IDLE + Duration::from_secs(1);
            uses::sweep(tx, later)?;
            tx.query("SELECT key FROM flow_use", &[], |row| row.get::<String>(0))
        })
        .await
        .unwrap();
    assert_eq!(left, ["slow"]);
}

#[test]
fn limits_that_mean_nothing_are_refused() {
    let tenant = Subject::Tenant("a".into());
    for (subject, limit, field) in [
        (&tenant, Limit::new(), "limit"),
        (&tenant, Limit::new().concurrency(0), "concurrency"),
        (&tenant, Limit::new().weight(0), "weight"),
        (&tenant, Limit::new().weight(1_001), "weight"),
        (&Subject::All, Limit::new().weight(2), "weight"),
        (&Subject::Agent("a/b".into()), Limit::new().concurrency(1), "agent"),
        (&Subject::Tenant(String::new()), Limit::new().concurrency(1), "tenant"),
        (
            &Subject::Key {
                agent: "a".into(),
                key: "x\0".into(),
            },
            Limit::new().concurrency(1),
            "key",
        ),
        (
            &tenant,
            Limit::new().rate(Rate::new(0, Duration::from_secs(1))),
            "rate.count",
        ),
    ] {
        let error = check(subject, &limit).unwrap_err();
        let named = error.field("field") == Some(field);
        assert!(named, "{error:?}");
    }
}
