//! One account, as its row holds it: what is decided on it.

use std::time::Duration;

use hive_core::clock::Timestamp;
use hive_core::db::{Row, Tx};
use hive_core::id::TaskId;
use hive_errors::{Error, ErrorKind, Result};

use super::{Account, Budget, Line, Resource, Shortage, Spend};

/// What is asked of the accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) spend: Spend,
    pub(crate) children: u64,
    /// How deep in its tree the deepest of the children is.
    pub(crate) depth: u32,
}

impl Need {
    /// In the order of [`COUNTED`].
    fn amounts(&self) -> [i64; 4] {
        let Spend {
            tokens,
            micro_usd,
            calls,
        } = self.spend;
        [tokens, micro_usd, calls, self.children].map(whole)
    }
}

impl From<Spend> for Need {
    fn from(spend: Spend) -> Self {
        Self {
            spend,
            ..Self::default()
        }
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is counted, in the order of the columns.
const COUNTED: [Resource; 4] = [
    Resource::Tokens,
    Resource::MicroUsd,
    Resource::Calls,
    Resource::Children,
];

/// What an account has of one resource. Invariant: `used <= limit`, and `over > 0` only where they are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) limit: Option<i64>,
    /// Spent and reserved.
    pub(crate) used: i64,
    /// Used beyond the limit.
    pub(crate) over: i64,
}

impl Count {
    pub(crate) fn room(&self) -> i64 {
        self.limit.map_or(i64::MAX, |limit| limit.saturating_sub(self.used))
    }

    fn total(&mut self, total: i64) {
        self.used = total.min(self.limit.unwrap_or(i64::MAX)).max(0);
        self.over = total.saturating_sub(self.used).max(0);
    }

    fn draw(&mut self, amount: i64) {
        self.total(self.used.saturating_add(self.over).saturating_add(amount));
    }

    fn settle(&mut self, reserved: i64, really: i64) {
        let all = self.used.saturating_add(self.over);
        self.total(all.saturating_sub(reserved).saturating_add(really));
    }

    fn raise(&mut self, by: i64) {
        self.limit = self.limit.map(|limit| limit.saturating_add(by));
        self.total(self.used.saturating_add(self.over));
    }
}

/// An account, locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) fails: bool,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) wall_us: Option<i64>,
    /// How deep in its tree a task below may be.
    pub(crate) deepest: Option<i64>,
    /// In the order of [`COUNTED`].
    pub(crate) counts: [Count; 4],
}

/// What is left of an account: who needs no more than this does not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// In the order of [`COUNTED`].
    pub(crate) room: [i64; 4],
    pub(crate) deepest: i64,
}

impl Book {
    /// The first thing that is lacking.
    pub(crate) fn short(&self, need: &Need, now: Timestamp) -> Option<Shortage> {
        let lacks = |resource, missing| Shortage {
            account: self.id,
            seq: self.seq,
            resource,
            missing,
            fails: self.fails,
        };
        if let Some(late) = self.late(now) {
            let missing = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            return Some(lacks(Resource::WallTime, missing.max(1)));
        }
        let deeper = self
            .deepest
            .map_or(0, |deepest| i64::from(need.depth).saturating_sub(deepest));
        if deeper > 0 {
            return Some(lacks(Resource::Depth, deeper.unsigned_abs()));
        }
        let counted = COUNTED.into_iter().zip(&self.counts).zip(need.amounts());
        counted
            .filter(|(_, amount)| *amount > 0)
            .find_map(|((resource, count), amount)| {
                let missing = amount.saturating_sub(count.room());
                (missing > 0).then(|| {
                    lacks(
                        resource,
                        missing.unsigned_abs().saturating_add(count.over.unsigned_abs()),
                    )
                })
            })
    }

