//! What is waited for, and how it comes about.

use hive_bus::Sequence;
use hive_bus::catalog::TaskWaiting;
use hive_core::clock::Timestamp;
use hive_core::db::Dialect;
use hive_errors::{ErrorKind, Result};

use super::super::super::super::claim::claim;
use super::super::super::super::pick::Turns;
use super::super::super::super::{budget, people, post, read, wait};
use super::super::super::room;
use super::super::stage::{Scene, Stage, value};
use super::STATES;
use crate::budget::Budget;
use crate::budget::ledger::{self, Chain};
use crate::journal::{self, Journal};
use crate::task::question::InterruptionQuery;

pub(super) fn all() -> Vec<Scene> {
    vec![
        Scene::new("only what is open is settled", settled),
        Scene::new("only what is remembered is done", remembered),
        Scene::new("only a parked task is woken", woken),
        Scene::new("only an open timer fires", fired),
        Scene::new("a message is for those who still wait", awaited_messages),
        Scene::new("only who waits for a budget is woken when it is raised", raised),
        Scene::new("a signal that nobody waits for is kept", kept),
        Scene::new("only a held step is decided", decided),
        Scene::new("a step that was decided meanwhile stays so", decided_meanwhile),
        Scene::new("a run is told of each outcome once", told_once),
        Scene::new("a task that parks says what it waits for", says_what_for),
        Scene::new("only a step that is under way is forgotten", forgotten),
        Scene::new("what is to run again is as if it had never been", never_been),
        Scene::new("a task's status says what is open", open),
        Scene::new("who has ended needs nobody", needed),
        Scene::new("a process hears of its own runs", own_runs),
        Scene::new("a watcher's look changes with what is open", glanced),
    ]
}

fn needed(stage: &mut Stage<'_, '_>) -> Result<()> {
    for state in 0..8 {
        let task = stage.task(state)?;
        stage.entry(task.seq, "step:s#1", 1, 3)?;
        stage.set(
            "UPDATE journal SET note = 'why' WHERE task = ?1 /* a scene's */",
            &[&task.seq],
        )?;
        let page = people::list(stage.tx, &InterruptionQuery::new())?;
        let listed = page.interruptions.iter().any(|one| one.task == task.id);
        stage.check(format!("a task in state {state} needs somebody"), listed, state < 4);
        // A request to another agent.
        let asks = stage.task(state)?;
        stage.entry(asks.seq, "message:m#1", 12, 0)?;
        stage.set(
            "UPDATE journal SET note = 'whom' WHERE task = ?1 /* a scene's */",
            &[&asks.seq],
        )?;
        let page = people::list(stage.tx, &InterruptionQuery::new())?;
        let listed = page.interruptions.iter().any(|one| one.task == asks.id);
        stage.check("who asks an agent needs a person", listed, false);
        let knows = stage.task(state)?;
        stage.entry(knows.seq, "wait:w#1", 4, 2)?;
        stage.set(
            "UPDATE journal SET note = '{\"text\":\"\"}' WHERE task = ?1 AND key = 'wait:w#1' /* a scene's */",
            &[&knows.seq],
        )?;
        let page = people::list(stage.tx, &InterruptionQuery::new())?;
        let listed = page.interruptions.iter().any(|one| one.task == knows.id);
        stage.check("who has the answer needs a person", listed, false);
    }
    Ok(())
}

/// A task with an entry in each of the states.
fn entries(stage: &mut Stage<'_, '_>, state: i64, kind: i64, states: &[i64]) -> Result<crate::queue::TaskRef> {
    let task = stage.task(state)?;
    for state in states {
        stage.entry(task.seq, &format!("k:{state}#1"), kind, *state)?;
    }
    Ok(task)
}

fn stay(stage: &mut Stage<'_, '_>, task: i64, states: &[i64]) -> Result<()> {
    for state in states {
        let is = stage.entry_state(task, &format!("k:{state}#1"))?;
        stage.check(format!("the entry in state {state}"), is, Some(*state));
    }
    Ok(())
}

