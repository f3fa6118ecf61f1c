//! The rules for Rust.

use crate::finding::{Concern, Severity};
use crate::language::Language;
use crate::rules::{Applies, Rule};

const RUST: Applies = Applies::Only(&[Language::Rust]);

pub(crate) static RUST_UNWRAP: Rule = Rule {
    id: "rust-unwrap",
    title: "`unwrap` in library code",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "A caller cannot handle a panic, and the message names neither the value nor the reason.",
    fix: "Return the error with `?`, or say in a comment or an `expect` why it cannot happen.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#unwrap_used"),
    applies: RUST,
};
pub(crate) static RUST_EXPECT: Rule = Rule {
    id: "rust-expect",
    title: "`expect` that does not say what was expected",
    concern: Concern::Correctness,
    severity: Severity::Low,
    why: "The message is all that a user of the library will see; one word explains no panic.",
    fix: "Return the error, or state the invariant: \"the queue was checked to be non-empty\".",
    reference: Some("https://doc.rust-lang.org/std/result/enum.Result.html#recommended-message-style"),
    applies: RUST,
};
pub(crate) static RUST_PANIC: Rule = Rule {
    id: "rust-panic",
    title: "`panic!` in library code",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "The library decides for its caller that the program must end, and does not say so in its documentation.",
    fix: "Return an error, or document the condition under `# Panics`.",
    reference: Some("https://rust-lang.github.io/api-guidelines/documentation.html#c-failure"),
    applies: RUST,
};
pub(crate) static RUST_TODO: Rule = Rule {
    id: "rust-todo",
    title: "Unfinished code",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "`todo!` and `unimplemented!` panic when they are reached.",
    fix: "Finish it, or return an error that says it is not supported.",
    reference: Some("https://doc.rust-lang.org/std/macro.todo.html"),
    applies: RUST,
};
pub(crate) static RUST_UNSAFE_WITHOUT_SAFETY: Rule = Rule {
    id: "rust-unsafe-without-safety",
    title: "`unsafe` without a SAFETY comment",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "The compiler no longer checks here; without the argument nobody can tell whether the code is sound.",
    fix: "Write `// SAFETY:` above it and say why each requirement holds.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#undocumented_unsafe_blocks"),
    applies: RUST,
};
pub(crate) static RUST_UNSAFE_FN_DOCS: Rule = Rule {
    id: "rust-unsafe-fn-docs",
    title: "Public unsafe function without its conditions",
    concern: Concern::Security,
    severity: Severity::Low,
    why: "The caller must keep conditions that are not written down.",
    fix: "List them under `# Safety` in the documentation.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#missing_safety_doc"),
    applies: RUST,
};
pub(crate) static RUST_TRANSMUTE: Rule = Rule {
    id: "rust-transmute",
    title: "`transmute` without an argument",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "It reinterprets any bytes as any type; a wrong guess is undefined behaviour.",
    fix: "Use a cast, `from_ne_bytes` or a checked conversion, or write `// SAFETY:` with both layouts.",
    reference: Some("https://doc.rust-lang.org/std/mem/fn.transmute.html"),
    applies: RUST,
};
pub(crate) static RUST_STATIC_MUT: Rule = Rule {
    id: "rust-static-mut",
    title: "A mutable static",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "Any two accesses from two threads are a data race, and the compiler does not help.",
    fix: "Use an atomic, a `Mutex`, a `OnceLock`, or pass the value.",
    reference: Some("https://doc.rust-lang.org/edition-guide/rust-2024/static-mut-references.html"),
    applies: RUST,
};
pub(crate) static RUST_LOCK_ACROSS_AWAIT: Rule = Rule {
    id: "rust-lock-across-await",
    title: "A lock is held across an await",
    concern: Concern::Correctness,
    severity: Severity::High,
    why: "While the task waits, every thread that wants the lock waits too: all workers can stand still for ever.",
    fix: "End the guard's scope before the await, or use a lock made for async code.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#await_holding_lock"),
    applies: RUST,
};
pub(crate) static RUST_BLOCKING_IN_ASYNC: Rule = Rule {
    id: "rust-blocking-in-async",
    title: "A blocking call in async code",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "It stops the thread, and with it every other task that runs there.",
    fix: "Use the runtime's own call, or `spawn_blocking`.",
    reference: Some("https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html"),
    applies: RUST,
};
pub(crate) static RUST_UNBOUNDED_CHANNEL: Rule = Rule {
    id: "rust-unbounded-channel",
    title: "A channel without a bound",
    concern: Concern::Correctness,
    severity: Severity::Low,
    why: "When the receiver is slower than the sender, the queue grows until memory ends.",
    fix: "Use a bounded channel and decide what a full one means.",
    reference: None,
    applies: RUST,
};
pub(crate) static RUST_SWALLOWED_ERROR: Rule = Rule {
    id: "rust-swallowed-error",
    title: "An error is dropped",
    concern: Concern::Correctness,
    severity: Severity::Low,
    why: "The failure leaves no trace, and the program goes on as if it had worked.",
    fix: "Return or log it, or say in a comment why it does not matter.",
    reference: Some("https://cwe.mitre.org/data/definitions/391.html"),
    applies: RUST,
};
pub(crate) static RUST_TRUNCATING_CAST: Rule = Rule {
    id: "rust-truncating-cast",
    title: "A length is cut to fewer bits",
    concern: Concern::Correctness,
    severity: Severity::Low,
    why: "`as` drops the upper bits without a word: a long input becomes a short length.",
    fix: "Use `try_from` and handle the error.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#cast_possible_truncation"),
    applies: RUST,
};
pub(crate) static RUST_MEM_FORGET: Rule = Rule {
    id: "rust-mem-forget",
    title: "`mem::forget` without an argument",
    concern: Concern::Correctness,
    severity: Severity::Low,
    why: "The destructor never runs: memory, locks and files stay taken.",
    fix: "Use `ManuallyDrop` or `into_raw`, or say in a comment who frees it.",
    reference: Some("https://doc.rust-lang.org/std/mem/fn.forget.html"),
    applies: RUST,
};
pub(crate) static RUST_PROCESS_EXIT: Rule = Rule {
    id: "rust-process-exit",
    title: "A library ends the process",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "No destructor runs, and the caller has no say.",
    fix: "Return an error and let `main` decide.",
    reference: Some("https://doc.rust-lang.org/std/process/fn.exit.html"),
    applies: RUST,
};
pub(crate) static RUST_PRINT: Rule = Rule {
    id: "rust-print",
    title: "A library prints",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "The output belongs to the program; a library's lines break what others parse.",
    fix: "Return the text, or use `tracing` or `log`.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#print_stdout"),
    applies: RUST,
};
pub(crate) static RUST_DBG: Rule = Rule {
    id: "rust-dbg",
    title: "`dbg!` left in the code",
    concern: Concern::Correctness,
    severity: Severity::Medium,
    why: "It writes to the error stream of every user.",
    fix: "Remove it.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#dbg_macro"),
    applies: RUST,
};
pub(crate) static RUST_SHELL_COMMAND: Rule = Rule {
    id: "rust-shell-command",
    title: "A shell command is put together from values",
    concern: Concern::Security,
    severity: Severity::High,
    why: "A space, a quote or a semicolon in a value becomes a part of the command.",
    fix: "Start the program itself with `Command::new(program).args(…)`.",
    reference: Some("https://cwe.mitre.org/data/definitions/78.html"),
    applies: RUST,
};
pub(crate) static RUST_SQL_FORMAT: Rule = Rule {
    id: "rust-sql-format",
    title: "An SQL statement is formatted from values",
    concern: Concern::Security,
    severity: Severity::Medium,
    why: "A quote in a value becomes a part of the statement.",
    fix: "Write placeholders into the statement and bind the values.",
    reference: Some("https://cwe.mitre.org/data/definitions/89.html"),
    applies: RUST,
};
pub(crate) static RUST_LONG_FUNCTION: Rule = Rule {
    id: "rust-long-function",
    title: "A very long function",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "It cannot be held in the head at once, nor tested in parts.",
    fix: "Take out the steps that have a name.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#too_many_lines"),
    applies: RUST,
};
pub(crate) static RUST_DEEP_NESTING: Rule = Rule {
    id: "rust-deep-nesting",
    title: "Deeply nested control flow",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "At this depth the reader has to remember more conditions than anyone can.",
    fix: "Return early, use `let … else` or `?`, or take the inside out into a function.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#excessive_nesting"),
    applies: RUST,
};
pub(crate) static RUST_MANY_PARAMETERS: Rule = Rule {
    id: "rust-many-parameters",
    title: "A function with very many parameters",
    concern: Concern::Style,
    severity: Severity::Low,
    why: "Callers confuse the order, and every new option changes every call.",
    fix: "Group what belongs together into a struct.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#too_many_arguments"),
    applies: RUST,
};
pub(crate) static RUST_UNDOCUMENTED: Rule = Rule {
    id: "rust-undocumented",
    title: "Public items without documentation",
    concern: Concern::Style,
    severity: Severity::Info,
    why: "Whoever uses the library has only the name to go by.",
    fix: "Say what each is for, what it returns and how it fails.",
    reference: Some("https://doc.rust-lang.org/rustdoc/how-to-write-documentation.html"),
    applies: RUST,
};
pub(crate) static RUST_IGNORED_TEST: Rule = Rule {
    id: "rust-ignored-test",
    title: "A test is ignored without a reason",
    concern: Concern::Tests,
    severity: Severity::Low,
    why: "An ignored test protects nothing, and nobody knows when it may run again.",
    fix: "Mend or delete it, or write `#[ignore = \"reason\"]`.",
    reference: Some("https://rust-lang.github.io/rust-clippy/master/index.html#ignore_without_reason"),
    applies: RUST,
};
pub(crate) static RUST_SLEEPING_TEST: Rule = Rule {
    id: "rust-sleeping-test",
    title: "A test waits for time to pass",
    concern: Concern::Tests,
    severity: Severity::Low,
    why: "It is slow on every machine and still fails on a busy one.",
    fix: "Wait for the condition itself, or use a clock that the test moves.",
    reference: None,
    applies: RUST,
};
pub(crate) static RUST_VACUOUS_TEST: Rule = Rule {
    id: "rust-vacuous-test",
    title: "A test that cannot fail",
    concern: Concern::Tests,
    severity: Severity::Medium,
    why: "It is counted as a test and checks nothing.",
    fix: "Assert what the code under test should do, or delete it.",
    reference: None,
    applies: RUST,
};
