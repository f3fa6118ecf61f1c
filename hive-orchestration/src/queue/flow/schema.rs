//! The tables of limits.

use hive_core::db::Migration;

pub(crate) const LIMITS: Migration = Migration::new(4, "limits", UP, DOWN);

const UP: &str = "
-- kind: 0 an agent, 1 a tenant, 2 everything, 3 each tenant, 4 one key of an agent, 5 each key of an agent.
CREATE TABLE flow_limit (
    kind        INTEGER NOT NULL,
    name        TEXT NOT NULL,
    concurrency INTEGER,
    rate_count  INTEGER,
    rate_period INTEGER,
    rate_burst  INTEGER,
    weight      INTEGER,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What limits count. `point` is where the rate stands, in nanoseconds; no more than `most` run, -1 when nobody knows.
CREATE TABLE flow_use (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    INTEGER NOT NULL,
    name    TEXT NOT NULL,
    key     TEXT NOT NULL,
    point   INTEGER NOT NULL,
    most    INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    UNIQUE (kind, name, key)
) STRICT;
CREATE INDEX flow_use_age ON flow_use (used_at);
";

const DOWN: &str = "
DROP TABLE flow_use;
DROP TABLE flow_limit;
";
