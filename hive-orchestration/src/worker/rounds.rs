//! The dispatcher: in rounds, it writes down how runs have ended and claims the next, both in one transaction, or side by side in two
//! where the database takes two at once.
//!
//! While a round's commit is under way more runs end, and go with the next. So the commits of a busy hive hold many ends and
//! claims each, and an idle one has one that is written at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::timeout;
use hive_core::db::Dialect;
use hive_errors::{Error, ErrorKind, Failure, Result};
use semver::Version;
use tokio::task::{Id, JoinError, JoinSet};

use super::places::Reservation;
use super::{Shop, drive};
use crate::limits;
use crate::patience::Patience;
use crate::queue;
use crate::queue::claim::{self, Claimed, Claims, Room};
use crate::queue::finish::{self, Finished, How};
use crate::queue::pick::Turns;
use crate::queue::recover;

pub(super) struct Rounds {
    shop: Arc<Shop>,
    runs: JoinSet<Option<Finished>>,
    /// The tasks of those runs.
    open: HashMap<Id, i64>,
    /// Nobody knows whether the last round was written; what it claimed, if it was, nobody runs.
    unsure: bool,
    /// Ends that are not written down yet.
    ends: Vec<Finished>,
    turns: Turns,
    versions: Arc<HashMap<String, Version>>,
}

/// When the next round is.
enum Next {
    /// There may be more.
    AtOnce,
    /// When something happens, or at this point of the monotonic clock.
    Until(Duration),
}

impl Rounds {
    pub(super) fn new(shop: Arc<Shop>) -> Self {
        Self {
            versions: Arc::new(shop.registry.versions()),
            shop,
            runs: JoinSet::new(),
            open: HashMap::new(),
            unsure: false,
            ends: Vec::new(),
            turns: Turns::default(),
        }
    }

    /// Goes on until the hive drains and nothing runs any more.
    pub(super) async fn run(mut self) {
        let shop = Arc::clone(&self.shop);
        let patience = || Patience::new(&*shop.queue.clock, &*shop.queue.rng);
        let mut trouble = patience();
        while !shop.draining.is_cancelled() {
            self.gather();
            match self.round(true).await {
                Ok(Next::AtOnce) => trouble = patience(),
                Ok(Next::Until(then)) => {
                    trouble = patience();
                    self.rest(then).await;
                }
                Err(error) if error.kind() == ErrorKind::ShuttingDown => shop.draining.cancelled().await,
                Err(error) => tokio::select! {
                    biased;
                    () = shop.draining.cancelled() => {}
                    () = trouble.wait("the queue could not be read or written", &error) => {}
                },
            }
        }
        self.drain().await;
    }

    /// Waits until there may be something to do.
    async fn rest(&mut self, then: Duration) {
        let shop = Arc::clone(&self.shop);
        let wait = then.saturating_sub(shop.queue.clock.monotonic());
        // In a fixed order, so that a simulation repeats itself. Whichever it is, the next round deals with the others.
        tokio::select! {
            biased;
            () = shop.draining.cancelled() => {}
            () = shop.queue.wakeups.dispatched() => {}
            Some(ended) = self.runs.join_next_with_id() => self.take(ended),
            () = shop.queue.clock.sleep(wait.min(shop.queue.pace.dispatch)) => {}
        }
    }

    /// Takes in the runs that have ended by now.
    fn gather(&mut self) {
        while self.ends.len() < limits::FINISH_BATCH
            && let Some(ended) = self.runs.try_join_next_with_id()
        {
            self.take(ended);
        }
    }

    fn take(&mut self, ended: Result<(Id, Option<Finished>), JoinError>) {
        match ended {
            Ok((id, finished)) => {
                self.open.remove(&id);
                self.ends.extend(finished);
            }
            Err(error) => {
                tracing::error!(%error, "a worker died; its task is taken back");
                self.open.remove(&error.id());
                self.unsure = true;
            }
        }
    }

