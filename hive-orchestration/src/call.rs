//! Agents that call agents: children are durable tasks of their own.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};
use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::budget::Budget;
use crate::context::{Asked, Context, Drifted, Recall};
use crate::drift::{Cause, Drift, Report};
use crate::family;
use crate::journal::{self, Kind, Mark, Record, Standing, kept};
use crate::lease::guard;
use crate::limits;
use crate::queue::cancel;
use crate::queue::read;
use crate::queue::submit::{self, Aside, NewTask};
use crate::queue::wait::mark_of;
use crate::task::{End, Priority, check_key};

/// A child to be: which agent, with which input, how urgent.
pub struct Call<A: Agent> {
    input: A::Input,
    priority: Priority,
    key: Option<String>,
    record: Option<Arc<family::Record>>,
    budget: Option<Arc<Budget>>,
    drift: Option<Drift>,
}

impl<A: Agent> Call<A> {
    /// A call of agent `A`, of medium priority.
    pub fn new(input: A::Input) -> Self {
        Self {
            input,
            priority: Priority::default(),
            key: None,
            record: None,
            budget: None,
            drift: None,
        }
    }

    /// How urgent the child is among all that is ready.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// What the child is about, so that children of one agent that have the same key may be [limited](crate::flow); see
    /// [`Submit::key`](crate::builders::Submit::key).
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What the child is about, as a record of its own; see [`family`](crate::family). It is written in the same commit as the child.
    #[must_use]
    pub fn record(mut self, record: impl Into<family::Record>) -> Self {
        self.record = Some(Arc::new(record.into()));
        self
    }

    /// How much the child and all below it may use, as a part of what its caller may: it draws on the caller's account, too. Without one
    /// it draws on that alone. See [`budget`](crate::budget).
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(Arc::new(budget));
        self
    }

    /// What to do when the children on record under this name are not those that are asked for: not as many, of another agent, or
    /// called with other inputs. In a map the policy of the first item counts.
    ///
    /// Without a policy the task waits for a person when their number or their agent is another. When only their inputs are, the outputs
    /// are taken as they are: the child was called once, and often such a difference means nothing, as with a field that was
    /// added. It is logged, and [`replay`](crate::replay) tells of it beforehand. [`Drift::Rerun`] calls the children anew and cancels what
    /// is left of the others.
    #[must_use]
    pub fn on_drift(mut self, policy: Drift) -> Self {
        self.drift = Some(policy);
        self
    }

    /// Without its types.
    pub(crate) fn erase(self) -> Result<Child> {
        self.budget.as_ref().map_or(Ok(()), |budget| budget.check())?;
        self.record.as_ref().map_or(Ok(()), |record| record.check())?;
        let input = Payload::encode(&self.input, limits::PAYLOAD_BYTES)?;
        check_key("key", self.key.as_deref())?;
        Ok(Child {
            agent: A::NAME.to_owned(),
            versions: String::new(),
            input,
            priority: self.priority,
            key: self.key,
            record: self.record,
            aside: None,
            budget: self.budget,
        })
    }
}

/// A child to be, whatever its types: a typed call's, or a plan's.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) agent: String,
    /// The range of its agent's versions that may have it, or nothing.
    pub(crate) versions: String,
    pub(crate) input: Payload,
    pub(crate) priority: Priority,
    pub(crate) key: Option<String>,
    pub(crate) record: Option<Arc<family::Record>>,
    pub(crate) aside: Option<Aside>,
    pub(crate) budget: Option<Arc<Budget>>,
}

impl Child {
    pub(crate) fn into_task(self, id: TaskId, tenant: &str) -> NewTask {
        NewTask {
            priority: self.priority,
            key: self.key.unwrap_or_default(),
            versions: self.versions,
            record: self.record,
            aside: self.aside,
            budget: self.budget,
            ..NewTask::new(id, self.agent, tenant, self.input)
        }
    }
}

impl<A: Agent> std::fmt::Debug for Call<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("agent", &A::NAME)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// What is made of the ends of several children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gather {
    /// All outputs, or the first failure.
    All,
    /// Every end, failures included.
    Settled,
    /// The first output.
    First,
}

impl Gather {
    const fn kind(self) -> Kind {
        match self {
            Self::All => Kind::Children,
            Self::Settled => Kind::Settled,
            Self::First => Kind::Race,
        }
    }
}

