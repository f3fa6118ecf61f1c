//! A process says which agents it has and how busy they are.

mod keep;

use std::collections::BTreeMap;
use std::sync::Arc;

use hive_bus::catalog::{AgentBusy, AgentDraining, AgentOffline, AgentOnline, AgentRegistered};
use hive_bus::{Bus, NewEvent};
use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Dialect, Tx};
use hive_core::id::InstanceId;
use hive_errors::{Error, ErrorKind, Result};

pub(crate) use self::keep::{Loads, keep};
use super::Declaration;
use super::expire;
use super::meter::{Meters, Tally};
use super::schema::{CHANGED, ROWS};
use super::statistics;

/// How an agent stands in one process, as its row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Online,
    Busy,
    Draining,
    /// Its process gave no sign of life for too long. It may come back.
    Silent,
    /// Its process took it back. It does not come back.
    Left,
}

impl Standing {
    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Online => 0,
            Self::Busy => 1,
            Self::Draining => 2,
            Self::Silent => 3,
            Self::Left => 4,
        }
    }

    pub(super) fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            0 => Self::Online,
            1 => Self::Busy,
            2 => Self::Draining,
            3 => Self::Silent,
            4 => Self::Left,
            other => return Err(Error::new(ErrorKind::Corrupt, "an agent has an unknown status").with("status", other)),
        })
    }

    /// What follows from the load. `None` when the agent's process has taken it back, which is the end.
    fn next(before: Option<Self>, load: Load) -> Option<Self> {
        match before {
            None | Some(Self::Online | Self::Busy | Self::Silent) if load.running >= load.concurrency => {
                Some(Self::Busy)
            }
            None | Some(Self::Online | Self::Busy | Self::Silent) => Some(Self::Online),
            Some(Self::Draining) => Some(Self::Draining),
            Some(Self::Left) => None,
        }
    }
}

/// How busy an agent is in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many of its tasks run.
    pub(crate) running: u32,
    /// How many may run at once; 0 for an agent that is paused.
    pub(crate) concurrency: u32,
}

/// What this process says of its agents. The functions are one transaction's part each and may be run again.
#[derive(Debug)]
pub(crate) struct Presence {
    instance: InstanceId,
    bus: Bus,
    offers: Vec<Declaration>,
    meters: Arc<Meters>,
}

impl Presence {
    pub(crate) fn new(instance: InstanceId, bus: Bus, offers: Vec<Declaration>, meters: Arc<Meters>) -> Self {
        Self {
            instance,
            bus,
            offers,
            meters,
        }
    }

    /// The agents are here from this commit on. At start, after the epoch has begun.
    ///
    /// # Errors
    /// What [`Tx::execute`] returns.
    pub(crate) fn register(&self, tx: &mut Tx<'_>, load: impl Fn(&str) -> Load) -> Result<()> {
        if tx.dialect() == Dialect::Sqlite {
            // One process owns the file: whoever else stands there has died.
            expire::others(tx, &self.bus, self.instance)?;
        }
        for offer in &self.offers {
            self.declare(tx, offer)?;
        }
        self.write(tx, load)?;
        for offer in &self.offers {
            expire::trim(tx, offer.name(), &offer.version().to_string())?;
        }
        Ok(())
    }

    /// The agents are still here, this busy. One statement writes all of them, another has looked how they stood. One that
    /// was believed to be gone is back; one that was taken back stays away.
    ///
    /// # Errors
    /// What [`Tx::execute`] returns.
    pub(crate) fn heartbeat(&self, tx: &mut Tx<'_>, load: impl Fn(&str) -> Load) -> Result<()> {
        self.write(tx, load)
    }

    /// What a heartbeat would say now.
    fn words(&self, load: impl Fn(&str) -> Load) -> Vec<(Load, Tally)> {
        let word = |offer: &Declaration| (load(offer.name()), self.meters.tally(offer.name()));
        self.offers.iter().map(word).collect()
    }

    /// The agents take no new tasks.
    ///
    /// # Errors
    /// What [`Tx::execute`] returns.
    pub(crate) fn drain(&self, tx: &mut Tx<'_>) -> Result<()> {
        let drained = tx.query(
            "UPDATE agent SET status = 2 WHERE instance = ?1 AND status < 2 RETURNING name",
            &[&self.instance],
            |row| row.get::<String>(0),
        )?;
        for name in sorted(drained) {
            self.changed(tx, &name, Standing::Draining, Load::NONE)?;
        }
        Ok(())
    }

