//! Tasks come into being.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use hive_bus::NewEvent;
use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Kind, Set, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::{Queue, TaskRef, emit};
use crate::budget::Budget;
use crate::budget::ledger::{self, Chain};
use crate::family::{self, Owner, Record};
use crate::limits;
use crate::task::{Priority, TaskState};

/// A child that waits for its turn in a bounded `map`.
const HELD: Timestamp = Timestamp::MAX;

/// What a submitter decides.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    /// Given beforehand, so that a submission may arrive twice.
    pub(crate) id: TaskId,
    pub(crate) agent: String,
    pub(crate) tenant: String,
    pub(crate) input: Payload,
    pub(crate) priority: Priority,
    pub(crate) start: Start,
    /// How long it may take until it must have ended.
    pub(crate) within: Option<Duration>,
    pub(crate) idempotency: Option<String>,
    /// What it is about, or nothing.
    pub(crate) key: String,
    /// The range of versions of its agent that may have it, or nothing.
    pub(crate) versions: String,
    pub(crate) single: Option<Single>,
    pub(crate) correlation: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    /// What it is about, as a record of its own.
    pub(crate) record: Option<Arc<Record>>,
    /// How much it may use, where that has a limit of its own.
    pub(crate) budget: Option<Arc<Budget>>,
    /// The accounts on which its caller draws.
    pub(crate) above: Chain,
    /// The event of its submission, where that was made beforehand.
    pub(crate) event: Option<NewEvent>,
    /// What is written down beside it.
    pub(crate) aside: Option<Aside>,
}

/// Something that is written in the transaction which submits a task, once the task is there: how it found its agent.
#[derive(Clone)]
pub(crate) struct Aside(Arc<WriteAside>);

type WriteAside = dyn Fn(&mut Tx<'_>, &Queue, &TaskRef) -> Result<()> + Send + Sync;

impl Aside {
    pub(crate) fn new(write: impl Fn(&mut Tx<'_>, &Queue, &TaskRef) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// One after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::new(move |tx, queue, task| {
            (self.0)(tx, queue, task)?;
            (other.0)(tx, queue, task)
        })
    }
}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aside")
    }
}

/// When a task may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Start {
    #[default]
    AtOnce,
    After(Duration),
    At(Timestamp),
}

/// A key that one task at a time has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Single {
    pub(crate) key: String,
    /// Given back when the task starts, and not only when it ends.
    pub(crate) until_start: bool,
}

impl NewTask {
    pub(crate) fn new(id: TaskId, agent: impl Into<String>, tenant: impl Into<String>, input: Payload) -> Self {
        Self {
            id,
            agent: agent.into(),
            tenant: tenant.into(),
            input,
            priority: Priority::default(),
            start: Start::default(),
            within: None,
            idempotency: None,
            key: String::new(),
            versions: String::new(),
            single: None,
            correlation: None,
            labels: Vec::new(),
            record: None,
            budget: None,
            above: Chain::default(),
            event: None,
            aside: None,
        }
    }

    /// Makes what can be made outside of the transaction, where others would wait for it.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if self.start == Start::AtOnce {
            self.event = Some(emit::submitted(&self.told(0, None), None, None)?);
        }
        Ok(())
    }

    /// The task as its events tell of it.
    fn told(&self, seq: i64, parent: Option<Parent<'_>>) -> TaskRef {
        TaskRef {
            seq,
            id: self.id,
            root: parent.map_or(self.id, |parent| parent.root),
            agent: self.agent.clone(),
            tenant: self.tenant.clone(),
            attempt: 0,
            parent: parent.map(|parent| parent.seq),
            correlation: correlation(self, parent).map(str::to_owned),
        }
    }

    fn has_key(&self) -> bool {
        self.idempotency.is_some() || self.single.is_some()
    }
}

