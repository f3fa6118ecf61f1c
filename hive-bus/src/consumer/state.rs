//! How far a consumer came: a small document, and the pure rules by which it changes.
//!
//! Everything that matches up to the *cursor* has been taken in: it was finished, or it is an *entry* of the *window*. An entry
//! is free, possibly not before some time, or taken by a member until some time. Members take free entries and new events,
//! and settle what they took; a claim's serial number tells it from every other, so that a member that stood still settles
//! nothing that was given to another since.
//!
//! Nothing here reads a clock, a log or a store. The driver brings those, applies one of these functions, and stores the
//! outcome if nobody else has changed the document meanwhile.
//!
//! # Order
//!
//! Entries with the same key are taken in the order of their sequences. An entry is passed over while an earlier one of its key
//! is taken by another member or waits for its time. What one member has taken it handles in order itself.
//!
//! # Poison
//!
//! A delivery that fails is counted when that is said. One whose member dies is not so clear: of what a member had taken, its
//! handlers may have begun only a part. So the first time an entry comes back from the dead it is only marked; from then on its
//! member writes down that it begins before it does (*begun*), and a lease that runs out after that counts as a failure. An
//! event that kills its process each time ends with the dead letters, and those that were beside it do not.

mod code;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use hive_core::clock::Timestamp;

use crate::event::Sequence;
use crate::limits;
use crate::topic::{Pattern, Patterns, Topic};
use crate::transport::{DeadReason, Mishap};

/// Who takes and settles: a driver in a process, by a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member(pub(crate) u64);

/// A claim, by which its delivery is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) sequence: Sequence,
    pub(crate) serial: u64,
}

/// How far a consumer came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// What is wanted; see [`State::want`].
    patterns: Patterns,
    /// For each pattern, in their order, the sequence behind which it counts: what stands there or before was never this
    /// consumer's business by that pattern.
    since: Vec<Sequence>,
    /// Everything that matches up to here was taken in.
    pub(crate) cursor: Sequence,
    /// Nothing is taken while it is.
    pub(crate) paused: bool,
    /// The last claim's number.
    serial: u64,
    window: BTreeMap<Sequence, Entry>,
}

/// An event that was taken in and is not finished.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: u64,
    /// Deliveries that failed.
    pub(crate) attempts: u32,
    /// How often a member died with it, or let the lease run out.
    pub(crate) lapses: u32,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) hold: Hold,
    /// Whether it was brought back from the dead letters, which keep it until it is finished.
    pub(crate) letter: bool,
    pub(crate) mishaps: Vec<Mishap>,
}

/// Who has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody, and nobody gets it before this time.
    Free { from: Option<Timestamp> },
    Taken {
        member: Member,
        serial: u64,
        until: Timestamp,
        /// Whether its handler is known to have begun.
        begun: bool,
    },
}

/// An event of the log that a consumer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) sequence: Sequence,
    pub(crate) key: u64,
    pub(crate) expires: Option<Timestamp>,
}

/// A stretch of the log: all that the consumer wants after `after` and up to `reached`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) after: Sequence,
    pub(crate) reached: Sequence,
    pub(crate) candidates: Vec<Candidate>,
}

/// What a member takes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) member: Member,
    pub(crate) now: Timestamp,
    /// How long it has for each.
    pub(crate) ack_wait: Duration,
    /// How many entries there may be.
    pub(crate) in_flight_max: usize,
    /// How many deliveries an entry gets.
    pub(crate) attempts_max: u32,
}

/// What a member was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) claim: Claim,
    pub(crate) key: u64,
    /// Which delivery this is, from 1.
    pub(crate) attempt: u32,
    /// Whether its beginning has to be on record before its handler begins.
    pub(crate) suspect: bool,
    /// From when on it need not be begun any more.
    pub(crate) expires: Option<Timestamp>,
}

/// An entry that is given up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Death {
    pub(crate) sequence: Sequence,
    pub(crate) reason: DeadReason,
    pub(crate) attempts: u32,
    pub(crate) mishaps: Vec<Mishap>,
}

/// What a change of the state means for the dead letters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) dead: Vec<Death>,
    /// Those that were brought back and are finished.
    pub(crate) revived: Vec<Sequence>,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Done,
    /// Again, not before this time.
    Failed {
        from: Timestamp,
        error: String,
    },
    /// Never again.
    Rejected {
        error: String,
    },
    /// It was delivered as often as whoever sent it allows; how it failed the last time, if that is not told yet.
    Exhausted {
        error: Option<String>,
    },
    /// Its time was over before anybody began.
    Expired,
    /// It is still at it, and has until then.
    Extended {
        until: Timestamp,
    },
    /// It begins now.
    Begun,
    /// It was never begun; somebody else may have it at once.
    Returned,
}

