//! What counts against a limit.

use hive_errors::Result;

use super::super::super::super::claim::claim;
use super::super::super::super::flow;
use super::super::super::super::pick::Turns;
use super::super::super::room;
use super::super::stage::{Scene, Stage};
use super::tasks;
use crate::flow::{Limit, Rate, Subject};

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("what runs is what is told of a limit", told),
        Scene::new("only what runs takes a place", takes_place),
        Scene::new("only what is ready goes on first", goes_on_first),
    ]
}

/// One run at a time.
fn limit(stage: &mut Stage<'_, '_>) -> Result<()> {
    let queue = stage.queue.clone();
    flow::limit(stage.tx, &queue, &Subject::All, &Limit::new().concurrency(1))
}

fn told(stage: &mut Stage<'_, '_>) -> Result<()> {
    tasks(stage, &super::STATES)?;
    limit(stage)?;
    let running: u64 = flow::limited(stage.tx)?.iter().map(|one| one.running).sum();
    stage.check("running", running, 1);
    Ok(())
}

fn takes_place(stage: &mut Stage<'_, '_>) -> Result<()> {
    limit(stage)?;
    for state in super::STATES.into_iter().filter(|state| *state != 1) {
        stage.undone(|stage| {
            stage.task(state)?;
            stage.task(1)?;
            let queue = stage.queue.clone();
            let begun = claim(stage.tx, &queue, &room(5), &Turns::default())?.tasks.len();
            stage.check(
                format!("begun beside a task in state {state}"),
                begun,
                usize::from(state != 2),
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// What goes on after a wait comes before what begins.
fn goes_on_first(stage: &mut Stage<'_, '_>) -> Result<()> {
    let others = tasks(stage, &[2, 3, 4])?;
    stage.set("UPDATE task SET resumed = 1 /* a scene's */", &[])?;
    for (_, task) in &others {
        stage.set("UPDATE task SET epoch = 0 WHERE seq = ?1 /* a scene's */", &[&task.seq])?;
    }
    let resumed = stage.task(1)?;
    stage.set(
        "UPDATE task SET resumed = 1 WHERE seq = ?1 /* a scene's */",
        &[&resumed.seq],
    )?;
    let queue = stage.queue.clone();
    flow::limit(
        stage.tx,
        &queue,
        &Subject::EachTenant,
        &Limit::new().rate(Rate::new(1, std::time::Duration::from_secs(60))),
    )?;
    let begun = claim(stage.tx, &queue, &room(1), &Turns::default())?.tasks;
    let seqs: Vec<i64> = begun.iter().map(|claimed| claimed.task.seq).collect();
    stage.check("begun", seqs, vec![resumed.seq]);
    super::stays(stage, &others)
}
