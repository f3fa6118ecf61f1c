//! A plan is carried out: the part that acts.

mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure};
use serde::Serialize;

use self::start::Start;
use super::course::{Call, Calls, Course, Outputs, Standing, course, queue};
use super::finding::Findings;
use super::graph::Graph;
use super::node::{OnFailure, Plan};
use super::outcome::{Outcome, Report, State};
use super::revision::{Decision, Progress, Revise, Stored, Uncalled, VERSION};
use crate::context::{Context, Recall};
use crate::journal::{self, Kind, Record, Standing as Entered};
use crate::limits;
use crate::queue::{cancel, read};
use crate::task::End;

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Option<Plan>, Failure>> + Send + 'a>>;
type Reviser<'a> = Box<dyn FnMut(Context, Progress) -> Answer<'a> + Send + 'a>;

/// A plan about to be carried out; await it. Made by [`Context::plan`].
#[must_use = "a plan is carried out when it is awaited"]
pub struct Execution<'a> {
    cx: &'a Context,
    name: &'a str,
    plan: Plan,
    parallel: usize,
    revise: Option<(Revise, Reviser<'a>)>,
}

impl Context {
    /// Carries out a plan and tells what has become of its nodes.
    ///
    /// The plan is remembered first: under this name the same plan goes on after an interruption, whatever plan the code would come
    /// with then. Each node is a child of this task, as if it had been [called](Context::call): it is called once, it starts as soon as
    /// what it needs has ended, and while all that goes on this task holds no worker and, after a moment, no memory. See
    /// [the module](crate::plan) for when nodes start and when they are skipped.
    ///
    /// ```
    /// # use hive_orchestration::plan::{Node, Plan};
    /// # use hive_orchestration::{Context, Failure};
    /// # use serde_json::json;
    /// # async fn run(cx: &Context) -> Result<String, Failure> {
    /// let plan = Plan::new([
    ///     Node::new("draft", "agent:writer").input(json!({"topic": "bees"})),
    ///     Node::new("proof", "agent:reader").input(json!({"text": {"$from": "draft", "path": "/text"}})),
    /// ]);
    /// let outcome = cx.plan("article", plan).parallel(4).await?;
    /// outcome.get::<String>("proof")
    /// # }
    /// ```
    ///
    /// # Failures
    /// Terminal ones: of kind `invalid-input`, with the [findings](Findings) as cause, for a plan that is not on record yet and cannot be
    /// carried out; that of a node that failed and says [`OnFailure::Fail`], with the field `node`, after which what runs is cancelled;
    /// what the function given to [`Execution::revise`] returns.
    ///
    /// # Cancel safety
    /// Dropped, the nodes that run go on and nobody waits for them. Keep the future to come back to it.
    pub fn plan<'a>(&'a self, name: &'a str, plan: Plan) -> Execution<'a> {
        Execution {
            cx: self,
            name,
            plan,
            parallel: usize::MAX,
            revise: None,
        }
    }
}

impl<'a> Execution<'a> {
    /// Lets at most `limit` nodes run or wait at the same time; of those that could start the more urgent first, then those on which the
    /// longest chain hangs. Without a limit unless set.
    pub fn parallel(mut self, limit: usize) -> Self {
        self.parallel = limit.max(1);
        self
    }

    /// Asks `with` whether the plan is to be another from here on, whenever nodes have ended in the way that `when` says. `None` leaves it
    /// as it is. Nodes that run go on meanwhile, and none is started.
    ///
    /// What it answers is remembered, so that the same revision counts after an interruption. What it asks a model belongs in a step of
    /// the context that it is given, whose names are those of this one question. A revision that [cannot be](Progress::check) is refused
    /// and it is asked again, with the findings in [`Progress::refused`], up to [`PLAN_REPAIRS`](limits::PLAN_REPAIRS) times; then the plan fails.
    /// A plan may be revised [`PLAN_REVISIONS`](limits::PLAN_REVISIONS) times.
    ///
    /// Nodes that have not started and are left out vanish.
    pub fn revise<F, Fut>(mut self, when: Revise, mut with: F) -> Self
    where
        F: FnMut(Context, Progress) -> Fut + Send + 'a,
        Fut: Future<Output = Result<Option<Plan>, Failure>> + Send + 'a,
    {
        self.revise = Some((when, Box::new(move |cx, progress| Box::pin(with(cx, progress)))));
        self
    }
}

