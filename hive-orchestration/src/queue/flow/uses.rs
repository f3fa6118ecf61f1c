//! What is used of the limits, opened by whoever claims.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Dialect, Kind, Set, Snapshot, Tx};
use hive_errors::{Error, ErrorKind, Result};
use serde::Serialize;

use super::{Counted, Limits};
use crate::flow::{Limit, Rate};
use crate::lease::listed;
use crate::limits;
use crate::queue::pick::Gate;

/// A use that is open: on PostgreSQL nobody else claims by it until the transaction ends.
#[derive(Debug)]
struct Use {
    /// The gate that lets so many runs in.
    runs: Option<usize>,
    rate: Option<Pace>,
}

/// A rate that is used: its row, where it stands, and its gate.
#[derive(Clone, Copy, Debug)]
struct Pace {
    id: i64,
    rate: Rate,
    point: i64,
    gate: usize,
}

/// The uses that a claim has opened, and all the gates that its tasks pass.
#[derive(Debug)]
pub(in crate::queue) struct Uses<'l> {
    limits: &'l Limits,
    now: Timestamp,
    known: HashMap<Counted, Option<usize>>,
    open: Vec<Use>,
    /// How many run, as far as that was asked.
    running: Option<HashMap<Counted, usize>>,
    pub(in crate::queue) gates: Vec<Gate>,
}

/// How many tasks may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) struct Room {
    pub(in crate::queue) runs: usize,
    /// Of those, how many that begin.
    pub(in crate::queue) beginnings: usize,
}

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

/// The row of a use, and where its rate stands.
type Row = (i64, i64);

impl<'l> Uses<'l> {
    pub(in crate::queue) fn new(limits: &'l Limits, now: Timestamp) -> Self {
        Self {
            limits,
            now,
            known: HashMap::new(),
            open: Vec::new(),
            running: None,
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
        let rows = match tx.dialect() {
            Dialect::Sqlite => find(tx, &wanted, self.limits, self.now)?,
            Dialect::Postgres => lock(tx, &wanted, self.now)?,
        };
        // By a statement of its own, each time: it sees what those have written who had the locks before. One writer has seen all.
        let is_seen = tx.dialect() == Dialect::Sqlite && self.running.is_some();
        if !is_seen && wanted.iter().any(|counted| self.concurrency(counted).is_some()) {
            self.running = Some(running(tx)?);
        }
        for counted in wanted {
            let runs = self.concurrency(&counted).map(|count| {
                let runs = self.running.as_ref().and_then(|running| running.get(&counted).copied());
                let runs = runs.unwrap_or_default();
                self.gates.push(Gate::room(count.saturating_sub(runs)));
                self.gates.len() - 1
            });
            let rate = self.limits.on(&counted).and_then(|limit| limit.rate);
            let rate = rate.zip(rows.get(&counted)).map(|(rate, (id, point))| {
                self.gates.push(Gate {
                    left: rate.left(*point, self.now),
                    beginnings: true,
                });
                Pace {
                    id: *id,
                    rate,
                    point: *point,
                    gate: self.gates.len() - 1,
                }
            });
            self.open.push(Use { runs, rate });
            self.known.insert(counted, Some(self.open.len() - 1));
        }
        Ok(())
    }

    fn concurrency(&self, counted: &Counted) -> Option<usize> {
        let count = self.limits.on(counted)?.concurrency?;
        Some(usize::try_from(count).unwrap_or(usize::MAX))
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
            .flat_map(|open| open.runs.into_iter().chain(open.rate.map(|pace| pace.gate)))
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

    /// Writes down that tasks have begun: for each of them the uses that count it.
    pub(in crate::queue) fn settle<'a>(
        &mut self,
        tx: &mut Tx<'_>,
        begun: impl IntoIterator<Item = &'a [usize]>,
    ) -> Result<()> {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for place in begun.into_iter().flatten() {
            *counts.entry(*place).or_default() += 1;
        }
        let mut points = Vec::with_capacity(counts.len());
        for (place, count) in counts {
            if let Some(pace) = self.open.get_mut(place).and_then(|open| open.rate.as_mut()) {
                pace.point = pace.rate.after(pace.point, self.now, count);
                points.push((pace.id, pace.point));
            }
        }
        write(tx, &points, self.now)
    }

    /// How long until the first of the rates that let nothing begin now lets something begin.
    pub(in crate::queue) fn next(&self) -> Option<Duration> {
        let closed = self.open.iter().filter_map(|open| {
            let Pace { rate, point, .. } = open.rate?;
            (rate.left(point, self.now) == 0).then(|| rate.next(point, self.now).since(self.now))
        });
        closed.min()
    }
}

/// Writes down where these uses stand.
fn write(tx: &mut Tx<'_>, points: &[(i64, i64)], now: Timestamp) -> Result<()> {
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

/// How many tasks run of what may be limited, by what counts them.
pub(super) fn running(db: &Snapshot<'_>) -> Result<HashMap<Counted, usize>> {
    let mut counts: HashMap<Counted, usize> = HashMap::new();
    db.each(
        "SELECT agent, tenant, flow_key, count(*) FROM task WHERE state = 2 GROUP BY agent, tenant, flow_key",
        &[],
        |row| {
            let (agent, tenant, key): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let count = usize::try_from(row.get::<u64>(3)?).unwrap_or(usize::MAX);
            let of_agent = Counted::of_agent(&agent).into_iter();
            for counted in of_agent.chain(Counted::of_lane(&agent, &tenant, &key)) {
                *counts.entry(counted).or_default() += count;
            }
            Ok(true)
        },
    )?;
    Ok(counts)
}

/// One after another, where looking costs little. There is one writer, so only rates have something to remember.
fn find(tx: &mut Tx<'_>, wanted: &BTreeSet<Counted>, limits: &Limits, now: Timestamp) -> Result<HashMap<Counted, Row>> {
    let mut rows = HashMap::with_capacity(wanted.len());
    let paced = |counted: &&Counted| limits.on(counted).is_some_and(|limit| limit.rate.is_some());
    for counted in wanted.iter().filter(paced) {
        let known = tx.query_opt(
            "SELECT id, point FROM flow_use WHERE kind = ?1 AND name = ?2 AND key = ?3",
            &[&counted.kind, &counted.name, &counted.key],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
        )?;
        let row = match known {
            Some(row) => row,
            None => {
                let id = tx.insert(
                    "INSERT INTO flow_use (kind, name, key, point, used_at) VALUES (?1, ?2, ?3, 0, ?4) RETURNING id",
                    &[&counted.kind, &counted.name, &counted.key, &now],
                )?;
                (id, 0)
            }
        };
        rows.insert(counted.clone(), row);
    }
    Ok(rows)
}

/// All at once, and once more where something is used for the first time.
fn lock(tx: &mut Tx<'_>, wanted: &BTreeSet<Counted>, now: Timestamp) -> Result<HashMap<Counted, Row>> {
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
    if locked.len() < wanted.len() {
        // Swept away in this moment: nobody has used it for long.
        return Err(Error::new(
            ErrorKind::Conflict,
            "the use of a limit was forgotten while it was looked up",
        )
        .retryable());
    }
    Ok(locked)
}

fn locked(tx: &Tx<'_>, named: &str) -> Result<HashMap<Counted, Row>> {
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
        if point <= now.as_micros().saturating_mul(1_000) {
            tx.execute("DELETE FROM flow_use WHERE id = ?1", &[&id])?;
        } else {
            tx.execute("UPDATE flow_use SET used_at = ?2 WHERE id = ?1", &[&id, &now])?;
        }
    }
    Ok(())
}
