//! Reviews a git repository with a hive of durable agents.

pub mod agents;
pub mod cli;
pub mod diff;
pub mod error;
pub mod file;
pub mod files;
pub mod finding;
pub mod git;
pub mod language;
pub mod limits;
pub mod lines;
pub mod path;
pub mod plan;
pub mod progress;
pub mod report;
pub mod review;
pub mod rules;
pub mod source;

#[cfg(test)]
mod testing;
