//! Agents whose process has gone without a word, and what is forgotten of them.

use hive_bus::Bus;
use hive_core::db::{Db, Dialect, Snapshot, Tx};
use hive_core::id::InstanceId;
use hive_errors::Result;

use super::listing::silent_before;
use super::presence::{offline, sorted};
use crate::{limits, queue};

/// Takes agents offline that have given no sign of life, forgets what is long gone, and returns how many were taken.
/// Every process may do it as often as it likes: it reads first, and writes only when there is something to write.
///
/// # Errors
/// Those of [`Db::read`] and [`Db::write`].
pub(crate) async fn sweep(db: &Db, bus: &Bus) -> Result<usize> {
    if !db.read(is_due).await? {
        return Ok(0);
    }
    let bus = bus.clone();
    queue::write(db, move |tx| {
        let expired = expire(tx, &bus)?;
        forget(tx)?;
        Ok(expired)
    })
    .await
}

fn is_due(db: &Snapshot<'_>) -> Result<bool> {
    let now = db.now()?;
    let expires = silent_before(db)?.map(|silent| {
        db.query_opt(
            "SELECT 1 FROM agent WHERE status < 3 AND (heartbeat_at <= ?1 OR heartbeat_at > ?2) LIMIT 1",
            &[&silent, &now],
            |_| Ok(()),
        )
    });
    if let Some(Some(())) = expires.transpose()? {
        return Ok(true);
    }
    let gone = db.query_opt(
        "SELECT 1 FROM agent WHERE status >= 3 AND heartbeat_at <= ?1 LIMIT 1",
        &[&(now - limits::AGENT_KEPT)],
        |_| Ok(()),
    )?;
    Ok(gone.is_some())
}

/// Takes agents offline that have given no sign of life for [`limits::AGENT_TTL`] by the clock that all processes share; none
/// on SQLite, where there is one process.
///
/// A heartbeat that lies in the future shows that the clock was set back. It counts as of now: nobody is believed to be there for
/// longer because of it, and nobody to be gone. When the clock is set forward, everybody is taken offline, and back by the
/// next heartbeats.
pub(super) fn expire(tx: &mut Tx<'_>, bus: &Bus) -> Result<usize> {
    match tx.dialect() {
        Dialect::Sqlite => return Ok(0),
        // In one order, so that nobody waits in a circle; and time is asked once all of them are still.
        Dialect::Postgres => tx.query(
            "SELECT 1 FROM agent WHERE status < 3 ORDER BY instance, name FOR NO KEY UPDATE",
            &[],
            |_| Ok(()),
        )?,
    };
    let now = tx.now()?;
    tx.execute(
        "UPDATE agent SET heartbeat_at = ?1 WHERE status < 3 AND heartbeat_at > ?1",
        &[&now],
    )?;
    let silent = tx.query(
        "UPDATE agent SET status = 3, running = 0 WHERE status < 3 AND heartbeat_at <= ?1
         RETURNING name, version, instance",
        &[&(now - limits::AGENT_TTL)],
        |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<InstanceId>(2)?)),
    )?;
    let count = silent.len();
    for (name, version, instance) in sorted(silent) {
        offline(tx, bus, instance, &name, "its process gives no sign of life")?;
        trim(tx, &name, &version)?;
    }
    Ok(count)
}

/// Takes the agents of all other processes offline, where there can be no other.
pub(super) fn others(tx: &mut Tx<'_>, bus: &Bus, own: InstanceId) -> Result<()> {
    let died = tx.query(
        "UPDATE agent SET status = 3, running = 0 WHERE status < 3 AND instance <> ?1 RETURNING name, version, instance",
        &[&own],
        |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<InstanceId>(2)?)),
    )?;
    for (name, version, instance) in sorted(died) {
        offline(tx, bus, instance, &name, "its process has died")?;
        trim(tx, &name, &version)?;
    }
    Ok(())
}

/// Forgets the oldest of the processes that once had this version of an agent.
pub(super) fn trim(tx: &mut Tx<'_>, name: &str, version: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM agent WHERE name = ?1 AND version = ?2 AND status >= 3 AND instance NOT IN (
             SELECT instance FROM agent WHERE name = ?1 AND version = ?2 AND status >= 3
             ORDER BY heartbeat_at DESC, instance LIMIT ?3)",
        &[&name, &version, &limits::AGENTS_GONE],
    )?;
    Ok(())
}

/// Forgets a bounded number of agents that have been gone for [`limits::AGENT_KEPT`], and versions that nobody has.
pub(super) fn forget(tx: &mut Tx<'_>) -> Result<usize> {
    let before = tx.now()? - limits::AGENT_KEPT;
    let forgotten = tx.execute(
        "DELETE FROM agent WHERE (instance, name) IN (
             SELECT instance, name FROM agent WHERE status >= 3 AND heartbeat_at <= ?1 LIMIT ?2)",
        &[&before, &limits::AGENTS_FORGOTTEN],
    )?;
    if forgotten > 0 {
        tx.execute(
            "DELETE FROM agent_version WHERE declared_at <= ?1 AND NOT EXISTS (
                 SELECT 1 FROM agent WHERE agent.name = agent_version.name AND agent.version = agent_version.version)",
            &[&before],
        )?;
    }
    Ok(forgotten)
}
