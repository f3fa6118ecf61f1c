//! What works for a consumer in one process: takes from the log, writes down how far it came, hands out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::timeout;
use hive_core::payload::fingerprint;
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::admin::letters;
use super::desk::{Desk, Ready, Word, lost};
use super::state::{Candidate, Claim, Member, Outcome, State, Stretch, Taken, Terms, Verdict};
use super::{Order, Settings, Shared};
use crate::event::{Event, Sequence};
use crate::limits;
use crate::live::Interest;
use crate::telemetry::ConsumerMetrics;
use crate::transport::{Change, Transport};

pub(super) struct Driver {
    /// Not a [`Handle`](super::Handle), of which the last one tells the driver to end.
    handle: Arc<Shared>,
    transport: Arc<dyn Transport>,
    interest: Interest,
    member: Member,
    state: State,
    revision: u64,
    /// Up to where the cursor was written down.
    written: Sequence,
    /// What was said and is not on record yet.
    words: Vec<Word>,
    hands: Hands,
    /// The stretch of the log that is taken from.
    page: Option<Page>,
    metrics: ConsumerMetrics,
    failures: u32,
    /// Nothing more is handed out.
    closing: bool,
    /// There is no such consumer any more.
    removed: bool,
    /// The cursor was at the end of the log when that was looked at last.
    caught_up: bool,
}

/// What this member has taken and not settled.
#[derive(Default)]
struct Hands {
    held: BTreeMap<Sequence, Held>,
    /// Of each key, what is held, in order. Only the first may be handed out.
    lines: HashMap<u64, BTreeSet<Sequence>>,
}

struct Held {
    event: Event,
    taken: Taken,
    place: PlaceInLine,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PlaceInLine {
    Waiting,
    /// Its beginning is to be written down first.
    Suspect,
    /// On the desk, or with a handler.
    Out,
}

/// What was read of the log.
struct Page {
    stretch: Stretch,
    events: Vec<Event>,
}

/// What a look at everything came to.
struct Round {
    outcome: Outcome,
    taken: Vec<Taken>,
    answers: Vec<Result<(), Error>>,
    /// Claims that are settled or given back, to be put out of hand.
    gone: Vec<Sequence>,
    begun: Vec<Sequence>,
    changed: bool,
    /// Whether somebody was promised that it is on record.
    promised: bool,
    /// Whether others may want what was given back.
    wake: bool,
}

impl Driver {
    pub(super) fn new(handle: Arc<Shared>, interest: Interest, member: Member, state: State, revision: u64) -> Self {
        let transport = Arc::clone(&handle.transport);
        let metrics = ConsumerMetrics::new(transport.name(), &handle.name);
        Self {
            transport,
            handle,
            interest,
            member,
            written: state.cursor,
            state,
            revision,
            words: Vec::new(),
            hands: Hands::default(),
            page: None,
            metrics,
            failures: 0,
            closing: false,
            removed: false,
            caught_up: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            if let Some(first) = self.interest.take() {
                // Nothing before the first event that woke is for this consumer, where it had seen all before.
                if self.caught_up {
                    self.state.cursor = self.state.cursor.max(first.before());
                }
                self.caught_up = false;
            }
            if self.interest.take_touched()
                && let Err(error) = self.reload().await
            {
                self.back_off(&error).await;
                continue;
            }
            let sight = self.desk().look();
            let (abandoned, ready, waiting) = (sight.abandoned, sight.ready, sight.waiting);
            self.words.extend(sight.words);
            if self.transport.live().head().closed && !self.closing {
                self.closing = true;
                self.put_back(|_| true);
                self.desk().close(closed());
            }
            let is_done = self.closing && self.hands.held.is_empty() && self.words.is_empty();
            if abandoned || is_done {
                return self.leave().await;
            }
            match self.round(ready, waiting).await {
                Ok(true) => self.failures = 0,
                Ok(false) => {
                    self.failures = 0;
                    self.rest().await;
                }
                Err(error) => self.back_off(&error).await,
            }
            if self.removed {
                return;
            }
        }
    }

