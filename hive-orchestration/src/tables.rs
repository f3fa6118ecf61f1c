//! Every table of this crate, step by step.

use hive_core::db::Migrations;

use crate::budget::schema as budgets;
use crate::family::schema as families;
use crate::journal::schema as marks;
use crate::memory::schema as memory;
use crate::queue::flow::schema::LIMITS;
use crate::queue::post::schema::POST;
use crate::queue::schema::{TASKS, agents, waits};
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
        memory::migration(6),
        POST,
        waits::migration(8),
        budgets::migration(9),
        marks::migration(10),
    ],
};
