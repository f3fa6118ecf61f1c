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
use crate::context::Context;
use crate::family::Record;
use crate::journal::Kind;
use crate::limits;
use crate::queue::cancel;
use crate::queue::read;
use crate::queue::submit::NewTask;
use crate::task::{End, Priority, check_key};

/// A child to be: which agent, with which input, how urgent.
pub struct Call<A: Agent> {
    input: A::Input,
    priority: Priority,
    key: Option<String>,
    record: Option<Arc<Record>>,
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
    pub fn record(mut self, record: impl Into<Record>) -> Self {
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

    fn into_task(self, id: TaskId, tenant: &str) -> Result<NewTask> {
        self.budget.as_ref().map_or(Ok(()), |budget| budget.check())?;
        self.record.as_ref().map_or(Ok(()), |record| record.check())?;
        let input = Payload::encode(&self.input, limits::PAYLOAD_BYTES)?;
        check_key("key", self.key.as_deref())?;
        Ok(NewTask {
            priority: self.priority,
            key: self.key.unwrap_or_default(),
            record: self.record,
            budget: self.budget,
            ..NewTask::new(id, A::NAME, tenant, input)
        })
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
        let mut outputs = self.children(name, vec![call], 1).await?;
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

    async fn children<A: Agent>(
        &self,
        name: &str,
        calls: Vec<Call<A>>,
        parallel: usize,
    ) -> Result<Vec<A::Output>, Failure> {
        if calls.len() > limits::MAP_CHILDREN {
            return Err(Failure::terminal("too many children in one map")
                .with_kind(ErrorKind::LimitReached)
                .with("name", name)
                .with("children", calls.len())
                .with("limit", limits::MAP_CHILDREN));
        }
        if self.run.claimed.depth >= limits::CALL_DEPTH {
            return Err(Failure::terminal("calls are nested too deep")
                .with_kind(ErrorKind::LimitReached)
                .with("call", name)
                .with("agent", A::NAME)
                .with("limit", limits::CALL_DEPTH)
                .with_hint("an agent probably calls itself without an end"));
        }
        let key = self.key(Kind::Children, name)?;
        let known = self.run.journal().get(&key).is_some();
        let asked = calls.len();
        // Inputs are only encoded for children that are not there yet.
        let tasks = if known {
            Vec::new()
        } else {
            calls
                .into_iter()
                .map(|call| call.into_task(self.run.queue.ids.next(), self.tenant()))
                .collect::<Result<Vec<_>>>()?
        };
        self.called(&key, tasks, parallel).await?;
        self.collect::<A>(&key, asked)
            .await
            .map_err(|failure| failure.with("call", name))
    }

    async fn collect<A: Agent>(&self, key: &str, asked: usize) -> Result<Vec<A::Output>, Failure> {
        let _working = self.run.activity.work();
        let (parent, call) = (self.run.lease().task, key.to_owned());
        let ends = self.run.ask(move |db| read::children(db, parent, &call)).await?;
        if ends.len() != asked || ends.iter().any(|(agent, _)| agent != A::NAME) {
            return Err(drifted(&ends, asked, A::NAME));
        }
        let mut outputs = Vec::with_capacity(ends.len());
        let mut failed = None;
        let mut open = false;
        for (index, (_, end)) in ends.into_iter().enumerate() {
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
                return Err(Error::new(ErrorKind::Internal, "a call was resolved before its children ended").into());
            }
            return Ok(outputs);
        };
        if open {
            self.cancel_rest(key).await?;
        }
        Err(failure.into_terminal().with("agent", A::NAME).with("child", index))
    }

    async fn cancel_rest(&self, key: &str) -> Result<(), Failure> {
        let (lease, queue, key) = (self.run.lease(), self.run.queue.clone(), key.to_owned());
        self.run
            .tell(move |tx| cancel::siblings(tx, &queue, lease, &key))
            .await?;
        Ok(())
    }
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

impl<A: Agent> Map<'_, A> {
    /// Lets at most `limit` of the children run or wait at the same time; the next starts when one ends.
    pub fn parallel(mut self, limit: usize) -> Self {
        self.parallel = limit.max(1);
        self
    }
}

impl<'a, A: Agent> IntoFuture for Map<'a, A> {
    type Output = Result<Vec<A::Output>, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.cx.children(self.name, self.calls, self.parallel).await })
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
