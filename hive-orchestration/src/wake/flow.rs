//! What has begun to wait for events, and who reads the pieces of steps.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hive_core::id::TaskId;
use tokio::sync::{Notify, watch};

use crate::event::Begun;
use crate::limits;

/// Shared by runs, which begin to wait for events and hand out pieces, and by those to whom that matters.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    awaited: Mutex<Awaited>,
    more: Notify,
    readers: Mutex<HashMap<TaskId, watch::Sender<()>>>,
}

/// Waits for events that have begun since somebody asked.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    pub(crate) begun: Vec<Begun>,
    /// There were more than could be kept: the database knows them.
    pub(crate) more: bool,
}

impl Flow {
    /// A wait for an event has begun.
    pub(crate) fn event_awaited(&self, begun: Begun) {
        let mut awaited = lock(&self.awaited);
        if awaited.begun.len() < limits::EVENT_NEWS {
            awaited.begun.push(begun);
        } else {
            awaited.more = true;
        }
        drop(awaited);
        self.more.notify_one();
    }

    /// Takes what has begun.
    pub(crate) fn take_awaited(&self) -> Awaited {
        std::mem::take(&mut *lock(&self.awaited))
    }

    /// Returns when something has begun since the last call.
    ///
    /// # Cancel safety
    /// Dropped, the next call returns at once.
    pub(crate) async fn awaited(&self) {
        self.more.notified().await;
    }

    /// Hears from now on when pieces of the task's steps may have been kept, several times as one.
    pub(crate) fn read_pieces(&self, task: TaskId) -> watch::Receiver<()> {
        let mut readers = lock(&self.readers);
        // Those whose readers have gone and that kept nothing afterwards would stay for ever otherwise.
        if readers.len().is_power_of_two() {
            readers.retain(|_, sender| !sender.is_closed());
        }
        readers
            .entry(task)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    /// Pieces of the task's steps have been kept.
    pub(crate) fn pieces_kept(&self, task: TaskId) {
        let mut readers = lock(&self.readers);
        if let Some(sender) = readers.get(&task)
            && sender.send(()).is_err()
        {
            readers.remove(&task);
        }
    }

    /// Pieces of anybody's may have been kept.
    pub(crate) fn pieces_kept_somewhere(&self) {
        lock(&self.readers).retain(|_, sender| sender.send(()).is_ok());
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
