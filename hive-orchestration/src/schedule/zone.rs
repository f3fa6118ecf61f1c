//! From local times to moments: what a cron expression means in a time zone, where clocks are put forward and back.

#[cfg(test)]
mod tests;

use std::fmt;

use hive_core::clock::Timestamp;
use hive_errors::{Error, ErrorKind, Result};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::cron::Cron;
use crate::limits;

/// A time zone's name. What it means is looked up when it matters: a process without it can still show it to people.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Zone(Box<str>);

impl Zone {
    pub(super) fn utc() -> Self {
        Self("UTC".into())
    }

    /// # Errors
    /// `invalid-input` for a name that this machine's time zone database does not have.
    pub(super) fn new(name: &str) -> Result<Self> {
        let zone = Self::stored(name);
        zone.resolve()?;
        Ok(zone)
    }

    /// A name that was checked when it was stored.
    pub(super) fn stored(name: &str) -> Self {
        Self(name.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the zone's clocks show. The database keeps zones in memory, so this is cheap.
    pub(super) fn resolve(&self) -> Result<Local> {
        if &*self.0 == "UTC" {
            return Ok(Local(TimeZone::UTC));
        }
        let unknown = || {
            Error::new(ErrorKind::InvalidInput, "there is no time zone of this name")
                .with("field", "zone")
                .with("value", format!("{:.80}", self.0.escape_debug()))
                .with_hint(
                    "use a name of the IANA database, such as Europe/Berlin; it is read from the system's tzdata, or from the \
                     copy that the feature `tzdata` brings",
                )
        };
        if self.0.len() > limits::ZONE_BYTES {
            return Err(unknown());
        }
        TimeZone::get(&self.0)
            .map(Local)
            .map_err(|source| unknown().with_source(source))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The clocks of a zone.
pub(super) struct Local(TimeZone);

impl Local {
    /// The first moment after `after` at which `cron` is due.
    pub(super) fn next(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let after = moment(after)?;
        let found = if cron.is_hourly() {
            self.next_hourly(cron, after)
        } else {
            self.next_at_times(cron, after)
        };
        timestamp(found?)
    }

    /// The last moment not after `upto` at which `cron` is due.
    pub(super) fn last(&self, cron: &Cron, upto: Timestamp) -> Option<Timestamp> {
        let upto = moment(upto)?;
        let found = if cron.is_hourly() {
            self.last_hourly(cron, upto)
        } else {
            self.last_at_times(cron, upto)
        };
        timestamp(found?)
    }

    /// Every moment whose local time is allowed. Between two changes of the offset local time runs as time does.
    fn next_hourly(&self, cron: &Cron, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut offset = self.0.to_offset(after);
        let mut from = second_after(offset.to_datetime(after))?;
        let mut changes = self.0.following(after);
        loop {
            let found = offset.to_timestamp(cron.at_or_after(from)?).ok()?;
            match changes.next() {
                Some(change) if change.timestamp() <= found => {
                    offset = change.offset();
                    from = offset.to_datetime(change.timestamp());
                }
                Some(_) | None => return Some(found),
            }
        }
    }

    fn last_hourly(&self, cron: &Cron, upto: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut offset = self.0.to_offset(upto);
        let mut upto_local = whole_seconds(offset.to_datetime(upto))?;
        // A change at this very moment is what its offset began with.
        let mut changes = self
            .0
            .preceding(upto.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?);
        loop {
            let found = offset.to_timestamp(cron.at_or_before(upto_local)?).ok()?;
            match changes.next() {
                Some(change) if change.timestamp() > found => {
                    let before = change
                        .timestamp()
                        .checked_sub(jiff::SignedDuration::from_secs(1))
                        .ok()?;
                    offset = self.0.to_offset(before);
                    upto_local = offset.to_datetime(before);
                }
                Some(_) | None => return Some(found),
            }
        }
    }

    /// Every local time that is allowed, each once. What [`Local::begin_of`] makes of them never runs backwards, so that
    /// looking from the local time of `after` on misses none.
    fn next_at_times(&self, cron: &Cron, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut from = self.0.to_datetime(after);
        loop {
            let local = cron.at_or_after(second_after(from)?)?;
            let found = self.begin_of(local)?;
            if found > after {
                return Some(found);
            }
            // The second time round: it has been.
            from = local;
        }
    }

    fn last_at_times(&self, cron: &Cron, upto: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut local = whole_seconds(self.0.to_datetime(upto))?;
        // The second time round everything up to the end of the first has been, and the clock shows an earlier time.
        if let AmbiguousOffset::Fold { before, after } = self.0.to_ambiguous_timestamp(local).offset()
            && after.to_timestamp(local).ok()? <= upto
        {
            let nanosecond = jiff::SignedDuration::from_nanos(1);
            let change = self.0.preceding(upto.checked_add(nanosecond).ok()?).next()?;
            let end = before.to_datetime(change.timestamp());
            local = end.checked_sub(jiff::SignedDuration::from_secs(1)).ok()?;
        }
        loop {
            local = cron.at_or_before(local)?;
            let found = self.begin_of(local)?;
            if found <= upto {
                return Some(found);
            }
            local = local.checked_sub(jiff::SignedDuration::from_secs(1)).ok()?;
        }
    }

    /// When the clock shows `local` for the first time, or when it goes on if it jumps over it.
    fn begin_of(&self, local: DateTime) -> Option<jiff::Timestamp> {
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, after } => self.end_of_gap(local, before, after),
        }
    }

    /// Read with the offset of before, `local` lies after the change, with that of after, before it.
    fn end_of_gap(&self, local: DateTime, before: Offset, after: Offset) -> Option<jiff::Timestamp> {
        let (late, early) = (before.to_timestamp(local).ok()?, after.to_timestamp(local).ok()?);
        let change = self.0.following(early).next().map(|change| change.timestamp());
        Some(change.filter(|change| *change <= late).unwrap_or(late))
    }
}

fn moment(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(at.as_micros()).ok()
}

fn timestamp(at: jiff::Timestamp) -> Option<Timestamp> {
    let found = Timestamp::from_micros(at.as_microsecond());
    // Further away there are no moments, only "never".
    (found < Timestamp::MAX && found > Timestamp::MIN).then_some(found)
}

fn whole_seconds(local: DateTime) -> Option<DateTime> {
    local.with().subsec_nanosecond(0).build().ok()
}

fn second_after(local: DateTime) -> Option<DateTime> {
    whole_seconds(local)?
        .checked_add(jiff::SignedDuration::from_secs(1))
        .ok()
}
