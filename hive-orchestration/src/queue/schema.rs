//! The tables of tasks. Columns that every transition touches are apart from the bodies, which are written once.

pub(crate) mod agents;
pub(crate) mod waits;

use hive_core::db::Migration;

/// This crate's first step.
pub(crate) const TASKS: Migration = Migration::new(1, "tasks", UP_1, DOWN_1);

// States: 0 scheduled, 1 queued, 2 running, 3 waiting, 4 succeeded, 5 failed, 6 cancelled, 7 dead (TaskState::code).
// Every index on the hot path is partial: finished tasks cost a claim nothing.
const UP_1: &str = "
-- Processes that have worked on this database. Each opening is an epoch of its own; one that has ended, by itself or because
-- it was silent for too long, holds nothing any more.
CREATE TABLE instance (
    epoch      INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;
CREATE INDEX instance_open ON instance (seen_at) WHERE ended_at IS NULL;

CREATE TABLE task (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB NOT NULL UNIQUE,
    tenant      TEXT NOT NULL,
    agent       TEXT NOT NULL,
    flow_key    TEXT NOT NULL,
    versions    TEXT NOT NULL DEFAULT '',
    root        BLOB NOT NULL,
    parent      INTEGER,
    correlation TEXT,
    call        TEXT,
    ordinal     INTEGER NOT NULL,
    depth       INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    run_at      INTEGER NOT NULL,
    resumed     INTEGER NOT NULL DEFAULT 0,
    attempt     INTEGER NOT NULL DEFAULT 0,
    epoch       INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0,
    crashes     INTEGER NOT NULL DEFAULT 0,
    crash_mark  INTEGER NOT NULL DEFAULT 0,
    idempotency TEXT,
    single      TEXT,
    single_start INTEGER NOT NULL DEFAULT 0,
    deadline    INTEGER,
    created_at  INTEGER NOT NULL,
    claimed_at  INTEGER,
    finished_at INTEGER
) STRICT;
CREATE INDEX task_ready ON task (agent, tenant, flow_key, priority DESC, seq) WHERE state = 1;
-- Those that go on after they have waited: they do not begin again.
CREATE INDEX task_resumed ON task (agent, seq) WHERE state = 1 AND resumed = 1;
CREATE INDEX task_later ON task (run_at) WHERE state = 0;
CREATE INDEX task_running ON task (epoch) WHERE state = 2;
CREATE INDEX task_child ON task (parent, call, ordinal) WHERE parent IS NOT NULL;
CREATE INDEX task_held ON task (parent, call, ordinal) WHERE state = 0 AND parent IS NOT NULL;
CREATE INDEX task_ended ON task (finished_at) WHERE state > 3;
CREATE INDEX task_dead ON task (seq) WHERE state = 7;
CREATE INDEX task_deadline ON task (deadline) WHERE state < 4 AND deadline IS NOT NULL;
CREATE UNIQUE INDEX task_idempotency ON task (tenant, agent, idempotency) WHERE idempotency IS NOT NULL;
CREATE UNIQUE INDEX task_single ON task (tenant, agent, single) WHERE single IS NOT NULL;

CREATE TABLE task_body (
    task     INTEGER PRIMARY KEY,
    input    BLOB NOT NULL
) STRICT;

CREATE TABLE task_output (
    task     INTEGER PRIMARY KEY,
    output   BLOB NOT NULL
) STRICT;

-- What is said of a task on its way: why an attempt failed, how far it has come.
CREATE TABLE task_note (
    task     INTEGER PRIMARY KEY,
    failure  TEXT,
    progress TEXT
) STRICT;

CREATE TABLE task_label (
    task  INTEGER NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (task, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_label_value ON task_label (name, value, task);

-- What a task remembers. state: 0 pending, 1 resolved by somebody else and not seen yet, 2 done, 3 held for a person,
-- 4 to run again, which the run has not seen yet.
CREATE TABLE journal (
    task      INTEGER NOT NULL,
    key       TEXT NOT NULL,
    kind      INTEGER NOT NULL,
    state     INTEGER NOT NULL,
    value     BLOB,
    type      TEXT,
    note      TEXT,
    wake_at   INTEGER,
    signal    TEXT,
    remaining INTEGER,
    at        INTEGER NOT NULL,
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX journal_open ON journal (task, state) WHERE state <> 2;
CREATE INDEX journal_timer ON journal (wake_at) WHERE state = 0 AND wake_at IS NOT NULL;
-- What people are waited for; a note stands there for as long.
CREATE INDEX journal_people ON journal (at, task, key) WHERE note IS NOT NULL;
-- What takes something back, should the task fail.
CREATE INDEX journal_undo ON journal (task) WHERE kind = 7;
CREATE INDEX journal_signal ON journal (task, signal, at) WHERE state = 0 AND signal IS NOT NULL;

-- Signals that came before anybody waited for them.
CREATE TABLE inbox (
    seq   INTEGER PRIMARY KEY,
    task  INTEGER NOT NULL,
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    at    INTEGER NOT NULL
) STRICT;
CREATE INDEX inbox_task ON inbox (task, name);

-- What nobody is to start for now: kind 0 an agent, 1 a tenant, 2 everything.
CREATE TABLE pause (
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
";

const DOWN_1: &str = "
DROP TABLE pause;
DROP TABLE inbox;
DROP TABLE journal;
DROP TABLE task_label;
DROP TABLE task_note;
DROP TABLE task_output;
DROP TABLE task_body;
DROP TABLE task;
DROP TABLE instance;
";