/// Children that were called and are settled.
struct Called {
    key: String,
    /// In the order of their items; `None` for one that goes on.
    ends: Vec<Option<End>>,
    /// In a race, the place of the first that had an output.
    first: Option<u64>,
}

/// Children about to be called; await them. Made by [`Context::map`].
#[must_use = "children are called when the map is awaited"]
pub struct Map<'a, A: Agent> {
    cx: &'a Context,
    name: &'a str,
    calls: Vec<Call<A>>,
    parallel: usize,
    agent: PhantomData<A>,
}

impl Context {
    /// Calls an agent as a child and returns its output. The child is a durable task with attempts and retries of its
    /// own; it is called once under this name, whatever happens to its caller, and its output is delivered once.
    ///
    /// # Failures
    /// The child's, as a terminal one: its retries are its own business. Terminal also for a name that is not valid or
    /// an input that is too large.
    ///
    /// # Cancel safety
    /// Dropped, the child goes on and nobody waits for it: another call under this name in the same run is another child.
    /// Keep the future to come back to it. When the caller ends first the child is cancelled.
    pub async fn call<A: Agent>(&self, name: &str, call: Call<A>) -> Result<A::Output, Failure> {
        let called = self.children(name, vec![call], 1, Gather::All).await?;
        let outputs = self.outputs::<A>(called).await;
        let mut outputs = outputs.map_err(|failure| failure.with("call", name))?;
        outputs
            .pop()
            .ok_or_else(|| Failure::terminal("a call came back without an output").with_kind(ErrorKind::Internal))
    }

    /// Calls an agent once for every item, all at the same time, and returns the outputs in the order of the items.
    /// The children are made in one commit. At most [`MAP_CHILDREN`](crate::limits::MAP_CHILDREN).
    ///
    /// The items must be the same, in the same order, whenever the map is reached: take them from the input or from a step.
    ///
    /// # Failures
    /// That of the first child that fails, as a terminal one, as soon as it does; the others are cancelled then. When the children on
    /// record are not as many, or of another agent, the task waits for a person: see [`Call::on_drift`].
    ///
    /// # Cancel safety
    /// As for [`Context::call`].
    pub fn map<'a, I, A, F>(&'a self, name: &'a str, items: I, call: F) -> Map<'a, A>
    where
        I: IntoIterator,
        A: Agent,
        F: FnMut(I::Item) -> Call<A>,
    {
        let calls = items.into_iter().map(call).collect();
        Map {
            cx: self,
            name,
            calls,
            parallel: usize::MAX,
            agent: PhantomData,
        }
    }

    /// Calls an agent once for every item, all at the same time, and returns the first output that there is, with the place of its
    /// item. The others are cancelled then. At most [`MAP_CHILDREN`](crate::limits::MAP_CHILDREN), and at least one.
    ///
    /// Which of them it was is on record in the commit in which it ended: after an interruption it is the same.
    ///
    /// ```
    /// # use hive_orchestration::{Agent, Call, Context, Failure};
    /// # async fn run<Ask: Agent<Input = String, Output = String>>(cx: &Context) -> Result<(), Failure> {
    /// let (source, answer) = cx.race("ask", ["this one", "that one"], |name| Call::<Ask>::new(name.into())).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Failures
    /// When none of them has an output: that of the first in order, as a terminal one. Otherwise as [`Context::map`].
    ///
    /// # Cancel safety
    /// As for [`Context::call`].
    pub fn race<'a, I, A, F>(&'a self, name: &'a str, items: I, call: F) -> Race<'a, A>
    where
        I: IntoIterator,
        A: Agent,
        F: FnMut(I::Item) -> Call<A>,
    {
        Race(self.map(name, items, call))
    }

