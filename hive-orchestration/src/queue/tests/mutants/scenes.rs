//! What must and must not happen to tasks in every state, one short scene after another.

mod ends;
mod epochs;
mod events;
mod limits;
mod looks;
mod starts;
mod waits;

use hive_errors::{ErrorKind, Result};

use super::super::super::{TaskRef, cancel};
use super::super::fences::{VERBS, Verb, prepare, written};
use super::stage::{Scene, Stage};
use crate::lease::Lease;

/// Of a task.
const STATES: [i64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const FINAL: [i64; 4] = [4, 5, 6, 7];

pub(super) fn all() -> Vec<Scene> {
    let mut all: Vec<Scene> = VERBS
        .into_iter()
        .map(|(name, verb)| Scene::new(name, move |stage| may_not(stage, verb)))
        .collect();
    all.extend(starts::all());
    all.extend(waits::all());
    all.extend(ends::all());
    all.extend(epochs::all());
    all.extend(events::all());
    all.extend(limits::all());
    all.extend(looks::all());
    all
}

/// A zombie of another attempt, one of another process, and one whose task is no longer running: none writes a row.
fn may_not(stage: &mut Stage<'_, '_>, verb: Verb) -> Result<()> {
    let task = stage.task(2)?;
    let (lease, queue) = (stage.lease(&task), stage.queue.clone());
    prepare(stage.tx, &queue, lease, &task)?;
    let mut zombies = Vec::new();
    for attempt in [lease.attempt - 1, lease.attempt + 1] {
        zombies.push((Lease { attempt, ..lease }, 2));
    }
    for epoch in [0, lease.epoch - 1, lease.epoch + 1] {
        zombies.push((Lease { epoch, ..lease }, 2));
    }
    zombies.extend(
        STATES
            .into_iter()
            .filter(|state| *state != 2)
            .map(|state| (lease, state)),
    );
    for (zombie, state) in zombies {
        stage.undone(|stage| zombie_may_not(stage, verb, zombie, &task, state))?;
    }
    Ok(())
}

fn zombie_may_not(stage: &mut Stage<'_, '_>, verb: Verb, zombie: Lease, task: &TaskRef, state: i64) -> Result<()> {
    stage.set(
        "UPDATE task SET state = ?2 WHERE seq = ?1 /* a scene's */",
        &[&task.seq, &state],
    )?;
    let before = written(stage.tx)?;
    let queue = stage.queue.clone();
    let result = verb(stage.tx, &queue, zombie, task);
    stage.refused(format!("{zombie:?}, state {state}"), result, ErrorKind::LeaseLost);
    let after = written(stage.tx)?;
    stage.check("what is written", after, before);
    Ok(())
}

/// A task and its states before and after.
fn stays(stage: &mut Stage<'_, '_>, tasks: &[(i64, TaskRef)]) -> Result<()> {
    for (state, task) in tasks {
        let is = stage.state(task.seq)?;
        stage.check(format!("the task in state {state}"), is, Some(*state));
    }
    Ok(())
}

/// A task in each of these states.
fn tasks(stage: &mut Stage<'_, '_>, states: &[i64]) -> Result<Vec<(i64, TaskRef)>> {
    states.iter().map(|state| Ok((*state, stage.task(*state)?))).collect()
}

fn cancelled(stage: &mut Stage<'_, '_>, task: &TaskRef) -> Result<bool> {
    let queue = stage.queue.clone();
    cancel::cancel(stage.tx, &queue, task.id)
}
