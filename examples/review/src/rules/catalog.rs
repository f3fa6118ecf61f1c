//! Every rule in one table, in the order of the report's list of rules.

pub(super) mod any;
pub(super) mod rust;

use super::Rule;

/// Every rule.
pub const CATALOG: &[&Rule] = &[
    // Any language.
    &any::MERGE_CONFLICT,
    &any::PRIVATE_KEY,
    &any::SECRET_TOKEN,
    &any::HARDCODED_CREDENTIAL,
    &any::HIDDEN_UNICODE,
    &any::TLS_VERIFICATION_OFF,
    &any::PIPE_TO_SHELL,
    &any::INSECURE_DOWNLOAD,
    &any::WORLD_WRITABLE,
    &any::DYNAMIC_EVAL,
    &any::SHELL_INJECTION,
    &any::SQL_INJECTION,
    &any::UNSAFE_DESERIALIZATION,
    &any::C_UNSAFE_FUNCTION,
    &any::WORKFLOW_INJECTION,
    &any::SWALLOWED_EXCEPTION,
    &any::MUTABLE_DEFAULT,
    &any::ASSERT_ON_TUPLE,
    &any::DEBUG_LEFTOVER,
    &any::FOCUSED_TEST,
    &any::SKIPPED_TEST,
    &any::TODO_WITHOUT_OWNER,
    &any::LONG_FILE,
    &any::MIXED_LINE_ENDS,
    &any::COMMITTED_ARTIFACT,
    &any::VOID_SUPPRESSION,
    // The change as a whole.
    &any::MISSING_TESTS,
    &any::LARGE_CHANGE,
    &any::GENERATED_IN_CHANGE,
    // Rust.
    &rust::RUST_UNWRAP,
    &rust::RUST_EXPECT,
    &rust::RUST_PANIC,
    &rust::RUST_TODO,
    &rust::RUST_UNSAFE_WITHOUT_SAFETY,
    &rust::RUST_UNSAFE_FN_DOCS,
    &rust::RUST_TRANSMUTE,
    &rust::RUST_STATIC_MUT,
    &rust::RUST_LOCK_ACROSS_AWAIT,
    &rust::RUST_BLOCKING_IN_ASYNC,
    &rust::RUST_UNBOUNDED_CHANNEL,
    &rust::RUST_SWALLOWED_ERROR,
    &rust::RUST_TRUNCATING_CAST,
    &rust::RUST_MEM_FORGET,
    &rust::RUST_PROCESS_EXIT,
    &rust::RUST_PRINT,
    &rust::RUST_DBG,
    &rust::RUST_SHELL_COMMAND,
    &rust::RUST_SQL_FORMAT,
    &rust::RUST_LONG_FUNCTION,
    &rust::RUST_DEEP_NESTING,
    &rust::RUST_MANY_PARAMETERS,
    &rust::RUST_UNDOCUMENTED,
    &rust::RUST_IGNORED_TEST,
    &rust::RUST_SLEEPING_TEST,
    &rust::RUST_VACUOUS_TEST,
];
