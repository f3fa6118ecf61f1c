//! What would otherwise be unbounded, each with its reason.

use std::time::Duration;

/// Bytes of a task's input, of its output and of a step's output: large enough for a long document, small enough that a
/// batch of them does not stall the writer. Larger things belong in a file or a blob store, their name in the payload.
pub const PAYLOAD_BYTES: usize = 1 << 20;

/// Bytes of a name (step, call, signal): names are written by people and stand in every row of the journal.
pub const NAME_BYTES: usize = 128;

/// Bytes of the names of nested scopes together.
pub const SCOPE_BYTES: usize = 512;

/// Bytes of an agent's or a tenant's name: both are tokens of topics, which are short.
pub const TOKEN_BYTES: usize = 64;

/// Bytes of the name of a capability or of a domain: a handful of tokens, short enough for a list.
pub const CAPABILITY_BYTES: usize = 64;

/// Capabilities of one agent, and domains of one: they are read with every look at who is there.
pub const CAPABILITIES_MAX: usize = 32;

/// See [`CAPABILITIES_MAX`].
pub const DOMAINS_MAX: usize = 32;

/// Bytes of an agent's version: three numbers and a short word.
pub const VERSION_BYTES: usize = 64;

/// Bytes of a range of versions: a few comparisons.
pub const RANGE_BYTES: usize = 256;

/// The greatest weight of an agent: shares finer than a thousandth are noise.
pub const WEIGHT_MAX: u32 = 1_000;

/// Entries in an agent's metadata.
pub const METADATA_MAX: usize = 16;

/// Bytes of one value in an agent's metadata: a line, not a document.
pub const METADATA_BYTES: usize = 256;

/// Bytes of the JSON Schema of an agent's input, and of its output: several times what a large type of Rust has.
pub const SCHEMA_BYTES: usize = 256 << 10;

/// Bytes of an idempotency key: room for a URL or a digest with a prefix.
pub const KEY_BYTES: usize = 256;

/// Children of one `map`: one commit holds them all, and a parent that wants more should page.
pub const MAP_CHILDREN: usize = 10_000;

/// Nodes of one plan: a planner that wants more should plan in stages, or have a node that is a map.
pub const PLAN_NODES: usize = 512;

/// Dependencies of one plan, by reference and by order. What is checked for each of them is done at once.
pub const PLAN_EDGES: usize = 8_192;

/// Bytes of a plan as JSON: it stands in the journal whole, once more with every revision.
pub const PLAN_BYTES: usize = 256 << 10;

/// How deep the input of a plan's node may nest: less than a payload may, because outputs are put into it.
pub const PLAN_INPUT_DEPTH: usize = 32;

/// Bytes of the id of a plan's node: it stands in the names of calls.
pub const PLAN_ID_BYTES: usize = 64;

/// How often a plan may call for one node until that has an output. Agents try again by themselves as well.
pub const PLAN_ATTEMPTS: u32 = 8;

/// Times that one plan may be revised: each revision stands in the journal.
pub const PLAN_REVISIONS: u32 = 32;

/// Times in a row that a revision may be refused before the plan fails: who cannot mend it by then, will not.
pub const PLAN_REPAIRS: u32 = 3;

/// Findings about one plan that are told: nobody reads more before mending some.
pub const PLAN_FINDINGS: usize = 64;

/// How far schemas are followed into each other when it is checked whether an output fits an input: types that contain themselves
/// have no end.
pub const PLAN_SCHEMA_DEPTH: usize = 24;

/// Schemas that are looked at for one node when it is checked: alternatives within alternatives multiply. What is left then is
/// found out when the node starts.
pub const PLAN_SCHEMA_STEPS: usize = 50_000;

/// How long a plan waits before it asks again for an agent of which all that could have a node are away.
pub const PLAN_ROUTE_WAIT: Duration = Duration::from_secs(5);

/// Levels of calls below a root task. Deeper is almost always an agent that calls itself without an end.
pub const CALL_DEPTH: u32 = 64;

/// Attempts that run at once unless the builder says otherwise. Agents mostly wait for models, so more than cores.
pub const CONCURRENCY: usize = 64;

