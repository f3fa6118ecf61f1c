//! What is known of an entry besides its outcome, by which a later release of the code can tell whether it is still what is wanted.

use hive_core::db::{Row, Tx};
use hive_errors::Result;

use super::{Entry, Journal, Kind, Record, Standing, record};
use crate::lease::Lease;

/// By what an entry is told from one of another release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The step's version; 0 unless the code gives one.
    pub(crate) version: u32,
    /// How many children of whom.
    pub(crate) shape: Option<String>,
    /// Of the children's inputs.
    pub(crate) fingerprint: Option<u64>,
}

impl Mark {
    /// Reads version, fingerprint and shape, from this column on.
    pub(super) fn read(row: &Row<'_>, first: usize) -> Result<Self> {
        Ok(Self {
            version: row.get::<Option<u32>>(first)?.unwrap_or(0),
            fingerprint: row.get::<Option<i64>>(first + 1)?.map(i64::cast_unsigned),
            shape: row.get(first + 2)?,
        })
    }

    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Journal {
    /// A journal that was kept elsewhere.
    pub(crate) fn of(entries: impl IntoIterator<Item = (String, Entry, Mark)>) -> Self {
        let mut journal = Self::default();
        for (key, entry, mark) in entries {
            journal.set_mark(&key, mark);
            journal.put(key, entry);
        }
        journal
    }

    pub(crate) fn mark(&self, key: &str) -> Mark {
        self.marks.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn set_mark(&mut self, key: &str, mark: Mark) {
        if mark.is_plain() {
            self.marks.remove(key);
        } else {
            self.marks.insert(key.to_owned(), mark);
        }
    }

    /// What is to stand beside the entry when it is recorded.
    pub(crate) fn annotate(&mut self, key: &str, note: String) {
        self.notes.insert(key.to_owned(), note);
    }

    pub(crate) fn take_note(&mut self, key: &str) -> Option<String> {
        self.notes.remove(key)
    }

    /// A person let it run again.
    pub(crate) fn release(&mut self, key: &str) {
        self.forget(key);
        self.marks.remove(key);
        self.released.insert(key.to_owned());
    }

    /// An entry of another kind counts as asked for: the code has something else in its place.
    pub(crate) fn take(&mut self, key: &str) {
        self.taken.insert(key.to_owned());
    }

    /// Whether this run has asked for the entry.
    pub(crate) fn is_asked(&self, key: &str) -> bool {
        let Some((base, count)) = key.rsplit_once('#') else {
            return false;
        };
        let asked = self.occurrences.get(base).copied().unwrap_or(0);
        self.taken.contains(key) || count.parse().is_ok_and(|count: u32| count <= asked)
    }

    /// An entry of another kind of work that stands where this one would, and that nobody has asked for in this run: the step that a
    /// transaction has replaced, for example. Code that has both asks for the first before it comes to the second.
    pub(crate) fn elsewhere(&self, key: &str, kind: Kind) -> Option<(String, Entry)> {
        let work = [Kind::Step, Kind::Transaction, Kind::Children];
        if self.released.contains(key) || !work.iter().any(|other| other.word() == kind.word()) {
            return None;
        }
        let rest = key.strip_prefix(kind.word())?;
        let others = work.into_iter().filter(|other| other.word() != kind.word());
        others.into_iter().find_map(|other| {
            let place = format!("{}{rest}", other.word());
            let entry = self.get(&place)?;
            let stands = entry.standing == Standing::Done || entry.kind == Kind::Children;
            (stands && !self.is_asked(&place)).then(|| (place, entry.clone()))
        })
    }
}

/// Remembers one outcome with its version and a note, on the lease's strength.
pub(crate) fn record_marked(tx: &mut Tx<'_>, outcome: &Record, version: u32, words: Option<&str>) -> Result<()> {
    record(tx, outcome)?;
    note(tx, outcome, version, words)
}

/// Writes beside an outcome which version it is of, and a note. The caller holds the lease.
pub(crate) fn note(tx: &mut Tx<'_>, outcome: &Record, version: u32, words: Option<&str>) -> Result<()> {
    if version == 0 && words.is_none() {
        return Ok(());
    }
    tx.execute(
        "UPDATE journal SET version = ?3, note = ?4 WHERE task = ?1 AND key = ?2",
        &[&outcome.lease.task, &outcome.key, &version, &words],
    )?;
    Ok(())
}

/// Notes by what an entry is told from another. The caller holds the lease.
pub(crate) fn mark_all(tx: &mut Tx<'_>, lease: Lease, key: &str, mark: &Mark) -> Result<()> {
    let version = (mark.version > 0).then_some(mark.version);
    let fingerprint = mark.fingerprint.map(u64::cast_signed);
    tx.execute(
        "UPDATE journal SET version = ?3, fingerprint = ?4, type = ?5 WHERE task = ?1 AND key = ?2",
        &[&lease.task, &key, &version, &fingerprint, &mark.shape],
    )?;
    Ok(())
}
