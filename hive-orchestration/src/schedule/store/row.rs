//! A row as it was read.

use hive_core::clock::Timestamp;
use hive_core::db::{Row, Snapshot};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::super::emit::Teller;
use super::super::{Info, Schedule, stored};
use super::Definition;
use crate::queue::Queue;
use crate::queue::submit::NewTask;
use crate::task::Priority;

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) agent: String,
    priority: i64,
    input: Payload,
    spec: String,
    pub(super) paused: bool,
    pub(super) due_at: Option<Timestamp>,
    fire_at: Option<Timestamp>,
    pub(super) last_due: Option<Timestamp>,
    pub(super) last_task: Option<TaskId>,
    pub(super) fired: u64,
    pub(super) revision: u64,
    created_at: Timestamp,
}

const COLUMNS: &str = "name, tenant, agent, priority, input, spec, paused, due_at, fire_at, last_due, last_task, fired, \
                       revision, created_at";

fn record(row: &Row<'_>) -> Result<Record> {
    Ok(Record {
        name: row.get(0)?,
        tenant: row.get(1)?,
        agent: row.get(2)?,
        priority: row.get(3)?,
        input: row.get(4)?,
        spec: row.get(5)?,
        paused: row.get::<i64>(6)? != 0,
        due_at: row.get(7)?,
        fire_at: row.get(8)?,
        last_due: row.get(9)?,
        last_task: row.get(10)?,
        fired: row.get(11)?,
        revision: row.get(12)?,
        created_at: row.get(13)?,
    })
}

pub(super) fn find(db: &Snapshot<'_>, name: &str) -> Result<Option<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM schedule WHERE name = ?1");
    db.query_opt(&sql, &[&name], record)
}

pub(super) fn get(db: &Snapshot<'_>, name: &str) -> Result<Record> {
    find(db, name)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "there is no such schedule")
            .with("schedule", format!("{:.80}", name.escape_debug()))
            .with_hint("`Hive::schedules` lists those that there are")
    })
}

pub(super) fn list(db: &Snapshot<'_>, after: &str, limit: usize) -> Result<Vec<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM schedule WHERE name > ?1 ORDER BY name LIMIT ?2");
    db.query(&sql, &[&after, &(limit as u64)], record)
}

impl Record {
    pub(super) fn schedule(&self) -> Result<Schedule> {
        stored::decode(&self.spec).map_err(|error| error.with("schedule", &self.name))
    }

    /// Whether this is what `new` asks for.
    pub(super) fn is(&self, new: &Definition, spec: &str) -> bool {
        // An older program wrote the same schedule with other words.
        let same = || matches!((stored::decode(&self.spec), stored::decode(spec)), (Ok(old), Ok(new)) if old == new);
        self.tenant == new.tenant
            && self.agent == new.agent
            && self.priority == new.priority.code()
            && self.input == new.input
            && (self.spec == spec || same())
    }

    /// The task of a due time, or one that is asked for by hand.
    pub(super) fn task(&self, queue: &Queue, due: Option<Timestamp>) -> Result<NewTask> {
        let mut labels = vec![("schedule".to_owned(), self.name.clone())];
        labels.extend(due.map(|due| ("due".to_owned(), due.to_string())));
        Ok(NewTask {
            priority: self.priority()?,
            idempotency: due.map(|due| format!("schedule:{}@{due}", self.name)),
            labels,
            ..NewTask::new(queue.ids.next(), &*self.agent, &*self.tenant, self.input.clone())
        })
    }

    fn priority(&self) -> Result<Priority> {
        let known = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
        known
            .into_iter()
            .find(|priority| priority.code() == self.priority)
            .ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, "a schedule has an unknown priority").with("priority", self.priority)
            })
    }

    pub(super) fn teller<'a>(&'a self, queue: &'a Queue) -> Teller<'a> {
        Teller {
            bus: &queue.bus,
            telemetry: &queue.telemetry,
            name: &self.name,
            tenant: &self.tenant,
        }
    }

    pub(super) fn info(&self) -> Result<Info> {
        Ok(Info {
            name: self.name.clone(),
            schedule: self.schedule()?,
            agent: self.agent.clone(),
            tenant: self.tenant.clone(),
            paused: self.paused,
            next: self.fire_at.filter(|_| !self.paused),
            last_due: self.last_due,
            last_task: self.last_task,
            fired: self.fired,
            revision: self.revision,
            created_at: self.created_at,
        })
    }
}
