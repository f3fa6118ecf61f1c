//! Durable multi-agent systems as a library: implement [`Agent`], open a [`Hive`], submit tasks. Whatever was
//! acknowledged is on disk, and goes on where it stood after `kill -9` at any instruction.
//!
//! ```
//! # // The package is `hive-orchestration`; applications write `hive = { package = "hive-orchestration", … }`.
//! # use hive_orchestration as hive;
//! use hive::core::model::scripted::Scripted;
//! use hive::{Agent, Context, Failure, Hive};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Diff { text: String }
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Verdict { approved: bool, reasons: Vec<String> }
//!
//! struct Reviewer;
//!
//! impl Agent for Reviewer {
//!     const NAME: &'static str = "reviewer";
//!     type Input = Diff;
//!     type Output = Verdict;
//!
//!     async fn run(&self, cx: &Context, diff: Diff) -> Result<Verdict, Failure> {
//!         cx.step("ask", async || cx.model().extract(&diff.text).await).await // asked once, remembered for ever
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> hive::Result<()> {
//! #   let dir = tempfile::tempdir().unwrap();
//! #   let path = dir.path().join("hive.db");
//!     // A model that answers from a script, so that this page runs offline.
//!     let model = Scripted::new().on_json("+ bar", Verdict { approved: true, reasons: vec!["short".into()] });
//!     let hive = Hive::open(path).agent(Reviewer).model(model).start().await?;
//!     let task = hive.submit::<Reviewer>(Diff { text: "- foo\n+ bar".into() }).await?; // on disk from here on
//!     assert_eq!(task.result().await?.reasons, ["short"]);
//!     hive.shutdown().await
//! }
//! ```
//!
//! # What an agent may rely on
//!
//! - A **[step](Context::step)** that was acknowledged is never run again; its output comes from the journal.
//! - A **[transaction](Context::transaction)** on the hive's database happens exactly once.
//! - An effect on the outside happens **at least once**; give the other side [`Context::idempotency_key`], or declare the
//!   step [`Effect::AtMostOnce`], and an interrupted one waits for a person.
//! - **[Calls](Context::call)**, **[maps](Context::map)**, **[sleeps](Context::sleep)** and **[waits](Context::wait)** go on
//!   after a crash; while a task waits it holds no worker and, after a moment, no memory.
//! - At most one completion is accepted per task: every write is fenced, and a run that lost its lease is stopped.
//!
//! # What it is not
//!
//! No server and no macro language. There are no rules about determinism: code between steps may do what it likes, and
//! may do it again. One process owns a SQLite file; several share a PostgreSQL database.
//!
//! # Features
//!
//! - `process`: `process`, agents that are programs in any language, and `autoscale::WorkerProcesses` (on Unix).
//! - `postgres`: [`Hive::on`] a PostgreSQL server, with several processes.
//! - `claude`: the Claude command line as a model, `core::model::claude`.
//! - `test-util`: [`testing`], whole hives under virtual time, and crashes at every commit.
//! - `tzdata`: a time zone database of its own, for [schedules](schedule) on machines that have none.
//!
//! # Modules
//!
//! [`core`] (database, clock, models), [`bus`] (events) and [`errors`] are the crates below, re-exported; [`limits`] holds
//! every bound with its reason, [`settings`] what an operator may set. [`task`] describes what can be asked of a task,
//! [`flow`] how much of it may go on at once, [`budget`] how much it may use, [`family`] what reviews, workflows and deployments say of
//! themselves, [`registry`] who is there, [`router`] who gets a task that is not meant for one agent by name, [`plan`] what models may
//! write down for others to do, [`schedule`] when tasks are submitted by themselves, [`stream`] what is read of a step while it goes on,
//! [`drift`] what is done when code and record disagree, [`history`] a run as data, to be kept, read and forked, [`replay`] what today's
//! code would make of it, [`builders`] what `Hive::open` and its kin return. [`autoscale`] decides how many workers the load needs, and
//! sees to it that
//! there are; [`telemetry`] lists what is counted and measured.
//! [`memory`] is where agents keep what they know.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod limits;
pub mod budget;
pub mod task;
pub mod telemetry;
pub mod flow;
mod lease;
mod event;
mod wake;
mod pace;
mod patience;
pub mod drift;
mod journal;
pub mod memory;
pub mod family;
mod queue;
pub mod history;
mod context;
mod agent;
mod call;
mod undo;
#[cfg(all(feature = "process", unix))]
pub mod process;
pub mod replay;
pub mod autoscale;
pub mod registry;
pub mod router;
pub mod plan;
pub mod schedule;
mod tables;
mod worker;
pub mod stream;
mod handle;
pub mod settings;
mod hive;
#[cfg(feature = "test-util")]
pub mod testing;

#[doc(no_inline)]
pub use hive_bus as bus;
#[doc(no_inline)]
pub use hive_core as core;
#[doc(no_inline)]
pub use hive_errors as errors;

pub use hive_core::id::TaskId;
pub use hive_errors::{Error, Failure, Result, RetryPolicy};

pub use crate::agent::{Agent, agent_fn};
pub use crate::call::Call;
pub use crate::context::{Approval, Context, Effect, Signal};
pub use crate::handle::TaskHandle;
pub use crate::hive::Hive;
pub use crate::task::Priority;

/// What the methods of [`Hive`] and [`Context`] return on the way: named so that they can be stored and documented.
pub mod builders {
    pub use crate::agent::AnyAgent;
    pub use crate::call::{Map, Race, Settled};
    pub use crate::context::{Answered, Step, StreamStep, Transaction, Wait, WaitEvent};
    pub use crate::context::{Inbox, Outbox, OwnDeployment, OwnMemory, OwnReview, OwnWorkflow, Received};
    pub use crate::handle::Watch;
    pub use crate::hive::{Builder, Define, OpenMemory, Scheduling, Submit};
    pub use crate::plan::Execution;
}
