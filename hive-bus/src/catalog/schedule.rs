//! Schedules: tasks that are submitted again and again, or once, when the time has come.

use hive_core::clock::Timestamp;
use hive_core::id::TaskId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example_task;

/// A schedule came into being, or another definition took its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleDefined {
    /// The schedule's name.
    pub schedule: String,
    /// The agent that its tasks are for.
    pub agent: String,
    /// When it is due, for people.
    pub timing: String,
    /// When its first task is submitted, unless none is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Whether a schedule of this name was there before.
    pub replaced: bool,
}

typed_event!(
    ScheduleDefined,
    "schedule.defined",
    schedule,
    Self {
        schedule: "nightly".into(),
        agent: "reporter".into(),
        timing: "cron 0 3 * * * in Europe/Berlin".into(),
        next: Some(example_due()),
        replaced: false
    }
);

/// A schedule submitted a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleFired {
    /// The schedule's name.
    pub schedule: String,
    /// The task that was submitted.
    pub task: TaskId,
    /// The due time in whose name it was; none when it was asked for by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

typed_event!(
    ScheduleFired,
    "schedule.fired",
    schedule,
    Self {
        schedule: "nightly".into(),
        task: example_task(1),
        due: Some(example_due())
    }
);

/// Due times of a schedule passed and are not made up for: its policy says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleMissed {
    /// The schedule's name.
    pub schedule: String,
    /// The first of them.
    pub since: Timestamp,
    /// How many, as far as they are counted.
    pub missed: u32,
}

typed_event!(
    ScheduleMissed,
    "schedule.missed",
    schedule,
    Self {
        schedule: "nightly".into(),
        since: example_due(),
        missed: 2
    }
);

/// A schedule submits nothing until it is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePaused {
    /// The schedule's name.
    pub schedule: String,
}

typed_event!(
    SchedulePaused,
    "schedule.paused",
    schedule,
    Self {
        schedule: "nightly".into()
    }
);

/// A schedule goes on, from the present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleResumed {
    /// The schedule's name.
    pub schedule: String,
    /// When its next task is submitted, unless none is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

typed_event!(
    ScheduleResumed,
    "schedule.resumed",
    schedule,
    Self {
        schedule: "nightly".into(),
        next: Some(example_due())
    }
);

/// A schedule is gone. Tasks that it submitted are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRemoved {
    /// The schedule's name.
    pub schedule: String,
}

typed_event!(
    ScheduleRemoved,
    "schedule.removed",
    schedule,
    Self {
        schedule: "nightly".into()
    }
);

/// 2026-01-01T02:00:00Z, three o'clock in Berlin.
fn example_due() -> Timestamp {
    Timestamp::from_micros(1_767_232_800_000_000)
}
