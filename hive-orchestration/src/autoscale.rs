//! As many workers as the load needs: a pure policy, a simulation to try it in, and a driver that applies it.
//!
//! [`decide`] looks at what waits, for how long, how busy the workers are and how fast tasks come and go, and says how many
//! workers there should be. It is a function of its arguments, so a [simulated](Scenario::simulate) day takes milliseconds and comes out the
//! same every time:
//!
//! ```
//! use std::time::Duration;
//! use hive_orchestration::autoscale::{Phase, Policy, Scenario};
//!
//! let policy = Policy::between(1, 50)?.with_wait_target(Duration::from_secs(2));
//! let day = Scenario::new(Duration::from_millis(500))
//!     .then(Phase::new(Duration::from_secs(600), 4.0))
//!     .then(Phase::new(Duration::from_secs(600), 40.0))
//!     .then(Phase::new(Duration::from_secs(1200), 4.0));
//! let outcome = day.simulate(&policy, 7);
//! assert!(outcome.workers_max() <= 50);
//! assert!(outcome.wait_at(0.95) < Duration::from_secs(2));
//! # Ok::<(), hive_orchestration::Error>(())
//! ```
//!
//! A [`Driver`] then asks a [`Load`] how things stand, and tells [`Workers`] how many are wanted. For a hive's own slots
//! [`Builder::autoscale`](crate::builders::Builder::autoscale) is all that there is to say:
//!
//! ```
//! # use hive_orchestration::{Context, Failure, Hive, agent_fn};
//! use hive_orchestration::autoscale::Policy;
//!
//! # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let shout = agent_fn("shout", async |_: Context, text: String| Ok::<_, Failure>(text.to_uppercase()));
//! let hive = Hive::open(dir.path().join("hive.db")).agent(shout).autoscale(Policy::between(2, 200)?).start().await?;
//! assert_eq!(hive.concurrency(), 2);
//! # hive.shutdown().await }
//! ```
//!
//! [`WorkerProcesses`] are whole processes; a driver of them is made and run by hand.
//!
//! # How it decides
//!
//! What is *needed* follows from Little's law: arrivals times service time is how many are busy, which should be between
//! the two thresholds of utilisation, and what waits already should be done within the wait target. Workers are added when
//! more are needed and that shows, by waiting or by utilisation above the upper threshold; they are taken away when
//! utilisation has been below the lower one for a while, and only down to what was needed at most in that while. Between
//! the thresholds nothing changes. Every change is followed by a cool-down and is no larger than a step. Where workers that
//! were taken away are soon wanted again, the next ones stay longer, so that bursts in a steady load do not make it flap.

mod driver;
mod policy;
#[cfg(all(feature = "process", unix))]
mod processes;
mod simulate;

#[cfg(test)]
mod tests;

pub use self::driver::{Driver, Load, Meter, Workers};
pub use self::policy::{Decision, Observation, Policy, Reason, State, decide};
#[cfg(all(feature = "process", unix))]
pub use self::processes::WorkerProcesses;
pub use self::simulate::{Outcome, Phase, Sample, Scenario};
