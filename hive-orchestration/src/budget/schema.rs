//! The tables of accounts.

use hive_core::db::Migration;

/// The step of this crate's migrations that makes them, with its place in the list.
pub(crate) const fn migration(version: u32) -> Migration {
    Migration::new(version, "budgets", UP, DOWN)
}

/// The tables that hold what belongs to a task, by its number.
pub(crate) const DEPENDENTS: [&str; 3] = ["budget_hold", "budget_wait", "budget"];

// `task.accounts` holds the accounts on which a task draws, the outermost first, so that nobody walks up the tree: their numbers, which
// are those of the tasks that were given them, with commas between. It is nothing for a task without.
//
// What is used of a resource includes what is reserved. A reservation whose run is over is therefore spent without anybody's doing; what
// is told as reserved are the holds of runs under way. Invariant: what is used is never beyond the limit, which the tables themselves
// refuse; what went beyond, because nobody could know before, stands apart.
const UP: &str = "
ALTER TABLE task ADD COLUMN accounts TEXT;

CREATE TABLE budget (
    task            INTEGER PRIMARY KEY,
    id              BLOB NOT NULL,
    above           INTEGER,
    fails           INTEGER NOT NULL CHECK (fails IN (0, 1)),
    each_step       TEXT,
    started_at      INTEGER,
    wall_us         INTEGER,
    deepest         INTEGER,
    tokens_limit    INTEGER,
    tokens_used     INTEGER NOT NULL DEFAULT 0,
    tokens_over     INTEGER NOT NULL DEFAULT 0,
    micro_usd_limit INTEGER,
    micro_usd_used  INTEGER NOT NULL DEFAULT 0,
    micro_usd_over  INTEGER NOT NULL DEFAULT 0,
    calls_limit     INTEGER,
    calls_used      INTEGER NOT NULL DEFAULT 0,
    calls_over      INTEGER NOT NULL DEFAULT 0,
    children_limit  INTEGER,
    children_used   INTEGER NOT NULL DEFAULT 0,
    children_over   INTEGER NOT NULL DEFAULT 0,
    CHECK (tokens_used >= 0 AND tokens_used <= tokens_limit),
    CHECK (micro_usd_used >= 0 AND micro_usd_used <= micro_usd_limit),
    CHECK (calls_used >= 0 AND calls_used <= calls_limit),
    CHECK (children_used >= 0 AND children_used <= children_limit)
) STRICT;
CREATE INDEX budget_above ON budget (above) WHERE above IS NOT NULL;

-- What a try of a step has reserved, until it is settled: by which account, which claim and for what.
CREATE TABLE budget_hold (
    task      INTEGER NOT NULL,
    key       TEXT NOT NULL,
    account   INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    tokens    INTEGER NOT NULL,
    micro_usd INTEGER NOT NULL,
    calls     INTEGER NOT NULL,
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_hold_account ON budget_hold (account);

-- Who waits for an account, and what it needs.
CREATE TABLE budget_wait (
    task      INTEGER NOT NULL,
    key       TEXT NOT NULL,
    account   INTEGER NOT NULL,
    tokens    INTEGER NOT NULL,
    micro_usd INTEGER NOT NULL,
    calls     INTEGER NOT NULL,
    children  INTEGER NOT NULL,
    depth     INTEGER NOT NULL,
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_wait_account ON budget_wait (account);
";

const DOWN: &str = "
DROP TABLE budget_wait;
DROP TABLE budget_hold;
DROP TABLE budget;
ALTER TABLE task DROP COLUMN accounts;
";
