//! Everything here is bounded, and this is by how much and why.

use std::time::Duration;

/// Bytes in a topic or pattern: long enough for a type and a path-like key, short enough to be an index key.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Tokens in a topic or pattern. It also bounds the depth of a [`PatternTrie`](crate::PatternTrie).
pub const TOPIC_TOKENS_MAX: usize = 16;

/// Patterns in one [`Patterns`](crate::Patterns): enough to name what somebody listens to, and few enough to try one after
/// another on every event.
pub const PATTERNS_MAX: usize = 16;

/// Bytes in an event type's name.
pub const TYPE_BYTES_MAX: usize = 128;

/// Bytes in a source, a URI reference such as `/hive/inst_…/reviewer`.
pub const SOURCE_BYTES_MAX: usize = 256;

/// Bytes in a tenant's name, which stands in every row.
pub const TENANT_BYTES_MAX: usize = 64;

/// Bytes in a correlation or causation id: twice what a hive's own ids need, so that a UUID or a trace id of another
/// system fits, and small enough to be an index key.
pub const CORRELATION_BYTES_MAX: usize = 128;

/// Bytes in a trace context: the 55 of version 00, and room for what later versions append.
pub const TRACEPARENT_BYTES_MAX: usize = 128;

/// Bytes of JSON in an event's data. An event is a fact and not a document; what is larger belongs into a task's output,
/// and the event names the task.
pub const DATA_BYTES_MAX: usize = 256 * 1024;

/// Extension attributes of an event: they stand in every copy of it, and what is more belongs into its data.
pub const EXTENSIONS_MAX: usize = 32;

/// Bytes in the name of an extension attribute, which is as many as CloudEvents says that there should be at most.
pub const EXTENSION_NAME_BYTES_MAX: usize = 20;

/// Bytes in what an event only carries along: an extension attribute, the id and subject that another system gave it, the
/// media type and schema of its data. The key of an object in a store, often a subject, may have as many.
pub const EXTENSION_BYTES_MAX: usize = 1024;

/// Bytes of all that in one event, names included: half of what an HTTP server commonly lets the headers of a request have.
pub const EXTENSIONS_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a CloudEvent in JSON before it is parsed: the data, and all attributes at their limits with every character
/// escaped.
pub const CLOUDEVENT_BYTES_MAX: usize = DATA_BYTES_MAX + 64 * 1024;

/// Bytes of a batch of CloudEvents in JSON: a thousand ordinary events, and no more than a process can hold for each of
/// many senders at once. The events of a batch are bounded by [`BATCH_MAX`].
pub const CLOUDEVENTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Headers of an HTTP message that are looked at: as many as HTTP servers commonly take, and more than an event can have
/// attributes.
pub const HTTP_HEADERS_MAX: usize = 128;

/// Bytes of the headers of an HTTP message that hold an event: all attributes at their limits with every character escaped.
pub const HTTP_HEADER_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a date before it is read: the longest is far shorter, and an error says what it was.
pub const DATE_BYTES_MAX: usize = 64;

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
pub const RECENT_EVENTS_MAX: usize = 8_192;

/// Bytes of recent events kept in memory.
pub const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Events that are moved on at once where several processes write: with [`PAGE_BYTES_MAX`] it bounds one look.
pub const FOLLOW_EVENTS: usize = 1_000;

/// How long a lost wake-up can go unnoticed where several processes share a server. In a quiet system this is the only thing
/// that is asked for by the clock, once per process.
pub const FOLLOW_LOOK: Duration = Duration::from_secs(5);

/// The first and the longest wait between two looks at whether a publisher that came first has ended: most have within one
/// round trip.
pub const FOLLOW_WAIT: Duration = Duration::from_micros(500);

/// See [`FOLLOW_WAIT`].
pub const FOLLOW_WAIT_MAX: Duration = Duration::from_millis(20);

/// How long events wait behind such a publisher before that is worth a warning, each time.
pub const FOLLOW_PATIENCE: Duration = Duration::from_secs(5);

/// The longest wait between two attempts to read from a server that is away.
pub const FOLLOW_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Bytes of a consumer's state. [`IN_FLIGHT_MAX`] events under way take some forty bytes each, and [`MISHAPS_MAX`] failures of
/// [`MISHAP_BYTES_MAX`] bytes each if they all fail; what NATS takes in one message bounds it.
pub const STATE_BYTES_MAX: usize = 900 * 1024;

/// Events that a consumer may have taken from the log and not finished, over all its members: enough to keep handlers busy over
/// a round trip, and a state of few pages. It bounds what each change of the state writes.
pub const IN_FLIGHT_MAX: usize = 1_024;

