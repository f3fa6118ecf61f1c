//! Everything here is bounded, and this is by how much and why.

/// Bytes in a topic or pattern: long enough for a type and a path-like key, short enough to be an index key.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Tokens in a topic or pattern. It also bounds the depth of a [`PatternTrie`](crate::PatternTrie).
pub const TOPIC_TOKENS_MAX: usize = 16;

/// Bytes in an event type's name.
pub const TYPE_BYTES_MAX: usize = 128;

/// Bytes in a source, a URI reference such as `/hive/inst_…/reviewer`.
pub const SOURCE_BYTES_MAX: usize = 256;

/// Bytes in a tenant's name, which stands in every row.
pub const TENANT_BYTES_MAX: usize = 64;

/// Bytes in a correlation or causation id: twice what a hive's own ids need, so that a UUID or a trace id of another
/// system fits, and small enough to be an index key.
pub const CORRELATION_BYTES_MAX: usize = 128;

/// Bytes of JSON in an event's data. An event is a fact and not a document; what is larger belongs into a task's output,
/// and the event names the task.
pub const DATA_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a CloudEvent in JSON before it is parsed: the data, all attributes at their limits with every character
/// escaped, and room for extensions that are ignored.
pub const CLOUDEVENT_BYTES_MAX: usize = DATA_BYTES_MAX + 64 * 1024;

/// Events in one batch: one batch is one commit, and everybody else's writes wait for it.
pub const BATCH_MAX: usize = 1_000;

/// Events a subscription takes up at once. With [`PAGE_BYTES_MAX`] it bounds what a slow subscriber holds in memory.
pub const PAGE_EVENTS_MAX: usize = 256;

/// Bytes of events a subscription or a history page takes up at once (the event that crosses the line included).
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Sequences one read looks at before it gives its connection back: about 20 ms of scanning, far below the read timeout,
/// however rare the events are that match.
pub const SCAN_MAX: u64 = 50_000;

/// Events a history page holds unless the query says so, and the most it may say.
pub const HISTORY_LIMIT_DEFAULT: usize = 100;

/// See [`HISTORY_LIMIT_DEFAULT`].
pub const HISTORY_LIMIT_MAX: usize = 1_000;

/// Events in a trace: a run tree that a person may still look at. A longer one is cut off and says so.
pub const TRACE_EVENTS_MAX: usize = 10_000;

/// Bytes of events in a trace.
pub const TRACE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Recent events kept in memory for all live subscribers together, so that a fresh event costs them no query.
pub const RECENT_EVENTS_MAX: usize = 1_024;

/// Bytes of recent events kept in memory.
pub const RECENT_BYTES_MAX: usize = 4 * 1024 * 1024;