    fn desk(&self) -> &Desk {
        &self.handle.desk
    }

    fn settings(&self) -> &Settings {
        &self.handle.settings
    }

    fn terms(&self) -> Terms {
        Terms {
            member: self.member,
            ..self.handle.terms()
        }
    }

    /// Waits until there may be something to do.
    async fn rest(&self) {
        let now = self.handle.now();
        let due = self.state.next_due().map(|due| due.since(now));
        // A wait is never early, and what is due at this very moment is seen by the next round.
        let sleep = async {
            match due {
                Some(due) => self.handle.clock.sleep(due.max(Duration::from_millis(1))).await,
                None => std::future::pending().await,
            }
        };
        let woken = async {
            if self.closing {
                std::future::pending::<()>().await;
            }
            self.interest.woken().await;
        };
        tokio::select! {
            () = self.desk().stirred() => {}
            () = woken => {}
            () = sleep => {}
        }
    }

    async fn back_off(&mut self, error: &Error) {
        if self.removed {
            for word in self.words.drain(..) {
                answer(word, Err(error.echo()));
            }
            return self.desk().close(error.echo());
        }
        self.failures = self.failures.saturating_add(1);
        self.metrics.failed(error);
        tracing::warn!(consumer = %self.handle.name, failures = self.failures, %error, "a consumer cannot go on; trying again");
        // What is known of the state may be old by now.
        self.page = None;
        let now = self.handle.clock.monotonic();
        let late = |word: &Word| now.saturating_sub(word.said) >= limits::SETTLE_TIMEOUT;
        let (late, kept) = std::mem::take(&mut self.words).into_iter().partition(late);
        self.words = kept;
        for word in Vec::from_iter::<Vec<Word>>(late) {
            answer(word, Err(error.echo()));
        }
        let policy = RetryPolicy::exponential(u32::MAX).with_cap(limits::CONSUMER_BACKOFF_MAX);
        let wait = policy.delay_after(self.failures, self.handle.random(), error.retry_after());
        let wait = wait
            .unwrap_or(limits::CONSUMER_BACKOFF_MAX)
            .max(Duration::from_millis(1));
        self.handle.clock.sleep(wait).await;
        if let Err(error) = self.reload().await {
            tracing::debug!(consumer = %self.handle.name, %error, "the consumer's state cannot be read");
        }
    }

    /// Looks at everything once; whether anything was done.
    async fn round(&mut self, ready: usize, waiting: usize) -> Result<bool> {
        loop {
            let terms = self.terms();
            if self.state.next_due().is_some_and(|due| due <= terms.now) {
                // Its time was over before a handler had it, which says nothing of the event.
                let due = self.state.due(terms.now);
                self.put_back(|claim| due.contains(&claim));
            }
            let room = self.room();
            if room > 0 {
                self.turn_page().await?;
            }
            let before = self.state.cursor;
            let round = self.decide(&terms, room, ready, waiting);
            let advanced = self.state.cursor > before;
            let far = self.state.cursor.get().saturating_sub(self.written.get()) >= limits::CURSOR_LAZY_MAX;
            if !round.changed && !far {
                // What was said of claims that are not in force changes nothing, and is answered all the same.
                let answered = !round.answers.is_empty();
                self.answer(round.answers);
                // Nothing for this consumer in that stretch, and there may be another.
                return Ok(answered || advanced);
            }
            let letters = letters(&*self.transport, &self.handle.name, &round.outcome.dead, terms.now).await?;
            let mut change = Change::new(Some(self.revision), self.state.to_bytes());
            change.revived.clone_from(&round.outcome.revived);
            change.relaxed = !round.promised && letters.is_empty();
            change.wake = round.wake;
            change.dead = letters;
            let cursor = self.state.cursor;
            let Some(revision) = self.transport.store(&self.handle.name, change).await? else {
                // Somebody else was faster: the same again, on what they left.
                self.reload().await?;
                continue;
            };
            self.revision = revision;
            self.written = cursor;
            for death in &round.outcome.dead {
                self.metrics.died(death.reason.as_str());
            }
            let head = self.transport.live().head().sequence;
            self.metrics.behind(head.get().saturating_sub(cursor.get()));
            self.answer(round.answers);
            for sequence in round.gone {
                self.hands.put_away(sequence);
            }
            for sequence in round.begun {
                self.hands.out(sequence, &self.handle.desk);
            }
            self.take_in_hand(round.taken).await?;
            self.hand_out();
            return Ok(true);
        }
    }

