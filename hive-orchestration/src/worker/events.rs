//! Finds the events that tasks wait for. One for all waits: it follows the log where their patterns lead, and nothing while nobody
//! waits.
//!
//! What it has in memory is what is asked for, the *shapes*; who waits stands in the table and is found there by an event's probe.
//! Each process does all of this for itself, and whoever settles a wait first wins.
//!
//! A wait is for the first event that comes behind a place in the log, and this may have passed that place by when it hears of the
//! wait. So it *takes charge* of each that is new to it: it goes back to the wait's place, once, and looks from there. A wait that
//! is found and was not taken charge of is held off until that has happened, unless it is old: the looks at what has begun, of this
//! process and of others, have come by it then.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hive_bus::{Event, Pattern, PatternTrie, Patterns, Sequence, Subscription};
use hive_core::clock::Timestamp;
use hive_core::db::Dialect;
use hive_errors::{ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::Shop;
use crate::event::{Begun, Came, Looked, Shape};
use crate::limits;
use crate::patience::Patience;
use crate::queue;
use crate::queue::event::{self, Hit};

/// Goes on until `ending`.
pub(super) async fn mind(shop: Arc<Shop>, ending: CancellationToken) {
    tokio::select! {
        biased;
        () = ending.cancelled() => {}
        () = Watch::new(&shop).run() => ending.cancelled().await,
    }
}

/// What is waited for, as far as this process knows.
struct Watch<'a> {
    shop: &'a Shop,
    shapes: HashMap<String, Arc<Shape>>,
    trie: PatternTrie<(String, Arc<Shape>)>,
    /// How many shapes there were when all were looked at.
    counted: Option<usize>,
    /// Waits that have begun of late and that it has taken charge of.
    taken: HashMap<(i64, String), Timestamp>,
    /// Whoever had begun by then was taken charge of.
    horizon: Timestamp,
    /// When to look for what others have begun, and when to write down how far this one has come, by the monotonic clock.
    look_at: Duration,
    advance_at: Duration,
    /// Where to go back to.
    back: Option<Sequence>,
    subscription: Option<Subscription>,
    /// Something is waited for that the subscription does not bring.
    widen: bool,
    /// Events that came and are not dealt with, in order.
    batch: Vec<Event>,
}

impl<'a> Watch<'a> {
    fn new(shop: &'a Shop) -> Self {
        Self {
            shop,
            shapes: HashMap::new(),
            trie: PatternTrie::new(),
            counted: None,
            taken: HashMap::new(),
            horizon: Timestamp::EPOCH,
            look_at: Duration::ZERO,
            advance_at: shop.queue.clock.monotonic() + limits::EVENT_ADVANCE,
            back: None,
            subscription: None,
            widen: false,
            batch: Vec::new(),
        }
    }

    async fn run(mut self) {
        let queue = &self.shop.queue;
        let patience = || Patience::new(&*queue.clock, &*queue.rng);
        let mut trouble = patience();
        loop {
            match self.turn().await {
                Ok(()) => trouble = patience(),
                Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
                Err(error) => {
                    trouble
                        .wait("events that tasks wait for could not be looked for", &error)
                        .await;
                }
            }
        }
    }

    async fn turn(&mut self) -> Result<()> {
        let now = self.shop.queue.clock.monotonic();
        if self.counted.is_none() {
            self.look_at_all().await?;
        }
        if now >= self.look_at {
            self.look_at_begun().await?;
        }
        self.hear()?;
        if self.shapes.is_empty() {
            self.subscription = None;
            self.back = None;
            return self.rest().await;
        }
        self.follow().await?;
        if !self.batch.is_empty() || self.gather().await? {
            self.settle().await?;
        }
        if now >= self.advance_at && self.batch.is_empty() && self.back.is_none() {
            self.advance().await?;
        }
        Ok(())
    }

    /// Waits until somebody waits.
    async fn rest(&self) -> Result<()> {
        let clock = &*self.shop.queue.clock;
        let look = async {
            // One process hears of everything.
            if self.shop.db.dialect() == Dialect::Sqlite {
                std::future::pending::<()>().await;
            }
            clock.sleep(self.look_at.saturating_sub(clock.monotonic())).await;
        };
        tokio::select! {
            biased;
            () = self.shop.queue.flow.awaited() => {}
            () = look => {}
        }
        Ok(())
    }

