//! The hive: opened with a builder, started, given tasks, shut down.

mod families;
mod memory;
mod no_model;
mod route;
mod schedules;
#[cfg(feature = "test-util")]
mod simulated;
mod slots;
mod submit;
mod travel;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hive_bus::Bus;
use hive_core::clock::{Clock, SystemClock};
use hive_core::db::{self, Db, Migrations};
use hive_core::id::{IdSource, TaskId};
use hive_core::lease;
use hive_core::model::ModelHandle;
use hive_core::rng::{Rng, SystemRng};
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::memory::OpenMemory;
pub use self::schedules::{Define, Scheduling};
use self::slots::{check_concurrency, loads};
pub use self::submit::Submit;
use crate::agent::{Agent, AnyAgent};
use crate::autoscale::Policy;
use crate::context::Threads;
use crate::flow::{Limit, Limited, Subject};
use crate::handle::TaskHandle;
use crate::limits;
use crate::pace::Pace;
use crate::queue::{self, OnStep, Queue, admin, event, flow, pause, people, read, recover};
use crate::registry::{self, Listing, Meters, Presence, Registry, Statistics};
use crate::router::{Directory, Request, Router, Strategy};
use crate::settings::Settings;
use crate::tables;
use crate::task::query::{TaskPage, TaskQuery};
use crate::task::question::{InterruptionPage, InterruptionQuery};
use crate::task::{Scope, TaskState};
use crate::telemetry::Telemetry;
use crate::undo::Undoer;
use crate::worker::{self, Places, Shop};

/// Describes a hive before it is started. Made by [`Hive::open`].
#[must_use = "a hive does nothing until it is started"]
pub struct Builder {
    options: db::Options,
    agents: Vec<AnyAgent>,
    migrations: Vec<&'static Migrations>,
    model: Option<ModelHandle>,
    router: Arc<dyn Router>,
    concurrency: usize,
    scaling: Option<Policy>,
    blocking_threads: usize,
    drain: Duration,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    pace: Pace,
    on_step: Option<OnStep>,
}

impl Builder {
    /// Adds an agent, by its type or made with [`agent_fn`](crate::agent_fn).
    pub fn agent(mut self, agent: impl Into<AnyAgent>) -> Self {
        self.agents.push(agent.into());
        self
    }

    /// The model behind [`Context::model`](crate::Context::model). None unless set.
    pub fn model(mut self, model: impl Into<ModelHandle>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// How one of several agents is chosen for a task that is [submitted to](Hive::submit_to) a capability or a range of versions:
    /// a [`Strategy`], a [`Fallback`](crate::router::Fallback) or a router of your own; the least loaded unless set.
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Arc::new(router);
        self
    }