    /// Applies what was said, what ran out and what there is room for.
    fn decide(&mut self, terms: &Terms, room: usize, ready: usize, waiting: usize) -> Round {
        let mut round = Round {
            outcome: Outcome::default(),
            taken: Vec::new(),
            answers: Vec::with_capacity(self.words.len()),
            gone: Vec::new(),
            begun: Vec::new(),
            changed: false,
            promised: false,
            wake: false,
        };
        let words = std::mem::take(&mut self.words);
        for word in &words {
            let settled = self.state.settle(terms, word.claim, &word.verdict, &mut round.outcome);
            round.changed |= settled.is_ok();
            match &word.verdict {
                Verdict::Done | Verdict::Rejected { .. } | Verdict::Exhausted { .. } | Verdict::Expired => {
                    round.promised = true;
                    round.gone.push(word.claim.sequence);
                }
                Verdict::Failed { .. } => {
                    round.promised = true;
                    round.gone.push(word.claim.sequence);
                    // What comes after it waits for it, here or elsewhere.
                    let held = self.hands.behind(word.claim.sequence);
                    self.give_back(terms, held, &mut round);
                }
                Verdict::Returned => {
                    round.gone.push(word.claim.sequence);
                    round.wake = true;
                }
                Verdict::Extended { .. } | Verdict::Begun => {}
            }
            round.answers.push(settled.map_err(|_lost| lost(word.claim)));
        }
        self.words = words;
        if self.state.next_due().is_some_and(|due| due <= terms.now) {
            let lapsed = self.state.lapse(terms, &mut round.outcome);
            round.changed |= lapsed > 0;
            self.metrics.lapsed(lapsed);
            round.gone.extend(self.withdraw_lost());
        }
        // One suspect at a time may wait for a handler, so that few are suspected with it.
        let mut suspects = (waiting + 1).saturating_sub(ready + self.hands.suspects_out());
        for claim in self.hands.suspects() {
            if suspects == 0 {
                break;
            }
            suspects -= 1;
            if self
                .state
                .settle(terms, claim, &Verdict::Begun, &mut round.outcome)
                .is_ok()
            {
                round.changed = true;
                round.promised = true;
                round.begun.push(claim.sequence);
            }
        }
        if !self.closing {
            let nothing = Stretch::nothing(self.state.cursor);
            let stretch = self.page.as_ref().map_or(&nothing, |page| &page.stretch);
            let before = self.state.window().len();
            round.taken = self.state.take(terms, stretch, room, &mut round.outcome);
            round.changed |=
                !round.taken.is_empty() || self.state.window().len() != before || !round.outcome.dead.is_empty();
        }
        round
    }

    fn give_back(&mut self, terms: &Terms, claims: Vec<Claim>, round: &mut Round) {
        for claim in claims {
            if self
                .state
                .settle(terms, claim, &Verdict::Returned, &mut round.outcome)
                .is_ok()
            {
                round.changed = true;
                round.wake = true;
            }
            round.gone.push(claim.sequence);
        }
    }

    /// How many more may be taken now; none while half of what there may be is still to be begun.
    fn room(&self) -> usize {
        if self.closing || self.state.paused {
            return 0;
        }
        let most = self.settings().prefetch;
        let room = most.saturating_sub(self.hands.held.len());
        if room >= most.div_ceil(2) || self.hands.waiting() == 0 {
            room
        } else {
            0
        }
    }

