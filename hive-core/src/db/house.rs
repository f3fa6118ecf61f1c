//! What closures are given besides a connection.

use std::sync::Arc;

use super::wakes::Wakeups;
use crate::clock::Clock;

/// Shared by everything that runs closures of one database.
#[derive(Clone, Debug)]
pub(super) struct House {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wakeups: Arc<Wakeups>,
}

impl House {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            wakeups: Arc::default(),
        }
    }
}
