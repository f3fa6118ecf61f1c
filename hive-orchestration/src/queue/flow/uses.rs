//! What is used of the limits, opened by whoever claims.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Dialect, Kind, Set, Tx};
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;

use super::{Counted, Limits};
use crate::flow::{Limit, Rate};
use crate::lease::listed;
use crate::limits;
use crate::queue::pick::Gate;

/// A use that is open: until the transaction ends nobody else claims by it.
#[derive(Debug)]
struct Use {
    id: i64,
    /// Whether runs are counted, and the gate that lets so many in.
    runs: Option<usize>,
    /// The rate, where it stands, and its gate.
    rate: Option<(Rate, i64, usize)>,
}

/// The uses that a claim has opened, and all the gates that its tasks pass.
#[derive(Debug)]
pub(in crate::queue) struct Uses<'l> {
    limits: &'l Limits,
    now: Timestamp,
    known: HashMap<Counted, Option<usize>>,
    open: Vec<Use>,
    pub(in crate::queue) gates: Vec<Gate>,
}

/// A run that has just begun, and the uses that count it.
pub(in crate::queue) struct Begun<'a> {
    pub(in crate::queue) task: i64,
    pub(in crate::queue) attempt: u32,
    pub(in crate::queue) resumed: bool,
    pub(in crate::queue) uses: &'a [usize],
}

/// How many tasks may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) struct Room {
    pub(in crate::queue) runs: usize,
    /// Of those, how many that begin.
    pub(in crate::queue) beginnings: usize,
}

static RUNS: Set = Set::insert(
    "flow_run",
    &[("used", Kind::Int), ("task", Kind::Int), ("attempt", Kind::Int)],
)
// A task that runs for another time, whose last run nobody has cleared away.
.on_conflict("(used, task) DO UPDATE SET attempt = excluded.attempt");

static NEW: Set = Set::insert(
    "flow_use",
    &[
        ("kind", Kind::Int),
        ("name", Kind::Text),
        ("key", Kind::Text),
        ("point", Kind::Int),
        ("used_at", Kind::Int),
    ],
)
.on_conflict("(kind, name, key) DO NOTHING");

/// As a row of a JSON array.
#[derive(Serialize)]
struct Named<'a> {
    kind: i64,
    name: &'a str,
    key: &'a str,
}

/// What was found of a use.
struct Found {
    id: i64,
    point: i64,
    runs: usize,
}

impl<'l> Uses<'l> {
    pub(in crate::queue) fn new(limits: &'l Limits, now: Timestamp) -> Self {
        Self {
            limits,
            now,
            known: HashMap::new(),
            open: Vec::new(),
            gates: Vec::new(),
        }
    }

