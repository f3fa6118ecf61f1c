//! What is to be done when a task fails after all: calls that take back what its steps did, in reverse.

use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Failure};

use super::Context;
use super::drift::Recall;
use crate::journal::{Kind, Record};
use crate::limits;
use crate::queue::undo::Undo;

impl Context {
    /// Registers it, once.
    pub(crate) async fn register_undo(&self, undo: Undo) -> Result<(), Failure> {
        let key = self.key(Kind::Undo, &undo.name)?;
        match self.recall::<Undo>(&key, Kind::Undo).await {
            Recall::Done(_) => return Ok(()),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let record = self.undo_record(key, undo)?;
        self.run.remember(record).await?;
        Ok(())
    }

    /// The journal's entry for it.
    pub(super) fn undo_record(&self, key: String, undo: Undo) -> Result<Record, Failure> {
        let Some(number) = self.run.journal().count_undo(undo.input.size()) else {
            return Err(Failure::terminal("too much is registered to be undone")
                .with_kind(ErrorKind::LimitReached)
                .with("undo", undo.name)
                .with("limit", limits::UNDO_CALLS)
                .with("limit_bytes", limits::UNDO_BYTES));
        };
        let undo = Undo { number, ..undo };
        Ok(Record {
            lease: self.run.lease(),
            at: self.run.queue.clock.now(),
            key,
            kind: Kind::Undo,
            type_name: std::any::type_name::<Undo>(),
            value: Payload::encode(&undo, limits::PAYLOAD_BYTES + limits::UNDO_WORDS)?,
            also: None,
        })
    }
}
