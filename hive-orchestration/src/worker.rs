//! Workers: claim what is ready, run it, write down how it ended.

mod allowance;
mod bell;
mod drive;
mod others;
mod rounds;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hive_core::db::Db;
use hive_core::model::ModelHandle;
use hive_errors::Result;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::queue::{self, Queue, recover};
use crate::registry::Registry;
use crate::schedule::driver;

/// What every run of this process shares.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) queue: Queue,
    pub(crate) registry: Registry,
    pub(crate) model: ModelHandle,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) drain: Duration,
    /// How many runs of dead processes were taken back.
    pub(crate) recovered: AtomicUsize,
    /// No new runs; those under way may end.
    pub(crate) draining: CancellationToken,
    /// Everything has ended and the database is closed.
    pub(crate) closed: CancellationToken,
}

/// Claims and runs until the hive drains, then hands back what did not end in time and closes the database.
pub(crate) async fn serve(shop: Arc<Shop>) -> Result<()> {
    // Also when this should panic: whoever waits for a task must not wait for ever.
    let _closed = shop.closed.clone().drop_guard();
    let ending = CancellationToken::new();
    let schedules = tokio::spawn(driver::run(shop.db.clone(), shop.queue.clone(), shop.draining.clone()));
    // Until the last run has ended this process lives, and hears what others have to say to its runs.
    let others = tokio::spawn(others::mind(Arc::clone(&shop), ending.clone()));
    rounds::Rounds::new(Arc::clone(&shop)).run().await;
    // It ends with the transaction that it is at.
    if let Err(error) = schedules.await {
        tracing::error!(%error, "the driver of the schedules died; what is due waits for the next open");
    }
    shop.registry.close().await;
    ending.cancel();
    if let Err(error) = others.await {
        tracing::error!(%error, "the watch over other processes died");
    }
    let queue = shop.queue.clone();
    let ended = queue::write(&shop.db, move |tx| recover::end_epoch(tx, &queue)).await;
    // Subscribers get what is committed, then the end; without it they would wait for ever.
    shop.queue.bus.close();
    let closed = shop.db.close().await;
    ended.and(closed)
}
