//! Rows as sets: one statement for many rows, each column an array.

use hive_errors::Result;

use super::column::Column;
use super::link::Link;
use crate::db::set::{Cell, Kind, Set};
use crate::limits;

/// Inserts `rows`, which fit the set, with as few statements as their size allows. How many were inserted: a conflict clause
/// may make it fewer.
///
/// # Errors
/// As [`Link::execute`].
pub(in crate::db) fn insert<R: AsRef<[Cell]>>(link: &mut Link, set: &Set, rows: &[R]) -> Result<usize> {
    in_pieces(rows, |piece, _| link.execute_set(set.set_sql(), &columns(set, piece)))
}

/// As [`insert`], and commits with the last statement.
///
/// # Errors
/// As [`Link::commit_set`].
pub(super) fn insert_and_commit<R: AsRef<[Cell]>>(link: &mut Link, set: &Set, rows: &[R]) -> Result<usize> {
    in_pieces(rows, |piece, is_last| {
        let columns = columns(set, piece);
        if is_last {
            link.commit_set(set.set_sql(), &columns)
        } else {
            link.execute_set(set.set_sql(), &columns)
        }
    })
}

fn in_pieces<R: AsRef<[Cell]>>(rows: &[R], mut insert: impl FnMut(&[R], bool) -> Result<usize>) -> Result<usize> {
    let mut inserted = 0;
    let mut rest = rows;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at_checked(fitting(rest)).unwrap_or((rest, &[]));
        inserted += insert(piece, behind.is_empty())?;
        rest = behind;
    }
    Ok(inserted)
}

/// How many rows from the front go into one statement: at least one.
fn fitting<R: AsRef<[Cell]>>(rows: &[R]) -> usize {
    let mut bytes = 0_usize;
    let fits = |row: &R| {
        bytes = bytes.saturating_add(size(row.as_ref()));
        bytes <= limits::DB_SET_BYTES
    };
    let count = rows.iter().take(limits::DB_SET_ROWS).take_while({
        let mut fits = fits;
        move |row| fits(row)
    });
    count.count().max(1)
}

/// About how many bytes a row takes on the wire.
pub(super) fn size(row: &[Cell]) -> usize {
    let size = |cell: &Cell| match cell {
        Cell::Null => 4,
        Cell::Int(_) | Cell::Real(_) => 12,
        Cell::Text(text) => 4 + text.len(),
        Cell::Blob(bytes) => 4 + bytes.len(),
    };
    row.iter().map(size).sum()
}

fn columns<'a, R: AsRef<[Cell]>>(set: &Set, rows: &'a [R]) -> Vec<Column<'a>> {
    let column = |(index, (_, kind)): (usize, &(&str, Kind))| {
        let cells = rows
            .iter()
            .map(move |row| row.as_ref().get(index).unwrap_or(&Cell::Null));
        match kind {
            Kind::Int => Column::Int(
                cells
                    .map(|cell| {
                        if let Cell::Int(number) = cell {
                            Some(*number)
                        } else {
                            None
                        }
                    })
                    .collect(),
            ),
            Kind::Real => Column::Real(
                cells
                    .map(|cell| {
                        if let Cell::Real(number) = cell {
                            Some(*number)
                        } else {
                            None
                        }
                    })
                    .collect(),
            ),
            Kind::Text => Column::Text(
                cells
                    .map(|cell| {
                        if let Cell::Text(text) = cell {
                            Some(text.as_str())
                        } else {
                            None
                        }
                    })
                    .collect(),
            ),
            Kind::Blob => Column::Blob(
                cells
                    .map(|cell| {
                        if let Cell::Blob(bytes) = cell {
                            Some(bytes.as_slice())
                        } else {
                            None
                        }
                    })
                    .collect(),
            ),
        }
    };
    set.columns().iter().enumerate().map(column).collect()
}
