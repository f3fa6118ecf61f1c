//! The rows of memories.
//!
//! Whoever changes a memory changes its own row first, and has it to himself until the transaction ends: what is read after that is
//! what counts, on either engine and at any isolation.

use std::collections::BTreeSet;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Entry, Page, Place, Versioned, about};
use crate::lease::listed;
use crate::limits;

pub(crate) type Stored = Versioned<Payload>;

/// What has to be there for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Anything,
    /// This version; 0 is none.
    Version(u64),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Put {
    /// It has this version now.
    Version(u64),
    /// Not done: there is this version; 0 is none.
    Conflict(u64),
}

impl Put {
    pub(crate) fn into_result(self, key: &str) -> Result<u64> {
        match self {
            Self::Version(version) => Ok(version),
            Self::Conflict(version) => {
                let error = Error::new(ErrorKind::Conflict, "the value in the memory has another version")
                    .with("version", version)
                    .with_hint("get it again and decide anew, or let update do both");
                Err(about(error, key))
            }
        }
    }
}

pub(super) fn get(db: &Snapshot<'_>, place: &Place, key: &str) -> Result<Option<Stored>> {
    let now = db.now()?;
    db.query_opt(
        "SELECT value, version, changed_at, expires_at FROM memory_entry
         WHERE memory = (SELECT seq FROM memory WHERE kind = ?1 AND owner = ?2) AND key = ?3
           AND (expires_at IS NULL OR expires_at > ?4)",
        &[&place.code(), &place.owner(), &key.as_bytes(), &now],
        stored,
    )
}

fn stored(row: &Row<'_>) -> Result<Stored> {
    Ok(Versioned {
        value: row.get(0)?,
        version: row.get(1)?,
        changed_at: row.get(2)?,
        expires_at: row.get(3)?,
    })
}

/// A memory that is being changed.
struct Open {
    seq: i64,
    /// That of this change.
    version: u64,
    entries: u64,
    now: Timestamp,
}

/// What is in a row.
enum Found {
    Nothing,
    /// Its time is over.
    Remains,
    Value(Stored),
}

impl Open {
    /// Begins a change. From here on nobody else changes this memory until the transaction ends.
    fn begin(tx: &mut Tx<'_>, place: &Place) -> Result<Self> {
        let (kind, owner) = (place.code(), place.owner());
        let there = tx.query_opt(
            "UPDATE memory SET version = version + 1 WHERE kind = ?1 AND owner = ?2 RETURNING seq, version, entries",
            &[&kind, &owner],
            Self::row,
        )?;
        let (seq, version, entries) = match there {
            Some(there) => there,
            None => {
                let (tenant, task) = match place {
                    Place::Agent { tenant, .. } | Place::Tenant(tenant) => (tenant.clone(), None),
                    Place::Run(root) => {
                        let (seq, tenant) = root_of_run(tx, *root)?;
                        (tenant, Some(seq))
                    }
                };
                tx.query_one(
                    "INSERT INTO memory (tenant, kind, owner, task, version, entries) VALUES (?1, ?2, ?3, ?4, 1, 0)
                     ON CONFLICT (kind, owner) DO UPDATE SET version = memory.version + 1 RETURNING seq, version, entries",
                    &[&tenant, &kind, &owner, &task],
                    Self::row,
                )?
            }
        };
        Ok(Self {
            seq,
            version,
            entries,
            now: tx.now()?,
        })
    }

