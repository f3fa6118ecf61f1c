//! What waits for events, and what is kept of steps that go on.

use hive_core::db::Migration;

pub(crate) const fn migration(version: u32) -> Migration {
    Migration::new(version, "event waits and streams", UP, DOWN)
}

// The three columns of a wait for an event: what is asked for, the values that are wanted, and up to where the log was looked
// through for it when it was last written down. Its pattern is in `note`. What is settled leaves the indexes by itself.
const UP: &str = "
ALTER TABLE journal ADD COLUMN event_shape TEXT;
ALTER TABLE journal ADD COLUMN event_probe TEXT;
ALTER TABLE journal ADD COLUMN event_after INTEGER;
CREATE INDEX journal_event ON journal (event_shape, event_probe, event_after) WHERE state = 0 AND event_shape IS NOT NULL;
CREATE INDEX journal_event_at ON journal (at, task, key) WHERE state = 0 AND event_shape IS NOT NULL;
CREATE INDEX journal_event_after ON journal (event_after, task, key) WHERE state = 0 AND event_shape IS NOT NULL;

-- How far a step that hands out its output in pieces has come. Each time it begins anew is a life of its own.
CREATE TABLE stream (
    task   INTEGER NOT NULL,
    key    TEXT NOT NULL,
    life   INTEGER NOT NULL,
    pieces INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;

-- The pieces of its present life, several in a row: the first one's number, from 0, how many, and an array of them.
CREATE TABLE stream_piece (
    task  INTEGER NOT NULL,
    key   TEXT NOT NULL,
    life  INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (task, key, life, first)
) STRICT, WITHOUT ROWID;
";

const DOWN: &str = "
DROP TABLE stream_piece;
DROP TABLE stream;
DROP INDEX journal_event_after;
DROP INDEX journal_event_at;
DROP INDEX journal_event;
ALTER TABLE journal DROP COLUMN event_after;
ALTER TABLE journal DROP COLUMN event_probe;
ALTER TABLE journal DROP COLUMN event_shape;
";
