//! One pass: finds out up to where events may go, and lets go of them from the oldest on.

use std::ops::ControlFlow;
use std::sync::Arc;

use hive_core::clock::Timestamp;
use hive_core::db::{Snapshot, Tx, Write};
use hive_errors::Result;

use super::{Pruned, Retention, RetentionPolicy};
use crate::consumer::State;
use crate::event::Sequence;
use crate::limits;
use crate::log::{self, Outline};
use crate::transport::{self, Database, Keeper, Transport};

/// Removes what the policy says may go.
pub(crate) async fn pass(database: &Database, policy: &RetentionPolicy) -> Result<Pruned> {
    let plan = Arc::new(Plan::make(database, policy).await?);
    let mut pruned = Pruned::default();
    let mut after = Sequence::START;
    let end = plan.end();
    while after < end {
        let own = Arc::clone(&plan);
        let look = database.db().read(move |db| own.look(db, after, end)).await?;
        after = look.reached;
        pruned.held(look.held);
        if !look.going.is_empty() {
            let own = Arc::clone(&plan);
            let asked = Write::relaxed().read_committed();
            let last = look.going.last().map_or(after, |outline| outline.sequence);
            // What a loss of power takes back, the next pass removes.
            let removed = database
                .db()
                .write_with(asked, move |tx| own.remove(tx, &look.going))
                .await?;
            pruned.events += removed.events;
            pruned.bytes += removed.bytes;
            pruned.held(removed.held);
            // Whoever reads from here on gets what is left.
            database.live().removed(last);
        }
        tokio::task::yield_now().await;
    }
    Ok(pruned)
}

/// The policy, and up to where its rules reach now.
struct Plan {
    policy: RetentionPolicy,
    reaches: Vec<Reach>,
    keeper: Option<Keeper>,
}

/// Up to where a rule lets go of its events.
#[derive(Clone, Copy, Default)]
struct Reach {
    /// Up to here there are too many of them, or too large ones.
    beyond: Sequence,
    /// Up to here the log is too old, where it is dated before this time.
    aged: Option<(Sequence, Timestamp)>,
}

/// How much of a rule's events, from the newest back, was counted.
#[derive(Clone, Copy, Default)]
struct Total {
    events: u64,
    bytes: u64,
    full: bool,
}

/// What a look at a part of the log found.
struct Look {
    reached: Sequence,
    going: Vec<Outline>,
    held: Held,
}

struct Removed {
    events: u64,
    bytes: u64,
    held: Held,
}

/// What may go and has to wait: how much, and for whom the first.
#[derive(Default)]
struct Held {
    events: u64,
    by: Option<String>,
}

impl Plan {
    async fn make(database: &Database, policy: &RetentionPolicy) -> Result<Self> {
        let now = database.now().await?;
        let mut reaches = vec![Reach::default(); policy.rules.len()];
        for (reach, rule) in reaches.iter_mut().zip(&policy.rules) {
            if let Some(age) = rule.age {
                let cut = now - age;
                reach.aged = Some((database.before(cut).await?, cut));
            }
        }
        let mut plan = Self {
            policy: policy.clone(),
            reaches,
            keeper: database.keeper(),
        };
        plan.count(database).await?;
        Ok(plan)
    }