/// Threads of a process that are busy with what agents do under `Context::blocking`, unless the builder says otherwise: more than
/// cores, because some of it waits for devices, and few enough that the rest of the process gets its share.
pub const BLOCKING_THREADS: usize = 32;

/// The most of anything that a budget counts, wall time in microseconds included: sums of limits, grants and overdrafts fit the
/// database's whole numbers.
pub const BUDGET_MOST: u64 = 1 << 56;

/// Tasks claimed in one transaction: enough to fill the workers, short enough not to hold other writers up.
pub const CLAIM_BATCH: usize = 256;

/// Signals that a task may leave unread: who sends more is told so, and the inbox does not grow without an end.
pub const SIGNALS_KEPT: usize = 1_000;

/// Times in a row that a task may be running when its process dies, without a step in between, before it goes to the
/// dead letters. A crash is seldom the task's fault, but one that brings the process down each time must not do so for ever.
pub const CRASHES_MAX: u32 = 10;

/// How long an attempt that waits stays in memory before it is parked: shorter waits save the way back, longer ones
/// must not hold memory.
pub const PARK_GRACE: Duration = Duration::from_millis(50);

/// A run that waits and does something of its own beside, outside of a step, is kept in memory and looked at this often:
/// what it does may end without a word.
pub const RECHECK: Duration = Duration::from_secs(1);

/// Running time of one attempt, waits apart, unless its agent says otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How long a shutdown lets running attempts go on before it hands them back, unless the builder says otherwise.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Runs that end whose ends are written down in one transaction: enough to share a sync, short enough not to hold others up.
pub const FINISH_BATCH: usize = 256;

/// So many ends at once are written down beside the claims, on PostgreSQL, and fewer with them in one transaction: that is one commit
/// less, and takes longer the more there is to do.
pub const ROUND_SPLIT: usize = 32;

/// Lanes, of tenants and their keys, whose ready tasks of one agent are looked at for one claim. More of them take turns.
pub const CLAIM_LANES: usize = 64;

/// Bytes of the list of version ranges that a claim passes over: about 1,500 ranges that a process does not have. Of an agent that has
/// more of them waiting at the same time, what stands behind them is only found by a process that takes some.
pub const CLAIM_REFUSED_BYTES: usize = 16_384;

/// Calls that a task may register to be undone: they are called one after the other.
pub const UNDO_CALLS: usize = 1_000;

/// Bytes of the inputs of those calls together: they are the input of one task.
pub const UNDO_BYTES: usize = 4 << 20;

/// Bytes that such a call takes beside its input: names, a key and the words around them.
pub const UNDO_WORDS: usize = 2 * KEY_BYTES + 2 * NAME_BYTES + TOKEN_BYTES + 512;

/// Choices of a question, and names of those who may answer it: people read them.
pub const QUESTION_CHOICES: usize = 100;

/// Bytes of a question's text, of its choices, and of the names: it stands in lists and in events.
pub const QUESTION_BYTES: usize = 8 * 1024;

/// Bytes that an answer takes beside its value: a name, a time and the words around them.
pub const ANSWER_BYTES: usize = 4 * NAME_BYTES + 256;

/// Interruptions on one page.
pub const INTERRUPTIONS_PAGE: usize = 200;

/// The longest time that a rate may be over: whoever counts by the month keeps accounts.
pub const RATE_PERIOD_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// The largest share, and so how often one may come before another does.
pub const SHARE_MAX: u32 = 1_000;

/// Limits that may be set: each claim reads them.
pub const FLOW_LIMITS: usize = 1_000;

/// What limits count is forgotten when it was not used for so long.
pub const FLOW_IDLE: Duration = Duration::from_secs(60);

/// So much of it at once; a claim does it beside its own work.
pub const FLOW_SWEEP: u64 = 256;

/// One in so many claims does it, so that it is not felt.
pub const FLOW_SWEEP_EVERY: u32 = 4;

/// What has fallen due, of timers, delays and deadlines each, and is dealt with in one transaction; the rest follows at once.
pub const DUE_BATCH: u64 = 1_000;