    /// Finds out what is waited for at all, and where to begin.
    async fn look_at_all(&mut self) -> Result<()> {
        let (mut all, mut last) = (Vec::new(), String::new());
        // Before the look, so that whoever begins meanwhile is looked at afterwards.
        let now = self.shop.db.read(|db| db.now()).await?;
        loop {
            let from = last.clone();
            let page = self.shop.db.read(move |db| event::shapes(db, &from)).await?;
            let whole = page.len() as u64 == limits::EVENT_WAITS_PAGE;
            all.extend(page);
            match all.last() {
                Some((shape, _)) if whole => last.clone_from(shape),
                Some(_) | None => break,
            }
        }
        // What nobody waits for any more is forgotten.
        self.shapes.clear();
        self.trie = PatternTrie::new();
        let first = self.counted.is_none();
        for (shape, after) in all {
            self.add(shape)?;
            // Later on every wait was taken charge of by itself.
            if first {
                self.go_back(after);
            }
        }
        if first {
            self.horizon = now - limits::EVENT_LATE;
        }
        self.counted = Some(self.shapes.len());
        Ok(())
    }

    /// Finds out what has begun of late, here or in other processes.
    async fn look_at_begun(&mut self) -> Result<()> {
        let clock = &*self.shop.queue.clock;
        if self.counted.is_some_and(|counted| self.shapes.len() > 2 * counted + 64) {
            self.look_at_all().await?;
        }
        let now = self.shop.db.read(|db| db.now()).await?;
        let mut last = (self.horizon, i64::MAX, String::new());
        loop {
            let (at, task, key) = last.clone();
            let page = self.shop.db.read(move |db| event::begun(db, (at, task, &key))).await?;
            let whole = page.len() as u64 == limits::EVENT_WAITS_PAGE;
            let end = page.last().map(|wait| (wait.at, wait.task, wait.key.clone()));
            for wait in page {
                self.take_charge(wait)?;
            }
            match end {
                Some(end) if whole => last = end,
                Some(_) | None => break,
            }
        }
        self.horizon = self.horizon.max(now - limits::EVENT_LATE);
        self.taken.retain(|_, at| *at > self.horizon);
        self.look_at = clock.monotonic() + self.shop.queue.pace.events;
        Ok(())
    }

    /// Takes charge of what has begun in this process.
    fn hear(&mut self) -> Result<()> {
        let awaited = self.shop.queue.flow.take_awaited();
        if awaited.more {
            self.look_at = Duration::ZERO;
        }
        awaited.begun.into_iter().try_for_each(|wait| self.take_charge(wait))
    }

    fn take_charge(&mut self, wait: Begun) -> Result<()> {
        let Begun {
            task,
            key,
            shape,
            after,
            at,
        } = wait;
        self.add(shape)?;
        // A wait that has begun anew under the same name is another.
        if self.taken.insert((task, key), at) != Some(at) {
            self.go_back(after);
        }
        Ok(())
    }

    fn add(&mut self, text: String) -> Result<()> {
        if !self.shapes.contains_key(&text) {
            let shape = Arc::new(Shape::parse(&text)?);
            let is_brought = self.subscription.as_ref().is_some_and(|subscription| {
                let mut patterns = subscription.patterns().iter();
                patterns.any(|pattern| pattern.covers(&shape.pattern))
            });
            self.widen |= !is_brought;
            self.trie.insert(&shape.pattern, (text.clone(), Arc::clone(&shape)));
            self.shapes.insert(text, shape);
        }
        Ok(())
    }

    fn go_back(&mut self, to: Sequence) {
        self.back = Some(self.back.map_or(to, |back| back.min(to)));
    }

    /// Up to where everything was dealt with.
    fn reached(&self) -> Option<Sequence> {
        let subscription = self.subscription.as_ref()?;
        Some(self.batch.first().map_or_else(
            || subscription.cursor(),
            |event| Sequence::new(event.sequence().get().saturating_sub(1)),
        ))
    }

