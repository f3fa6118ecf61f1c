//! The built-in types of event, in ten families.
//!
//! A type's topic is its name and then what it is about: `task.failed.reviewer` for a `task.failed` of the agent
//! `reviewer`. So `task.>` is everything about tasks, `task.failed.>` every failed attempt and `task.*.reviewer` whatever
//! happens to one agent's tasks. An agent's name may have dots; it then ends the topic with several tokens.
//!
//! ```
//! use hive_bus::catalog;
//!
//! let registry = catalog::registry();
//! let failed = registry.get("task.failed").expect("built in");
//! assert_eq!(failed.topics().as_str(), "task.failed.>");
//! assert!(failed.schema().as_value()["properties"].get("attempt").is_some());
//! ```
//!
//! The data of a built-in type only gains optional fields within one schema version. Reading ignores fields it does not
//! know, so an older program reads a newer one's events.

/// Gives a struct its type name, its topic rule (the name, then the named field) and an example.
macro_rules! typed_event {
    ($Type:ident, $name:literal, $about:ident, $example:expr) => {
        impl $crate::event::TypedEvent for $Type {
            const TYPE: &'static str = $name;
            const TOPICS: &'static str = concat!($name, ".>");

            fn topic(&self) -> ::hive_errors::Result<$crate::topic::Topic> {
                $crate::topic::Topic::new(format!(concat!($name, ".{}"), self.$about))
            }

            fn example() -> Self {
                $example
            }
        }
    };
}

mod agent;
mod deployment;
mod gateway;
mod plugin;
mod review;
mod schedule;
mod system;
mod task;
mod workflow;

#[cfg(test)]
mod tests;

use hive_core::id::{InstanceId, TaskId};

pub use self::agent::{
    AgentBusy, AgentDraining, AgentOffline, AgentOnline, AgentRegistered, AgentRouted, RouteCandidate,
};
pub use self::deployment::{
    DeploymentFailed, DeploymentRequested, DeploymentReverted, DeploymentStarted, DeploymentSucceeded,
};
pub use self::gateway::{GatewayConnected, GatewayDisconnected, GatewayListening, GatewayRefused};
pub use self::plugin::{PluginDenied, PluginFailed, PluginLoaded, PluginSwapped, PluginUnloaded};
pub use self::review::{ReviewCompleted, ReviewEscalated, ReviewRequested, ReviewStarted, Verdict};
pub use self::schedule::{
    ScheduleDefined, ScheduleFired, ScheduleMissed, SchedulePaused, ScheduleRemoved, ScheduleResumed,
};
pub use self::system::{
    SystemDegraded, SystemFlagChanged, SystemRecovered, SystemScaled, SystemStarted, SystemStopped, SystemStopping,
};
pub use self::task::{
    TaskAnswered, TaskAsked, TaskCancelled, TaskDead, TaskFailed, TaskProgress, TaskRecovered, TaskRedriven,
    TaskResumed, TaskRetrying, TaskStarted, TaskStepCompleted, TaskSubmitted, TaskSucceeded, TaskWaiting, WaitsFor,
};
pub use self::workflow::{
    StageEnd, WorkflowCancelled, WorkflowFailed, WorkflowPlanned, WorkflowStageEnded, WorkflowStageStarted,
    WorkflowStarted, WorkflowSucceeded,
};
pub use crate::message::MessageSent;
use crate::schema::{EventType, TopicRegistry};

macro_rules! types {
    ($($Type:ident),* $(,)?) => { vec![$(EventType::of::<$Type>()),*] };
}

/// A registry that knows the built-in types; add yours with [`TopicRegistry::register`].
pub fn registry() -> TopicRegistry {
    TopicRegistry::of_checked(built_in())
}

fn built_in() -> Vec<EventType> {
    types![
        TaskSubmitted,
        TaskStarted,
        TaskProgress,
        TaskStepCompleted,
        TaskWaiting,
        TaskAsked,
        TaskAnswered,
        TaskResumed,
        TaskFailed,
        TaskRetrying,
        TaskRecovered,
        TaskSucceeded,
        TaskCancelled,
        TaskDead,
        TaskRedriven,
        ReviewRequested,
        ReviewStarted,
        ReviewCompleted,
        ReviewEscalated,
        WorkflowStarted,
        WorkflowPlanned,
        WorkflowStageStarted,
        WorkflowStageEnded,
        WorkflowSucceeded,
        WorkflowFailed,
        WorkflowCancelled,
        DeploymentRequested,
        DeploymentStarted,
        DeploymentSucceeded,
        DeploymentFailed,
        DeploymentReverted,
        AgentRegistered,
        AgentOnline,
        AgentBusy,
        AgentDraining,
        AgentOffline,
        AgentRouted,
        SystemStarted,
        SystemStopping,
        SystemStopped,
        SystemRecovered,
        SystemDegraded,
        SystemFlagChanged,
        SystemScaled,
        PluginLoaded,
        PluginSwapped,
        PluginUnloaded,
        PluginFailed,
        PluginDenied,
        GatewayListening,
        GatewayConnected,
        GatewayDisconnected,
        GatewayRefused,
        ScheduleDefined,
        ScheduleFired,
        ScheduleMissed,
        SchedulePaused,
        ScheduleResumed,
        ScheduleRemoved,
        MessageSent,
    ]
}

/// The ids in the examples: the same in every run, so that documentation made from them does not change.
fn example_task(number: u8) -> TaskId {
    TaskId::from_bytes(example_bytes(number))
}

fn example_instance() -> InstanceId {
    InstanceId::from_bytes(example_bytes(0))
}

/// 2026-01-01T00:00:00Z as a UUIDv7, its last byte `number`.
const fn example_bytes(number: u8) -> [u8; 16] {
    [
        0x01, 0x9b, 0x76, 0xda, 0xa8, 0x00, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number,
    ]
}
