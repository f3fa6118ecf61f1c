//! The task that a transport runs beside its calls.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

/// A task that ends when it is told to, or with this.
pub(super) struct Background {
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            task: Mutex::new(Some(tokio::spawn(work))),
        }
    }

    /// Ends it, and returns once it has.
    pub(super) async fn end(&self) {
        let task = self.task().take();
        if let Some(task) = task {
            task.abort();
            // Cancelled is how it is meant to end.
            drop(task.await);
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // Nothing panics while it holds the lock.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}
