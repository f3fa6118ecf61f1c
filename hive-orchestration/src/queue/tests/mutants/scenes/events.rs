//! Waits for events: who is found, who is told, who is passed over.

use hive_bus::Sequence;
use hive_core::clock::Timestamp;
use hive_errors::Result;

use super::super::super::super::event::{self, Hit};
use super::super::super::fences::awaited;
use super::super::stage::{Scene, Stage, value};
use super::STATES;
use crate::queue::TaskRef;

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("only who waits is found by an event", found),
        Scene::new("only what is waited for is looked for", looked_for),
        Scene::new("how far the log was looked through is noted for who waits", advanced),
        Scene::new("who was told meanwhile stays so", told_meanwhile),
    ]
}

/// A task with a wait for an event in each of the states, and something else that is open.
fn waits(stage: &mut Stage<'_, '_>, state: i64, states: &[i64]) -> Result<TaskRef> {
    let task = stage.task(state)?;
    for state in states {
        stage.entry(task.seq, &format!("event:{state}#1"), 8, *state)?;
    }
    let awaited = awaited();
    stage.set(
        "UPDATE journal SET event_shape = ?2, event_probe = ?3, event_after = 5 - state, at = 10 - state
         WHERE task = ?1 /* a scene's */",
        &[&task.seq, &awaited.shape, &awaited.probe],
    )?;
    stage.entry(task.seq, "wait:other#1", 4, 0)?;
    Ok(task)
}

fn hit() -> Hit {
    let awaited = awaited();
    Hit {
        shape: awaited.shape,
        probe: awaited.probe,
        sequence: Sequence::new(9),
        value: value(),
    }
}

fn keys<T>(found: &[T], key: impl Fn(&T) -> &str) -> Vec<String> {
    found.iter().map(|one| key(one).to_owned()).collect()
}

fn found(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = waits(stage, 3, &[0, 1, 2, 3, 4])?;
    let found = event::waiting(stage.tx, &[hit()])?;
    stage.check("found", keys(&found, |wait| &wait.key), vec!["event:0#1".to_owned()]);
    let queue = stage.queue.clone();
    event::settle(stage.tx, &queue, &found)?;
    for (state, should) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4)] {
        let is = stage.entry_state(task.seq, &format!("event:{state}#1"))?;
        stage.check(format!("the wait in state {state}"), is, Some(should));
    }
    let is = stage.state(task.seq)?;
    stage.check("the task", is, Some(1));
    Ok(())
}

fn looked_for(stage: &mut Stage<'_, '_>) -> Result<()> {
    waits(stage, 3, &[0, 1, 2, 3, 4])?;
    let shapes = event::shapes(stage.tx, "")?;
    stage.check("shapes", shapes, vec![(awaited().shape, Sequence::new(5))]);
    let begun = event::begun(stage.tx, (Timestamp::EPOCH, 0, ""))?;
    stage.check("begun", keys(&begun, |wait| &wait.key), vec!["event:0#1".to_owned()]);
    let through = event::looked_through(stage.tx)?;
    stage.check("looked through", through, Some(Sequence::new(5)));
    Ok(())
}

/// Where each of the waits stands.
fn places(stage: &Stage<'_, '_>, task: i64) -> Result<Vec<i64>> {
    stage.tx.query(
        "SELECT event_after FROM journal /* a scene's */ WHERE task = ?1 AND event_shape IS NOT NULL ORDER BY key",
        &[&task],
        |row| row.get(0),
    )
}

fn advanced(stage: &mut Stage<'_, '_>) -> Result<()> {
    let queue = stage.queue.clone();
    for state in STATES {
        stage.undone(|stage| {
            let task = waits(stage, state, &[0, 1, 2, 3, 4])?;
            let moved = event::advance(stage.tx, &queue, Sequence::new(7), Timestamp::MAX)?;
            stage.check(format!("moved, of a task in state {state}"), moved, 1);
            let (is, places) = (stage.entry_state(task.seq, "event:0#1")?, places(stage, task.seq)?);
            // Whose task has ended waits no more.
            let (should, place) = if state < 4 { (0, 7) } else { (1, 5) };
            stage.check(format!("the wait of a task in state {state}"), is, Some(should));
            stage.check(
                format!("the places, of a task in state {state}"),
                places,
                vec![place, 4, 3, 2, 1],
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// Somebody settles the wait between the look and the note.
fn told_meanwhile(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = waits(stage, 3, &[1])?;
    let queue = stage.queue.clone();
    stage.stale(["event_after < ?1 AND at < ?2", "state = 0", "state = 1"], |stage| {
        event::advance(stage.tx, &queue, Sequence::new(7), Timestamp::MAX)
    })?;
    let places = places(stage, task.seq)?;
    stage.check("the place", places, vec![4]);
    Ok(())
}
