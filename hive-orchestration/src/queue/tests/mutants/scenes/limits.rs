//! What counts against a limit.

use hive_core::clock::Timestamp;
use hive_errors::Result;

use super::super::super::super::claim::claim;
use super::super::super::super::pick::Turns;
use super::super::super::super::{TaskRef, flow};
use super::super::super::room;
use super::super::stage::{Scene, Stage};
use super::tasks;
use crate::flow::{Limit, Rate, Subject};

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("a new limit counts what runs", counts_runs),
        Scene::new("what runs is what is told of a limit", told),
        Scene::new("only what runs takes a place", takes_place),
        Scene::new("what runs keeps its place for as long as it runs", keeps_place),
        Scene::new("only what is ready goes on first", goes_on_first),
    ]
}

/// One run at a time.
fn limit(stage: &mut Stage<'_, '_>) -> Result<()> {
    let queue = stage.queue.clone();
    flow::limit(stage.tx, &queue, &Subject::All, &Limit::new().concurrency(1))
}

fn places(stage: &Stage<'_, '_>) -> Result<Option<i64>> {
    stage.number("SELECT count(*) FROM flow_run /* a scene's */", &[])
}

/// The run goes on; it waits; it has ended and another of the same task has begun.
fn lives(stage: &mut Stage<'_, '_>, part: impl Fn(&mut Stage<'_, '_>, bool) -> Result<()>) -> Result<()> {
    let run: TaskRef = stage.task(2)?;
    limit(stage)?;
    for (state, attempt, goes_on) in [(2, 3, true), (3, 3, false), (2, 4, false)] {
        stage.undone(|stage| {
            stage.set(
                "UPDATE task SET state = ?2, attempt = ?3 WHERE seq = ?1 /* a scene's */",
                &[&run.seq, &state, &attempt],
            )?;
            part(stage, goes_on)
        })?;
    }
    Ok(())
}

fn counts_runs(stage: &mut Stage<'_, '_>) -> Result<()> {
    tasks(stage, &super::STATES)?;
    limit(stage)?;
    let runs = places(stage)?;
    stage.check("places", runs, Some(1));
    Ok(())
}

fn told(stage: &mut Stage<'_, '_>) -> Result<()> {
    lives(stage, |stage, goes_on| {
        let running: u64 = flow::limited(stage.tx)?.iter().map(|one| one.running).sum();
        stage.check("running", running, u64::from(goes_on));
        Ok(())
    })
}

fn takes_place(stage: &mut Stage<'_, '_>) -> Result<()> {
    lives(stage, |stage, goes_on| {
        stage.task(1)?;
        let queue = stage.queue.clone();
        let begun = claim(stage.tx, &queue, &room(5), &Turns::default())?.tasks.len();
        stage.check("begun", begun, usize::from(!goes_on));
        let taken = places(stage)?;
        stage.check("places", taken, Some(1));
        Ok(())
    })
}

fn keeps_place(stage: &mut Stage<'_, '_>) -> Result<()> {
    lives(stage, |stage, goes_on| {
        stage.set("UPDATE flow_use SET used_at = 0 /* a scene's */", &[])?;
        flow::uses::sweep(stage.tx, Timestamp::from_micros(1_000_000_000_000))?;
        let taken = places(stage)?;
        stage.check("places", taken, Some(i64::from(goes_on)));
        Ok(())
    })
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