    /// Submits a task that goes on by itself, whatever becomes of this one, and returns its id. It is submitted once under this name,
    /// in the same commit as the record of that. It has this task's tenant and correlation, and belongs to no caller: nobody is told
    /// how it ends, and cancelling this task does not reach it.
    ///
    /// # Failures
    /// Terminal for a name that is not valid or an input that is too large.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the task may be submitted or not; when this task comes back to it, the journal tells.
    pub async fn spawn<A: Agent>(&self, name: &str, call: Call<A>) -> Result<TaskId, Failure> {
        let key = self.key(Kind::Spawn, name)?;
        match self.recall::<TaskId>(&key, Kind::Spawn).await {
            Recall::Done(id) => return Ok(id),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let id = self.run.queue.ids.next();
        let task = &self.run.claimed.task;
        let new = Arc::new(NewTask {
            correlation: Some(task.correlation.clone().unwrap_or_else(|| task.root.to_string())),
            ..call.erase()?.into_task(id, self.tenant())
        });
        let record = Arc::new(Record {
            lease: self.run.lease(),
            at: self.run.queue.clock.now(),
            key,
            kind: Kind::Spawn,
            type_name: std::any::type_name::<TaskId>(),
            value: Payload::encode(&id, limits::PAYLOAD_BYTES)?,
            also: None,
        });
        let queue = self.run.queue.clone();
        self.run
            .tell(move |tx| {
                guard(tx, record.lease)?;
                // Whether the commit took place is not known to who comes again after the loss of a connection; the id is the same.
                if journal::is_done(tx, record.lease.task, &record.key)? {
                    return Ok(());
                }
                submit::submit(tx, &queue, &new)?;
                journal::record(tx, &record)
            })
            .await?;
        Ok(id)
    }

    /// Children under this name, and what the journal says of them once they are settled.
    async fn children<A: Agent>(
        &self,
        name: &str,
        calls: Vec<Call<A>>,
        parallel: usize,
        gather: Gather,
    ) -> Result<Called, Failure> {
        if calls.len() > limits::MAP_CHILDREN {
            return Err(Failure::terminal("too many children in one map")
                .with_kind(ErrorKind::LimitReached)
                .with("name", name)
                .with("children", calls.len())
                .with("limit", limits::MAP_CHILDREN));
        }
        self.check_depth(name)
            .map_err(|failure| failure.with("agent", A::NAME))?;
        let key = self.key(Kind::Children, name)?;
        let policy = calls.first().and_then(|call| call.drift);
        let tasks = calls
            .into_iter()
            .map(|call| Ok(call.erase()?.into_task(self.run.queue.ids.next(), self.tenant())))
            .collect::<Result<Vec<_>>>()?;
        let asked = Asked {
            kind: gather.kind(),
            mark: mark_of(&tasks),
            policy: policy.unwrap_or_default(),
        };
        let count = tasks.len();
        loop {
            if let Some(report) = self.other_children(&key, &asked, policy) {
                self.settle_children(&key, &asked, report).await?;
                continue;
            }
            let first = self.called(&key, &asked, tasks.clone(), parallel).await?;
            let ends = self.ends(&key, A::NAME, gather).await?;
            if ends.len() == count && ends.iter().all(|(agent, _)| agent == A::NAME) {
                let ends = ends.into_iter().map(|(_, end)| end).collect();
                return Ok(Called { key, ends, first });
            }
            // Outputs of other children would be handed out as if they were these.
            let recorded = format!("{} of {}", ends.len(), ends.first().map_or("", |(agent, _)| agent));
            let report = Report::new(&key, Cause::Children, recorded, format!("{count} of {}", A::NAME));
            self.settle_children(&key, &asked, report).await?;
        }
    }

    /// In which way the children on record are not those that are asked for. Other inputs alone are only noted, unless the call says
    /// what to do about them.
    fn other_children(&self, key: &str, asked: &Asked, policy: Option<Drift>) -> Option<Report> {
        let journal = self.run.journal();
        let entry = journal.get(key)?;
        let mark = journal.mark(key);
        if entry.standing == Standing::Held {
            return None;
        }
        let of = |mark: &Mark| mark.shape.clone().unwrap_or_default();
        if mark.shape.is_some() && mark.shape != asked.mark.shape {
            return Some(Report::new(key, Cause::Children, of(&mark), of(&asked.mark)));
        }
        if mark.fingerprint.is_none() || mark.fingerprint == asked.mark.fingerprint {
            return None;
        }
        let print = |mark: &Mark| format!("{} with inputs {:016x}", of(mark), mark.fingerprint.unwrap_or(0));
        let report = Report::new(key, Cause::Input, print(&mark), print(&asked.mark));
        match policy {
            Some(Drift::Pause | Drift::Rerun | Drift::Fail) => Some(report),
            Some(Drift::Adopt) | None => {
                drop(journal);
                self.adopted(&report.under(Drift::Adopt));
                None
            }
        }
    }

    /// Does what the policy says about children that are not those that are asked for.
    async fn settle_children(&self, key: &str, asked: &Asked, report: Report) -> Result<(), Failure> {
        match self.drifted(key, asked, report, true).await? {
            Drifted::Settled => {}
            // What was called before is put aside when these are.
            Drifted::Again => self.run.journal().release(key),
        }
        Ok(())
    }

    /// Calls a child of which nothing but its success matters, as [`Context::call`] does.
    pub(crate) async fn call_untyped(&self, name: &str, child: Child) -> Result<(), Failure> {
        self.check_depth(name)?;
        let key = self.key(Kind::Children, name)?;
        let task = child.into_task(self.run.queue.ids.next(), self.tenant());
        self.called(&key, &Asked::from(Kind::Children), vec![task], 1).await?;
        let _working = self.run.activity.work();
        let (parent, call) = (self.run.lease().task, key);
        let ends = self.run.ask(move |db| read::children(db, parent, &call)).await?;
        match ends.into_iter().next() {
            Some((_, Some(End::Output(_)))) => Ok(()),
            Some((agent, Some(End::Failure(_, failure)))) => {
                Err(failure.into_terminal().with("agent", agent).with("call", name))
            }
            Some((_, None)) | None => Err(unended()),
        }
    }

    /// Refuses to call from a task that lies as deep as any may.
    pub(crate) fn check_depth(&self, name: &str) -> Result<(), Failure> {
        if self.run.claimed.depth < limits::CALL_DEPTH {
            return Ok(());
        }
        Err(Failure::terminal("calls are nested too deep")
            .with_kind(ErrorKind::LimitReached)
            .with("call", name)
            .with("limit", limits::CALL_DEPTH)
            .with_hint("an agent probably calls itself without an end"))
    }

    /// What became of the children under this key, in the order of their items.
    async fn ends(&self, key: &str, agent: &str, gather: Gather) -> Result<Vec<(String, Option<End>)>, Failure> {
        // A race keeps who won; otherwise a person has said what the outputs are.
        let kept = self.run.journal().get(key).and_then(|entry| entry.value.clone());
        if let Some(kept) = kept
            && gather != Gather::First
        {
            return Ok(kept::read(&kept, agent)?);
        }
        let _working = self.run.activity.work();
        let (parent, call) = (self.run.lease().task, key.to_owned());
        Ok(self.run.ask(move |db| read::children(db, parent, &call)).await?)
    }

    async fn outputs<A: Agent>(&self, Called { key, ends, .. }: Called) -> Result<Vec<A::Output>, Failure> {
        let (key, _working) = (key.as_str(), self.run.activity.work());
        let mut outputs = Vec::with_capacity(ends.len());
        let mut failed = None;
        let mut open = false;
        for (index, end) in ends.into_iter().enumerate() {
            match end {
                Some(End::Output(output)) => outputs.push(decode(&output, index)?),
                // Cancelled siblings are the consequence of a failure, not the failure.
                Some(End::Failure(_, failure)) => {
                    let better = failed.as_ref().is_none_or(|(_, known): &(usize, Failure)| {
                        known.kind() == ErrorKind::Cancelled && failure.kind() != ErrorKind::Cancelled
                    });
                    if better {
                        failed = Some((index, failure));
                    }
                }
                None => open = true,
            }
        }
        let Some((index, failure)) = failed else {
            if open {
                return Err(unended());
            }
            return Ok(outputs);
        };
        if open && self.run.probe.is_none() {
            self.cancel_rest(key, "a task called beside it has failed").await?;
        }
        Err(failure.into_terminal().with("agent", A::NAME).with("child", index))
    }

    fn settled_ends<A: Agent>(ends: Vec<Option<End>>) -> Result<Vec<Result<A::Output, Failure>>, Failure> {
        let settled = ends.into_iter().enumerate().map(|(index, end)| match end {
            Some(End::Output(output)) => decode(&output, index).map(Ok),
            Some(End::Failure(_, failure)) => Ok(Err(failure.into_terminal())),
            None => Err(unended()),
        });
        settled.collect()
    }

    async fn first<A: Agent>(&self, Called { key, ends, first }: Called) -> Result<(usize, A::Output), Failure> {
        let (_working, asked) = (self.run.activity.work(), ends.len());
        let Some(winner) = first.and_then(|winner| usize::try_from(winner).ok()) else {
            let failed = ends.into_iter().find_map(|end| match end {
                Some(End::Failure(_, failure)) => Some(failure),
                Some(End::Output(_)) | None => None,
            });
            return Err(failed.map_or_else(unended, |failure| {
                failure.into_terminal().with("agent", A::NAME).with("children", asked)
            }));
        };
        let open = ends.iter().any(Option::is_none);
        let Some(Some(End::Output(output))) = ends.into_iter().nth(winner) else {
            return Err(unended());
        };
        let output = decode(&output, winner)?;
        if open && self.run.probe.is_none() {
            self.cancel_rest(&key, "a task called beside it was quicker").await?;
        }
        Ok((winner, output))
    }

    pub(crate) async fn cancel_rest(&self, key: &str, reason: &'static str) -> Result<(), Failure> {
        let (lease, queue, key) = (self.run.lease(), self.run.queue.clone(), key.to_owned());
        self.run
            .tell(move |tx| cancel::siblings(tx, &queue, lease, &key, reason))
            .await?;
        Ok(())
    }
}

fn unended() -> Failure {
    Error::new(ErrorKind::Internal, "a call was resolved before its children ended").into()
}

fn decode<T: DeserializeOwned>(output: &Payload, child: usize) -> Result<T, Failure> {
    output.decode().map_err(|error| {
        Failure::from(error)
            .with_kind(ErrorKind::Drift)
            .into_terminal()
            .with("child", child)
            .with_hint("the child ended under an earlier version of its agent; make the new type read the old form too")
    })
}

impl<'a, A: Agent> Map<'a, A> {
    /// Lets at most `limit` of the children run or wait at the same time; the next starts when one ends.
    pub fn parallel(mut self, limit: usize) -> Self {
        self.parallel = limit.max(1);
        self
    }