    /// How many attempts run at once in this process: its slots; [`CONCURRENCY`](crate::limits::CONCURRENCY) unless set. Tasks that
    /// wait do not count. An agent may have a [limit](crate::Agent::CONCURRENCY) of its own beneath it.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.concurrency = limit;
        self
    }

    /// Has as many slots as the load needs, within the bounds of the policy; it begins with the least, whatever
    /// [`Builder::concurrency`] says. Each change is told by the event `system.scaled`.
    ///
    /// The load is what is ready for the agents of this process and neither paused nor held back by a limit, how long the first of it
    /// has waited, and how busy the slots are. Processes that share a database all look at the same queue: give each the share
    /// that it may take as the most. See [`autoscale`](crate::autoscale).
    pub fn autoscale(mut self, policy: Policy) -> Self {
        self.scaling = Some(policy);
        self
    }

    /// How many threads of this process may be busy with what agents do under [`Context::blocking`](crate::Context::blocking);
    /// [`BLOCKING_THREADS`](crate::limits::BLOCKING_THREADS) unless set, at least 1. The runtime's own limit for blocking threads must not
    /// be lower.
    pub fn blocking_threads(mut self, limit: usize) -> Self {
        self.blocking_threads = limit;
        self
    }

    /// How long a shutdown lets running attempts go on before it hands them back; [`DRAIN`](crate::limits::DRAIN) unless set.
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Takes concurrency and drain time from settings, such as [`Settings::load`] gives. What is set after this call wins.
    pub fn settings(self, settings: &Settings) -> Self {
        self.concurrency(settings.concurrency).drain(settings.drain())
    }

    /// Adds tables of your own to the hive's database, for [`Context::transaction`](crate::Context::transaction).
    pub fn migrations(mut self, set: &'static Migrations) -> Self {
        self.migrations.push(set);
        self
    }

    /// Where time comes from; the system unless set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where randomness comes from; the system unless set.
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// Opens the database, takes back at once what a dead process left running, and starts the workers.
    ///
    /// # Errors
    /// Those of [`Db::open`](hive_core::db::Db::open); `conflict` when two agents share a name; `invalid-input` for a name
    /// or a concurrency that is not valid. Nothing runs then.
    pub async fn start(self) -> Result<Hive> {
        let mut registry = Registry::with_own(Undoer.into());
        for agent in self.agents {
            registry.add(agent)?;
        }
        check_concurrency(self.concurrency)?;
        check_concurrency(self.blocking_threads)?;
        let slots = self
            .scaling
            .as_ref()
            .map_or(self.concurrency, |policy| policy.min() as usize);
        let mut options = self
            .options
            .clock(Arc::clone(&self.clock))
            .migrations(&lease::MIGRATIONS)
            .migrations(&hive_bus::MIGRATIONS)
            .migrations(&tables::MIGRATIONS);
        for set in self.migrations {
            options = options.migrations(set);
        }
        let db = Db::open(options).await?;
        let ids = IdSource::new(Arc::clone(&self.clock), Arc::clone(&self.rng));
        let bus = Bus::open(db.clone(), Arc::clone(&self.clock), ids.clone()).await?;
        // What tasks wait for stays until it was looked at.
        bus.keep_behind(event::looked_through)?;
        let mut queue = Queue::new(bus, self.clock, self.rng, ids, Arc::default());
        queue.telemetry = Telemetry::new(registry.names());
        (queue.pace, queue.on_step) = (self.pace, self.on_step);
        let meters = Meters::new(Arc::clone(&queue.clock), registry.names());
        let offers = registry.declarations().cloned().collect();
        let presence = Arc::new(Presence::new(
            queue.instance,
            queue.bus.clone(),
            offers,
            Arc::clone(&meters),
        ));
        let places = Places::new(slots, registry.all(), &queue.clock);
        let loads = loads(&queue, &meters, &places);
        let (opening, coming, load) = (queue.clone(), Arc::clone(&presence), Arc::clone(&loads));
        let epoch = queue::write(&db, move |tx| {
            let epoch = recover::begin_epoch(tx, &opening)?;
            coming.register(tx, |agent| load(agent))?;
            Ok(epoch)
        })
        .await?;
        queue.enter(epoch);
        // The first of what the last process left goes on at once; the rest is taken back while it runs.
        let opening = queue.clone();
        let recovered = queue::write(&db, move |tx| recover::recover(tx, &opening, limits::RECOVER_BATCH)).await?;
        if recovered > 0 {
            tracing::info!(recovered, epoch, "took back what dead processes left running");
        }
        let shop = Arc::new(Shop {
            db,
            directory: Directory::new(Arc::clone(&queue.clock)),
            queue,
            registry,
            meters,
            presence,
            loads,
            router: self.router,
            model: self.model.unwrap_or_else(|| ModelHandle::new(no_model::NoModel)),
            places,
            threads: Arc::new(Threads::new(self.blocking_threads)),
            drain: self.drain,
            recovered: AtomicUsize::new(recovered),
            draining: CancellationToken::new(),
            closed: CancellationToken::new(),
        });
        let server = tokio::spawn(worker::serve(Arc::clone(&shop), self.scaling));
        let guard = shop.draining.clone().drop_guard();
        Ok(Hive {
            inner: Arc::new(Inner {
                shop,
                server: Mutex::new(Some(server)),
                _guard: guard,
            }),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("agents", &self.agents)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// A running hive. Cheap to clone. When the last clone is dropped without [`Hive::shutdown`], the hive drains by itself
/// as long as the runtime lives.
#[derive(Clone)]
pub struct Hive {
    inner: Arc<Inner>,
}

struct Inner {
    shop: Arc<Shop>,
    server: Mutex<Option<JoinHandle<Result<()>>>>,
    _guard: DropGuard,
}

impl Hive {
    /// Describes a hive on one SQLite file, which is made when it does not exist. Its folder must exist.
    pub fn open(path: impl Into<PathBuf>) -> Builder {
        Self::on(db::Options::file(path))
    }

    /// Describes a hive on a database of your choice, such as one on a PostgreSQL server, which several processes share:
    /// `Hive::on(Options::postgres("postgres://…"))`. They share the work, too: a task is run by whichever has its agent and is
    /// free, and when one of them dies the others take over what it ran after [`SILENCE`](crate::limits::SILENCE).
    pub fn on(options: db::Options) -> Builder {
        Builder {
            options,
            agents: Vec::new(),
            migrations: Vec::new(),
            model: None,
            router: Arc::new(Strategy::default()),
            concurrency: limits::CONCURRENCY,
            scaling: None,
            blocking_threads: limits::BLOCKING_THREADS,
            drain: limits::DRAIN,
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            pace: Pace::default(),
            on_step: None,
        }
    }

    /// Submits a task for agent `A`; await it. The task is on disk when the handle comes back, and will run whatever
    /// happens to this process.
    ///
    /// # Errors
    /// `unknown-agent`, `invalid-input` (naming the path), `payload-too-large`, `conflict` (see
    /// [`Submit::idempotency_key`]). Nothing was written then.
    pub fn submit<A: Agent>(&self, input: A::Input) -> Submit<A::Output> {
        Submit::new(self.clone(), A::NAME.to_owned(), &input)
    }

    /// Submits a task for an agent known by name only. The input is checked against the agent's type.
    pub fn submit_named(&self, agent: impl Into<String>, input: &impl Serialize) -> Submit<serde_json::Value> {
        Submit::new(self.clone(), agent.into(), input)
    }

    /// Submits a task to whoever can do something, or to an agent in a range of versions. Which agent gets it is decided now,
    /// by the hive's [router](Builder::router), and stands with the reasons in the event `agent.routed`. The input is checked
    /// against the type of the agent that is chosen. See [`router`](crate::router) for what happens when it goes away.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure, Hive, agent_fn};
    /// use hive_orchestration::registry::Capability;
    ///
    /// const SHOUT: Capability = Capability::new("text.shout");
    /// # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let upper = agent_fn("upper", async |_: Context, text: String| Ok::<_, Failure>(text.to_uppercase()));
    /// let hive = Hive::open(dir.path().join("hive.db")).agent(upper.with_capability("text.shout")).start().await?;
    /// assert_eq!(hive.submit_to(SHOUT, &"hey").await?.result().await?, "HEY");
    /// # hive.shutdown().await }
    /// ```
    ///
    /// # Errors
    /// `unknown-agent` when nobody can have the task: its source is a [`NoRoute`](crate::router::NoRoute), which says of every agent
    /// why not, and it is retryable when one that could is away. Otherwise as [`Hive::submit`].
    pub fn submit_to(&self, request: impl Into<Request>, input: &impl Serialize) -> Submit<serde_json::Value> {
        Submit::to(self.clone(), request.into(), input)
    }

    /// Who is there, in all processes that share the database.
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn discover(&self, query: registry::Query) -> Result<Vec<Listing>> {
        self.inner.shop.db.read(move |db| registry::discover(db, &query)).await
    }

    /// How an agent has done of late, in all processes that share the database. One that nobody knows has done nothing.
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn statistics(&self, agent: impl Into<String>) -> Result<Statistics> {
        let agent = agent.into();
        self.inner
            .shop
            .db
            .read(move |db| registry::statistics(db, &agent))
            .await
    }

    /// Submits several tasks in one commit: all of them or, when one is refused, none. At most
    /// [`SUBMIT_BATCH`](crate::limits::SUBMIT_BATCH) at once. Much faster than one after another.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure, Hive, agent_fn};
    /// # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let double = agent_fn("double", async |_: Context, n: u32| Ok::<_, Failure>(2 * n));
    /// # let hive = Hive::open(dir.path().join("hive.db")).agent(double).start().await?;
    /// let tasks = hive.submit_all((1..=3).map(|n| hive.submit_named("double", &n))).await?;
    /// assert_eq!(tasks[2].result().await?, 6);
    /// # hive.shutdown().await }
    /// ```
    ///
    /// # Errors
    /// As [`Hive::submit`], with the place of the task that is refused; `limit-reached` for too many.
    ///
    /// # Cancel safety
    /// Dropped, all of them may be submitted or none.
    pub async fn submit_all<T: 'static>(
        &self,
        tasks: impl IntoIterator<Item = Submit<T>>,
    ) -> Result<Vec<TaskHandle<T>>> {
        submit::submit_all(self, tasks.into_iter().collect()).await
    }

    /// The task with this id, submitted here or by an earlier process. Whether it exists shows at the first question.
    pub fn task<T>(&self, id: TaskId) -> TaskHandle<T> {
        TaskHandle::new(id, Arc::clone(&self.inner.shop))
    }

    /// How many tasks are in each state: of one task with everything below it, or of all. The latter looks at every task
    /// there ever was.
    pub async fn counts(&self, root: Option<TaskId>) -> Result<Vec<(TaskState, u64)>> {
        self.inner.shop.db.read(move |db| read::counts(db, root)).await
    }

    /// How many runs of dead processes this hive has taken back. Of very many, those beyond the first
    /// [`RECOVER_BATCH`](crate::limits::RECOVER_BATCH) come while it runs already.
    pub fn recovered(&self) -> usize {
        self.inner.shop.recovered.load(Ordering::Relaxed)
    }

    /// Lists tasks, the newest first, a page at a time.
    ///
    /// # Errors
    /// `not-found` when there is no such [parent](TaskQuery::parent).
    pub async fn tasks(&self, query: TaskQuery) -> Result<TaskPage> {
        self.inner.shop.db.read(move |db| admin::list(db, &query)).await
    }

    /// Lists what people are waited for, those first that have waited longest, a page at a time: questions without an answer, and steps
    /// on which somebody must decide.
    pub async fn interruptions(&self, query: InterruptionQuery) -> Result<InterruptionPage> {
        self.inner.shop.db.read(move |db| people::list(db, &query)).await
    }

    /// Cancels the tasks that are asked for, those that have not ended, and everything below them; how many of them. Tasks that are
    /// submitted meanwhile may be left.
    ///
    /// # Cancel safety
    /// Dropped, some of them are cancelled.
    pub async fn cancel_all(&self, query: TaskQuery) -> Result<usize> {
        let mut query = query;
        if query.states.is_empty() {
            let open = [
                TaskState::Scheduled,
                TaskState::Queued,
                TaskState::Running,
                TaskState::Waiting,
            ];
            query.states.extend(open);
        }
        let mut cancelled = 0;
        loop {
            let page = self.tasks(query.clone()).await?;
            for task in page.tasks {
                cancelled += usize::from(self.task::<()>(task.id).cancel().await?);
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(cancelled),
            }
        }
    }

    /// Brings back the tasks that are asked for, those that died ([`TaskState::Dead`]) unless the query names states; how many. See
    /// [`TaskHandle::redrive`]. Tasks that were called by others are passed over.
    ///
    /// # Cancel safety
    /// Dropped, some of them are brought back.
    pub async fn redrive_all(&self, query: TaskQuery) -> Result<usize> {
        let mut query = query;
        if query.states.is_empty() {
            query.states.push(TaskState::Dead);
        }
        let mut redriven = 0;
        loop {
            let page = self.tasks(query.clone()).await?;
            for task in page.tasks {
                match self.task::<()>(task.id).redrive().await {
                    Ok(()) => redriven += 1,
                    Err(error) if [ErrorKind::Conflict, ErrorKind::NotFound].contains(&error.kind()) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(redriven),
            }
        }
    }

    /// Forgets the tasks that ended longer ago than `age`, with their inputs, outputs, journals, [records](crate::family) and
    /// [run memories](crate::memory), a bounded batch at a time, and removes from memories and inboxes what has expired; how
    /// many. Tasks whose callers go on are kept, and so are events: those have a [retention](Bus::retain) of their own. An
    /// idempotency key is free again with its task.
    ///
    /// # Cancel safety
    /// Dropped, some of them are forgotten.
    pub async fn forget(&self, age: Duration) -> Result<usize> {
        let mut forgotten = 0;
        loop {
            let batch = queue::write(&self.inner.shop.db, move |tx| {
                let before = tx.now()? - age;
                admin::forget(tx, before, limits::FORGET_BATCH)
            })
            .await?;
            forgotten += batch;
            if (batch as u64) < limits::FORGET_BATCH {
                break;
            }
        }
        while queue::write(&self.inner.shop.db, |tx| admin::prune(tx, limits::MEMORY_PRUNED)).await?
            >= limits::MEMORY_PRUNED
        {}
        Ok(forgotten)
    }

    /// Starts no more tasks of this scope, in any process, until [`Hive::resume`]; runs under way go on. Tasks can be submitted all
    /// the same. It holds through restarts. `false` when it was paused already.
    pub async fn pause(&self, scope: Scope) -> Result<bool> {
        queue::write(&self.inner.shop.db, move |tx| pause::pause(tx, &scope)).await
    }

    /// Starts tasks of this scope again; `false` when it was not paused. What several scopes hold back waits for all of them.
    pub async fn resume(&self, scope: Scope) -> Result<bool> {
        let queue = self.inner.shop.queue.clone();
        queue::write(&self.inner.shop.db, move |tx| pause::resume(tx, &queue, &scope)).await
    }

    /// Limits how many tasks of the subject run at once or begin in a time, in place of the limit that it had: see [`flow`](crate::flow).
    /// It holds through restarts and in every process, for what is claimed from here on. Runs under way count, and none is stopped.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](hive_errors::ErrorKind::InvalidInput) with the field that means nothing;
    /// [`ErrorKind::LimitReached`](hive_errors::ErrorKind::LimitReached) when [`FLOW_LIMITS`](limits::FLOW_LIMITS) are set.
    pub async fn limit(&self, subject: Subject, limit: Limit) -> Result<()> {
        let queue = self.inner.shop.queue.clone();
        queue::write(&self.inner.shop.db, move |tx| flow::limit(tx, &queue, &subject, &limit)).await
    }

    /// Takes a limit away; `false` when there was none.
    pub async fn unlimit(&self, subject: Subject) -> Result<bool> {
        let queue = self.inner.shop.queue.clone();
        queue::write(&self.inner.shop.db, move |tx| flow::unlimit(tx, &queue, &subject)).await
    }

    /// The limits that are set, and how many tasks run by them.
    pub async fn limits(&self) -> Result<Vec<Limited>> {
        self.inner.shop.db.read(flow::limited).await
    }

    /// The agents, by name.
    pub fn agents(&self) -> impl Iterator<Item = &AnyAgent> {
        self.inner.shop.registry.all()
    }

    /// The hive's events. Subscriptions end when the hive is shut down.
    pub fn bus(&self) -> &Bus {
        &self.inner.shop.queue.bus
    }

    /// The hive's database, for tables of your own.
    pub fn db(&self) -> &Db {
        &self.inner.shop.db
    }

    /// Takes no more tasks from the queue, lets running attempts end for the drain time, hands the rest back, and closes
    /// the database. What is not done goes on at the next start. Calling it twice is no error.
    ///
    /// # Cancel safety
    /// Dropped, the shutdown goes on by itself.
    pub async fn shutdown(&self) -> Result<()> {
        self.inner.shop.draining.cancel();
        let server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        match server {
            Some(server) => server
                .await
                .map_err(|e| Error::new(ErrorKind::Panic, "the dispatcher died").with_source(e))?,
            None => {
                self.inner.shop.closed.cancelled().await;
                Ok(())
            }
        }
    }

    pub(crate) fn shop(&self) -> &Arc<Shop> {
        &self.inner.shop
    }
}

impl fmt::Debug for Hive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hive")
            .field("db", &self.inner.shop.db)
            .field("agents", &self.inner.shop.registry)
            .finish()
    }
}
