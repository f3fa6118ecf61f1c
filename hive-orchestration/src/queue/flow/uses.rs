//! What is used of the limits, opened by whoever claims.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Dialect, Kind, Row, Set, Snapshot, Tx};
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
    id: i64,
    runs: Option<Runs>,
    /// The rate and its gate.
    rate: Option<(Rate, usize)>,
    point: i64,
}

/// Runs that are limited.
#[derive(Clone, Copy, Debug)]
struct Runs {
    /// No more than so many run.
    most: usize,
    gate: usize,
}

/// The uses that a claim has opened, and all the gates that its tasks pass.
#[derive(Debug)]
pub(in crate::queue) struct Uses<'l> {
    limits: &'l Limits,
    now: Timestamp,
    /// How many tasks are claimed at most.
    total: usize,
    known: HashMap<Counted, Option<usize>>,
    open: Vec<Use>,
    pub(in crate::queue) gates: Vec<Gate>,
}

/// A task that has been claimed.
pub(in crate::queue) struct Begun<'a> {
    pub(in crate::queue) resumed: bool,
    /// What counts it.
    pub(in crate::queue) uses: &'a [usize],
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
        ("most", Kind::Int),
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

/// What is remembered of a use.
#[derive(Clone, Copy)]
struct Found {
    id: i64,
    point: i64,
    /// No more than so many run, as far as that is known.
    most: Option<usize>,
}

impl Found {
    /// Reads `id, point, most` from the column `first` on.
    fn read(row: &Row<'_>, first: usize) -> Result<Self> {
        Ok(Self {
            id: row.get(first)?,
            point: row.get(first + 1)?,
            most: usize::try_from(row.get::<i64>(first + 2)?).ok(),
        })
    }
}

impl<'l> Uses<'l> {
    pub(in crate::queue) fn new(limits: &'l Limits, now: Timestamp, total: usize) -> Self {
        Self {
            limits,
            now,
            total,
            known: HashMap::new(),
            open: Vec::new(),
            gates: Vec::new(),
        }
    }

    pub(in crate::queue) fn limits(&self) -> &'l Limits {
        self.limits
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
        // Only where it may matter: what was counted before, and what has begun since, are no fewer than what runs.
        let is_close = |counted: &Counted| {
            let most = found.get(counted).and_then(|found| found.most);
            let count = self.concurrency(counted);
            count.is_some_and(|count| most.is_none_or(|most| count < most.saturating_add(self.total)))
        };
        // By a statement of its own: it sees what those have written who had the locks before.
        let running = if wanted.iter().any(is_close) {
            Some(running(tx)?)
        } else {
            None
        };
        for counted in wanted {
            let Some(Found { id, point, most }) = found.get(&counted).copied() else {
                continue;
            };
            let exact = running
                .as_ref()
                .map(|running| running.get(&counted).copied().unwrap_or_default());
            let runs = self.concurrency(&counted).map(|count| {
                let most = exact.or(most).unwrap_or(usize::MAX);
                self.gates.push(Gate::room(count.saturating_sub(most)));
                Runs {
                    most,
                    gate: self.gates.len() - 1,
                }
            });
            let rate = self.limits.on(&counted).and_then(|limit| limit.rate).map(|rate| {
                self.gates.push(Gate {
                    left: rate.left(point, self.now),
                    beginnings: true,
                });
                (rate, self.gates.len() - 1)
            });
            self.open.push(Use { id, runs, rate, point });
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
        uses.iter().filter_map(|place| self.open.get(*place)).flat_map(|open| {
            let runs = open.runs.map(|runs| runs.gate);
            runs.into_iter().chain(open.rate.map(|(_, gate)| gate))
        })
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

    /// Writes down that tasks have begun, or go on.
    pub(in crate::queue) fn settle<'a>(
        &mut self,
        tx: &mut Tx<'_>,
        begun: impl IntoIterator<Item = Begun<'a>>,
    ) -> Result<()> {
        // How many in all, and how many that begin.
        let mut counts: HashMap<usize, (usize, usize)> = HashMap::new();
        for Begun { resumed, uses } in begun {
            for place in uses {
                let (all, begin) = counts.entry(*place).or_default();
                *all += 1;
                *begin += usize::from(!resumed);
            }
        }
        let mut stands = Vec::with_capacity(counts.len());
        for (place, (all, begin)) in counts {
            let Some(open) = self.open.get_mut(place) else { continue };
            if let Some((rate, _)) = open.rate {
                open.point = rate.after(open.point, self.now, begin);
            }
            let most = match &mut open.runs {
                Some(runs) => {
                    runs.most = runs.most.saturating_add(all);
                    i64::try_from(runs.most).unwrap_or(i64::MAX)
                }
                None => UNKNOWN,
            };
            stands.push((open.id, open.point, most));
        }
        write(tx, &stands, self.now)
    }

