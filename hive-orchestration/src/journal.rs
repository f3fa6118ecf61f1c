//! What a task remembers: its steps and waits, by key.
//!
//! A key is `kind:name#occurrence`, or `kind[scope]:name#occurrence` in a scope. It does not depend on the order in which
//! steps run, so `join!`, `select!` and edits of the code stay legal.

#[cfg(test)]
mod tests;
pub(crate) mod kept;
mod mark;
pub(crate) mod schema;
pub(crate) mod whole;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use hive_core::clock::Timestamp;
use hive_core::db::{self, Cell, Set, Snapshot, Tx};
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

pub(crate) use self::mark::{Mark, mark_all, note, record_marked};
use crate::lease::{Lease, guard, hold};
use crate::limits;

/// What made an entry. An entry that is asked for as another kind has drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Step,
    /// A step that must not run twice: its start is on record before it runs.
    Once,
    Transaction,
    Timer,
    Signal,
    Children,
    /// What a run says of its own record.
    Record,
    /// Room in a budget.
    Budget,
    Event,
    Stream,
    /// What a run reads from a memory, or writes there.
    Memory,
    /// What a run sends or publishes, and what it receives.
    Message,
    /// A plan, a decision on one, or a node of one that could not be called.
    Plan,
    /// A call that takes something back, should the task fail.
    Undo,
    /// Children of which the first output counts.
    Race,
    /// Children whose failures are values.
    Settled,
    /// A task that goes on by itself.
    Spawn,
}

impl Kind {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Step => 0,
            Self::Once => 1,
            Self::Transaction => 2,
            Self::Timer => 3,
            Self::Signal => 4,
            Self::Children => 5,
            Self::Record => 6,
            Self::Budget => 10,
            Self::Event => 8,
            Self::Stream => 9,
            Self::Memory => 11,
            Self::Message => 12,
            Self::Plan => 13,
            Self::Undo => 7,
            Self::Race => 14,
            Self::Settled => 15,
            Self::Spawn => 16,
        }
    }

    pub(crate) fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            0 => Self::Step,
            1 => Self::Once,
            2 => Self::Transaction,
            3 => Self::Timer,
            4 => Self::Signal,
            5 => Self::Children,
            6 => Self::Record,
            10 => Self::Budget,
            8 => Self::Event,
            9 => Self::Stream,
            11 => Self::Memory,
            12 => Self::Message,
            13 => Self::Plan,
            7 => Self::Undo,
            14 => Self::Race,
            15 => Self::Settled,
            16 => Self::Spawn,
            other => {
                return Err(Error::new(ErrorKind::Corrupt, "a journal entry has an unknown kind").with("kind", other));
            }
        })
    }

    /// The word in the key and in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Step | Self::Once => "step",
            Self::Transaction => "transaction",
            Self::Timer => "sleep",
            Self::Signal => "wait",
            Self::Children | Self::Race | Self::Settled => "call",
            Self::Record => "record",
            Self::Budget => "budget",
            Self::Event => "event",
            Self::Stream => "stream",
            Self::Memory => "memory",
            Self::Message => "message",
            Self::Plan => "plan",
            Self::Spawn => "spawn",
            Self::Undo => "undo",
        }
    }
}

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Begun, or waited for.
    Pending,
    /// Done or resolved; `value` holds the outcome.
    Done,
    /// A person must decide.
    Held,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) standing: Standing,
    pub(crate) value: Option<Payload>,
}

/// One run's view of its task's journal, and its count of how often each name was used.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: HashMap<String, Entry>,
    occurrences: HashMap<String, u32>,
    /// Occurrences that were given back, by what stands before the `#`.
    free: HashMap<String, BTreeSet<u32>>,
    /// How many calls were registered that take something back, and their bytes.
    undo: (usize, usize),
    /// What is known of entries besides, where there is something.
    marks: HashMap<String, Mark>,
    /// What a person let run again: whether something of another kind stands in its place is no question any more.
    released: HashSet<String>,
    /// Entries of another kind, in whose place the code has something else now.
    taken: HashSet<String>,
    /// What is to stand beside entries when they are recorded.
    notes: HashMap<String, String>,
}

impl Journal {
    pub(crate) fn load(db: &Snapshot<'_>, task: i64) -> Result<Self> {
        let mut journal = Self::default();
        db.each(
            "SELECT key, kind, state, value, version, fingerprint, CASE WHEN kind = 5 THEN type END FROM journal WHERE task = ?1",
            &[&task],
            |row| {
                let key: String = row.get(0)?;
                let standing = match row.get::<i64>(2)? {
                    0 => Standing::Pending,
                    3 => Standing::Held,
                    // What a person let run again is as if it had never been.
                    4 => {
                        journal.released.insert(key);
                        return Ok(true);
                    }
                    _ => Standing::Done,
                };
                journal.set_mark(&key, Mark::read(row, 4)?);
                let entry = Entry {
                    kind: Kind::from_code(row.get(1)?)?,
                    standing,
                    value: row.get(3)?,
                };
                journal.entries.insert(key, entry);
                Ok(true)
            },
        )?;
        let undo = journal.entries.values().filter(|entry| entry.kind == Kind::Undo);
        journal.undo = undo.fold((0, 0), |(count, bytes), entry| {
            (count + 1, bytes + entry.value.as_ref().map_or(0, Payload::size))
        });
        Ok(journal)
    }

    /// The key of the next use of this name in this run.
    pub(crate) fn key(&mut self, kind: Kind, scope: &str, name: &str) -> String {
        let base = format!("{}{scope}:{name}", kind.word());
        if let Some(count) = self.free.get_mut(&base).and_then(BTreeSet::pop_first) {
            return format!("{base}#{count}");
        }
        let count = self.occurrences.entry(base.clone()).or_default();
        *count += 1;
        format!("{base}#{count}")
    }