/// Whose child a new task is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent<'a> {
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) root: TaskId,
    pub(crate) correlation: Option<&'a str>,
    pub(crate) depth: u32,
    pub(crate) call: &'a str,
    pub(crate) ordinal: usize,
    /// Whether it must wait until a sibling ends.
    pub(crate) held: bool,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Submitted {
    pub(crate) id: TaskId,
    /// `false` when a task of the same key was there.
    pub(crate) new: bool,
}

static TASKS: Set = Set::insert(
    "task",
    &[
        ("id", Kind::Blob),
        ("tenant", Kind::Text),
        ("agent", Kind::Text),
        ("flow_key", Kind::Text),
        ("versions", Kind::Text),
        ("root", Kind::Blob),
        ("parent", Kind::Int),
        ("correlation", Kind::Text),
        ("call", Kind::Text),
        ("ordinal", Kind::Int),
        ("depth", Kind::Int),
        ("state", Kind::Int),
        ("priority", Kind::Int),
        ("run_at", Kind::Int),
        ("idempotency", Kind::Text),
        ("single", Kind::Text),
        ("single_start", Kind::Int),
        ("deadline", Kind::Int),
        ("created_at", Kind::Int),
        ("accounts", Kind::Text),
    ],
)
// Whichever of its keys is taken: by the id the task is there already, by another key it is another's.
.on_conflict("DO NOTHING")
.returning("id", "seq");

static BODIES: Set = Set::insert("task_body", &[("task", Kind::Int), ("input", Kind::Blob)]);

static LABELS: Set = Set::insert(
    "task_label",
    &[("task", Kind::Int), ("name", Kind::Text), ("value", Kind::Text)],
);

/// Puts root tasks into the queue, as a set. One whose key is taken finds the task that has it, or is refused alone.
pub(crate) fn submit_all(
    tx: &mut Tx<'_>,
    queue: &Queue,
    tasks: &[impl Borrow<NewTask>],
) -> Result<Vec<Result<Submitted>>> {
    let now = tx.now()?;
    let mut outcomes = Vec::new();
    outcomes.resize_with(tasks.len(), || None::<Result<Submitted>>);
    // Within one set, too, a key is taken by the first.
    let mut plain = Vec::with_capacity(tasks.len());
    for (place, new) in tasks.iter().map(Borrow::borrow).enumerate() {
        if new.has_key() {
            let outcome = submit_keyed(tx, queue, new, now)?;
            if let Some(slot) = outcomes.get_mut(place) {
                *slot = Some(outcome);
            }
        } else {
            plain.push((place, new));
        }
    }
    let rows: Vec<(&NewTask, Option<Parent<'_>>)> = plain.iter().map(|(_, new)| (*new, None)).collect();
    let inserted = insert(tx, queue, &rows, now)?;
    for ((place, new), _inserted) in plain.iter().zip(inserted) {
        // One that was not inserted had arrived before: it was given its id by its submitter, and by nobody else.
        if let Some(slot) = outcomes.get_mut(*place) {
            *slot = Some(Ok(Submitted { id: new.id, new: true }));
        }
    }
    let missing = || Err(Error::new(ErrorKind::Internal, "a submission was passed over"));
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(missing))
        .collect())
}

/// How much of a transaction it takes: in tasks, and in KiB.
pub(crate) fn weight(new: &Arc<NewTask>) -> (usize, usize) {
    (1, new.input.as_bytes().len() / 1024)
}

/// Puts one root task into the queue, or finds the one that has its key.
pub(crate) fn submit(tx: &mut Tx<'_>, queue: &Queue, new: &NewTask) -> Result<Submitted> {
    let mut outcomes = submit_all(tx, queue, std::slice::from_ref(new))?;
    outcomes
        .pop()
        .unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "a submission was passed over")))
}

