//! This process's picture of who is there, at most [`limits::DIRECTORY_FRESH`] old.
//!
//! Routing reads the picture and not the database, so that a thousand tasks cost one look, and on PostgreSQL a submission
//! does not collide with the heartbeats that it would otherwise have read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hive_core::clock::{Clock, Timestamp};
use hive_core::db::Snapshot;
use hive_errors::Result;

use super::candidate::{Candidate, candidates};
use super::{Chance, Target};
use crate::limits;
use crate::registry::{Query, discover};

#[derive(Debug)]
pub(crate) struct Directory {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the picture was taken, on the monotonic clock.
    taken: Option<Duration>,
    candidates: Vec<Candidate>,
    /// The last sign of life of each agent when it was taken.
    heard: BTreeMap<String, Timestamp>,
    /// What was given to each agent since it last said how busy it is. Without it all that is submitted between two
    /// heartbeats would go to the same agent.
    given: BTreeMap<String, u64>,
    /// How many tasks were routed to each target.
    turns: BTreeMap<String, u64>,
}

/// A picture, before it is hung up.
#[derive(Debug)]
pub(crate) struct Picture {
    candidates: Vec<Candidate>,
    heard: BTreeMap<String, Timestamp>,
}

impl Directory {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// Whether it is time for a new picture.
    pub(crate) fn is_stale(&self) -> bool {
        let now = self.clock.monotonic();
        let fresh = |taken: Duration| now.saturating_sub(taken) < limits::DIRECTORY_FRESH;
        !self.state().taken.is_some_and(fresh)
    }

    /// Takes a picture.
    ///
    /// # Errors
    /// As [`discover`].
    pub(crate) fn look(db: &Snapshot<'_>) -> Result<Picture> {
        let listings = discover(db, &Query::new().with_offline())?;
        let mut heard: BTreeMap<String, Timestamp> = BTreeMap::new();
        for listing in &listings {
            let last = heard.entry(listing.agent.clone()).or_insert(listing.heartbeat_at);
            *last = listing.heartbeat_at.max(*last);
        }
        let queued = queued(db, heard.keys())?;
        Ok(Picture {
            candidates: candidates(&listings, &queued),
            heard,
        })
    }

    /// Hangs a picture up in place of the last.
    pub(crate) fn hang(&self, picture: Picture) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let State { heard, given, .. } = &mut *state;
        // Who has said since how busy it is, has counted what it was given.
        given.retain(|agent, _| picture.heard.contains_key(agent) && picture.heard.get(agent) == heard.get(agent));
        state.candidates = picture.candidates;
        state.heard = picture.heard;
        state.taken = Some(now);
    }

    /// Who comes into question.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let state = self.state();
        let mut candidates = state.candidates.clone();
        for one in &mut candidates {
            one.queued = one
                .queued
                .saturating_add(state.given.get(&one.agent).copied().unwrap_or(0));
        }
        candidates
    }

    /// What chance says about a task for this target.
    pub(crate) fn chance(&self, target: &Target, seed: u64) -> Chance {
        let mut state = self.state();
        let target = target.to_string();
        if state.turns.len() >= limits::TURNS_KEPT && !state.turns.contains_key(&target) {
            state.turns.clear();
        }
        let next = state.turns.entry(target).or_default();
        let turn = *next;
        *next = next.wrapping_add(1);
        Chance { seed, turn }
    }

    /// A task was given to the agent. Called once it is on disk.
    pub(crate) fn given(&self, agent: &str) {
        let mut state = self.state();
        let given = state.given.entry(agent.to_owned()).or_default();
        *given = given.saturating_add(1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many tasks wait for each of these agents, up to a limit.
fn queued<'a>(db: &Snapshot<'_>, agents: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, u64>> {
    let count = |agent: &String| {
        let waiting = db.query_one(
            "SELECT count(*) FROM (SELECT 1 AS one FROM task WHERE state = 1 AND agent = ?1 LIMIT ?2) AS waiting",
            &[agent, &limits::QUEUE_SAMPLED],
            |row| row.get::<u64>(0),
        )?;
        Ok((agent.clone(), waiting))
    };
    agents.map(count).collect()
}
