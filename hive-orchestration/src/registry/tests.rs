//! Who is there, on either engine.

mod lives;
#[cfg(feature = "postgres")]
mod processes;
mod questions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::Bus;
use hive_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use hive_core::db::{Db, Migrations, ToValue, Tx};
use hive_core::id::{IdSource, InstanceId};
use hive_core::testing::TestDb;
use hive_errors::Failure;

use super::expire::sweep;
use super::*;
use crate::agent::agent_fn;
use crate::context::Context;
use crate::limits;
use crate::queue::schema::agents;

/// The tables of agents without those of tasks.
static MIGRATIONS: Migrations = Migrations {
    owner: "agents-alone",
    list: &[agents::migration(1)],
};

const REVIEW: Capability = Capability::new("review");
const RUST: Capability = Capability::new("review.rust");

/// Runs a test on each engine.
macro_rules! on_both {
    ($($(#[$doc:meta])* $name:ident,)+) => { $(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(&TestDb::sqlite()).await;
            }

            #[cfg(feature = "postgres")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(&TestDb::postgres()).await;
            }
        }
    )+ };
}
use on_both;

/// One process's agents on a database.
struct Process {
    db: Db,
    bus: Bus,
    instance: InstanceId,
    presence: Arc<Presence>,
    meters: Arc<Meters>,
}

fn reviewer() -> AnyAgent {
    agent_fn("reviewer", async |_cx: Context, text: String| {
        Ok::<_, Failure>(text.len())
    })
    .with_version("1.2.0")
    .with_capability("review")
    .with_capability("review.rust")
    .with_domain("rust")
    .with_weight(3)
    .with_metadata("owner", "ada")
}

fn planner() -> AnyAgent {
    agent_fn("planner", async |_cx: Context, text: String| Ok::<_, Failure>(text)).with_capability("plan")
}

impl Process {
    async fn open(place: &TestDb, agents: impl IntoIterator<Item = AnyAgent>) -> Self {
        let options = place
            .options()
            .migrations(&hive_bus::MIGRATIONS)
            .migrations(&MIGRATIONS);
        let db = Db::open(options).await.unwrap();
        Self::on(db, agents).await
    }

    /// Another process on a database that is open, or what comes after one that has died.
    async fn on(db: Db, agents: impl IntoIterator<Item = AnyAgent>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = IdSource::system();
        let bus = Bus::open(db.clone(), clock.clone(), ids.clone()).await.unwrap();
        let mut registry = Registry::default();
        for agent in agents {
            registry.add(agent).unwrap();
        }
        let meters = Meters::new(clock, registry.names());
        let instance = ids.next();
        let offers = registry.declarations().cloned().collect();
        Self {
            presence: Arc::new(Presence::new(instance, bus.clone(), offers, meters.clone())),
            db,
            bus,
            instance,
            meters,
        }
    }

    async fn tx<T: Send + 'static>(&self, work: impl Fn(&Presence, &mut Tx<'_>) -> Result<T> + Send + 'static) -> T {
        let presence = self.presence.clone();
        crate::queue::write(&self.db, move |tx| work(&presence, tx))
            .await
            .unwrap()
    }

    async fn register(&self) {
        self.tx(|presence, tx| presence.register(tx, load(0, 4))).await;
    }

    async fn heartbeat(&self, running: u32, concurrency: u32) {
        self.tx(move |presence, tx| presence.heartbeat(tx, load(running, concurrency)))
            .await;
    }

    async fn leave(&self) {
        self.tx(|presence, tx| presence.leave(tx, "the process shuts down"))
            .await;
    }

    async fn find(&self, query: Query) -> Vec<Listing> {
        self.db.read(move |db| discover(db, &query)).await.unwrap()
    }

    /// Name and status of everybody, also of those that have gone.
    async fn all(&self) -> Vec<(String, Status)> {
        let found = self.find(Query::new().with_offline()).await;
        found.into_iter().map(|one| (one.agent, one.status)).collect()
    }

    async fn sweep(&self) -> usize {
        sweep(&self.db, &self.bus).await.unwrap()
    }

    /// As if so much time had passed without a word from this process; a negative one stands for a clock that was set back.
    async fn silence(&self, seconds: i64) {
        let instance = self.instance;
        let sql = "UPDATE agent SET heartbeat_at = heartbeat_at - ?2 WHERE instance = ?1";
        self.execute(sql, move |run| run(&[&instance, &(seconds * 1_000_000)]))
            .await;
    }

    async fn execute(
        &self,
        sql: &'static str,
        params: impl Fn(&mut dyn FnMut(&[&dyn ToValue]) -> Result<usize>) -> Result<usize> + Send + 'static,
    ) -> usize {
        self.db
            .write(move |tx| params(&mut |values| tx.execute(sql, values)))
            .await
            .unwrap()
    }

    async fn count(&self, table: &'static str) -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.db
            .read(move |db| db.query_one(&sql, &[], |row| row.get(0)))
            .await
            .unwrap()
    }

    /// Topics of the events of agents so far.
    async fn events(&self) -> Vec<String> {
        let page = self
            .bus
            .history(hive_bus::Query::new().topics("agent.>".parse::<hive_bus::Pattern>().unwrap()))
            .await
            .unwrap();
        page.events.iter().map(|event| event.topic().to_string()).collect()
    }
}

fn load(running: u32, concurrency: u32) -> impl Fn(&str) -> Load {
    move |_| Load { running, concurrency }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap()
}