    /// Follows the topics that are waited for, from where somebody needs it.
    async fn follow(&mut self) -> Result<()> {
        let reached = self.reached();
        let is_behind = match (self.back, reached) {
            (Some(back), Some(reached)) => back < reached,
            (Some(_), None) | (None, None) => true,
            (None, Some(_)) => false,
        };
        if is_behind || self.widen {
            let from = self.back.into_iter().chain(reached).min().unwrap_or_default();
            let subscribe = self.shop.queue.bus.subscribe_any(self.patterns());
            self.subscription = Some(subscribe.after(from).await?);
            self.batch.clear();
            self.widen = false;
        }
        self.back = None;
        Ok(())
    }

    /// The topics that are waited for, or all when those are too many to tell apart.
    fn patterns(&self) -> Patterns {
        let patterns: BTreeSet<&str> = self.shapes.values().map(|shape| shape.pattern.as_str()).collect();
        let patterns = patterns.into_iter().map(str::to_owned);
        Patterns::new(patterns).unwrap_or_else(|_too_many| Pattern::ALL.into())
    }

    /// Waits for events, and takes those that are at hand; `false` when there is something else to do first.
    async fn gather(&mut self) -> Result<bool> {
        let (queue, look) = (&self.shop.queue, self.look_at);
        let Some(subscription) = &mut self.subscription else {
            return Ok(false);
        };
        let wait = look.saturating_sub(queue.clock.monotonic());
        tokio::select! {
            biased;
            () = queue.flow.awaited() => return Ok(false),
            event = subscription.next() => self.batch.push(event?),
            () = queue.clock.sleep(wait) => return Ok(false),
        }
        while self.batch.len() < limits::EVENT_BATCH {
            tokio::select! {
                biased;
                event = subscription.next() => self.batch.push(event?),
                () = std::future::ready(()) => break,
            }
        }
        Ok(true)
    }

    /// Settles the waits for the events at hand.
    async fn settle(&mut self) -> Result<()> {
        let hits = Arc::new(self.hits()?);
        while !hits.is_empty() {
            let asked = Arc::clone(&hits);
            let found = self.shop.db.read(move |db| event::waiting(db, &asked)).await?;
            if found.is_empty() {
                break;
            }
            let mut strange = false;
            for wait in &found {
                let key = (wait.task, wait.key.clone());
                if wait.at > self.horizon && self.taken.get(&key) != Some(&wait.at) {
                    self.taken.insert(key, wait.at);
                    self.go_back(wait.after);
                    strange = true;
                }
            }
            if strange {
                // What is at hand is dealt with afterwards.
                return Ok(());
            }
            let queue = self.shop.queue.clone();
            queue::write(&self.shop.db, move |tx| event::settle(tx, &queue, &found)).await?;
        }
        self.batch.clear();
        Ok(())
    }

    fn hits(&self) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for event in &self.batch {
            let looked = Looked::new(event);
            let mut value = None;
            for (text, shape) in self.trie.matches(event.topic()) {
                let Some(probe) = shape.probe(&looked)? else { continue };
                let value = match &value {
                    Some(value) => value,
                    None => value.insert(Came::payload(event)?),
                };
                hits.push(Hit {
                    shape: text.clone(),
                    probe,
                    sequence: event.sequence(),
                    value: value.clone(),
                });
            }
        }
        Ok(hits)
    }

    /// Writes down how far the log was looked through, so that it may be forgotten up to there, and that a process that is new here
    /// begins there.
    async fn advance(&mut self) -> Result<()> {
        let Some(reached) = self.reached() else { return Ok(()) };
        let horizon = self.horizon;
        let known = self.shop.db.read(event::looked_through).await?;
        while known.is_some_and(|known| known < reached) {
            let queue = self.shop.queue.clone();
            let moved = queue::write(&self.shop.db, move |tx| event::advance(tx, &queue, reached, horizon)).await?;
            if moved < limits::EVENT_SETTLED {
                break;
            }
        }
        // A subscription that nothing has come for does not say how far the log was looked through; one that begins does.
        self.subscription = None;
        self.back = Some(reached);
        self.advance_at = self.shop.queue.clock.monotonic() + limits::EVENT_ADVANCE;
        Ok(())
    }
}