    /// Counts the events of each rule that has a bound on them, from the newest back.
    async fn count(&mut self, database: &Database) -> Result<()> {
        let mut totals: Vec<Total> = self.policy.rules.iter().map(Total::of).collect();
        let mut until = Some(Sequence::new(u64::MAX));
        while let Some(from) = until
            && !totals.iter().all(|total| total.full)
        {
            let policy = self.policy.clone();
            let (mut counted, mut reaches) = (totals.clone(), self.reaches.clone());
            let work = move |db: &Snapshot<'_>| {
                // It may have to run again.
                let (mut totals, mut reaches) = (counted.clone(), reaches.clone());
                let next = log::newest(db, from, limits::RETENTION_LOOK, |outline| {
                    if let Some(place) = policy.place_for(&outline.topic)
                        && let Some(rule) = policy.rules.get(place)
                        && let Some(total) = totals.get_mut(place)
                        && let Some(reach) = reaches.get_mut(place)
                        && total.fills(rule, &outline)
                    {
                        reach.beyond = outline.sequence;
                    }
                    if totals.iter().all(|total| total.full) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
                Ok((next, totals, reaches))
            };
            (until, counted, reaches) = database.db().read(work).await?;
            totals = counted;
            self.reaches = reaches;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Nothing after this may go.
    fn end(&self) -> Sequence {
        let ends = self.reaches.iter().map(|reach| {
            let aged = reach.aged.map_or(Sequence::START, |(until, _)| until);
            reach.beyond.max(aged)
        });
        ends.max().unwrap_or(Sequence::START)
    }

    /// The rule by which an event may go.
    fn rule_against(&self, outline: &Outline) -> Option<&Retention> {
        let place = self.policy.place_for(&outline.topic)?;
        let reach = self.reaches.get(place)?;
        let aged = |(until, cut): (Sequence, Timestamp)| outline.sequence <= until && outline.time < cut;
        (outline.sequence <= reach.beyond || reach.aged.is_some_and(aged))
            .then(|| self.policy.rules.get(place))
            .flatten()
    }

    /// Finds events that may go, a transaction's worth of them.
    fn look(&self, db: &Snapshot<'_>, after: Sequence, end: Sequence) -> Result<Look> {
        let consumers = self.needs(db, known(transport::states_in(db)?)?)?;
        let mut look = Look {
            reached: after,
            going: Vec::new(),
            held: Held::default(),
        };
        let mut looked = 0;
        while looked < limits::RETENTION_LOOK && look.reached < end && look.going.len() < limits::RETENTION_BATCH {
            // As many as would still fit if they all went.
            let room = (limits::RETENTION_BATCH - look.going.len()) as u64;
            let (going, held) = (&mut look.going, &mut look.held);
            look.reached = log::oldest(db, look.reached, end, room, |outline| {
                self.sort_out(outline, &consumers, going, held);
            })?;
            looked += room;
        }
        Ok(look)
    }

    /// Removes those of these events that still nobody needs.
    fn remove(&self, tx: &mut Tx<'_>, going: &[Outline]) -> Result<Removed> {
        // From here on nobody goes back behind what was read, until this has been committed.
        let states = known(transport::states_held_in(tx)?)?;
        let consumers = self.needs(tx, states)?;
        let mut held = Held::default();
        let mut free = Vec::with_capacity(going.len());
        for outline in going {
            self.sort_out(outline.clone(), &consumers, &mut free, &mut held);
        }
        let sequences: Vec<Sequence> = free.iter().map(|outline| outline.sequence).collect();
        let mut gone = log::remove_all(tx, &sequences)?;
        gone.sort_unstable();
        let was_there = |outline: &&Outline| gone.binary_search(&outline.sequence).is_ok();
        Ok(Removed {
            events: gone.len() as u64,
            bytes: free.iter().filter(was_there).map(|outline| outline.bytes).sum(),
            held,
        })
    }

    fn sort_out(&self, outline: Outline, needs: &Needs, going: &mut Vec<Outline>, held: &mut Held) {
        let Some(rule) = self.rule_against(&outline) else {
            return;
        };
        if needs.kept_behind.is_some_and(|kept| outline.sequence > kept) {
            held.add(1, || KEEPER.to_owned());
            return;
        }
        let is_needed = |known: &&Known| !rule.even_unread && known.state.needs(&outline.topic, outline.sequence);
        match needs.consumers.iter().find(is_needed) {
            Some(known) => held.add(1, || known.consumer.clone()),
            None => going.push(outline),
        }
    }

    fn needs(&self, db: &Snapshot<'_>, consumers: Vec<Known>) -> Result<Needs> {
        let kept_behind = self.keeper.as_ref().map(|keeper| keeper(db)).transpose()?.flatten();
        Ok(Needs { consumers, kept_behind })
    }
}

/// The name of whoever [keeps](crate::Bus::keep_behind) events and is no consumer.
const KEEPER: &str = "keeper";

/// What must not go.
struct Needs {
    consumers: Vec<Known>,
    /// Everything behind this.
    kept_behind: Option<Sequence>,
}

impl Total {
    fn of(rule: &Retention) -> Self {
        Self {
            full: rule.count.is_none() && rule.bytes.is_none(),
            ..Self::default()
        }
    }

    /// Counts an event; whether it is the first that is too many, or too much.
    fn fills(&mut self, rule: &Retention, outline: &Outline) -> bool {
        if self.full {
            return false;
        }
        self.events += 1;
        self.bytes = self.bytes.saturating_add(outline.bytes);
        self.full =
            rule.count.is_some_and(|most| self.events > most) || rule.bytes.is_some_and(|most| self.bytes > most);
        self.full
    }
}

impl Held {
    fn add(&mut self, events: u64, by: impl FnOnce() -> String) {
        self.events += events;
        self.by.get_or_insert_with(by);
    }
}

impl Pruned {
    /// Parts of the log are looked at from the oldest on.
    fn held(&mut self, held: Held) {
        self.held_back += held.events;
        self.held_by = self.held_by.take().or(held.by);
    }
}

/// A consumer, and what it needs.
struct Known {
    consumer: String,
    state: State,
}

fn known(states: Vec<(String, Vec<u8>)>) -> Result<Vec<Known>> {
    let one = |(consumer, bytes): (String, Vec<u8>)| {
        // As long as it is not known what one of them needs, nothing goes.
        let state = State::from_bytes(&bytes).map_err(|e| e.with("consumer", &consumer))?;
        Ok(Known { consumer, state })
    };
    states.into_iter().map(one).collect()
}