    /// Gives back what this process has claimed, as the database says, and does not run.
    async fn give_back(&mut self) -> Result<()> {
        let queue = self.shop.queue.clone();
        let ends = self.ends.iter().map(|end| end.lease.task);
        let known: HashSet<i64> = self.open.values().copied().chain(ends).collect();
        let strays = queue::write(&self.shop.db, move |tx| recover::give_back(tx, &queue, &known)).await?;
        if strays > 0 {
            tracing::warn!(strays, "runs that were claimed and never began are given back");
        }
        self.unsure = false;
        Ok(())
    }

    /// Writes down the ends at hand and, if `claiming`, claims what there is room for.
    async fn round(&mut self, claiming: bool) -> Result<Next> {
        let shop = Arc::clone(&self.shop);
        // From before the database is asked what time it is: a moment too early does no harm, and one that is missed would.
        let begun = shop.queue.clock.monotonic();
        if self.unsure {
            self.give_back().await?;
        }
        // Places first: a claimed task must never wait for a worker.
        let places = shop.places.reserve(if claiming { limits::CLAIM_BATCH } else { 0 });
        let free = places.total();
        if free == 0 && self.ends.is_empty() {
            shop.places.note_short(claiming);
            // Nothing can begin. Timers fall due all the same: a run may wait for one beside its work, to cut it short.
            let due = shop.db.read(|db| Ok((claim::next_due(db)?, db.now()?))).await?;
            let wait = due.0.map_or(shop.queue.pace.dispatch, |at| at.since(due.1));
            if !wait.is_zero() || !claiming {
                return Ok(Next::Until(begun + wait));
            }
        }
        let room = Room {
            total: free,
            agents: shop
                .registry
                .served()
                .map(|name| (name.to_owned(), places.of(name)))
                .collect(),
            versions: Arc::clone(&self.versions),
        };
        let ends = Arc::new(std::mem::take(&mut self.ends));
        let (finished, claims) = self.write(&ends, room, claiming).await;
        let took = shop.queue.clock.monotonic().saturating_sub(begun);
        let claimed = claims.as_ref().map_or(0, |claims| claims.tasks.len());
        let error = finished.as_ref().err().or_else(|| claims.as_ref().err());
        shop.queue
            .telemetry
            .round(took, ends.len(), error.map_or(Ok(claimed), Err));
        // If something was claimed, nobody runs it.
        self.unsure |= error.is_some_and(|error| error.kind() == ErrorKind::Indeterminate);
        let mut next = Next::AtOnce;
        let mut failed = None;
        match claims {
            Ok(claims) => {
                shop.places.note_short(claims.more || claimed == free);
                if !claims.more {
                    next = Next::Until(begun + claims.due_in.unwrap_or(shop.queue.pace.dispatch));
                }
                self.turns = claims.turns;
                if claimed > 0 && took >= limits::SILENCE && shop.db.dialect() == Dialect::Postgres {
                    // The process stood still meanwhile, and others have taken it for dead: what it claimed they run by now, and what they
                    // do not it gives back.
                    self.unsure = true;
                    next = Next::AtOnce;
                } else {
                    self.begin(claims.tasks, places);
                }
            }
            Err(error) => failed = Some(error),
        }
        if let Err(error) = finished {
            // Nothing of it was written, or what was is refused: all of it is tried again.
            self.ends = Arc::try_unwrap(ends).unwrap_or_else(|ends| (*ends).clone());
            if !error.is_retryable() && !self.unsure && !self.ends.is_empty() {
                self.write_singly(error).await?;
                return Ok(Next::AtOnce);
            }
            failed = Some(error);
        }
        failed.map_or(Ok(next), Err)
    }

