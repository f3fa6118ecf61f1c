//! The tables of inboxes.

use hive_core::db::Migration;

/// This crate's step for messages.
pub(crate) const POST: Migration = Migration::new(7, "post", UP, DOWN);

// `post` has the agents that have asked for their inbox, with the capabilities of their mailbox (JSON) once a process that has the agent
// has said so. A letter is a message in an inbox; its address is that of the waits for it, in `journal.signal`.
const UP: &str = "
CREATE TABLE post (
    agent        TEXT PRIMARY KEY,
    capabilities TEXT
) STRICT;

CREATE TABLE letter (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT NOT NULL,
    address    TEXT NOT NULL,
    message    BLOB NOT NULL,
    priority   INTEGER NOT NULL,
    value      BLOB NOT NULL,
    expires_at INTEGER,
    at         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX letter_message ON letter (address, message);
CREATE INDEX letter_next ON letter (address, priority DESC, seq);
CREATE INDEX letter_expiry ON letter (expires_at) WHERE expires_at IS NOT NULL;

-- Waits for messages, by the address to which these come.
CREATE INDEX journal_post ON journal (signal, at) WHERE kind = 12 AND state = 0;
";

const DOWN: &str = "
DROP INDEX journal_post;
DROP TABLE letter;
DROP TABLE post;
";
