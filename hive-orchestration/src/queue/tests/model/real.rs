//! The queue in the database, beside the model.

mod drain;
mod waits;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::{ManualClock, Timestamp};
use hive_core::db::{Dialect, Tx};
use hive_core::id::{IdSource, TaskId};
use hive_core::payload::Payload;
use hive_core::rng::SeededRng;
use hive_errors::{ErrorKind, Failure, Result, RetryPolicy};

use super::super::super::claim::{Room, claim};
use super::super::super::finish::{Finished, How, finish_all};
use super::super::super::pick::Turns;
use super::super::super::submit::{NewTask, Single, Start};
use super::super::super::{Queue, TaskRef, admin, cancel, pause, recover, submit};
use super::ideal::{Epoch, Ideal, Job};
use super::op::{End, New, Op, PROCESSES, Pick, Wait};
use super::rows::rows;
use crate::lease::{Lease, guard};
use crate::limits;
use crate::task::{Priority, Scope};

pub(super) const START: Timestamp = Timestamp::from_micros(1_000 * SECOND);
/// Of the model's time.
const SECOND: i64 = 1_000_000;

/// What went otherwise than in the model.
type Fault = String;

/// One of the processes: its queue, and whose turn it is there.
struct Process {
    queue: Queue,
    turns: Turns,
}

pub(super) struct World {
    processes: Vec<Process>,
    /// The database's, on SQLite; on PostgreSQL what its own is made to show.
    clock: ManualClock,
    ideal: Ideal,
    /// Every lease that was ever given out.
    leases: Vec<(Lease, TaskRef)>,
    /// Every task that ever was.
    tasks: Vec<TaskId>,
    /// The last event that was looked at.
    last: i64,
}