    /// Writes down these ends and claims what there is room for: in one transaction, or, where transactions go side by side and the
    /// ends are many, in two. When one transaction fails the error is that of the ends, and nothing is claimed.
    async fn write(&self, ends: &Arc<Vec<Finished>>, room: Room, claiming: bool) -> (Result<()>, Result<Claims>) {
        let (db, queue) = (&self.shop.db, self.shop.queue.clone());
        let (written, turns, before) = (Arc::clone(ends), self.turns.clone(), self.turns.clone());
        let nothing = move || Claims {
            turns: before,
            ..Claims::default()
        };
        let splits = db.dialect() == Dialect::Postgres && claiming && ends.len() >= limits::ROUND_SPLIT;
        if splits {
            let ending = queue.clone();
            let finish = queue::write(db, move |tx| finish::finish_all(tx, &ending, &written).map(drop));
            let claim = queue::write(db, move |tx| claim::claim(tx, &queue, &room, &turns));
            return tokio::join!(finish, claim);
        }
        let done = queue::write(db, move |tx| {
            finish::finish_all(tx, &queue, &written)?;
            if claiming {
                claim::claim(tx, &queue, &room, &turns).map(Some)
            } else {
                Ok(None)
            }
        });
        match done.await {
            Ok(claims) => (Ok(()), Ok(claims.unwrap_or_else(nothing))),
            Err(error) => (Err(error), Ok(nothing())),
        }
    }

    /// Runs what was claimed.
    fn begin(&mut self, claimed: Vec<Claimed>, mut places: Reservation) {
        for claimed in claimed {
            // Invariant: no more is claimed than there are places.
            let Some(place) = places.take(&claimed.task.agent) else {
                break;
            };
            let task = claimed.lease.task;
            let run = self.runs.spawn(drive::run(Arc::clone(&self.shop), claimed, place));
            self.open.insert(run.id(), task);
        }
    }

    /// Finds out which of the ends it is that cannot be written down: it will never do as it is, but that much can perhaps be said.
    async fn write_singly(&mut self, error: Error) -> Result<()> {
        tracing::error!(%error, "the ends of runs could not be written down together");
        while let Some(end) = self.ends.pop() {
            let (queue, alone) = (self.shop.queue.clone(), end.clone());
            let written = queue::write(&self.shop.db, move |tx| {
                finish::finish_all(tx, &queue, std::slice::from_ref(&alone))
            })
            .await;
            let Err(error) = written else { continue };
            if error.is_retryable() || [ErrorKind::ShuttingDown, ErrorKind::Indeterminate].contains(&error.kind()) {
                self.ends.push(end);
                return Err(error);
            }
            let How::Output(..) = end.how else {
                tracing::error!(%error, task = %end.task.id, "the end of a run cannot be written down; it is recovered at the next open");
                continue;
            };
            let how = How::Failure(Failure::from(error).into_terminal(), hive_errors::RetryPolicy::none());
            self.ends.push(Finished { how, ..end });
        }
        Ok(())
    }

    /// Lets runs end for a while, then takes their leases back so that the next process can go on at once.
    async fn drain(mut self) {
        let shop = Arc::clone(&self.shop);
        let clock = &*shop.queue.clock;
        if timeout(clock, shop.drain, self.settle()).await.is_ok() {
            return;
        }
        tracing::info!(left = self.runs.len(), "runs that did not end in time are handed back");
        shop.queue.wakeups.stop_all();
        if timeout(clock, limits::DRAIN, self.settle()).await.is_err() {
            // They block without awaiting, so nobody can wait for them either. Their leases fall at the next open.
            tracing::warn!(left = self.runs.len(), "runs that do not await were abandoned");
            self.runs.abort_all();
        }
    }

    /// Waits for the runs that are left, and writes down how they end.
    async fn settle(&mut self) {
        let shop = Arc::clone(&self.shop);
        let mut trouble = Patience::new(&*shop.queue.clock, &*shop.queue.rng);
        loop {
            self.gather();
            if !self.ends.is_empty() {
                match self.round(false).await {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
                    Err(error) => trouble.wait("the ends of runs could not be written down", &error).await,
                }
                continue;
            }
            match self.runs.join_next_with_id().await {
                Some(ended) => self.take(ended),
                None => return,
            }
        }
    }
}
