//! The queue as it is meant, without a database.

use std::collections::BTreeMap;

use hive_core::id::TaskId;

use super::op::SCOPES;
use crate::limits;

/// A child that waits for its turn.
pub(super) const HELD: i64 = hive_core::clock::Timestamp::MAX.as_micros();

pub(super) const TIMER: i64 = 3;
pub(super) const SIGNAL: i64 = 4;
pub(super) const CHILDREN: i64 = 5;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) kind: i64,
    pub(super) state: i64,
    pub(super) has_value: bool,
    pub(super) wake_at: Option<i64>,
    pub(super) signal: Option<String>,
    pub(super) remaining: Option<i64>,
    pub(super) at: i64,
}

impl Entry {
    pub(super) fn pending(kind: i64, at: i64) -> Self {
        Self {
            kind,
            state: 0,
            has_value: false,
            wake_at: None,
            signal: None,
            remaining: None,
            at,
        }
    }
}

/// What can be seen of a task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) seq: i64,
    pub(super) id: TaskId,
    pub(super) agent: String,
    pub(super) tenant: String,
    pub(super) priority: i64,
    pub(super) state: i64,
    pub(super) run_at: i64,
    pub(super) attempt: i64,
    pub(super) epoch: i64,
    pub(super) failures: i64,
    pub(super) crashes: i64,
    pub(super) mark: i64,
    pub(super) idempotency: Option<String>,
    pub(super) single: Option<String>,
    pub(super) single_start: bool,
    pub(super) deadline: Option<i64>,
    pub(super) finished_at: Option<i64>,
    pub(super) parent: Option<i64>,
    pub(super) call: Option<String>,
    pub(super) ordinal: i64,
    pub(super) has_output: bool,
    pub(super) journal: BTreeMap<String, Entry>,
    /// Names of signals that nobody has taken.
    pub(super) inbox: Vec<String>,
}

impl Job {
    pub(super) fn is_live(&self) -> bool {
        self.state < 4
    }

