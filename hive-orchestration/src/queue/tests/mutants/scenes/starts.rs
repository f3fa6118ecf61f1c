//! What is started, and when.

use hive_core::clock::Timestamp;
use hive_core::db::Dialect;
use hive_errors::Result;

use super::super::super::super::claim::{Claims, claim};
use super::super::super::super::pick::Turns;
use super::super::super::super::{TaskRef, depth, submit};
use super::super::super::room;
use super::super::stage::{Scene, Stage};
use super::{FINAL, STATES, stays, tasks};
use crate::limits;
use crate::router::{Directory, Request, Route, Target, give_all};

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("only what is queued is claimed", only_queued),
        Scene::new("what is no longer queued is not claimed", no_longer_queued),
        Scene::new(
            "only what is queued goes before what is more urgent",
            only_queued_overtakes,
        ),
        Scene::new("only what is queued waits for a place", only_queued_waits),
        Scene::new("only what is scheduled becomes ready", only_scheduled),
        Scene::new("nothing is due where nothing waits", nothing_due),
        Scene::new("the next sibling that is held is let go", next_sibling),
        Scene::new("only what never ran goes to another agent", given_away),
        Scene::new("a router hears how much waits", waits),
    ]
}

fn claimed(stage: &mut Stage<'_, '_>, total: usize) -> Result<Claims> {
    let queue = stage.queue.clone();
    claim(stage.tx, &queue, &room(total), &Turns::default())
}

fn only_queued(stage: &mut Stage<'_, '_>) -> Result<()> {
    let others = tasks(stage, &[0, 2, 3, 4, 5, 6, 7])?;
    let queued = stage.task(1)?;
    let first = claimed(stage, 1)?.tasks;
    let seqs: Vec<i64> = first.iter().map(|claimed| claimed.task.seq).collect();
    stage.check("claimed", seqs, vec![queued.seq]);
    let second = claimed(stage, 20)?.tasks.len();
    stage.check("claimed then", second, 0);
    stays(stage, &others)
}

/// Another process takes them after the look. SQLite has one writer.
fn no_longer_queued(stage: &mut Stage<'_, '_>) -> Result<()> {
    if stage.is_on(Dialect::Sqlite) {
        return Ok(());
    }
    let others = tasks(stage, &[2, 3, 4, 5, 6, 7])?;
    let change = [
        "WITH RECURSIVE given",
        "WHERE state = 1 AND agent = lane.agent",
        "WHERE agent = lane.agent",
    ];
    // One that is ready shows the others' lane.
    let queued = stage.task(1)?;
    let seqs: Vec<i64> = stage
        .stale(change, |stage| claimed(stage, 20))?
        .tasks
        .iter()
        .map(|claimed| claimed.task.seq)
        .collect();
    stage.check("claimed", seqs, vec![queued.seq]);
    stays(stage, &others)
}

fn ready_now(stage: &mut Stage<'_, '_>) -> Result<TaskRef> {
    let (task, now) = (stage.task(1)?, stage.tx.now()?);
    stage.set(
        "UPDATE task SET run_at = ?2 WHERE seq = ?1 /* a scene's */",
        &[&task.seq, &now],
    )?;
    Ok(task)
}

/// Where there are more urgent ones than can be taken, those that are less so and have waited for long are asked for by themselves.
fn only_queued_overtakes(stage: &mut Stage<'_, '_>) -> Result<()> {
    let others = tasks(stage, &[2, 3, 4, 5, 6, 7])?;
    stage.set("UPDATE task SET priority = 0, run_at = 1 /* a scene's */", &[])?;
    let urgent = ready_now(stage)?;
    stage.set(
        "UPDATE task SET priority = 3 WHERE seq = ?1 /* a scene's */",
        &[&urgent.seq],
    )?;
    let first = claimed(stage, 1)?.tasks;
    let seqs: Vec<i64> = first.iter().map(|claimed| claimed.task.seq).collect();
    stage.check("claimed", seqs, vec![urgent.seq]);
    stays(stage, &others)
}

fn only_queued_waits(stage: &mut Stage<'_, '_>) -> Result<()> {
    tasks(stage, &[0, 2, 3, 4, 5, 6, 7])?;
    ready_now(stage)?;
    let depths = depth::depths(stage.tx, &["agent".to_owned()])?;
    let old = depths.iter().filter(|depth| depth.oldest > limits::AGING).count();
    stage.check("those that wait for long", old, 0);
    let count: u64 = depths.iter().map(|depth| depth.tasks).sum();
    stage.check("those that wait", count, 1);
    Ok(())
}

