//! Ending in good order: asking everything to stop, and waiting for it, but not for ever.
//!
//! A [`Shutdown`] says that it is time to stop; a [`TaskSet`] knows what is still running, by name.

mod tasks;

#[cfg(test)]
mod tests;

use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

pub use tasks::{Joined, Panicked, TaskSet};

/// A request to stop, seen by all clones. Cheap to clone.
///
/// It cannot be taken back. A [`child`](Shutdown::child) stops with its parent and can stop alone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use hive_core::shutdown::Shutdown;
///
/// let shutdown = Shutdown::new();
/// let worker = shutdown.child();
/// shutdown.request();
/// worker.requested().await;
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Nothing has been requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that watches this or a child of it to stop. Asking twice changes nothing.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether it is time to stop.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once it is time to stop; at once if it is already.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// A part that stops with this one, or before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Runs `future` until it is done or it is time to stop, whichever comes first.
    ///
    /// # Errors
    /// [`ErrorKind::ShuttingDown`] when the request came first; the future is dropped then.
    ///
    /// # Cancel safety
    /// As cancel safe as `future`.
    pub async fn guard<F: Future>(&self, future: F) -> Result<F::Output> {
        self.0
            .run_until_cancelled(future)
            .await
            .ok_or_else(|| Error::new(ErrorKind::ShuttingDown, "the process is shutting down"))
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("requested", &self.is_requested())
            .finish()
    }
}
