//! Every bound of this crate, each with its reason.
//!
//! A queue, buffer, retry or wait that could grow without end has its bound here, so that an operator can read on one
//! page what a process can use at most.

use std::time::Duration;

/// How long [`SystemClock::sleep_until`](crate::clock::SystemClock) sleeps at most before it reads the wall clock again.
///
/// The monotonic clock stands still while a machine is suspended and does not see an operator set the time, so one
/// long sleep could be late by hours. One second bounds that lateness and costs a waiting process one wake-up per
/// second and sleeper, and only sleepers in memory count: durable timers wait in the database.
pub const CLOCK_RECHECK: Duration = Duration::from_secs(1);

/// The size of a payload unless the caller says otherwise: 1 MiB.
///
/// Payloads are stored, copied to readers and kept in the journal; documents and images belong in an object store, with
/// their address in the payload.
pub const PAYLOAD_BYTES_DEFAULT: usize = 1 << 20;

/// The largest payload that is read back at all: 64 MiB.
///
/// It bounds what one corrupt or hostile row can make a process allocate, and stays far below SQLite's own limit of
/// 1 GB for a value.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// How deep objects and arrays may nest in a payload.
///
/// `serde_json` refuses to decode beyond 128 levels; what could not be read back must not be written. The margin is for
/// envelopes that wrap a payload.
pub const PAYLOAD_DEPTH_MAX: usize = 100;

/// The largest configuration file: 1 MiB, a thousand times what a person writes.
///
/// A larger one is a wrong path (a log, a database), and reading it whole would only waste memory before failing.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How long [`TaskSet::join_all`](crate::shutdown::TaskSet::join_all) waits for aborted tasks to drop what they hold.
///
/// A future is dropped at its next await, which is at once unless it blocks its thread; a second is generous for the first
/// and a process cannot wait for the second.
pub const ABORT_GRACE: Duration = Duration::from_secs(1);

/// How many panics a [`TaskSet`](crate::shutdown::TaskSet) remembers for its report; later ones are only logged and counted.
///
/// A task that panics in a loop must not fill the memory of the process that restarts it.
pub const PANICS_KEPT_MAX: usize = 64;

/// The time a model has to answer unless the request says otherwise.
///
/// A long answer of a large model takes about a minute; twice that is a call that hangs.
pub const MODEL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// The largest prompt, system prompt included: 4 MiB, about a million tokens, which no model accepts.
///
/// A larger one is refused before it costs anything.
pub const MODEL_PROMPT_BYTES_MAX: usize = 4 << 20;

/// How much of a prompt or of a model's output an error message shows.
///
/// Enough to recognise it, little enough for a log line.
pub const MODEL_EXCERPT_CHARS: usize = 200;

/// How long the guard of a process group may take to be ready: it is one small shell, and a machine on which that takes
/// longer has other troubles.
pub const PROCESS_GUARD_START: Duration = Duration::from_secs(10);

/// How many `claude` processes one [`Claude`](crate::model) runs at once unless told otherwise.
///
/// One takes about 184 MB; four fit beside the rest on a small machine. Further calls wait for their turn within
/// their own deadline.
pub const CLAUDE_PROCESSES_DEFAULT: usize = 4;

/// How much a `claude` process may print before it is killed: 16 MiB, many times the longest answer.
pub const CLAUDE_OUTPUT_BYTES_MAX: usize = 16 << 20;

/// How much of the end of a `claude` process's error output is kept for an error message: 8 KiB.
pub const CLAUDE_STDERR_BYTES_KEPT: usize = 8 << 10;

/// How long a `claude` process may take to end once it has answered: 5 s, which it needs at most to put its files in order.
///
/// It is killed then; its answer was paid for and is kept.
pub const CLAUDE_EXIT_GRACE: Duration = Duration::from_secs(5);

/// How long the output of a `claude` process that has ended is read on: 1 s.
///
/// What it wrote is in the pipe already; only a child that left its process group could keep the pipe open longer.
pub const CLAUDE_DRAIN: Duration = Duration::from_secs(1);

