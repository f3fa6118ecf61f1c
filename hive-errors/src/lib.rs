//! What went wrong in a hive and what to do next.
mod chain;
mod context;
mod error;
mod failure;
mod kind;
mod retry;

pub use context::ResultExt;
pub use error::{Error, Result};
pub use failure::Failure;
pub use kind::ErrorKind;
pub use retry::RetryPolicy;