    /// Reads on in the log, if what was read is used up.
    async fn turn_page(&mut self) -> Result<()> {
        let cursor = self.state.cursor;
        if let Some(page) = &self.page
            && page.stretch.after <= cursor
            && cursor < page.stretch.reached
        {
            return Ok(());
        }
        self.page = None;
        let live = self.transport.live();
        let limit = limits::PAGE_EVENTS_MAX;
        let (mut events, reached) = match live.recent(self.state.patterns(), cursor, limit) {
            Some(found) => found,
            None if live.head().sequence <= cursor => {
                self.caught_up = true;
                return Ok(());
            }
            None => {
                let found = self.transport.read(self.state.patterns(), cursor, limit).await?;
                (found.events, found.reached)
            }
        };
        if self.state.is_early() {
            events.retain(|event| self.state.wants(event.topic(), event.sequence()));
        }
        let order = self.settings().order;
        let candidates = events.iter().map(|event| candidate(event, order)).collect();
        self.page = Some(Page {
            stretch: Stretch {
                after: cursor,
                reached,
                candidates,
            },
            events,
        });
        Ok(())
    }

    /// These events: those in hand, those just read, those in the log, and those that only the dead letters still have.
    async fn events(&self, sequences: Vec<Sequence>) -> Result<HashMap<Sequence, Event>> {
        let mut found = HashMap::with_capacity(sequences.len());
        let mut missing = Vec::new();
        for sequence in sequences {
            let held = self.hands.held.get(&sequence).map(|held| &held.event);
            match held.or_else(|| self.page.as_ref()?.find(sequence)) {
                Some(event) => drop(found.insert(sequence, event.clone())),
                None => missing.push(sequence),
            }
        }
        if !missing.is_empty() {
            for event in self.transport.get(&missing).await? {
                found.insert(event.sequence(), event);
            }
            missing.retain(|sequence| !found.contains_key(sequence));
        }
        if !missing.is_empty() {
            for letter in self.transport.dead(&self.handle.name, &missing).await? {
                found.insert(letter.event.sequence(), letter.event);
            }
        }
        Ok(found)
    }

    async fn take_in_hand(&mut self, taken: Vec<Taken>) -> Result<()> {
        let sequences = taken.iter().map(|taken| taken.claim.sequence).collect();
        let mut events = match self.events(sequences).await {
            Ok(events) => events,
            Err(error) => {
                // Taken, but not to be had: somebody has it when the lease runs out, or when this is said.
                let back: Vec<Word> = taken
                    .iter()
                    .map(|taken| self.word(taken.claim, Verdict::Returned))
                    .collect();
                self.words.extend(back);
                return Err(error);
            }
        };
        for taken in taken {
            match events.remove(&taken.claim.sequence) {
                Some(event) => self.hands.take(event, taken),
                None => {
                    tracing::warn!(
                        consumer = %self.handle.name, sequence = %taken.claim.sequence,
                        "an event was removed before it was delivered"
                    );
                    let word = self.word(taken.claim, Verdict::Done);
                    self.words.push(word);
                }
            }
        }
        Ok(())
    }

    fn word(&self, claim: Claim, verdict: Verdict) -> Word {
        Word {
            claim,
            verdict,
            reply: None,
            said: self.handle.clock.monotonic(),
        }
    }

    /// Puts on the desk what is first of its key.
    fn hand_out(&mut self) {
        let ready = self.hands.first_of_each();
        let now = self.handle.now();
        for ready in &ready {
            self.metrics.delivered(ready.attempt, now.since(ready.event.time()));
        }
        self.handle.desk.offer(ready);
    }