    fn row(row: &Row<'_>) -> Result<(i64, u64, u64)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    }

    fn find(&self, tx: &Tx<'_>, key: &str) -> Result<Found> {
        let row = tx.query_opt(
            "SELECT value, version, changed_at, expires_at FROM memory_entry WHERE memory = ?1 AND key = ?2",
            &[&self.seq, &key.as_bytes()],
            stored,
        )?;
        Ok(match row {
            None => Found::Nothing,
            Some(stored) if stored.expires_at.is_some_and(|at| at <= self.now) => Found::Remains,
            Some(stored) => Found::Value(stored),
        })
    }

    /// Writes a value where `found` was.
    fn write(self, tx: &mut Tx<'_>, key: &str, value: Payload, ttl: Option<Duration>, found: &Found) -> Result<Stored> {
        let mut entries = self.entries;
        if matches!(found, Found::Nothing) {
            if entries >= limits::MEMORY_ENTRIES {
                entries = entries.saturating_sub(sweep(tx, self.seq, self.now)?);
            }
            if entries >= limits::MEMORY_ENTRIES {
                let full = Error::new(ErrorKind::LimitReached, "the memory has no room for another key")
                    .with("limit", limits::MEMORY_ENTRIES)
                    .with_hint(
                        "delete what is not needed, give what is written a time to live, or keep a table of your own",
                    );
                return Err(about(full, key));
            }
            entries += 1;
        }
        let expires_at = ttl.map(|ttl| self.now + ttl);
        tx.execute(
            "INSERT INTO memory_entry (memory, key, value, version, changed_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (memory, key) DO UPDATE SET value = ?3, version = ?4, changed_at = ?5, expires_at = ?6",
            &[&self.seq, &key.as_bytes(), &value, &self.version, &self.now, &expires_at],
        )?;
        if entries != self.entries {
            count(tx, self.seq, entries)?;
        }
        Ok(Versioned {
            value,
            version: self.version,
            changed_at: self.now,
            expires_at,
        })
    }
}

/// The number and the tenant of the task whose run's memory is made. It is not forgotten meanwhile.
fn root_of_run(tx: &Tx<'_>, root: TaskId) -> Result<(i64, String)> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => "SELECT seq, tenant, root FROM task WHERE id = ?1",
        Dialect::Postgres => "SELECT seq, tenant, root FROM task WHERE id = ?1 FOR KEY SHARE",
    };
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<TaskId>(2)?));
    let Some((seq, tenant, own)) = tx.query_opt(sql, &[&root], row)? else {
        return Err(Error::new(ErrorKind::NotFound, "the run is forgotten, and its memory with it").with("task", root));
    };
    if own != root {
        return Err(
            Error::new(ErrorKind::InvalidInput, "a run's memory is that of its root task")
                .with("task", root)
                .with("root", own),
        );
    }
    Ok((seq, tenant))
}

pub(super) fn put(
    tx: &mut Tx<'_>,
    place: &Place,
    key: &str,
    value: &Payload,
    ttl: Option<Duration>,
    expected: Expected,
) -> Result<Put> {
    if value.size() > limits::MEMORY_VALUE_BYTES {
        let large = Error::new(ErrorKind::PayloadTooLarge, "the value is too large for a memory")
            .with("size", value.size())
            .with("limit", limits::MEMORY_VALUE_BYTES);
        return Err(about(large, key));
    }
    let open = Open::begin(tx, place)?;
    let found = open.find(tx, key)?;
    let version = match &found {
        Found::Nothing | Found::Remains => 0,
        Found::Value(stored) => stored.version,
    };
    match expected {
        Expected::Version(expected) if expected != version => Ok(Put::Conflict(version)),
        Expected::Version(_) | Expected::Anything => {
            let written = open.write(tx, key, value.clone(), ttl, &found)?;
            Ok(Put::Version(written.version))
        }
    }
}

pub(super) fn update(
    tx: &mut Tx<'_>,
    place: &Place,
    key: &str,
    ttl: Option<Duration>,
    change: impl FnOnce(Option<Stored>) -> Result<Payload>,
) -> Result<Stored> {
    let open = Open::begin(tx, place)?;
    let found = open.find(tx, key)?;
    let old = match &found {
        Found::Nothing | Found::Remains => None,
        Found::Value(stored) => Some(stored.clone()),
    };
    let value = change(old)?;
    open.write(tx, key, value, ttl, &found)
}

pub(super) fn delete(tx: &mut Tx<'_>, place: &Place, key: &str) -> Result<bool> {
    // Where there is no memory none is made.
    if get(tx, place, key)?.is_none() {
        return Ok(false);
    }
    let open = Open::begin(tx, place)?;
    let found = open.find(tx, key)?;
    let gone = tx.execute(
        "DELETE FROM memory_entry WHERE memory = ?1 AND key = ?2",
        &[&open.seq, &key.as_bytes()],
    )?;
    if gone > 0 {
        count(tx, open.seq, open.entries.saturating_sub(1))?;
    }
    Ok(matches!(found, Found::Value(_)))
}

