//! One run: polls the agent, keeps the journal and the database in step, lets go when it only waits.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result, RetryPolicy};
use tokio::sync::OwnedSemaphorePermit;

use super::Shop;
use crate::agent::AnyAgent;
use crate::context::{Context, Run};
use crate::journal::Journal;
use crate::lease::Lease;
use crate::limits;
use crate::queue::claim::Claimed;
use crate::queue::wait::{self, NewWait};
use crate::queue::{TaskRef, finish};
use crate::wake::{RunSigns, Wakeups};

/// How a run ended, as far as the agent's code goes.
enum End {
    Output(Payload),
    Failure(Failure),
    /// The task is waiting; nothing more to write.
    Parked,
    /// Cancelled, fenced off, or the process shuts down.
    Stopped,
}

pub(super) async fn run(shop: Arc<Shop>, claimed: Claimed, permit: OwnedSemaphorePermit) {
    let (lease, task) = (claimed.lease, claimed.task.clone());
    let signs = shop.queue.wakeups.enter(lease);
    let _leave = Leave {
        wakeups: &shop.queue.wakeups,
        lease,
    };
    // Invariant: only tasks of known agents are claimed.
    let Some(agent) = shop.registry.get(&task.agent).cloned() else {
        return;
    };
    let end = attempt(&shop, &agent, claimed, permit, &signs).await;
    settle(&shop, &agent, lease, task, end).await;
    // A slot has become free.
    shop.queue.wakeups.dispatch();
}

struct Leave<'a> {
    wakeups: &'a Wakeups,
    lease: Lease,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.wakeups.leave(self.lease);
    }
}

async fn attempt(
    shop: &Shop,
    agent: &AnyAgent,
    claimed: Claimed,
    permit: OwnedSemaphorePermit,
    signs: &RunSigns,
) -> End {
    let lease = claimed.lease;
    // A first run has nothing to remember.
    let journal = if lease.attempt == 1 {
        Journal::default()
    } else {
        match shop.db.read(move |db| Journal::load(db, lease.task)).await {
            Ok(journal) => journal,
            Err(error) => return End::Failure(error.into()),
        }
    };
    let input = claimed.input.clone();
    let run = Run::new(
        claimed,
        shop.db.clone(),
        shop.queue.clone(),
        shop.model.clone(),
        signs.stop.clone(),
        journal,
    );
    let cx = Context::new(Arc::new(run));
    let mut driver = Driver {
        shop,
        cx: &cx,
        permit: Some(permit),
    };
    let mut work = pin!(contained(agent.run(&cx, &input)));
    let clock = &*shop.queue.clock;
    let mut deadline = clock.sleep(agent.timeout());
    let mut grace: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    loop {
        let looked = tokio::select! {
            biased;
            () = signs.stop.cancelled() => return End::Stopped,
            ended = &mut work => return ended.map_or_else(End::Failure, End::Output),
            () = cx.run.activity.changed() => {
                let demand = cx.run.activity.take();
                grace = demand.idle.then(|| clock.sleep(limits::PARK_GRACE));
                driver.changed(demand.new, demand.idle).await
            }
            () = signs.resolved.notified() => driver.sync(Vec::new(), false).await,
            () = async { if let Some(grace) = &mut grace { grace.await } }, if grace.is_some() => {
                grace = None;
                let demand = cx.run.activity.take();
                driver.sync(demand.new, demand.idle).await
            }
            () = &mut deadline => {
                return End::Failure(
                    Failure::retryable("the attempt took longer than its agent allows")
                        .with_kind(ErrorKind::Timeout)
                        .with("limit_s", agent.timeout().as_secs()),
                );
            }
        };
        match looked {
            Ok(false) => {}
            Ok(true) => return End::Parked,
            Err(error) if error.kind() == ErrorKind::LeaseLost => return End::Stopped,
            Err(error) => return End::Failure(error.into()),
        }
    }
}

struct Driver<'a> {
    shop: &'a Shop,
    cx: &'a Context,
    /// Held while some branch works; given back while all of them wait.
    permit: Option<OwnedSemaphorePermit>,
}

