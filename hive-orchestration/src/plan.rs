//! Plans: what is to be done, as a graph of tasks that is data, so that a model can write it down.
//!
//! A [`Plan`] has nodes. Each says which agent is to do something and with which input; an input refers to the outputs of other
//! nodes, and so says what has to be done before. [`Plan::check`] finds everything that is wrong with a plan at once, in words from
//! which a model can mend it. [`Context::plan`](crate::Context::plan) carries it out: each node is a task of its own, called once,
//! as soon as what it needs has ended.
//!
//! ```
//! use hive_orchestration::plan::{Catalogue, Node, Plan};
//! use serde_json::json;
//!
//! let plan: Plan = serde_json::from_value(json!({"nodes": [
//!     {"id": "draft", "target": "agent:writer", "input": {"topic": "bees"}},
//!     {"id": "check", "target": "agent:critic", "input": {"text": {"$from": "draft", "path": "/text"}}},
//! ]}))?;
//! assert_eq!(plan.measure()?.depth, 2);
//! let findings = plan.check(&Catalogue::default()).unwrap_err();
//! assert!(findings.to_string().contains("/nodes/0/target: no agent is called `writer`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When a node starts
//!
//! A node needs the nodes that its input and its conditions refer to, and those that it names under `after`. When all of them have
//! ended, it is decided what becomes of it, by these rules in this order:
//!
//! 1. It is skipped when one that it needs failed and says [`OnFailure::Skip`], or was skipped for that reason itself.
//! 2. It is skipped when one of its [conditions](Condition) does not hold.
//! 3. It is skipped when its input refers to a node that has no output, because that failed or was skipped, and the reference has no
//!    default.
//! 4. Otherwise it starts. A reference that leads nowhere in an output that is there, or an input that the agent does not take, is a
//!    failure of the node.
//!
//! So what a node names under `after` is only an order: a node that was skipped there does not stop it.
//!
//! A target that is a capability or a range of versions is given to an agent by the hive's [router](crate::router) when the node
//! starts, and stays with it.

mod catalogue;
mod check;
mod condition;
mod course;
mod execution;
mod finding;
mod fit;
mod graph;
mod literal;
mod measure;
mod node;
mod outcome;
mod reference;
mod revision;
mod schema;

#[cfg(test)]
mod tests;

pub use self::catalogue::Catalogue;
pub use self::condition::{Condition, Op};
pub use self::execution::Execution;
pub use self::finding::{Code, Finding, Findings};
pub use self::measure::{CriticalPath, Measures};
pub use self::node::{Node, OnFailure, Plan};
pub use self::outcome::{Outcome, Report, Skipped, State};
pub use self::revision::{Progress, Revise};
