//! What the board is made of, named in one place so that a test can run the same board on primitives whose every turn it decides.

pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) use tokio::sync::{Notify, watch};

#[cfg(test)]
mod tests;
