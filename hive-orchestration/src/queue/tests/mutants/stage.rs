//! Where a scene is played: a database in which nothing is left of it afterwards.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, ToValue, Tx};
use hive_core::id::{IdSource, TaskId};
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::super::super::{Queue, TaskRef, task_ref, write};
use super::super::Bench;
use super::conditions::Mutant;
use crate::lease::Lease;

/// What a statement comes to that no engine can run.
const BROKEN: [ErrorKind; 2] = [ErrorKind::Storage, ErrorKind::InvalidInput];

type Play = dyn Fn(&mut Stage<'_, '_>) -> Result<()> + Send + Sync;

/// Something that happens in the queue, with what must and must not come of it.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) name: String,
    play: Arc<Play>,
}

impl Scene {
    pub(super) fn new(
        name: impl Into<String>,
        play: impl Fn(&mut Stage<'_, '_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            play: Arc::new(play),
        }
    }
}

/// What came of a scene.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) faults: Vec<String>,
    /// The statements that ran.
    pub(super) seen: BTreeSet<String>,
}

/// How statements are changed on the way.
#[derive(Default)]
struct Changes {
    mutant: Option<(String, String)>,
    stale: Mutex<Option<[&'static str; 3]>>,
    seen: Mutex<BTreeSet<String>>,
}

impl Changes {
    fn change(&self, sql: &str) -> Option<String> {
        self.seen.lock().unwrap().insert(sql.to_owned());
        let mutant = self.mutant.as_ref().filter(|(original, _)| original == sql);
        let text = mutant.map_or(sql, |(_, changed)| changed);
        match *self.stale.lock().unwrap() {
            Some([words, from, to]) if sql.contains(words) => Some(text.replace(from, to)),
            _ => mutant.map(|(_, changed)| changed.clone()),
        }
    }
}

/// Plays a scene, with a mutant in the place of a statement, and undoes it.
pub(super) async fn play(bench: &Bench, scene: &Scene, mutant: Option<&Mutant>) -> Played {
    let (queue, play) = (bench.queue.clone(), Arc::clone(&scene.play));
    let mutant = mutant.map(|mutant| (mutant.sql.clone(), mutant.changed.clone()));
    let name = format!("{}, {mutant:?}", scene.name);
    let played = write(&bench.db, move |tx| {
        let changes = Arc::new(Changes {
            mutant: mutant.clone(),
            ..Changes::default()
        });
        let mut played = Played::default();
        let undone = tx.attempt(|tx| {
            let seen = Arc::clone(&changes);
            let faults = tx.rewriting(
                move |sql| seen.change(sql),
                |tx| {
                    let mut stage = Stage {
                        tx,
                        queue: queue.clone(),
                        changes: Arc::clone(&changes),
                        faults: Vec::new(),
                    };
                    play(&mut stage).map(|()| stage.faults)
                },
            );
            played.faults = match faults {
                Ok(faults) => faults,
                // What cannot be run, or not at this moment, proves nothing.
                Err(error) if error.is_retryable() || BROKEN.contains(&error.kind()) => return Err(error),
                Err(error) => vec![error.to_string()],
            };
            Err::<(), _>(Error::new(ErrorKind::Cancelled, "undone"))
        });
        match undone {
            Err(error) if error.kind() != ErrorKind::Cancelled => return Err(error),
            _ => {}
        }
        played.seen = std::mem::take(&mut changes.seen.lock().unwrap());
        Ok(played)
    })
    .await;
    played.unwrap_or_else(|error| panic!("{name}: {error}, {error:?}"))
}

/// What a scene has at hand. Unless it says otherwise there is no task, and of the epochs the own is the latest.
pub(super) struct Stage<'t, 'c> {
    pub(super) tx: &'t mut Tx<'c>,
    pub(super) queue: Queue,
    changes: Arc<Changes>,
    faults: Vec<String>,
}

impl<'c> Stage<'_, 'c> {
    pub(super) fn check<T: PartialEq + Debug>(&mut self, what: impl Into<String>, is: T, should: T) {
        if is != should {
            self.faults.push(format!("{}: {is:?} and not {should:?}", what.into()));
        }
    }

    /// Must be refused like this.
    pub(super) fn refused<T>(&mut self, what: impl Into<String>, result: Result<T>, kind: ErrorKind) {
        self.check(what, result.err().map(|error| error.kind()), Some(kind));
    }

