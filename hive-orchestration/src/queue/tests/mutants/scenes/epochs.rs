//! Processes come and go.

use std::collections::HashSet;
use std::time::Duration;

use hive_core::db::Dialect;
use hive_errors::Result;

use super::super::super::super::{TaskRef, recover};
use super::super::stage::{Scene, Stage};
use super::{stays, tasks};

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("what a dead process ran goes on elsewhere", recovered),
        Scene::new("one's own runs are not taken for dead", own_stay),
        Scene::new("what another process took over meanwhile stays", recovered_meanwhile),
        Scene::new("what was claimed and not heard of is given back", given_back),
        Scene::new("what is not one's own any more is not given back", given_back_meanwhile),
        Scene::new("a heartbeat is one's own", beats),
        Scene::new("an end is one's own", ends),
        Scene::new("a process ends once", ends_once),
    ]
}

/// The epochs of a dead process, of another that lives, and the own.
fn epochs(stage: &mut Stage<'_, '_>) -> Result<[u64; 3]> {
    let own = stage.queue.epoch();
    stage.set("UPDATE instance SET ended_at = NULL, seen_at = 1 /* a scene's */", &[])?;
    let dead = own - 2;
    stage.set(
        "UPDATE instance SET ended_at = 5 WHERE epoch = ?1 /* a scene's */",
        &[&dead],
    )?;
    Ok([dead, own - 1, own])
}

/// A task that has this epoch, whatever its state.
fn of(stage: &mut Stage<'_, '_>, epoch: u64, state: i64) -> Result<TaskRef> {
    let task = stage.task(state)?;
    stage.set(
        "UPDATE task SET epoch = ?2 WHERE seq = ?1 /* a scene's */",
        &[&task.seq, &epoch],
    )?;
    Ok(task)
}

fn recovered(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [dead, other, own] = epochs(stage)?;
    let left = of(stage, dead, 2)?;
    let stay = [
        (2, of(stage, other, 2)?),
        (2, of(stage, own, 2)?),
        (3, of(stage, dead, 3)?),
    ];
    let queue = stage.queue.clone();
    let count = recover::recover(stage.tx, &queue, 10)?;
    stage.check("recovered", count, 1);
    stays(stage, &[(1, left)])?;
    stays(stage, &stay)
}

/// Others have taken this process for dead; it hears of it with its next heartbeat.
fn own_stay(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [_, _, own] = epochs(stage)?;
    stage.set("UPDATE instance SET ended_at = 5 /* a scene's */", &[])?;
    let task = of(stage, own, 2)?;
    let queue = stage.queue.clone();
    let count = recover::recover(stage.tx, &queue, 10)?;
    stage.check("recovered", count, 0);
    stays(stage, &[(2, task)])
}

/// Between the look and the lock.
fn recovered_meanwhile(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [dead, ..] = epochs(stage)?;
    let queue = stage.queue.clone();
    let claimed = of(stage, dead, 2)?;
    let change = [
        "AND NOT EXISTS",
        "correlation, epoch FROM task",
        "correlation, epoch - 1 FROM task",
    ];
    stage.stale(change, |stage| recover::recover(stage.tx, &queue, 10))?;
    stays(stage, &[(2, claimed.clone())])?;
    stage.set("DELETE FROM task WHERE seq = ?1 /* a scene's */", &[&claimed.seq])?;
    let mut others = Vec::new();
    for state in [0, 1, 3, 4, 5, 6, 7] {
        others.push((state, of(stage, dead, state)?));
    }
    let change = ["AND NOT EXISTS", "state = 2 AND epoch <> ?1", "epoch <> ?1"];
    stage.stale(change, |stage| recover::recover(stage.tx, &queue, 10))?;
    stays(stage, &others)
}

fn given_back(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [_, other, own] = epochs(stage)?;
    let (known, stray) = (of(stage, own, 2)?, of(stage, own, 2)?);
    let stay = [(2, of(stage, other, 2)?), (3, of(stage, own, 3)?), (2, known.clone())];
    let queue = stage.queue.clone();
    let count = recover::give_back(stage.tx, &queue, &HashSet::from([known.seq]))?;
    stage.check("given back", count, 1);
    stays(stage, &[(1, stray)])?;
    stays(stage, &stay)
}

fn given_back_meanwhile(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [_, other, own] = epochs(stage)?;
    let queue = stage.queue.clone();
    let mut stay = vec![(2, of(stage, other, 2)?)];
    for state in [0, 1, 3, 4, 5, 6, 7] {
        stay.push((state, of(stage, own, state)?));
    }
    let change = [
        "SELECT seq FROM task WHERE state = 2",
        "state = 2 AND epoch = ?1",
        "(epoch = ?1 OR true)",
    ];
    stage.stale(change, |stage| recover::give_back(stage.tx, &queue, &HashSet::new()))?;
    stays(stage, &stay)?;
    let ended = tasks(stage, &[4])?;
    stays(stage, &ended)
}

fn seen(stage: &Stage<'_, '_>, epoch: u64) -> Result<Option<i64>> {
    stage.number(
        "SELECT seen_at FROM instance WHERE epoch = ?1 /* a scene's */",
        &[&epoch],
    )
}

fn ended(stage: &Stage<'_, '_>, epoch: u64) -> Result<Option<i64>> {
    stage.number(
        "SELECT ended_at FROM instance WHERE epoch = ?1 /* a scene's */",
        &[&epoch],
    )
}

fn beats(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [_, other, own] = epochs(stage)?;
    let queue = stage.queue.clone();
    let is_alive = recover::beat(stage.tx, &queue)?;
    stage.check("alive", is_alive, true);
    let others = seen(stage, other)?;
    stage.check("the other's heartbeat", others, Some(1));
    stage.set(
        "UPDATE instance SET ended_at = 5 WHERE epoch = ?1 /* a scene's */",
        &[&own],
    )?;
    let is_alive = recover::beat(stage.tx, &queue)?;
    stage.check("alive after its end", is_alive, false);
    Ok(())
}

fn ends(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [_, other, own] = epochs(stage)?;
    let queue = stage.queue.clone();
    stage.undone(|stage| {
        recover::end_epoch(stage.tx, &queue)?;
        let (others, has_ended) = (ended(stage, other)?, ended(stage, own)?.is_some());
        stage.check("the other's end", others, None);
        stage.check("ended", has_ended, true);
        Ok(())
    })?;
    stage.set(
        "UPDATE instance SET ended_at = 5 WHERE epoch = ?1 /* a scene's */",
        &[&own],
    )?;
    recover::end_epoch(stage.tx, &queue)?;
    let at = ended(stage, own)?;
    stage.check("ended at", at, Some(5));
    Ok(())
}

fn ends_once(stage: &mut Stage<'_, '_>) -> Result<()> {
    let [dead, other, own] = epochs(stage)?;
    let queue = stage.queue.clone();
    stage.undone(|stage| {
        recover::end_silent(stage.tx, Duration::from_secs(1))?;
        let at = ended(stage, dead)?;
        stage.check("ended at", at, Some(5));
        let count = recover::end_silent(stage.tx, Duration::from_secs(1))?;
        stage.check("ended again", count, 0);
        Ok(())
    })?;
    // Where there is one process the next ends whatever was before.
    recover::begin_epoch(stage.tx, &queue)?;
    let (at, others) = (
        ended(stage, dead)?,
        [ended(stage, other)?.is_some(), ended(stage, own)?.is_some()],
    );
    stage.check("ended at", at, Some(5));
    stage.check("the others have ended", others, [stage.is_on(Dialect::Sqlite); 2]);
    Ok(())
}