    /// Waits for all of the children, and takes their failures for values instead of failing with the first.
    pub fn settled(self) -> Settled<'a, A> {
        Settled(self)
    }
}

impl<'a, A: Agent> IntoFuture for Map<'a, A> {
    type Output = Result<Vec<A::Output>, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (cx, name) = (self.cx, self.name);
            let called = cx.children(name, self.calls, self.parallel, Gather::All).await?;
            cx.outputs::<A>(called)
                .await
                .map_err(|failure| failure.with("call", name))
        })
    }
}

/// Children about to be called, whose failures are values; await them. Made by [`Map::settled`].
#[must_use = "children are called when this is awaited"]
#[derive(Debug)]
pub struct Settled<'a, A: Agent>(Map<'a, A>);

impl<'a, A: Agent> IntoFuture for Settled<'a, A> {
    type Output = Result<Vec<Result<A::Output, Failure>>, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (cx, name) = (self.0.cx, self.0.name);
            let called = cx
                .children(name, self.0.calls, self.0.parallel, Gather::Settled)
                .await?;
            Context::settled_ends::<A>(called.ends).map_err(|failure| failure.with("call", name))
        })
    }
}

/// Children about to be called, of which the first output counts; await it. Made by [`Context::race`].
#[must_use = "children are called when this is awaited"]
#[derive(Debug)]
pub struct Race<'a, A: Agent>(Map<'a, A>);

impl<A: Agent> Race<'_, A> {
    /// Lets at most `limit` of the children run or wait at the same time; the next starts when one fails.
    pub fn parallel(mut self, limit: usize) -> Self {
        self.0 = self.0.parallel(limit);
        self
    }
}

impl<'a, A: Agent> IntoFuture for Race<'a, A> {
    type Output = Result<(usize, A::Output), Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (cx, name) = (self.0.cx, self.0.name);
            if self.0.calls.is_empty() {
                return Err(Failure::terminal("a race without anybody has no winner")
                    .with_kind(ErrorKind::InvalidInput)
                    .with("call", name));
            }
            let called = cx.children(name, self.0.calls, self.0.parallel, Gather::First).await?;
            cx.first::<A>(called)
                .await
                .map_err(|failure| failure.with("call", name))
        })
    }
}

impl<A: Agent> std::fmt::Debug for Map<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map")
            .field("agent", &A::NAME)
            .field("name", &self.name)
            .field("children", &self.calls.len())
            .finish_non_exhaustive()
    }
}
