//! Numbers of JSON, compared as what they amount to.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde_json::Number;

/// An exact comparison, also between whole numbers beyond 2⁵³ and floats.
pub(super) fn compare(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => compare_whole(one, float(other)),
        (None, Some(other)) => compare_whole(other, float(one)).reverse(),
        (None, None) => float(one).partial_cmp(&float(other)).unwrap_or(Ordering::Equal),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// JSON has no number that is not finite.
fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

fn compare_whole(whole: i128, float: f64) -> Ordering {
    let truncated = float.trunc();
    // What does not fit saturates, far beyond every whole number that comes here.
    whole
        .cmp(&(truncated as i128))
        .then_with(|| truncated.partial_cmp(&float).unwrap_or(Ordering::Equal))
}