impl Driver<'_> {
    async fn changed(&mut self, new: Vec<NewWait>, idle: bool) -> Result<bool> {
        if idle {
            if self.permit.take().is_some() {
                self.shop.queue.wakeups.dispatch();
            }
        } else {
            self.resume().await;
        }
        if new.is_empty() {
            Ok(false)
        } else {
            self.sync(new, false).await
        }
    }

    /// Exchanges waits for outcomes with the database. `true`: the task is parked, the run is over.
    async fn sync(&mut self, new: Vec<NewWait>, park: bool) -> Result<bool> {
        let run = &self.cx.run;
        let (queue, lease) = (run.queue.clone(), run.lease());
        let (task, depth) = (run.claimed.task.clone(), run.claimed.depth);
        let synced = run
            .db
            .write(move |tx| wait::sync(tx, &queue, lease, &task, depth, new, park))
            .await?;
        if synced.parked {
            return Ok(true);
        }
        if !synced.resolved.is_empty() {
            // The branches go on in a moment, and need a worker for that.
            self.resume().await;
            self.cx
                .learn(synced.resolved.into_iter().map(|outcome| (outcome.key, outcome.value)));
            // The branch that wanted it may be gone: then the run is as idle as before and must be looked at again.
            self.cx.run.activity.look();
        }
        Ok(false)
    }

    async fn resume(&mut self) {
        if self.permit.is_none() {
            // Waits in line with every other run. A run that must stop need not get there.
            self.permit = tokio::select! {
                permit = Arc::clone(&self.shop.slots).acquire_owned() => permit.ok(),
                () = self.cx.run.stop.cancelled() => None,
            };
        }
    }
}

/// Runs the agent's future and turns a panic in it into a failure.
async fn contained(
    mut work: Pin<Box<dyn Future<Output = Result<Payload, Failure>> + Send + '_>>,
) -> Result<Payload, Failure> {
    poll_fn(
        move |waker| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(waker))) {
            Ok(poll) => poll,
            Err(panic) => {
                let said = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_owned());
                Poll::Ready(Err(
                    Failure::retryable(format!("the agent panicked: {said}")).with_kind(ErrorKind::Panic)
                ))
            }
        },
    )
    .await
}

/// Writes down how the run ended. An end that cannot be written is tried again until the hive closes: a row must not
/// stay `running` when nobody runs it.
async fn settle(shop: &Shop, agent: &AnyAgent, lease: Lease, task: TaskRef, end: End) {
    let patience = RetryPolicy::exponential(u32::MAX).with_cap(limits::DISPATCH_TICK);
    let mut failures = 0;
    loop {
        let Err(error) = write(shop, agent, lease, &task, &end).await else {
            return;
        };
        // Somebody else's by now, or closed: not ours to write.
        if [ErrorKind::LeaseLost, ErrorKind::ShuttingDown].contains(&error.kind()) {
            return;
        }
        failures += 1;
        tracing::error!(task = %task.id, %error, failures, "the end of a run could not be written down");
        let delay = patience.delay_after(failures, shop.queue.rng.next_u64(), error.retry_after());
        tokio::select! {
            () = shop.queue.clock.sleep(delay.unwrap_or(limits::DISPATCH_TICK)) => {}
            () = shop.closed.cancelled() => return,
        }
    }
}

async fn write(shop: &Shop, agent: &AnyAgent, lease: Lease, task: &TaskRef, end: &End) -> Result<(), Error> {
    let (queue, task) = (shop.queue.clone(), task.clone());
    match end {
        End::Output(output) => {
            let output = output.clone();
            shop.db
                .write(move |tx| finish::complete(tx, &queue, lease, &task, &output))
                .await
        }
        End::Failure(failure) => {
            let (failure, policy) = (failure.clone(), agent.retry());
            shop.db
                .write(move |tx| finish::fail(tx, &queue, lease, &task, &failure, &policy))
                .await
        }
        End::Stopped => shop.db.write(move |tx| finish::release(tx, lease)).await,
        End::Parked => Ok(()),
    }
}
