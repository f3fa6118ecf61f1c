//! Schedules: tasks that are submitted again and again, or once, when the time has come.
//!
//! ```
//! # use hive_orchestration as hive;
//! use std::time::Duration;
//!
//! use hive::schedule::{CatchUp, Schedule};
//! # use hive::{Context, Failure, Hive, agent_fn};
//!
//! # #[tokio::main]
//! # async fn main() -> hive::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let report = agent_fn("report", async |_: Context, _: String| Ok::<_, Failure>(()));
//! let hive = Hive::open(dir.path().join("hive.db")).agent(report).start().await?;
//!
//! let nightly = Schedule::cron("0 3 * * *")?.zone("Europe/Berlin")?.catch_up(CatchUp::Latest);
//! let info = hive.schedule("nightly", nightly).submit_named("report", &"all of it").await?;
//! println!("next at {:?}", info.next);
//!
//! let often = Schedule::every(Duration::from_secs(15 * 60)).jitter(Duration::from_secs(30));
//! hive.schedule("often", often).submit_named("report", &"in short").await?;
//!
//! hive.pause_schedule("often").await?;
//! let names: Vec<_> = hive.schedules(None, 100).await?.into_iter().map(|info| info.name).collect();
//! assert_eq!(names, ["nightly", "often"]);
//! # hive.shutdown().await
//! # }
//! ```
//!
//! A schedule is a row in the database. Giving it again with the same definition, as a program does at each start, changes
//! nothing; another definition takes its place from now on.
//!
//! # What can be relied on
//!
//! - **A due time makes at most one task**, whatever number of processes share the database and whenever they die: the task
//!   and the step to the next due time are one commit, which only one of them can make, and the task carries the
//!   idempotency key `schedule:<name>@<due time>` besides.
//! - **Never early**, by the clock of the database: the server's on PostgreSQL, this process's on SQLite.
//! - **No drift**: due times come from the definition and not from when the last task was submitted. How long tasks take does
//!   not matter either; give the agent a limit when they must not overlap.
//! - What came due while nobody was there is made up for as [`CatchUp`] says, and told of by `schedule.missed` when not.
//! - When the clock is set forward, what lies between counts as missed. When it is set back, nothing is done again: a schedule
//!   goes on when the clock has come to where it was. After a large mistake, [`resume`](crate::Hive::resume_schedule) makes it
//!   begin anew from the present.
//!
//! Each submission publishes `schedule.fired` with the due time and the task, in the same commit, under the task's
//! correlation id. The task has the labels `schedule`, its name, and `due`, the due time unless it was asked for by hand.
//!
//! # Cron expressions
//!
//! Five fields, `minute hour day-of-month month day-of-week`, or six with `second` before them.
//!
//! | What | Where | Means |
//! |---|---|---|
//! | `*`, in the fields of days also `?` | everywhere | any |
//! | `7`, `1-5`, `1,15,20-25` | everywhere | these |
//! | `*/15`, `10-40/5`, `5/20` | everywhere | each so many, from the least, in the range, or from 5 on |
//! | `JAN`, `MON` | months, days of the week | by name, in any case; Sunday is 0 and 7 |
//! | `L`, `L-2` | day of month | the last day, the last but two |
//! | `15W`, `LW` | day of month | the working day (Monday to Friday) nearest to the 15th, without leaving the month; the last one |
//! | `MON#2`, `FRIL` or `FRI#L` | day of week | the second Monday, the last Friday of the month |
//! | `@yearly`, `@monthly`, `@weekly`, `@daily`, `@hourly` | instead of all | at the beginning of each |
//!
//! When both fields of days are something else than `*`, a day that either of them allows is allowed, as in every cron since
//! Vixie's. An expression that no date will ever match is refused.
//!
//! # When clocks change
//!
//! Cron expressions speak of the clock on the wall in their zone, UTC unless given. Where that is put forward or back, programs
//! differ: Debian's cron makes up for a time that is jumped over and does not repeat one that comes twice, unless it is a
//! wildcard's (cron(8)); Quartz and Spring leave out the one, OCPS 1.4 recommends the same, and Kubernetes has run the other
//! twice. Here it is as in Debian's:
//!
//! - An expression whose hours are all 24 (`*/15 * * * *`) goes on as time does: through the repeated hour as through any
//!   other, and from before a jump to behind it without making up for anything.
//! - Any other (`30 2 * * *`) is due once for each local time: for one that comes twice at the first, for those that a jump
//!   leaves out, all together, at the moment at which the clock goes on.

#[cfg(test)]
mod tests;

mod cron;
mod zone;
mod spec;
mod stored;
pub(crate) mod schema;
mod emit;
pub(crate) mod store;
pub(crate) mod driver;

use std::fmt;
use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use self::spec::Timing;
use self::zone::Zone;

/// When something is to be done. See [the module](self).
///
/// Periods, jitter and the number of times that are made up for are checked when the schedule is given to a hive.
#[derive(Clone, PartialEq, Eq)]
#[must_use = "a schedule does nothing until it is given to a hive"]
pub struct Schedule {
    timing: Timing,
    catch_up: CatchUp,
    jitter: Duration,
}

/// What becomes of due times that passed while no process was there to act upon them, or the clock jumped over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatchUp {
    /// Nothing, unless the last of them is younger than [`MISSED_AFTER`](crate::limits::MISSED_AFTER): that is no more than late.
    Skip,
    /// One task for all of them, in the name of the last.
    #[default]
    Latest,
    /// A task for each, the oldest first.
    All {
        /// For how many, counted from the last of them; the older are passed over. From 1 to
        /// [`CATCH_UP_MAX`](crate::limits::CATCH_UP_MAX).
        at_most: u32,
    },
}

