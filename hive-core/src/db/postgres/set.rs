//! Rows as sets: one statement for many rows, each column an array.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use hive_errors::{Error, ErrorKind, Result};

use super::column::Column;
use super::link::{Answer, Link};
use super::values;
use crate::db::set::{Cell, Inserted, Kind, Set};
use crate::db::value::{Row, ToValue, Value};
use crate::limits;

/// Inserts `rows`, which fit the set, with as few statements as their size allows.
///
/// # Errors
/// As [`Link::run_set`]; `storage` when a set that tells keys has another identity in the table than was given.
pub(in crate::db) fn insert<R: AsRef<[Cell]>>(link: &mut Link, set: &Set, rows: &[R]) -> Result<Inserted> {
    in_pieces(set, rows, |columns, _| link.run_set(set.set_sql(), columns))
}

/// As [`insert`], and commits with the last statement.
///
/// # Errors
/// As [`Link::commit_set`]; as [`insert`] for another identity, and then the rows are committed all the same.
pub(super) fn insert_and_commit<R: AsRef<[Cell]>>(link: &mut Link, set: &Set, rows: &[R]) -> Result<Inserted> {
    in_pieces(set, rows, |columns, is_last| {
        if is_last {
            link.commit_set(set.set_sql(), columns)
        } else {
            link.run_set(set.set_sql(), columns)
        }
    })
}

fn in_pieces<R: AsRef<[Cell]>>(
    set: &Set,
    rows: &[R],
    mut insert: impl FnMut(&[Column<'_>], bool) -> Result<Answer>,
) -> Result<Inserted> {
    let mut inserted = Inserted::default();
    let mut rest = rows;
    while !rest.is_empty() {
        let mut count = fitting(rest);
        let places = set.identity().map(|column| Places::of(rest.iter().take(count), column));
        if let Some(places) = &places {
            count = places.0.len();
        }
        let (piece, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        let answer = insert(&columns(set, piece), behind.is_empty())?;
        inserted.count += usize::try_from(answer.count).unwrap_or(usize::MAX);
        if let Some(places) = places {
            inserted.keys.append(&mut places.keys(&answer)?);
        }
        rest = behind;
    }
    Ok(inserted)
}

/// Where each row of a statement stands, by its identity: what the server tells of rows comes in any order, and not of all.
struct Places<'a>(HashMap<Identity<'a>, usize>);

/// A value by which a row is known again.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Null,
    Int(i64),
    /// The bits of a number, whose zero has no sign.
    Real(u64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl<'a> Places<'a> {
    /// Of the rows from the front, up to the first that has the identity of one before: it goes with the next statement, so
    /// that there is no doubt to which of them a key belongs.
    fn of<R: AsRef<[Cell]> + 'a>(rows: impl ExactSizeIterator<Item = &'a R>, column: usize) -> Self {
        let mut places = HashMap::with_capacity(rows.len());
        for (place, row) in rows.enumerate() {
            let value = row.as_ref().get(column).map_or(Value::Null, ToValue::to_value);
            match places.entry(Identity::of(value)) {
                Entry::Vacant(free) => free.insert(place),
                Entry::Occupied(_) => break,
            };
        }
        Self(places)
    }

    /// The key of each row, from rows of an identity and a key.
    fn keys(&self, answer: &Answer) -> Result<Vec<Option<i64>>> {
        let mut keys = vec![None; self.0.len()];
        for row in &answer.rows {
            let identity = Identity::of(values::column(row, 0)?);
            let place = self.0.get(&identity).and_then(|place| keys.get_mut(*place));
            *place.ok_or_else(strange)? = Some(Row::postgres(row).get(1)?);
        }
        Ok(keys)
    }
}

impl<'a> Identity<'a> {
    fn of(value: Value<'a>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(number),
            Value::Real(number) => Self::Real((number + 0.0).to_bits()),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

fn strange() -> Error {
    Error::new(
        ErrorKind::Storage,
        "a row in the table has another identity than it was given",
    )
    .terminal()
    .with_hint("let the set tell keys by a column that the table keeps as it is given")
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