impl<'a> IntoFuture for Execution<'a> {
    type Output = Result<Outcome, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self {
                cx,
                name,
                plan,
                parallel,
                revise,
            } = self;
            let mut run = Run::begin(cx, name, plan)
                .await
                .map_err(|failure| failure.with("plan", name))?;
            run.parallel = parallel;
            run.finish(revise).await.map_err(|failure| failure.with("plan", name))
        })
    }
}

impl fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("name", &self.name)
            .field("nodes", &self.plan.nodes.len())
            .finish_non_exhaustive()
    }
}

/// A plan that is being carried out, as far as the journal tells.
struct Run<'a> {
    cx: &'a Context,
    name: &'a str,
    /// Its entry in the journal. Those of its nodes and revisions begin with it.
    key: String,
    plan: Plan,
    graph: Graph,
    order: Vec<usize>,
    /// How many calls were made for an id while it stood for something else.
    before: BTreeMap<String, u32>,
    /// The marks of the ends that it was asked about whether the plan is to be revised.
    seen: BTreeSet<String>,
    decisions: u32,
    revisions: u32,
    parallel: usize,
    /// What is known of the ends of calls, by their keys.
    ends: BTreeMap<String, Call>,
    /// Failures of nodes that could not be called and are not on record, because the plan fails with them.
    uncalled: BTreeMap<String, Failure>,
    outputs: Outputs,
}

impl<'a> Run<'a> {
    /// Finds the plan in the journal, or puts it there.
    async fn begin(cx: &'a Context, name: &'a str, plan: Plan) -> Result<Self, Failure> {
        cx.check_depth(name)?;
        let key = cx.key(Kind::Plan, name)?;
        let plan = match cx.recall::<Stored>(&key, Kind::Plan).await {
            Recall::Done(stored) => stored.plan,
            Recall::New | Recall::Begun | Recall::Over => {
                let _working = cx.run.activity.work();
                plan.check(&cx.catalogue().await?).map_err(Error::from)?;
                remember(
                    cx,
                    key.clone(),
                    &Stored {
                        v: VERSION,
                        plan: plan.clone(),
                    },
                )
                .await?;
                plan
            }
        };
        let graph = Graph::of(&plan);
        let mut run = Self {
            cx,
            name,
            key,
            order: graph.sorted().0,
            graph,
            plan,
            before: BTreeMap::new(),
            seen: BTreeSet::new(),
            decisions: 0,
            revisions: 0,
            parallel: usize::MAX,
            ends: BTreeMap::new(),
            uncalled: BTreeMap::new(),
            outputs: Outputs::new(),
        };
        loop {
            let key = run.decision_key();
            match cx.recall::<Decision>(&key, Kind::Plan).await {
                Recall::Done(decision) => run.adopt(decision),
                Recall::New | Recall::Begun | Recall::Over => return Ok(run),
            }
        }
    }

    /// The key of the next decision whether the plan is to be revised.
    fn decision_key(&self) -> String {
        format!("{}@{}", self.key, self.decisions + 1)
    }

    fn call_key(&self, id: &str, number: u32) -> String {
        format!("{}/{id}~{number}", self.key)
    }

    fn before(&self, id: &str) -> u32 {
        self.before.get(id).copied().unwrap_or(0)
    }

    fn adopt(&mut self, decision: Decision) {
        self.decisions += 1;
        self.seen.extend(decision.seen);
        if let Some(plan) = decision.plan {
            self.revisions += 1;
            self.before = decision.before;
            self.graph = Graph::of(&plan);
            self.order = self.graph.sorted().0;
            self.plan = plan;
            self.uncalled.clear();
        }
    }

