//! Values that go into and come out of a row, the same for every engine.

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::clock::Timestamp;
use crate::payload::Payload;

/// One column's value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A whole number; booleans are 0 and 1.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, UTF-8, without NUL, which PostgreSQL cannot store.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// Something that can be bound to a `?1` placeholder.
pub trait ToValue {
    /// The value as a column holds it.
    fn to_value(&self) -> Value<'_>;
}

/// Something that can be read from a column.
pub trait FromValue: Sized {
    /// The type's name as an error message should show it.
    const EXPECTED: &'static str;

    /// `None` when the column holds something else.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

/// One row of an answer.
pub struct Row<'a> {
    inner: Inner<'a>,
}

enum Inner<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    #[cfg(feature = "postgres")]
    Postgres(&'a tokio_postgres::Row),
}

impl<'a> Row<'a> {
    pub(super) fn sqlite(row: &'a rusqlite::Row<'a>) -> Self {
        Self {
            inner: Inner::Sqlite(row),
        }
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(row: &'a tokio_postgres::Row) -> Self {
        Self {
            inner: Inner::Postgres(row),
        }
    }

    /// The column at `index`, from 0, as `T`.
    ///
    /// # Errors
    /// `corrupt` when the column holds something that is not a `T`.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T> {
        let value = self.value(index)?;
        T::from_value(value).ok_or_else(|| mismatch(index, T::EXPECTED, value))
    }

    /// The column at `index` as borrowed bytes.
    pub fn blob(&self, index: usize) -> Result<&[u8]> {
        match self.value(index)? {
            Value::Blob(bytes) => Ok(bytes),
            other @ (Value::Null | Value::Int(_) | Value::Real(_) | Value::Text(_)) => {
                Err(mismatch(index, "bytes", other))
            }
        }
    }

    /// The column at `index` as borrowed text.
    pub fn text(&self, index: usize) -> Result<&str> {
        match self.value(index)? {
            Value::Text(text) => Ok(text),
            other @ (Value::Null | Value::Int(_) | Value::Real(_) | Value::Blob(_)) => {
                Err(mismatch(index, "text", other))
            }
        }
    }

    fn value(&self, index: usize) -> Result<Value<'_>> {
        match self.inner {
            Inner::Sqlite(row) => {
                let raw = row.get_ref(index);
                raw.map_err(|e| super::sqlite::error(e, "a column could not be read"))
                    .and_then(from_sqlite)
            }
            #[cfg(feature = "postgres")]
            Inner::Postgres(row) => super::postgres::column(row, index),
        }
    }

    fn columns(&self) -> usize {
        match self.inner {
            Inner::Sqlite(row) => row.as_ref().column_count(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(row) => row.len(),
        }
    }
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("columns", &self.columns())
            .finish_non_exhaustive()
    }
}

fn from_sqlite(raw: ValueRef<'_>) -> Result<Value<'_>> {
    Ok(match raw {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(
            std::str::from_utf8(bytes)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "a text column is not UTF-8").with_source(e))?,
        ),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    })
}

fn mismatch(index: usize, expected: &'static str, found: Value<'_>) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Int(_) => "integer",
        Value::Real(_) => "real",
        Value::Text(_) => "text",
        Value::Blob(_) => "blob",
    };
    Error::new(ErrorKind::Corrupt, "a column does not hold the expected type")
        .with("column", index)
        .with("expected", expected)
        .with("found", found)
}

struct Bound<'a>(Value<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(number),
            // The engine would store NULL in its place.
            Value::Real(number) if number.is_nan() => {
                return Err(rusqlite::Error::ToSqlConversionFailure("NaN is not a number".into()));
            }
            Value::Real(number) => ValueRef::Real(number),
            // PostgreSQL has no such text, and what one engine keeps the other must keep.
            Value::Text(text) if text.contains('\0') => {
                return Err(rusqlite::Error::ToSqlConversionFailure("a text cannot hold NUL".into()));
            }
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn bind<P: ToValue>(params: &[P]) -> impl rusqlite::Params {
    rusqlite::params_from_iter(params.iter().map(|param| Bound(param.to_value())))
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> Value<'_> {
                Value::Int(i64::from(*self))
            }
        }
        impl FromValue for $type {
            const EXPECTED: &'static str = stringify!($type);
            fn from_value(value: Value<'_>) -> Option<Self> {
                if let Value::Int(number) = value { Self::try_from(number).ok() } else { None }
            }
        }
    )*};
}

integers!(i64, i32, u32, u16, u8);

impl ToValue for u64 {
    /// Columns are signed; a value above `i64::MAX` is kept as its two's complement, which [`FromValue`] undoes.
    fn to_value(&self) -> Value<'_> {
        Value::Int(self.cast_signed())
    }
}

impl FromValue for u64 {
    const EXPECTED: &'static str = "u64";

    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Int(number) = value {
            Some(number.cast_unsigned())
        } else {
            None
        }
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "bool";

    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            Value::Null | Value::Int(_) | Value::Real(_) | Value::Text(_) | Value::Blob(_) => None,
        }
    }
}

impl ToValue for f64 {
    /// NaN is refused with `invalid-input` when it is bound; the sign of zero is not kept.
    fn to_value(&self) -> Value<'_> {
        Value::Real(*self)
    }
}

impl FromValue for f64 {
    const EXPECTED: &'static str = "f64";

    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Real(number) = value {
            Some(number)
        } else {
            None
        }
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value {
            Some(text.to_owned())
        } else {
            None
        }
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl FromValue for Vec<u8> {
    const EXPECTED: &'static str = "bytes";

    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Blob(bytes) = value {
            Some(bytes.to_vec())
        } else {
            None
        }
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: Value<'_>) -> Option<Self> {
        if value == Value::Null {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl ToValue for Timestamp {
    fn to_value(&self) -> Value<'_> {
        Value::Int(self.as_micros())
    }
}

impl FromValue for Timestamp {
    const EXPECTED: &'static str = "microseconds since 1970";

    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value).map(Self::from_micros)
    }
}

impl ToValue for Payload {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self.as_bytes())
    }
}

impl FromValue for Payload {
    const EXPECTED: &'static str = "JSON bytes";

    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Blob(bytes) = value {
            Some(Self::from_stored(bytes))
        } else {
            None
        }
    }
}
