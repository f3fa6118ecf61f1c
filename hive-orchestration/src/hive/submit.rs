//! A submission with its options.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::TENANT_DEFAULT;
use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;

use super::Hive;
use super::route;
use crate::budget::Budget;
use crate::family::Record;
use crate::handle::TaskHandle;
use crate::limits;
use crate::queue;
use crate::queue::submit::{self, NewTask, Single, Start};
use crate::router::Request;
use crate::task::{Priority, check_key, check_name, check_token};
use crate::worker::{Decided, Shop, decide_in};

/// A task about to be submitted; await it. Made by [`Hive::submit`] and [`Hive::submit_named`].
#[must_use = "a task is submitted when this is awaited"]
pub struct Submit<T> {
    hive: Hive,
    whom: Whom,
    input: Result<Payload>,
    tenant: String,
    priority: Priority,
    start: Start,
    within: Option<Duration>,
    key: Option<String>,
    flow_key: Option<String>,
    single: Option<Single>,
    correlation: Option<String>,
    labels: Vec<(String, String)>,
    record: Option<Arc<Record>>,
    budget: Option<Arc<Budget>>,
    output: PhantomData<fn() -> T>,
}

/// For whom a task is.
#[derive(Clone, Debug)]
enum Whom {
    Agent(String),
    /// The router decides.
    Routed(Request),
}

impl<T> Submit<T> {
    pub(super) fn new(hive: Hive, agent: String, input: &impl Serialize) -> Self {
        Self::whom(hive, Whom::Agent(agent), input)
    }

    pub(super) fn to(hive: Hive, request: Request, input: &impl Serialize) -> Self {
        Self::whom(hive, Whom::Routed(request), input)
    }

    fn whom(hive: Hive, whom: Whom, input: &impl Serialize) -> Self {
        Self {
            hive,
            whom,
            input: Payload::encode(input, limits::PAYLOAD_BYTES),
            tenant: TENANT_DEFAULT.to_owned(),
            priority: Priority::default(),
            start: Start::AtOnce,
            within: None,
            key: None,
            flow_key: None,
            single: None,
            correlation: None,
            labels: Vec::new(),
            record: None,
            budget: None,
            output: PhantomData,
        }
    }

