//! How tasks end, what follows from that, and how they come back.

use hive_core::clock::Timestamp;
use hive_errors::{ErrorKind, Result};

use super::super::super::super::finish::{self, Finished, How};
use super::super::super::super::{admin, cancel, finish::finish_all};
use super::super::stage::{Scene, Stage, value};
use super::{FINAL, cancelled, stays, tasks};

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("what has ended is not cancelled", ended_stays),
        Scene::new("cancelling reaches those below that go on", below),
        Scene::new("what has ended is not late", not_late),
        Scene::new("what ends meanwhile is not late", not_late_meanwhile),
        Scene::new("a child's end counts while its caller waits for it", counts),
        Scene::new("only what ended without an output comes back", comes_back),
        Scene::new(
            "a task comes back with those below it that have no output",
            comes_back_with,
        ),
        Scene::new("a failure that was taken for a value stands", value_stands),
        Scene::new("what goes on is not let be forgotten", remembered),
        Scene::new("a child is kept while its caller goes on", kept),
    ]
}

fn events(stage: &Stage<'_, '_>) -> Result<Option<i64>> {
    stage.number("SELECT count(*) FROM event", &[])
}

fn ended_stays(stage: &mut Stage<'_, '_>) -> Result<()> {
    let ended = tasks(stage, &FINAL)?;
    for (_, task) in &ended {
        let is_new = cancelled(stage, task)?;
        stage.check("cancelled", is_new, false);
    }
    stays(stage, &ended)
}

fn below(stage: &mut Stage<'_, '_>) -> Result<()> {
    let parent = stage.task(3)?;
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    for state in 0..4 {
        live.push((6, stage.child(parent.seq, state, state)?));
    }
    for state in FINAL {
        ended.push((state, stage.child(parent.seq, state, state)?));
    }
    stage.undone(|stage| {
        cancelled(stage, &parent)?;
        stays(stage, &live)?;
        stays(stage, &ended)
    })?;
    // A run that gives up a call, and goes on.
    stage.set(
        "UPDATE task SET state = 2, epoch = ?2 WHERE seq = ?1 /* a scene's */",
        &[&parent.seq, &stage.queue.epoch()],
    )?;
    let (queue, lease) = (stage.queue.clone(), stage.lease(&parent));
    cancel::siblings(stage.tx, &queue, lease, "c", "another failed")?;
    stays(stage, &[(2, parent)])?;
    stays(stage, &live)?;
    stays(stage, &ended)
}

fn late(stage: &mut Stage<'_, '_>) -> Result<()> {
    let queue = stage.queue.clone();
    stage.set("UPDATE task SET deadline = 1 /* a scene's */", &[])?;
    finish::expire(stage.tx, &queue, Timestamp::from_micros(2))
}

fn not_late(stage: &mut Stage<'_, '_>) -> Result<()> {
    let (ended, open) = (tasks(stage, &FINAL)?, tasks(stage, &[0, 1, 2, 3])?);
    late(stage)?;
    stays(stage, &ended)?;
    let open: Vec<_> = open.into_iter().map(|(_, task)| (5, task)).collect();
    stays(stage, &open)
}

/// With its caller, or because another process was quicker.
fn not_late_meanwhile(stage: &mut Stage<'_, '_>) -> Result<()> {
    let parent = stage.task(3)?;
    let child = stage.child(parent.seq, 0, 1)?;
    stage.undone(|stage| {
        late(stage)?;
        stays(stage, &[(5, parent), (6, child)])
    })?;
    let ended = tasks(stage, &FINAL)?;
    let change = ["ORDER BY deadline", "state < 4 AND", ""];
    stage.stale(change, late)?;
    stays(stage, &ended)
}