    pub(super) fn is_pending(&self) -> bool {
        self.journal.values().any(|entry| entry.state == 0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub(super) seen: i64,
    pub(super) has_ended: bool,
}

/// What happened: the event's type, and of which task.
pub(super) type Event = (&'static str, TaskId);

#[derive(Clone, Debug, Default)]
pub(super) struct Ideal {
    pub(super) jobs: BTreeMap<i64, Job>,
    pub(super) epochs: BTreeMap<i64, Epoch>,
    pub(super) paused: [bool; SCOPES],
    pub(super) events: Vec<Event>,
    pub(super) now: i64,
}

impl Ideal {
    pub(super) fn job(&mut self, seq: i64) -> &mut Job {
        self.jobs.get_mut(&seq).unwrap()
    }

    fn tell(&mut self, what: &'static str, seq: i64) {
        let id = self.jobs[&seq].id;
        self.events.push((what, id));
    }

    pub(super) fn add(&mut self, job: Job) {
        let seq = job.seq;
        self.jobs.insert(seq, job);
        self.tell("task.submitted", seq);
    }

    pub(super) fn may_write(&self, seq: i64, attempt: i64, epoch: i64) -> bool {
        let holds = |job: &Job| job.state == 2 && job.attempt == attempt && job.epoch == epoch;
        self.jobs.get(&seq).is_some_and(holds)
    }

    /// What has fallen due.
    pub(super) fn fall_due(&mut self) {
        let now = self.now;
        for job in self.jobs.values_mut() {
            if job.state == 0 && job.run_at <= now {
                job.state = 1;
            }
        }
        let mut due = Vec::new();
        for job in self.jobs.values() {
            for (key, entry) in &job.journal {
                if entry.state == 0 && entry.wake_at.is_some_and(|at| at <= now) {
                    due.push((entry.wake_at, job.seq, key.clone()));
                }
            }
        }
        due.sort();
        for (_, seq, key) in due {
            self.resolve(seq, &key, false);
        }
        let late = |job: &&Job| job.is_live() && job.deadline.is_some_and(|at| at <= now);
        let mut late: Vec<_> = self
            .jobs
            .values()
            .filter(late)
            .map(|job| (job.deadline, job.seq))
            .collect();
        late.sort_unstable();
        for (_, seq) in late {
            if self.jobs[&seq].is_live() {
                self.tell("task.failed", seq);
                self.end(seq, 5);
            }
        }
    }

    /// When something falls due next.
    pub(super) fn next_due(&self) -> Option<i64> {
        let jobs = || self.jobs.values();
        let scheduled = jobs().filter(|job| job.state == 0).map(|job| job.run_at);
        let deadlines = jobs().filter(|job| job.is_live()).filter_map(|job| job.deadline);
        let entries = jobs().flat_map(|job| job.journal.values());
        let timers = entries
            .filter(|entry| entry.state == 0)
            .filter_map(|entry| entry.wake_at);
        scheduled.chain(deadlines).chain(timers).min()
    }

    pub(super) fn is_ready(&self, job: &Job) -> bool {
        let [agent, tenant, all] = self.paused;
        let paused = all || agent && job.agent == "agent-0" || tenant && job.tenant == "tenant-0";
        job.state == 1 && !paused
    }

    pub(super) fn claim(&mut self, seq: i64, epoch: i64) {
        let job = self.job(seq);
        (job.state, job.epoch) = (2, epoch);
        job.attempt += 1;
        if job.single_start {
            job.single = None;
        }
        self.tell("task.started", seq);
    }

    pub(super) fn resolve(&mut self, seq: i64, key: &str, has_value: bool) {
        let Some(entry) = self.jobs.get_mut(&seq).and_then(|job| job.journal.get_mut(key)) else {
            return;
        };
        if ![0, 3].contains(&entry.state) {
            return;
        }
        (entry.state, entry.has_value) = (1, has_value);
        let now = self.now;
        let job = self.job(seq);
        if job.state == 3 {
            (job.state, job.run_at) = (1, now);
            self.tell("task.resumed", seq);
        }
    }

    /// Those of one batch that succeeded.
    pub(super) fn succeed(&mut self, seqs: &[i64]) {
        let now = self.now;
        for seq in seqs {
            let job = self.job(*seq);
            (job.state, job.epoch, job.single, job.has_output) = (4, 0, None, true);
            job.finished_at = Some(now);
        }
        for seq in seqs {
            self.tell("task.succeeded", *seq);
        }
        for seq in seqs {
            self.cancel_below(*seq);
        }
        for seq in seqs {
            self.tell_caller(*seq, true);
        }
    }

    /// `retry_at` when there is another attempt, otherwise the state in which it ends.
    pub(super) fn fail(&mut self, seq: i64, next: Result<i64, i64>) {
        self.job(seq).failures += 1;
        self.tell("task.failed", seq);
        match next {
            Ok(retry_at) => {
                let job = self.job(seq);
                (job.state, job.epoch, job.run_at) = (0, 0, retry_at);
                self.tell("task.retrying", seq);
            }
            Err(state) => {
                if state == 7 {
                    self.tell("task.dead", seq);
                }
                self.end(seq, state);
            }
        }
    }

    fn end(&mut self, seq: i64, state: i64) {
        let now = self.now;
        let job = self.job(seq);
        (job.state, job.epoch, job.single) = (state, 0, None);
        job.finished_at = Some(now);
        self.cancel_below(seq);
        self.tell_caller(seq, false);
    }

    pub(super) fn cancel(&mut self, seq: i64) {
        self.cancel_one(seq);
        self.cancel_below(seq);
        self.tell_caller(seq, false);
    }

    pub(super) fn cancel_one(&mut self, seq: i64) {
        let now = self.now;
        let job = self.job(seq);
        (job.state, job.epoch, job.single) = (6, 0, None);
        job.finished_at = Some(now);
        self.tell("task.cancelled", seq);
    }

    pub(super) fn cancel_below(&mut self, seq: i64) {
        for child in self.children(seq) {
            if self.jobs[&child].is_live() {
                self.cancel_one(child);
                self.cancel_below(child);
            }
        }
    }

    pub(super) fn children(&self, seq: i64) -> Vec<i64> {
        let own = |job: &&Job| job.parent == Some(seq);
        self.jobs.values().filter(own).map(|job| job.seq).collect()
    }

    fn tell_caller(&mut self, seq: i64, succeeded: bool) {
        let job = &self.jobs[&seq];
        let (Some(parent), Some(call)) = (job.parent, job.call.clone()) else {
            return;
        };
        let entry = self.jobs.get_mut(&parent).and_then(|job| job.journal.get_mut(&call));
        let Some(entry) = entry.filter(|entry| entry.state == 0) else {
            return;
        };
        let remaining = if succeeded { entry.remaining.unwrap() - 1 } else { 0 };
        entry.remaining = Some(remaining);
        if remaining <= 0 {
            self.resolve(parent, &call, false);
            return;
        }
        let now = self.now;
        let held = |job: &&mut Job| {
            job.parent == Some(parent) && job.call.as_ref() == Some(&call) && job.state == 0 && job.run_at == HELD
        };
        if let Some(next) = self.jobs.values_mut().filter(held).min_by_key(|job| job.ordinal) {
            (next.state, next.run_at) = (1, now);
        }
    }

    /// The runs of processes that have ended, in the order in which they are taken back.
    pub(super) fn left(&self, own: i64) -> Vec<i64> {
        let is_open = |epoch: i64| self.epochs.get(&epoch).is_some_and(|epoch| !epoch.has_ended);
        let left = |job: &&Job| job.state == 2 && job.epoch != own && !is_open(job.epoch);
        let mut left: Vec<_> = self
            .jobs
            .values()
            .filter(left)
            .map(|job| (job.epoch, job.seq))
            .collect();
        left.sort_unstable();
        left.into_iter().map(|(_, seq)| seq).collect()
    }

    pub(super) fn recover(&mut self, left: &[i64]) {
        for seq in left {
            let job = self.job(*seq);
            // It was cancelled with its caller.
            if job.state != 2 {
                continue;
            }
            let entries = i64::try_from(job.journal.len()).unwrap();
            job.crashes = if entries > job.mark { 1 } else { job.crashes + 1 };
            if job.crashes >= i64::from(limits::CRASHES_MAX) {
                self.tell("task.dead", *seq);
                self.end(*seq, 7);
            } else {
                (job.state, job.epoch, job.mark) = (1, 0, entries);
                self.tell("task.recovered", *seq);
            }
        }
    }

    pub(super) fn revive(&mut self, seq: i64) {
        let now = self.now;
        let job = self.job(seq);
        (job.state, job.run_at, job.failures, job.crashes, job.mark) = (1, now, 0, 0, 0);
        (job.finished_at, job.deadline) = (None, None);
        job.journal.retain(|_, entry| {
            let is_open = [0, 3, 4].contains(&entry.state);
            entry.kind == CHILDREN || !(is_open || entry.kind == SIGNAL && !entry.has_value)
        });
        let mut again = self.children(seq);
        again.retain(|child| self.jobs[child].state > 4);
        let mut calls: BTreeMap<String, i64> = BTreeMap::new();
        for child in &again {
            *calls.entry(self.jobs[child].call.clone().unwrap()).or_default() += 1;
        }
        for (call, remaining) in calls {
            if let Some(entry) = self.job(seq).journal.get_mut(&call) {
                (entry.state, entry.has_value, entry.remaining) = (0, false, Some(remaining));
            }
        }
        for child in again {
            self.revive(child);
        }
        self.tell("task.redriven", seq);
    }

    pub(super) fn forget(&mut self, before: i64) -> usize {
        let live: Vec<i64> = self
            .jobs
            .values()
            .filter(|job| job.is_live())
            .map(|job| job.seq)
            .collect();
        let count = self.jobs.len();
        self.jobs.retain(|_, job| {
            let is_old = !job.is_live() && job.finished_at.is_some_and(|at| at < before);
            !is_old || job.parent.is_some_and(|parent| live.contains(&parent))
        });
        count - self.jobs.len()
    }
}