fn told<T>(what: &str, result: Result<T>) -> std::result::Result<T, Fault> {
    result.map_err(|error| format!("{what}: {error:?}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, real: T, ideal: T) -> std::result::Result<(), Fault> {
    if real == ideal {
        return Ok(());
    }
    Err(format!("{what}: the queue says {real:?}, the model {ideal:?}"))
}

/// A part of the closure that is undone alone, as a transaction of its own would be.
fn alone<T>(tx: &mut Tx<'_>, work: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    tx.attempt(work)
}

fn agent(number: usize) -> String {
    format!("agent-{number}")
}

fn payload(input: u8) -> Payload {
    Payload::encode(&input, 100).unwrap()
}

fn seconds(count: u64) -> i64 {
    i64::try_from(count).unwrap() * SECOND
}

fn scope(number: usize) -> Scope {
    match number {
        0 => Scope::Agent(agent(0)),
        1 => Scope::Tenant("tenant-0".to_owned()),
        _ => Scope::All,
    }
}

fn key(wait: &Wait, number: u8) -> String {
    match wait {
        Wait::Timer(_) => format!("sleep:k#{number}"),
        Wait::Signal { .. } => format!("wait:k#{number}"),
        Wait::Children { .. } => format!("call:k#{number}"),
    }
}

impl World {
    pub(super) fn begin(tx: &mut Tx<'_>, queue: &Queue, clock: &ManualClock) -> Result<Self> {
        let rng = Arc::new(SeededRng::new(1));
        let ids = IdSource::new(queue.clock.clone(), rng.clone());
        let process = |_| Process {
            queue: Queue::new(
                queue.bus.clone(),
                queue.clock.clone(),
                rng.clone(),
                ids.clone(),
                Arc::default(),
            ),
            turns: Turns::default(),
        };
        tx.execute("UPDATE instance SET ended_at = 0", &[])?;
        let mut world = Self {
            processes: (0..PROCESSES).map(process).collect(),
            clock: clock.clone(),
            ideal: Ideal {
                now: START.as_micros(),
                ..Ideal::default()
            },
            leases: Vec::new(),
            tasks: Vec::new(),
            last: tx.query_one("SELECT coalesce(max(sequence), 0) FROM event", &[], |row| row.get(0))?,
        };
        for who in 0..PROCESSES {
            world.crash(tx, who)?;
        }
        Ok(world)
    }

    fn set_clock(&mut self, now: i64) {
        self.ideal.now = now;
        self.clock.set_wall(Timestamp::from_micros(now));
    }

    fn crash(&mut self, tx: &mut Tx<'_>, who: usize) -> Result<()> {
        let process = &mut self.processes[who];
        let epoch = recover::begin_epoch(tx, &process.queue)?;
        process.queue.enter(epoch);
        process.turns = Turns::default();
        if tx.dialect() == Dialect::Sqlite {
            for epoch in self.ideal.epochs.values_mut() {
                epoch.has_ended = true;
            }
        }
        let begun = Epoch {
            seen: self.ideal.now,
            has_ended: false,
        };
        self.ideal.epochs.insert(epoch.cast_signed(), begun);
        Ok(())
    }

    fn lease(&self, pick: Pick) -> Option<(Lease, TaskRef)> {
        let holds = |(lease, _): &&(Lease, TaskRef)| self.holds(*lease);
        let fresh: Vec<_> = self.leases.iter().filter(holds).collect();
        let pool = if pick.fresh && !fresh.is_empty() {
            fresh
        } else {
            self.leases.iter().collect()
        };
        let count = pool.len().max(1);
        pool.get(pick.place % count).map(|one| (*one).clone())
    }

    fn holds(&self, lease: Lease) -> bool {
        self.ideal
            .may_write(lease.task, lease.attempt.into(), lease.epoch.cast_signed())
    }

    /// A task that ever was, and its row if it is still there.
    fn task(&self, place: usize) -> Option<(TaskId, Option<i64>)> {
        let id = *self.tasks.get(place % self.tasks.len().max(1))?;
        let row = self.ideal.jobs.values().find(|job| job.id == id).map(|job| job.seq);
        Some((id, row))
    }

    pub(super) fn step(&mut self, tx: &mut Tx<'_>, op: &Op) -> std::result::Result<(), Fault> {
        self.act(tx, op)?;
        self.compare(tx)
    }

    fn act(&mut self, tx: &mut Tx<'_>, op: &Op) -> std::result::Result<(), Fault> {
        let queue = self.processes[0].queue.clone();
        match op {
            Op::Submit(new) => self.submit(tx, new),
            Op::Claim { who, total } => self.claim(tx, *who, *total).map(drop),
            Op::Finish { ends, zombies } => self.finish(tx, ends, *zombies),
            Op::Park { lease, key, wait } => self.sync(tx, *lease, *key, wait, true),
            Op::Sync { lease, key, wait } => self.sync(tx, *lease, *key, wait, false),
            Op::Record { lease, key } => self.record(tx, *lease, *key),
            Op::Siblings { lease, key } => self.siblings(tx, *lease, *key),
            Op::Signal { task, name } => self.signal(tx, *task, *name),
            Op::Cancel(task) => {
                let Some((id, row)) = self.task(*task) else {
                    return Ok(());
                };
                let cancelled = alone(tx, |tx| cancel::cancel(tx, &queue, id)).map_err(|error| error.kind());
                let live = row.filter(|seq| self.ideal.jobs[seq].is_live());
                same(
                    "cancelled",
                    cancelled,
                    row.map(|_| live.is_some()).ok_or(ErrorKind::NotFound),
                )?;
                live.into_iter().for_each(|seq| self.ideal.cancel(seq));
                Ok(())
            }
            Op::Pause(number) => {
                let is_new = told("pause", alone(tx, |tx| pause::pause(tx, &scope(*number))))?;
                same(
                    "paused",
                    is_new,
                    !std::mem::replace(&mut self.ideal.paused[*number], true),
                )
            }
            Op::Resume(number) => {
                let was = told("resume", alone(tx, |tx| pause::resume(tx, &queue, &scope(*number))))?;
                same(
                    "resumed",
                    was,
                    std::mem::replace(&mut self.ideal.paused[*number], false),
                )
            }
            Op::Crash(who) => told("a new process", self.crash(tx, *who)),
            Op::Beat(who) => {
                let queue = &self.processes[*who].queue;
                let alive = told("a heartbeat", alone(tx, |tx| recover::beat(tx, queue)))?;
                let now = self.ideal.now;
                let own = self.ideal.epochs.get_mut(&queue.epoch().cast_signed()).unwrap();
                if !own.has_ended {
                    own.seen = now;
                }
                same("alive", alive, !own.has_ended)
            }
            Op::Silence(silence) => {
                let ended = alone(tx, |tx| recover::end_silent(tx, Duration::from_secs(*silence)));
                let before = self.ideal.now - seconds(*silence);
                let mut count = 0;
                for epoch in self.ideal.epochs.values_mut() {
                    if !epoch.has_ended && epoch.seen < before {
                        epoch.has_ended = true;
                        count += 1;
                    }
                }
                same("silent", told("silence", ended)?, count)
            }
            Op::Recover(who) => self.recover(tx, *who),
            Op::GiveBack { who, known } => self.give_back(tx, *who, *known),
            Op::Clock(by) => {
                self.set_clock(self.ideal.now + by * SECOND);
                Ok(())
            }
            Op::Redrive(task) => {
                let Some((id, row)) = self.task(*task) else {
                    return Ok(());
                };
                let redriven = alone(tx, |tx| admin::redrive(tx, &queue, id)).map_err(|error| error.kind());
                let may = row.map(|seq| {
                    let job = &self.ideal.jobs[&seq];
                    job.parent.is_none() && job.state > 4
                });
                let should = match may {
                    None => Err(ErrorKind::NotFound),
                    Some(false) => Err(ErrorKind::Conflict),
                    Some(true) => Ok(()),
                };
                same("redriven", redriven, should)?;
                if let (Ok(()), Some(seq)) = (should, row) {
                    self.ideal.revive(seq);
                }
                Ok(())
            }
            Op::Forget(ago) => {
                let before = self.ideal.now - ago * SECOND;
                let gone = alone(tx, |tx| admin::forget(tx, Timestamp::from_micros(before), 1_000));
                same("forgotten", told("forget", gone)?, self.ideal.forget(before))
            }
            Op::Doom(task) => {
                let Some((_, Some(seq))) = self.task(*task) else {
                    return Ok(());
                };
                let crashes = i64::from(limits::CRASHES_MAX) - 1;
                let job = self.ideal.job(seq);
                (job.crashes, job.mark) = (crashes, 1_000);
                let doomed = tx.execute(
                    "UPDATE task SET crashes = ?2, crash_mark = 1000 WHERE seq = ?1",
                    &[&seq, &crashes],
                );
                told("doom", doomed).map(drop)
            }
        }
    }

    fn submit(&mut self, tx: &mut Tx<'_>, new: &New) -> std::result::Result<(), Fault> {
        let queue = self.processes[0].queue.clone();
        let tenant = format!("tenant-{}", new.tenant);
        let mut task = NewTask::new(queue.ids.next(), agent(new.agent), &tenant, payload(new.input));
        task.priority = Priority::from_code(new.priority);
        task.start = new
            .delay
            .map_or(Start::AtOnce, |delay| Start::After(Duration::from_secs(delay)));
        task.within = new.within.map(Duration::from_secs);
        task.idempotency = new.idempotency.map(|key| format!("{key}"));
        task.single = new.single.map(|(key, until_start)| Single {
            key: format!("{key}"),
            until_start,
        });
        let submitted = alone(tx, |tx| submit::submit(tx, &queue, &task))
            .map(|submitted| (submitted.id, submitted.new))
            .map_err(|error| error.kind());
        let own = |job: &&Job| job.agent == task.agent && job.tenant == tenant;
        let jobs = || self.ideal.jobs.values().filter(own);
        let same_key = jobs().find(|job| task.idempotency.is_some() && job.idempotency == task.idempotency);
        let single = task.single.as_ref().map(|single| &single.key);
        let same_single = jobs().find(|job| single.is_some() && job.single.as_ref() == single);
        let should = match (same_key, same_single) {
            (Some(job), _) => {
                let input = tx.query_one("SELECT input FROM task_body WHERE task = ?1", &[&job.seq], |row| {
                    Ok(row.blob(0)? == task.input.as_bytes())
                });
                if told("an input", input)? {
                    Ok((job.id, false))
                } else {
                    Err(ErrorKind::Conflict)
                }
            }
            (None, Some(job)) => Ok((job.id, false)),
            (None, None) => Ok((task.id, true)),
        };
        same("submitted", submitted, should)?;
        if should == Ok((task.id, true)) {
            let run_at = self.ideal.now + new.delay.map_or(0, seconds);
            let job = self.job(tx, &task, run_at)?;
            self.ideal.add(job);
        }
        Ok(())
    }

    /// A task as it begins.
    fn job(&mut self, tx: &Tx<'_>, task: &NewTask, run_at: i64) -> std::result::Result<Job, Fault> {
        let seq = tx.query_one("SELECT seq FROM task WHERE id = ?1", &[&task.id], |row| row.get(0));
        self.tasks.push(task.id);
        let now = self.ideal.now;
        Ok(Job {
            seq: told("a new task", seq)?,
            id: task.id,
            agent: task.agent.clone(),
            tenant: task.tenant.clone(),
            priority: task.priority.code(),
            state: i64::from(run_at <= now),
            run_at,
            attempt: 0,
            epoch: 0,
            failures: 0,
            crashes: 0,
            mark: 0,
            idempotency: task.idempotency.clone(),
            single: task.single.as_ref().map(|single| single.key.clone()),
            single_start: task.single.as_ref().is_some_and(|single| single.until_start),
            deadline: task.within.map(|within| now + seconds(within.as_secs())),
            finished_at: None,
            parent: None,
            call: None,
            ordinal: 0,
            has_output: false,
            journal: BTreeMap::new(),
            inbox: Vec::new(),
        })
    }

    /// Which of the ready tasks go first is tested beside it; here, that they are ready, as many as there may be, and of each lane
    /// the oldest.
    fn claim(&mut self, tx: &mut Tx<'_>, who: usize, total: usize) -> std::result::Result<usize, Fault> {
        let room = Room {
            total,
            agents: vec![(agent(0), total), (agent(1), total)],
            ..Room::default()
        };
        let process = &mut self.processes[who];
        let claims = told(
            "claim",
            alone(tx, |tx| claim(tx, &process.queue, &room, &process.turns)),
        )?;
        process.turns = claims.turns;
        let epoch = process.queue.epoch();
        self.ideal.fall_due();
        let due_in = self.ideal.next_due().map(|due| (due - self.ideal.now).max(0));
        same(
            "due",
            claims.due_in.map(|due| i64::try_from(due.as_micros()).unwrap()),
            due_in,
        )?;
        let ready: Vec<i64> = self
            .ideal
            .jobs
            .values()
            .filter(|job| self.ideal.is_ready(job))
            .map(|job| job.seq)
            .collect();
        let taken: BTreeSet<i64> = claims.tasks.iter().map(|claimed| claimed.task.seq).collect();
        same("claimed, in number", claims.tasks.len(), total.min(ready.len()))?;
        same("claimed, each once", taken.len(), claims.tasks.len())?;
        for claimed in claims.tasks {
            let seq = claimed.task.seq;
            same("claimed while ready", ready.contains(&seq), true)?;
            let lane = |seq: i64| {
                let job = &self.ideal.jobs[&seq];
                (&job.agent, &job.tenant, job.priority)
            };
            let older = ready
                .iter()
                .find(|one| **one < seq && !taken.contains(*one) && lane(**one) == lane(seq));
            same("older ones that were passed over", older, None)?;
            self.ideal.claim(seq, epoch.cast_signed());
            let attempt = u32::try_from(self.ideal.jobs[&seq].attempt).unwrap();
            same(
                "the lease",
                claimed.lease,
                Lease {
                    task: seq,
                    attempt,
                    epoch,
                },
            )?;
            self.leases.push((claimed.lease, claimed.task));
        }
        Ok(taken.len())
    }

    fn finish(&mut self, tx: &mut Tx<'_>, ends: &[(Pick, End)], zombies: bool) -> std::result::Result<(), Fault> {
        let (mut all, mut how) = (Vec::new(), Vec::new());
        let mut picked = Vec::new();
        for (pick, end) in ends {
            let Some(one) = self.lease(*pick) else { return Ok(()) };
            let same = |other: &&(Lease, TaskRef)| zombies && other.0.task == one.0.task && other.0 != one.0;
            let others: Vec<_> = self.leases.iter().filter(same).cloned().collect();
            picked.extend(others.into_iter().chain([one]).map(|one| (one, end)));
        }
        for ((lease, task), end) in picked {
            // A run ends once, by whatever end.
            if all.iter().any(|one: &Finished| one.lease == lease) {
                continue;
            }
            how.push(*end);
            all.push(Finished {
                how: match end {
                    End::Output => told("an output", How::output(&task, payload(9)))?,
                    End::Retryable { attempts, delay } => How::Failure(
                        Failure::retryable("no"),
                        RetryPolicy::fixed(*attempts, Duration::from_secs(*delay)),
                    ),
                    End::Terminal => How::Failure(Failure::terminal("no"), RetryPolicy::none()),
                    End::Released => How::Released,
                },
                lease,
                task,
            });
        }
        let queue = self.processes[0].queue.clone();
        let lost = alone(tx, |tx| finish_all(tx, &queue, &all));
        let mut should = 0;
        // Outputs go first.
        let outputs: Vec<i64> = (all.iter().zip(&how))
            .filter(|(one, end)| matches!(end, End::Output) && self.holds(one.lease))
            .map(|(one, _)| one.lease.task)
            .collect();
        should += how.iter().filter(|end| matches!(end, End::Output)).count() - outputs.len();
        self.ideal.succeed(&outputs);
        for (one, end) in all.iter().zip(how) {
            let seq = one.lease.task;
            let holds = self.holds(one.lease);
            let is_output = matches!(end, End::Output);
            should += usize::from(!holds && !is_output);
            match end {
                _ if !holds => {}
                End::Output => {}
                End::Retryable { attempts, delay } => {
                    let failures = self.ideal.jobs[&seq].failures + 1;
                    let next = if failures < attempts.into() {
                        Ok(self.ideal.now + seconds(delay))
                    } else {
                        Err(7)
                    };
                    self.ideal.fail(seq, next);
                }
                End::Terminal => self.ideal.fail(seq, Err(5)),
                End::Released => {
                    let job = self.ideal.job(seq);
                    (job.state, job.epoch) = (1, 0);
                }
            }
        }
        same("lost", told("finish", lost)?, should)
    }

    fn recover(&mut self, tx: &mut Tx<'_>, who: usize) -> std::result::Result<(), Fault> {
        let queue = self.processes[who].queue.clone();
        let left = self.ideal.left(queue.epoch().cast_signed());
        let doomed = |seq: &i64| self.ideal.jobs[seq].crashes + 1 >= i64::from(limits::CRASHES_MAX);
        // A server may begin with the child of a task that dies, or with the task: each is right, and they differ.
        if tx.dialect() == Dialect::Postgres && left.iter().any(doomed) && left.len() > 1 {
            return Ok(());
        }
        let count = alone(tx, |tx| recover::recover(tx, &queue, 1_000));
        same("recovered", told("recover", count)?, left.len())?;
        self.ideal.recover(&left);
        Ok(())
    }

    fn give_back(&mut self, tx: &mut Tx<'_>, who: usize, known: usize) -> std::result::Result<(), Fault> {
        let queue = self.processes[who].queue.clone();
        let own = |job: &&Job| job.state == 2 && job.epoch == queue.epoch().cast_signed();
        let held: Vec<i64> = self.ideal.jobs.values().filter(own).map(|job| job.seq).collect();
        let known: HashSet<i64> = held
            .iter()
            .copied()
            .filter(|seq| (seq.cast_unsigned() + known as u64).is_multiple_of(2))
            .collect();
        let count = alone(tx, |tx| recover::give_back(tx, &queue, &known));
        same("given back", told("give back", count)?, held.len() - known.len())?;
        for seq in held.into_iter().filter(|seq| !known.contains(seq)) {
            let job = self.ideal.job(seq);
            (job.state, job.epoch) = (1, 0);
        }
        Ok(())
    }

    fn compare(&mut self, tx: &mut Tx<'_>) -> std::result::Result<(), Fault> {
        let real = told("the rows", rows(tx))?;
        for (seq, job) in &self.ideal.jobs {
            same("a task", real.get(seq), Some(job))?;
        }
        same("tasks", real.len(), self.ideal.jobs.len())?;
        for (lease, _) in &self.leases {
            let may = guard(tx, *lease).is_ok();
            same("who may write", (lease, may), (lease, self.holds(*lease)))?;
        }
        let events = tx.query(
            "SELECT sequence, type, causation FROM event WHERE sequence > ?1 ORDER BY sequence",
            &[&self.last],
            |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<String>(2)?)),
        );
        let (mut real, mut ideal) = (
            BTreeMap::<String, Vec<String>>::new(),
            BTreeMap::<String, Vec<String>>::new(),
        );
        for (sequence, what, task) in told("the events", events)? {
            self.last = sequence;
            real.entry(task).or_default().push(what);
        }
        for (what, task) in self.ideal.events.drain(..) {
            ideal.entry(task.to_string()).or_default().push(what.to_owned());
        }
        same("events", real, ideal)
    }
}
