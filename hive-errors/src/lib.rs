//! What went wrong in a hive and what to do next.
//!
//! ```
//! use hive_errors::{Error, ErrorKind, Failure, Report, Result, ResultExt, RetryPolicy};
//!
//! // A library function: kind, message, values in fields.
//! fn load(bytes: usize) -> Result<()> {
//!     if bytes > 1_048_576 {
//!         return Err(Error::new(ErrorKind::PayloadTooLarge, "input is larger than the limit").with("bytes", bytes));
//!     }
//!     Ok(())
//! }
//!
//! // An agent: any error is retried, unless it is known to be of no use.
//! fn run() -> Result<(), Failure> {
//!     load(2_097_152).context("failed to load the diff")?;
//!     Ok(())
//! }
//!
//! let failure = run().unwrap_err();
//! assert!(failure.is_terminal()); // too large now, too large next time
//! assert_eq!(
//!     Report::new(&failure).to_string(),
//!     "error[payload-too-large]: failed to load the diff\n  \
//!        caused by: input is larger than the limit (bytes=2097152)\n  \
//!        what to do: store the data elsewhere and pass a reference to it",
//! );
//!
//! // The engine: the policy says whether and when; the caller owns the clock and the random number.
//! assert!(RetryPolicy::none().delay_after(1, 7, failure.retry_after()).is_none());
//! ```
//!
//! # What it is not
//!
//! It knows no async and does no I/O; it reads no clock and draws no random number, but takes both as arguments. It does
//! not log. It does not wait: [`RetryPolicy`] and [`CircuitBreaker`] only decide. It is not a general error library:
//! [`ErrorKind`] lists what can go wrong in a hive, and other crates keep errors of their own inside.
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | `kind` | [`ErrorKind`]: code, verdict on retrying, hint and page of everything that can go wrong |
//! | `error` | [`Error`] and [`Result`]: what Hive returns to its user |
//! | `failure` | [`Failure`]: what an agent returns to Hive, and how that is stored |
//! | `context` | [`ResultExt`]: adding a layer on the way up |
//! | `retry` | [`RetryPolicy`]: whether and when to try again, as data |
//! | `breaker` | [`CircuitBreaker`]: when to stop calling, as a state machine |
//! | `report` | [`Report`]: an error with all it has to say, for people |
//!
//! Two private ones serve them: `chain` walks causes and lays out text, `millis` rounds durations for storage. The pages
//! on the kinds are in `codes/`, one Markdown file each.

mod chain;
mod millis;

mod kind;

mod error;

mod failure;

mod context;

mod retry;

mod breaker;

mod report;

pub use breaker::{BreakerGuard, BreakerPolicy, BreakerState, CircuitBreaker};
pub use context::ResultExt;
pub use error::{Error, Result};
pub use failure::Failure;
pub use kind::ErrorKind;
pub use report::Report;
pub use retry::RetryPolicy;
