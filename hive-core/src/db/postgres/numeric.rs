//! `numeric` on the wire. Nobody stores it here, but sums and averages of whole numbers are answered in it.

use std::error::Error as StdError;

use bytes::BytesMut;

use crate::db::value::Value;

/// Digits come in groups of four.
const BASE: u64 = 10_000;
const NEGATIVE: u16 = 0x4000;
const POSITIVE: u16 = 0;

/// A whole number as `numeric`.
pub(super) fn write(number: i64, out: &mut BytesMut) {
    let mut groups = Vec::new();
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        // Below 10,000, so it fits.
        groups.push(u16::try_from(rest % BASE).unwrap_or_default());
        rest /= BASE;
    }
    let count = u16::try_from(groups.len()).unwrap_or_default();
    let sign = if number < 0 { NEGATIVE } else { POSITIVE };
    for word in [count, count.saturating_sub(1), sign, 0]
        .into_iter()
        .chain(groups.into_iter().rev())
    {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Without decimal places an integer, with them a double-precision number: as the other engine answers a sum and an average.
pub(super) fn read(raw: &[u8]) -> Result<Value<'static>, Box<dyn StdError + Sync + Send>> {
    let (words, odd) = raw.as_chunks::<2>();
    let mut words = words.iter().map(|word| u16::from_be_bytes(*word));
    let (Some(count), Some(weight), Some(sign), Some(places), []) =
        (words.next(), words.next(), words.next(), words.next(), odd)
    else {
        return Err("a numeric is too short".into());
    };
    let groups: Vec<u16> = words.collect();
    if groups.len() != usize::from(count) || groups.iter().any(|group| u64::from(*group) >= BASE) {
        return Err("a numeric does not hold its digits".into());
    }
    let negative = match sign {
        POSITIVE => false,
        NEGATIVE => true,
        0xC000 => return Ok(Value::Null),
        0xD000 => return Ok(Value::Real(f64::INFINITY)),
        0xF000 => return Ok(Value::Real(f64::NEG_INFINITY)),
        _ => return Err("a numeric has an unknown sign".into()),
    };
    let weight = weight.cast_signed();
    if places == 0 {
        return whole(&groups, weight, negative)
            .map(Value::Int)
            .ok_or_else(|| "a whole number is larger than 64 bits hold".into());
    }
    // Through the decimal text, so that it is rounded once.
    let digits: String = groups.iter().map(|group| format!("{group:04}")).collect();
    let exponent = (i64::from(weight) + 1) * 4;
    let sign = if negative { "-" } else { "" };
    Ok(Value::Real(format!("{sign}0.{digits}0e{exponent}").parse()?))
}

fn whole(groups: &[u16], weight: i16, negative: bool) -> Option<i64> {
    let mut number = 0_i128;
    for index in 0..=i32::from(weight) {
        let group = usize::try_from(index)
            .ok()
            .and_then(|index| groups.get(index))
            .copied()
            .unwrap_or(0);
        number = number.checked_mul(i128::from(BASE))?.checked_add(i128::from(group))?;
    }
    i64::try_from(if negative { -number } else { number }).ok()
}