    /// How urgent it is; medium unless set.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Not before this much time has passed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Start::After(delay);
        self
    }

    /// Not before this moment, by the database's clock.
    pub fn run_at(mut self, at: Timestamp) -> Self {
        self.start = Start::At(at);
        self
    }

    /// Fails the task, of kind `timeout`, when it has not ended after so much time: retries, waits and delays included.
    pub fn deadline(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// At most one task of this agent and tenant has the key until it ends: a submission meanwhile gives the handle of the one that
    /// is there, whatever its input. For work that need not be done twice at the same time.
    pub fn single(mut self, key: impl Into<String>) -> Self {
        self.single = Some(Single {
            key: key.into(),
            until_start: false,
        });
        self
    }

    /// As [`Submit::single`], until the task first starts: one that runs does not see what has changed since, so another may
    /// be submitted.
    pub fn single_until_start(mut self, key: impl Into<String>) -> Self {
        self.single = Some(Single {
            key: key.into(),
            until_start: true,
        });
        self
    }

    /// The id by which the task's events and those of its descendants are found, of a larger undertaking for example; the
    /// root task's id unless set.
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation = Some(id.into());
        self
    }

    /// A name and a value to find the task by.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// What the task is about, as a record that can be asked for and that its run adds to; see [`family`](crate::family). It is written
    /// in the same commit as the task. A submission that finds a task by its key leaves that task's record as it is.
    pub fn record(mut self, record: impl Into<Record>) -> Self {
        self.record = Some(Arc::new(record.into()));
        self
    }

    /// How much the task and all below it may use; see [`budget`](crate::budget). A submission that finds a task by its key leaves that
    /// task's budget as it is.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(Arc::new(budget));
        self
    }

    /// Submits at most one task under this key: a second submission for the same agent with the same input gives the
    /// first one's handle, whatever has become of that task; with another input it is refused with `conflict`. For a task that
    /// is routed, what was asked for counts and not which agent was chosen.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What the task is about, such as a customer, a repository or an account: tasks of one agent that have the same key may be
    /// [limited](crate::flow), and where there is more to do than can be done, keys of one tenant take turns.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.flow_key = Some(key.into());
        self
    }

    /// On whose behalf; `default` unless set.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Submits inside a transaction of yours on [`Hive::db`]: the task exists if and only if that commits.
    pub fn within(&self, tx: &mut Tx<'_>) -> Result<TaskId> {
        let shop = self.hive.shop();
        let placed = match &self.whom {
            Whom::Agent(agent) => Placed::named(self.check(agent)?),
            Whom::Routed(request) => self.placed(decide_in(shop, tx, request)?)?,
        };
        Ok(placed.submit(tx, shop)?.id)
    }

    /// Decides who gets it, if that is not decided, and finds every fault before anything is written.
    async fn place(&self) -> Result<Placed> {
        match &self.whom {
            Whom::Agent(agent) => self.check(agent).map(Placed::named),
            Whom::Routed(request) => self.placed(route::decide(self.hive.shop(), request).await?),
        }
    }

    fn placed(&self, decided: Decided) -> Result<Placed> {
        if self.single.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a task that is routed cannot be the only one of its agent",
            )
            .with("field", "single")
            .with_hint("name the agent, or use an idempotency key"));
        }
        Ok(Placed {
            new: NewTask {
                versions: decided.route.target.versions(),
                ..self.check(&decided.route.agent)?
            },
            decided: Some(decided),
        })
    }

    fn check(&self, agent: &str) -> Result<NewTask> {
        let input = match &self.input {
            Ok(input) => input,
            Err(error) => {
                return Err(error.echo().with("agent", format!("{:.100}", agent.escape_debug())));
            }
        };
        let registry = &self.hive.shop().registry;
        match (&self.whom, registry.get(agent)) {
            // Its type is known to the processes that have it.
            (Whom::Routed(_), None) => {}
            (Whom::Routed(_), Some(_)) | (Whom::Agent(_), _) => registry.check(agent, input)?,
        }
        check_token("tenant", &self.tenant)?;
        check_key("idempotency_key", self.key.as_deref())?;
        check_key("key", self.flow_key.as_deref())?;
        check_key("single", self.single.as_ref().map(|single| single.key.as_str()))?;
        check_key("correlation", self.correlation.as_deref())?;
        check_labels(&self.labels)?;
        self.record.as_ref().map_or(Ok(()), |record| record.check())?;
        self.budget.as_ref().map_or(Ok(()), |budget| budget.check())?;
        let mut new = NewTask {
            priority: self.priority,
            start: self.start,
            within: self.within,
            idempotency: self.key.clone(),
            key: self.flow_key.clone().unwrap_or_default(),
            single: self.single.clone(),
            correlation: self.correlation.clone(),
            labels: self.labels.clone(),
            record: self.record.clone(),
            budget: self.budget.clone(),
            ..NewTask::new(
                self.hive.shop().queue.ids.next(),
                agent,
                self.tenant.clone(),
                input.clone(),
            )
        };
        new.prepare()?;
        Ok(new)
    }
}

/// A task that knows its agent.
#[derive(Clone, Debug)]
struct Placed {
    new: NewTask,
    decided: Option<Decided>,
}

impl Placed {
    fn named(new: NewTask) -> Self {
        Self { new, decided: None }
    }

    fn submit(&self, tx: &mut Tx<'_>, shop: &Arc<Shop>) -> Result<submit::Submitted> {
        match &self.decided {
            Some(decided) => route::submit(tx, shop, &self.new, decided),
            None => submit::submit(tx, &shop.queue, &self.new),
        }
    }
}

fn check_labels(labels: &[(String, String)]) -> Result<()> {
    if labels.len() > limits::LABELS {
        return Err(Error::new(ErrorKind::LimitReached, "the task has too many labels")
            .with("field", "labels")
            .with("labels", labels.len())
            .with("limit", limits::LABELS));
    }
    for (place, (name, value)) in labels.iter().enumerate() {
        check_name("label", name)?;
        check_name("label's value", value)?;
        if labels.iter().take(place).any(|(other, _)| other == name) {
            return Err(Error::new(ErrorKind::InvalidInput, "the task has a label twice")
                .with("field", "labels")
                .with("label", name));
        }
    }
    Ok(())
}