fn only_scheduled(stage: &mut Stage<'_, '_>) -> Result<()> {
    let others = tasks(stage, &[2, 3, 4, 5, 6, 7])?;
    let due = stage.task(0)?;
    stage.set("UPDATE task SET run_at = 1 WHERE seq = ?1 /* a scene's */", &[&due.seq])?;
    claimed(stage, 0)?;
    let state = stage.state(due.seq)?;
    stage.check("what is due", state, Some(1));
    stays(stage, &others)
}

fn nothing_due(stage: &mut Stage<'_, '_>) -> Result<()> {
    tasks(stage, &[1, 2, 3])?;
    for (_, ended) in tasks(stage, &FINAL)? {
        stage.set(
            "UPDATE task SET deadline = 1 WHERE seq = ?1 /* a scene's */",
            &[&ended.seq],
        )?;
    }
    let waiting = stage.task(3)?;
    for state in 1..5 {
        stage.entry(waiting.seq, &format!("sleep:{state}#1"), 3, state)?;
    }
    stage.set("UPDATE journal SET wake_at = 1 /* a scene's */", &[])?;
    let due = claimed(stage, 0)?.due_in;
    stage.check("what is due", due, None);
    Ok(())
}

fn next_sibling(stage: &mut Stage<'_, '_>) -> Result<()> {
    let parent = stage.task(3)?;
    let mut others = Vec::new();
    for (ordinal, state) in [(0, 1), (1, 2), (2, 3), (3, 6)] {
        others.push((state, stage.child(parent.seq, ordinal, state)?));
    }
    let next = stage.child(parent.seq, 4, 0)?;
    // One that was cancelled before its turn came.
    stage.set("UPDATE task SET run_at = ?1 /* a scene's */", &[&Timestamp::MAX])?;
    let queue = stage.queue.clone();
    submit::release_next(stage.tx, &queue, parent.seq, "c")?;
    let state = stage.state(next.seq)?;
    stage.check("the next", state, Some(1));
    stays(stage, &others)
}

fn given_away(stage: &mut Stage<'_, '_>) -> Result<()> {
    let mut never_ran = None;
    for (state, attempt) in [(1, 0), (1, 3), (0, 0), (2, 0), (3, 0), (6, 0)] {
        let task = stage.task(state)?;
        stage.set(
            "UPDATE task SET attempt = ?2 WHERE seq = ?1 /* a scene's */",
            &[&task.seq, &attempt],
        )?;
        let request = serde_json::to_string(&Request::new(Target::Agent("agent".to_owned()))).unwrap();
        stage.set(
            "INSERT INTO task_route (task, tenant, target, request) VALUES (?1, 'default', 'agent:agent', ?2)",
            &[&task.seq, &request],
        )?;
        never_ran.get_or_insert(task.seq);
    }
    stage.agent()?;
    let to = Route {
        agent: "other".to_owned(),
        version: semver::Version::new(1, 0, 0),
        target: Target::Agent("agent".to_owned()),
        strategy: "none".to_owned(),
        reasons: Vec::new(),
    };
    for (change, given) in [
        ("UPDATE task SET attempt = attempt /* a scene's */ WHERE seq = ?1", 1),
        ("UPDATE task SET state = 2 /* a scene's */ WHERE seq = ?1", 0),
        ("UPDATE task SET attempt = 1 /* a scene's */ WHERE seq = ?1", 0),
    ] {
        let (to, queue) = (to.clone(), stage.queue.clone());
        stage.undone(|stage| {
            let counts = give_all(stage.tx, &queue, "agent", &to, |tx| {
                tx.execute(change, &[&never_ran]).map(drop)
            })?;
            stage.check(change, counts, (1, given));
            Ok(())
        })?;
    }
    Ok(())
}

fn waits(stage: &mut Stage<'_, '_>) -> Result<()> {
    tasks(stage, &STATES)?;
    stage.agent()?;
    let directory = Directory::new(stage.queue.clock.clone());
    directory.hang(Directory::look(stage.tx)?);
    let queued: Vec<u64> = directory.candidates().iter().map(|one| one.queued).collect();
    stage.check("queued", queued, vec![1]);
    Ok(())
}
