//! Reviews a git repository with a hive of durable agents: the reference application.
//!
//! ```text
//! cargo run --release -p hive-review -- .                     # every tracked file of HEAD
//! cargo run --release -p hive-review -- . --range main...HEAD # what this branch changed
//! git diff | cargo run --release -p hive-review -- --diff -   # what is not committed yet
//! ```
//!
//! A [queen](agents::Queen) takes the source, [planners](agents::Planner) split it into one assignment for each file and concern,
//! many [reviewers](agents::ReviewerAgent) work on those at once, and the queen merges, ranks and writes what they found: as
//! HTML for a browser, Markdown, JSON, and SARIF 2.1.0 for code scanning services.
//!
//! # What it shows
//!
//! - **Durable agents.** Every task and step is on disk before it is acknowledged. Kill the program at any moment and start it
//!   again with the same command: it goes on where it stood, and the report is the same byte for byte. `tests/it/kill.rs`
//!   does that fifty times.
//! - **One agent trait.** A leader that calls others in a loop and a worker with a single step are written the same way.
//! - **Exactly once, where it can be had.** The report is stored by [`Context::transaction`](hive::Context::transaction) in the
//!   commit that records it; the files are written by a step that may be repeated without harm.
//!
//! # Who reviews
//!
//! `--model rules` reviews offline, by the [rules] of this package: for Rust on the syntax tree, for other languages on text
//! that knows comments from code. `--model claude` asks the Claude command line. The default, `auto`, is `rules`: a model
//! costs money and is shown the code, and a tool should do neither before it is asked to; the first line of the output says
//! who reviews. A comment `review: allow(rule-id) reason` lets a finding stand; the report lists those apart.
//!
//! # What it leaves behind
//!
//! `.hive/review/<name>/` with the report, and `hive.db` with the state; `.hive/` hides itself from git. One review is told from
//! another by what is reviewed, by whom, and by the versions of the program and its rules; the same review is not done
//! twice unless `--fresh` says so.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---:|---|
//! | 0 | the report is written |
//! | 1 | the report is written, and something at or above `--fail-on` was found |
//! | 2 | the input or the options are wrong; the message says what to do |
//! | 3 | interrupted; the same command goes on where it stood |
//! | 70 | the review failed for a reason of its own |
//!
//! # What it is not
//!
//! No linter with configuration files and no replacement for the compiler's or Clippy's lints: the rules are few, and prefer
//! to be silent over being wrong. Repositories are not trusted: git is called so that none can make it run a program, no
//! content is sent anywhere unless a model is chosen, and secrets are blacked out in the report.
//!
//! # Modules
//!
//! Each uses only those above it. What a review works on: [`limits`], [`path`], [`lines`], [`error`], [`files`], [`language`],
//! [`finding`], [`diff`], [`git`], [`source`], [`secret`], [`file`](mod@file), [`skip`]. What it does: [`rules`], [`plan`], [`report`],
//! [`review`]. The hive: [`agents`], [`progress`], [`cli`].

pub mod limits;
pub mod path;
pub mod lines;
pub mod error;
pub mod files;
pub mod language;
pub mod finding;
pub mod diff;
pub mod git;
pub mod source;
pub mod secret;
pub mod file;
pub mod skip;
pub mod rules;
pub mod plan;
pub mod report;
pub mod review;
pub mod agents;
pub mod progress;
pub mod cli;

#[cfg(test)]
mod testing;