/// How long a ready task waits until it counts as more urgent by one priority, so that none waits for ever.
pub const AGING: Duration = Duration::from_secs(60);

/// Transactions under way at once for what is submitted, and for what steps remember: one at the database, one on its way.
pub const GATHER_TURNS: usize = 2;

/// Single submissions, or KiB of their inputs, that go into one transaction.
pub const SUBMIT_GATHERED: usize = 512;

/// Steps' outputs, or KiB of them, that go into one transaction.
pub const RECORD_GATHERED: usize = 512;

/// Virtual time that a test gives whatever it waits for, unless it says otherwise: longer than people are waited for, and over in
/// a second or two when nothing comes of it.
pub const TEST_PATIENCE: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// How long a process waits, for each task that is watched in it, before it looks what others did to those: two milliseconds for a
/// hundred.
pub const WATCH_PAUSE: Duration = Duration::from_micros(20);

/// How long a submission waits before it asks again when the connection was lost during its commit: twice as long each time.
pub const UNSURE_WAIT: Duration = Duration::from_millis(50);

/// See [`UNSURE_WAIT`]: after some six seconds whoever submits is told that nobody knows.
pub const UNSURE_WAIT_MAX: Duration = Duration::from_secs(4);

/// Tasks submitted together: one commit holds them all.
pub const SUBMIT_BATCH: usize = 10_000;

/// How often a submission looks for the task that has its key while others take it and give it back.
pub const KEY_TRIES: u32 = 3;

/// Tasks on one page of a list.
pub const TASKS_PAGE: usize = 1_000;

/// Rows that one page of a list looks at, where no index leads to what is asked for.
pub const TASKS_LOOK: i64 = 10_000;

/// Tasks that are forgotten in one transaction: short enough not to hold others up.
pub const FORGET_BATCH: u64 = 500;

/// Labels of one task: they are for finding it, and each is a row in an index.
pub const LABELS: usize = 16;

/// Bytes of a line in a record, such as a repository or a version: an address fits.
pub const RECORD_LINE_BYTES: usize = 256;

/// Bytes of a text in a record, such as a review's summary: a page, and less than what an index or a list of events would suffer from.
pub const RECORD_TEXT_BYTES: usize = 4 << 10;

/// Records on one page of a list; each may bring its stages or checks along.
pub const RECORDS_PAGE: usize = 200;

/// Stages of one workflow: they are for people to follow. What is done for each of many items is a map.
pub const STAGES: usize = 128;

/// Bytes of a stage's name: the journal's name for what becomes of it has it in it.
pub const STAGE_BYTES: usize = 64;

/// Checks of one deployment, by name.
pub const CHECKS: usize = 64;

/// How often a process says that it lives, where several share a database.
pub const BEAT: Duration = Duration::from_millis(750);

/// For how long a process may be silent before others take back what it held: several beats, so that one that is only slow
/// keeps its own; short, because whoever waits for the work waits for this first.
pub const SILENCE: Duration = Duration::from_millis(3_500);

/// Runs of ended processes that are taken back in one transaction; those that come first may begin while others are taken back.
pub const RECOVER_BATCH: usize = 1_000;

/// The dispatcher looks at the queue at least this often, wake-ups apart: a safety net that costs one indexed read.
pub const DISPATCH_TICK: Duration = Duration::from_secs(5);

/// How often a process says that its agents are there, and how busy they are. Load is this old at most where tasks are
/// routed.
pub const AGENT_HEARTBEAT: Duration = Duration::from_secs(2);

/// How long an agent is believed to be there without a word of its process: several heartbeats, so that one that is late
/// on a busy machine does not count.
pub const AGENT_TTL: Duration = Duration::from_secs(6);

/// How long an agent that has gone is remembered, so that who asks for it is told that it was there.
pub const AGENT_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Processes that have gone and are remembered for each version of an agent: one that starts and dies again and again leaves
/// no more rows than that.
pub const AGENTS_GONE: u32 = 8;

/// Rows of agents that are forgotten in one transaction.
pub const AGENTS_FORGOTTEN: u32 = 256;

