//! A run that only looks: the agent's code against a record, with nothing behind it.

use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::drift::Report;

/// What a run without a database came upon. Its branches end, for ever pending, where they would read, write or do anything.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What was asked for and is not on record, by key.
    pub(crate) new: Vec<String>,
    pub(crate) drifts: Vec<Report>,
}

impl Probe {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A branch ends here: what it asks for is not on record.
    pub(super) async fn ask_for_new(&self, key: &str) -> ! {
        self.seen().new.push(key.to_owned());
        self.rest().await
    }

    /// A branch ends here.
    pub(super) async fn rest(&self) -> ! {
        pending::<std::convert::Infallible>().await;
        unreachable!("what is pending for ever never comes back")
    }
}