    /// Opens those of these that are limited, each once.
    pub(in crate::queue) fn open(&mut self, tx: &mut Tx<'_>, counted: impl IntoIterator<Item = Counted>) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for counted in counted {
            if self.known.contains_key(&counted) {
                continue;
            }
            let holds = |limit: &&Limit| limit.concurrency.is_some() || limit.rate.is_some();
            if self.limits.on(&counted).filter(holds).is_some() {
                wanted.insert(counted);
            } else {
                self.known.insert(counted, None);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        // In one order everywhere, so that processes do not wait for each other in a circle.
        let found = match tx.dialect() {
            Dialect::Sqlite => find(tx, &wanted, self.now)?,
            Dialect::Postgres => lock(tx, &wanted, self.now)?,
        };
        for (counted, found) in wanted.into_iter().zip(found) {
            let Some(limit) = self.limits.on(&counted) else {
                continue;
            };
            let runs = limit.concurrency.map(|count| {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                self.gates.push(Gate::room(count.saturating_sub(found.runs)));
                self.gates.len() - 1
            });
            let rate = limit.rate.map(|rate| {
                self.gates.push(Gate {
                    left: rate.left(found.point, self.now),
                    beginnings: true,
                });
                (rate, found.point, self.gates.len() - 1)
            });
            self.open.push(Use {
                id: found.id,
                runs,
                rate,
            });
            self.known.insert(counted, Some(self.open.len() - 1));
        }
        Ok(())
    }

    /// Those of these that are open.
    pub(in crate::queue) fn among(&self, counted: impl IntoIterator<Item = Counted>) -> Vec<usize> {
        let places = counted
            .into_iter()
            .filter_map(|counted| self.known.get(&counted).copied());
        places.flatten().collect()
    }

    /// The gates of these uses.
    pub(in crate::queue) fn gates_of(&self, uses: &[usize]) -> impl Iterator<Item = usize> {
        uses.iter()
            .filter_map(|place| self.open.get(*place))
            .flat_map(|open| open.runs.into_iter().chain(open.rate.map(|(_, _, gate)| gate)))
    }

    /// How many tasks pass all the gates of these uses.
    pub(in crate::queue) fn room(&self, uses: &[usize]) -> Room {
        let mut room = Room {
            runs: usize::MAX,
            beginnings: usize::MAX,
        };
        for gate in self.gates_of(uses).filter_map(|place| self.gates.get(place)) {
            if !gate.beginnings {
                room.runs = room.runs.min(gate.left);
            }
            room.beginnings = room.beginnings.min(gate.left);
        }
        room
    }

    /// Counts the runs that have begun.
    pub(in crate::queue) fn settle(&mut self, tx: &mut Tx<'_>, begun: &[Begun<'_>]) -> Result<()> {
        let mut runs = Vec::new();
        let mut beginnings: HashMap<usize, usize> = HashMap::new();
        for Begun {
            task,
            attempt,
            resumed,
            uses,
        } in begun
        {
            for place in *uses {
                let Some(open) = self.open.get(*place) else { continue };
                if open.runs.is_some() {
                    runs.push([Cell::Int(open.id), Cell::Int(*task), Cell::Int(i64::from(*attempt))]);
                }
                *beginnings.entry(*place).or_default() += usize::from(!resumed);
            }
        }
        tx.insert_all(&RUNS, &runs)?;
        let mut points = Vec::with_capacity(beginnings.len());
        for (place, count) in beginnings {
            let Some(open) = self.open.get_mut(place) else { continue };
            let point = match &mut open.rate {
                Some((rate, point, _)) => {
                    *point = rate.after(*point, self.now, count);
                    *point
                }
                None => 0,
            };
            points.push((open.id, point));
        }
        used(tx, &points, self.now)
    }

    /// How long until the first of the rates that let nothing begin now lets something begin.
    pub(in crate::queue) fn next(&self) -> Option<Duration> {
        let closed = self.open.iter().filter_map(|open| {
            let (rate, point, _) = open.rate.as_ref()?;
            (rate.left(*point, self.now) == 0).then(|| rate.next(*point, self.now).since(self.now))
        });
        closed.min()
    }
}

/// Writes down where these uses stand.
fn used(tx: &mut Tx<'_>, points: &[(i64, i64)], now: Timestamp) -> Result<()> {
    if points.is_empty() {
        return Ok(());
    }
    match tx.dialect() {
        Dialect::Sqlite => {
            for (id, point) in points {
                tx.execute(
                    "UPDATE flow_use SET point = ?2, used_at = ?3 WHERE id = ?1",
                    &[id, point, &now],
                )?;
            }
        }
        Dialect::Postgres => {
            let ids = listed(points.iter().map(|(id, _)| *id));
            let points = listed(points.iter().map(|(_, point)| *point));
            tx.execute(
                "UPDATE flow_use SET point = given.point, used_at = ?3
                 FROM unnest(CAST(string_to_array(?1, ',') AS BIGINT[]), CAST(string_to_array(?2, ',') AS BIGINT[]))
                     AS given (id, point)
                 WHERE flow_use.id = given.id",
                &[&ids, &points, &now],
            )?;
        }
    }
    Ok(())
}

