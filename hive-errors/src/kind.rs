//! The closed list of what can go wrong, with a stable code, a default verdict on retrying and a hint for each.

use std::fmt;

#[cfg(test)]
mod tests;

const RETRYABLE: bool = true;
const TERMINAL: bool = false;

// One row per kind, so that the variant, its code, its verdict and its hint cannot drift apart.
macro_rules! kinds {
    ($( $(#[doc = $doc:literal])+ $Kind:ident $code:literal $retryable:ident $hint:literal; )+) => {
        /// What went wrong, as a caller distinguishes it.
        ///
        /// A kind answers three questions: may the same call succeed later ([`is_retryable`](Self::is_retryable)), what
        /// should a person do ([`hint`](Self::hint)), and where is more to read ([`page`](Self::page)). Its
        /// [`code`](Self::code) is stable across releases: codes are stored, logged and searched for.
        #[non_exhaustive]
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind {
            $( $(#[doc = $doc])+ $Kind, )+
        }

        impl ErrorKind {
            /// Every kind, in the order of declaration.
            pub const ALL: &[Self] = &[$( Self::$Kind, )+];

            /// The stable name in kebab case, for example `payload-too-large`.
            pub const fn code(self) -> &'static str {
                match self { $( Self::$Kind => $code, )+ }
            }

            /// The kind with exactly this code; `None` for a code of another release or no code at all.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $( $code => Some(Self::$Kind), )+ _ => None }
            }

            /// Whether the same call, unchanged, may succeed later. An error can overrule its kind.
            pub const fn is_retryable(self) -> bool {
                match self { $( Self::$Kind => $retryable, )+ }
            }

            /// What to do next, in one line. An error that knows better carries its own hint.
            pub const fn hint(self) -> &'static str {
                match self { $( Self::$Kind => $hint, )+ }
            }

            /// The page on this kind in Markdown: meaning, likely causes, what to do, an example.
            pub const fn page(self) -> &'static str {
                match self { $( Self::$Kind => include_str!(concat!("../codes/", $code, ".md")), )+ }
            }
        }
    };
}

kinds! {
    /// A value from the caller does not fit; nothing was written.
    InvalidInput "invalid-input" TERMINAL "correct the value named in the error and call again";
    /// No agent of this name is known to the hive.
    UnknownAgent "unknown-agent" TERMINAL "check the spelling, or register the agent before starting the hive";
    /// The thing asked for does not exist, or no longer does.
    NotFound "not-found" TERMINAL "check the id; finished work is removed when its retention ends";
    /// The request contradicts what is already recorded.
    Conflict "conflict" TERMINAL "read the current state and decide again";
    /// Whoever asks may not do this; nothing was changed.
    Forbidden "forbidden" TERMINAL "let somebody do it who may";
    /// A value is larger than its limit.
    PayloadTooLarge "payload-too-large" TERMINAL "store the data elsewhere and pass a reference to it";
    /// A count has reached its limit.
    LimitReached "limit-reached" TERMINAL "use fewer of them, or raise the limit named in the error";
    /// A queue is full; the work was not accepted.
    Overloaded "overloaded" RETRYABLE "try again later, or submit more slowly";
    /// The work did not finish before its deadline.
    Timeout "timeout" RETRYABLE "find out what is slow, or allow more time";
    /// Someone asked for this work to stop.
    Cancelled "cancelled" TERMINAL "submit the work again if it is still wanted";
    /// Another worker holds this attempt now; what this one does no longer counts.
    LeaseLost "lease-lost" TERMINAL "stop working on this attempt; whoever holds the lease goes on";
    /// The hive is stopping and takes no new work.
    ShuttingDown "shutting-down" RETRYABLE "submit again once the hive has restarted";
    /// The database failed to read or write.
    Storage "storage" RETRYABLE "look at the cause below, then at the health of the disk or database server";
    /// The file exists but is not a database.
    NotADatabase "not-a-database" TERMINAL "check the path; move the file away if it does not belong there";
    /// Another connection or process holds the database.
    DatabaseLocked "database-locked" RETRYABLE "find the other process that holds the database open, and stop it";
    /// The database may be read but not written.
    DatabaseReadOnly "database-read-only" TERMINAL "allow writing to the database file and to the directory it is in";
    /// There is no room left to write.
    DiskFull "disk-full" RETRYABLE "free space on the disk; work goes on where it stopped";
    /// Stored data contradicts itself.
    Corrupt "corrupt" TERMINAL "stop, keep a copy of the database, and restore the last good backup";
    /// The database was written by a newer release.
    SchemaTooNew "schema-too-new" TERMINAL "run the release that wrote the database, or a later one";
    /// A migration that has already run differs from the one in this program.
    SchemaChanged "schema-changed" TERMINAL "restore the migration as it was, and add a new one for the change";
    /// A setting is missing, misspelt or out of range.
    Config "config" TERMINAL "correct the setting named in the error and start again";
    /// A call to a model failed.
    Model "model" RETRYABLE "look at the cause below, then at the provider's status and your credentials";
    /// A model was called for but none is configured.
    ModelMissing "model-missing" TERMINAL "give the hive a model before starting it";
    /// A model replied, but not in the shape that was asked for.
    ModelOutput "model-output" RETRYABLE "make the prompt state the shape, or relax the type that is decoded";
    /// The next call would exceed the budget.
    BudgetExhausted "budget-exhausted" TERMINAL "raise the budget, or ask for less";
    /// An agent reported that it failed.
    AgentFailed "agent-failed" RETRYABLE "read the agent's message and the causes below";
    /// The task used up its attempts and lies among the dead letters.
    TaskDead "task-dead" TERMINAL "remove the cause of the last failure, then redrive the task";
    /// The code of an agent no longer matches what its journal remembers.
    Drift "drift" TERMINAL "restore the step as it was, or choose what happens to tasks begun before the change";
    /// A step that must run at most once was interrupted; whether it took effect is unknown.
    Indeterminate "indeterminate" TERMINAL "find out whether the effect took place, then settle the step by hand";
    /// Calls are suspended because too many have failed.
    BreakerOpen "breaker-open" RETRYABLE "wait until calls are let through again, and look at why they failed";
    /// Code panicked while doing this work.
    Panic "panic" RETRYABLE "fix the panic; the message and place are in the error";
    /// Hive broke one of its own promises.
    Internal "internal" TERMINAL "report this as a bug, with the whole error";
}

impl fmt::Display for ErrorKind {
    /// Prints the [`code`](Self::code).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