/// Failed deliveries that are remembered of an event: the first ones seldom say anything that the last ones do not.
pub const MISHAPS_MAX: usize = 4;

/// Events that the transport in memory keeps: enough for a test of a busy hour, and no more memory than a process can spare.
pub const MEMORY_EVENTS_MAX: usize = 100_000;

/// Bytes of events that the transport in memory keeps.
pub const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes in the name of a NATS stream: it stands in every acknowledgement.
pub const NATS_NAME_BYTES_MAX: usize = 64;

/// How long a NATS server knows the ids of what was published, unless told otherwise: its own default, and longer than whoever
/// had no answer takes to publish again.
pub const NATS_DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How long connecting to a NATS server may take: a server of another continent included, with TLS.
pub const NATS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a call to a NATS server may take, all attempts included: a server that is started again is back by then.
pub const NATS_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of events that may wait for a NATS server's acknowledgement: tens of thousands of ordinary ones, far more than a round
/// trip needs to be filled.
pub const NATS_IN_FLIGHT_BYTES: usize = 8 * 1024 * 1024;

/// Messages that may wait for a NATS server's acknowledgement: those of [`NATS_IN_FLIGHT_BYTES`] and the ones that nobody waits
/// for any more.
pub const NATS_IN_FLIGHT_EVENTS: usize = 64 * 1024;

/// Bytes of messages that are sent to a NATS server before the first acknowledgement is waited for.
pub const NATS_PART_BYTES_MAX: usize = 1024 * 1024;

/// About the bytes of a message's headers and of what its acknowledgement goes to.
pub const NATS_HEADER_BYTES: usize = 200;

/// Messages that are sent at once at least, after one was refused because another process's came in between.
pub const NATS_CHAIN_MIN: usize = 16;

/// Requests to a NATS server for single messages that are under way at once, of one call.
pub const NATS_REQUESTS: usize = 64;

/// Failures in a row after which calls to a NATS server are refused at once.
pub const NATS_FAILURES: u32 = 5;

/// For how long they are.
pub const NATS_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait after the first failure of a call to a NATS server: most have to do with a connection that is made anew.
pub const NATS_BACKOFF: Duration = Duration::from_millis(50);

/// The longest wait between two attempts.
pub const NATS_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a connection to a NATS server is idle before it is asked whether it is one; after three that were not answered it is
/// given up.
pub const NATS_PING: Duration = Duration::from_secs(10);

/// How often a NATS server says that there is nothing new, to a process in which somebody waits.
pub const NATS_HEARTBEAT: Duration = Duration::from_secs(2);

/// How long it may be silent before it is taken to be gone: two heartbeats may be late.
pub const NATS_HEARTBEATS_PATIENCE: Duration = Duration::from_secs(5);

/// Events that a follower who lost the connection is sent one by one; where more have come meanwhile, everybody reads for
/// themselves.
pub const NATS_FOLLOW_BEHIND: u64 = 1_024;

/// How long a NATS server keeps a reader that is not asked for anything.
pub const NATS_READER_IDLE: Duration = Duration::from_secs(20);

/// Readers that are kept for the next page: one for each subscription of a busy process that catches up.
pub const NATS_READERS_MAX: usize = 16;

/// How many sequences a reader may be behind a cursor and still be used for it: a page is read faster than another is made.
pub const NATS_READER_BEHIND: u64 = 256;

/// How long a reader waits for a NATS server to say that it has nothing. Then the stream is asked in another way.
pub const NATS_SILENCE: Duration = Duration::from_secs(2);

/// Messages that one read of a NATS stream looks at: some 50 ms.
pub const NATS_LOOKS_MAX: usize = 10_000;

/// Connections to a Redis server that there may be unless set: a hundred processes with all of theirs stay below the server's
/// usual limit of 10,000.
pub const REDIS_CONNECTIONS: usize = 50;

/// The most connections to a Redis server that can be asked for.
pub const REDIS_CONNECTIONS_MAX: usize = 500;

/// Calls under way on one connection to a Redis server before another is made. One connection carries more than the server can
/// serve; more of them only keep a large answer from holding up the small ones.
pub const REDIS_CROWD: usize = 16;

/// Calls to a Redis server under way at once. With [`REDIS_SCRIPT_BYTES`] it bounds what one that stalls makes a process hold.
pub const REDIS_IN_FLIGHT: usize = 512;

/// How often a call to a Redis server is tried in all, unless set: over a connection that breaks and a moment of stalling, and
/// not over a restart, which the caller should hear of.
pub const REDIS_ATTEMPTS: u32 = 3;

