//! What the queue is made of, named in one place so that a test can run the same queue on primitives whose every turn it
//! decides.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) use tokio::sync::Semaphore;
pub(super) use tokio::time::timeout;

#[cfg(test)]
mod tests;
