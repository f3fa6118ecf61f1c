//! Hives on real databases, seen from outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod bad_input;
mod crowd;
mod decisions;
mod engine;
mod kit;
mod quickstart;
mod races;
mod recovery;
mod shutdown;
mod trouble;
mod waiting;
