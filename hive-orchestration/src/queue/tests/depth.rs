use std::time::Duration;

use hive_core::testing::TestDb;

use super::super::depth::{Depth, depths};
use super::super::submit::Start;
use super::super::{pause, submit};
use super::{Bench, task};
use crate::limits;
use crate::task::Scope;

impl Bench {
    async fn submit(&self, agent: &'static str, tenant: &'static str, count: u32) {
        let queue = self.queue.clone();
        self.db
            .write(move |tx| {
                let tasks: Vec<_> = (0..count)
                    .map(|_| {
                        let mut new = task();
                        (new.agent, new.tenant) = (agent.to_owned(), tenant.to_owned());
                        new
                    })
                    .collect();
                submit::submit_all(tx, &queue, &tasks).map(drop)
            })
            .await
            .unwrap();
    }

    async fn depths(&self, agents: &[&str]) -> Vec<Depth> {
        let agents: Vec<String> = agents.iter().map(ToString::to_string).collect();
        self.db.read(move |db| depths(db, &agents)).await.unwrap()
    }

    async fn waiting(&self) -> Vec<u64> {
        let depths = self.depths(&["a", "b", "none"]).await;
        depths.iter().map(|depth| depth.tasks).collect()
    }

    async fn pause(&self, scope: Scope) {
        self.db.write(move |tx| pause::pause(tx, &scope)).await.unwrap();
    }
}

async fn what_waits_is_counted(place: TestDb) {
    let bench = Bench::on(place).await;
    assert_eq!(bench.waiting().await, [0, 0, 0]);
    for (agent, tenant, count) in [("a", "t1", 3), ("a", "t2", 2), ("a", "t3", 1), ("b", "t2", 4)] {
        bench.submit(agent, tenant, count).await;
    }
    // One that is to start later does not wait.
    let (queue, mut later) = (bench.queue.clone(), task());
    (later.agent, later.start) = ("a".to_owned(), Start::After(Duration::from_secs(60)));
    bench
        .db
        .write(move |tx| submit::submit(tx, &queue, &later))
        .await
        .unwrap();
    assert_eq!(bench.waiting().await, [6, 4, 0]);

    // The first of them counts, whoever's it is.
    bench
        .db
        .write(|tx| tx.execute("UPDATE task SET run_at = run_at - 100000000 WHERE tenant = 't3'", &[]))
        .await
        .unwrap();
    let found = bench.depths(&["b", "a"]).await;
    let hundred = Duration::from_secs(100);
    assert!(found[0].oldest < hundred && found[1].oldest >= hundred, "{found:?}");

    bench.pause(Scope::Tenant("t3".into())).await;
    let found = bench.depths(&["a"]).await;
    assert!(found[0].tasks == 5 && found[0].oldest < hundred, "{found:?}");
    bench.pause(Scope::Tenant("t2".into())).await;
    assert_eq!(bench.waiting().await, [3, 0, 0]);
    bench.pause(Scope::Agent("a".into())).await;
    assert_eq!(bench.waiting().await, [0, 0, 0]);
    bench.db.write(|tx| tx.execute("DELETE FROM pause", &[])).await.unwrap();
    bench.pause(Scope::All).await;
    assert_eq!(bench.waiting().await, [0, 0, 0]);
}

/// Of one tenant no more than a sample, and that hides nobody else.
async fn many_is_many(place: TestDb) {
    let bench = Bench::on(place).await;
    let most = limits::QUEUE_SAMPLED;
    bench.submit("a", "t1", most + 200).await;
    bench.submit("a", "t2", 7).await;
    assert_eq!(bench.waiting().await, [u64::from(most) + 7, 0, 0]);
}

#[tokio::test]
async fn what_waits_is_counted_on_sqlite() {
    what_waits_is_counted(TestDb::sqlite()).await;
    many_is_many(TestDb::sqlite()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn what_waits_is_counted_on_postgres() {
    what_waits_is_counted(TestDb::postgres()).await;
    many_is_many(TestDb::postgres()).await;
}