fn counts(stage: &mut Stage<'_, '_>) -> Result<()> {
    for (state, remaining) in [(0, 4), (1, 5), (2, 5), (3, 5), (4, 5)] {
        let parent = stage.task(3)?;
        stage.entry(parent.seq, "c", 5, state)?;
        stage.set(
            "UPDATE journal SET remaining = 5 WHERE task = ?1 /* a scene's */",
            &[&parent.seq],
        )?;
        let child = stage.child(parent.seq, 0, 2)?;
        let end = Finished {
            lease: stage.lease(&child),
            how: How::output(&child, value())?,
            task: child,
        };
        let queue = stage.queue.clone();
        let lost = finish_all(stage.tx, &queue, &[end])?;
        stage.check("lost", lost, 0);
        let is = stage.number(
            "SELECT remaining FROM journal WHERE task = ?1 /* a scene's */",
            &[&parent.seq],
        )?;
        stage.check(
            format!("what remains of the entry in state {state}"),
            is,
            Some(remaining),
        );
    }
    Ok(())
}

fn comes_back(stage: &mut Stage<'_, '_>) -> Result<()> {
    let queue = stage.queue.clone();
    let others = tasks(stage, &[0, 1, 2, 3, 4])?;
    for (state, task) in &others {
        let result = admin::redrive(stage.tx, &queue, task.id);
        stage.refused(format!("a task in state {state}"), result, ErrorKind::Conflict);
    }
    stays(stage, &others)?;
    for (_, task) in tasks(stage, &[5, 6, 7])? {
        admin::redrive(stage.tx, &queue, task.id)?;
        stays(stage, &[(1, task)])?;
    }
    Ok(())
}

fn comes_back_with(stage: &mut Stage<'_, '_>) -> Result<()> {
    let parent = stage.task(7)?;
    stage.entry(parent.seq, "c", 5, 2)?;
    for state in 0..5 {
        stage.entry(parent.seq, &format!("step:{state}#1"), 0, state)?;
    }
    let mut children = vec![(4, stage.child(parent.seq, 0, 4)?)];
    children.push((1, stage.child(parent.seq, 1, 6)?));
    children.push((1, stage.child(parent.seq, 2, 7)?));
    let queue = stage.queue.clone();
    admin::redrive(stage.tx, &queue, parent.id)?;
    stays(stage, &children)?;
    let remaining = stage.number("SELECT remaining FROM journal WHERE key = 'c'", &[])?;
    stage.check("what remains", remaining, Some(2));
    let kept = stage.number("SELECT count(*) FROM journal WHERE kind = 0", &[])?;
    stage.check("steps that are remembered", kept, Some(2));
    Ok(())
}

fn value_stands(stage: &mut Stage<'_, '_>) -> Result<()> {
    for (state, comes) in [(0, 1), (1, 5), (2, 5)] {
        let parent = stage.task(7)?;
        stage.entry(parent.seq, "c", 15, state)?;
        let child = stage.child(parent.seq, 0, 5)?;
        let queue = stage.queue.clone();
        admin::redrive(stage.tx, &queue, parent.id)?;
        stays(stage, &[(comes, child)])?;
    }
    Ok(())
}

fn forget(stage: &mut Stage<'_, '_>) -> Result<usize> {
    stage.set("UPDATE task SET finished_at = 1 /* a scene's */", &[])?;
    admin::forget(stage.tx, Timestamp::from_micros(2), 100)
}

fn remembered(stage: &mut Stage<'_, '_>) -> Result<()> {
    let live = tasks(stage, &[0, 1, 2, 3])?;
    tasks(stage, &FINAL)?;
    let gone = forget(stage)?;
    stage.check("gone", gone, 4);
    stays(stage, &live)
}

fn kept(stage: &mut Stage<'_, '_>) -> Result<()> {
    let before = events(stage)?;
    let (live, ended) = (stage.task(3)?, stage.task(5)?);
    let kept = stage.child(live.seq, 0, 4)?;
    let gone = stage.child(ended.seq, 0, 4)?;
    let count = forget(stage)?;
    stage.check("gone", count, 2);
    let is = stage.state(gone.seq)?;
    stage.check("a child of one that has ended", is, None);
    stays(stage, &[(3, live), (4, kept)])?;
    let after = events(stage)?;
    // Events have a retention of their own.
    stage.check("events", after, before);
    Ok(())
}
