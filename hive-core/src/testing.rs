//! Private servers and networks that fail on request, for tests against the real thing.
//!
//! [`Postgres`], [`Redis`] and [`Nats`] start a server of the machine's own programs, on a free port, with data in a temporary folder. It is gone when the
//! value is dropped, when the test panics, and when the process is killed: a small shell holds the other end of a pipe and tidies
//! up when the pipe closes. Where a program is missing, the error names it and the package that brings it, and the test fails;
//! `.ci/test` installs what is missing and starts one server of each kind for the whole run.
//!
//! [`TestDb`] is a temporary database of either engine. [`Proxy`] stands between a client and a server and cuts, delays or holds back what they say. [`folder`] and [`memory_folder`] are
//! temporary folders.
//!
//! Everything here blocks its thread and is meant for tests; there is nothing in it for production.

mod database;
mod folder;
mod nats;
mod postgres;
mod program;
mod proxy;
mod redis;
mod server;
mod service;
mod wait;
mod warden;

pub use database::TestDb;
pub use folder::{Folder, folder, memory_folder};
pub use nats::Nats;
pub use postgres::{Postgres, PostgresOptions};
pub use proxy::Proxy;
pub use redis::Redis;
pub use wait::until;
