//! The bounds of one review, each with its reason. What goes past a bound is named in the report, never dropped silently.

use std::time::Duration;

/// A larger file is data, not something a person reads; it is skipped with a note.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A diff is held in memory once while it is planned.
pub const DIFF_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The listing of a tree is held in memory; the Linux kernel's takes 8 MiB.
pub const LISTING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// More files than this belong into several reviews: the report would not be read.
pub const FILES_MAX: usize = 20_000;
/// Files in one page of the plan: a planner reads them all at once.
pub const PAGE_FILES: usize = 200;
/// What is stored of one page of the plan: far below the size limit of a payload, which is 1 MiB.
pub const PAGE_BYTES: usize = 300_000;
/// Ranges of changed lines kept for a file; beyond it neighbouring ranges are joined.
pub const RANGES_MAX: usize = 200;
/// Findings of one rule in one file: with more, the file has one problem many times, and the rest are counted.
pub const RULE_FINDINGS_MAX: usize = 10;
/// Findings one task reports.
pub const TASK_FINDINGS_MAX: usize = 50;
/// Findings shown in the pages for people; the files for machines hold all.
pub const SHOWN_FINDINGS_MAX: usize = 1_000;
/// Skipped files named in the report; the rest are counted.
pub const SHOWN_SKIPPED_MAX: usize = 200;
/// Characters of one line in an excerpt.
pub const EXCERPT_CHARS_MAX: usize = 200;
/// Nesting of the syntax tree that the Rust rules follow; see [`SYNTAX_STACK_BYTES`].
pub const SYNTAX_DEPTH_MAX: usize = 4_000;
/// The stack of the thread that parses Rust. It is reserved, not used, until a file nests deeply.
pub const SYNTAX_STACK_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of a file shown to a language model in one request.
pub const PROMPT_BYTES_MAX: usize = 60_000;
/// What a git command may take that reads a few objects.
pub const GIT_TIMEOUT: Duration = Duration::from_secs(60);
/// What a git command may take that compares or reads many.
pub const GIT_LONG_TIMEOUT: Duration = Duration::from_secs(600);