/// The largest single argument handed to `claude`: 96 KiB.
///
/// Linux refuses a program argument beyond 128 KiB with a message that names neither the argument nor the limit.
pub const CLAUDE_ARGUMENT_BYTES_MAX: usize = 96 << 10;

/// Closures that wait for the database's writer. Beyond it callers wait, and are refused after the write timeout.
pub const DB_QUEUE: usize = 8_192;

/// Closures in one commit: enough to make the sync's cost vanish, few enough that the first need not wait for long.
pub const DB_BATCH: usize = 1_024;

/// For how many transactions each closure is set apart after one had to be undone: long enough that a load whose closures fail
/// often does not run them twice all the time, short enough that one failure an hour costs nothing.
pub const DB_APART: u32 = 64;

/// Read-only connections. Reads are short and two cores are common; each costs a page cache of 2 MiB at most.
pub const DB_READERS: usize = 4;

/// The most read-only connections that can be asked for: each costs three file handles and up to 2 MiB.
pub const DB_READERS_MAX: usize = 64;

/// What part of a commit's usual time the writer waits for those whom the last commit answered: a tenth.
///
/// It doubles the batches on a slow disk, and a writer that is alone never waits.
pub const DB_LINGER_SHARE: u32 = 10;

/// The longest such wait, for disks that stall.
pub const DB_LINGER_MAX: Duration = Duration::from_millis(1);

/// Prepared statements kept per connection: every statement of the house, with room for a user's own.
pub const DB_STATEMENTS: usize = 256;

/// How many pages (4 KiB) the write-ahead log grows by before they are folded into the file beside the writer.
pub const DB_LOG_PAGES_FOLD: u32 = 500;

/// How many pages the log may have before the writer folds the rest itself, so that it starts again: 4 MiB.
///
/// A longer one would be folded less often, but a log that is written over is faster to sync than one that grows, and a
/// start after a crash has to read it.
pub const DB_LOG_PAGES_LONG: u32 = 1_000;

/// How many pages the log may have before the writer waits for the folding that is under way: 16 MiB.
///
/// Only a reader that holds on to its snapshot can make it longer, and the read timeout bounds that.
pub const DB_LOG_PAGES_MAX: u32 = 4_000;

/// How long a write waits for a place in the queue. A queue that stays full longer means that the disk has stalled.
pub const DB_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long bringing the schema of a database server up to date may take, waiting for other processes that do it
/// included. Writing a large table anew takes minutes.
pub const DB_MIGRATION_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a read may take. A snapshot that stays open keeps the write-ahead log from being folded in.
pub const DB_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a backup or a check may take. Neither can be hurried, and both keep the write-ahead log from starting again: at 10 MiB
/// written a second, ten minutes let it grow to 6 GiB.
pub const DB_APART_TIMEOUT: Duration = Duration::from_secs(600);

/// How many findings of each concern a check tells: enough to see the extent, where a damaged file could give millions.
pub const DB_FINDINGS: usize = 100;

/// Instructions of SQLite's virtual machine between two looks at a read's deadline: some hundred microseconds.
pub const DB_PROGRESS_OPS: i32 = 10_000;

/// How long connecting to a database server may take, encryption and settings included. A server that is up answers in
/// milliseconds, also on another continent.
pub const DB_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a database server works on one statement, should the client no longer be there to say that its deadline has
/// passed: as long as a write may wait.
pub const DB_STATEMENT_TIMEOUT: Duration = DB_WRITE_TIMEOUT;

/// How long a statement waits for a lock at a database server. Transactions are short; what is held longer hangs.
pub const DB_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a transaction may lie idle before a database server ends it, and with it whatever it kept others from: longer
/// than a closure may think between two statements.
pub const DB_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a peer may be silent that should have answered the network itself, before its connection is given up.
pub const DB_PEER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a commit may take beyond its deadline. Whether it took place matters more than when.
pub const DB_COMMIT_GRACE: Duration = Duration::from_secs(10);

/// How long telling a database server to stop something may take, before the connection is given up without a word.
pub const DB_CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection may take to say goodbye. The server notices by itself, too.
pub const DB_GOODBYE: Duration = Duration::from_millis(200);

