//! What has to be done because other processes share the database: saying that this one lives, taking back what dead ones held,
//! and passing on what others did to the tasks that run or are watched here. Where there are no others, only what the last
//! process left running is taken back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hive_core::db::{Dialect, Wakes};
use hive_core::id::TaskId;
use hive_errors::{ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::Shop;
use crate::limits;
use crate::patience::Patience;
use crate::queue::read::{self, Glance};
use crate::queue::{self, PIECES, READY, RUNS, TASKS, recover};

/// Goes on until `ending`.
pub(super) async fn mind(shop: Arc<Shop>, ending: CancellationToken) {
    let watch = async {
        take_back(&shop).await;
        if shop.db.dialect() == Dialect::Postgres {
            tokio::join!(live(&shop), ready(&shop), runs(&shop), tasks(&shop), pieces(&shop));
        }
    };
    tokio::select! {
        biased;
        () = watch => ending.cancelled().await,
        () = ending.cancelled() => {}
    }
}

/// Takes back what ended processes left, a batch at a time.
async fn take_back(shop: &Shop) {
    let mut trouble = Patience::new(&*shop.queue.clock, &*shop.queue.rng);
    loop {
        let queue = shop.queue.clone();
        let took = queue::write(&shop.db, move |tx| recover::recover(tx, &queue, limits::RECOVER_BATCH)).await;
        match took {
            Ok(count) => {
                shop.recovered.fetch_add(count, Ordering::Relaxed);
                if count < limits::RECOVER_BATCH {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
            Err(error) => {
                trouble
                    .wait("what dead processes left could not be taken back", &error)
                    .await
            }
        }
    }
}

/// Says that this process lives, and looks who does not.
async fn live(shop: &Shop) {
    loop {
        shop.queue.clock.sleep(limits::BEAT).await;
        let queue = shop.queue.clone();
        let beat = queue::write(&shop.db, move |tx| {
            let alive = recover::beat(tx, &queue)?;
            Ok((alive, recover::end_silent(tx, limits::SILENCE)?))
        })
        .await;
        match beat {
            Ok((true, 0)) => {}
            Ok((true, silent)) => {
                tracing::warn!(
                    silent,
                    "other processes have been silent for too long; their runs are taken back"
                );
                take_back(shop).await;
            }
            Ok((false, _)) => begin_anew(shop).await,
            Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
            Err(error) => tracing::warn!(%error, "the database does not hear that this process lives"),
        }
    }
}

/// Others took this process for dead. What it ran is no longer its own.
async fn begin_anew(shop: &Shop) {
    tracing::warn!(
        epoch = shop.queue.epoch(),
        "this process was silent for too long, and others took over what it ran"
    );
    shop.queue.wakeups.stop_running();
    let queue = shop.queue.clone();
    match queue::write(&shop.db, move |tx| recover::begin_epoch(tx, &queue)).await {
        Ok(epoch) => shop.queue.enter(epoch),
        Err(error) => tracing::warn!(%error, "a new epoch cannot be begun; trying again"),
    }
}

/// Tells the dispatcher that there may be something to start.
async fn ready(shop: &Shop) {
    let mut wakes = shop.db.listen(READY);
    loop {
        if wakes.wait(limits::DISPATCH_TICK).await {
            shop.queue.wakeups.dispatch();
        }
    }
}

/// Tells runs of outcomes that others brought about, and stops those whose tasks are no longer theirs.
async fn runs(shop: &Shop) {
    let mut wakes = shop.db.listen(RUNS);
    loop {
        hear(&mut wakes).await;
        if let Err(error) = look_after_runs(shop).await {
            tracing::warn!(%error, "what others did to the tasks that run here is not known");
        }
    }
}

async fn look_after_runs(shop: &Shop) -> Result<()> {
    let running = shop.queue.wakeups.running();
    if running.is_empty() {
        return Ok(());
    }
    let asked: Vec<i64> = running.iter().map(|(task, _)| *task).collect();
    let (owned, news) = shop.db.read(move |db| read::owned(db, &asked)).await?;
    for (task, attempt) in running {
        match owned.get(&task) {
            Some(known) if *known == attempt => {}
            // A newer attempt would have been entered here, or belongs to another process.
            _ => shop.queue.wakeups.stop_attempt(task, attempt),
        }
    }
    for task in news {
        shop.queue.wakeups.resolved(task);
    }
    Ok(())
}

/// Tells those who watch tasks what others did to them.
async fn tasks(shop: &Shop) {
    let mut wakes = shop.db.listen(TASKS);
    let mut known: HashMap<TaskId, Glance> = HashMap::new();
    loop {
        hear(&mut wakes).await;
        let watched = shop.queue.wakeups.watched();
        // A crowd is looked after less often: each look is at all of them.
        let pause = limits::WATCH_PAUSE.saturating_mul(u32::try_from(watched.len()).unwrap_or(u32::MAX));
        shop.queue.clock.sleep(pause.min(limits::DISPATCH_TICK)).await;
        let wanted: HashSet<&TaskId> = watched.iter().collect();
        known.retain(|id, _| wanted.contains(id));
        for some in watched.chunks(limits::CLAIM_BATCH) {
            let asked = some.to_vec();
            match shop.db.read(move |db| read::glances(db, &asked)).await {
                Ok(glances) => {
                    for (id, glance) in glances {
                        if glance.state.is_final() {
                            known.remove(&id);
                            shop.queue.wakeups.ended_elsewhere(id);
                        } else if known.get(&id) != Some(&glance) {
                            known.insert(id, glance);
                            shop.queue.wakeups.changed(id);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "how the tasks that are watched here fare is not known"),
            }
        }
    }
}

/// Tells those who read what steps hand out that others may have kept more of it.
async fn pieces(shop: &Shop) {
    let mut wakes = shop.db.listen(PIECES);
    loop {
        if wakes.wait(limits::STREAM_LOOK).await {
            shop.queue.flow.pieces_kept_somewhere();
        }
    }
}

/// The next word, or a look because one may have been lost.
async fn hear(wakes: &mut Wakes) {
    wakes.wait(limits::DISPATCH_TICK).await;
}
