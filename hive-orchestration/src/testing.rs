//! A whole hive inside a test: in memory, under virtual time, from a seed, with crashes wherever you want them.
//!
//! [`TestHive`] is a hive whose time passes in no time: three days of sleep take as long as the work between. It is driven from an
//! ordinary `#[test]`; nothing moves but within its methods, so the same seed gives the same course of events, to the last id.
//!
//! ```
//! use std::time::Duration;
//! use hive_orchestration::testing::TestHive;
//! use hive_orchestration::{Context, Failure, agent_fn};
//!
//! let mut hive = TestHive::new(1, |hive| {
//!     hive.agent(agent_fn("reminder", async |cx: Context, text: String| {
//!         cx.sleep(Duration::from_secs(3 * 24 * 60 * 60)).await?;
//!         Ok::<_, Failure>(text.to_uppercase())
//!     }))
//! });
//! let before = hive.now();
//! assert_eq!(hive.run_named("reminder", "pay").unwrap(), "PAY");
//! assert!(hive.now().since(before) >= Duration::from_secs(3 * 24 * 60 * 60));
//! ```
//!
//! [`crash_everywhere`] runs your agents once as they are, and then once for each commit that took place, killing the process on either
//! side of it. Each time another process goes on, and what comes of it must be what came of it without a crash; no step that was on
//! record may have run again.
//!
//! ```
//! use hive_orchestration::testing::crash_everywhere;
//! use hive_orchestration::{Context, Failure, agent_fn};
//!
//! let report = crash_everywhere(
//!     |hive| {
//!         hive.agent(agent_fn("sum", async |cx: Context, (a, b): (u64, u64)| {
//!             let a = cx.step("double", async || Ok::<_, Failure>(2 * a)).await?;
//!             cx.step("add", async || Ok::<_, Failure>(a + b)).await
//!         }))
//!     },
//!     |hive| async move { hive.submit_named("sum", &(20, 2)).idempotency_key("sum").await?.result().await },
//! )
//! .unwrap();
//! assert!(report.commits >= 4, "submit, claim, two steps and the end: {report:?}");
//! ```
//!
//! # What an agent must keep to
//!
//! Time comes from the context's clock or from tokio's, which is virtual here as well, and what waits for the world outside goes through a
//! port that the test fills, such as a [scripted model](hive_core::model::scripted::Scripted): the runtime has no network, and
//! would not wait for a thread of your own. `tokio::select!` without `biased` draws lots by itself, outside of the seed.
//!
//! A process is killed at an `await`: what it holds in memory is dropped there, and destructors run, which those of a real process
//! would not. It writes nothing from then on.

mod clock;
mod crash;
mod life;
mod outcome;
mod people;
mod steps;
mod tables;

#[cfg(test)]
mod tests;

pub use self::crash::{CrashTest, Failed, Report, crash_everywhere};
pub use self::life::TestHive;
pub use self::outcome::{Outcome, Remembered, TaskOutcome};
#[doc(no_inline)]
pub use hive_core::db::Cut;