fn remembered(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 6, &[0, 1, 2, 3, 4])?;
    for state in 0..5 {
        let done = journal::is_done(stage.tx, task.seq, &format!("k:{state}#1"))?;
        stage.check(format!("the entry in state {state}"), done, state == 2);
    }
    Ok(())
}

fn settled(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 4, &[0, 1, 2, 3, 4])?;
    let queue = stage.queue.clone();
    for state in 0..5 {
        wait::resolve(stage.tx, &queue, task.seq, &format!("k:{state}#1"), Some(&value()))?;
    }
    stay(stage, task.seq, &[1, 2, 4])?;
    let valued = stage.number("SELECT count(value) FROM journal", &[])?;
    stage.check("settled", valued, Some(2));
    Ok(())
}

fn woken(stage: &mut Stage<'_, '_>) -> Result<()> {
    for state in STATES {
        let task = entries(stage, state, 4, &[0])?;
        let queue = stage.queue.clone();
        wait::resolve(stage.tx, &queue, task.seq, "k:0#1", None)?;
        let is = stage.state(task.seq)?;
        stage.check(
            format!("the task in state {state}"),
            is,
            Some(if state == 3 { 1 } else { state }),
        );
    }
    Ok(())
}

fn fired(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 3, &[0, 1, 2, 3, 4])?;
    stage.set("UPDATE journal SET wake_at = 1 /* a scene's */", &[])?;
    let queue = stage.queue.clone();
    claim(stage.tx, &queue, &room(0), &Turns::default())?;
    let is = stage.entry_state(task.seq, "k:0#1")?;
    stage.check("the timer", is, Some(1));
    stay(stage, task.seq, &[1, 2, 3, 4])
}

fn awaited_messages(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 12, &[0, 1, 2, 3, 4])?;
    stage.set(
        "UPDATE journal SET signal = 'here', remaining = CASE WHEN state = 0 THEN 7 ELSE 3 END /* a scene's */",
        &[],
    )?;
    let waits = post::waits(stage.tx, "here")?;
    stage.check("waits", waits, vec![(task.seq, "k:0#1".to_owned())]);
    let oldest = post::oldest_request(stage.tx)?.map(Sequence::get);
    stage.check("the oldest request", oldest, Some(7));
    Ok(())
}

fn raised(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 3, 10, &[0, 1, 2, 3, 4])?;
    let budget = Budget::new().tokens(5);
    ledger::begin(stage.tx, (task.seq, task.id), 0, &Chain::default(), &budget)?;
    for state in 0..5 {
        stage.set(
            "INSERT INTO budget_wait (task, key, account, tokens, micro_usd, calls, children, depth) VALUES (?1, ?2, ?1, 6, 0, 0, 0, 0)",
            &[&task.seq, &format!("k:{state}#1")],
        )?;
    }
    let queue = stage.queue.clone();
    budget::grant(stage.tx, &queue, task.id, &budget)?;
    let woken = stage.number("SELECT count(wake_at) FROM journal", &[])?;
    stage.check("woken", woken, Some(1));
    claim(stage.tx, &queue, &room(0), &Turns::default())?;
    let is = stage.state(task.seq)?;
    stage.check("the task", is, Some(1));
    Ok(())
}

fn kept(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 4, &[1, 2, 3, 4])?;
    stage.set("UPDATE journal SET signal = 'go' /* a scene's */", &[])?;
    let queue = stage.queue.clone();
    wait::signal(stage.tx, &queue, task.id, "go", &value(), None)?;
    let unread = stage.number("SELECT count(*) FROM inbox", &[])?;
    stage.check("unread", unread, Some(1));
    stay(stage, task.seq, &[1, 2, 3, 4])
}

fn decided(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 3, 0, &[0, 1, 2, 3, 4])?;
    let queue = stage.queue.clone();
    for state in [0, 1, 2, 4] {
        for value in [None, Some(&value())] {
            let result = wait::decide(stage.tx, &queue, task.id, &format!("k:{state}#1"), value);
            stage.refused(format!("an entry in state {state}"), result, ErrorKind::NotFound);
        }
    }
    stay(stage, task.seq, &[0, 1, 2, 3, 4])?;
    wait::decide(stage.tx, &queue, task.id, "k:3#1", None)?;
    let is = stage.entry_state(task.seq, "k:3#1")?;
    stage.check("the held one", is, Some(4));
    Ok(())
}

