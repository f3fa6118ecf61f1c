//! A plan that is being carried out: what is decided next, and done.

use std::collections::{BTreeMap, BTreeSet};

use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure};
use serde::Serialize;

use super::super::course::{Call, Calls, Course, Outputs, Standing, queue};
use super::super::graph::Graph;
use super::super::node::{Node, OnFailure, Plan};
use super::super::outcome::{Outcome, Report, State};
use super::super::revision::{Decision, Revise, Stored, VERSION};
use super::Reviser;
use super::start::Start;
use crate::context::{Context, Recall};
use crate::journal::Kind;
use crate::limits;

/// A plan that is being carried out, as far as the journal tells.
pub(super) struct Run<'a> {
    pub(super) cx: &'a Context,
    pub(super) name: &'a str,
    /// Its entry in the journal. Those of its nodes and revisions begin with it.
    pub(super) key: String,
    pub(super) plan: Plan,
    pub(super) graph: Graph,
    pub(super) order: Vec<usize>,
    /// How many calls were made for an id while it stood for something else.
    pub(super) before: BTreeMap<String, u32>,
    /// The marks of the ends that it was asked about whether the plan is to be revised.
    pub(super) seen: BTreeSet<String>,
    pub(super) decisions: u32,
    pub(super) revisions: u32,
    pub(super) parallel: usize,
    /// What is known of the ends of calls, by their keys.
    pub(super) ends: BTreeMap<String, Call>,
    /// Failures of nodes that could not be called and are not on record, because the plan fails with them.
    pub(super) uncalled: BTreeMap<String, Failure>,
    pub(super) outputs: Outputs,
}

impl<'a> Run<'a> {
    /// Finds the plan in the journal, or puts it there.
    pub(super) async fn begin(cx: &'a Context, name: &'a str, plan: Plan) -> Result<Self, Failure> {
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
    pub(super) fn decision_key(&self) -> String {
        format!("{}@{}", self.key, self.decisions + 1)
    }

    pub(super) fn call_key(&self, id: &str, number: u32) -> String {
        format!("{}/{id}~{number}", self.key)
    }

    pub(super) fn before(&self, id: &str) -> u32 {
        self.before.get(id).copied().unwrap_or(0)
    }

    pub(super) fn adopt(&mut self, decision: Decision) {
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

    pub(super) async fn finish(mut self, mut revise: Option<(Revise, Reviser<'_>)>) -> Result<Outcome, Failure> {
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

    /// The node with which the plan fails. While it may be revised, only one about which that was asked.
    pub(super) fn fatal(&self, calls: &Calls, course: &Course, is_revisable: bool) -> Option<(String, Failure)> {
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
    pub(super) async fn stop(&self, calls: &Calls) -> Result<(), Failure> {
        let _working = self.cx.run.activity.work();
        for (id, calls) in calls {
            if calls.last().is_some_and(|call| call.end.is_none()) {
                let number = self.before(id) + u32::try_from(calls.len()).unwrap_or(u32::MAX);
                self.cx
                    .cancel_rest(&self.call_key(id, number), "the plan that called it has ended")
                    .await?;
            }
        }
        Ok(())
    }

    /// Calls what is ready, and waits until something has ended.
    pub(super) async fn go_on(&mut self, calls: &Calls, course: &Course) -> Result<(), Failure> {
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
                    new.push(*wait);
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
        self.cx.any_settled(&keys, new).await?;
        Ok(())
    }

    /// What has become of the nodes so far, with all outputs.
    pub(super) async fn outcome(&mut self, calls: &Calls, course: &Course) -> Result<Outcome, Failure> {
        let succeeded = self.plan.nodes.iter().zip(&course.standings);
        let succeeded = succeeded.filter(|(_, standing)| **standing == Standing::Succeeded);
        let succeeded: Vec<String> = succeeded.map(|(node, _)| node.id.clone()).collect();
        self.fetch(&succeeded, calls).await?;
        let report = |(node, standing): (&Node, &Standing)| {
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

pub(super) async fn remember<T: Serialize>(cx: &Context, key: String, value: &T) -> Result<(), Failure> {
    let value = Payload::encode(value, limits::PAYLOAD_BYTES)?;
    let record = crate::journal::Record {
        lease: cx.run.lease(),
        at: cx.run.queue.clock.now(),
        key,
        kind: Kind::Plan,
        type_name: std::any::type_name::<T>(),
        value,
        also: None,
    };
    Ok(cx.run.remember(record).await?)
}
