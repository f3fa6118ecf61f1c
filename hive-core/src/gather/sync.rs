//! What the meeting is made of, named in one place so that a test can run the same meeting on primitives whose every turn it
//! decides.

pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) use tokio::sync::{Semaphore, oneshot};

#[cfg(test)]
mod tests;