/// The inner error refuses this task alone.
fn submit_keyed(tx: &mut Tx<'_>, queue: &Queue, new: &NewTask, now: Timestamp) -> Result<Result<Submitted>> {
    // Whoever has the key may give it back while it is looked for.
    for _ in 0..limits::KEY_TRIES {
        if let Some(found) = existing(tx, new)? {
            return Ok(found.map(|id| Submitted { id, new: false }));
        }
        let is_new = insert(tx, queue, &[(new, None)], now)?.contains(&true);
        let arrived = is_new
            || tx
                .query_opt("SELECT 1 FROM task WHERE id = ?1", &[&new.id], |_| Ok(()))?
                .is_some();
        if arrived {
            return Ok(Ok(Submitted { id: new.id, new: true }));
        }
    }
    Ok(Err(Error::new(
        ErrorKind::Conflict,
        "the task's key was taken and given back each time that it was asked for",
    )
    .with("agent", &new.agent)
    .retryable()))
}

/// Puts children into the queue.
pub(super) fn submit_children(tx: &mut Tx<'_>, queue: &Queue, children: &[(&NewTask, Parent<'_>)]) -> Result<()> {
    let now = tx.now()?;
    let rows: Vec<_> = children.iter().map(|(new, parent)| (*new, Some(*parent))).collect();
    insert(tx, queue, &rows, now).map(drop)
}

/// The task that has one of the keys, if it is the same.
fn existing(tx: &Tx<'_>, new: &NewTask) -> Result<Option<Result<TaskId>>> {
    if let Some(key) = &new.idempotency {
        let found = tx.query_opt(
            "SELECT t.id, b.input FROM task t JOIN task_body b ON b.task = t.seq
             WHERE t.tenant = ?1 AND t.agent = ?2 AND t.idempotency = ?3",
            &[&new.tenant, &new.agent, key],
            |row| Ok((row.get::<TaskId>(0)?, row.blob(1)? == new.input.as_bytes())),
        )?;
        match found {
            // Arrived twice.
            Some((id, _)) if id == new.id => return Ok(Some(Ok(id))),
            Some((id, true)) => return Ok(Some(Ok(id))),
            Some((id, false)) => {
                return Ok(Some(Err(Error::new(
                    ErrorKind::Conflict,
                    "the idempotency key was used with another input",
                )
                .with("idempotency_key", key)
                .with("task", id)
                .with_hint(
                    "use a new key for a new input; the same key and input give the task that is there",
                ))));
            }
            None => {}
        }
    }
    let Some(single) = &new.single else { return Ok(None) };
    let found = tx.query_opt(
        "SELECT id FROM task WHERE tenant = ?1 AND agent = ?2 AND single = ?3",
        &[&new.tenant, &new.agent, &single.key],
        |row| row.get::<TaskId>(0),
    )?;
    Ok(found.map(Ok))
}

