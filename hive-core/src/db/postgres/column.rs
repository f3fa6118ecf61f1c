//! One column of many rows on the wire.

use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::values;

/// One column of many rows.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<&'a str>>),
    Blob(Vec<Option<&'a [u8]>>),
}

impl ToSql for Column<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Int(numbers) => numbers.to_sql(ty, out),
            Self::Real(numbers) => {
                for number in numbers.iter().flatten() {
                    values::refuse_nan(*number, ty)?;
                }
                // Zero has no sign, as everywhere.
                let unsigned: Vec<Option<f64>> =
                    numbers.iter().map(|number| number.map(|number| number + 0.0)).collect();
                unsigned.to_sql(ty, out)
            }
            Self::Text(texts) => {
                for text in texts.iter().flatten() {
                    values::refuse_nul(text, ty)?;
                }
                texts.to_sql(ty, out)
            }
            Self::Blob(blobs) => blobs.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // The statement casts each parameter to the array it is.
        true
    }

    to_sql_checked!();
}
