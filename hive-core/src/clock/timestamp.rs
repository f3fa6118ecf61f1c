use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;
use std::time::Duration;

use hive_errors::{Error, ErrorKind};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// As text and in JSON it is RFC 3339 in UTC with six decimals, `2026-01-02T03:04:05.000006Z`, so that the text sorts
/// as the time does. Parsing takes any RFC 3339 offset and drops what is finer than a microsecond.
///
/// Arithmetic saturates at [`Timestamp::MIN`] and [`Timestamp::MAX`] (the years −9999 and 9999), because a date that far
/// away means "never" and not a failure.
///
/// ```
/// use hive_core::clock::Timestamp;
/// use std::time::Duration;
///
/// let start: Timestamp = "2026-01-02T04:04:05+01:00".parse()?;
/// assert_eq!((start + Duration::from_micros(6)).to_string(), "2026-01-02T03:04:05.000006Z");
/// # Ok::<(), hive_errors::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The earliest moment that has a calendar date: -009999-01-02T01:59:59Z.
    pub const MIN: Self = Self(-377_705_023_201_000_000);
    /// The latest moment that has a calendar date: 9999-12-30T22:00:00Z.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// The moment `micros` microseconds after the epoch, or before it when negative; saturates at [`Self::MIN`] and [`Self::MAX`].
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since the epoch, negative before it.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// How much time lies between `earlier` and this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        // The difference of two values within the calendar range fits an i64.
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

/// A timer set to `now + delay` must never be early, so what is finer than a microsecond is rounded up.
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        let micros = i64::try_from(after.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, after: Duration) {
        *self = *self + after;
    }
}

/// What is finer than a microsecond is dropped.
impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, before: Duration) -> Self {
        let micros = i64::try_from(before.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }
}

/// The same as [`Timestamp::since`]: zero when the right side is later.
impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Invariant: every constructor keeps the value within the calendar range.
        let moment = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{moment:.6}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse::<jiff::Timestamp>()
            .map(|moment| Self::from_micros(moment.as_microsecond()))
            .map_err(|source| {
                Error::new(ErrorKind::InvalidInput, "the text is not an RFC 3339 time")
                    .with("value", text)
                    .with_hint("write the time as 2026-01-02T03:04:05Z, with Z or an offset such as +01:00")
                    .with_source(source)
            })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
