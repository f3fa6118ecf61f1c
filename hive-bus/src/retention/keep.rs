//! Passes in the background.

use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::Clock;
use hive_core::shutdown::Shutdown;
use hive_errors::{Error, ErrorKind, Result};

use super::{Pruned, RetentionPolicy, pass};
use crate::duty::Duty;
use crate::limits;
use crate::telemetry::RetentionMetrics;
use crate::transport::{Database, Transport};

/// Removes what the policy says may go, again and again.
pub(crate) struct Sweeper {
    database: Database,
    policy: RetentionPolicy,
    every: Duration,
    clock: Arc<dyn Clock>,
    duty: Duty,
    stop: Shutdown,
    metrics: RetentionMetrics,
}

impl Sweeper {
    pub(crate) async fn open(
        database: Database,
        policy: RetentionPolicy,
        every: Duration,
        clock: Arc<dyn Clock>,
        stop: Shutdown,
    ) -> Result<Self> {
        Ok(Self {
            duty: Duty::open("hive-bus retention".to_owned(), &database, &clock).await?,
            metrics: RetentionMetrics::new(database.name()),
            database,
            policy,
            every: every.max(limits::RETENTION_EVERY_MIN),
            clock,
            stop,
        })
    }

    /// Goes on until it is told to stop.
    pub(crate) async fn run(self) {
        loop {
            let turn = match self.stop.guard(self.duty.begin()).await {
                Ok(Ok(turn)) => turn,
                Ok(Err(error)) if error.kind() == ErrorKind::ShuttingDown => return,
                Ok(Err(error)) => {
                    self.failed(&error);
                    self.pause(limits::RETENTION_FIRST).await;
                    continue;
                }
                Err(_stop) => return,
            };
            match turn.guard(self.sweep()).await {
                Ok(()) => return turn.end().await,
                Err(error) if error.kind() == ErrorKind::LeaseLost => {
                    tracing::info!(%error, "another process removes old events now");
                }
                // The database was closed.
                Err(_) => return,
            }
        }
    }

    /// Goes on until it is told to stop.
    ///
    /// # Errors
    /// `shutting-down` when the database was closed.
    async fn sweep(&self) -> Result<()> {
        // Not at once, when everything else begins as well; and not only after the whole time, which a process that is often
        // started again would never see.
        let soon = self.every.min(limits::RETENTION_FIRST);
        let mut wait = soon;
        loop {
            self.pause(wait).await;
            let Ok(passed) = self.stop.guard(pass(&self.database, &self.policy)).await else {
                return Ok(());
            };
            wait = match passed {
                Ok(pruned) => {
                    self.passed(&pruned);
                    self.every
                }
                Err(error) if error.kind() == ErrorKind::ShuttingDown => return Err(error),
                Err(error) => {
                    self.failed(&error);
                    soon
                }
            };
        }
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.clock.sleep(wait) => {}
            () = self.stop.requested() => {}
        }
    }

    fn passed(&self, pruned: &Pruned) {
        self.metrics.passed(pruned.events, pruned.bytes, pruned.held_back);
        let Pruned {
            events,
            bytes,
            held_back,
            held_by,
        } = pruned;
        if *events > 0 || *held_back > 0 {
            tracing::info!(events, bytes, held_back, held_by, "old events were removed");
        }
    }

    fn failed(&self, error: &Error) {
        self.metrics.failed(error);
        tracing::warn!(%error, "old events cannot be removed; trying again");
    }
}