impl Verdict {
    /// What it is called in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done => "acked",
            Self::Failed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
            Self::Exhausted { .. } => "exhausted",
            Self::Expired => "expired",
            Self::Extended { .. } => "extended",
            Self::Begun => "begun",
            Self::Returned => "returned",
        }
    }
}

/// The claim is not in force: the entry was given to another, or is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl State {
    #[cfg(test)]
    pub(crate) fn new(patterns: Patterns, cursor: Sequence) -> Self {
        Self::begin(patterns, |_| cursor)
    }

    /// Wants these, each from behind where `since` says.
    pub(crate) fn begin(patterns: Patterns, since: impl Fn(&Pattern) -> Sequence) -> Self {
        let since: Vec<Sequence> = patterns.iter().map(since).collect();
        Self {
            patterns,
            cursor: since.iter().min().copied().unwrap_or_default(),
            since,
            paused: false,
            serial: 0,
            window: BTreeMap::new(),
        }
    }

    /// What is wanted.
    pub(crate) fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Wants these from now on. A pattern that was wanted counts from where it did, a new one from where `since` says.
    pub(crate) fn want(&mut self, patterns: Patterns, since: impl Fn(&Pattern) -> Sequence) {
        let known = std::mem::take(&mut self.since);
        let known = self.patterns.iter().zip(known).collect::<Vec<_>>();
        let from = |pattern: &Pattern| {
            let same = known.iter().find(|(wanted, _)| *wanted == pattern);
            same.map_or_else(|| since(pattern), |(_, since)| *since)
        };
        self.since = patterns.iter().map(from).collect();
        self.patterns = patterns;
    }

    /// Whether this event is the consumer's business.
    pub(crate) fn wants(&self, topic: &Topic, sequence: Sequence) -> bool {
        let mut wanted = self.patterns.iter().zip(&self.since);
        wanted.any(|(pattern, since)| *since < sequence && pattern.matches(topic))
    }

    /// Whether some pattern does not count yet where the cursor is.
    pub(crate) fn is_early(&self) -> bool {
        self.since.iter().any(|since| *since > self.cursor)
    }

    /// The entries, in the order of their sequences.
    pub(crate) fn window(&self) -> &BTreeMap<Sequence, Entry> {
        &self.window
    }

    /// Whether the claim is in force.
    pub(crate) fn holds(&self, claim: Claim) -> bool {
        self.window
            .get(&claim.sequence)
            .is_some_and(|entry| entry.serial() == Some(claim.serial))
    }

    /// Whether the consumer has this event still before it, or under way: retention leaves it where it is.
    pub(crate) fn needs(&self, topic: &Topic, sequence: Sequence) -> bool {
        // What was taken in is needed also when its pattern is not wanted any more.
        self.window.contains_key(&sequence) || (sequence > self.cursor && self.wants(topic, sequence))
    }

    /// Takes up to `room` entries and new events of `stretch` for a member, and moves the cursor past what was taken in. What
    /// has expired dies instead.
    pub(crate) fn take(
        &mut self,
        terms: &Terms,
        stretch: &Stretch,
        mut room: usize,
        outcome: &mut Outcome,
    ) -> Vec<Taken> {
        let mut taken = Vec::new();
        if self.paused {
            return taken;
        }
        // Keys of which an earlier entry is not for this member now.
        let mut blocked = HashSet::new();
        let mut expired = Vec::new();
        for (&sequence, entry) in &mut self.window {
            let ready = match entry.hold {
                Hold::Taken { member, .. } if member == terms.member => continue,
                Hold::Taken { .. } => false,
                Hold::Free { from } => from.is_none_or(|from| from <= terms.now),
            };
            if !ready || blocked.contains(&entry.key) {
                blocked.insert(entry.key);
            } else if entry.is_expired(terms.now) {
                expired.push(sequence);
            } else if room == 0 {
                blocked.insert(entry.key);
            } else {
                room -= 1;
                self.serial += 1;
                taken.push(entry.take(terms, sequence, self.serial));
            }
        }
        for sequence in expired {
            self.bury(sequence, DeadReason::Expired, outcome);
        }
        self.take_new(terms, stretch, room, &blocked, &mut taken, outcome);
        taken
    }

    fn take_new(
        &mut self,
        terms: &Terms,
        stretch: &Stretch,
        mut room: usize,
        blocked: &HashSet<u64>,
        taken: &mut Vec<Taken>,
        outcome: &mut Outcome,
    ) {
        // Another stretch than the next one says nothing of what lies between.
        if self.cursor < stretch.after || self.cursor >= stretch.reached {
            return;
        }
        let start = stretch
            .candidates
            .partition_point(|candidate| candidate.sequence <= self.cursor);
        for candidate in stretch.candidates.iter().skip(start) {
            if self.window.contains_key(&candidate.sequence) {
                // Brought back from the dead before the cursor, which was set back, came to it again.
                continue;
            }
            let mut entry = Entry::new(candidate);
            if entry.is_expired(terms.now) {
                outcome.dead.push(entry.die(candidate.sequence, DeadReason::Expired));
                continue;
            }
            let is_blocked = blocked.contains(&candidate.key);
            if self.window.len() >= terms.in_flight_max || (room == 0 && !is_blocked) {
                self.cursor = self.cursor.max(candidate.sequence.before());
                return;
            }
            if !is_blocked {
                room -= 1;
                self.serial += 1;
                taken.push(entry.take(terms, candidate.sequence, self.serial));
            }
            self.window.insert(candidate.sequence, entry);
        }
        self.cursor = stretch.reached;
    }

    /// Settles a delivery.
    pub(crate) fn settle(
        &mut self,
        terms: &Terms,
        claim: Claim,
        verdict: &Verdict,
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        let entry = self.window.get_mut(&claim.sequence).ok_or(Lost)?;
        let Hold::Taken {
            serial, until, begun, ..
        } = &mut entry.hold
        else {
            return Err(Lost);
        };
        if *serial != claim.serial {
            return Err(Lost);
        }
        match verdict {
            Verdict::Done => {
                if entry.letter {
                    outcome.revived.push(claim.sequence);
                }
                self.window.remove(&claim.sequence);
            }
            Verdict::Failed { from, error } => {
                entry.hold = Hold::Free { from: Some(*from) };
                if entry.fail(terms, error) {
                    entry.last_words(error);
                    self.bury(claim.sequence, DeadReason::Exhausted, outcome);
                }
            }
            Verdict::Rejected { error } => {
                entry.fail(terms, error);
                entry.last_words(error);
                self.bury(claim.sequence, DeadReason::Rejected, outcome);
            }
            Verdict::Exhausted { error } => {
                if let Some(error) = error {
                    entry.fail(terms, error);
                    entry.last_words(error);
                }
                self.bury(claim.sequence, DeadReason::Exhausted, outcome);
            }
            Verdict::Expired => self.bury(claim.sequence, DeadReason::Expired, outcome),
            Verdict::Extended { until: later } => *until = (*until).max(*later),
            Verdict::Begun => *begun = true,
            Verdict::Returned => entry.hold = Hold::Free { from: None },
        }
        Ok(())
    }

    /// Takes back what was not settled in time.
    pub(crate) fn lapse(&mut self, terms: &Terms, outcome: &mut Outcome) -> usize {
        self.take_back(terms, outcome, "the lease ran out before it was settled", |_, until| {
            until <= terms.now
        })
    }

    /// Takes back what others hold: nobody else is alive.
    pub(crate) fn survive(&mut self, terms: &Terms, outcome: &mut Outcome) -> usize {
        self.take_back(
            terms,
            outcome,
            "the process ended before it was settled",
            |member, _| member != terms.member,
        )
    }

    fn take_back(
        &mut self,
        terms: &Terms,
        outcome: &mut Outcome,
        error: &'static str,
        lapsed: impl Fn(Member, Timestamp) -> bool,
    ) -> usize {
        let mut exhausted = Vec::new();
        let mut count = 0;
        for (&sequence, entry) in &mut self.window {
            let Hold::Taken {
                member, until, begun, ..
            } = entry.hold
            else {
                continue;
            };
            if !lapsed(member, until) {
                continue;
            }
            count += 1;
            entry.hold = Hold::Free { from: None };
            entry.lapses = entry.lapses.saturating_add(1);
            if begun && entry.fail(terms, error) {
                exhausted.push(sequence);
            }
        }
        for sequence in exhausted {
            self.bury(sequence, DeadReason::Exhausted, outcome);
        }
        count
    }

    /// Gives back what this member has, as it goes: that is nobody's failure.
    pub(crate) fn leave(&mut self, leaving: Member) -> usize {
        let mut count = 0;
        for entry in self.window.values_mut() {
            if matches!(entry.hold, Hold::Taken { member, .. } if member == leaving) {
                entry.hold = Hold::Free { from: None };
                count += 1;
            }
        }
        count
    }

    /// Goes on behind `cursor`, back or forth, as if it had begun there. What is under way is forgotten, and its claims are
    /// lost.
    pub(crate) fn seek(&mut self, cursor: Sequence) {
        self.cursor = cursor;
        self.since.fill(cursor);
        self.window.clear();
    }

    /// Brings dead letters back, as if they were new; how many of them there was room for, from the front.
    pub(crate) fn redrive(&mut self, letters: &[Candidate], in_flight_max: usize) -> usize {
        for (count, letter) in letters.iter().enumerate() {
            if self.window.len() >= in_flight_max {
                return count;
            }
            let entry = self.window.entry(letter.sequence).or_insert_with(|| Entry::new(letter));
            entry.letter = true;
            // It may have died of that; whoever brings it back wants it all the same.
            entry.expires = None;
        }
        letters.len()
    }

    /// The claims whose leases have run out.
    pub(crate) fn due(&self, now: Timestamp) -> HashSet<Claim> {
        let claim = |(&sequence, entry): (&Sequence, &Entry)| match entry.hold {
            Hold::Taken { serial, until, .. } if until <= now => Some(Claim { sequence, serial }),
            Hold::Taken { .. } | Hold::Free { .. } => None,
        };
        self.window.iter().filter_map(claim).collect()
    }

    /// When something changes by itself: a lease runs out, or an entry's time comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.window
            .values()
            .filter_map(|entry| match entry.hold {
                Hold::Taken { until, .. } => Some(until),
                Hold::Free { from } => from,
            })
            .min()
    }

    fn bury(&mut self, sequence: Sequence, reason: DeadReason, outcome: &mut Outcome) {
        if let Some(mut entry) = self.window.remove(&sequence) {
            outcome.dead.push(entry.die(sequence, reason));
        }
    }
}