/// Rows that one look at the agents reads: a thousand processes with ten agents each. Those that are there come first.
pub const AGENTS_LISTED: u32 = 10_000;

/// The part of the recent past that statistics of agents tell of.
pub const STATISTICS_WINDOW: Duration = Duration::from_secs(10 * 60);

/// How many parts the window has. It slides by one of them at a time.
pub const STATISTICS_SLOTS: u32 = 10;

/// How old the picture of who is there may be when a task is routed. One read a second costs nothing, however many tasks.
pub const DIRECTORY_FRESH: Duration = Duration::from_secs(1);

/// Waiting tasks that are counted for each agent. Beyond that, many is many.
pub const QUEUE_SAMPLED: u32 = 1_000;

/// How long a task waits for the agent that it was given to when that has gone, before another gets it: a restart, also a
/// slow one, should not scatter what belongs together.
pub const REROUTE_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether tasks wait for agents that have gone.
pub const REROUTE_TICK: Duration = Duration::from_secs(5);

/// Tasks of one agent that are given to others in one transaction.
pub const REROUTE_BATCH: u32 = 256;

/// Targets whose turn is remembered for round robin. Beyond that all of them begin anew, which skews one round.
pub const TURNS_KEPT: usize = 4_096;

/// Agents that one submission may exclude.
pub const EXCLUDED_MAX: usize = 64;

/// Stages of a chain of fallbacks.
pub const FALLBACKS_MAX: usize = 16;

/// Candidates that the event of a decision tells of, the best first: an explanation that nobody reads to the end is none.
pub const REASONS_TOLD: usize = 32;

/// Bytes of a cron expression: written by people, and the longest sensible list of minutes fits.
pub const CRON_BYTES: usize = 256;

/// Bytes of a time zone's name; the longest in the IANA database has 32.
pub const ZONE_BYTES: usize = 64;

/// Schedules of one database. They are meant for recurring work of the whole system; per-user reminders are tasks with a delay.
pub const SCHEDULES_MAX: usize = 10_000;

/// Schedules listed in one page.
pub const SCHEDULES_PAGE: usize = 1_000;

/// The shortest interval of a schedule. What is to happen more often is a loop in an agent, not a task each.
pub const SCHEDULE_PERIOD_MIN: Duration = Duration::from_secs(1);

/// The longest interval of a schedule, ten years: beyond it is most likely a slip in the unit.
pub const SCHEDULE_PERIOD_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// The most that a schedule may spread its due times: a day, beyond which a due time says little.
pub const SCHEDULE_JITTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A due time that could not be acted upon for longer than this was missed; until then it is only late. Long enough for a
/// restart, as Quartz has it.
pub const MISSED_AFTER: Duration = Duration::from_secs(60);

/// Missed due times of a schedule that are made up for at most, and as far as they are counted: who was away for a year does not
/// want half a million tasks.
pub const CATCH_UP_MAX: u32 = 1_000;

/// Tasks that one schedule submits in one commit; more wait for the next, so that others are not held up.
pub const CATCH_UP_BATCH: usize = 100;

/// Schedules that are looked after in one commit.
pub const SCHEDULE_BATCH: usize = 16;

/// Where several processes share a database, each looks at the schedules at least this often, wake-ups apart: so long may the
/// loss of one go unnoticed, and so much may two clocks differ in their rates.
pub const SCHEDULE_TICK: Duration = Duration::from_secs(15);

/// Up to how long a process waits that has collided with others over a schedule: they act upon it in less.
pub const SCHEDULE_COLLISION: Duration = Duration::from_millis(100);

/// The longest that the schedules are left alone when nothing is due and nobody says that they have changed.
pub const SCHEDULE_RELOOK: Duration = Duration::from_secs(60 * 60);
/// Processes of one subprocess agent, and tasks of one process, at most: more would exhaust process ids or file
/// descriptors before anything else.
pub const PROCESSES_MAX: usize = 1_024;

/// Bytes of a line from a child process: the largest payload, written as wastefully as its escapes allow in practice.
pub const PROCESS_LINE_BYTES: usize = 2 * PAYLOAD_BYTES;

