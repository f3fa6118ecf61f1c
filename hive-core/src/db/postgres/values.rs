//! Values on the wire: a bound value takes the form that the server expects of the parameter, and a column's becomes one
//! of ours. What cannot be kept exactly is refused; nothing is rounded or cut off.

use std::error::Error as StdError;
use std::fmt;

use bytes::BytesMut;
use hive_errors::{Error, ErrorKind, Result};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::numeric;
use crate::db::value::Value;

/// PostgreSQL counts microseconds from 2000, we from 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The largest magnitude below which every whole number is a double-precision number.
const EXACT: i64 = 1 << 53;

/// A value on its way to the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a>(pub(super) Value<'a>);

/// A value that does not fit where it was bound, or a column that is none of ours. Says why; never shows the value, which
/// may be a secret.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) message: &'static str,
    pub(super) held: &'static str,
    pub(super) wanted: String,
    pub(super) hint: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} for {})", self.message, self.held, self.wanted)
    }
}

impl StdError for Misfit {}

type Wire<T> = std::result::Result<T, Box<dyn StdError + Sync + Send>>;

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Wire<IsNull> {
        if let Kind::Domain(base) = ty.kind() {
            return self.to_sql(base, out);
        }
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Int(number) => int(number, ty, out)?,
            Value::Real(number) => real(number, ty, out)?,
            Value::Text(text) => self::text(text, ty, out)?,
            Value::Blob(bytes) => blob(bytes, ty, out)?,
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // Decided by value, with a better error.
        true
    }

    to_sql_checked!();
}

fn int(number: i64, ty: &Type, out: &mut BytesMut) -> Wire<()> {
    let range = || {
        misfit(
            "a whole number is out of the column's range",
            "integer",
            ty,
            "use a wider column",
        )
    };
    match *ty {
        Type::INT8 => out.extend_from_slice(&number.to_be_bytes()),
        Type::INT4 => out.extend_from_slice(&i32::try_from(number).map_err(|_| range())?.to_be_bytes()),
        Type::INT2 => out.extend_from_slice(&i16::try_from(number).map_err(|_| range())?.to_be_bytes()),
        Type::OID => out.extend_from_slice(&u32::try_from(number).map_err(|_| range())?.to_be_bytes()),
        Type::BOOL => out.extend_from_slice(&[match number {
            0 => 0,
            1 => 1,
            _ => return Err(misfit("a truth value is 0 or 1", "integer", ty, "bind a bool")),
        }]),
        #[expect(clippy::cast_precision_loss, reason = "the number is small enough to be exact")]
        Type::FLOAT8 if (-EXACT..=EXACT).contains(&number) => out.extend_from_slice(&(number as f64).to_be_bytes()),
        Type::FLOAT8 => return Err(range()),
        Type::NUMERIC => numeric::write(number, out),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let micros = number.checked_sub(EPOCH_MICROS).ok_or_else(range)?;
            out.extend_from_slice(&micros.to_be_bytes());
        }
        _ => return Err(unlike("integer", ty)),
    }
    Ok(())
}

fn real(number: f64, ty: &Type, out: &mut BytesMut) -> Wire<()> {
    refuse_nan(number, ty)?;
    match *ty {
        // Zero has no sign, as on the other engine.
        Type::FLOAT8 => out.extend_from_slice(&(number + 0.0).to_be_bytes()),
        Type::FLOAT4 => {
            #[expect(clippy::cast_possible_truncation, reason = "compared right after")]
            let narrow = number as f32;
            if f64::from(narrow) != number {
                return Err(misfit(
                    "a number does not fit single precision",
                    "real",
                    ty,
                    "use DOUBLE PRECISION",
                ));
            }
            out.extend_from_slice(&(narrow + 0.0).to_be_bytes());
        }
        Type::INT8 | Type::INT4 | Type::INT2 | Type::NUMERIC => match whole(number) {
            Some(number) => int(number, ty, out)?,
            None => {
                return Err(misfit(
                    "a fraction does not fit a whole number",
                    "real",
                    ty,
                    "CAST(?n AS REAL) in the statement",
                ));
            }
        },
        _ => return Err(unlike("real", ty)),
    }
    Ok(())
}

/// The same number as an integer, if it is one and exact.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "bounded and whole"
)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT as f64).then_some(number as i64)
}