    /// Takes back those of these that nobody has begun, from the desk and from behind it.
    fn put_back(&mut self, wanted: impl Fn(Claim) -> bool) {
        let withdrawn = self.desk().withdraw(|ready| wanted(ready.claim));
        let mut claims: Vec<Claim> = withdrawn.iter().map(|ready| ready.claim).collect();
        claims.extend(self.hands.keep_in(wanted));
        let words: Vec<Word> = claims
            .into_iter()
            .map(|claim| self.word(claim, Verdict::Returned))
            .collect();
        self.words.extend(words);
    }

    fn answer(&mut self, answers: Vec<Result<(), Error>>) {
        // As many as were there when they were looked at; what was said since stands behind them.
        let words: Vec<Word> = self.words.drain(..answers.len()).collect();
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (word, result) in words.into_iter().zip(answers) {
            let verdict = if result.is_ok() { word.verdict.name() } else { "lost" };
            *counts.entry(verdict).or_default() += 1;
            answer(word, result);
        }
        for (verdict, count) in counts {
            self.metrics.settled(verdict, count);
        }
    }

    /// Looks at the state again: others have changed it, or may have.
    async fn reload(&mut self) -> Result<()> {
        let Some(register) = self.transport.load(&self.handle.name).await? else {
            self.removed = true;
            return Err(
                Error::new(ErrorKind::NotFound, "the consumer was removed").with("consumer", &*self.handle.name)
            );
        };
        self.state = State::from_bytes(&register.state)?;
        self.revision = register.revision;
        self.caught_up = false;
        self.written = self.state.cursor;
        self.handle.set_time(self.transport.now().await?);
        for sequence in self.withdraw_lost() {
            self.hands.put_away(sequence);
        }
        Ok(())
    }

    /// What is not this member's any more, and is not handed out from now on.
    fn withdraw_lost(&self) -> Vec<Sequence> {
        self.desk().withdraw(|ready| !self.state.holds(ready.claim));
        self.hands.not_held_by(&self.state)
    }

    /// Gives back what this member has, so that others need not wait for its leases to run out.
    async fn leave(mut self) {
        self.desk().close(closed());
        let clock = Arc::clone(&self.handle.clock);
        let name = self.handle.name.clone();
        let last = async {
            loop {
                let round = self.decide(&self.terms(), 0, 0, 0);
                let left = self.state.leave(self.member);
                let letters = letters(
                    &*self.transport,
                    &self.handle.name,
                    &round.outcome.dead,
                    self.handle.now(),
                )
                .await?;
                let moved = self.state.cursor > self.written;
                if !round.changed && left == 0 && !moved {
                    self.answer(round.answers);
                    return Ok::<_, Error>(());
                }
                let mut change = Change::new(Some(self.revision), self.state.to_bytes());
                change.dead = letters;
                change.revived = round.outcome.revived;
                change.wake = true;
                if self.transport.store(&self.handle.name, change).await?.is_some() {
                    self.answer(round.answers);
                    return Ok(());
                }
                self.reload().await?;
            }
        };
        if let Err(error) = timeout(&*clock, limits::LEAVE_TIMEOUT, last).await.unwrap_or_else(Err) {
            tracing::debug!(consumer = %name, %error, "a member left without giving back what it had");
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.desk().end();
    }
}

impl Stretch {
    fn nothing(cursor: Sequence) -> Self {
        Self {
            after: cursor,
            reached: cursor,
            candidates: Vec::new(),
        }
    }
}

impl Page {
    fn find(&self, sequence: Sequence) -> Option<&Event> {
        let at = self.events.binary_search_by_key(&sequence, Event::sequence).ok()?;
        self.events.get(at)
    }
}

impl Hands {
    fn take(&mut self, event: Event, taken: Taken) {
        let sequence = taken.claim.sequence;
        self.lines.entry(taken.key).or_default().insert(sequence);
        let place = PlaceInLine::Waiting;
        self.held.insert(sequence, Held { event, taken, place });
    }

