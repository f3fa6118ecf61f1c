//! What a run asks for and is told, beside the model.

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_errors::ErrorKind;

use super::super::super::super::submit::NewTask;
use super::super::super::super::wait::{self, NewWait, Until, Wanted};
use super::super::super::super::{Queue, cancel};
use super::super::ideal::{CHILDREN, Entry, HELD, SIGNAL, TIMER};
use super::super::op::{Pick, Wait};
use super::{Fault, World, agent, alone, key, payload, same, seconds, told};
use crate::journal::{self, Kind, Record};

impl World {
    pub(super) fn sync(
        &mut self,
        tx: &mut Tx<'_>,
        pick: Pick,
        number: u8,
        wait: &Wait,
        park: bool,
    ) -> Result<(), Fault> {
        let Some((lease, task)) = self.lease(pick) else {
            return Ok(());
        };
        let key = key(wait, number);
        let (holds, seq, now) = (self.holds(lease), lease.task, self.ideal.now);
        // A run asks for what it waits for already.
        let is_known = holds && self.ideal.jobs[&seq].journal.contains_key(&key);
        if holds && park && is_known && !self.ideal.jobs[&seq].is_pending() {
            return Ok(());
        }
        let queue = self.processes[0].queue.clone();
        let new = self.wanted(&queue, &key, wait);
        let waits = if is_known { Vec::new() } else { vec![new.clone()] };
        let synced = alone(tx, |tx| wait::sync(tx, &queue, lease, &task, 0, &waits, park));
        if !holds {
            return same(
                "a stale wait",
                synced.err().map(|error| error.kind()),
                Some(ErrorKind::LeaseLost),
            );
        }
        let synced = told("wait", synced)?;
        if !is_known {
            self.register(tx, seq, &key, &new, wait, now)?;
        }
        let mut resolved = Vec::new();
        let job = self.ideal.job(seq);
        for (key, entry) in job.journal.iter_mut().filter(|(_, entry)| entry.state == 1) {
            entry.state = 2;
            resolved.push(key.clone());
        }
        let parked = park && resolved.is_empty();
        if parked {
            (job.state, job.epoch) = (3, 0);
            let id = job.id;
            self.ideal.events.push(("task.waiting", id));
        }
        let mut keys: Vec<String> = synced.resolved.into_iter().map(|one| one.key).collect();
        keys.sort();
        same("outcomes", keys, resolved)?;
        same("parked", synced.parked, parked)
    }

    fn wanted(&self, queue: &Queue, key: &str, wait: &Wait) -> NewWait {
        let what = match wait {
            Wait::Timer(delay) => Wanted::Timer {
                until: Until::In(Duration::from_secs(*delay)),
            },
            Wait::Signal { name, timeout } => Wanted::Signal {
                name: format!("s{name}"),
                question: None,
                timeout: timeout.map(Duration::from_secs),
            },
            Wait::Children { agents, parallel } => Wanted::Children {
                kind: Kind::Children,
                tasks: (agents.iter())
                    .map(|number| NewTask::new(queue.ids.next(), agent(*number), "tenant-0", payload(0)))
                    .collect(),
                parallel: *parallel,
            },
        };
        NewWait {
            key: key.to_owned(),
            what,
        }
    }

    fn register(
        &mut self,
        tx: &Tx<'_>,
        seq: i64,
        key: &str,
        new: &NewWait,
        wait: &Wait,
        now: i64,
    ) -> Result<(), Fault> {
        match wait {
            Wait::Timer(delay) => {
                let mut entry = Entry::pending(TIMER, now);
                entry.wake_at = Some(now + seconds(*delay));
                self.ideal.job(seq).journal.insert(key.to_owned(), entry);
            }
            Wait::Signal { name, timeout } => {
                let mut entry = Entry::pending(SIGNAL, now);
                (entry.wake_at, entry.signal) =
                    (timeout.map(|timeout| now + seconds(timeout)), Some(format!("s{name}")));
                let job = self.ideal.job(seq);
                job.journal.insert(key.to_owned(), entry);
                let early = job.inbox.iter().position(|unread| *unread == format!("s{name}"));
                if let Some(place) = early {
                    job.inbox.remove(place);
                    self.ideal.resolve(seq, key, true);
                }
            }
            Wait::Children { parallel, .. } => {
                let Wanted::Children { tasks, .. } = &new.what else {
                    return Err("not children".to_owned());
                };
                let mut entry = Entry::pending(CHILDREN, now);
                entry.remaining = Some(i64::try_from(tasks.len()).unwrap());
                self.ideal.job(seq).journal.insert(key.to_owned(), entry);
                for (ordinal, task) in tasks.iter().enumerate() {
                    let mut child = self.job(tx, task, if ordinal >= *parallel { HELD } else { now })?;
                    (child.parent, child.call) = (Some(seq), Some(key.to_owned()));
                    child.ordinal = i64::try_from(ordinal).unwrap();
                    self.ideal.add(child);
                }
                if tasks.is_empty() {
                    self.ideal.resolve(seq, key, false);
                }
            }
        }
        Ok(())
    }