    /// Until when something may begin.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let (start, wall) = self.started_at.zip(self.wall_us)?;
        Some(start + Duration::from_micros(wall.unsigned_abs()))
    }

    /// By how much its time is over.
    pub(super) fn late(&self, now: Timestamp) -> Option<Duration> {
        self.until().filter(|until| *until <= now).map(|until| now.since(until))
    }

    pub(super) fn left(&self) -> Left {
        Left {
            room: self.counts.map(|count| count.room()),
            deepest: self.deepest.unwrap_or(i64::MAX),
        }
    }

    pub(crate) fn draw(&mut self, need: &Need) {
        for (count, amount) in self.counts.iter_mut().zip(need.amounts()) {
            count.draw(amount);
        }
    }

    pub(crate) fn settle(&mut self, reserved: Spend, really: Spend) {
        let amounts = Need::from(reserved)
            .amounts()
            .into_iter()
            .zip(Need::from(really).amounts());
        for (count, (reserved, really)) in self.counts.iter_mut().zip(amounts) {
            count.settle(reserved, really);
        }
    }

    /// Raises what is limited; the first thing that is not is refused.
    pub(crate) fn raise(&mut self, by: &Budget) -> Result<()> {
        let limited = |has: bool, resource: Resource| {
            if has {
                return Ok(());
            }
            Err(Error::new(ErrorKind::InvalidInput, "the budget does not limit this")
                .with("field", resource.name())
                .with("account", self.id))
        };
        if by.wall_time.is_some() {
            limited(self.wall_us.is_some(), Resource::WallTime)?;
        }
        if by.depth.is_some() {
            limited(self.deepest.is_some(), Resource::Depth)?;
        }
        let counted = [by.tokens, by.micro_usd, by.calls, by.children];
        for ((resource, count), more) in COUNTED.into_iter().zip(&self.counts).zip(counted) {
            limited(more.is_none() || count.limit.is_some(), resource)?;
        }
        for (count, more) in self.counts.iter_mut().zip(counted) {
            count.raise(whole(more.unwrap_or_default()));
        }
        let wall = by.wall_time.unwrap_or_default().as_micros();
        let wall = i64::try_from(wall).unwrap_or(i64::MAX);
        self.wall_us = self.wall_us.map(|known| known.saturating_add(wall));
        let deeper = i64::from(by.depth.unwrap_or_default());
        self.deepest = self.deepest.map(|known| known.saturating_add(deeper));
        Ok(())
    }

    /// As whoever asks sees it; what is reserved by runs under way is known apart.
    pub(crate) fn told(&self, reserved: Spend, own_depth: u32, now: Timestamp) -> Account {
        let reserved = Need::from(reserved).amounts();
        let mut lines = self.counts.iter().zip(reserved).map(|(count, reserved)| Line {
            limit: count.limit.map(i64::unsigned_abs),
            spent: count.used.saturating_sub(reserved).max(0).unsigned_abs(),
            reserved: reserved.unsigned_abs(),
            over: count.over.unsigned_abs(),
        });
        let mut line = || lines.next().unwrap_or_default();
        Account {
            task: self.id,
            tokens: line(),
            micro_usd: line(),
            calls: line(),
            children: line(),
            depth: self
                .deepest
                .map(|deepest| u32::try_from(deepest.saturating_sub(i64::from(own_depth))).unwrap_or(u32::MAX)),
            wall_time: self.wall_us.map(|wall| Duration::from_micros(wall.unsigned_abs())),
            elapsed: self.started_at.map_or(Duration::ZERO, |start| now.since(start)),
            fails_when_exhausted: self.fails,
        }
    }

    pub(crate) fn read(row: &Row<'_>) -> Result<Self> {
        let count = |first: usize| {
            Ok::<_, Error>(Count {
                limit: row.get(first)?,
                used: row.get(first + 1)?,
                over: row.get(first + 2)?,
            })
        };
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            fails: row.get::<i64>(2)? == 1,
            started_at: row.get(3)?,
            wall_us: row.get(4)?,
            deepest: row.get(5)?,
            counts: [count(6)?, count(9)?, count(12)?, count(15)?],
        })
    }

    pub(super) fn write(&self, tx: &mut Tx<'_>) -> Result<()> {
        let [tokens, micro_usd, calls, children] = self.counts;
        tx.execute(
            "UPDATE budget SET wall_us = ?2, deepest = ?3,
                               tokens_limit = ?4, tokens_used = ?5, tokens_over = ?6,
                               micro_usd_limit = ?7, micro_usd_used = ?8, micro_usd_over = ?9,
                               calls_limit = ?10, calls_used = ?11, calls_over = ?12,
                               children_limit = ?13, children_used = ?14, children_over = ?15
             WHERE task = ?1",
            &[
                &self.seq,
                &self.wall_us,
                &self.deepest,
                &tokens.limit,
                &tokens.used,
                &tokens.over,
                &micro_usd.limit,
                &micro_usd.used,
                &micro_usd.over,
                &calls.limit,
                &calls.used,
                &calls.over,
                &children.limit,
                &children.used,
                &children.over,
            ],
        )
        .map(drop)
    }
}
