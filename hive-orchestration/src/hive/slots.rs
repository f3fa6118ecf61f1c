//! How many attempts run at once in this process.

use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::Hive;
use crate::queue::Queue;
use crate::registry::{Load, Loads, Meters};
use crate::worker::Places;

impl Hive {
    /// How many attempts may run at once in this process.
    pub fn concurrency(&self) -> usize {
        self.shop().places.size()
    }

    /// Lets so many attempts run at once in this process from now on. Nothing that runs is ended: where there are fewer than run,
    /// none begin until enough have ended. Under [`Builder::autoscale`](crate::builders::Builder::autoscale) it holds until the
    /// next change.
    ///
    /// # Errors
    /// `invalid-input` for 0; see [`Hive::pause`].
    pub fn set_concurrency(&self, limit: usize) -> Result<()> {
        check_concurrency(limit)?;
        self.shop().places.resize(limit);
        self.shop().queue.wakeups.dispatch();
        Ok(())
    }
}

/// How busy an agent is here. All agents of a process share its slots.
pub(super) fn loads(queue: &Queue, meters: &Arc<Meters>, places: &Arc<Places>) -> Loads {
    let (wakeups, meters, places) = (Arc::clone(&queue.wakeups), Arc::clone(meters), Arc::clone(places));
    Arc::new(move |agent| {
        meters.died(agent, wakeups.take_died(agent));
        Load {
            running: meters.running(agent),
            // Where there are no slots for now there will be some as soon as there is something to do.
            concurrency: u32::try_from(places.most_of(agent).max(1)).unwrap_or(u32::MAX),
        }
    })
}

pub(super) fn check_concurrency(limit: usize) -> Result<()> {
    if limit == 0 || limit > Semaphore::MAX_PERMITS {
        return Err(Error::new(ErrorKind::InvalidInput, "the concurrency is out of range")
            .with("concurrency", limit)
            .with("least", 1));
    }
    Ok(())
}
