//! What the journal keeps of an entry for later releases of the code.

use hive_core::db::Migration;

/// The step of this crate's migrations that adds it, with its place in the list.
pub(crate) const fn migration(version: u32) -> Migration {
    Migration::new(version, "journal marks", UP, DOWN)
}

const UP: &str = "
ALTER TABLE journal ADD COLUMN version INTEGER;
ALTER TABLE journal ADD COLUMN fingerprint INTEGER;
";

const DOWN: &str = "
ALTER TABLE journal DROP COLUMN fingerprint;
ALTER TABLE journal DROP COLUMN version;
";
