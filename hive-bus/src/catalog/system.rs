//! A hive's own processes.

use hive_core::id::InstanceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example_instance;

/// A process of the hive is ready for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemStarted {
    /// The process.
    pub instance: InstanceId,
    /// The version of the program's `hive-orchestration`.
    pub version: String,
}

typed_event!(
    SystemStarted,
    "system.started",
    instance,
    Self {
        instance: example_instance(),
        version: "0.1.0".into()
    }
);

/// A process takes no new work and finishes what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemStopping {
    /// The process.
    pub instance: InstanceId,
    /// Attempts under way.
    pub running: u32,
}

typed_event!(
    SystemStopping,
    "system.stopping",
    instance,
    Self {
        instance: example_instance(),
        running: 2
    }
);

/// A process ended in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemStopped {
    /// The process.
    pub instance: InstanceId,
}

typed_event!(
    SystemStopped,
    "system.stopped",
    instance,
    Self {
        instance: example_instance(),
    }
);

/// A process took over what a dead one had under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemRecovered {
    /// The process.
    pub instance: InstanceId,
    /// How many attempts were queued again.
    pub attempts: u64,
}

typed_event!(
    SystemRecovered,
    "system.recovered",
    instance,
    Self {
        instance: example_instance(),
        attempts: 3
    }
);

/// A part of a process does not work as it should; the hive goes on without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemDegraded {
    /// The process.
    pub instance: InstanceId,
    /// Which part, such as `cache`.
    pub part: String,
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
}

typed_event!(
    SystemDegraded,
    "system.degraded",
    instance,
    Self {
        instance: example_instance(),
        part: "cache".into(),
        code: "timeout".into(),
        message: "the server does not answer".into()
    }
);

/// A feature flag was changed at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemFlagChanged {
    /// The process.
    pub instance: InstanceId,
    /// The flag's name.
    pub flag: String,
    /// Whether it is on now.
    pub enabled: bool,
    /// Who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

typed_event!(
    SystemFlagChanged,
    "system.flag-changed",
    instance,
    Self {
        instance: example_instance(),
        flag: "insight".into(),
        enabled: true,
        by: None
    }
);

/// The number of a process's workers was changed to fit the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemScaled {
    /// The process that decided.
    pub instance: InstanceId,
    /// Which workers, by the name that they were given.
    pub workers: String,
    /// How many there were.
    pub from: u32,
    /// How many there are to be.
    pub to: u32,
    /// Why, in a word, such as `waiting` or `underused`.
    pub reason: String,
    /// Tasks that waited.
    pub queued: u64,
    /// How long the first of them had waited, in milliseconds.
    pub oldest_wait_ms: u64,
}

typed_event!(
    SystemScaled,
    "system.scaled",
    instance,
    Self {
        instance: example_instance(),
        workers: "hive".into(),
        from: 4,
        to: 8,
        reason: "waiting".into(),
        queued: 12,
        oldest_wait_ms: 1500
    }
);
