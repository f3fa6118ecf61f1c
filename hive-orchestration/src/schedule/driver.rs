//! Acts upon schedules when they are due. One task for all of them, which sleeps until the next is.

use hive_core::clock::Timestamp;
use hive_core::db::{Db, Dialect, Wakes};
use hive_errors::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::store::{self, CHANNEL, Cursor};
use crate::limits;
use crate::patience::Patience;
use crate::queue::Queue;

/// What the driver waits for.
#[derive(Clone, Copy, Debug)]
struct Wait {
    next: Option<Timestamp>,
    now: Timestamp,
}

/// Goes on until it is told to stop or the database is closed. A transaction that is under way is waited for.
pub(crate) async fn run(db: Db, queue: Queue, stop: CancellationToken) {
    let mut wakes = db.listen(CHANNEL);
    let patience = || Patience::new(&*queue.clock, &*queue.rng);
    let mut trouble = patience();
    while !stop.is_cancelled() {
        match act(&db, &queue, &stop).await {
            Ok(Acted { wait, failed: None }) => {
                trouble = patience();
                sleep(&db, &queue, &stop, &mut wakes, wait).await;
            }
            // The others are still to be on time.
            Ok(Acted {
                wait,
                failed: Some(error),
            }) => tokio::select! {
                biased;
                () = sleep(&db, &queue, &stop, &mut wakes, wait) => {}
                () = trouble.wait("a schedule is due and cannot be acted upon", &error) => {}
            },
            Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
            // Other processes act at the same moment, which is as good.
            Err(error) if error.kind() == ErrorKind::Conflict && error.is_retryable() => {
                tracing::debug!(%error, "several processes act upon schedules");
                let pause = limits::SCHEDULE_COLLISION.mul_f64(queue.rng.next_u64() as f64 / u64::MAX as f64);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = queue.clock.sleep(pause) => {}
                }
            }
            Err(error) => tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = trouble.wait("the schedules could not be read", &error) => {}
            },
        }
    }
}

struct Acted {
    wait: Wait,
    /// Why one of the schedules that are due cannot be acted upon.
    failed: Option<Error>,
}

/// Acts upon what is due, if anything is.
async fn act(db: &Db, queue: &Queue, stop: &CancellationToken) -> Result<Acted> {
    let wait = db.read(store::next).await.map(|(next, now)| Wait { next, now })?;
    if wait.next.is_none_or(|next| next > wait.now) {
        return Ok(Acted { wait, failed: None });
    }
    let mut failed = None;
    let mut after: Option<Cursor> = None;
    loop {
        let (queue, from) = (queue.clone(), after.clone());
        let pass = db.write(move |tx| store::pass(tx, &queue, from.as_ref())).await?;
        for (schedule, error) in pass.failed {
            failed = Some(error.with("schedule", schedule));
        }
        after = pass.next;
        if after.is_none() || stop.is_cancelled() {
            break;
        }
    }
    // What could not be acted upon is due still: it waits for patience, not for its time.
    let ask = if failed.is_some() {
        store::next_to_come
    } else {
        store::next
    };
    let (next, now) = db.read(ask).await?;
    Ok(Acted {
        wait: Wait { next, now },
        failed,
    })
}

/// Sleeps until something is due, something has changed, or it is time to stop.
async fn sleep(db: &Db, queue: &Queue, stop: &CancellationToken, wakes: &mut Wakes, wait: Wait) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = wakes.wait(limits::SCHEDULE_RELOOK) => {}
        () = until(db, queue, wait) => {}
    }
}

async fn until(db: &Db, queue: &Queue, wait: Wait) {
    if db.dialect() == Dialect::Sqlite {
        // Due times go by the clock of this process, which wakes us also when it is set.
        match wait.next {
            Some(next) => queue.clock.sleep_until(next).await,
            None => std::future::pending().await,
        }
    } else {
        // They go by the server's clock, which we cannot sleep by: we measure, and look again before we have gone far astray.
        let left = wait.next.map_or(limits::SCHEDULE_TICK, |next| next.since(wait.now));
        queue.clock.sleep(left.min(limits::SCHEDULE_TICK)).await;
    }
}
