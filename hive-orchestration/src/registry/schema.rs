//! What a process writes of its agents.

use hive_core::db::{Kind, Set};

/// Who is told when an agent comes, goes, or has its hands full.
pub(crate) const CHANGED: &str = "hive_agent";

/// What a process says of its agents, all of them in one statement.
pub(super) static ROWS: Set = Set::insert(
    "agent",
    &[
        ("instance", Kind::Blob),
        ("name", Kind::Text),
        ("version", Kind::Text),
        ("status", Kind::Int),
        ("running", Kind::Int),
        ("concurrency", Kind::Int),
        ("weight", Kind::Int),
        ("capabilities", Kind::Text),
        ("domains", Kind::Text),
        ("metadata", Kind::Text),
        ("history", Kind::Text),
        ("registered_at", Kind::Int),
        ("heartbeat_at", Kind::Int),
    ],
)
.on_conflict(
    "(instance, name) DO UPDATE SET version = excluded.version, status = excluded.status, running = excluded.running, \
     concurrency = excluded.concurrency, weight = excluded.weight, capabilities = excluded.capabilities, \
     domains = excluded.domains, metadata = excluded.metadata, history = excluded.history, \
     heartbeat_at = excluded.heartbeat_at",
);
