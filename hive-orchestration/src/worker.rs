//! Workers: claim what is ready, run it, write down how it ended.

mod allowance;
mod bell;
mod drive;

use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::Db;
use hive_core::model::ModelHandle;
use hive_errors::Result;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::patience::Patience;
use crate::queue::claim::{self, Claims};
use crate::queue::{Queue, recover};
use crate::registry::Registry;

/// What every run of this process shares.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) queue: Queue,
    pub(crate) registry: Registry,
    pub(crate) model: ModelHandle,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) drain: Duration,
    /// No new runs; those under way may end.
    pub(crate) draining: CancellationToken,
    /// Everything has ended and the database is closed.
    pub(crate) closed: CancellationToken,
}

/// Claims and runs until the hive drains, then hands back what did not end in time and closes the database.
pub(crate) async fn serve(shop: Arc<Shop>) -> Result<()> {
    // Also when this should panic: whoever waits for a task must not wait for ever.
    let _closed = shop.closed.clone().drop_guard();
    let mut runs = JoinSet::new();
    let patience = || Patience::new(&*shop.queue.clock, &*shop.queue.rng);
    let mut trouble = patience();
    while !shop.draining.is_cancelled() {
        while let Some(ended) = runs.try_join_next() {
            log_panic(ended);
        }
        match claim_and_start(&shop, &mut runs).await {
            Ok(Next::AtOnce) => trouble = patience(),
            Ok(Next::NotBefore(due)) => {
                trouble = patience();
                let wait = due.map_or(limits::DISPATCH_TICK, |due| due.since(shop.queue.clock.now()));
                tokio::select! {
                    () = shop.draining.cancelled() => {}
                    () = shop.queue.wakeups.dispatched() => {}
                    () = shop.queue.clock.sleep(wait.min(limits::DISPATCH_TICK)) => {}
                    // A run that ends says so itself when there is something to do.
                    () = reap(&mut runs) => {}
                }
            }
            Err(error) => tokio::select! {
                () = shop.draining.cancelled() => {}
                () = trouble.wait("the queue could not be read", &error) => {}
            },
        }
    }
    drain(&shop, runs).await;
    let queue = shop.queue.clone();
    let ended = shop.db.write(move |tx| recover::end_epoch(tx, &queue)).await;
    // Subscribers get what is committed, then the end; without it they would wait for ever.
    shop.queue.bus.close();
    let closed = shop.db.close().await;
    ended.and(closed)
}

/// Lets go of runs that have ended, for ever.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
async fn reap(runs: &mut JoinSet<()>) {
    while let Some(ended) = runs.join_next().await {
        log_panic(ended);
    }
    std::future::pending().await
}

enum Next {
    /// There may be more.
    AtOnce,
    /// Nothing until something happens, or this timer falls due.
    NotBefore(Option<Timestamp>),
}

async fn claim_and_start(shop: &Arc<Shop>, runs: &mut JoinSet<()>) -> Result<Next> {
    // Permits first: a claimed task must never wait for a worker.
    let free = shop.slots.available_permits().min(limits::CLAIM_BATCH);
    let count = u32::try_from(free).unwrap_or(u32::MAX);
    let Ok(mut permits) = Arc::clone(&shop.slots).try_acquire_many_owned(count) else {
        return Ok(Next::AtOnce);
    };
    if free == 0 {
        // Nothing can begin. Timers fall due all the same: a run may wait for one beside its work, to cut it short.
        let due = shop.db.read(claim::next_due).await?;
        if due.is_none_or(|due| due > shop.queue.clock.now()) {
            return Ok(Next::NotBefore(due));
        }
    }
    let claimant = Arc::clone(shop);
    let claims: Claims = shop
        .db
        .write(move |tx| {
            claim::claim(tx, &claimant.queue, free, |agent| {
                claimant.registry.get(agent).is_some()
            })
        })
        .await?;
    let more = claims.more;
    for claimed in claims.tasks {
        // Invariant: no more is claimed than there are permits.
        let Some(permit) = permits.split(1) else { break };
        runs.spawn(drive::run(Arc::clone(shop), claimed, permit));
    }
    drop(permits);
    Ok(if more {
        Next::AtOnce
    } else {
        Next::NotBefore(claims.next_due)
    })
}

/// Lets runs end for a while, then takes their leases back so that the next process can go on at once.
async fn drain(shop: &Shop, mut runs: JoinSet<()>) {
    let ended = hive_core::clock::timeout(&*shop.queue.clock, shop.drain, async {
        while let Some(ended) = runs.join_next().await {
            log_panic(ended);
        }
    });
    if ended.await.is_ok() {
        return;
    }
    tracing::info!(left = runs.len(), "runs that did not end in time are handed back");
    shop.queue.wakeups.stop_all();
    let stopped = hive_core::clock::timeout(&*shop.queue.clock, limits::DRAIN, async {
        while let Some(ended) = runs.join_next().await {
            log_panic(ended);
        }
    });
    if stopped.await.is_err() {
        // They block without awaiting, so nobody can wait for them either. Their leases fall at the next open.
        tracing::warn!(left = runs.len(), "runs that do not await were abandoned");
        runs.abort_all();
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a worker died; its task is recovered at the next open");
    }
}