/// Scripts that publish under way at once, for all publishers of a transport: one at the server, one on its way. What is published
/// meanwhile goes together with the next.
pub const REDIS_TURNS: usize = 2;

/// Events that a Redis server keeps unless set: about half a gigabyte of its memory for common ones.
pub const REDIS_EVENTS_MAX: usize = 1_000_000;

/// Events in one script: a Redis server does nothing else meanwhile, which is about a millisecond.
pub const REDIS_SCRIPT_EVENTS: usize = 256;

/// Bytes of events or dead letters in one script (what crosses the line included).
pub const REDIS_SCRIPT_BYTES: usize = 1024 * 1024;

/// Bytes of events that are kept together on a Redis server (the event that crosses the line included): enough that what an
/// entry costs does not matter, and little enough to be read for the sake of one of them.
pub const REDIS_ENTRY_BYTES: usize = 32 * 1024;

/// Events that are kept together on a Redis server.
pub const REDIS_ENTRY_EVENTS: usize = 128;

/// Entries that a Redis server is asked for at once, and fewer when the last ones were large. It cannot be told a number of
/// bytes, so should all of them suddenly be as large as they may be, one answer takes 72 MiB.
pub const REDIS_LOOK: usize = 256;

/// Events that a Redis server is asked for one by one in one script: 16 MiB if all are as large as they may be.
pub const REDIS_GET: usize = 64;

/// Events that one read looks at on a Redis server: about 50 ms of other people's patience, however rare the events are that
/// match.
pub const REDIS_SCAN: usize = 10_000;

/// Dead letters that a Redis server is asked for at once: some 16 MiB if all are as large as they may be.
pub const REDIS_LETTERS: usize = 64;

/// How long a Redis server keeps a follower waiting before it says that there is nothing: an idle one costs twelve calls a
/// minute, and one whose connection is dead without a word finds out soon.
pub const REDIS_BLOCK: Duration = Duration::from_secs(5);

/// Changes of consumers that a Redis server remembers for followers that were away for a moment.
pub const REDIS_CHANGES: usize = 1_000;

/// How long a Redis server remembers what it answered to a call that must not be made twice: longer than it is tried.
pub const REDIS_ANSWER_KEPT: Duration = Duration::from_secs(300);

/// How long what one process does for all that share a database may rest when that process has died: far above a renewal that
/// takes its time, and short enough that nobody waits for a machine that is gone.
pub const DUTY_LEASE: Duration = Duration::from_secs(10);

/// How long a transport may take for a page before it counts as away.
pub const RELAY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a relay with nothing to do takes no notice that a transport has lost its last events, with a server that was started
/// again: whoever waits for them waits as long.
pub const RELAY_LOOK: Duration = Duration::from_secs(30);

/// How long after an event was relayed that is written down, at the latest. Retention waits for it, and people look at it; a relay
/// that goes on asks the transport.
pub const RELAY_NOTE_WAIT: Duration = Duration::from_secs(1);

/// The shortest and the longest wait between two attempts to relay to a transport that is away.
pub const RELAY_BACKOFF_MIN: Duration = Duration::from_millis(20);

/// See [`RELAY_BACKOFF_MIN`].
pub const RELAY_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long nothing may go through before that is an error in the log and not a warning.
pub const RELAY_PATIENCE: Duration = Duration::from_secs(60);

/// How long a relay that is to end goes on with what is committed; the rest is the next one's. Less than [`LEAVE_TIMEOUT`].
pub const RELAY_LEAVE: Duration = Duration::from_secs(1);

/// Rules in a policy on retention: each event that a pass looks at is compared with them.
pub const RETENTION_RULES_MAX: usize = 64;

/// Events that a pass looks at in one read before it gives its connection back.
pub const RETENTION_LOOK: u64 = 10_000;

/// Events that a pass removes in one transaction: some milliseconds, in which others wait to write on SQLite, and consumers to
/// go on.
pub const RETENTION_BATCH: usize = 500;

/// The shortest time between two passes: each of them reads what is old.
pub const RETENTION_EVERY_MIN: Duration = Duration::from_secs(1);

/// How long after the bus was opened the first pass begins at the latest, and how soon one that failed is tried again.
pub const RETENTION_FIRST: Duration = Duration::from_secs(60);

/// How long a publisher waits for subscriptions that ask it to before it is told that they do not keep up.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the text by which a failed delivery is remembered: the first lines of an error. It bounds a consumer's state.
pub const MISHAP_BYTES_MAX: usize = 160;

