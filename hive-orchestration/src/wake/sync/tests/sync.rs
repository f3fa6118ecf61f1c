//! The same names over primitives that a model checker schedules.

pub(super) use std::sync::PoisonError;

pub(super) use shuttle::sync::{Mutex, MutexGuard};
/// The checker cannot look inside, and need not: nothing of it runs for long, and its wakers are the checker's.
pub(super) use tokio::sync::{Notify, watch};
