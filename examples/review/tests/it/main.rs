//! The program as its users meet it: a process, a repository, a report.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod kill;
mod repo;
mod sources;
