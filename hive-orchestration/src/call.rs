//! Agents that call agents: children are durable tasks of their own.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::agent::Agent;
use crate::context::{Asked, Context, Drifted};
use crate::drift::{Cause, Drift, Report};
use crate::family::Record;
use crate::journal::{Kind, Mark, Standing, kept};
use crate::limits;
use crate::queue::cancel;
use crate::queue::read;
use crate::queue::submit::NewTask;
use crate::queue::wait::{Wanted, mark_of};
use crate::task::{End, Priority, check_key};

/// A child to be: which agent, with which input, how urgent.
pub struct Call<A: Agent> {
    input: A::Input,
    priority: Priority,
    key: Option<String>,
    record: Option<Arc<Record>>,
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
    pub fn record(mut self, record: impl Into<Record>) -> Self {
        self.record = Some(Arc::new(record.into()));
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

    fn into_task(self, id: TaskId, tenant: &str) -> Result<NewTask> {
        self.record.as_ref().map_or(Ok(()), |record| record.check())?;
        let input = Payload::encode(&self.input, limits::PAYLOAD_BYTES)?;
        check_key("key", self.key.as_deref())?;
        Ok(NewTask {
            priority: self.priority,
            key: self.key.unwrap_or_default(),
            record: self.record,
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
        let policy = calls.first().and_then(|call| call.drift);
        let tasks = calls
            .into_iter()
            .map(|call| call.into_task(self.run.queue.ids.next(), self.tenant()))
            .collect::<Result<Vec<_>>>()?;
        let asked = Asked {
            kind: Kind::Children,
            mark: mark_of(&tasks),
            policy: policy.unwrap_or_default(),
        };
        let count = tasks.len();
        loop {
            if let Some(report) = self.other_children(&key, &asked, policy) {
                self.settle(&key, &asked, report).await?;
                continue;
            }
            let children = || Wanted::Children {
                tasks: tasks.clone(),
                parallel,
            };
            self.outcome_as::<IgnoredAny>(&key, &asked, children).await?;
            let ends = self.ends(&key, A::NAME).await?;
            if ends.len() == count && ends.iter().all(|(agent, _)| agent == A::NAME) {
                return self
                    .collect::<A>(&key, ends)
                    .await
                    .map_err(|failure| failure.with("call", name));
            }
            // Outputs of other children would be handed out as if they were these.
            let recorded = format!("{} of {}", ends.len(), ends.first().map_or("", |(agent, _)| agent));
            let report = Report::new(&key, Cause::Children, recorded, format!("{count} of {}", A::NAME));
            self.settle(&key, &asked, report).await?;
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
    async fn settle(&self, key: &str, asked: &Asked, report: Report) -> Result<(), Failure> {
        match self.drifted(key, asked, report, true).await? {
            Drifted::Settled => {}
            // What was called before is put aside when these are.
            Drifted::Again => self.run.journal().release(key),
        }
        Ok(())
    }

    /// What became of the children under this key.
    async fn ends(&self, key: &str, agent: &str) -> Result<Vec<(String, Option<End>)>, Failure> {
        let kept = self.run.journal().get(key).and_then(|entry| entry.value.clone());
        if let Some(kept) = kept {
            return Ok(kept::read(&kept, agent)?);
        }
        let _working = self.run.activity.work();
        let (parent, call) = (self.run.lease().task, key.to_owned());
        Ok(self.run.ask(move |db| read::children(db, parent, &call)).await?)
    }

    async fn collect<A: Agent>(&self, key: &str, ends: Vec<(String, Option<End>)>) -> Result<Vec<A::Output>, Failure> {
        let _working = self.run.activity.work();
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
        if open && self.run.probe.is_none() {
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
