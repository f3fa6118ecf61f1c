//! A schedule's definition as a column holds it. Versions are kept for ever: a database outlives the program that wrote it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::spec::Timing;
use super::zone::Zone;
use super::{CatchUp, Schedule};

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Stored {
    #[serde(rename = "1")]
    One(One),
}

#[derive(Serialize, Deserialize)]
struct One {
    timing: StoredTiming,
    catch_up: StoredCatchUp,
    jitter_us: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredTiming {
    Cron { expression: String, zone: String },
    Every { period_us: u64, anchor: Timestamp },
    Once { at: Timestamp },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredCatchUp {
    Skip,
    Latest,
    All { at_most: u32 },
}

/// What is finer than a microsecond is dropped: no clock of a hive shows it.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Equal schedules have equal texts.
pub(super) fn encode(schedule: &Schedule) -> Result<String> {
    let stored = Stored::One(One {
        timing: match &schedule.timing {
            Timing::Cron { cron, zone } => StoredTiming::Cron {
                expression: cron.as_str().to_owned(),
                zone: zone.as_str().to_owned(),
            },
            Timing::Every { period, anchor } => StoredTiming::Every {
                period_us: micros(*period),
                anchor: *anchor,
            },
            Timing::Once(at) => StoredTiming::Once { at: *at },
        },
        catch_up: match schedule.catch_up {
            CatchUp::Skip => StoredCatchUp::Skip,
            CatchUp::Latest => StoredCatchUp::Latest,
            CatchUp::All { at_most } => StoredCatchUp::All { at_most },
        },
        jitter_us: micros(schedule.jitter),
    });
    serde_json::to_string(&stored)
        .map_err(|source| Error::new(ErrorKind::Internal, "the schedule has no stored form").with_source(source))
}

/// # Errors
/// `corrupt` for what no version of this program writes. A time zone that this machine does not know is no error yet.
pub(super) fn decode(text: &str) -> Result<Schedule> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "the stored schedule cannot be read");
    let Stored::One(one) = serde_json::from_str(text).map_err(|source| corrupt().with_source(source))?;
    Ok(Schedule {
        timing: match one.timing {
            StoredTiming::Cron { expression, zone } => Timing::Cron {
                cron: expression
                    .parse()
                    .map_err(|source: Error| corrupt().with_source(source))?,
                zone: Zone::stored(&zone),
            },
            StoredTiming::Every { period_us, anchor } => Timing::Every {
                period: Duration::from_micros(period_us),
                anchor,
            },
            StoredTiming::Once { at } => Timing::Once(at),
        },
        catch_up: match one.catch_up {
            StoredCatchUp::Skip => CatchUp::Skip,
            StoredCatchUp::Latest => CatchUp::Latest,
            StoredCatchUp::All { at_most } => CatchUp::All { at_most },
        },
        jitter: Duration::from_micros(one.jitter_us),
    })
}