fn text(text: &str, ty: &Type, out: &mut BytesMut) -> Wire<()> {
    refuse_nul(text, ty)?;
    match *ty {
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::UNKNOWN => {}
        Type::JSONB => out.extend_from_slice(&[1]),
        _ if matches!(ty.kind(), Kind::Enum(_)) => {}
        _ => return Err(unlike("text", ty)),
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn blob(bytes: &[u8], ty: &Type, out: &mut BytesMut) -> Wire<()> {
    match *ty {
        Type::BYTEA => {}
        Type::UUID if bytes.len() == 16 => {}
        Type::UUID => return Err(misfit("a UUID has 16 bytes", "blob", ty, "bind 16 bytes")),
        Type::JSON | Type::JSONB => {
            let text = std::str::from_utf8(bytes).map_err(|_| misfit("JSON is UTF-8", "blob", ty, "bind text"))?;
            return self::text(text, ty, out);
        }
        _ => return Err(unlike("blob", ty)),
    }
    out.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn refuse_nan(number: f64, ty: &Type) -> Wire<()> {
    if number.is_nan() {
        let hint = "store NULL where there is no number";
        return Err(misfit("NaN is not a number", "real", ty, hint));
    }
    Ok(())
}

pub(super) fn refuse_nul(text: &str, ty: &Type) -> Wire<()> {
    if text.contains('\0') {
        return Err(misfit(
            "a text cannot hold the character NUL",
            "text",
            ty,
            "store it as bytes",
        ));
    }
    Ok(())
}

fn unlike(held: &'static str, ty: &Type) -> Box<dyn StdError + Sync + Send> {
    let hint = "bind what the column holds, or name the parameter's type in the statement: CAST(?n AS …)";
    misfit("a value does not fit the parameter's type", held, ty, hint)
}

fn misfit(message: &'static str, held: &'static str, ty: &Type, hint: &'static str) -> Box<dyn StdError + Sync + Send> {
    Box::new(Misfit {
        message,
        held,
        wanted: ty.name().to_owned(),
        hint,
    })
}

/// A column on its way from the server, borrowed from its row.
struct Held<'a>(Value<'a>);

impl<'a> FromSql<'a> for Held<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Wire<Self> {
        read(ty, raw).map(Held)
    }

    fn from_sql_null(_: &Type) -> Wire<Self> {
        Ok(Held(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        // Decided when it is read, with a better error.
        true
    }
}

fn read<'a>(ty: &Type, raw: &'a [u8]) -> Wire<Value<'a>> {
    if let Kind::Domain(base) = ty.kind() {
        return read(base, raw);
    }
    let utf8 = |raw: &'a [u8]| std::str::from_utf8(raw).map(Value::Text);
    Ok(match *ty {
        Type::INT8 => Value::Int(i64::from_be_bytes(raw.try_into()?)),
        Type::INT4 => Value::Int(i32::from_be_bytes(raw.try_into()?).into()),
        Type::INT2 => Value::Int(i16::from_be_bytes(raw.try_into()?).into()),
        Type::OID => Value::Int(u32::from_be_bytes(raw.try_into()?).into()),
        Type::BOOL => Value::Int((raw != [0]).into()),
        Type::FLOAT8 => number(f64::from_be_bytes(raw.try_into()?)),
        Type::FLOAT4 => number(f32::from_be_bytes(raw.try_into()?).into()),
        Type::NUMERIC => numeric::read(raw)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::UNKNOWN => utf8(raw)?,
        Type::JSONB => utf8(raw.split_first().map_or(raw, |(_version, text)| text))?,
        Type::BYTEA | Type::UUID => Value::Blob(raw),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let micros = i64::from_be_bytes(raw.try_into()?);
            let since_1970 = micros.checked_add(EPOCH_MICROS).filter(|_| micros != i64::MIN);
            Value::Int(
                since_1970.ok_or_else(|| misfit("a time without end has no number", "timestamp", ty, "store NULL"))?,
            )
        }
        // What functions return that are called for their effect.
        Type::VOID => Value::Null,
        _ if matches!(ty.kind(), Kind::Enum(_)) => utf8(raw)?,
        _ => {
            let hint = "name one that both engines have: CAST(column AS TEXT), BYTEA, BIGINT or DOUBLE PRECISION";
            return Err(misfit(
                "a column's type is not one that can be read",
                "column",
                ty,
                hint,
            ));
        }
    })
}

/// The other engine stores NULL in place of NaN, so no closure has to know it.
fn number(number: f64) -> Value<'static> {
    if number.is_nan() {
        Value::Null
    } else {
        Value::Real(number)
    }
}

/// The column at `index`, from 0.
///
/// # Errors
/// `invalid-input` for a type that is none of ours and for a column that is not there; `corrupt` for bytes that are no
/// value of their type.
pub(in crate::db) fn column(row: &Row, index: usize) -> Result<Value<'_>> {
    row.try_get::<_, Held<'_>>(index).map(|held| held.0).map_err(|source| {
        let columns = row.len();
        if index >= columns {
            return Error::new(ErrorKind::Storage, "a column could not be read")
                .terminal()
                .with("column", index)
                .with("columns", columns)
                .with_hint("correct the statement; it fails whenever it runs");
        }
        match refused(&source) {
            Some(misfit) => misfit.error().with("column", index),
            None => Error::new(ErrorKind::Corrupt, "a column could not be read")
                .with("column", index)
                .with_source(source),
        }
    })
}

/// Our own verdict, if it is the reason of this error.
pub(super) fn refused(source: &tokio_postgres::Error) -> Option<&Misfit> {
    source.source()?.downcast_ref()
}

impl Misfit {
    pub(super) fn error(&self) -> Error {
        Error::new(ErrorKind::InvalidInput, self.message)
            .with("value", self.held)
            .with("type", &self.wanted)
            .with_hint(self.hint)
    }
}
