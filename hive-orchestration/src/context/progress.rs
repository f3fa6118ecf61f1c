//! Telling how far a task has come.

use hive_errors::Failure;

use super::Context;
use crate::queue;
use crate::task::Progress;

impl Context {
    /// Says that `done` of `total` units are done, for [`TaskHandle::watch`](crate::TaskHandle::watch), the task's status
    /// and whoever follows `task.progress` events. The latest word stays on record. One that says
    /// no more than the record does is passed over, so that a run which comes back to where it was does not seem to fall back.
    ///
    /// # Cancel safety
    /// Dropped, the word may or may not be recorded; nothing depends on it.
    pub async fn progress(&self, done: u64, total: u64, note: impl Into<String>) -> Result<(), Failure> {
        if self.run.probe.is_some() {
            // Nothing depends on it. Code that says nothing else still lets others have their turn.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let progress = Progress::new(done, total, note.into());
        let (lease, queue, task) = (self.run.lease(), self.run.queue.clone(), self.run.claimed.task.clone());
        let _working = self.run.activity.work();
        self.run
            .tell(move |tx| queue::progress(tx, &queue, lease, &task, &progress))
            .await?;
        Ok(())
    }
}
