//! Retention: what may be forgotten, and when. See [`RetentionPolicy`].

mod keep;
mod pass;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

pub(crate) use self::keep::Sweeper;
pub(crate) use self::pass::pass;
use crate::limits;
use crate::topic::{Patterns, Topic};

/// A rule on the events of some topics: what may be forgotten of them.
///
/// Without a bound, nothing may. See [`RetentionPolicy`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a rule does nothing until it is part of a policy"]
pub struct Retention {
    topics: Patterns,
    age: Option<Duration>,
    count: Option<u64>,
    bytes: Option<u64>,
    even_unread: bool,
}

impl Retention {
    /// A rule on events whose topics match: a [`Pattern`](crate::Pattern), or several as [`Patterns`].
    pub fn of(topics: impl Into<Patterns>) -> Self {
        Self {
            topics: topics.into(),
            age: None,
            count: None,
            bytes: None,
            even_unread: false,
        }
    }

    /// What is dated longer ago than this may go. The log counts as being in the order of its dates: an event that was published
    /// with a date of its own goes no earlier than those around it.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// What is not among the newest so many of this rule's events may go.
    pub fn count(mut self, events: u64) -> Self {
        self.count = Some(events);
        self
    }

    /// What is not among the newest of this rule's events that take so many bytes together may go. An event takes what its data
    /// and attributes do; what the database adds to that for itself comes on top.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Lets go also of what durable consumers have not finished. They are not told: what is missing is passed over.
    pub fn even_unread(mut self) -> Self {
        self.even_unread = true;
        self
    }
}

/// What may be forgotten: rules, of which the first that matches an event decides on it.
///
/// A bus forgets nothing by itself. A [`RetentionPolicy`] says what may go, by age, by number and by size, for the topics that its
/// rules name; [`Bus::retain`](crate::Bus::retain) lets go of it once, [`Bus::keep`](crate::Bus::keep) again and again in the
/// background.
///
/// ```
/// use std::time::Duration;
///
/// use hive_bus::{Bus, Pattern, Retention, RetentionPolicy};
///
/// # async fn example(bus: Bus) -> hive_bus::Result<()> {
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let policy = RetentionPolicy::new([
///     // No bound: these are kept for ever, whatever the rules below say.
///     Retention::of(Pattern::new("audit.>")?),
///     // Who reads these late has no use for them.
///     Retention::of(Pattern::new("agent.heartbeat.*")?).count(10_000).even_unread(),
///     Retention::of(Pattern::ALL).age(30 * DAY).bytes(20_000_000_000),
/// ])?;
/// bus.keep(policy, Duration::from_secs(60 * 60)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Which rule
/// The first rule whose topics match an event decides on it, and no other does: put the particular before the general. An event
/// that no rule matches is kept. Of a rule's bounds, each says what may go: an event goes when it is too old, *or* not among the
/// newest so many, *or* not among the newest of so many bytes.
///
/// # What waits for whom
/// An event stays for as long as a durable consumer of this database has not finished it: it comes after the consumer's cursor and
/// matches its patterns, or it is under way. So a consumer that is not running any more holds back what it listens to, and nothing
/// else: [`Pruned::held_back`] says how much and [`Pruned::held_by`] who. Let it go on, or
/// [remove](crate::Bus::remove_consumer) it; or say [`Retention::even_unread`] for events that are worth nothing by then. The
/// relay to another transport is a consumer of everything, and even unread means not even relayed. A consumer that is made, or
/// sent back, while events are being removed begins at what is left.
///
/// Nothing waits for live subscriptions, which have no place where they are remembered: one that is so far behind misses what was
/// removed. Another process that has recent events in memory may still hand them out for a moment. Dead letters hold their events whole and outlive them.
///
/// # What it costs
/// A pass reads the log's outlines (sequence, date, topic, size; not the data) in pages and removes in short transactions, a few
/// hundred events each, so that nobody waits long. For bounds by age it reads what is older than the least of them, from the
/// oldest event on; what is kept of that is read again each time. For bounds by number or size it also reads from the newest event
/// back until all of them are full, which may be the whole log. It can be stopped anywhere, and several processes may do it at the
/// same time.
///
/// On SQLite the file does not shrink; what is free in it is used again. On PostgreSQL, vacuuming does the same.
///
/// # Afterwards
/// Sequences are not given again. Reading, and history and traces, go over what is missing; a trace whose beginning is gone has
/// its later events as roots. Publishing an event again with the id of one that was removed is a new event.
///
/// Other transports than the database bound what they keep themselves, whoever has read it, and say by how much:
/// [`Memory`](crate::transport::Memory) and the options of those that have a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    rules: Vec<Retention>,
}

impl RetentionPolicy {
    /// A policy of these rules, in this order.
    ///
    /// # Errors
    /// `invalid-input` when there is no rule, `limit-reached` for more than [`limits::RETENTION_RULES_MAX`].
    pub fn new(rules: impl IntoIterator<Item = Retention>) -> Result<Self> {
        let rules: Vec<Retention> = rules.into_iter().collect();
        if rules.is_empty() {
            return Err(
                Error::new(ErrorKind::InvalidInput, "a policy without rules forgets nothing")
                    .with_hint("give it a rule, or do not use it"),
            );
        }
        if rules.len() > limits::RETENTION_RULES_MAX {
            return Err(Error::new(ErrorKind::LimitReached, "there are too many rules")
                .with("rules", rules.len())
                .with("limit", limits::RETENTION_RULES_MAX));
        }
        Ok(Self { rules })
    }

    /// Which rule decides on events of this topic, by its place.
    fn place_for(&self, topic: &Topic) -> Option<usize> {
        self.rules.iter().position(|rule| rule.topics.matches(topic))
    }
}

/// What became of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// How many events were removed.
    pub events: u64,
    /// Of how many bytes, as [`Retention::bytes`] counts them.
    pub bytes: u64,
    /// How many more would have been, were it not for consumers that may still need them.
    pub held_back: u64,
    /// The consumer that holds back the oldest of those.
    pub held_by: Option<String>,
}
