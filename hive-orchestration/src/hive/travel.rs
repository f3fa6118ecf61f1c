//! Runs as data, runs begun with what others have recorded, and a look at what new code would make of them.

use std::sync::Arc;

use hive_core::db::Db;
use hive_core::id::TaskId;
use hive_core::lease;
use hive_errors::{Error, ErrorKind, Result};
use serde_json::Value;

use super::{Builder, Hive};
use crate::handle::TaskHandle;
use crate::history::{self, Fork, Forked, History};
use crate::queue;
use crate::replay::{Checked, check_on};
use crate::tables;

impl Hive {
    /// What a task remembers, running or ended, as of this moment: see [`history`].
    ///
    /// # Errors
    /// `not-found` when there is no such task, or no longer; `payload-too-large` when it remembers more than
    /// [`HISTORY_BYTES`](crate::limits::HISTORY_BYTES).
    pub async fn export(&self, task: TaskId) -> Result<History> {
        self.shop().db.read(move |db| history::read(db, task)).await
    }

    /// Begins a new task with what another one, running or ended, had recorded before the named entry: see [`Fork`]. It has the same
    /// agent, tenant, priority, key and, unless the fork says otherwise, input; it is a root, without a caller, and without a
    /// [record](crate::family) or a deadline. Nothing happens to the other task. A fork carries the label
    /// [`FORKED_FROM`](history::FORKED_FROM).
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # use hive_orchestration::{Context, Failure, Hive, agent_fn};
    /// # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let draft = agent_fn("draft", async |cx: Context, topic: String| {
    ///     let outline = cx.step("outline", async || Ok::<_, Failure>(format!("all about {topic}"))).await?;
    ///     cx.step("write", async || Ok::<_, Failure>(outline.to_uppercase())).await
    /// });
    /// let hive = Hive::open(dir.path().join("hive.db")).agent(draft).start().await?;
    /// let task = hive.submit_named("draft", &"bees").await?;
    /// assert_eq!(task.result().await?, "ALL ABOUT BEES");
    /// // Once more from there on: the outline is kept.
    /// let again = hive.fork(task.id(), "write").await?;
    /// assert_eq!(again.result().await?, "ALL ABOUT BEES");
    /// # hive.shutdown().await }
    /// ```
    ///
    /// # Errors
    /// `not-found` when there is no such task or entry; `conflict` when several entries have the name; `unknown-agent` and
    /// `invalid-input` as for [`Hive::submit_named`]; `payload-too-large` as for [`Hive::export`].
    ///
    /// # Cancel safety
    /// Dropped, the fork may be made or not.
    pub async fn fork(&self, task: TaskId, fork: impl Into<Fork>) -> Result<TaskHandle<Value>> {
        let shop = self.shop();
        let forked = Forked {
            id: shop.queue.ids.next(),
            source: task,
            fork: fork.into(),
        };
        let agent = self.export(task).await?.agent;
        match forked.fork.input() {
            Some(input) => shop.registry.check(&agent, input?)?,
            None if shop.registry.get(&agent).is_none() => {
                return Err(Error::new(ErrorKind::UnknownAgent, "the task's agent is not there").with("agent", agent));
            }
            None => {}
        }
        let news = shop.queue.wakeups.watch(forked.id);
        let (id, queue) = (forked.id, shop.queue.clone());
        queue::write(&shop.db, move |tx| history::fork(tx, &queue, &forked)).await?;
        Ok(TaskHandle::submitted(id, Arc::clone(shop), news))
    }
}

impl Builder {
    /// Replays every open run of the database against this hive's agents, and says which of them would not go on as they should: those
    /// that would [drift](crate::drift) or fail, that lack their agent, or whose steps were removed or renamed. Nothing is written, and
    /// the steps of the agents are not run; see [`replay`](crate::replay) for what is. Call it with the new program before the old one is
    /// stopped.
    ///
    /// The database is only looked at: hives may be running on it, also on a SQLite file, and its schema stays as it is.
    ///
    /// ```
    /// # use hive_orchestration::{Context, Failure, Hive, agent_fn};
    /// # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("hive.db");
    /// # let agent = || agent_fn("noop", async |_: Context, (): ()| Ok::<_, Failure>(()));
    /// # let hive = Hive::open(&path).agent(agent()).start().await?;
    /// let checked = Hive::open(&path).agent(agent()).check().await?;
    /// println!("{checked}");
    /// assert!(checked.is_clean());
    /// # hive.shutdown().await }
    /// ```
    ///
    /// # Errors
    /// `not-found` when there is no such file; `conflict` when two agents share a name; `schema-too-new` and `schema-changed` as for
    /// [`Builder::start`]; `storage` when the database cannot be read, as when it is of a release that did not have all tables yet.
    pub async fn check(self) -> Result<Checked> {
        let mut options = self
            .options
            .clock(self.clock)
            .migrations(&lease::MIGRATIONS)
            .migrations(&hive_bus::MIGRATIONS)
            .migrations(&tables::MIGRATIONS);
        for set in self.migrations {
            options = options.migrations(set);
        }
        let db = Db::look(options).await?;
        let checked = check_on(&db, self.agents).await;
        let pending = match &checked {
            Ok(_) => Vec::new(),
            Err(_) => db.pending().await.unwrap_or_default(),
        };
        let closed = db.close().await;
        let checked = checked.map_err(|error| match pending.first() {
            None => error,
            Some(first) => error.with("pending", format!("{first:?}")).with_hint(
                "the database is of an earlier release: copy it, let this release open the copy once, and check that",
            ),
        })?;
        closed.map(|()| checked)
    }
}
