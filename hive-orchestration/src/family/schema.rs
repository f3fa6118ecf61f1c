//! The tables of records.

use hive_core::db::Migration;

/// The step of this crate's migrations that makes them, with its place in the list.
pub(crate) const fn migration(version: u32) -> Migration {
    Migration::new(version, "families", UP, DOWN)
}

/// The tables that hold what belongs to a task, by its number.
pub(crate) const DEPENDENTS: [&str; 5] = [
    "task_review",
    "task_workflow",
    "task_stage",
    "task_deployment",
    "task_check",
];

// Verdicts: 0 approved, 1 rejected, 2 changes requested, 3 inconclusive (review::code). Stages: 0 pending, 1 running, 2 completed,
// 3 failed, 4 skipped (StageState::code). Deployments: 0 pending, 1 in progress, 2 healthy, 3 unhealthy, 4 failed, 5 rolled back
// (Status::code). Rollouts: 0 at once, 1 rolling, 2 blue-green, 3 canary (Rollout::code).
//
// A record is the task's in the table `task` with the same number and says nothing that stands there. Whatever is asked for comes
// newest first, so each index ends in the number. `deployed` outlives the tasks: what runs somewhere does not stop running because
// it was put there long ago.
const UP: &str = "
CREATE TABLE task_review (
    task         INTEGER PRIMARY KEY,
    repository   TEXT NOT NULL,
    revision     TEXT NOT NULL,
    base         TEXT,
    title        TEXT,
    requested_by TEXT,
    changed_at   INTEGER NOT NULL,
    started_at   INTEGER,
    escalated_at INTEGER,
    reason       TEXT,
    concluded_at INTEGER,
    verdict      INTEGER CHECK (verdict BETWEEN 0 AND 3),
    score        INTEGER CHECK (score BETWEEN 0 AND 100),
    critical     INTEGER NOT NULL DEFAULT 0 CHECK (critical >= 0),
    high         INTEGER NOT NULL DEFAULT 0 CHECK (high >= 0),
    medium       INTEGER NOT NULL DEFAULT 0 CHECK (medium >= 0),
    low          INTEGER NOT NULL DEFAULT 0 CHECK (low >= 0),
    info         INTEGER NOT NULL DEFAULT 0 CHECK (info >= 0),
    summary      TEXT,
    CHECK ((verdict IS NULL) = (concluded_at IS NULL))
) STRICT;
CREATE INDEX task_review_repository ON task_review (repository, task);

CREATE TABLE task_workflow (
    task       INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    version    TEXT,
    changed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER
) STRICT;
CREATE INDEX task_workflow_name ON task_workflow (name, task);

CREATE TABLE task_stage (
    task       INTEGER NOT NULL,
    ordinal    INTEGER NOT NULL CHECK (ordinal >= 0),
    name       TEXT NOT NULL,
    state      INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    started_at INTEGER,
    ended_at   INTEGER,
    PRIMARY KEY (task, ordinal)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX task_stage_name ON task_stage (task, name);

CREATE TABLE task_deployment (
    task         INTEGER PRIMARY KEY,
    environment  TEXT NOT NULL,
    service      TEXT NOT NULL,
    version      TEXT NOT NULL,
    rollout      INTEGER NOT NULL CHECK (rollout BETWEEN 0 AND 3),
    requested_by TEXT,
    status       INTEGER NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 5),
    previous     TEXT,
    replaced     INTEGER,
    restored     TEXT,
    code         TEXT,
    message      TEXT,
    changed_at   INTEGER NOT NULL,
    started_at   INTEGER,
    ended_at     INTEGER
) STRICT;
CREATE INDEX task_deployment_environment ON task_deployment (environment, task);
CREATE INDEX task_deployment_service ON task_deployment (service, task);

CREATE TABLE task_check (
    task    INTEGER NOT NULL,
    name    TEXT NOT NULL,
    healthy INTEGER NOT NULL CHECK (healthy IN (0, 1)),
    detail  TEXT,
    times   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (task, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE deployed (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    version     TEXT NOT NULL,
    healthy     INTEGER NOT NULL CHECK (healthy IN (0, 1)),
    task        INTEGER,
    since       INTEGER NOT NULL,
    PRIMARY KEY (tenant, environment, service)
) STRICT, WITHOUT ROWID;
";

const DOWN: &str = "
DROP TABLE deployed;
DROP TABLE task_check;
DROP TABLE task_deployment;
DROP TABLE task_stage;
DROP TABLE task_workflow;
DROP TABLE task_review;
";
