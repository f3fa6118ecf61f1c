//! One run: polls the agent, keeps the journal and the database in step, lets go when it only waits.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;

use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Failure, Result, RetryPolicy};

use super::Shop;
use super::allowance::Allowance;
use super::bell::Bell;
use super::places::Place;
use crate::agent::AnyAgent;
use crate::context::{Colleagues, Context, Run, contained, panicked};
use crate::journal::Journal;
use crate::lease::Lease;
use crate::limits;
use crate::patience::Patience;
use crate::queue::claim::Claimed;
use crate::queue::finish::{Finished, How};
use crate::queue::wait::{self, NewWait};
use crate::registry::Ended;
use crate::wake::Wakeups;

/// How a run ended, as far as the agent's code goes.
enum End {
    Output(Payload),
    Failure(Failure),
    /// The task is waiting; nothing more to write.
    Parked,
    /// Cancelled, fenced off, or the process shuts down.
    Stopped,
}

/// Runs an agent; how that ended is for the dispatcher to write down.
pub(super) async fn run(shop: Arc<Shop>, claimed: Claimed, place: Place) -> Option<Finished> {
    let (lease, task) = (claimed.lease, claimed.task.clone());
    let _leave = Leave {
        wakeups: &shop.queue.wakeups,
        lease,
    };
    // Invariant: only tasks of known agents are claimed.
    let agent = shop.registry.get(&task.agent).cloned()?;
    let meter = shop.meters.start(agent.name(), claimed.waited);
    let metrics = Arc::clone(shop.queue.telemetry.agent(agent.name()));
    metrics.started.increment(1);
    metrics.wait.record(claimed.waited);
    // All of it, because destructors of the agent's may panic too, wherever its future is dropped.
    let end = match contained(attempt(&shop, &agent, claimed, place)).await {
        Ok(end) => end,
        Err(failure) => End::Failure(failure),
    };
    let how = match end {
        End::Output(output) => {
            metrics.run.record(meter.ended(Ended::Succeeded));
            match How::output(&task, output) {
                Ok(how) => how,
                Err(error) => How::Failure(error.into(), RetryPolicy::none()),
            }
        }
        End::Failure(failure) => {
            metrics.run.record(meter.ended(Ended::Failed));
            // The agent's code once more.
            match catch_unwind(AssertUnwindSafe(|| agent.retry())) {
                Ok(policy) => How::Failure(failure, policy),
                Err(panic) => How::Failure(panicked(&*panic), RetryPolicy::none()),
            }
        }
        End::Stopped => How::Released,
        End::Parked => return None,
    };
    Some(Finished { lease, task, how })
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

async fn attempt(shop: &Arc<Shop>, agent: &AnyAgent, claimed: Claimed, place: Place) -> End {
    let (lease, signs, clock) = (claimed.lease, claimed.signs.clone(), &*shop.queue.clock);
    // A first run has nothing to remember.
    let journal = if lease.attempt == 1 {
        Journal::default()
    } else {
        let load = || shop.db.read(move |db| Journal::load(db, lease.task));
        let loaded = Patience::new(clock, &*shop.queue.rng)
            .insist("a journal could not be read", &signs.stop, load)
            .await;
        match loaded {
            Ok(journal) => journal,
            Err(_) if signs.stop.is_cancelled() => return End::Stopped,
            Err(error) => return End::Failure(error.into()),
        }
    };
    let input = claimed.input.clone();
    let run = Run::new(
        claimed,
        shop.db.clone(),
        shop.queue.clone(),
        shop.model.clone(),
        Arc::clone(shop) as Arc<dyn Colleagues>,
        Arc::clone(&shop.threads),
        signs.stop.clone(),
        journal,
    );
    let cx = Context::new(Arc::new(run));
    let activity = &cx.run.activity;
    let bell = Bell::new();
    let mut work = pin!(agent.run(&cx, &input));
    let mut driver = Driver {
        shop,
        cx: &cx,
        bell: &bell,
        place: Some(place),
        allowance: Allowance::new(clock, agent.timeout()),
        grace: None,
    };
    driver.allowance.start();
    let mut expected = false;
    loop {
        let looked = tokio::select! {
            biased;
            () = signs.stop.cancelled() => return End::Stopped,
            ended = poll_fn(|task| {
                let poll = bell.poll(work.as_mut(), task);
                // Something of the agent's own that begins or ends changes nothing in its activity.
                if poll.is_pending() && bell.is_expected(activity.waiting()) != expected {
                    expected = !expected;
                    activity.look();
                }
                poll
            }) => return ended.map_or_else(End::Failure, End::Output),
            () = activity.changed() => driver.look().await,
            () = signs.resolved.notified() => driver.sync(Vec::new(), false).await,
            () = over(&mut driver.grace) => driver.rest().await,
            () = driver.allowance.used_up() => {
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
            Err(_) if signs.stop.is_cancelled() => return End::Stopped,
            // The next run knows what has become of a write of which this one does not.
            Err(error) if [ErrorKind::LeaseLost, ErrorKind::Indeterminate].contains(&error.kind()) => {
                return End::Stopped;
            }
            Err(error) => return End::Failure(error.into()),
        }
    }
}

type Nap<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

async fn over(nap: &mut Option<Nap<'_>>) {
    match nap {
        Some(nap) => nap.await,
        None => pending().await,
    }
}

struct Driver<'a> {
    shop: &'a Shop,
    cx: &'a Context,
    bell: &'a Bell,
    /// Held while some branch works; given back while all of them wait.
    place: Option<Place>,
    allowance: Allowance<'a>,
    /// When to think of parking; running while every branch waits.
    grace: Option<Nap<'a>>,
}

impl Driver<'_> {
    /// Acts on what the branches report. `true`: the task is parked, the run is over.
    async fn look(&mut self) -> Result<bool> {
        let demand = self.cx.run.activity.take();
        if demand.idle {
            let after = if self.bell.is_expected(demand.waiting) {
                limits::RECHECK
            } else {
                limits::PARK_GRACE
            };
            self.grace = Some(self.shop.queue.clock.sleep(after));
            self.allowance.stop();
            if self.place.take().is_some() {
                self.shop.queue.wakeups.dispatch();
            }
        } else {
            self.grace = None;
            self.resume().await;
        }
        if demand.new.is_empty() {
            Ok(false)
        } else {
            self.sync(demand.new, false).await
        }
    }

    /// Parks the run if it has nothing to do but wait. `true`: it is parked, the run is over.
    async fn rest(&mut self) -> Result<bool> {
        let demand = self.cx.run.activity.take();
        let park = demand.idle && !self.bell.is_expected(demand.waiting);
        // It waits for something of its own too, which may end without a word.
        self.grace = (demand.idle && !park).then(|| self.shop.queue.clock.sleep(limits::RECHECK));
        if demand.new.is_empty() && !park {
            Ok(false)
        } else {
            self.sync(demand.new, park).await
        }
    }

    /// Exchanges waits for outcomes with the database. `true`: the task is parked, the run is over.
    async fn sync(&mut self, new: Vec<NewWait>, park: bool) -> Result<bool> {
        let run = &self.cx.run;
        let (queue, lease) = (run.queue.clone(), run.lease());
        let (task, depth, new) = (run.claimed.task.clone(), run.claimed.depth, Arc::new(new));
        let synced = run
            .write(move |tx| wait::sync(tx, &queue, lease, &task, depth, &new, park))
            .await?;
        if synced.parked {
            return Ok(true);
        }
        if !synced.resolved.is_empty() {
            // The branches go on in a moment, and need a worker for that.
            self.resume().await;
            self.cx.learn(synced.resolved);
            // The branch that wanted it may be gone: then the run is as idle as before and must be looked at again.
            self.cx.run.activity.look();
        }
        Ok(false)
    }

    async fn resume(&mut self) {
        if self.place.is_none() {
            // Waits in line with every other run. A run that must stop need not get there.
            self.place = tokio::select! {
                biased;
                place = self.shop.places.acquire(&self.cx.run.claimed.task.agent) => Some(place),
                () = self.cx.run.stop.cancelled() => None,
            };
        }
        self.allowance.start();
    }
}