/// The largest answer of one statement that is held in memory: 256 MiB, four of the largest payloads.
pub const DB_ANSWER_BYTES_MAX: usize = 256 << 20;

/// Connections to a database server that one process uses at most unless told otherwise: enough to keep a server's disk and
/// some cores busy, and few enough that several processes share the 100 that a server takes by default.
pub const DB_LANES: usize = 16;

/// The most such connections that can be asked for: each costs a thread here and a process there.
pub const DB_LANES_MAX: usize = 256;

/// How long a connection is kept that nobody needs. Making a new one costs milliseconds.
pub const DB_LANE_IDLE: Duration = Duration::from_secs(60);

/// How long no connection is added after the server has refused one for being full.
pub const DB_CROWDED_PAUSE: Duration = Duration::from_secs(10);

/// How often a transaction is run, all in all, that collides with others: with pauses that grow, two seconds' worth. One
/// that collides more often needs another design, not more tries.
pub const DB_COLLISIONS_MAX: u32 = 25;

/// How many attempts to connect fail in a row before newcomers are refused at once.
pub const DB_BREAKER_FAILURES: u32 = 5;

/// How long newcomers are refused before somebody tries again: a server that restarts is back in seconds.
pub const DB_BREAKER_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait for somebody else's attempt to connect, when only one is let through at a time.
pub const DB_PROBE_WAIT: Duration = Duration::from_millis(50);

/// Rows in one statement that inserts a set on a database server. Beyond some thousands nothing is gained.
pub const DB_SET_ROWS: usize = 4_096;

/// Bytes in one such statement, which client and server hold at once: 8 MiB. A row that is larger goes alone.
pub const DB_SET_BYTES: usize = 8 << 20;

/// Commits of appended rows that are on their way to a database server at once: one is synced while the next is gathered
/// and inserted. With more, each would hold fewer rows.
pub const DB_FLIGHTS: usize = 2;

/// How long a process waits between two notifications of others: each makes every commit of the server wait for a moment.
/// The first is sent at once.
pub const DB_NOTIFY_PAUSE: Duration = Duration::from_millis(5);

/// How long closing waits for closures that run and for work in line.
pub const DB_CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest name of a lease: it is a key in an index and stands in error messages.
pub const LEASE_NAME_BYTES_MAX: usize = 256;

/// The longest label of a holder of leases: it is for people to recognise a part of a program by.
pub const LEASE_LABEL_BYTES_MAX: usize = 64;

/// The shortest time to live of a lease: 100 ms. A third of it is still longer than a write takes on a busy disk.
pub const LEASE_TTL_MIN: Duration = Duration::from_millis(100);

/// The longest time to live of a lease: a day. It is how long a name stays taken when its holder dies.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(86_400);

/// How often a lease is renewed within its time to live: two renewals may fail before it is in danger.
pub const LEASE_RENEWALS: u32 = 3;

/// What part of its time to live a failed renewal waits at least, and at most twice as long, before the next try: a 24th,
/// which gives some ten tries, and no holder hurries a database that is in trouble.
pub const LEASE_RETRIES: u32 = 24;

/// What part of its time to live before its end a lease is given up that cannot be renewed: a sixth, for clocks that do not
/// run equally fast and for work that takes a moment to stop.
pub const LEASE_MARGIN_SHARE: u32 = 6;

/// How long a campaign waits at most before it looks at the lease again: 5 s, because news of a release can be lost.
pub const LEASE_POLL_MAX: Duration = Duration::from_secs(5);

/// How many names are forgotten in one transaction, so that it stays short.
pub const LEASE_PRUNE: u32 = 1_000;

/// How long a server that a test has started may take to answer: 60 s. It takes a tenth of one on a machine that is idle.
pub const TESTING_START: Duration = Duration::from_secs(60);

/// How long such a server may take to end: 60 s, because it may have to write much to a slow disk before it does.
pub const TESTING_STOP: Duration = Duration::from_secs(60);

