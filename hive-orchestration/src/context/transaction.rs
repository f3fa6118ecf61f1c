//! Effects in the hive's own database: they and their record are one commit, so they happen exactly once.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;

use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_errors::{Failure, Result as HiveResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::drift::{Asked, Recall};
use crate::drift::Drift;
use crate::journal::{self, Kind, Mark, Record};
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
    pub fn transaction<'a, T, F>(&'a self, name: &'a str, work: F) -> Transaction<'a, F, T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> HiveResult<T> + Send + 'static,
    {
        Transaction {
            cx: self,
            name,
            work,
            version: 0,
            drift: Drift::default(),
            output: PhantomData,
        }
    }
}

/// A transaction about to run; await it. Made by [`Context::transaction`].
#[must_use = "a transaction runs when it is awaited"]
pub struct Transaction<'a, F, T> {
    cx: &'a Context,
    name: &'a str,
    work: F,
    version: u32,
    drift: Drift,
    output: PhantomData<fn() -> T>,
}

impl<F, T> Transaction<'_, F, T> {
    /// As [`Step::version`](super::Step::version).
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// As [`Step::on_drift`](super::Step::on_drift). With [`Drift::Rerun`] its effects in the database come once more, beside those of the
    /// one that is on record.
    pub fn on_drift(mut self, policy: Drift) -> Self {
        self.drift = policy;
        self
    }
}

impl<F, T> fmt::Debug for Transaction<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("drift", &self.drift)
            .finish_non_exhaustive()
    }
}

impl<'a, F, T> IntoFuture for Transaction<'a, F, T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut Tx<'_>) -> HiveResult<T> + Send + 'static,
{
    type Output = Result<T, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<F, T> Transaction<'_, F, T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut Tx<'_>) -> HiveResult<T> + Send + 'static,
{
    async fn run(self) -> Result<T, Failure> {
        let Self {
            cx,
            name,
            mut work,
            version,
            drift,
            output: _,
        } = self;
        let key = cx.key(Kind::Transaction, name)?;
        let asked = Asked {
            kind: Kind::Transaction,
            mark: Mark {
                version,
                ..Mark::default()
            },
            policy: drift,
        };
        match cx.recall_as::<T>(&key, &asked).await? {
            Recall::Done(output) => return Ok(output),
            Recall::New | Recall::Begun | Recall::Over => {}
        }
        let _working = cx.run.activity.work();
        let (lease, at) = (cx.run.lease(), cx.run.queue.clock.now());
        let note = cx.run.journal().take_note(&key);
        let committed = cx
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
                journal::record_marked(tx, &record, version, note.as_deref())?;
                Ok(output)
            })
            .await;
        match committed {
            Ok(output) => Ok(output),
            Err(error) => Err(Failure::from(cx.run.refused(error).await).with("transaction", name)),
        }
    }
}