/// One after another, where looking costs little and there is one writer.
fn find(tx: &mut Tx<'_>, wanted: &BTreeSet<Counted>, now: Timestamp) -> Result<Vec<Found>> {
    let mut all = Vec::with_capacity(wanted.len());
    for counted in wanted {
        let known = tx.query_opt(
            "SELECT id, point FROM flow_use WHERE kind = ?1 AND name = ?2 AND key = ?3",
            &[&counted.kind, &counted.name, &counted.key],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
        )?;
        let Some((id, point)) = known else {
            let id = tx.insert(
                "INSERT INTO flow_use (kind, name, key, point, used_at) VALUES (?1, ?2, ?3, 0, ?4) RETURNING id",
                &[&counted.kind, &counted.name, &counted.key, &now],
            )?;
            all.push(Found { id, point: 0, runs: 0 });
            continue;
        };
        tx.execute(
            "DELETE FROM flow_run WHERE used = ?1 AND NOT EXISTS (
                 SELECT 1 FROM task WHERE task.seq = flow_run.task AND task.state = 2 AND task.attempt = flow_run.attempt)",
            &[&id],
        )?;
        let runs = tx.query_one("SELECT count(*) FROM flow_run WHERE used = ?1", &[&id], |row| {
            row.get::<u64>(0)
        })?;
        let runs = usize::try_from(runs).unwrap_or(usize::MAX);
        all.push(Found { id, point, runs });
    }
    Ok(all)
}

/// All at once: two journeys, and one more where something is used for the first time.
fn lock(tx: &mut Tx<'_>, wanted: &BTreeSet<Counted>, now: Timestamp) -> Result<Vec<Found>> {
    let named: Vec<Named<'_>> = wanted
        .iter()
        .map(|Counted { kind, name, key }| Named { kind: *kind, name, key })
        .collect();
    let named = serde_json::to_string(&named)
        .map_err(|e| Error::new(ErrorKind::Internal, "the names of limits have no JSON form").with_source(e))?;
    let mut locked = locked(tx, &named)?;
    if locked.len() < wanted.len() {
        let rows: Vec<[Cell; 5]> = wanted
            .iter()
            .filter(|counted| !locked.contains_key(counted))
            .map(|counted| {
                [
                    Cell::Int(counted.kind),
                    Cell::of(&counted.name),
                    Cell::of(&counted.key),
                    Cell::Int(0),
                    Cell::of(&now),
                ]
            })
            .collect();
        tx.insert_all(&NEW, &rows)?;
        locked = self::locked(tx, &named)?;
    }
    let ids = listed(locked.values().map(|(id, _)| *id));
    // By a statement of its own: it sees what those have written who had the locks before.
    let runs: HashMap<i64, u64> = tx
        .query(
            "WITH ended AS (
                 DELETE FROM flow_run WHERE used = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) AND NOT EXISTS (
                     SELECT 1 FROM task WHERE task.seq = flow_run.task AND task.state + 0 = 2 AND task.attempt = flow_run.attempt))
             SELECT flow_run.used, count(*) FROM flow_run
             JOIN task ON task.seq = flow_run.task AND task.state + 0 = 2 AND task.attempt = flow_run.attempt
             WHERE flow_run.used = ANY (CAST(string_to_array(?1, ',') AS BIGINT[])) GROUP BY flow_run.used",
            &[&ids],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .into_iter()
        .collect();
    let found = wanted.iter().map(|counted| {
        // Swept away in this moment: nobody has used it for long, and this claim begins anew at its next look.
        let (id, point) = locked.get(counted).copied().ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "the use of a limit was forgotten while it was looked up",
            )
            .retryable()
        })?;
        let runs = runs.get(&id).copied().unwrap_or_default();
        Ok(Found {
            id,
            point,
            runs: usize::try_from(runs).unwrap_or(usize::MAX),
        })
    });
    found.collect()
}