/// Bytes of a line that is no message which an error shows: enough to recognise it.
pub const PROCESS_QUOTE_BYTES: usize = 200;

/// Bytes of the end of a child process's error output that a failure shows; fields of failures have little more room.
pub const PROCESS_STDERR_BYTES: usize = 1_000;

/// Messages of a child process about one task that wait to be dealt with; while there are as many, its pipe is not read.
pub const PROCESS_MESSAGES: usize = 16;

/// Steps of one attempt in a child process that are open at the same time: as many branches as anybody writes.
pub const PROCESS_STEPS_OPEN: usize = 64;

/// Bytes of answers that a child process may have asked for without reading them, before it is ended.
pub const PROCESS_BACKLOG_BYTES: usize = 8 * PAYLOAD_BYTES;

/// Lines that a child process may log for each task at full speed; further ones are not passed on, and read slowly.
pub const PROCESS_LOG_LINES: u32 = 1_000;

/// Between two lines read from a process that logs too much: a thousand a second neither fill a disk nor a core.
pub const PROCESS_LOG_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of a line that a child process logs.
pub const PROCESS_LOG_BYTES: usize = 4 << 10;

/// How long a program may take to say that it is ready, unless its agent says otherwise: interpreters load a lot.
pub const PROCESS_STARTUP: Duration = Duration::from_secs(30);

/// How long a child process has to obey, unless its agent says otherwise: to stop working on a task, then once more to end.
pub const PROCESS_GRACE: Duration = Duration::from_secs(5);

/// How long the output of a process that has ended is read on: it is in the pipe already, but whoever is to deal with it
/// may have to wait for the database.
pub const PROCESS_DRAIN: Duration = Duration::from_secs(5);

/// How often the memory of child processes that have a limit is looked at. Looking takes some milliseconds on a busy
/// machine; a process that allocates a gigabyte a second is caught 250 MB late.
pub const PROCESS_MEMORY_LOOK: Duration = Duration::from_millis(250);

/// How long a program that does not get ready is left alone, once it was given up: whoever mends it is not faster, and
/// whatever it needs is not flooded with attempts.
pub const PROCESS_REST: Duration = Duration::from_secs(60);

/// How often an autoscaler looks, unless told otherwise: a second of waiting is noticed by people, and a look costs a query.
pub const AUTOSCALE_EVERY: Duration = Duration::from_secs(1);

/// How long whatever an autoscaler asks or tells may take: it is to look again rather than to hang.
pub const AUTOSCALE_ANSWER: Duration = Duration::from_secs(30);

/// How often what has to be looked at to be known is sampled for metrics: more often than collectors usually ask, and seldom enough
/// that the looks cost nothing.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// The part of the recent past by which an autoscaler knows how long tasks take: long enough for tasks that take longer than the
/// time between two looks.
pub const AUTOSCALE_PACE: Duration = Duration::from_secs(30);

/// Bytes of a key of a memory: room for a URL or a path.
pub const MEMORY_KEY_BYTES: usize = 256;

/// Bytes of a value in a memory: a page or two of notes. It is read and written whole, and what a run reads stands in its journal.
pub const MEMORY_VALUE_BYTES: usize = 64 << 10;

/// Entries of one memory: a list that a person can still look through. More belongs into a table of its own.
pub const MEMORY_ENTRIES: u64 = 10_000;

/// The longest time to live in a memory, ten years: beyond it is most likely a slip in the unit.
pub const MEMORY_TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Entries on one page of a memory's list.
pub const MEMORY_PAGE: usize = 200;

/// Bytes of the values on one page, beyond which it ends: with their keys they fit into a run's journal.
pub const MEMORY_PAGE_BYTES: usize = PAYLOAD_BYTES / 2;

/// Entries of memories that are removed in one transaction, of runs that are forgotten and of those whose time is over.
pub const MEMORY_PRUNED: u64 = 2_000;

/// Messages that wait in an agent's inbox on behalf of one tenant. More are tried again later, and are with the dead letters in the end:
/// nobody reads them.
pub const INBOX_LETTERS: u64 = 1_000;

/// How often it is tried to put a message into an inbox that is full: with [`INBOX_REST`] between, that is a day.
pub const INBOX_TRIES: u32 = 300;