impl Entry {
    fn new(candidate: &Candidate) -> Self {
        Self {
            key: candidate.key,
            attempts: 0,
            lapses: 0,
            expires: candidate.expires,
            hold: Hold::Free { from: None },
            letter: false,
            mishaps: Vec::new(),
        }
    }

    fn serial(&self) -> Option<u64> {
        match self.hold {
            Hold::Taken { serial, .. } => Some(serial),
            Hold::Free { .. } => None,
        }
    }

    /// What was delivered once is in somebody's hands already, so its time matters no more.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.deadline().is_some_and(|expires| expires <= now)
    }

    /// When it has to have been begun.
    fn deadline(&self) -> Option<Timestamp> {
        self.expires.filter(|_| self.attempts == 0 && self.lapses == 0)
    }

    fn take(&mut self, terms: &Terms, sequence: Sequence, serial: u64) -> Taken {
        self.hold = Hold::Taken {
            member: terms.member,
            serial,
            until: terms.now + terms.ack_wait,
            begun: false,
        };
        Taken {
            claim: Claim { sequence, serial },
            key: self.key,
            attempt: self.attempts.saturating_add(1),
            suspect: self.lapses > 0,
            expires: self.deadline(),
        }
    }

    /// Counts a failure; whether it was the last that is allowed.
    fn fail(&mut self, terms: &Terms, error: &str) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        if self.mishaps.len() >= limits::MISHAPS_MAX {
            self.mishaps.remove(0);
        }
        self.mishaps
            .push(Mishap::new(terms.now, shortened(error, limits::MISHAP_BYTES_MAX)));
        self.attempts >= terms.attempts_max
    }

    /// Says the last failure at more length, now that it is not carried along any more.
    fn last_words(&mut self, error: &str) {
        if let Some(last) = self.mishaps.last_mut() {
            last.error = shortened(error, limits::MISHAP_LAST_BYTES_MAX);
        }
    }

    fn die(&mut self, sequence: Sequence, reason: DeadReason) -> Death {
        Death {
            sequence,
            reason,
            attempts: self.attempts,
            mishaps: std::mem::take(&mut self.mishaps),
        }
    }
}

/// The beginning of an error's text: enough to know it by.
pub(crate) fn shortened(error: &str, bytes_max: usize) -> String {
    let end = error
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= bytes_max)
        .last();
    error.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}
