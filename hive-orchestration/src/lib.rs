//! Durable multi-agent systems as a library.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod limits;
mod task;
mod wake;
mod journal;
mod queue;
mod context;
mod agent;
mod call;
mod registry;
mod worker;
mod handle;
mod hive;

pub use hive_bus as bus;
pub use hive_core as core;
pub use hive_errors as errors;
pub use hive_errors::{Error, Failure, Result, RetryPolicy};

pub use crate::agent::{Agent, AnyAgent, agent_fn};
pub use crate::call::{Call, Map};
pub use crate::context::{Approval, Context, Effect, Signal, Step, Wait};
pub use crate::handle::{Decision, TaskHandle, Watch};
pub use crate::hive::{Builder, Hive, Submit};
pub use crate::task::{Priority, Progress, TaskState, TaskStatus, WaitingFor};