/// The longest time between two of these tries.
pub const INBOX_REST: Duration = Duration::from_secs(5 * 60);

/// How long a process that died may have had a message in hand before another puts it into its inbox, which takes a moment.
pub const INBOX_WAIT: Duration = SILENCE;

/// Waits for the same inbox that are woken by one message. Who comes too late waits on; more would only jostle.
pub const INBOX_WOKEN: u64 = 64;

/// How often it is looked whether inboxes hold messages of which those who wait were not told, because a process died in between, and
/// whether there are inboxes of which nobody here was told.
pub const INBOX_TICK: Duration = Duration::from_secs(5);

/// Inboxes that one such look finds; the rest comes with the next.
pub const INBOX_LOOK: u64 = 256;

/// Conditions on the data of one event that a task waits for: a filter that people read, not a query.
pub const EVENT_CONDITIONS: usize = 16;

/// Bytes of a filter of events: what it asks for, and the values that it wants, each. Both stand in an index.
pub const EVENT_FILTER_BYTES: usize = 1_000;

/// Events that are matched against waits together: as many as a page of a subscription holds.
pub const EVENT_BATCH: usize = 256;

/// Waits for events that are settled in one transaction: short enough not to hold others up.
pub const EVENT_SETTLED: usize = 500;

/// Filters of waits, or waits, that are read together when a process finds out what is waited for.
pub const EVENT_WAITS_PAGE: u64 = 1_000;

/// Waits that have begun and that the process has not come to; beyond that it asks the database for all.
pub const EVENT_NEWS: usize = 10_000;

/// How often a process looks what others, which may have died since, have begun to wait for.
pub const EVENT_LOOK: Duration = Duration::from_secs(5);

/// For how long after a look a wait may be committed that had begun before it: longer than a transaction takes.
pub const EVENT_LATE: Duration = Duration::from_secs(15);

/// How often waits are told how far the log was looked through for them, so that retention may let go of what is behind.
pub const EVENT_ADVANCE: Duration = Duration::from_secs(10 * 60);

/// Bytes of one piece of a step's output: a paragraph of many pages. What is larger is the output.
pub const STREAM_PIECE_BYTES: usize = 64 << 10;

/// Bytes of a step's pieces together: some hours of a model's words.
pub const STREAM_BYTES: usize = 8 << 20;

/// Pieces of one step: each may be a word.
pub const STREAM_PIECES: u64 = 1_000_000;

/// Bytes of pieces that go into one row and one transaction: far above what a commit costs.
pub const STREAM_BATCH_BYTES: usize = 32 << 10;

/// How long a piece waits for others to be written with it: readers take less for an instant.
pub const STREAM_DELAY: Duration = Duration::from_millis(50);

/// Bytes of pieces that are not on disk yet before whoever brings more has to wait.
pub const STREAM_UNWRITTEN_BYTES: usize = 256 << 10;

/// Rows of pieces that a reader takes at once; each has up to [`STREAM_BATCH_BYTES`] and a piece.
pub const STREAM_PAGE: u64 = 16;

/// A reader looks at least this often, wake-ups apart.
pub const STREAM_LOOK: Duration = Duration::from_secs(5);

/// Bytes of what a task remembers that a history holds: it is read, held and written as a whole.
pub const HISTORY_BYTES: usize = 64 << 20;

/// Names that an error lists to choose from.
pub const SHOWN: usize = 20;

/// How long a replay may take: code between steps is quick, and what is not belongs in a step.
pub const REPLAY_TIME: Duration = Duration::from_secs(10);

/// How long a replayed run that waits for something of its own is given to come to it, before it counts as waiting.
pub const REPLAY_QUIET: Duration = Duration::from_millis(200);

/// Runs that are replayed at the same time when all are checked: each holds a history.
pub const CHECK_PARALLEL: usize = 8;

/// Tasks that one look at the open ones passes over, of which most may have ended.
pub const CHECK_LOOK: i64 = 50_000;

/// Runs of which a check tells what is wrong; the others are counted.
pub const CHECK_FINDINGS: usize = 1_000;