pub(super) fn list(db: &Snapshot<'_>, place: &Place, prefix: &str, after: Option<&str>) -> Result<Page> {
    let now = db.now()?;
    // The least key behind another is that with one more byte, the least there is; no byte of a key is the greatest there is.
    let behind = after.map(|after| [after.as_bytes(), &[0]].concat());
    let from = behind.unwrap_or_default().max(prefix.as_bytes().to_vec());
    let to = [prefix.as_bytes(), &[u8::MAX]].concat();
    let rows = limits::MEMORY_PAGE as u64 + 1;
    let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
    db.each(
        "SELECT value, version, changed_at, expires_at, key FROM memory_entry
         WHERE memory = (SELECT seq FROM memory WHERE kind = ?1 AND owner = ?2) AND key >= ?3 AND key < ?4
           AND (expires_at IS NULL OR expires_at > ?5)
         ORDER BY key LIMIT ?6",
        &[&place.code(), &place.owner(), &from, &to, &now, &rows],
        |row| {
            let Stored {
                value,
                version,
                changed_at,
                expires_at,
            } = stored(row)?;
            bytes += value.size();
            more = entries.len() == limits::MEMORY_PAGE || !entries.is_empty() && bytes > limits::MEMORY_PAGE_BYTES;
            if more {
                return Ok(false);
            }
            let key = String::from_utf8(row.blob(4)?.to_vec())
                .map_err(|e| Error::new(ErrorKind::Corrupt, "a key of a memory is no text").with_source(e))?;
            entries.push(Entry {
                key,
                value,
                version,
                changed_at,
                expires_at,
            });
            Ok(true)
        },
    )?;
    let next = entries.last().filter(|_| more).map(|entry: &Entry| entry.key.clone());
    Ok(Page { entries, next })
}

/// Removes what this memory holds and whose time is over; how much. The caller has begun a change of it.
fn sweep(tx: &mut Tx<'_>, memory: i64, now: Timestamp) -> Result<u64> {
    let gone = tx.execute(
        "DELETE FROM memory_entry WHERE memory = ?1 AND expires_at IS NOT NULL AND expires_at <= ?2",
        &[&memory, &now],
    )?;
    Ok(gone as u64)
}

fn count(tx: &mut Tx<'_>, memory: i64, entries: u64) -> Result<()> {
    tx.execute("UPDATE memory SET entries = ?2 WHERE seq = ?1", &[&memory, &entries])?;
    Ok(())
}

/// Takes the memories of these root tasks away, which are being forgotten; [`prune`] removes what was in them.
pub(crate) fn leave(tx: &mut Tx<'_>, tasks: &[i64]) -> Result<()> {
    match tx.dialect() {
        Dialect::Postgres => {
            tx.execute(
                "UPDATE memory SET kind = 3, task = NULL WHERE task = ANY (CAST(string_to_array(?1, ',') AS BIGINT[]))",
                &[&listed(tasks.iter().copied())],
            )?;
        }
        Dialect::Sqlite => {
            for task in tasks {
                tx.execute("UPDATE memory SET kind = 3, task = NULL WHERE task = ?1", &[task])?;
            }
        }
    }
    Ok(())
}

/// Removes up to about `limit` entries that nobody can see any more: of forgotten runs, and those whose time is over. How many; fewer
/// than `limit` when there are no more.
pub(crate) fn prune(tx: &mut Tx<'_>, limit: u64) -> Result<u64> {
    let mut pruned = 0;
    while pruned < limit {
        let left = tx.query_opt(
            "SELECT seq FROM memory WHERE kind = 3 ORDER BY seq LIMIT 1",
            &[],
            |row| row.get::<i64>(0),
        )?;
        let Some(left) = left else { break };
        let rest = limit - pruned;
        let gone = tx.execute(
            "DELETE FROM memory_entry WHERE memory = ?1 AND key IN (SELECT key FROM memory_entry WHERE memory = ?1 LIMIT ?2)",
            &[&left, &rest],
        )? as u64;
        pruned += gone;
        if gone < rest {
            tx.execute("DELETE FROM memory WHERE seq = ?1", &[&left])?;
        }
    }
    if pruned >= limit {
        return Ok(pruned);
    }
    let now = tx.now()?;
    let over = tx.query(
        "SELECT memory FROM memory_entry WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        &[&now, &(limit - pruned)],
        |row| row.get::<i64>(0),
    )?;
    // Always in the order of their numbers, so that two who prune do not wait in a circle.
    for memory in over.into_iter().collect::<BTreeSet<_>>() {
        let entries = tx.query_opt(
            "UPDATE memory SET entries = entries WHERE seq = ?1 RETURNING entries",
            &[&memory],
            |row| row.get::<u64>(0),
        )?;
        let gone = sweep(tx, memory, now)?;
        if let Some(entries) = entries {
            count(tx, memory, entries.saturating_sub(gone))?;
        }
        pruned += gone;
    }
    Ok(pruned)
}
