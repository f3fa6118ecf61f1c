//! Rows as data: what is inserted often and by many is handed over as values and applied as one set.

use std::sync::OnceLock;

use hive_errors::{Error, ErrorKind, Result};

use super::value::{ToValue, Value};

#[cfg(test)]
mod tests;

/// What a column of a [`Set`] holds; any may hold no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A whole number.
    Int,
    /// A floating-point number.
    Real,
    /// Text, UTF-8.
    Text,
    /// Bytes.
    Blob,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::Real => "real",
            Self::Text => "text",
            Self::Blob => "blob",
        }
    }
}

/// One value of a row, owned.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, UTF-8.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Cell {
    /// The value that `value` has in a column.
    pub fn of(value: &(impl ToValue + ?Sized)) -> Self {
        match value.to_value() {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(number),
            Value::Real(number) => Self::Real(number),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Null => None,
            Self::Int(_) => Some(Kind::Int),
            Self::Real(_) => Some(Kind::Real),
            Self::Text(_) => Some(Kind::Text),
            Self::Blob(_) => Some(Kind::Blob),
        }
    }
}

impl ToValue for Cell {
    fn to_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => Value::Int(*number),
            Self::Real(number) => Value::Real(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Cell {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

/// What became of rows that were inserted as a set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// How many are in the table.
    pub(super) count: usize,
    /// The key that each was given, `None` for what the conflict clause left out. Empty when the set tells no keys.
    pub(super) keys: Vec<Option<i64>>,
}

/// The rows of one table that are inserted as sets, by [`Db::append`](super::Db::append) and
/// [`Tx::insert_all`](super::Tx::insert_all).
///
/// ```
/// use hive_core::db::{Kind, Set};
///
/// static HITS: Set = Set::insert("hit", &[("at", Kind::Int), ("page", Kind::Text)]).on_conflict("(at, page) DO NOTHING");
/// static NOTES: Set = Set::insert("note", &[("id", Kind::Text), ("text", Kind::Text)])
///     .on_conflict("(id) DO NOTHING")
///     .returning("id", "sequence");
/// ```
#[derive(Debug)]
pub struct Set {
    table: &'static str,
    columns: &'static [(&'static str, Kind)],
    conflict: Option<&'static str>,
    returning: Option<Returning>,
    channel: Option<&'static str>,
    /// Where the identity stands in a row, or why no keys are told.
    identity: OnceLock<Result<usize, &'static str>>,
    row_sql: OnceLock<String>,
    #[cfg(feature = "postgres")]
    set_sql: OnceLock<String>,
}

/// What a set tells of each row that is inserted.
#[derive(Clone, Copy, Debug)]
struct Returning {
    /// The column by which a row is known again.
    identity: &'static str,
    key: &'static str,
}

impl Set {
    /// Rows for `table`, with values for these columns. Both are SQL: quote what needs it, and never take them from
    /// outside.
    pub const fn insert(table: &'static str, columns: &'static [(&'static str, Kind)]) -> Self {
        Self {
            table,
            columns,
            conflict: None,
            returning: None,
            channel: None,
            identity: OnceLock::new(),
            row_sql: OnceLock::new(),
            #[cfg(feature = "postgres")]
            set_sql: OnceLock::new(),
        }
    }

    /// What stands behind `ON CONFLICT`, for example `(id) DO NOTHING`.
    pub const fn on_conflict(mut self, clause: &'static str) -> Self {
        self.conflict = Some(clause);
        self
    }

    /// Lets each row that is inserted tell `key`, a column of whole numbers that the table generates (on SQLite its `INTEGER PRIMARY
    /// KEY`); see
    /// [`Db::append_returning`](super::Db::append_returning). Keys grow in the order in which rows are handed over.
    ///
    /// `identity` is the one of the set's own columns by which a row is known again, such as an id: the table must keep it as
    /// it is given. Rows of one identity that are appended at the same time take a statement each on PostgreSQL, so it should
    /// be rare. A conflict clause beside it may leave rows out but not update them.
    pub const fn returning(mut self, identity: &'static str, key: &'static str) -> Self {
        self.returning = Some(Returning { identity, key });
        self
    }

    /// Wakes whoever listens on `channel` when rows of this set are committed, as [`Tx::notify`](super::Tx::notify) does: once
    /// for all that are committed together.
    pub const fn notifying(mut self, channel: &'static str) -> Self {
        self.channel = Some(channel);
        self
    }

    /// The columns, in the order of a row's values.
    pub const fn columns(&self) -> &'static [(&'static str, Kind)] {
        self.columns
    }

