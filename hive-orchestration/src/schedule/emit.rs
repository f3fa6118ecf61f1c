//! The events of a schedule's life, in the transaction that changes it.

use hive_bus::catalog::{
    ScheduleDefined, ScheduleFired, ScheduleMissed, SchedulePaused, ScheduleRemoved, ScheduleResumed,
};
use hive_bus::{Bus, NewEvent, TypedEvent};
use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_errors::Result;

use super::spec::Due;
use crate::telemetry::Telemetry;

/// Whose life, and on whose behalf.
#[derive(Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) bus: &'a Bus,
    pub(super) telemetry: &'a Telemetry,
    pub(super) name: &'a str,
    pub(super) tenant: &'a str,
}

impl Teller<'_> {
    fn tell<T: TypedEvent>(self, tx: &mut Tx<'_>, data: &T, task: Option<TaskId>) -> Result<()> {
        let mut event = NewEvent::of(data)?.tenant(self.tenant.to_owned());
        if let Some(task) = task {
            event = event.correlation(task).causation(task);
        }
        self.bus.publish_in(tx, event).map(drop)
    }

    pub(super) fn defined(
        self,
        tx: &mut Tx<'_>,
        agent: &str,
        timing: String,
        next: Option<Due>,
        replaced: bool,
    ) -> Result<()> {
        let data = ScheduleDefined {
            schedule: self.name.to_owned(),
            agent: agent.to_owned(),
            timing,
            next: next.map(|due| due.fire_at),
            replaced,
        };
        self.tell(tx, &data, None)
    }

    /// Found with the task's other events, by its correlation id.
    pub(super) fn fired(self, tx: &mut Tx<'_>, task: TaskId, due: Option<Timestamp>) -> Result<()> {
        let data = ScheduleFired {
            schedule: self.name.to_owned(),
            task,
            due,
        };
        self.telemetry.fired(tx);
        self.tell(tx, &data, Some(task))
    }

    pub(super) fn missed(self, tx: &mut Tx<'_>, since: Timestamp, missed: usize) -> Result<()> {
        let data = ScheduleMissed {
            schedule: self.name.to_owned(),
            since,
            missed: u32::try_from(missed).unwrap_or(u32::MAX),
        };
        self.tell(tx, &data, None)
    }

    pub(super) fn paused(self, tx: &mut Tx<'_>) -> Result<()> {
        let schedule = self.name.to_owned();
        self.tell(tx, &SchedulePaused { schedule }, None)
    }

    pub(super) fn resumed(self, tx: &mut Tx<'_>, next: Option<Due>) -> Result<()> {
        let data = ScheduleResumed {
            schedule: self.name.to_owned(),
            next: next.map(|due| due.fire_at),
        };
        self.tell(tx, &data, None)
    }

    pub(super) fn removed(self, tx: &mut Tx<'_>) -> Result<()> {
        let schedule = self.name.to_owned();
        self.tell(tx, &ScheduleRemoved { schedule }, None)
    }
}
