//! Hives on real databases, seen from outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod bad_input;
mod chaos;
mod crowd;
mod decisions;
mod engine;
mod kill;
mod kit;
mod program;
mod promptness;
mod quickstart;
mod races;
mod recovery;
mod shutdown;
mod trouble;
mod waiting;
