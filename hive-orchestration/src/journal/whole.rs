//! A task's journal as a whole, to be taken elsewhere.

use hive_core::clock::Timestamp;
use hive_core::db::{Row, Snapshot, Tx};
use hive_core::payload::Payload;
use hive_errors::Result;

/// An entry as the table holds it; what only matters to a run under way apart.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) kind: i64,
    /// As in the table: 0 pending, 2 done, 3 held.
    pub(crate) state: i64,
    pub(crate) value: Option<Payload>,
    pub(crate) type_name: Option<String>,
    pub(crate) version: Option<u32>,
    pub(crate) fingerprint: Option<i64>,
    pub(crate) note: Option<String>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) at: Timestamp,
}

/// Visits the entries of a task in the order of their recording, until the visitor has enough. What a person let run again is none.
pub(crate) fn lines(db: &Snapshot<'_>, task: i64, mut visit: impl FnMut(Line) -> Result<bool>) -> Result<()> {
    db.each(
        "SELECT key, kind, state, value, type, version, fingerprint, note, wake_at, at FROM journal
         WHERE task = ?1 ORDER BY at, length(key), key",
        &[&task],
        |row| {
            let line = line(row)?;
            if line.state == 4 { Ok(true) } else { visit(line) }
        },
    )
}

fn line(row: &Row<'_>) -> Result<Line> {
    let state = match row.get::<i64>(2)? {
        // Whether its run has seen it says nothing to others.
        1 => 2,
        state => state,
    };
    Ok(Line {
        key: row.get(0)?,
        kind: row.get(1)?,
        state,
        value: row.get(3)?,
        type_name: row.get(4)?,
        version: row.get(5)?,
        fingerprint: row.get(6)?,
        note: row.get(7)?,
        wake_at: row.get(8)?,
        at: row.get(9)?,
    })
}

/// Writes entries into the journal of a task that has none.
pub(crate) fn plant(tx: &mut Tx<'_>, task: i64, lines: &[Line]) -> Result<()> {
    for line in lines {
        tx.execute(
            "INSERT INTO journal (task, key, kind, state, value, type, version, fingerprint, note, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            &[
                &task,
                &line.key,
                &line.kind,
                &line.state,
                &line.value,
                &line.type_name,
                &line.version,
                &line.fingerprint,
                &line.note,
                &line.at,
            ],
        )?;
    }
    Ok(())
}