fn locked(tx: &Tx<'_>, named: &str) -> Result<HashMap<Counted, (i64, i64)>> {
    let rows = tx.query(
        "SELECT used.kind, used.name, used.key, used.id, used.point
         FROM json_to_recordset(CAST(?1 AS JSON)) AS given (kind BIGINT, name TEXT, key TEXT)
         JOIN flow_use AS used ON used.kind = given.kind AND used.name = given.name AND used.key = given.key
         ORDER BY used.id FOR NO KEY UPDATE OF used",
        &[&named],
        |row| {
            let counted = Counted {
                kind: row.get(0)?,
                name: row.get(1)?,
                key: row.get(2)?,
            };
            Ok((counted, (row.get(3)?, row.get(4)?)))
        },
    )?;
    Ok(rows.into_iter().collect())
}

/// Counts the runs that are under way for the limits that are set now: they began without them.
pub(super) fn count_running(tx: &mut Tx<'_>) -> Result<()> {
    let mut limits = Limits::default();
    let rules = tx.query(
        "SELECT kind, name, concurrency, rate_count, rate_period, rate_burst, weight FROM flow_limit",
        &[],
        super::read,
    )?;
    for (kind, name, limit) in rules {
        limits.set.insert((kind, name), limit);
    }
    if !limits.hold_runs() {
        return Ok(());
    }
    let now = tx.now()?;
    let running = tx.query(
        "SELECT seq, attempt, agent, tenant, flow_key FROM task WHERE state = 2",
        &[],
        |row| {
            Ok((
                row.get::<i64>(0)?,
                row.get::<u32>(1)?,
                row.get::<String>(2)?,
                row.get::<String>(3)?,
                row.get::<String>(4)?,
            ))
        },
    )?;
    let mut uses = Uses::new(&limits, now);
    let counted = |agent: &str, tenant: &str, key: &str| {
        let of_agent = Counted::of_agent(agent).into_iter();
        of_agent.chain(Counted::of_lane(agent, tenant, key)).collect::<Vec<_>>()
    };
    let all = running
        .iter()
        .flat_map(|(_, _, agent, tenant, key)| counted(agent, tenant, key));
    uses.open(tx, all)?;
    let mut rows = Vec::new();
    for (task, attempt, agent, tenant, key) in &running {
        for place in uses.among(counted(agent, tenant, key)) {
            if let Some(Use { id, runs: Some(_), .. }) = uses.open.get(place) {
                rows.push([Cell::Int(*id), Cell::Int(*task), Cell::Int(i64::from(*attempt))]);
            }
        }
    }
    tx.insert_all(&RUNS, &rows)?;
    Ok(())
}

/// Forgets uses that nobody has used for a while: that is all the same as if they never had been.
pub(in crate::queue) fn sweep(tx: &mut Tx<'_>, now: Timestamp) -> Result<()> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => "SELECT id, point FROM flow_use WHERE used_at < ?1 ORDER BY used_at LIMIT ?2",
        Dialect::Postgres => {
            "SELECT id, point FROM flow_use WHERE used_at < ?1 ORDER BY used_at LIMIT ?2 FOR UPDATE SKIP LOCKED"
        }
    };
    let before = now - limits::FLOW_IDLE;
    let old = tx.query(sql, &[&before, &limits::FLOW_SWEEP], |row| {
        Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))
    })?;
    for (id, point) in old {
        tx.execute(
            "DELETE FROM flow_run WHERE used = ?1 AND NOT EXISTS (
                 SELECT 1 FROM task WHERE task.seq = flow_run.task AND task.state = 2 AND task.attempt = flow_run.attempt)",
            &[&id],
        )?;
        let runs = tx.query_opt("SELECT 1 FROM flow_run WHERE used = ?1 LIMIT 1", &[&id], |_| Ok(()))?;
        if runs.is_none() && point <= now.as_micros().saturating_mul(1_000) {
            tx.execute("DELETE FROM flow_use WHERE id = ?1", &[&id])?;
        } else {
            tx.execute("UPDATE flow_use SET used_at = ?2 WHERE id = ?1", &[&id, &now])?;
        }
    }
    Ok(())
}
