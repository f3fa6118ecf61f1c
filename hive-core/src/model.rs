//! Language models as a port.
//!
//! A [`Model`] answers a [`Request`] with a [`Reply`], which always says what was used and what it cost. Agents hold a
//! [`ModelHandle`]: it refuses impossible requests, keeps every call within its deadline and decodes structured output.
//!
//! [`scripted::Scripted`] answers from rules, for tests and examples; the feature `claude` adds `claude::Claude`, the Claude
//! command line. Neither is ever chosen silently: who wants a model hands one over.

#[cfg(all(feature = "claude", unix))]
pub mod claude;
mod handle;
mod reply;
mod request;
pub mod scripted;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use async_trait::async_trait;
use hive_errors::Result;

pub use handle::ModelHandle;
pub use reply::{Reply, StopReason, Usage};
pub use request::Request;

/// Something that answers prompts.
///
/// ```
/// use async_trait::async_trait;
/// use hive_core::model::{Model, ModelHandle, Reply, Request, Usage};
///
/// #[derive(Debug)]
/// struct Parrot;
///
/// #[async_trait]
/// impl Model for Parrot {
///     fn name(&self) -> &str {
///         "parrot"
///     }
///
///     async fn complete(&self, request: Request) -> hive_errors::Result<Reply> {
///         Ok(Reply::new(self.name(), request.prompt, Usage::default(), 0))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> hive_errors::Result<()> {
/// assert_eq!(ModelHandle::new(Parrot).ask("hello").await?, "hello");
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Model: Send + Sync + Debug + 'static {
    /// What the model is called in logs, errors and accounts, such as `claude`.
    fn name(&self) -> &str;

    /// Answers one request within [`Request::timeout`].
    ///
    /// When the request carries a schema, the reply's [`structured`](Reply::structured) is set, or the call fails with
    /// [`ErrorKind::ModelOutput`](hive_errors::ErrorKind::ModelOutput).
    ///
    /// # Errors
    /// [`ErrorKind`](hive_errors::ErrorKind)`::Timeout` when the deadline passed, `Model` when the model failed (retryable
    /// where another try can help, with `retry_after` when the model said so), `ModelMissing` when it is not there,
    /// `ModelOutput` when the answer is not what was asked for, `BudgetExhausted`, `InvalidInput`. A failure that cost money carries
    /// the field `cost_micro_usd`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up, with whatever it runs (a process, a connection). What the model did until then
    /// may still be charged.
    async fn complete(&self, request: Request) -> Result<Reply>;
}
