//! It is asked whether a plan is to be revised, and the answer is put on record.

use std::collections::BTreeMap;

use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure};

use super::super::course::{Calls, Course, Standing};
use super::super::finding::Findings;
use super::super::node::Plan;
use super::super::revision::{Decision, Progress, Revise, VERSION};
use super::Reviser;
use super::run::Run;
use crate::journal::{self, Kind, Record};
use crate::limits;
use crate::queue::cancel;

impl Run<'_> {
    /// The nodes that have ended since it was asked last whether the plan is to be revised, and the marks of these ends.
    pub(super) fn news(&self, when: Revise, calls: &Calls, course: &Course) -> (Vec<String>, Vec<String>) {
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
    pub(super) async fn review(
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
    pub(super) async fn decide(&self, key: String, decision: &Decision) -> Result<(), Failure> {
        let _working = self.cx.run.activity.work();
        let record = Record {
            lease: self.cx.run.lease(),
            at: self.cx.run.queue.clock.now(),
            key,
            kind: Kind::Plan,
            type_name: std::any::type_name::<Decision>(),
            value: Payload::encode(decision, limits::PAYLOAD_BYTES)?,
            also: None,
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

    pub(super) fn decision(&self, calls: &Calls, course: &Course, seen: Vec<String>, plan: Option<Plan>) -> Decision {
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
}

fn refused(findings: Option<Findings>) -> Failure {
    let failure =
        Failure::terminal("the revisions of the plan cannot be carried out").with_kind(ErrorKind::InvalidInput);
    match findings {
        Some(findings) => Failure::from(Error::from(findings)).with("revisions", limits::PLAN_REPAIRS),
        None => failure,
    }
}
