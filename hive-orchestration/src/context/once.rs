//! What a run does once, in the hive's database, in one commit with its record.

use hive_core::db::{Snapshot, Tx};
use hive_core::payload::Payload;
use hive_errors::{Failure, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::drift::Recall;
use crate::journal::{self, Kind, Record};
use crate::lease::guard;
use crate::limits;

impl Context {
    /// Does `work` on the lease's strength and remembers its output under the name, in one commit; comes back with what is remembered
    /// when it was done before.
    pub(super) async fn once<T, F>(&self, kind: Kind, name: &str, work: F) -> std::result::Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    {
        let key = self.key(kind, name)?;
        match self.recall::<T>(&key, kind).await {
            Recall::Done(output) => return Ok(output),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let (lease, at) = (self.run.lease(), self.run.queue.clock.now());
        let output = self.run.tell(move |tx| {
            guard(tx, lease)?;
            // Whether the commit took place is not known to who comes again after the loss of a connection.
            if let Some(done) = journal::outcome(tx, lease.task, &key)? {
                return done.decode();
            }
            let output = work(tx)?;
            journal::record(tx, &of(lease, at, key.clone(), kind, &output)?)?;
            Ok(output)
        });
        Ok(output.await?)
    }

    /// Reads something and remembers what was read under the name; comes back with what is remembered when it was read before.
    pub(super) async fn once_read<T, F>(&self, kind: Kind, name: &str, work: F) -> std::result::Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(&Snapshot<'_>) -> Result<T> + Clone + Send + 'static,
    {
        let key = self.key(kind, name)?;
        match self.recall::<T>(&key, kind).await {
            Recall::Done(output) => return Ok(output),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let output = self.run.ask(work).await?;
        let record = of(self.run.lease(), self.run.queue.clock.now(), key, kind, &output)?;
        self.run.remember(record).await?;
        Ok(output)
    }
}

fn of<T: Serialize>(
    lease: crate::lease::Lease,
    at: hive_core::clock::Timestamp,
    key: String,
    kind: Kind,
    output: &T,
) -> Result<Record> {
    Ok(Record {
        lease,
        at,
        key,
        kind,
        type_name: std::any::type_name::<T>(),
        value: Payload::encode(output, limits::PAYLOAD_BYTES)?,
        also: None,
    })
}