impl Schedule {
    /// When the wall clock of a zone, UTC unless [`Schedule::zone`] says otherwise, shows what the expression allows.
    ///
    /// # Errors
    /// `invalid-input` with the fields `expression`, `field`, `position` (the character, from 1) and `value`.
    pub fn cron(expression: &str) -> Result<Self> {
        Ok(Self::new(Timing::Cron {
            cron: expression.parse()?,
            zone: Zone::utc(),
        }))
    }

    /// Every `period`: whenever a multiple of it has passed since the [`anchor`](Schedule::anchor). From
    /// [`SCHEDULE_PERIOD_MIN`](crate::limits::SCHEDULE_PERIOD_MIN) to [`SCHEDULE_PERIOD_MAX`](crate::limits::SCHEDULE_PERIOD_MAX).
    pub fn every(period: Duration) -> Self {
        Self::new(Timing::Every {
            period,
            anchor: Timestamp::EPOCH,
        })
    }

    /// At this moment and never again; when it has passed already, as [`CatchUp`] says. The schedule stays, with nothing
    /// more to do, until it is removed, so that a program may give it again at each start.
    pub fn once(at: Timestamp) -> Self {
        Self::new(Timing::Once(at))
    }

    fn new(timing: Timing) -> Self {
        Self {
            timing,
            catch_up: CatchUp::default(),
            jitter: Duration::ZERO,
        }
    }

    /// Whose wall clock a cron expression speaks of, by the zone's name in the IANA database, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// `invalid-input` with the field `zone` when this machine does not know it, or the schedule is no cron expression.
    pub fn zone(mut self, name: &str) -> Result<Self> {
        match &mut self.timing {
            Timing::Cron { zone, .. } => *zone = Zone::new(name)?,
            Timing::Every { .. } | Timing::Once(_) => {
                return Err(
                    Error::new(ErrorKind::InvalidInput, "only cron expressions have a time zone")
                        .with("field", "zone")
                        .with("value", format!("{:.80}", name.escape_debug()))
                        .with_hint("intervals and single times are moments, the same in every zone"),
                );
            }
        }
        Ok(self)
    }

    /// What an interval is counted from; 1970-01-01T00:00:00Z unless given, so that a quarter of an hour begins at :00, :15,
    /// :30 and :45.
    ///
    /// # Errors
    /// `invalid-input` with the field `anchor` when the schedule is no interval.
    pub fn anchor(mut self, at: Timestamp) -> Result<Self> {
        match &mut self.timing {
            Timing::Every { anchor, .. } => *anchor = at,
            Timing::Cron { .. } | Timing::Once(_) => {
                return Err(
                    Error::new(ErrorKind::InvalidInput, "only intervals are counted from somewhere")
                        .with("field", "anchor")
                        .with("value", at),
                );
            }
        }
        Ok(self)
    }

    /// What becomes of due times that are missed; [`CatchUp::Latest`] unless set.
    pub fn catch_up(mut self, policy: CatchUp) -> Self {
        self.catch_up = policy;
        self
    }

    /// The first due time after `after`, jitter apart: to see what a schedule will do before it does it.
    ///
    /// ```
    /// use hive_orchestration::schedule::Schedule;
    ///
    /// let fridays = Schedule::cron("0 18 * * FRI#L")?.zone("Europe/Berlin")?;
    /// let first = fridays.next_after("2026-01-01T00:00:00Z".parse()?)?;
    /// assert_eq!(first, Some("2026-01-30T18:00:00+01:00".parse()?));
    /// # Ok::<(), hive_orchestration::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid-input` when this machine does not know the time zone, or the period is out of range.
    pub fn next_after(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.check()?;
        Ok(self.next("", after)?.map(|due| due.at))
    }

    /// Acts upon each due time later by less than this, so that what falls due together does not begin together; not at all
    /// unless set. By how much depends on the schedule's name and the due time alone, and is always less than what is left
    /// until the next. At most [`SCHEDULE_JITTER_MAX`](crate::limits::SCHEDULE_JITTER_MAX).
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }
}

/// `cron 0 3 * * * in Europe/Berlin`, `every 900s`, `once at …`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.timing {
            Timing::Cron { cron, zone } => write!(f, "cron {} in {}", cron.as_str(), zone.as_str()),
            Timing::Every { period, .. } => write!(f, "every {period:?}"),
            Timing::Once(at) => write!(f, "once at {at}"),
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("timing", &format_args!("{self}"))
            .field("catch_up", &self.catch_up)
            .field("jitter", &self.jitter)
            .finish()
    }
}

/// A schedule at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Its name.
    pub name: String,
    /// When it is due.
    pub schedule: Schedule,
    /// The agent that its tasks are for.
    pub agent: String,
    /// On whose behalf they are.
    pub tenant: String,
    /// Whether it is paused: nothing is submitted then.
    pub paused: bool,
    /// When the next task is submitted, jitter included; `None` when there is none to come, or it is paused.
    pub next: Option<Timestamp>,
    /// The due time of the latest task that was submitted on time or made up for.
    pub last_due: Option<Timestamp>,
    /// The latest task, also when it was asked for by hand.
    pub last_task: Option<TaskId>,
    /// How many tasks it has submitted.
    pub fired: u64,
    /// Grows with everything that happens to it.
    pub revision: u64,
    /// When it was first given.
    pub created_at: Timestamp,
}
