//! The rows of workflows and their stages.

use hive_bus::NewEvent;
use hive_bus::catalog::{
    StageEnd, WorkflowCancelled, WorkflowFailed, WorkflowPlanned, WorkflowStageEnded, WorkflowStageStarted,
    WorkflowStarted, WorkflowSucceeded,
};
use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Kind, Set, Snapshot, Tx};
use hive_errors::{Error, ErrorKind, Failure, Result};

use super::{Stage, StageState, Step, Verb, Workflow, WorkflowQuery, WorkflowRecord, too_many, twice};
use crate::family::page::{OWN, Page};
use crate::family::{Owner, clipped, missing, refused};
use crate::limits;
use crate::task::TaskState;

const FAMILY: &str = "workflow";

/// One page of the workflows that are asked for.
pub(crate) fn list(db: &Snapshot<'_>, query: &WorkflowQuery) -> Result<Page<WorkflowRecord>> {
    let mut page = query.search().page(db, &query.narrow, |row, task| {
        Ok(WorkflowRecord {
            task,
            name: row.get(OWN)?,
            version: row.get(OWN + 1)?,
            stages: Vec::new(),
            changed_at: row.get(OWN + 2)?,
            started_at: row.get(OWN + 3)?,
            ended_at: row.get(OWN + 4)?,
        })
    })?;
    for (seq, workflow) in &mut page.records {
        workflow.stages = stages(db, *seq)?;
    }
    Ok(page.plain())
}

fn stages(db: &Snapshot<'_>, task: i64) -> Result<Vec<Stage>> {
    db.query(
        "SELECT s.name, s.state, s.started_at, s.ended_at,
                (SELECT child.id FROM task AS child
                 WHERE child.parent = s.task AND child.call = 'call:' || s.name || '#1' ORDER BY child.ordinal LIMIT 1)
         FROM task_stage AS s WHERE s.task = ?1 ORDER BY s.ordinal",
        &[&task],
        |row| {
            Ok(Stage {
                name: row.get(0)?,
                state: StageState::from_code(row.get(1)?)?,
                started_at: row.get(2)?,
                ended_at: row.get(3)?,
                task: row.get(4)?,
            })
        },
    )
}

static WORKFLOWS: Set = Set::insert(
    "task_workflow",
    &[
        ("task", Kind::Int),
        ("name", Kind::Text),
        ("version", Kind::Text),
        ("changed_at", Kind::Int),
    ],
);

static STAGES: Set = Set::insert(
    "task_stage",
    &[
        ("task", Kind::Int),
        ("ordinal", Kind::Int),
        ("name", Kind::Text),
        ("state", Kind::Int),
    ],
);

pub(in crate::family) fn attach(
    tx: &mut Tx<'_>,
    workflows: &[(&Owner, &Workflow)],
    now: Timestamp,
) -> Result<Vec<NewEvent>> {
    let (mut rows, mut stages, mut events) = (Vec::with_capacity(workflows.len()), Vec::new(), Vec::new());
    for (owner, workflow) in workflows {
        rows.push([
            Cell::Int(owner.seq),
            Cell::of(&workflow.name),
            Cell::of(&workflow.version),
            Cell::of(&now),
        ]);
        stages.extend(pending(owner.seq, 0, &workflow.stages));
        if !workflow.stages.is_empty() {
            events.push(planned(owner, &workflow.name, workflow.stages.len(), None)?);
        }
    }
    tx.insert_all(&WORKFLOWS, &rows)?;
    tx.insert_all(&STAGES, &stages)?;
    Ok(events)
}

fn pending(task: i64, first: u64, stages: &[String]) -> impl Iterator<Item = [Cell; 4]> {
    (first..).zip(stages).map(move |(ordinal, name)| {
        [
            Cell::Int(task),
            Cell::of(&ordinal),
            Cell::of(name),
            Cell::Int(StageState::Pending.code()),
        ]
    })
}

