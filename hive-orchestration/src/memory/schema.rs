//! The tables of memories.

use hive_core::db::Migration;

/// The step of this crate's migrations that makes them, with its place in the list.
pub(crate) const fn migration(version: u32) -> Migration {
    Migration::new(version, "memory", UP, DOWN)
}

// Kinds: 0 an agent's, 1 a run's, 2 a tenant's (Place::code), 3 left behind by a run that is forgotten. Owner: tenant/agent, the root's id,
// the tenant. `task` is the root of a run's. `version` is the latest that was given to an entry, and `entries` how many there are, those
// included whose time is over and that are still to be removed: whoever changes a memory changes this row, and so changes it alone.
const UP: &str = "
CREATE TABLE memory (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant  TEXT NOT NULL,
    kind    INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
    owner   TEXT NOT NULL,
    task    INTEGER,
    version INTEGER NOT NULL,
    entries INTEGER NOT NULL CHECK (entries >= 0)
) STRICT;
CREATE UNIQUE INDEX memory_owner ON memory (kind, owner);
CREATE INDEX memory_task ON memory (task) WHERE task IS NOT NULL;

CREATE TABLE memory_entry (
    memory     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    value      BLOB NOT NULL,
    version    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (memory, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_entry_expiry ON memory_entry (expires_at) WHERE expires_at IS NOT NULL;
";

const DOWN: &str = "
DROP TABLE memory_entry;
DROP TABLE memory;
";
