//! Reviews a git repository with a hive of durable agents.

pub mod diff;
pub mod error;
pub mod lines;
pub mod path;
