//! Whoever answers what tasks ask, at any hour, and whatever becomes of processes.

use std::sync::Arc;
use std::time::Duration;

use hive_core::db::{Memory, Snapshot};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Result};

use super::steps::Steps;
use crate::context::Signal;
use crate::hive::Hive;
use crate::queue::{self, wait};
use crate::task::Decision;

/// How long people take to look again.
const LOOK: Duration = Duration::from_secs(60);

/// Decides on a held step: the task, the step's key as the task's status names it.
pub(super) type Decide = Arc<dyn Fn(TaskId, &str) -> Decision + Send + Sync>;

/// What people say.
#[derive(Clone, Default)]
pub(super) struct People {
    /// To waits for the signal with this name.
    answers: Vec<(String, Payload)>,
    decide: Option<Decide>,
}

/// Something that people are asked.
struct Asked {
    task: TaskId,
    key: String,
    /// A step is held if there is none.
    signal: Option<String>,
}

impl People {
    /// Whoever waits for this signal is told this value.
    pub(super) fn answering(&mut self, signal: &str, value: Payload) {
        self.answers.retain(|(name, _)| name != signal);
        self.answers.push((signal.to_owned(), value));
    }

    pub(super) fn deciding(&mut self, decide: Decide) {
        self.decide = Some(decide);
    }

    /// Whether they have anything to say.
    pub(super) fn are_there(&self) -> bool {
        !self.answers.is_empty() || self.decide.is_some()
    }

    /// Answers until the hive is closed.
    pub(super) async fn mind(self, hive: Hive, memory: Memory, steps: Steps) {
        let mut seen = 0;
        loop {
            hive.shop().queue.clock.sleep(LOOK).await;
            let commits = memory.commits();
            // Nobody asks anything without a commit.
            if commits == seen {
                continue;
            }
            seen = commits;
            match self.round(&hive, &steps).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
                Err(error) => tracing::error!(%error, "people could not answer"),
            }
        }
    }

    async fn round(&self, hive: &Hive, steps: &Steps) -> Result<()> {
        for asked in hive.db().read(asked).await? {
            let said = match &asked.signal {
                Some(signal) => self.answer(hive, asked.task, signal).await,
                None => self.settle(hive, steps, &asked).await,
            };
            match said {
                // It ended, or was answered, between the look and the word.
                Err(error) if [ErrorKind::Conflict, ErrorKind::NotFound].contains(&error.kind()) => {}
                said => said?,
            }
        }
        Ok(())
    }

    async fn answer(&self, hive: &Hive, task: TaskId, signal: &str) -> Result<()> {
        let Some((name, value)) = self.answers.iter().find(|(name, _)| name == signal) else {
            return Ok(());
        };
        let (queue, name, value) = (hive.shop().queue.clone(), name.clone(), value.clone());
        queue::write(hive.db(), move |tx| wait::signal(tx, &queue, task, &name, &value, None)).await
    }

    async fn settle(&self, hive: &Hive, steps: &Steps, asked: &Asked) -> Result<()> {
        let Some(decide) = &self.decide else { return Ok(()) };
        let decision = decide(asked.task, &asked.key);
        if matches!(decision, Decision::Rerun) {
            steps.set_free(asked.task, &asked.key);
        }
        hive.task::<()>(asked.task).decide(&asked.key, decision).await
    }
}

/// What is open, in an order that is always the same.
fn asked(db: &Snapshot<'_>) -> Result<Vec<Asked>> {
    db.query(
        "SELECT t.id, j.key, j.signal, j.state FROM journal j JOIN task t ON t.seq = j.task
         WHERE t.state < 4 AND (j.state = 3 OR j.state = 0 AND j.signal IS NOT NULL) ORDER BY t.seq, j.key",
        &[],
        |row| {
            let held = row.get::<i64>(3)? == 3;
            Ok(Asked {
                task: row.get(0)?,
                key: row.get(1)?,
                signal: if held { None } else { row.get(2)? },
            })
        },
    )
}

/// The name and value that are kept for [`People::answering`].
pub(super) fn encoded<T: serde::Serialize>(signal: &Signal<T>, value: &T) -> Result<(String, Payload)> {
    Ok((
        signal.name().to_owned(),
        Payload::encode(value, crate::limits::PAYLOAD_BYTES)?,
    ))
}