    /// The agents are gone, for this reason. They do not come back, also not by a heartbeat that was under way.
    ///
    /// # Errors
    /// What [`Tx::execute`] returns.
    pub(crate) fn leave(&self, tx: &mut Tx<'_>, reason: &str) -> Result<()> {
        let now = tx.now()?;
        let left = tx.query(
            "UPDATE agent SET status = 4, running = 0, heartbeat_at = ?2 WHERE instance = ?1 AND status < 4
             RETURNING name, version, status",
            &[&self.instance, &now],
            |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)),
        )?;
        for (name, version) in sorted(left) {
            offline(tx, &self.bus, self.instance, &name, reason)?;
            expire::trim(tx, &name, &version)?;
        }
        Ok(())
    }

    /// Writes down what a version of an agent takes and gives.
    fn declare(&self, tx: &mut Tx<'_>, offer: &Declaration) -> Result<()> {
        let (name, version) = (offer.name(), offer.version().to_string());
        let shape = offer.input().fingerprint() ^ offer.output().fingerprint().rotate_left(1);
        let known = tx.query_opt(
            "SELECT shape FROM agent_version WHERE name = ?1 AND version = ?2",
            &[&name, &version],
            |row| row.get::<u64>(0),
        )?;
        if known == Some(shape) {
            return Ok(());
        }
        if known.is_some() {
            tracing::warn!(
                agent = name,
                version,
                "an agent's input or output has changed and its version has not; what other processes know of it is replaced"
            );
        }
        tx.execute(
            "INSERT INTO agent_version (name, version, input, output, shape, declared_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (name, version) DO UPDATE SET input = excluded.input, output = excluded.output,
                 shape = excluded.shape, declared_at = excluded.declared_at",
            &[
                &name,
                &version,
                &offer.input().as_value().to_string(),
                &offer.output().as_value().to_string(),
                &shape,
                &tx.now()?,
            ],
        )?;
        Ok(())
    }

    fn write(&self, tx: &mut Tx<'_>, load: impl Fn(&str) -> Load) -> Result<()> {
        let now = tx.now()?;
        // Locked, so that who is about to take these agents for dead is seen, or waits.
        let sql = match tx.dialect() {
            Dialect::Postgres => "SELECT name, status FROM agent WHERE instance = ?1 ORDER BY name FOR NO KEY UPDATE",
            Dialect::Sqlite => "SELECT name, status FROM agent WHERE instance = ?1",
        };
        let before = tx.query(sql, &[&self.instance], |row| {
            Ok((row.get::<String>(0)?, Standing::from_code(row.get(1)?)?))
        })?;
        let before: BTreeMap<String, Standing> = before.into_iter().collect();
        let (mut rows, mut changes) = (Vec::with_capacity(self.offers.len()), Vec::new());
        for offer in &self.offers {
            let (was, load) = (before.get(offer.name()).copied(), load(offer.name()));
            let Some(is) = Standing::next(was, load) else { continue };
            rows.push(self.row(offer, is, load, now)?);
            if was != Some(is) {
                changes.push((offer, was, is, load));
            }
        }
        tx.insert_all(&ROWS, &rows)?;
        for (offer, was, is, load) in changes {
            if was.is_none() {
                self.publish(tx, NewEvent::of(&self.registered(offer))?)?;
            }
            // One that begins with its hands full is there all the same.
            if is == Standing::Busy && !matches!(was, Some(Standing::Online)) {
                self.changed(tx, offer.name(), Standing::Online, load)?;
            }
            self.changed(tx, offer.name(), is, load)?;
        }
        Ok(())
    }

    fn row(&self, offer: &Declaration, standing: Standing, load: Load, now: Timestamp) -> Result<Vec<Cell>> {
        let capabilities: Vec<&str> = offer.capabilities().iter().map(|one| one.as_str()).collect();
        Ok(vec![
            Cell::of(&self.instance),
            Cell::of(offer.name()),
            Cell::from(offer.version().to_string()),
            Cell::from(standing.code()),
            Cell::of(&load.running),
            Cell::of(&load.concurrency),
            Cell::of(&offer.weight()),
            Cell::from(json(&capabilities)?),
            Cell::from(json(offer.domains())?),
            Cell::from(json(offer.metadata())?),
            Cell::from(statistics::write(&self.meters.tally(offer.name()))?),
            Cell::of(&now),
            Cell::of(&now),
        ])
    }

    fn registered(&self, offer: &Declaration) -> AgentRegistered {
        AgentRegistered {
            agent: offer.name().to_owned(),
            instance: self.instance,
            capabilities: offer.capabilities().iter().map(ToString::to_string).collect(),
            version: Some(offer.version().to_string()),
        }
    }

    /// Tells how an agent stands now.
    fn changed(&self, tx: &mut Tx<'_>, agent: &str, standing: Standing, load: Load) -> Result<()> {
        let (agent, instance) = (agent.to_owned(), self.instance);
        let event = match standing {
            Standing::Online => NewEvent::of(&AgentOnline { agent, instance })?,
            Standing::Busy => NewEvent::of(&AgentBusy {
                agent,
                instance,
                running: load.running,
            })?,
            Standing::Draining => NewEvent::of(&AgentDraining { agent, instance })?,
            Standing::Silent | Standing::Left => NewEvent::of(&AgentOffline {
                agent,
                instance,
                reason: None,
            })?,
        };
        self.publish(tx, event)
    }

    fn publish(&self, tx: &mut Tx<'_>, event: NewEvent) -> Result<()> {
        self.bus.publish_in(tx, event)?;
        tx.notify(CHANGED);
        Ok(())
    }
}

impl Load {
    const NONE: Self = Self {
        running: 0,
        concurrency: 0,
    };
}

/// Tells that an agent is gone from a process.
pub(super) fn offline(tx: &mut Tx<'_>, bus: &Bus, instance: InstanceId, agent: &str, reason: &str) -> Result<()> {
    let event = AgentOffline {
        agent: agent.to_owned(),
        instance,
        reason: Some(reason.to_owned()),
    };
    bus.publish_in(tx, NewEvent::of(&event)?)?;
    tx.notify(CHANGED);
    Ok(())
}

/// Statements return rows in no order; events should come in one.
pub(super) fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "a declaration could not be written down").with_source(e))
}
