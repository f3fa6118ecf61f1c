//! Effects in the hive's own database: they and their record are one commit, so they happen exactly once.

use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_errors::{Failure, Result as HiveResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::drift::Recall;
use crate::journal::{self, Kind, Record};
use crate::lease::guard;
use crate::limits;

impl Context {
    /// Runs `work` on the hive's database and remembers its output, in one commit: either both are on disk or neither.
    ///
    /// The closure runs on a thread of the database's and must own what it needs (`move`). It must be short; it cannot await.
    /// PostgreSQL may have to run it again before it commits, so it must have no effect but on its `tx`.
    ///
    /// # Failures
    /// The closure's own error, with everything it wrote undone.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the transaction may commit or not; when the task comes back to it, the record tells.
    pub async fn transaction<T, F>(&self, name: &str, mut work: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> HiveResult<T> + Send + 'static,
    {
        let key = self.key(Kind::Transaction, name)?;
        match self.recall::<T>(&key, Kind::Transaction).await {
            Recall::Done(output) => return Ok(output),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = self.run.activity.work();
        let (lease, at) = (self.run.lease(), self.run.queue.clock.now());
        let committed = self
            .run
            .db
            .write(move |tx| {
                // A zombie must not even read its way into the user's code.
                guard(tx, lease)?;
                let output = work(tx)?;
                let record = Record {
                    lease,
                    at,
                    key: key.clone(),
                    kind: Kind::Transaction,
                    type_name: std::any::type_name::<T>(),
                    value: Payload::encode(&output, limits::PAYLOAD_BYTES)?,
                    also: None,
                };
                journal::record(tx, &record)?;
                Ok(output)
            })
            .await;
        match committed {
            Ok(output) => Ok(output),
            Err(error) => Err(Failure::from(self.run.refused(error).await).with("transaction", name)),
        }
    }
}