/// How many ports are tried for it, in case somebody takes the one that was free a moment ago. Twice in a row is bad luck.
pub const TESTING_PORTS_TRIED: u32 = 5;

/// How much of its log is shown when it fails: the last 4 KiB, which hold the reason.
pub const TESTING_LOG_BYTES_SHOWN: usize = 4 << 10;

/// The longest key of a cache, its regions included: 1 KiB. A longer one is better replaced by a digest, since every entry
/// holds its key in memory.
pub const CACHE_KEY_BYTES_MAX: usize = 1 << 10;

/// The largest value of a cache unless set: 1 MiB. A larger one keeps all others on its connection waiting.
pub const CACHE_VALUE_BYTES_DEFAULT: usize = 1 << 20;

/// The largest value that a cache can be set to take: 64 MiB, as for payloads.
pub const CACHE_VALUE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// What a cache keeps in memory unless set, keys, values and [`CACHE_ENTRY_BYTES`] for each: 64 MiB.
pub const CACHE_MEMORY_BYTES: u64 = 64 << 20;

/// What an entry in memory costs besides its key and value: the table, the order of use and the counts behind it.
pub const CACHE_ENTRY_BYTES: usize = 256;

/// The longest that a value is kept: 30 days. What should last longer belongs into a database.
pub const CACHE_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How long memory believes what a shared store said, unless set: 1 s, which people take for at once, and which spares the
/// store all but one lookup a second for a key in demand.
pub const CACHE_MEMORY_TTL: Duration = Duration::from_secs(1);

/// By how much of its time a value may end earlier, in percent, unless set: enough to spread out what was kept together.
pub const CACHE_JITTER_PERCENT: u8 = 10;

/// How long a computation for a cache may take unless set: 150 s, more than [`MODEL_TIMEOUT_DEFAULT`], so that a model's
/// own deadline comes first and says more.
pub const CACHE_COMPUTE_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a call of a shared store may take at all: 5 s. Stores have shorter limits of their own; this one is for those
/// that forget about them.
pub const CACHE_STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// After how many failures in a row a cache says that it goes on without its shared store.
pub const CACHE_FAILURES_DEGRADED: u32 = 3;

/// How many keys that are out of date in a shared store are remembered while it cannot be told: 10,000, some megabytes.
/// The values of any more are seen again when the store is back, until their time is over.
pub const CACHE_OWED_MAX: usize = 10_000;

/// How many of those keys one call removes: a few kilobytes, which a server does in well under a millisecond.
pub const CACHE_REPAY_BATCH: usize = 100;

/// Connections of a link to a Redis server unless set. One carries 200,000 calls a second; the second goes on when a large
/// value blocks the first.
pub const REDIS_CONNECTIONS: usize = 2;

/// Calls under way on one connection to a Redis server before the next is made, unless set: whoever finds all of them busy
/// takes a free way while there may be one.
pub const REDIS_CROWD: usize = 1;

/// How long connecting to a Redis server may take unless set.
pub const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a call to a Redis server may take unless set: a thousand times what a large one usually does.
pub const REDIS_COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// What part of its time a call to a Redis server that is given up must have had to count as a failure: a tenth, a hundred
/// times what a call usually takes.
pub const REDIS_PATIENCE: u32 = 10;

/// Calls to a Redis server under way at once unless set; more wait for their turn within their time.
pub const REDIS_IN_FLIGHT: usize = 1_024;

/// After how many failures in a row a Redis server is left alone for [`REDIS_PAUSE`], unless set.
pub const REDIS_FAILURES: u32 = 3;

/// How long a Redis server that failed is left alone, unless set: 1 s. A probe costs one caller some milliseconds, and a
/// restart takes about that long.
pub const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait between two attempts to connect to a Redis server, unless set.
pub const REDIS_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The most connections of a cache to a Redis server that can be asked for: a fleet of a hundred processes still stays below
/// the server's usual limit of 10,000.
pub const CACHE_REDIS_CONNECTIONS_MAX: usize = 16;

/// How long a cache's call to a Redis server may take unless set: 250 ms, a thousand times what it usually does.
pub const CACHE_REDIS_COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