    pub(super) const fn channel(&self) -> Option<&'static str> {
        self.channel
    }

    /// Refuses a row that does not fit.
    pub(super) fn check(&self, row: &[Cell]) -> Result<()> {
        if row.len() != self.columns.len() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the row has not as many values as the set has columns",
            )
            .with("table", self.table)
            .with("values", row.len())
            .with("columns", self.columns.len()));
        }
        for ((column, kind), cell) in self.columns.iter().zip(row) {
            if cell.kind().is_some_and(|found| found != *kind) {
                return Err(
                    Error::new(ErrorKind::InvalidInput, "a value is not of its column's kind")
                        .with("table", self.table)
                        .with("column", column)
                        .with("expected", kind.name())
                        .with("found", cell.kind().map_or("null", Kind::name)),
                );
            }
            let unfit = match cell {
                Cell::Real(number) if number.is_nan() => Some("NaN is not a number"),
                Cell::Text(text) if text.contains('\0') => Some("a text cannot hold NUL"),
                Cell::Null | Cell::Int(_) | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => None,
            };
            if let Some(unfit) = unfit {
                return Err(Error::new(ErrorKind::InvalidInput, unfit)
                    .with("table", self.table)
                    .with("column", column));
            }
        }
        Ok(())
    }

    /// Where the identity stands in a row; `None` when the set tells no keys.
    #[cfg(feature = "postgres")]
    pub(super) fn identity(&self) -> Option<usize> {
        self.telling().ok()
    }

    #[cfg(feature = "postgres")]
    fn told(&self) -> Option<Returning> {
        self.telling().ok().and(self.returning)
    }

    /// Refuses a set that tells no keys.
    pub(super) fn check_telling(&self) -> Result<()> {
        match self.telling() {
            Ok(_) => Ok(()),
            Err(reason) => Err(Error::new(ErrorKind::InvalidInput, "the set tells no keys")
                .with("table", self.table)
                .with("reason", reason)
                .with_hint("declare it with Set::returning, beside no conflict clause or one that ends in DO NOTHING")),
        }
    }

    fn telling(&self) -> Result<usize, &'static str> {
        *self.identity.get_or_init(|| {
            let returning = self.returning.ok_or("it is declared without `returning`")?;
            // The key of a row that was there before is none that the row was given.
            let leaves_out = |clause: &str| clause.trim_end().to_ascii_uppercase().ends_with("NOTHING");
            if !self.conflict.is_none_or(leaves_out) {
                return Err("its conflict clause updates rows");
            }
            if self.columns.iter().any(|(name, _)| *name == returning.key) {
                return Err("its key is one of its own columns, and not given by the table");
            }
            let columns = self.columns.iter();
            columns
                .map(|(name, _)| *name)
                .position(|name| name == returning.identity)
                .ok_or("its identity is none of its columns")
        })
    }

    /// Inserts one row: `?1`, `?2` … are its values.
    pub(super) fn row_sql(&self) -> &str {
        self.row_sql.get_or_init(|| {
            let places: Vec<String> = (1..=self.columns.len()).map(|place| format!("?{place}")).collect();
            format!("{} VALUES ({}){}", self.head(), places.join(", "), self.tail())
        })
    }

    /// Inserts many: `$1`, `$2` … are arrays, one per column.
    #[cfg(feature = "postgres")]
    pub(super) fn set_sql(&self) -> &str {
        self.set_sql.get_or_init(|| {
            let array = |(place, (_, kind)): (usize, &(&str, Kind))| {
                let element = match kind {
                    Kind::Int => "bigint",
                    Kind::Real => "double precision",
                    Kind::Text => "text",
                    Kind::Blob => "bytea",
                };
                format!("${}::{element}[]", place + 1)
            };
            let arrays: Vec<String> = self.columns.iter().enumerate().map(array).collect();
            let (head, arrays, tail) = (self.head(), arrays.join(", "), self.tail());
            let Some(Returning { identity, key }) = self.told() else {
                return format!("{head} SELECT * FROM unnest({arrays}){tail}");
            };
            let names: Vec<String> = (1..=self.columns.len()).map(|place| format!("c{place}")).collect();
            let names = names.join(", ");
            // Keys are generated above the order; the rows come in it, so that nothing is sorted.
            format!(
                "{head} SELECT {names} FROM unnest({arrays}) WITH ORDINALITY AS given ({names}, nth) ORDER BY nth{tail} \
                 RETURNING {identity}, {key}"
            )
        })
    }

    fn head(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("INSERT INTO {} ({})", self.table, names.join(", "))
    }

    fn tail(&self) -> String {
        self.conflict
            .map(|clause| format!(" ON CONFLICT {clause}"))
            .unwrap_or_default()
    }
}
