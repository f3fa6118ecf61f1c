//! A task that is not meant for one agent by name finds one.

use std::sync::Arc;

use hive_core::db::Tx;
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use super::Hive;
use crate::limits;
use crate::plan::Catalogue;
use crate::queue::submit::{self, NewTask, Submitted};
use crate::router::{self, Directory, Request, Routed};
use crate::worker::{Decided, Shop, by_the_picture, known};

impl Hive {
    /// The agents that are there now, in all processes that share the database: what a [plan](crate::plan) is checked against, and what a
    /// planner is shown.
    ///
    /// # Errors
    /// Those of [`Db::read`](hive_core::db::Db::read).
    pub async fn catalogue(&self) -> Result<Catalogue> {
        let shop = Arc::clone(self.shop());
        let known = self.shop().db.read(move |db| known(&shop, db)).await?;
        Ok(Catalogue::from_known(known))
    }
}

/// Decides by a picture of who is there that is not old, and takes a new one before it says that there is nobody.
pub(super) async fn decide(shop: &Shop, request: &Request) -> Result<Decided> {
    let is_new = shop.directory.is_stale();
    if is_new {
        shop.directory.hang(shop.db.read(Directory::look).await?);
    }
    match by_the_picture(shop, request) {
        Err(error) if error.kind() == ErrorKind::UnknownAgent && !is_new => {
            shop.directory.hang(shop.db.read(Directory::look).await?);
            by_the_picture(shop, request)
        }
        decided => decided,
    }
}

/// Submits a task that was routed, with the record of the decision; or finds the one that was submitted under the same
/// idempotency key, whoever was chosen for that.
pub(super) fn submit(tx: &mut Tx<'_>, shop: &Arc<Shop>, new: &NewTask, decided: &Decided) -> Result<Submitted> {
    let Some(key) = &new.idempotency else {
        return insert(tx, shop, new, decided);
    };
    // The key belongs to the target and stands with the decision.
    let unkeyed = NewTask {
        idempotency: None,
        ..new.clone()
    };
    for _ in 0..limits::KEY_TRIES {
        if let Some(id) = existing(tx, new, &decided.request, key)? {
            return Ok(Submitted { id, new: false });
        }
        // Somebody else may take the key meanwhile.
        match tx.attempt(|tx| insert_keyed(tx, shop, &unkeyed, decided, Some(key))) {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return done,
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "the task's key was taken and given back each time that it was asked for",
    )
    .with("target", &decided.request.target)
    .retryable())
}

fn insert(tx: &mut Tx<'_>, shop: &Arc<Shop>, new: &NewTask, decided: &Decided) -> Result<Submitted> {
    insert_keyed(tx, shop, new, decided, None)
}

fn insert_keyed(
    tx: &mut Tx<'_>,
    shop: &Arc<Shop>,
    new: &NewTask,
    decided: &Decided,
    key: Option<&str>,
) -> Result<Submitted> {
    let submitted = submit::submit(tx, &shop.queue, new)?;
    let seq = tx.query_one("SELECT seq FROM task WHERE id = ?1", &[&submitted.id], |row| row.get(0))?;
    let routed = Routed {
        seq,
        id: submitted.id,
        tenant: &new.tenant,
        correlation: new.correlation.as_deref(),
        idempotency: key,
    };
    router::record(tx, &shop.queue.bus, routed, &decided.request, &decided.route)?;
    let (shop, agent) = (Arc::clone(shop), decided.route.agent.clone());
    tx.on_commit(move || shop.directory.given(&agent));
    Ok(submitted)
}

fn existing(tx: &Tx<'_>, new: &NewTask, request: &Request, key: &str) -> Result<Option<TaskId>> {
    let Some(seq) = router::find(tx, &new.tenant, &request.target, key)? else {
        return Ok(None);
    };
    let (id, is_same) = tx.query_one(
        "SELECT t.id, b.input FROM task t JOIN task_body b ON b.task = t.seq WHERE t.seq = ?1",
        &[&seq],
        |row| Ok((row.get::<TaskId>(0)?, row.blob(1)? == new.input.as_bytes())),
    )?;
    if is_same || id == new.id {
        return Ok(Some(id));
    }
    Err(
        Error::new(ErrorKind::Conflict, "the idempotency key was used with another input")
            .with("idempotency_key", key)
            .with("task", id)
            .with_hint("use a new key for a new input; the same key and input give the task that is there"),
    )
}