fn planned(owner: &Owner, workflow: &str, stages: usize, planner: Option<String>) -> Result<NewEvent> {
    owner.event(&WorkflowPlanned {
        task: owner.id,
        workflow: workflow.to_owned(),
        tasks: u32::try_from(stages).unwrap_or(u32::MAX),
        planner,
    })
}

/// Where a stage goes from here; `None` when it does not.
pub(in crate::family) fn next(state: StageState, step: &Step) -> Option<StageState> {
    match (step, state) {
        (Step::Start, StageState::Pending | StageState::Failed) => Some(StageState::Running),
        (Step::Complete, StageState::Running) => Some(StageState::Completed),
        (Step::Fail(_), StageState::Running) => Some(StageState::Failed),
        (Step::Skip, StageState::Pending) => Some(StageState::Skipped),
        (Step::Start, StageState::Running | StageState::Completed | StageState::Skipped)
        | (
            Step::Complete | Step::Fail(_),
            StageState::Pending | StageState::Completed | StageState::Failed | StageState::Skipped,
        )
        | (Step::Skip, StageState::Running | StageState::Completed | StageState::Failed | StageState::Skipped) => None,
    }
}

impl Verb {
    pub(in crate::family) fn apply(&self, tx: &mut Tx<'_>, owner: &Owner, now: Timestamp) -> Result<Vec<NewEvent>> {
        let known = tx.query_opt(
            "SELECT name, started_at, ended_at FROM task_workflow WHERE task = ?1",
            &[&owner.seq],
            |row| {
                let (started, ended) = (row.get::<Option<Timestamp>>(1)?, row.get::<Option<Timestamp>>(2)?);
                Ok((row.get::<String>(0)?, started.is_some(), ended.is_some()))
            },
        )?;
        let (name, is_started, has_ended) = known.ok_or_else(|| missing(FAMILY))?;
        if has_ended {
            return Err(refused(FAMILY, &self.name(), "ended")
                .with_hint("it ends with its last stage: plan further ones before that"));
        }
        match self {
            Self::Plan(stages) => plan(tx, owner, &name, stages, now),
            Self::Stage(stage, step) => {
                let mut events = go(tx, owner, &name, stage, step, now)?;
                if !is_started {
                    tx.execute(
                        "UPDATE task_workflow SET started_at = ?2 WHERE task = ?1",
                        &[&owner.seq, &now],
                    )?;
                    let (task, workflow) = (owner.id, name);
                    events.insert(0, owner.event(&WorkflowStarted { task, workflow })?);
                }
                Ok(events)
            }
        }
    }
}

/// Puts these stages in the place of those that have not begun.
fn plan(tx: &mut Tx<'_>, owner: &Owner, name: &str, wanted: &[String], now: Timestamp) -> Result<Vec<NewEvent>> {
    tx.execute("DELETE FROM task_stage WHERE task = ?1 AND state = 0", &[&owner.seq])?;
    let begun = stages(tx, owner.seq)?;
    if let Some(stage) = wanted
        .iter()
        .find(|wanted| begun.iter().any(|stage| stage.name == **wanted))
    {
        return Err(twice(stage).with_hint("a stage that has begun is not planned again"));
    }
    let count = begun.len() + wanted.len();
    if count > limits::STAGES {
        return Err(too_many(count));
    }
    let last = tx.query_one(
        "SELECT max(ordinal) FROM task_stage WHERE task = ?1",
        &[&owner.seq],
        |row| row.get::<Option<u64>>(0),
    )?;
    let first = last.map_or(0, |last| last.saturating_add(1));
    tx.insert_all(&STAGES, &pending(owner.seq, first, wanted).collect::<Vec<_>>())?;
    changed(tx, owner, now, None)?;
    Ok(vec![planned(owner, name, count, Some(owner.agent.clone()))?])
}