    /// Takes a key back that came to nothing: the next use of the name gets it again.
    pub(crate) fn give_back(&mut self, key: &str) {
        if let Some((base, count)) = key.rsplit_once('#')
            && let Ok(count) = count.parse()
        {
            self.free.entry(base.to_owned()).or_default().insert(count);
        }
    }

    /// The number of another call that takes something back; `None` when there are too many.
    pub(crate) fn count_undo(&mut self, size: usize) -> Option<u64> {
        let (count, bytes) = (self.undo.0 + 1, self.undo.1.saturating_add(size));
        if count > limits::UNDO_CALLS || bytes > limits::UNDO_BYTES {
            return None;
        }
        self.undo = (count, bytes);
        Some(count as u64)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn put(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    pub(crate) fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

/// An outcome to remember.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) lease: Lease,
    pub(crate) at: Timestamp,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) type_name: &'static str,
    pub(crate) value: Payload,
    /// What is remembered in the same commit.
    pub(crate) also: Option<Box<Record>>,
}

static RECORDS: Set = Set::insert(
    "journal",
    &[
        ("task", db::Kind::Int),
        ("key", db::Kind::Text),
        ("kind", db::Kind::Int),
        ("state", db::Kind::Int),
        ("value", db::Kind::Blob),
        ("type", db::Kind::Text),
        ("at", db::Kind::Int),
    ],
)
.on_conflict(
    "(task, key) DO UPDATE SET kind = excluded.kind, state = 2, value = excluded.value, type = excluded.type, note = NULL,
                               version = NULL, fingerprint = NULL, at = excluded.at",
);

/// How much of a transaction it takes: in rows, and in KiB.
pub(crate) fn weight(record: &Arc<Record>) -> (usize, usize) {
    (1, record.value.as_bytes().len() / 1024)
}

/// Remembers outcomes, each on its lease's strength.
pub(crate) fn record_all(tx: &mut Tx<'_>, records: &[impl Borrow<Record>]) -> Result<Vec<Result<()>>> {
    let leases: Vec<Lease> = records.iter().map(|record| record.borrow().lease).collect();
    let held = hold(tx, &leases)?;
    let (mut rows, mut answers) = (BTreeMap::new(), Vec::with_capacity(records.len()));
    for record in records.iter().map(Borrow::borrow) {
        if !held.contains(&record.lease) {
            answers.push(Err(record.lease.lost()));
            continue;
        }
        // One that arrives twice is written once: a set may not name a row twice.
        for record in std::iter::once(record).chain(record.also.as_deref()) {
            rows.insert((record.lease.task, record.key.as_str()), row(record));
        }
        answers.push(Ok(()));
    }
    let rows: Vec<_> = rows.into_values().collect();
    tx.insert_all(&RECORDS, &rows)?;
    Ok(answers)
}

/// Remembers one outcome, on the lease's strength.
pub(crate) fn record(tx: &mut Tx<'_>, record: &Record) -> Result<()> {
    guard(tx, record.lease)?;
    let rows: Vec<_> = std::iter::once(record).chain(record.also.as_deref()).map(row).collect();
    tx.insert_all(&RECORDS, &rows).map(drop)
}

fn row(record: &Record) -> [Cell; 7] {
    [
        Cell::Int(record.lease.task),
        Cell::of(&record.key),
        Cell::Int(record.kind.code()),
        Cell::Int(2),
        Cell::of(&record.value),
        Cell::of(record.type_name),
        Cell::of(&record.at),
    ]
}

/// Whether an outcome is remembered under this key.
pub(crate) fn is_done(db: &Snapshot<'_>, task: i64, key: &str) -> Result<bool> {
    let done = db.query_opt(
        "SELECT 1 FROM journal WHERE task = ?1 AND key = ?2 AND state = 2",
        &[&task, &key],
        |_| Ok(()),
    )?;
    Ok(done.is_some())
}

/// What is remembered under this key, if it is done and has left something.
pub(crate) fn outcome(db: &Snapshot<'_>, task: i64, key: &str) -> Result<Option<Payload>> {
    let entry = db.query_opt(
        "SELECT state, value FROM journal WHERE task = ?1 AND key = ?2",
        &[&task, &key],
        |row| Ok((row.get::<i64>(0)?, row.get::<Option<Payload>>(1)?)),
    )?;
    Ok(entry.and_then(|(state, value)| value.filter(|_| state == 2)))
}

/// Notes that a step which must not run twice is about to run.
pub(crate) fn begin_once(tx: &mut Tx<'_>, lease: Lease, now: Timestamp, key: &str) -> Result<()> {
    guard(tx, lease)?;
    tx.execute(
        "INSERT INTO journal (task, key, kind, state, at) VALUES (?1, ?2, ?3, 0, ?4)
         ON CONFLICT (task, key) DO UPDATE SET state = 0, value = NULL, note = NULL, at = ?4",
        &[&lease.task, &key, &Kind::Once.code(), &now],
    )?;
    Ok(())
}

/// Forgets the note of [`begin_once`]: the step came back with an error, so its outcome is known.
pub(crate) fn forget_once(tx: &mut Tx<'_>, lease: Lease, key: &str) -> Result<()> {
    guard(tx, lease)?;
    tx.execute(
        "DELETE FROM journal WHERE task = ?1 AND key = ?2 AND state = 0",
        &[&lease.task, &key],
    )?;
    Ok(())
}