fn decided_meanwhile(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 3, 0, &[0, 1, 2])?;
    let queue = stage.queue.clone();
    let change = ["SELECT kind FROM journal", " AND state = 3", ""];
    for state in 0..3 {
        stage.stale(change, |stage| {
            wait::decide(stage.tx, &queue, task.id, &format!("k:{state}#1"), None)
        })?;
    }
    stay(stage, task.seq, &[0, 1, 2])
}

fn told_once(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 4, &[0, 1, 2, 3, 4])?;
    let (queue, lease) = (stage.queue.clone(), stage.lease(&task));
    let told = wait::sync(stage.tx, &queue, lease, &task, 0, &[], false)?.resolved;
    let mut keys: Vec<String> = told.into_iter().map(|one| one.key).collect();
    keys.sort();
    stage.check("told", keys, vec!["k:1#1".to_owned(), "k:4#1".to_owned()]);
    stay(stage, task.seq, &[0, 2, 3])
}

fn says_what_for(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 4, &[0, 2])?;
    stage.set(
        "UPDATE journal SET signal = 'go' WHERE key = 'k:0#1' /* a scene's */",
        &[],
    )?;
    let (queue, lease) = (stage.queue.clone(), stage.lease(&task));
    let parked = wait::sync(stage.tx, &queue, lease, &task, 0, &[], true)?.parked;
    stage.check("parked", parked, true);
    let told = stage
        .tx
        .query_one("SELECT data FROM event WHERE type = 'task.waiting'", &[], |row| {
            let told: TaskWaiting = serde_json::from_slice(row.blob(0)?).unwrap();
            Ok(told.name)
        })?;
    stage.check("waits for", told, Some("go".to_owned()));
    Ok(())
}

fn forgotten(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 1, &[0, 1, 2, 3, 4])?;
    let lease = stage.lease(&task);
    for state in 0..5 {
        journal::forget_once(stage.tx, lease, &format!("k:{state}#1"))?;
    }
    let is = stage.entry_state(task.seq, "k:0#1")?;
    stage.check("under way", is, None);
    stay(stage, task.seq, &[1, 2, 3, 4])
}

fn never_been(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 2, 0, &[0, 1, 2, 3, 4])?;
    let journal = Journal::load(stage.tx, task.seq)?;
    for state in 0..5 {
        let is_there = journal.get(&format!("k:{state}#1")).is_some();
        stage.check(format!("the entry in state {state} is there"), is_there, state != 4);
    }
    Ok(())
}

fn open(stage: &mut Stage<'_, '_>) -> Result<()> {
    let task = entries(stage, 3, 3, &[0, 1, 2, 3, 4])?;
    stage.set("UPDATE journal SET wake_at = ?1 /* a scene's */", &[&Timestamp::MAX])?;
    let waits = read::status(stage.tx, task.id)?.waiting_for.len();
    stage.check("open", waits, 2);
    Ok(())
}

fn own_runs(stage: &mut Stage<'_, '_>) -> Result<()> {
    if stage.is_on(Dialect::Sqlite) {
        return Ok(());
    }
    let mut seqs = Vec::new();
    for state in STATES {
        seqs.push(stage.task(state)?.seq);
    }
    let told = entries(stage, 3, 3, &[1])?.seq;
    seqs.extend([told, entries(stage, 3, 3, &[0, 2, 3])?.seq]);
    let (running, news) = read::owned(stage.tx, &seqs)?;
    stage.check("running", running.into_keys().collect::<Vec<_>>(), vec![seqs[2]]);
    stage.check("news", news, vec![told]);
    Ok(())
}

fn glanced(stage: &mut Stage<'_, '_>) -> Result<()> {
    if stage.is_on(Dialect::Sqlite) {
        return Ok(());
    }
    let task = entries(stage, 3, 3, &[0])?;
    let before = read::glances(stage.tx, &[task.id])?;
    stage.entry(task.seq, "k:2#1", 3, 2)?;
    let after = read::glances(stage.tx, &[task.id])?;
    stage.check("what a watcher sees", after == before, true);
    Ok(())
}
