//! Memory, and behind it the shared store if there is one.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::Result;

use super::memory::Memory;
use super::shared::{Away, Shared};

pub(super) struct Layers {
    pub(super) memory: Memory,
    pub(super) shared: Option<Shared>,
    /// How long memory believes what the shared store said.
    pub(super) memory_ttl: Duration,
}

/// What was found behind the memory's fresh values.
pub(super) enum Looked {
    /// The shared store has it, and it may be kept in memory for so long.
    Shared(Arc<[u8]>, Duration),
    /// Memory has it still, and there is nobody to say that it is out of date.
    Memory(Arc<[u8]>),
    Nothing,
}

impl Layers {
    /// Looks beyond what memory believes.
    pub(super) async fn look(&self, key: &str) -> Looked {
        let found = match &self.shared {
            Some(shared) => shared.get(key).await,
            None => Err(Away),
        };
        match found {
            // A store that cannot tell how much time is left gets its value asked for again soon.
            Ok(Some(found)) => Looked::Shared(found.value, found.ttl.unwrap_or(self.memory_ttl)),
            Ok(None) => {
                self.memory.forget(key);
                Looked::Nothing
            }
            Err(Away) => match self.memory.alive(key) {
                Some((value, _)) => Looked::Memory(value),
                None => Looked::Nothing,
            },
        }
    }

    /// Keeps the value in memory.
    pub(super) fn keep(&self, key: &str, value: Arc<[u8]>, ttl: Duration) {
        let fresh = match &self.shared {
            Some(_) => self.memory_ttl,
            None => ttl,
        };
        self.memory.keep(key, value, fresh, ttl);
    }

    /// Offers the shared store a value that it did not have.
    pub(super) async fn share(&self, key: &str, value: Arc<[u8]>, ttl: Duration) {
        if let Some(shared) = &self.shared {
            shared.put(key, value, ttl).await.ok();
        }
    }

    /// Puts the value into the shared store in place of one that is out of date.
    pub(super) async fn overwrite(&self, key: &str, value: Arc<[u8]>, ttl: Duration) {
        if let Some(shared) = &self.shared {
            shared.overwrite(key, value, ttl).await;
        }
    }

    /// Removes what is under the key from the shared store.
    pub(super) async fn remove(&self, key: &str) -> Result<()> {
        match &self.shared {
            Some(shared) => shared.remove(key).await,
            None => Ok(()),
        }
    }
}