    /// How long until the first of the rates that let nothing begin now lets something begin.
    pub(in crate::queue) fn next(&self) -> Option<Duration> {
        let closed = self.open.iter().filter_map(|open| {
            let (rate, _) = open.rate?;
            (rate.left(open.point, self.now) == 0).then(|| rate.next(open.point, self.now).since(self.now))
        });
        closed.min()
    }
}

/// How many run nobody has counted.
const UNKNOWN: i64 = -1;

/// Writes down where these uses stand: their rates, and how many run at most.
fn write(tx: &mut Tx<'_>, stands: &[(i64, i64, i64)], now: Timestamp) -> Result<()> {
    if stands.is_empty() {
        return Ok(());
    }
    match tx.dialect() {
        Dialect::Sqlite => {
            for (id, point, most) in stands {
                tx.execute(
                    "UPDATE flow_use SET point = ?2, most = ?3, used_at = ?4 WHERE id = ?1",
                    &[id, point, most, &now],
                )?;
            }
        }
        Dialect::Postgres => {
            let ids = listed(stands.iter().map(|(id, ..)| *id));
            let points = listed(stands.iter().map(|(_, point, _)| *point));
            let most = listed(stands.iter().map(|(.., most)| *most));
            tx.execute(
                "UPDATE flow_use SET point = given.point, most = given.most, used_at = ?4
                 FROM unnest(CAST(string_to_array(?1, ',') AS BIGINT[]), CAST(string_to_array(?2, ',') AS BIGINT[]),
                             CAST(string_to_array(?3, ',') AS BIGINT[])) AS given (id, point, most)
                 WHERE flow_use.id = given.id",
                &[&ids, &points, &most, &now],
            )?;
        }
    }
    Ok(())
}

/// Limits change: runs may have begun that nobody counted.
pub(super) fn forget_counts(tx: &mut Tx<'_>) -> Result<()> {
    tx.execute("UPDATE flow_use SET most = ?1 WHERE most >= 0", &[&UNKNOWN])
        .map(drop)
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

/// One after another, where looking costs little and there is one writer.
fn find(tx: &mut Tx<'_>, wanted: &BTreeSet<Counted>, now: Timestamp) -> Result<HashMap<Counted, Found>> {
    let mut all = HashMap::with_capacity(wanted.len());
    for counted in wanted {
        let known = tx.query_opt(
            "SELECT id, point, most FROM flow_use WHERE kind = ?1 AND name = ?2 AND key = ?3",
            &[&counted.kind, &counted.name, &counted.key],
            |row| Found::read(row, 0),
        )?;
        let found = match known {
            Some(found) => found,
            None => Found {
                id: tx.insert(
                    "INSERT INTO flow_use (kind, name, key, point, most, used_at) VALUES (?1, ?2, ?3, 0, ?4, ?5) RETURNING id",
                    &[&counted.kind, &counted.name, &counted.key, &UNKNOWN, &now],
                )?,
                point: 0,
                most: None,
            },
        };
        all.insert(counted.clone(), found);
    }
    Ok(all)
}

/// All at once, and once more where something is used for the first time.
fn lock(tx: &mut Tx<'_>, wanted: &BTreeSet<Counted>, now: Timestamp) -> Result<HashMap<Counted, Found>> {
    let named: Vec<Named<'_>> = wanted
        .iter()
        .map(|Counted { kind, name, key }| Named { kind: *kind, name, key })
        .collect();
    let named = serde_json::to_string(&named)
        .map_err(|e| Error::new(ErrorKind::Internal, "the names of limits have no JSON form").with_source(e))?;
    let mut locked = locked(tx, &named)?;
    if locked.len() < wanted.len() {
        let rows: Vec<[Cell; 6]> = wanted
            .iter()
            .filter(|counted| !locked.contains_key(counted))
            .map(|counted| {
                [
                    Cell::Int(counted.kind),
                    Cell::of(&counted.name),
                    Cell::of(&counted.key),
                    Cell::Int(0),
                    Cell::Int(UNKNOWN),
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

fn locked(tx: &Tx<'_>, named: &str) -> Result<HashMap<Counted, Found>> {
    let rows = tx.query(
        "SELECT used.kind, used.name, used.key, used.id, used.point, used.most
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
            Ok((counted, Found::read(row, 3)?))
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