    /// Plays a part in which statements with these words read otherwise: what they look at has changed since, as can happen
    /// between a look and a lock.
    pub(super) fn stale<T>(
        &mut self,
        change: [&'static str; 3],
        part: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        *self.changes.stale.lock().unwrap() = Some(change);
        let result = part(self);
        *self.changes.stale.lock().unwrap() = None;
        result
    }

    /// Plays a part and undoes it.
    pub(super) fn undone(&mut self, part: impl FnOnce(&mut Stage<'_, 'c>) -> Result<()>) -> Result<()> {
        let (queue, changes, faults) = (self.queue.clone(), Arc::clone(&self.changes), &mut self.faults);
        let undone = self.tx.attempt(|tx| {
            let mut stage = Stage {
                tx,
                queue,
                changes,
                faults: Vec::new(),
            };
            let result = part(&mut stage);
            faults.append(&mut stage.faults);
            result?;
            Err::<(), _>(Error::new(ErrorKind::Cancelled, "undone"))
        });
        match undone {
            Err(error) if error.kind() != ErrorKind::Cancelled => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn is_on(&self, engine: Dialect) -> bool {
        self.tx.dialect() == engine
    }

    pub(super) fn set(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<()> {
        self.tx.execute(sql, params).map(drop)
    }

    pub(super) fn number(&self, sql: &str, params: &[&dyn ToValue]) -> Result<Option<i64>> {
        self.tx.query_one(sql, params, |row| row.get(0))
    }

    /// A task of this state, of the third attempt; a running one is this process's.
    pub(super) fn task(&mut self, state: i64) -> Result<TaskRef> {
        let id: TaskId = IdSource::system().next();
        let epoch = if state == 2 { self.queue.epoch() } else { 0 };
        // Whoever is scheduled is so for ever.
        let run_at = if state == 0 { Timestamp::MAX } else { Timestamp::EPOCH };
        let seq = self.tx.insert(
            "INSERT INTO task (id, tenant, agent, root, ordinal, depth, state, priority, run_at, attempt, epoch, created_at, flow_key)
             VALUES (?1, 'default', 'agent', ?1, 0, 0, ?2, 1, ?3, 3, ?4, 0, '') RETURNING seq",
            &[&id, &state, &run_at, &epoch],
        )?;
        self.set("INSERT INTO task_body (task, input) VALUES (?1, ?2)", &[&seq, &value()])?;
        self.tx.query_one(
            "SELECT seq, id, root, agent, tenant, attempt, parent, correlation FROM task /* a scene's */ WHERE seq = ?1",
            &[&seq],
            task_ref,
        )
    }

    /// One that the task `parent` called.
    pub(super) fn child(&mut self, parent: i64, ordinal: i64, state: i64) -> Result<TaskRef> {
        let child = self.task(state)?;
        self.set(
            "UPDATE task SET parent = ?2, call = 'c', ordinal = ?3 WHERE seq = ?1",
            &[&child.seq, &parent, &ordinal],
        )?;
        Ok(TaskRef {
            parent: Some(parent),
            ..child
        })
    }

    /// The agent of the tasks, which has left.
    pub(super) fn agent(&mut self) -> Result<()> {
        let instance = self.queue.instance;
        let (none, history) = (
            r#"{"counts":{},"sum_us":0}"#,
            r#"{"completed":0,"failed":0,"dead":0,"run":NONE,"wait":NONE}"#,
        );
        self.set(
            "INSERT INTO agent_version (name, version, input, output, shape, declared_at)
             VALUES ('agent', '1.0.0', 'true', 'true', 0, 0)",
            &[],
        )?;
        self.set(
            "INSERT INTO agent (instance, name, version, status, running, concurrency, weight, capabilities, domains, metadata,
                                history, registered_at, heartbeat_at)
             VALUES (?1, 'agent', '1.0.0', 4, 0, 1, 1, '[]', '[]', '{}', ?2, 0, 0)",
            &[&instance, &history.replace("NONE", none)],
        )
    }

    /// The lease of a task that [`Stage::task`] made.
    pub(super) fn lease(&self, task: &TaskRef) -> Lease {
        Lease {
            task: task.seq,
            attempt: task.attempt,
            epoch: self.queue.epoch(),
        }
    }

    /// An entry in a task's journal: its key, kind and state.
    pub(super) fn entry(&mut self, task: i64, key: &str, kind: i64, state: i64) -> Result<()> {
        self.set(
            "INSERT INTO journal (task, key, kind, state, at) VALUES (?1, ?2, ?3, ?4, 0)",
            &[&task, &key, &kind, &state],
        )
    }

    pub(super) fn state(&self, task: i64) -> Result<Option<i64>> {
        self.tx.query_opt(
            "SELECT state FROM task /* a scene's */ WHERE seq = ?1",
            &[&task],
            |row| row.get(0),
        )
    }

    pub(super) fn entry_state(&self, task: i64, key: &str) -> Result<Option<i64>> {
        self.tx.query_opt(
            "SELECT state FROM journal /* a scene's */ WHERE task = ?1 AND key = ?2",
            &[&task, &key],
            |row| row.get(0),
        )
    }
}

pub(super) fn value() -> Payload {
    Payload::encode(&1, 100).unwrap()
}
