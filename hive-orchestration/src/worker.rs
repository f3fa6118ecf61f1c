//! Workers: claim what is ready, run it, write down how it ended.

mod allowance;
mod bell;
mod colleagues;
mod drive;
mod events;
mod others;
mod places;
mod post;
mod rounds;
mod samples;
mod scaling;
mod slots;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hive_core::clock::timeout;
use hive_core::db::Db;
use hive_core::model::ModelHandle;
use hive_core::shutdown::Shutdown;
use hive_errors::Result;
use tokio_util::sync::CancellationToken;

pub(crate) use self::colleagues::{Decided, by_the_picture, decide_in, known};
pub(crate) use self::places::Places;
use crate::autoscale::Policy;
use crate::context::Threads;
use crate::limits;
use crate::queue::{self, Queue, recover};
use crate::registry::{self, Loads, Meters, Presence, Registry};
use crate::router::{self, Desk, Directory, Router};
use crate::schedule::driver;

/// What every run of this process shares.
pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) queue: Queue,
    pub(crate) registry: Registry,
    /// What the agents are doing and have done of late.
    pub(crate) meters: Arc<Meters>,
    /// How this process says which agents it has, and how busy they are.
    pub(crate) presence: Arc<Presence>,
    pub(crate) loads: Loads,
    /// Who is there, in all processes.
    pub(crate) directory: Directory,
    pub(crate) router: Arc<dyn Router>,
    pub(crate) model: ModelHandle,
    pub(crate) places: Arc<Places>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) drain: Duration,
    /// How many runs of dead processes were taken back.
    pub(crate) recovered: AtomicUsize,
    /// No new runs; those under way may end.
    pub(crate) draining: CancellationToken,
    /// Everything has ended and the database is closed.
    pub(crate) closed: CancellationToken,
}

impl std::fmt::Debug for Shop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shop")
            .field("db", &self.db)
            .field("queue", &self.queue)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Claims and runs until the hive drains, then hands back what did not end in time and closes the database.
pub(crate) async fn serve(shop: Arc<Shop>, scaling: Option<Policy>) -> Result<()> {
    // Also when this should panic: whoever waits for a task must not wait for ever.
    let _closed = shop.closed.clone().drop_guard();
    let ending = CancellationToken::new();
    let schedules = tokio::spawn(driver::run(shop.db.clone(), shop.queue.clone(), shop.draining.clone()));
    // Until the last run has ended this process lives, and hears what others have to say to its runs.
    let others = tokio::spawn(others::mind(Arc::clone(&shop), ending.clone()));
    // Runs that end in their own time may still wait for a message.
    let post = tokio::spawn(post::carry(Arc::clone(&shop), ending.clone()));
    let events = tokio::spawn(events::mind(Arc::clone(&shop), ending.clone()));
    let presence = tokio::spawn(registry::keep(
        shop.db.clone(),
        Arc::clone(&shop.presence),
        Arc::clone(&shop.loads),
        (
            Arc::clone(&shop.queue.clock),
            Arc::clone(&shop.queue.rng),
            shop.queue.pace,
        ),
        shop.draining.clone(),
        ending.clone(),
    ));
    // Until then, because runs that come back from a wait need slots as well.
    let settled = Shutdown::new();
    let scaling = scaling.map(|policy| tokio::spawn(scaling::driver(&shop, policy).run(settled.clone())));
    let samples = tokio::spawn(samples::sample(Arc::clone(&shop), ending.clone()));
    let desk = Desk {
        db: &shop.db,
        queue: &shop.queue,
        registry: &shop.registry,
        directory: &shop.directory,
        router: &*shop.router,
    };
    tokio::select! {
        biased;
        () = rounds::Rounds::new(Arc::clone(&shop)).run() => {}
        // It ends early only when the database is closed; the rounds find that out by themselves.
        () = async { router::mind(desk).await; std::future::pending().await } => {}
    }
    if timeout(&*shop.queue.clock, limits::DRAIN, shop.threads.settled())
        .await
        .is_err()
    {
        tracing::warn!(
            threads = shop.threads.busy(),
            "what runs began on threads of their own goes on, and nobody waits for it any more"
        );
    }
    settled.request();
    if let Some(scaling) = scaling
        && let Err(error) = scaling.await
    {
        tracing::error!(%error, "what sets the number of slots died");
    }
    // It ends with the transaction that it is at.
    if let Err(error) = schedules.await {
        tracing::error!(%error, "the driver of the schedules died; what is due waits for the next open");
    }
    shop.registry.close().await;
    ending.cancel();
    if let Err(error) = presence.await {
        tracing::error!(%error, "the heartbeat of the agents died");
    }
    if let Err(error) = samples.await {
        tracing::error!(%error, "what samples for metrics died");
    }
    if let Err(error) = post.await {
        tracing::error!(%error, "what brings messages died");
    }
    if let Err(error) = events.await {
        tracing::error!(%error, "what looks for events that tasks wait for died");
    }
    if let Err(error) = others.await {
        tracing::error!(%error, "the watch over other processes died");
    }
    let queue = shop.queue.clone();
    let ended = queue::write(&shop.db, move |tx| recover::end_epoch(tx, &queue)).await;
    // Subscribers get what is committed, then the end; without it they would wait for ever. Consumers give back what they have in hand,
    // so that it need not wait for them to be missed.
    let told = shop.queue.bus.shutdown().await;
    let closed = shop.db.close().await;
    ended.and(told).and(closed)
}