/// Bytes of the error by which a dead letter's last delivery failed, which a person will want to read.
pub const MISHAP_LAST_BYTES_MAX: usize = 4 * 1024;

/// Bytes in a consumer's name, which is a key on every transport.
pub const CONSUMER_BYTES_MAX: usize = 128;

/// Events that a process has in hand for one consumer unless that says otherwise, begun or not.
pub const PREFETCH_DEFAULT: usize = 256;

/// How long a handler has for a delivery unless its consumer says otherwise, and the least and the most it may say: below that
/// a busy disk would take work away from those who do it, beyond it nobody would notice that it stands still.
pub const ACK_WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// See [`ACK_WAIT_DEFAULT`].
pub const ACK_WAIT_MIN: Duration = Duration::from_millis(100);

/// See [`ACK_WAIT_DEFAULT`].
pub const ACK_WAIT_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// How often a consumer's event is delivered unless that says otherwise.
pub const ATTEMPTS_DEFAULT: u32 = 5;

/// How long settling a delivery may take while the transport is away before the handler is told. The claim stands until its
/// lease runs out, so it can be tried again.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How far a consumer that finds nothing for itself goes on before it writes that down: retention waits for it until then.
pub const CURSOR_LAZY_MAX: u64 = 10_000;

/// The longest wait between two attempts of a consumer to reach a transport that is away.
pub const CONSUMER_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a member that goes waits for its last word to be taken.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a change of a consumer's state is tried when others change it at the same time: each time one of them got ahead.
pub const CHANGE_TRIES_MAX: usize = 100;

/// Dead letters in one page of a list.
pub const DEAD_PAGE_MAX: usize = 256;

/// How long a case of the suite for transports may take: the longest writes tens of thousands of events, and each waits for
/// others where it would hang if they did not come.
pub const CONFORMANCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a JSON Schema that comes at run time: some hundred described properties. It is compiled and compared in memory.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;

/// How deep the schemas in one may nest, and how many references may follow one another: each level is a level of
/// recursion when data is checked.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// Steps of one check of data against a schema that came at run time. A step is a value seen by a schema; data of
/// [`DATA_BYTES_MAX`] has at most 130,000 values, so each may be seen several times, and a schema whose alternatives multiply
/// costs some tens of milliseconds and no more.
pub const CHECK_STEPS_MAX: usize = 1_000_000;

/// How deep a check may nest, in the data and in the schema together: what a thread's stack holds several times over.
pub const CHECK_DEPTH_MAX: usize = 320;

/// Steps of one comparison of two schemas: far more than those of a large type take, and some 30 ms. Schemas that take more
/// count as different.
pub const COMPARE_STEPS_MAX: usize = 100_000;

/// Types and versions of them in one registry, which is kept in memory and written down when a bus opens.
pub const TYPES_MAX: usize = 4_096;

/// Rules on how events are checked in one registry: a configuration that a person can still read.
pub const POLICIES_MAX: usize = 64;

/// Schemas of one version of a type that a database remembers beside each other: programs that each added something the
/// others do not know. More of them are a sign that nobody agrees on what the type is.
pub const SCHEMAS_REMEMBERED_MAX: usize = 16;

/// Bytes in the name of an agent or a capability that messages are addressed to: with what stands before it, it makes a topic and
/// a consumer's name.
pub const AGENT_BYTES_MAX: usize = 96;

/// Capabilities that one mailbox declares: with its own address, the patterns of its consumers.
pub const CAPABILITIES_MAX: usize = PATTERNS_MAX - 1;

/// Bytes of JSON in a message's body: an event's data, without what the message says besides.
pub const BODY_BYTES_MAX: usize = DATA_BYTES_MAX - 4 * 1024;

/// The longest time to live of a message: ten years, beyond which a time is more likely in the wrong unit.
pub const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// The most attempts that a message's sender may ask for: more are a loop.
pub const MESSAGE_ATTEMPTS_MAX: u32 = 1_000;

/// How many letters in a row a mailbox takes from elsewhere while one waits. A quarter of a busy mailbox's time is for what is
/// less urgent, and nothing waits for longer than this and the number of priorities.
pub const PASSED_OVER_MAX: u32 = 12;

/// Letters of each priority that a process has in hand for a mailbox unless that says otherwise, begun or not. Agents are slow, and
/// what one has taken no other gets.
pub const MAILBOX_PREFETCH_DEFAULT: usize = 16;

/// Names of consumers that are asked for at once when mailboxes are looked through.
pub const CONSUMERS_PAGE: usize = 256;