    fn put_away(&mut self, sequence: Sequence) {
        let Some(held) = self.held.remove(&sequence) else {
            return;
        };
        if let Some(line) = self.lines.get_mut(&held.taken.key) {
            line.remove(&sequence);
            if line.is_empty() {
                self.lines.remove(&held.taken.key);
            }
        }
    }

    /// The claims behind this one in its line.
    fn behind(&self, sequence: Sequence) -> Vec<Claim> {
        let line = self
            .held
            .get(&sequence)
            .and_then(|held| self.lines.get(&held.taken.key));
        let behind = line.into_iter().flat_map(|line| line.range(sequence..).skip(1));
        behind
            .filter_map(|sequence| Some(self.held.get(sequence)?.taken.claim))
            .collect()
    }

    fn waiting(&self) -> usize {
        self.held
            .values()
            .filter(|held| held.place == PlaceInLine::Waiting)
            .count()
    }

    /// Those that are first of their key and whose beginning is to be written down before.
    fn suspects(&self) -> Vec<Claim> {
        let suspects = self.held.values().filter(|held| held.place == PlaceInLine::Suspect);
        suspects.map(|held| held.taken.claim).collect()
    }

    fn suspects_out(&self) -> usize {
        let out = |held: &&Held| held.taken.suspect && held.place == PlaceInLine::Out;
        self.held.values().filter(out).count()
    }

    /// Those of these that are not out, which are not handed out any more.
    fn keep_in(&mut self, wanted: impl Fn(Claim) -> bool) -> Vec<Claim> {
        let mut claims = Vec::new();
        for held in self.held.values_mut() {
            if held.place != PlaceInLine::Out && wanted(held.taken.claim) {
                held.place = PlaceInLine::Out;
                claims.push(held.taken.claim);
            }
        }
        claims
    }

    fn not_held_by(&self, state: &State) -> Vec<Sequence> {
        let lost = self.held.iter().filter(|(_, held)| !state.holds(held.taken.claim));
        lost.map(|(sequence, _)| *sequence).collect()
    }

    /// What may go on the desk now: the first of each key that is not out yet, and is no suspect.
    fn first_of_each(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        let mut firsts: Vec<Sequence> = self.lines.values().filter_map(|line| line.first().copied()).collect();
        firsts.sort_unstable();
        for first in firsts {
            let Some(held) = self.held.get_mut(&first) else {
                continue;
            };
            if held.place != PlaceInLine::Waiting {
                continue;
            }
            if held.taken.suspect {
                held.place = PlaceInLine::Suspect;
                continue;
            }
            held.place = PlaceInLine::Out;
            ready.push(held.ready());
        }
        ready
    }

    /// A suspect whose beginning is on record.
    fn out(&mut self, sequence: Sequence, desk: &Desk) {
        if let Some(held) = self.held.get_mut(&sequence) {
            held.place = PlaceInLine::Out;
            desk.offer([held.ready()]);
        }
    }
}

impl Held {
    fn ready(&self) -> Ready {
        Ready {
            event: self.event.clone(),
            claim: self.taken.claim,
            attempt: self.taken.attempt,
            expires: self.taken.expires,
        }
    }
}

/// What a consumer with this order wants to know of an event.
pub(super) fn candidate(event: &Event, order: Order) -> Candidate {
    let key = match order {
        Order::ByKey => fingerprint(event.order_key().as_bytes()),
        Order::ByOwnKey => event
            .key()
            .map_or(event.sequence().get(), |key| fingerprint(key.as_bytes())),
        Order::Total => 0,
        // Each a key of its own.
        Order::None => event.sequence().get(),
    };
    Candidate {
        sequence: event.sequence(),
        key,
        expires: event.expires(),
    }
}

fn answer(word: Word, result: Result<()>) {
    if let Some(reply) = word.reply {
        // Whoever asked may have gone.
        drop(reply.send(result));
    }
}

pub(super) fn closed() -> Error {
    Error::new(
        ErrorKind::ShuttingDown,
        "the bus is closed, no more events will be delivered",
    )
}