    pub(super) fn record(&mut self, tx: &mut Tx<'_>, pick: Pick, number: u8) -> Result<(), Fault> {
        let Some((lease, _)) = self.lease(pick) else {
            return Ok(());
        };
        let (key, now) = (format!("step:k#{number}"), self.ideal.now);
        let record = Record {
            lease,
            at: Timestamp::from_micros(now),
            key: key.clone(),
            kind: Kind::Step,
            type_name: "u8",
            value: payload(1),
            also: None,
        };
        let recorded = alone(tx, |tx| journal::record_all(tx, &[record])?.remove(0));
        let should = self.holds(lease).then_some(()).ok_or(ErrorKind::LeaseLost);
        same("recorded", recorded.map_err(|error| error.kind()), should)?;
        if should.is_ok() {
            let mut entry = Entry::pending(0, now);
            (entry.state, entry.has_value) = (2, true);
            self.ideal.job(lease.task).journal.insert(key, entry);
        }
        Ok(())
    }

    pub(super) fn siblings(&mut self, tx: &mut Tx<'_>, pick: Pick, number: u8) -> Result<(), Fault> {
        let Some((lease, _)) = self.lease(pick) else {
            return Ok(());
        };
        let (queue, call) = (self.processes[0].queue.clone(), format!("call:k#{number}"));
        let cancelled = alone(tx, |tx| cancel::siblings(tx, &queue, lease, &call, "another failed"));
        let should = self.holds(lease).then_some(()).ok_or(ErrorKind::LeaseLost);
        same("siblings", cancelled.map_err(|error| error.kind()), should)?;
        if should.is_ok() {
            for child in self.ideal.children(lease.task) {
                let job = &self.ideal.jobs[&child];
                if job.is_live() && job.call.as_ref() == Some(&call) {
                    self.ideal.cancel_one(child);
                    self.ideal.cancel_below(child);
                }
            }
        }
        Ok(())
    }

    pub(super) fn signal(&mut self, tx: &mut Tx<'_>, task: usize, name: u8) -> Result<(), Fault> {
        let Some((id, row)) = self.task(task) else {
            return Ok(());
        };
        let (queue, name) = (self.processes[0].queue.clone(), format!("s{name}"));
        let sent = alone(tx, |tx| wait::signal(tx, &queue, id, &name, &payload(2), None));
        let should = match row.map(|seq| self.ideal.jobs[&seq].is_live()) {
            None => Err(ErrorKind::NotFound),
            Some(false) => Err(ErrorKind::Conflict),
            Some(true) => Ok(()),
        };
        same("signalled", sent.map_err(|error| error.kind()), should)?;
        let (Ok(()), Some(seq)) = (should, row) else {
            return Ok(());
        };
        let job = self.ideal.job(seq);
        let open = |(_, entry): &(&String, &Entry)| entry.state == 0 && entry.signal.as_ref() == Some(&name);
        let waits = job.journal.iter().filter(open);
        let oldest = waits.min_by_key(|(key, entry)| (entry.at, key.len(), (*key).clone()));
        match oldest.map(|(key, _)| key.clone()) {
            Some(key) => self.ideal.resolve(seq, &key, true),
            None => job.inbox.push(name),
        }
        Ok(())
    }
}
