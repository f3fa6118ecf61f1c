//! The table of schedules.

use hive_core::db::Migration;

/// This crate's second step.
pub(crate) const SCHEDULES: Migration = Migration::new(2, "schedules", UP, DOWN);

// `due_at` is the due time that is waited for, `fire_at` the same with its jitter; both are NULL when nothing is to come.
const UP: &str = "
CREATE TABLE schedule (
    name       TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    agent      TEXT NOT NULL,
    priority   INTEGER NOT NULL,
    input      BLOB NOT NULL,
    spec       TEXT NOT NULL,
    paused     INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER,
    fire_at    INTEGER,
    last_due   INTEGER,
    last_task  BLOB,
    fired      INTEGER NOT NULL DEFAULT 0,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX schedule_due ON schedule (fire_at, name) WHERE paused = 0 AND fire_at IS NOT NULL;
";

const DOWN: &str = "DROP TABLE schedule;";
