//! The tables of agents, and of tasks that were routed to them.

use hive_core::db::Migration;

/// The step of this crate's migrations that makes them, with its place in the list.
pub(crate) const fn migration(version: u32) -> Migration {
    Migration::new(version, "agents", UP, DOWN)
}

// Statuses: 0 online, 1 busy, 2 draining, 3 silent, 4 left (registry::presence::Standing). Queries spell them out.
//
// A row of `agent` is written whole with every heartbeat, so that one that was forgotten while its process stood still comes
// back by itself. `task_route` has a row for each task that was routed: what was asked for, so that it can be routed again, and
// under which idempotency key, which is the target's and not that of whichever agent was chosen.
const UP: &str = "
CREATE TABLE agent_version (
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    input       TEXT NOT NULL,
    output      TEXT NOT NULL,
    shape       INTEGER NOT NULL,
    declared_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent (
    instance      BLOB NOT NULL,
    name          TEXT NOT NULL,
    version       TEXT NOT NULL,
    status        INTEGER NOT NULL,
    running       INTEGER NOT NULL,
    concurrency   INTEGER NOT NULL,
    weight        INTEGER NOT NULL,
    capabilities  TEXT NOT NULL,
    domains       TEXT NOT NULL,
    metadata      TEXT NOT NULL,
    history       TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    heartbeat_at  INTEGER NOT NULL,
    PRIMARY KEY (instance, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_name ON agent (name, version);

CREATE TABLE task_route (
    task        INTEGER PRIMARY KEY,
    tenant      TEXT NOT NULL,
    target      TEXT NOT NULL,
    idempotency TEXT,
    request     TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX task_route_key ON task_route (tenant, target, idempotency) WHERE idempotency IS NOT NULL;
";

const DOWN: &str = "
DROP TABLE task_route;
DROP TABLE agent;
DROP TABLE agent_version;
";
