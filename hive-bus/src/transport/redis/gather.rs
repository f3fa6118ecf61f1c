//! What many publish at the same time goes to the server together: a script costs the server as much as dozens of the events that
//! it appends, and with one for each of a hundred publishers it would do little else.

use std::sync::Arc;

use hive_errors::{ErrorKind, Result};

use super::keys::Keys;
use super::log::{Draft, Log};
use super::server::Server;
use crate::event::{NewEvent, Sequence};
use crate::limits;

/// What one caller publishes.
pub(super) type Part = Arc<[Draft]>;

/// How much of a script it takes: in events, and in as many parts of the bytes that a script has.
pub(super) fn weight(part: &Part) -> (usize, usize) {
    let bytes: usize = part.iter().map(Draft::bytes).sum();
    (
        part.len(),
        bytes / (limits::REDIS_SCRIPT_BYTES / limits::REDIS_SCRIPT_EVENTS),
    )
}

impl Log {
    /// Appends events, and gives a sequence for each. Cancelled on its way, it may have appended them or not.
    pub(super) async fn publish(&self, server: &Server, keys: &Keys, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let drafts: Part = events.into_iter().map(Draft::of).collect::<Result<_>>()?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        self.gather
            .call(drafts, |parts| self.publish_parts(server, keys, parts))
            .await
    }

    async fn publish_parts(
        &self,
        server: &Server,
        keys: &Keys,
        parts: Vec<Part>,
    ) -> Result<Vec<Result<Vec<Sequence>>>> {
        let all: Vec<&Draft> = parts.iter().flat_map(|part| part.iter()).collect();
        match self.append(server, keys, &all).await {
            Ok(sequences) => {
                let mut rest = sequences.into_iter();
                let own = |part: &Part| Ok(rest.by_ref().take(part.len()).collect());
                Ok(parts.iter().map(own).collect())
            }
            // It may be about the events of one of them only.
            Err(error) if error.kind() == ErrorKind::Conflict && parts.len() > 1 => {
                let mut answers = Vec::with_capacity(parts.len());
                for part in &parts {
                    let own: Vec<&Draft> = part.iter().collect();
                    answers.push(self.append(server, keys, &own).await);
                }
                Ok(answers)
            }
            Err(error) => Err(error),
        }
    }
}
