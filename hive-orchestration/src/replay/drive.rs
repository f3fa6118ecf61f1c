//! Drives an agent's code without a worker and without a database.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use hive_bus::Bus;
use hive_bus::transport::Memory;
use hive_core::clock::{Clock, SystemClock};
use hive_core::db::{Db, Snapshot};
use hive_core::id::IdSource;
use hive_core::model::{Model, ModelHandle, Reply, Request};
use hive_core::payload::Payload;
use hive_core::rng::{Rng, SystemRng};
use hive_errors::{Error, ErrorKind, Failure, Result};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Replayed};
use crate::agent::AnyAgent;
use crate::budget::ledger::Chain;
use crate::context::{Address, Colleague, Colleagues, Context, Probe, Run, Threads, contained};
use crate::history::History;
use crate::journal::{Entry, Kind, Standing};
use crate::lease::Lease;
use crate::limits;
use crate::queue::claim::Claimed;
use crate::queue::{Queue, TaskRef};
use crate::wake::RunSigns;

/// What runs need and may not touch.
#[derive(Clone)]
pub(super) struct Stage {
    queue: Queue,
    db: Db,
    threads: Arc<Threads>,
    /// How long one replay may take.
    time: Duration,
}

/// How the code ended.
enum End {
    Over(Result<Payload, Failure>),
    AtRest,
    Busy,
}

impl Stage {
    pub(super) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let ids = IdSource::new(Arc::clone(&clock), Arc::clone(&rng));
        let bus = Bus::over(
            Arc::new(Memory::new(Arc::clone(&clock))),
            Arc::clone(&clock),
            ids.clone(),
        );
        Self {
            queue: Queue::new(bus, clock, rng, ids, Arc::default()),
            db: Db::nowhere(),
            threads: Arc::new(Threads::new(1)),
            time: limits::REPLAY_TIME,
        }
    }

    /// The same with less time.
    #[cfg(test)]
    pub(super) fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    pub(super) async fn replay(&self, agent: &AnyAgent, history: &History) -> Result<Replayed> {
        let run = self.run(history)?;
        let cx = Context::new(Arc::new(run));
        let end = if agent.is_foreign() {
            None
        } else {
            let played = contained(self.play(agent, &cx, history)).await;
            Some(played.unwrap_or_else(|failure| End::Over(Err(failure))))
        };
        let outcome = match end {
            None => Outcome::Foreign,
            Some(End::AtRest) => Outcome::Waits,
            Some(End::Busy) => Outcome::Busy,
            Some(End::Over(Ok(output))) => Outcome::Returns { output },
            Some(End::Over(Err(failure))) => Outcome::Fails { failure },
        };
        let same_output = match (&outcome, &history.output) {
            (Outcome::Returns { output }, Some(recorded)) => Some(output == recorded),
            _ => None,
        };
        let seen = cx
            .run
            .probe
            .as_ref()
            .map(|probe: &Probe| probe.seen().clone())
            .unwrap_or_default();
        let journal = cx.run.journal();
        let unasked = |key: &str| !journal.is_asked(key);
        let lost = |key: &str| journal.get(key).is_some_and(is_worth_something);
        let keys = || history.entries.iter().map(|entry| entry.key.as_str());
        Ok(Replayed {
            task: history.task,
            agent: history.agent.clone(),
            outcome,
            same_output,
            used: keys().filter(|key| !unasked(key)).count(),
            unused: keys()
                .filter(|key| unasked(key) && lost(key))
                .map(str::to_owned)
                .collect(),
            new: seen.new,
            drifts: seen.drifts,
        })
    }

    fn run(&self, history: &History) -> Result<Run> {
        let lease = Lease {
            task: 0,
            attempt: history.attempt.max(1),
            epoch: 0,
        };
        let claimed = Claimed {
            lease,
            signs: RunSigns::default(),
            task: TaskRef {
                seq: 0,
                id: history.task,
                root: history.root,
                agent: history.agent.clone(),
                tenant: history.tenant.clone(),
                attempt: lease.attempt,
                parent: None,
                correlation: None,
            },
            depth: history.depth,
            input: history.input.clone(),
            waited: Duration::ZERO,
            chain: Chain::default(),
        };
        let run = Run::new(
            claimed,
            self.db.clone(),
            self.queue.clone(),
            ModelHandle::new(Silent),
            Arc::new(Nobody),
            Arc::clone(&self.threads),
            CancellationToken::new(),
            history.journal()?,
        );
        Ok(run.probing())
    }

    /// Polls the code until it has ended, or nothing can come of polling it again.
    async fn play(&self, agent: &AnyAgent, cx: &Context, history: &History) -> End {
        let clock = &*self.queue.clock;
        let doze = Arc::new(Doze::default());
        let waker = Waker::from(Arc::clone(&doze));
        let mut work = pin!(agent.run(cx, &history.input));
        let mut over = pin!(clock.sleep(self.time));
        loop {
            if let Poll::Ready(ended) = work.as_mut().poll(&mut Task::from_waker(&waker)) {
                return End::Over(ended);
            }
            // Whoever is to wake it holds a waker; beside these two there is none. What has rung has left a permit.
            let alone = Arc::strong_count(&doze) <= 2;
            let quiet = if alone { Duration::ZERO } else { limits::REPLAY_QUIET };
            // Code that is always ready must not keep the clock from being looked at.
            tokio::task::yield_now().await;
            tokio::select! {
                biased;
                () = &mut over => return End::Busy,
                () = doze.rung.notified() => {}
                () = clock.sleep(quiet) => return End::AtRest,
            }
        }
    }
}

/// Wakes the one who polls.
#[derive(Debug, Default)]
struct Doze {
    rung: Notify,
}

impl Wake for Doze {
    fn wake(self: Arc<Self>) {
        self.rung.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.notify_one();
    }
}

/// Whether something is lost when nobody asks for it any more. A sleep that is over leaves nothing, and what a run has said stays said.
fn is_worth_something(entry: &Entry) -> bool {
    let leaves_nothing = [Kind::Timer, Kind::Record, Kind::Budget].contains(&entry.kind);
    let goes_on = [Kind::Children, Kind::Race, Kind::Settled, Kind::Once].contains(&entry.kind);
    !leaves_nothing && (goes_on || entry.standing == Standing::Done)
}

/// There is nobody beside the run.
struct Nobody;

impl Colleagues for Nobody {
    fn known(&self, _db: &Snapshot<'_>) -> Result<Vec<Colleague>> {
        Ok(Vec::new())
    }

    fn address(&self, _db: &Snapshot<'_>, target: &str) -> Result<Address> {
        Err(Error::new(ErrorKind::UnknownAgent, "there is nobody in a replay").with("target", target))
    }

    fn check(&self, _agent: &str, _input: &Payload) -> Result<()> {
        Ok(())
    }
}

/// A model that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Model for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, _request: Request) -> Result<Reply> {
        pending().await
    }
}