    async fn finish(mut self, mut revise: Option<(Revise, Reviser<'_>)>) -> Result<Outcome, Failure> {
        loop {
            let calls = self.calls().await?;
            let course = self.course(&calls).await?;
            if let Some((id, failure)) = self.fatal(&calls, &course, revise.is_some()) {
                self.stop(&calls).await?;
                return Err(failure.into_terminal().with("node", id));
            }
            if let Some((when, with)) = &mut revise {
                let (ended, marks) = self.news(*when, &calls, &course);
                if !marks.is_empty() {
                    self.review(with, &calls, &course, ended, marks).await?;
                    continue;
                }
            }
            if course.standings.iter().all(Standing::has_ended) {
                return self.outcome(&calls, &course).await;
            }
            self.go_on(&calls, &course).await?;
        }
    }

    /// What was called for each node since it is what it is now.
    async fn calls(&mut self) -> Result<Calls, Failure> {
        let mut calls = Calls::new();
        let mut unknown = false;
        let mut keys = Vec::new();
        for node in &self.plan.nodes {
            let first = self.before(&node.id) + 1;
            for number in first.. {
                let key = self.call_key(&node.id, number);
                let entry = self.cx.run.journal().get(&key).cloned();
                let Some(entry) = entry else { break };
                if entry.standing != Entered::Pending && entry.kind == Kind::Children {
                    unknown |= self.ends.get(&key).is_none_or(|known| known.end.is_none());
                }
                keys.push((node.id.clone(), key, number, entry));
            }
        }
        if unknown {
            let _working = self.cx.run.activity.work();
            let (parent, prefix) = (self.cx.run.lease().task, format!("{}/", self.key));
            let called = self.cx.run.ask(move |db| read::called(db, parent, &prefix)).await?;
            for one in called {
                let call = Call {
                    mark: format!("{}/{}", one.id, one.attempt),
                    task: Some(one.id),
                    agent: Some(one.agent),
                    end: one.end,
                };
                self.ends.insert(one.call, call);
            }
        }
        for (id, key, number, entry) in keys {
            let mark = format!("{id}~{number}");
            let unresolved = |known: Option<&Call>| Call {
                mark: mark.clone(),
                task: known.and_then(|known| known.task),
                agent: known.and_then(|known| known.agent.clone()),
                end: None,
            };
            let known = self.ends.get(&key);
            let call = match (entry.kind, entry.standing, known) {
                (Kind::Plan, _, _) => {
                    let failure = match self.cx.recall::<Uncalled>(&key, Kind::Plan).await {
                        Recall::Done(uncalled) => uncalled.failure,
                        Recall::New | Recall::Begun | Recall::Over => continue,
                    };
                    Call {
                        end: Some(Err(failure)),
                        ..unresolved(None)
                    }
                }
                (_, Entered::Done, Some(known)) if known.end.is_some() => known.clone(),
                // It was called again since, and this call is no more.
                (_, Entered::Done, None) => Call {
                    end: Some(Err(Failure::retryable("the node was called again"))),
                    ..unresolved(None)
                },
                (_, Entered::Done, Some(_)) => {
                    return Err(
                        Error::new(ErrorKind::Internal, "a node's call was resolved before its task ended")
                            .with("node", id)
                            .into(),
                    );
                }
                (_, Entered::Pending | Entered::Held, known) => unresolved(known),
            };
            calls.entry(id).or_default().push(call);
        }
        for (id, failure) in &self.uncalled {
            let number = self.before(id) + 1;
            calls.entry(id.clone()).or_default().push(Call {
                mark: format!("{id}~{number}!"),
                task: None,
                agent: None,
                end: Some(Err(failure.clone())),
            });
        }
        Ok(calls)
    }

    /// Where the nodes stand, with the outputs that it takes to say so.
    async fn course(&mut self, calls: &Calls) -> Result<Course, Failure> {
        loop {
            let course = course(&self.plan, &self.graph, &self.order, calls, &self.outputs);
            if course.wants.is_empty() {
                return Ok(course);
            }
            self.fetch(&course.wants, calls).await?;
        }
    }

    /// Brings the outputs of nodes that have succeeded.
    async fn fetch<'i>(&mut self, ids: impl IntoIterator<Item = &'i String>, calls: &Calls) -> Result<(), Failure> {
        let is_missing = |id: &&String| !self.outputs.contains_key(*id);
        let key = |id: &String| {
            let number = self.before(id) + u32::try_from(calls.get(id).map_or(0, Vec::len)).unwrap_or(u32::MAX);
            (id.clone(), self.call_key(id, number))
        };
        let keys: Vec<(String, String)> = ids.into_iter().filter(is_missing).map(key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let _working = self.cx.run.activity.work();
        let parent = self.cx.run.lease().task;
        let found = self.cx.run.ask(move |db| {
            let mut found = Vec::with_capacity(keys.len());
            for (id, key) in &keys {
                let end = read::children(db, parent, key)?.pop().and_then(|(_, end)| end);
                let Some(End::Output(output)) = end else {
                    return Err(Error::new(ErrorKind::Internal, "a node that succeeded has no output").with("node", id));
                };
                found.push((id.clone(), output.decode()?));
            }
            Ok(found)
        });
        self.outputs.extend(found.await?);
        Ok(())
    }

    /// The node with which the plan fails. While it may be revised, only one about which that was asked.
    fn fatal(&self, calls: &Calls, course: &Course, is_revisable: bool) -> Option<(String, Failure)> {
        let mut fatal: Option<(String, Failure)> = None;
        for (node, standing) in self.plan.nodes.iter().zip(&course.standings) {
            let Standing::Failed(failure) = standing else { continue };
            let mark = calls
                .get(&node.id)
                .and_then(|calls| calls.last())
                .map(|call| &call.mark);
            let is_asked = !is_revisable || mark.is_some_and(|mark| self.seen.contains(mark));
            if node.on_failure != OnFailure::Fail || !is_asked {
                continue;
            }
            // Those that are cancelled with it are the consequence, not the failure.
            let is_better = fatal.as_ref().is_none_or(|(_, known)| {
                known.kind() == ErrorKind::Cancelled && failure.kind() != ErrorKind::Cancelled
            });
            if is_better {
                fatal = Some((node.id.clone(), failure.clone()));
            }
        }
        fatal
    }

    /// Cancels what runs.
    async fn stop(&self, calls: &Calls) -> Result<(), Failure> {
        let _working = self.cx.run.activity.work();
        for (id, calls) in calls {
            if calls.last().is_some_and(|call| call.end.is_none()) {
                let number = self.before(id) + u32::try_from(calls.len()).unwrap_or(u32::MAX);
                self.cx.cancel_rest(&self.call_key(id, number)).await?;
            }
        }
        Ok(())
    }

    /// The nodes that have ended since it was asked last whether the plan is to be revised, and the marks of these ends.
    fn news(&self, when: Revise, calls: &Calls, course: &Course) -> (Vec<String>, Vec<String>) {
        let of = self
            .plan
            .nodes
            .iter()
            .zip(&course.standings)
            .filter_map(|(node, standing)| {
                let counts = match standing {
                    Standing::Failed(_) => true,
                    Standing::Succeeded => when == Revise::Always,
                    Standing::Pending | Standing::Ready | Standing::Running | Standing::Skipped(_) => false,
                };
                let mark = &calls.get(&node.id)?.last()?.mark;
                (counts && !self.seen.contains(mark)).then(|| (node.id.clone(), mark.clone()))
            });
        of.unzip()
    }

    /// Asks whether the plan is to be revised, and remembers the answer.
    async fn review(
        &mut self,
        with: &mut Reviser<'_>,
        calls: &Calls,
        course: &Course,
        ended: Vec<String>,
        marks: Vec<String>,
    ) -> Result<(), Failure> {
        let key = self.decision_key();
        let number = self.decisions + 1;
        let mut progress = Progress {
            so_far: self.outcome(calls, course).await?,
            ended,
            revisions_left: limits::PLAN_REVISIONS.saturating_sub(self.revisions),
            refused: None,
            catalogue: self.cx.catalogue().await?,
        };
        for question in 1..=limits::PLAN_REPAIRS {
            let occurrence = self.key.rsplit_once('#').map_or("", |(_, count)| count);
            let scope = self
                .cx
                .scope(&format!("{}#{occurrence}@{number}.{question}", self.name));
            let revised = with(scope, progress.clone()).await?;
            if let Some(plan) = &revised {
                if progress.revisions_left == 0 {
                    return Err(Failure::terminal("the plan was revised too often")
                        .with_kind(ErrorKind::LimitReached)
                        .with("limit", limits::PLAN_REVISIONS));
                }
                if let Err(findings) = progress.check(plan) {
                    progress.refused = Some(findings);
                    continue;
                }
            }
            let decision = self.decision(calls, course, marks, revised);
            self.decide(key, &decision).await?;
            self.adopt(decision);
            return Ok(());
        }
        Err(refused(progress.refused))
    }

    /// Puts a decision on record. Who brings the task back does not want to see calls again that stand for nothing any more.
    async fn decide(&self, key: String, decision: &Decision) -> Result<(), Failure> {
        let _working = self.cx.run.activity.work();
        let record = Record {
            lease: self.cx.run.lease(),
            at: self.cx.run.queue.clock.now(),
            key,
            kind: Kind::Plan,
            type_name: std::any::type_name::<Decision>(),
            value: Payload::encode(decision, limits::PAYLOAD_BYTES)?,
        };
        let over: Vec<String> = (decision.before.iter())
            .flat_map(|(id, made)| (self.before(id) + 1..=*made).map(move |number| (id, number)))
            .map(|(id, number)| self.call_key(id, number))
            .collect();
        let work = move |tx: &mut Tx<'_>| {
            journal::record(tx, &record)?;
            over.iter()
                .try_for_each(|key| cancel::let_go(tx, record.lease.task, key))
        };
        self.cx.run.tell(work).await?;
        Ok(())
    }

