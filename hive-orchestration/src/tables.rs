//! Every table of this crate, step by step.

use hive_core::db::Migrations;

use crate::family::schema as families;
use crate::journal::schema as marks;
use crate::queue::flow::schema::LIMITS;
use crate::queue::schema::{TASKS, agents};
use crate::schedule::schema::SCHEDULES;

/// This crate's tables.
pub(crate) static MIGRATIONS: Migrations = Migrations {
    owner: "hive-orchestration",
    list: &[
        TASKS,
        SCHEDULES,
        agents::migration(3),
        LIMITS,
        families::migration(5),
        marks::migration(6),
    ],
};
