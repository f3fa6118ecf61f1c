//! What one of the processes that share a database does for all of them.

use std::sync::Arc;

use hive_core::clock::Clock;
use hive_core::db::{Dialect, Snapshot};
use hive_core::lease::{self, Held, Keeper, Lease};
use hive_errors::{ErrorKind, Result};

use crate::limits;
use crate::transport::Database;

/// Something that one process at a time does: the holder of the lease of its name. On SQLite there is one process.
pub(crate) struct Duty {
    name: String,
    keeper: Option<Keeper>,
}

/// Whoever has it is the one.
pub(crate) struct OnDuty(Option<Held>);

impl Duty {
    /// The duty of this name.
    ///
    /// # Errors
    /// `storage` when the database has no table of leases and needs one.
    pub(crate) async fn open(name: String, database: &Database, clock: &Arc<dyn Clock>) -> Result<Self> {
        if database.db().dialect() == Dialect::Sqlite {
            return Ok(Self { name, keeper: None });
        }
        let (own, asked) = (Arc::clone(clock), name.clone());
        let work = move |db: &Snapshot<'_>| lease::current(db, &*own, &asked).map(drop);
        database.db().read(work).await.map_err(|e| {
            if e.kind() == ErrorKind::Storage {
                e.with_hint("open the database with hive_core::lease::MIGRATIONS as well")
            } else {
                e
            }
        })?;
        let keeper = Keeper::new(database.db().clone(), "hive-bus").clock(Arc::clone(clock));
        Ok(Self {
            name,
            keeper: Some(keeper),
        })
    }

    /// Waits until it is this process's turn.
    ///
    /// # Errors
    /// As [`Keeper::campaign`].
    pub(crate) async fn begin(&self) -> Result<OnDuty> {
        match &self.keeper {
            Some(keeper) => Ok(OnDuty(Some(keeper.campaign(&self.name, limits::DUTY_LEASE).await?))),
            None => Ok(OnDuty(None)),
        }
    }
}

impl OnDuty {
    /// What guards writes in the duty's name, where that is needed.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.0.as_ref().map(Held::lease)
    }

    /// Runs `work` until it is done or it is another process's turn.
    ///
    /// # Errors
    /// What `work` returns; `lease-lost`.
    pub(crate) async fn guard(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        match &self.0 {
            Some(held) => held.guard(work).await.flatten(),
            None => work.await,
        }
    }

    /// Lets the next process begin.
    pub(crate) async fn end(self) {
        if let Some(held) = self.0
            && let Err(error) = held.release().await
        {
            tracing::debug!(%error, "the lease of a duty runs out by itself");
        }
    }
}