/// Inserts tasks with their bodies, labels, records and events, and tells of each whether it was not there before.
fn insert(
    tx: &mut Tx<'_>,
    queue: &Queue,
    tasks: &[(&NewTask, Option<Parent<'_>>)],
    now: Timestamp,
) -> Result<Vec<bool>> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::with_capacity(tasks.len());
    for (new, parent) in tasks {
        rows.push(row(new, *parent, now)?);
    }
    let seqs = tx.insert_all_returning(&TASKS, &rows)?;
    let (mut bodies, mut labels, mut events) = (Vec::with_capacity(tasks.len()), Vec::new(), Vec::new());
    let (mut records, mut wake) = (Vec::new(), false);
    for ((new, parent), seq) in tasks.iter().zip(&seqs) {
        let Some(seq) = *seq else { continue };
        bodies.push([Cell::Int(seq), Cell::of(&new.input)]);
        for (name, value) in &new.labels {
            labels.push([Cell::Int(seq), Cell::of(name), Cell::of(value)]);
        }
        if let Some(record) = &new.record {
            records.push((Owner::from(&new.told(seq, *parent)), &**record));
        }
        if let Some(budget) = &new.budget {
            ledger::begin(tx, (seq, new.id), depth(*parent), &new.above, budget)?;
        }
        events.push(match (&new.event, parent) {
            (Some(event), None) => event.clone(),
            _ => {
                let not_before = match new.start {
                    Start::AtOnce => None,
                    Start::After(_) | Start::At(_) => Some(begins(new, now)),
                };
                emit::submitted(&new.told(seq, *parent), parent.map(|parent| parent.id), not_before)?
            }
        });
        // A later task matters to the dispatcher too: it may be the next to fall due.
        wake |= !parent.is_some_and(|parent| parent.held);
    }
    tx.insert_all(&BODIES, &bodies)?;
    tx.insert_all(&LABELS, &labels)?;
    let new = tasks.iter().zip(&seqs).filter(|(_, seq)| seq.is_some());
    queue
        .telemetry
        .count(tx, new.map(|((new, _), _)| new.agent.as_str()), |agent| {
            &agent.submitted
        });
    events.extend(family::attach(tx, &records, now)?);
    emit::all(tx, queue, events)?;
    for ((new, parent), seq) in tasks.iter().zip(&seqs) {
        if let (Some(Aside(write)), Some(seq)) = (&new.aside, *seq) {
            write(tx, queue, &new.told(seq, *parent))?;
        }
    }
    if wake {
        queue.wake_ready(tx);
    }
    Ok(seqs.iter().map(Option::is_some).collect())
}

/// How deep in its tree a new task is.
fn depth(parent: Option<Parent<'_>>) -> u32 {
    parent.map_or(0, |parent| parent.depth + 1)
}

fn row(new: &NewTask, parent: Option<Parent<'_>>, now: Timestamp) -> Result<Vec<Cell>> {
    let depth = depth(parent);
    if depth > limits::CALL_DEPTH {
        return Err(Error::new(ErrorKind::LimitReached, "calls are nested too deep")
            .with("agent", &new.agent)
            .with("limit", limits::CALL_DEPTH)
            .with_hint("an agent probably calls itself without an end"));
    }
    let held = parent.is_some_and(|parent| parent.held);
    let run_at = if held { HELD } else { begins(new, now) };
    let state = if run_at > now {
        TaskState::Scheduled
    } else {
        TaskState::Queued
    };
    let single = new.single.as_ref();
    Ok(vec![
        Cell::of(&new.id),
        Cell::of(&new.tenant),
        Cell::of(&new.agent),
        Cell::of(&new.key),
        Cell::of(&new.versions),
        Cell::of(&parent.map_or(new.id, |parent| parent.root)),
        Cell::of(&parent.map(|parent| parent.seq)),
        Cell::of(&correlation(new, parent)),
        Cell::of(&parent.map(|parent| parent.call)),
        Cell::of(&parent.map_or(0, |parent| parent.ordinal as u64)),
        Cell::of(&depth),
        Cell::of(&state.code()),
        Cell::of(&new.priority.code()),
        Cell::of(&run_at),
        Cell::of(&new.idempotency),
        Cell::of(&single.map(|single| single.key.as_str())),
        Cell::of(&i64::from(single.is_some_and(|single| single.until_start))),
        Cell::of(&new.within.map(|within| now + within)),
        Cell::of(&now),
        Cell::of(&new.above.text()),
    ])
}

fn begins(new: &NewTask, now: Timestamp) -> Timestamp {
    match new.start {
        Start::AtOnce => now,
        Start::After(delay) => now + delay,
        Start::At(at) => at.max(now),
    }
}

fn correlation<'a>(new: &'a NewTask, parent: Option<Parent<'a>>) -> Option<&'a str> {
    new.correlation
        .as_deref()
        .or_else(|| parent.and_then(|parent| parent.correlation))
}

/// Lets the next held sibling go. The caller has locked the parent.
pub(super) fn release_next(tx: &mut Tx<'_>, queue: &Queue, parent: i64, call: &str) -> Result<()> {
    let now = tx.now()?;
    let released = tx.execute(
        "UPDATE task SET state = 1, run_at = ?3 WHERE seq = (
             SELECT seq FROM task WHERE parent = ?1 AND parent IS NOT NULL AND call = ?2 AND state = 0 AND run_at = ?4
             ORDER BY ordinal LIMIT 1)",
        &[&parent, &call, &now, &HELD],
    )?;
    if released > 0 {
        queue.wake_ready(tx);
    }
    Ok(())
}