    fn decision(&self, calls: &Calls, course: &Course, seen: Vec<String>, plan: Option<Plan>) -> Decision {
        let mut before = BTreeMap::new();
        if let Some(revised) = &plan {
            before.clone_from(&self.before);
            for (node, standing) in self.plan.nodes.iter().zip(&course.standings) {
                let has_called = calls.get(&node.id).map_or(0, Vec::len);
                let stays = revised.node(&node.id) == Some(node);
                let is_over = match standing {
                    Standing::Failed(_) | Standing::Ready => !stays,
                    Standing::Pending | Standing::Running | Standing::Succeeded | Standing::Skipped(_) => false,
                };
                if is_over && has_called > 0 {
                    let made = self.before(&node.id) + u32::try_from(has_called).unwrap_or(u32::MAX);
                    before.insert(node.id.clone(), made);
                }
            }
        }
        Decision {
            v: VERSION,
            seen,
            plan,
            before,
        }
    }

    /// Calls what is ready, and waits until something has ended.
    async fn go_on(&mut self, calls: &Calls, course: &Course) -> Result<(), Failure> {
        let mut keys: Vec<String> = Vec::new();
        for (node, standing) in self.plan.nodes.iter().zip(&course.standings) {
            if *standing == Standing::Running {
                let made = u32::try_from(calls.get(&node.id).map_or(0, Vec::len)).unwrap_or(u32::MAX);
                keys.push(self.call_key(&node.id, self.before(&node.id) + made));
            }
        }
        let ready = queue(&self.plan, &self.graph, &self.order, &course.standings);
        let (mut new, mut is_away) = (Vec::new(), false);
        for place in ready {
            if keys.len() >= self.parallel {
                break;
            }
            let Some(node) = self.plan.nodes.get(place).cloned() else {
                continue;
            };
            let made = u32::try_from(calls.get(&node.id).map_or(0, Vec::len)).unwrap_or(u32::MAX);
            let key = self.call_key(&node.id, self.before(&node.id) + made + 1);
            let last = (made > 0).then(|| self.call_key(&node.id, self.before(&node.id) + made));
            match self.start(&node, &key, last).await? {
                Start::Call(wait, call) => {
                    self.ends.insert(key.clone(), call);
                    keys.push(key);
                    new.push(wait);
                }
                Start::Away => is_away = true,
                // What follows from that is decided first. Nothing has begun yet.
                Start::Failed => return Ok(()),
            }
        }
        if is_away {
            let key = format!("{}@route", self.key);
            new.extend(self.ask_later(&key));
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "a plan has nothing to do and has not ended").into());
        }
        self.cx.any_settled(&keys, new).await;
        Ok(())
    }

    /// What has become of the nodes so far, with all outputs.
    async fn outcome(&mut self, calls: &Calls, course: &Course) -> Result<Outcome, Failure> {
        let succeeded = self.plan.nodes.iter().zip(&course.standings);
        let succeeded = succeeded.filter(|(_, standing)| **standing == Standing::Succeeded);
        let succeeded: Vec<String> = succeeded.map(|(node, _)| node.id.clone()).collect();
        self.fetch(&succeeded, calls).await?;
        let report = |(node, standing): (&super::Node, &Standing)| {
            let last = calls.get(&node.id).and_then(|calls| calls.last());
            let mut report = Report {
                state: State::Pending,
                agent: last.and_then(|call| call.agent.clone()),
                task: last.and_then(|call| call.task),
                output: None,
                failure: None,
                skipped: None,
            };
            match standing {
                Standing::Pending | Standing::Ready => {}
                Standing::Running => report.state = State::Running,
                Standing::Succeeded => {
                    report.state = State::Succeeded;
                    report.output = self.outputs.get(&node.id).cloned();
                }
                Standing::Failed(failure) => {
                    report.state = State::Failed;
                    report.failure = Some(failure.clone());
                }
                Standing::Skipped(why) => {
                    report.state = State::Skipped;
                    report.skipped = Some(why.clone());
                }
            }
            (node.id.clone(), report)
        };
        Ok(Outcome {
            nodes: self.plan.nodes.iter().zip(&course.standings).map(report).collect(),
            plan: self.plan.clone(),
            revisions: self.revisions,
        })
    }
}

fn refused(findings: Option<Findings>) -> Failure {
    let failure =
        Failure::terminal("the revisions of the plan cannot be carried out").with_kind(ErrorKind::InvalidInput);
    match findings {
        Some(findings) => Failure::from(Error::from(findings)).with("revisions", limits::PLAN_REPAIRS),
        None => failure,
    }
}

async fn remember<T: Serialize>(cx: &Context, key: String, value: &T) -> Result<(), Failure> {
    let value = Payload::encode(value, limits::PAYLOAD_BYTES)?;
    cx.remember(key, Kind::Plan, std::any::type_name::<T>(), value).await
}
