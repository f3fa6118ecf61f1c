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
use crate::context::{Context, Recall};
use crate::family;
use crate::journal::{self, Kind, Record};
use crate::lease::guard;
use crate::limits;
use crate::queue::cancel;
use crate::queue::read;
use crate::queue::submit::{self, Aside, NewTask};
use crate::task::{End, Priority, check_key};

/// A child to be: which agent, with which input, how urgent.
pub struct Call<A: Agent> {
    input: A::Input,
    priority: Priority,
    key: Option<String>,
    record: Option<Arc<family::Record>>,
    budget: Option<Arc<Budget>>,
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
        let (key, _) = self.children(name, vec![call], 1, Gather::All).await?;
        let mut outputs = self.outputs::<A>(name, &key, 1).await?;
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
    /// That of the first child that fails, as a terminal one, as soon as it does; the others are cancelled then. Of kind
    /// `drift` when the children on record are not as many, or of another agent.
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
    ) -> Result<(String, Option<u64>), Failure> {
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
        let known = self.run.journal().get(&key).is_some();
        // Inputs are only encoded for children that are not there yet.
        let tasks = if known {
            Vec::new()
        } else {
            calls
                .into_iter()
                .map(|call| Ok(call.erase()?.into_task(self.run.queue.ids.next(), self.tenant())))
                .collect::<Result<Vec<_>>>()?
        };
        let first = self.called(&key, gather.kind(), tasks, parallel).await?;
        Ok((key, first))
    }

    /// Calls a child of which nothing but its success matters, as [`Context::call`] does.
    pub(crate) async fn call_untyped(&self, name: &str, child: Child) -> Result<(), Failure> {
        self.check_depth(name)?;
        let key = self.key(Kind::Children, name)?;
        let task = child.into_task(self.run.queue.ids.next(), self.tenant());
        self.called(&key, Kind::Children, vec![task], 1).await?;
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

    /// How the children of a call ended, in the order of their items.
    async fn ends<A: Agent>(&self, key: &str, asked: usize) -> Result<Vec<Option<End>>, Failure> {
        let (parent, call) = (self.run.lease().task, key.to_owned());
        let ends = self.run.ask(move |db| read::children(db, parent, &call)).await?;
        if ends.len() != asked || ends.iter().any(|(agent, _)| agent != A::NAME) {
            return Err(drifted(&ends, asked, A::NAME));
        }
        Ok(ends.into_iter().map(|(_, end)| end).collect())
    }

    async fn outputs<A: Agent>(&self, name: &str, key: &str, asked: usize) -> Result<Vec<A::Output>, Failure> {
        let _working = self.run.activity.work();
        self.all::<A>(key, asked)
            .await
            .map_err(|failure| failure.with("call", name))
    }

    async fn all<A: Agent>(&self, key: &str, asked: usize) -> Result<Vec<A::Output>, Failure> {
        let ends = self.ends::<A>(key, asked).await?;
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
        if open {
            self.cancel_rest(key, "a task called beside it has failed").await?;
        }
        Err(failure.into_terminal().with("agent", A::NAME).with("child", index))
    }

    async fn settled_ends<A: Agent>(
        &self,
        key: &str,
        asked: usize,
    ) -> Result<Vec<Result<A::Output, Failure>>, Failure> {
        let _working = self.run.activity.work();
        let ends = self.ends::<A>(key, asked).await?;
        let settled = ends.into_iter().enumerate().map(|(index, end)| match end {
            Some(End::Output(output)) => decode(&output, index).map(Ok),
            Some(End::Failure(_, failure)) => Ok(Err(failure.into_terminal())),
            None => Err(unended()),
        });
        settled.collect()
    }

    async fn first<A: Agent>(
        &self,
        key: &str,
        asked: usize,
        winner: Option<u64>,
    ) -> Result<(usize, A::Output), Failure> {
        let _working = self.run.activity.work();
        let ends = self.ends::<A>(key, asked).await?;
        let Some(winner) = winner.and_then(|winner| usize::try_from(winner).ok()) else {
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
        if open {
            self.cancel_rest(key, "a task called beside it was quicker").await?;
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

/// Outputs of other children would be handed out as if they were these.
fn drifted(ends: &[(String, Option<End>)], asked: usize, agent: &str) -> Failure {
    let recorded = ends.first().map_or("", |(agent, _)| agent);
    Failure::terminal("other children were called under this name before than the code now asks for")
        .with_kind(ErrorKind::Drift)
        .with("recorded", format!("{} of {recorded}", ends.len()))
        .with("asked", format!("{asked} of {agent}"))
        .with_hint(
            "the items of a map must be the same whenever it is reached: take them from the input or from a step; call \
             another agent under another name",
        )
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
            let (cx, name, asked) = (self.cx, self.name, self.calls.len());
            let (key, _) = cx.children(name, self.calls, self.parallel, Gather::All).await?;
            cx.outputs::<A>(name, &key, asked).await
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
            let (cx, name, asked) = (self.0.cx, self.0.name, self.0.calls.len());
            let (key, _) = cx
                .children(name, self.0.calls, self.0.parallel, Gather::Settled)
                .await?;
            cx.settled_ends::<A>(&key, asked)
                .await
                .map_err(|failure| failure.with("call", name))
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
            let (cx, name, asked) = (self.0.cx, self.0.name, self.0.calls.len());
            if asked == 0 {
                return Err(Failure::terminal("a race without anybody has no winner")
                    .with_kind(ErrorKind::InvalidInput)
                    .with("call", name));
            }
            let (key, winner) = cx.children(name, self.0.calls, self.0.parallel, Gather::First).await?;
            cx.first::<A>(&key, asked, winner)
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