impl<T: 'static> IntoFuture for Submit<T> {
    type Output = Result<TaskHandle<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (shop, placed) = (self.hive.shop(), self.place().await.map_err(closed)?);
            // Before the task is there, so that nothing of it is missed.
            let news = shop.queue.wakeups.watch(placed.new.id);
            let submitted = if placed.decided.is_some() {
                let submitting = Arc::clone(shop);
                queue::write(&shop.db, move |tx| placed.submit(tx, &submitting)).await
            } else {
                let (queue, new) = (&shop.queue, Arc::new(placed.new));
                certain(shop, || {
                    queue.gathers.submissions.call(Arc::clone(&new), |all| {
                        let (db, queue) = (shop.db.clone(), queue.clone());
                        async move { queue::write_all(&db, all, move |tx, all| submit::submit_all(tx, &queue, all)).await }
                    })
                })
                .await
            };
            let submitted = submitted.map_err(closed)?;
            Ok(if submitted.new {
                TaskHandle::submitted(submitted.id, Arc::clone(shop), news)
            } else {
                TaskHandle::new(submitted.id, Arc::clone(shop))
            })
        })
    }
}

pub(super) async fn submit_all<T: 'static>(hive: &Hive, tasks: Vec<Submit<T>>) -> Result<Vec<TaskHandle<T>>> {
    if tasks.len() > limits::SUBMIT_BATCH {
        return Err(Error::new(
            ErrorKind::LimitReached,
            "these are too many tasks to be submitted at once",
        )
        .with("tasks", tasks.len())
        .with("limit", limits::SUBMIT_BATCH)
        .with_hint("submit them in several batches"));
    }
    let shop = hive.shop();
    let mut new = Vec::with_capacity(tasks.len());
    for (place, task) in tasks.iter().enumerate() {
        new.push(task.place().await.map_err(|error| closed(error).with("place", place))?);
    }
    // Before the tasks are there, so that nothing of them is missed.
    let news: Vec<_> = new
        .iter()
        .map(|placed| shop.queue.wakeups.watch(placed.new.id))
        .collect();
    let submitting = Arc::clone(shop);
    let submitted = queue::write(&shop.db, move |tx| {
        let outcomes = all(tx, &submitting, &new)?.into_iter().enumerate();
        outcomes
            .map(|(place, outcome)| outcome.map_err(|error| error.with("place", place)))
            .collect::<Result<Vec<_>>>()
    })
    .await
    .map_err(closed)?;
    let handle = |(submitted, news): (submit::Submitted, _)| {
        if submitted.new {
            TaskHandle::submitted(submitted.id, Arc::clone(shop), news)
        } else {
            TaskHandle::new(submitted.id, Arc::clone(shop))
        }
    };
    Ok(submitted.into_iter().zip(news).map(handle).collect())
}

/// Asks again when nobody knows whether the task was written: it has its id, so it is there once.
async fn certain<T, F: Future<Output = Result<T>>>(shop: &Shop, submit: impl Fn() -> F) -> Result<T> {
    let mut wait = limits::UNSURE_WAIT;
    loop {
        match submit().await {
            Err(error) if error.kind() == ErrorKind::Indeterminate && wait <= limits::UNSURE_WAIT_MAX => {
                shop.queue.clock.sleep(wait).await;
                wait *= 2;
            }
            answer => return answer,
        }
    }
}

/// Those that were named as a set, the others each with its decision.
fn all(tx: &mut Tx<'_>, shop: &Arc<Shop>, placed: &[Placed]) -> Result<Vec<Result<submit::Submitted>>> {
    if placed.iter().any(|one| one.decided.is_some()) {
        return placed.iter().map(|one| one.submit(tx, shop).map(Ok)).collect();
    }
    let named: Vec<NewTask> = placed.iter().map(|one| one.new.clone()).collect();
    submit::submit_all(tx, &shop.queue, &named)
}

/// A closed database says little to whoever submits.
fn closed(error: Error) -> Error {
    if error.kind() != ErrorKind::ShuttingDown {
        return error;
    }
    Error::new(ErrorKind::ShuttingDown, "the hive is closed and takes no tasks")
        .with_hint("submit again once it has been opened again")
}

impl<T> fmt::Debug for Submit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit")
            .field("whom", &self.whom)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}
