//! What steps hand out before they are done, kept in pieces.

use hive_core::db::{Snapshot, Tx};
use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};

use super::{PIECES, Queue};
use crate::journal::{self, Record};
use crate::lease::{Lease, guard};
use crate::limits;
use crate::task::TaskState;

/// How far a step has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How often it began; 0 when it has kept nothing yet.
    pub(crate) life: u64,
    /// Its pieces, and their bytes.
    pub(crate) pieces: u64,
    pub(crate) bytes: u64,
}

/// Pieces in a row, and how far the step has come with them. It says all of it, so that it may be written twice.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) lease: Lease,
    pub(crate) id: TaskId,
    pub(crate) key: String,
    pub(crate) extent: Extent,
    /// What earlier lives have left goes.
    pub(crate) anew: bool,
    /// How many pieces these are, and an array of them.
    pub(crate) pieces: Option<(u64, Payload)>,
}

/// How far the step has come, as far as that is on record.
pub(crate) fn extent(db: &Snapshot<'_>, task: i64, key: &str) -> Result<Extent> {
    let known = db.query_opt(
        "SELECT life, pieces, bytes FROM stream WHERE task = ?1 AND key = ?2",
        &[&task, &key],
        |row| {
            Ok(Extent {
                life: row.get(0)?,
                pieces: row.get(1)?,
                bytes: row.get(2)?,
            })
        },
    )?;
    Ok(known.unwrap_or_default())
}

/// Keeps pieces, on the lease's strength.
pub(crate) fn keep(tx: &mut Tx<'_>, queue: &Queue, batch: &Batch) -> Result<()> {
    guard(tx, batch.lease)?;
    let Batch {
        lease: Lease { task, .. },
        key,
        extent,
        ..
    } = batch;
    if batch.anew {
        tx.execute(
            "DELETE FROM stream_piece WHERE task = ?1 AND key = ?2 AND life < ?3",
            &[task, key, &extent.life],
        )?;
    }
    tx.execute(
        "INSERT INTO stream (task, key, life, pieces, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (task, key) DO UPDATE SET life = ?3, pieces = ?4, bytes = ?5",
        &[task, key, &extent.life, &extent.pieces, &extent.bytes],
    )?;
    if let Some((count, value)) = &batch.pieces {
        let first = extent.pieces.saturating_sub(*count);
        tx.execute(
            "INSERT INTO stream_piece (task, key, life, first, count, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (task, key, life, first) DO UPDATE SET count = ?5, value = ?6",
            &[task, key, &extent.life, &first, count, value],
        )?;
    }
    tell(tx, queue, batch.id);
    Ok(())
}

/// Keeps the last pieces, if there are any, and remembers the step's output, in one commit.
pub(crate) fn finish(tx: &mut Tx<'_>, queue: &Queue, id: TaskId, last: Option<&Batch>, record: &Record) -> Result<()> {
    if let Some(batch) = last {
        keep(tx, queue, batch)?;
    }
    journal::record(tx, record)?;
    tell(tx, queue, id);
    Ok(())
}

/// Tells whoever reads, here and in other processes.
fn tell(tx: &mut Tx<'_>, queue: &Queue, id: TaskId) {
    let flow = queue.flow.clone();
    tx.on_commit(move || flow.pieces_kept(id));
    queue.tell_others(tx, PIECES);
}

/// Pieces in a row as they are kept: the number of the first, and the array.
pub(crate) type Row = (u64, Payload);

/// The pieces of a life behind the first `after` of them, a page; the first row may begin before.
pub(crate) fn pieces(db: &Snapshot<'_>, task: i64, key: &str, life: u64, after: u64) -> Result<Vec<Row>> {
    db.query(
        "SELECT first, value FROM stream_piece
         WHERE task = ?1 AND key = ?2 AND life = ?3 AND first >= coalesce(
             (SELECT max(first) FROM stream_piece WHERE task = ?1 AND key = ?2 AND life = ?3 AND first <= ?4), 0)
         ORDER BY first LIMIT ?5",
        &[&task, &key, &life, &after, &limits::STREAM_PAGE],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// What a reader finds.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) extent: Extent,
    pub(crate) rows: Vec<Row>,
    /// Nothing more comes: the step is done, or the task has ended.
    pub(crate) over: bool,
}

/// What there is behind a reader's place.
pub(crate) fn look(db: &Snapshot<'_>, id: TaskId, key: &str, life: u64, after: u64) -> Result<Look> {
    let task = db.query_opt("SELECT seq, state FROM task WHERE id = ?1", &[&id], |row| {
        Ok((row.get::<i64>(0)?, TaskState::from_code(row.get(1)?)?))
    })?;
    let (task, state) = task.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such task").with("task", id))?;
    let extent = extent(db, task, key)?;
    let from = if life == extent.life { after } else { 0 };
    let rows = if extent.pieces > from {
        pieces(db, task, key, extent.life, from)?
    } else {
        Vec::new()
    };
    let over = state.is_final() || journal::is_done(db, task, key)?;
    Ok(Look { extent, rows, over })
}
