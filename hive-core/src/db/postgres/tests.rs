//! On a real server.

mod addresses;
mod appends;
mod bells;
mod doubts;
mod lanes;
mod links;
mod numbers;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use super::{Begin, Config, Link, Timeouts};
use crate::db::deadline::Deadline;
use crate::testing::Postgres;

/// The address of a database of its own.
fn database() -> String {
    Postgres::shared().database()
}

fn config(url: &str) -> Arc<Config> {
    Arc::new(Config::parse(url, Timeouts::default()).unwrap())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn link(url: &str) -> Link {
    Link::connect(&config(url), soon()).unwrap()
}

/// A link with a transaction begun.
fn writing(url: &str) -> Link {
    let mut link = link(url);
    link.begin(Begin::write(), soon());
    link
}

/// A link to a database with the table `t (k BIGINT PRIMARY KEY, v TEXT)`.
fn with_table(url: &str) -> Link {
    let mut link = writing(url);
    link.batch("DROP TABLE IF EXISTS t; CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT) STRICT")
        .unwrap();
    link.commit().unwrap();
    link
}