/// Takes a stage a step on.
fn go(tx: &mut Tx<'_>, owner: &Owner, name: &str, stage: &str, step: &Step, now: Timestamp) -> Result<Vec<NewEvent>> {
    let mut all = stages(tx, owner.seq)?;
    let Some(known) = all.iter_mut().find(|known| known.name == stage) else {
        return Err(Error::new(ErrorKind::NotFound, "the workflow has no such stage")
            .with("workflow", name)
            .with("stage", format!("{:.80}", stage.escape_debug())));
    };
    let Some(state) = next(known.state, step) else {
        return Err(refused(FAMILY, step.name(), format!("{:?}", known.state)).with("stage", stage));
    };
    known.state = state;
    let (task, workflow) = (owner.id, name.to_owned());
    let end = match state {
        StageState::Pending | StageState::Running => None,
        StageState::Completed => Some(StageEnd::Completed),
        StageState::Failed => Some(StageEnd::Failed),
        StageState::Skipped => Some(StageEnd::Skipped),
    };
    let Some(end) = end else {
        tx.execute(
            "UPDATE task_stage SET state = ?3, started_at = ?4, ended_at = NULL WHERE task = ?1 AND name = ?2",
            &[&owner.seq, &stage, &state.code(), &now],
        )?;
        changed(tx, owner, now, None)?;
        let stage = stage.to_owned();
        return Ok(vec![owner.event(&WorkflowStageStarted { task, workflow, stage })?]);
    };
    tx.execute(
        "UPDATE task_stage SET state = ?3, ended_at = ?4 WHERE task = ?1 AND name = ?2",
        &[&owner.seq, &stage, &state.code(), &now],
    )?;
    let ended = all.iter().filter(|stage| stage.state.has_ended()).count();
    let is_over = ended == all.len();
    changed(tx, owner, now, is_over.then_some(now))?;
    let mut events = vec![owner.event(&WorkflowStageEnded {
        task,
        workflow,
        stage: stage.to_owned(),
        end,
        ended: u32::try_from(ended).unwrap_or(u32::MAX),
        stages: u32::try_from(all.len()).unwrap_or(u32::MAX),
    })?];
    if is_over {
        events.push(over(owner, name, &all, step)?);
    }
    Ok(events)
}

/// The event of a workflow whose last stage has ended, by `step`.
fn over(owner: &Owner, name: &str, all: &[Stage], step: &Step) -> Result<NewEvent> {
    let (task, workflow) = (owner.id, name.to_owned());
    let Some(failed) = all.iter().find(|stage| stage.state == StageState::Failed) else {
        return owner.event(&WorkflowSucceeded { task, workflow });
    };
    let (code, message) = match step {
        Step::Fail(failure) => (failure.kind().code(), clipped(failure.message())),
        Step::Start | Step::Complete | Step::Skip => (
            ErrorKind::AgentFailed.code(),
            format!("the stage {} has failed", failed.name),
        ),
    };
    owner.event(&WorkflowFailed {
        task,
        workflow,
        code: code.to_owned(),
        message,
    })
}

fn changed(tx: &mut Tx<'_>, owner: &Owner, now: Timestamp, ended: Option<Timestamp>) -> Result<()> {
    tx.execute(
        "UPDATE task_workflow SET changed_at = ?2, ended_at = ?3 WHERE task = ?1",
        &[&owner.seq, &now, &ended],
    )?;
    Ok(())
}

/// What is told when the task ends without an output before the workflow has come to its end.
pub(in crate::family) fn left(
    owner: &Owner,
    workflow: String,
    state: TaskState,
    failure: &Failure,
) -> Result<NewEvent> {
    let task = owner.id;
    if state == TaskState::Cancelled {
        let reason = failure.field("reason").map(str::to_owned);
        return owner.event(&WorkflowCancelled { task, workflow, reason });
    }
    owner.event(&WorkflowFailed {
        task,
        workflow,
        code: failure.kind().code().to_owned(),
        message: clipped(failure.message()),
    })
}
