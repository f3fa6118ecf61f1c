use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::topic::Pattern;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn at(sequence: u64) -> Sequence {
    Sequence::new(sequence)
}

fn terms(member: u64, now: i64) -> Terms {
    Terms {
        member: Member(member),
        now: time(now),
        ack_wait: Duration::from_secs(30),
        in_flight_max: 8,
        attempts_max: 3,
    }
}

fn candidate(sequence: u64, key: u64) -> Candidate {
    Candidate {
        sequence: at(sequence),
        key,
        expires: None,
    }
}

/// The log from its beginning: one event after another, with these keys.
fn log(keys: &[u64]) -> Stretch {
    Stretch {
        after: Sequence::START,
        reached: at(keys.len() as u64),
        candidates: (1..)
            .zip(keys)
            .map(|(sequence, key)| candidate(sequence, *key))
            .collect(),
    }
}

fn fresh() -> State {
    State::new(Pattern::ALL.into(), Sequence::START)
}

/// What `member` is given: sequence and attempt.
fn take(state: &mut State, member: u64, now: i64, log: &Stretch, room: usize) -> Vec<Taken> {
    state.take(&terms(member, now), log, room, &mut Outcome::default())
}

fn sequences(taken: &[Taken]) -> Vec<u64> {
    taken.iter().map(|taken| taken.claim.sequence.get()).collect()
}

fn settle(state: &mut State, now: i64, taken: &Taken, verdict: &Verdict) -> (Result<(), Lost>, Outcome) {
    let mut outcome = Outcome::default();
    let settled = state.settle(&terms(0, now), taken.claim, verdict, &mut outcome);
    (settled, outcome)
}

fn failed(from: i64) -> Verdict {
    Verdict::Failed {
        from: time(from),
        error: "no".into(),
    }
}

#[test]
fn members_share_and_keep_the_order_of_keys() {
    let mut state = fresh();
    let log = log(&[1, 2, 1, 3, 2]);
    let first = take(&mut state, 1, 0, &log, 2);
    assert_eq!((sequences(&first), state.cursor), (vec![1, 2], at(2)));
    // 3 and 5 wait for those of their keys, which another member has.
    let second = take(&mut state, 2, 0, &log, 9);
    assert_eq!((sequences(&second), state.cursor), (vec![4], at(5)));
    assert_eq!(state.window().len(), 5);
    settle(&mut state, 0, &first[0], &Verdict::Done).0.unwrap();
    assert_eq!(sequences(&take(&mut state, 2, 0, &log, 9)), [3]);
    // What waits for its time holds up what comes after it.
    settle(&mut state, 0, &first[1], &failed(10)).0.unwrap();
    assert_eq!(take(&mut state, 2, 9, &log, 9), []);
    assert_eq!(sequences(&take(&mut state, 2, 10, &log, 9)), [2, 5]);
}

#[test]
fn what_is_not_taken_stays_in_the_log() {
    let mut state = fresh();
    let log = log(&[1, 2, 3]);
    assert_eq!(take(&mut state, 1, 0, &log, 0), []);
    assert_eq!((state.cursor, state.window().len()), (Sequence::START, 0));
    // A stretch that is not the next one says nothing.
    let later = Stretch {
        after: at(1),
        ..log.clone()
    };
    assert_eq!(take(&mut state, 1, 0, &later, 9), []);
    // One that overlaps does.
    state.seek(at(1));
    assert_eq!(sequences(&take(&mut state, 1, 0, &log, 9)), [2, 3]);
    assert_eq!(take(&mut state, 1, 0, &log, 9), []);
}

#[test]
fn the_window_is_bounded() {
    let mut state = fresh();
    let log = log(&[7; 20]);
    let first = take(&mut state, 1, 0, &log, 1);
    assert_eq!(sequences(&first), [1]);
    assert_eq!(take(&mut state, 2, 0, &log, 9), []);
    assert_eq!((state.window().len(), state.cursor), (8, at(8)));
    settle(&mut state, 0, &first[0], &Verdict::Done).0.unwrap();
    assert_eq!(sequences(&take(&mut state, 2, 0, &log, 9)), [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn only_the_claim_in_force_settles() {
    let mut state = fresh();
    let log = log(&[1]);
    let old = take(&mut state, 1, 0, &log, 1);
    assert_eq!(state.lapse(&terms(2, 29), &mut Outcome::default()), 0);
    assert_eq!(state.next_due(), Some(time(30)));
    assert_eq!(state.lapse(&terms(2, 30), &mut Outcome::default()), 1);
    assert_eq!(settle(&mut state, 30, &old[0], &Verdict::Done).0, Err(Lost));
    let new = take(&mut state, 2, 30, &log, 1);
    assert!(new[0].suspect && new[0].attempt == 1);
    for verdict in [Verdict::Done, failed(0), Verdict::Begun, Verdict::Returned] {
        assert_eq!(settle(&mut state, 31, &old[0], &verdict).0, Err(Lost));
    }
    let extended = Verdict::Extended { until: time(100) };
    settle(&mut state, 31, &new[0], &extended).0.unwrap();
    assert_eq!(state.lapse(&terms(1, 99), &mut Outcome::default()), 0);
    settle(&mut state, 99, &new[0], &Verdict::Done).0.unwrap();
    assert_eq!(settle(&mut state, 99, &new[0], &Verdict::Done).0, Err(Lost));
    let topic = Topic::new("a").unwrap();
    assert_eq!(
        (state.needs(&topic, at(1)), state.needs(&topic, at(2)), state.next_due()),
        (false, true, None)
    );
}

#[test]
fn an_event_that_fails_each_time_is_dead_with_its_history() {
    let mut state = fresh();
    let log = log(&[1, 1]);
    for attempt in 1..=3_u32 {
        let now = i64::from(attempt);
        let taken = take(&mut state, 1, now, &log, 1);
        assert_eq!((sequences(&taken), taken[0].attempt), (vec![1], attempt));
        let error = format!("{attempt}{}", "x".repeat(9_000));
        let verdict = Verdict::Failed { from: time(now), error };
        let (settled, outcome) = settle(&mut state, now, &taken[0], &verdict);
        settled.unwrap();
        if attempt < 3 {
            assert_eq!(outcome, Outcome::default());
            continue;
        }
        let [death] = &outcome.dead[..] else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (death.sequence, death.reason, death.attempts),
            (at(1), DeadReason::Exhausted, 3)
        );
        let lengths: Vec<usize> = death.mishaps.iter().map(|mishap| mishap.error.len()).collect();
        let (short, long) = (limits::MISHAP_BYTES_MAX, limits::MISHAP_LAST_BYTES_MAX);
        assert_eq!(lengths, [short, short, long]);
        assert_eq!(death.mishaps[2].at, time(3));
    }
    // What came after it goes on.
    assert_eq!(sequences(&take(&mut state, 1, 4, &log, 1)), [2]);
}

#[test]
fn what_was_beside_a_crash_is_not_blamed() {
    let mut state = fresh();
    let log = log(&[1, 2, 3]);
    // Each round the member dies with all three in hand, of which it had begun the second.
    for round in 0..5 {
        let taken = take(&mut state, round, 0, &log, 9);
        if state.window().len() < 3 {
            assert_eq!(sequences(&taken), [1, 3]);
            continue;
        }
        assert_eq!(sequences(&taken), [1, 2, 3]);
        assert_eq!(taken[1].suspect, round > 0);
        if round > 0 {
            settle(&mut state, 0, &taken[1], &Verdict::Begun).0.unwrap();
        }
        let mut outcome = Outcome::default();
        assert_eq!(state.survive(&terms(round + 1, 0), &mut outcome), 3);
        let dead: Vec<_> = outcome.dead.iter().map(|death| death.sequence.get()).collect();
        assert_eq!(dead, if round == 3 { vec![2] } else { vec![] });
    }
    assert!(
        state
            .window()
            .values()
            .all(|entry| entry.attempts == 0 && entry.lapses >= 4)
    );
}

#[test]
fn what_has_expired_dies_before_it_is_delivered() {
    let mut state = fresh();
    let mut log = log(&[1, 2, 2, 3]);
    for candidate in &mut log.candidates[..3] {
        candidate.expires = Some(time(10));
    }
    // Taken in time, so it is somebody's. The next of its key waits too long.
    let taken = take(&mut state, 1, 9, &log, 2);
    assert_eq!(sequences(&taken), [1, 2]);
    let mut outcome = Outcome::default();
    let second = state.take(&terms(2, 10), &log, 9, &mut outcome);
    assert_eq!(sequences(&second), [4]);
    let dead: Vec<_> = outcome
        .dead
        .iter()
        .map(|death| (death.sequence, death.reason))
        .collect();
    assert_eq!(dead, [(at(3), DeadReason::Expired)]);
    settle(&mut state, 11, &taken[1], &failed(11)).0.unwrap();
    assert_eq!(sequences(&take(&mut state, 1, 11, &log, 9)), [2]);
}

#[test]
fn letters_come_back_and_stay_on_record_until_they_are_finished() {
    let mut state = fresh();
    let log = log(&[1, 2]);
    let taken = take(&mut state, 1, 0, &log, 9);
    for taken in &taken {
        let reject = Verdict::Rejected { error: "bad".into() };
        assert_eq!(settle(&mut state, 0, taken, &reject).1.dead.len(), 1);
    }
    let mut letter = candidate(1, 1);
    letter.expires = Some(time(0));
    assert_eq!(state.redrive(&[letter, candidate(2, 2)], 1), 1);
    let back = take(&mut state, 1, 5, &log, 9);
    assert_eq!((sequences(&back), back[0].attempt), (vec![1], 1));
    let (settled, outcome) = settle(&mut state, 5, &back[0], &Verdict::Done);
    settled.unwrap();
    assert_eq!(outcome.revived, [at(1)]);

    // Back before a cursor that was set back: it is taken once.
    state.redrive(&[candidate(2, 2)], 8);
    state.cursor = Sequence::START;
    assert_eq!(sequences(&take(&mut state, 1, 5, &log, 9)), [2, 1]);
}

#[test]
fn pausing_seeking_and_leaving() {
    let mut state = fresh();
    let log = log(&[1, 2, 3]);
    state.paused = true;
    assert_eq!(take(&mut state, 1, 0, &log, 9), []);
    state.paused = false;
    let taken = take(&mut state, 1, 0, &log, 2);
    assert_eq!(state.leave(Member(2)), 0);
    assert_eq!(state.leave(Member(1)), 2);
    let again = take(&mut state, 2, 0, &log, 2);
    assert!(sequences(&again) == [1, 2] && !again[0].suspect);
    assert_eq!(settle(&mut state, 0, &taken[0], &Verdict::Done).0, Err(Lost));
    state.seek(at(2));
    assert_eq!(settle(&mut state, 0, &again[0], &Verdict::Done).0, Err(Lost));
    assert_eq!(sequences(&take(&mut state, 1, 0, &log, 9)), [3]);
}

#[test]
fn a_pattern_counts_from_where_it_was_wanted() {
    let topic = |text: &'static str| Topic::new(text).unwrap();
    let mut state = State::new(Patterns::new(["a"]).unwrap(), at(10));
    state.cursor = at(20);
    state.want(Patterns::new(["b", "a", "c"]).unwrap(), |pattern| {
        at(if pattern.as_str() == "b" { 30 } else { 20 })
    });
    let wants = |state: &State, name, sequence| state.wants(&topic(name), at(sequence));
    for (name, sequence, wanted) in [
        ("a", 10, false),
        ("a", 11, true),
        ("b", 30, false),
        ("b", 31, true),
        ("c", 20, false),
        ("c", 21, true),
        ("d", 99, false),
    ] {
        assert_eq!(wants(&state, name, sequence), wanted, "{name} {sequence}");
    }
    assert!(state.is_early());
    assert_eq!(State::from_bytes(&state.to_bytes()).unwrap(), state);
    state.cursor = at(30);
    assert!(!state.is_early());
    // Back at the beginning, as if it had begun there.
    state.seek(Sequence::START);
    assert!(wants(&state, "a", 1) && wants(&state, "b", 1) && !state.is_early());
}

#[test]
fn what_its_sender_gives_up_and_what_expires_on_the_desk() {
    let mut state = fresh();
    let mut log = log(&[1, 2]);
    log.candidates[1].expires = Some(time(5));
    let taken = take(&mut state, 1, 0, &log, 9);
    assert_eq!((taken[0].expires, taken[1].expires), (None, Some(time(5))));
    let error = Some("no".to_owned());
    let (settled, outcome) = settle(&mut state, 6, &taken[0], &Verdict::Exhausted { error });
    settled.unwrap();
    assert_eq!(
        (outcome.dead[0].reason, outcome.dead[0].attempts),
        (DeadReason::Exhausted, 1)
    );
    // Once it has been in somebody's hands, its time matters no more.
    settle(&mut state, 6, &taken[1], &failed(6)).0.unwrap();
    let again = take(&mut state, 1, 6, &log, 9);
    assert_eq!((sequences(&again), again[0].expires), (vec![2], None));
    let (settled, outcome) = settle(&mut state, 6, &again[0], &Verdict::Expired);
    settled.unwrap();
    assert_eq!(
        (outcome.dead[0].reason, outcome.dead[0].attempts),
        (DeadReason::Expired, 1)
    );
}

#[test]
fn stored_form() {
    let mut state = State::new(Patterns::new(["a.*", "b.>"]).unwrap(), at(300));
    state.paused = true;
    let candidates = vec![candidate(301, 5), candidate(302, 6), candidate(900, u64::MAX)];
    let log = Stretch {
        after: at(300),
        reached: at(1_000),
        candidates,
    };
    state.paused = false;
    let taken = take(&mut state, 77, 1, &log, 9);
    settle(&mut state, 2, &taken[0], &failed(60)).0.unwrap();
    settle(&mut state, 2, &taken[1], &Verdict::Begun).0.unwrap();
    state.redrive(&[candidate(4, 9)], 8);
    let hex: String = state.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    expect_test::expect!["010203612e2aac0203622e3eac02e80700030404200900000000000000a902140500000000000000008793030000000001000180841e0000000000026e6f010306000000000000004d0000000000000001c005d90100000000d60401ffffffffffffffff4d0000000000000000c005d90100000000"]
    .assert_eq(&hex);
    assert_eq!(State::from_bytes(&state.to_bytes()).unwrap(), state);
}

#[test]
fn a_damaged_state_is_an_error() {
    let mut state = fresh();
    take(&mut state, 1, 0, &log(&[1, 2, 3]), 9);
    let bytes = state.to_bytes();
    for end in 0..bytes.len() {
        assert!(State::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(State::from_bytes(&longer).is_err());
    let mut newer = bytes;
    newer[0] = 2;
    assert_eq!(
        State::from_bytes(&newer).unwrap_err().kind(),
        hive_errors::ErrorKind::SchemaTooNew
    );
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<u64>),
    Take { member: u64, room: usize },
    Settle { which: usize, verdict: u8 },
    Wait(i64),
    Crash(u64),
    Leave(u64),
    Redrive,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => proptest::collection::vec(0_u64..4, 1..6).prop_map(Step::Publish),
        4 => (1_u64..4, 0_usize..6).prop_map(|(member, room)| Step::Take { member, room }),
        6 => (any::<usize>(), 0_u8..6).prop_map(|(which, verdict)| Step::Settle { which, verdict }),
        2 => (1_i64..40).prop_map(Step::Wait),
        1 => (1_u64..4).prop_map(Step::Crash),
        1 => (1_u64..4).prop_map(Step::Leave),
        1 => Just(Step::Redrive),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What a consumer promises, told without looking at how it does it.
#[derive(Default)]
struct Ledger {
    keys: Vec<u64>,
    /// What members believe they have: claim by sequence.
    believed: Vec<Taken>,
    acked: BTreeMap<u64, usize>,
    dead: BTreeMap<u64, DeadReason>,
    /// The member that has an event at present, by sequence.
    with: BTreeMap<u64, u64>,
    failures: BTreeMap<u64, u32>,
}

impl Ledger {
    fn bury(&mut self, outcome: &Outcome) {
        for death in &outcome.dead {
            assert!(death.attempts <= 3);
            assert!(self.dead.insert(death.sequence.get(), death.reason).is_none());
            self.with.remove(&death.sequence.get());
        }
        for revived in &outcome.revived {
            self.dead.remove(&revived.get());
        }
    }

    fn is_over(&self, sequence: u64) -> bool {
        self.acked.contains_key(&sequence) || self.dead.contains_key(&sequence)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever members do and whenever they die: nothing is lost or delivered after it was settled, one member has an event at a
    /// time, no event overtakes another of its key, attempts are bounded, and the document survives being written down.
    #[test]
    fn nothing_is_lost_and_nothing_overtakes(steps in steps()) {
        let mut state = fresh();
        let mut ledger = Ledger::default();
        let mut now = 0;
        let mut redriven = Vec::new();
        for step in steps.into_iter().chain(std::iter::repeat_n(Step::Take { member: 9, room: 9 }, 3)) {
            match step {
                Step::Publish(keys) => ledger.keys.extend(keys),
                Step::Take { member, room } => {
                    let log = log(&ledger.keys);
                    let mut outcome = Outcome::default();
                    state.lapse(&terms(member, now), &mut outcome);
                    ledger.bury(&outcome);
                    ledger.with.retain(|sequence, _| {
                        let entry = state.window().get(&at(*sequence));
                        entry.is_some_and(|entry| matches!(entry.hold, Hold::Taken { .. }))
                    });
                    let mut outcome = Outcome::default();
                    let taken = state.take(&terms(member, now), &log, room, &mut outcome);
                    ledger.bury(&outcome);
                    prop_assert!(taken.len() <= room);
                    for one in &taken {
                        let sequence = one.claim.sequence.get();
                        prop_assert!(!ledger.acked.contains_key(&sequence), "delivered after it was acknowledged");
                        prop_assert!(ledger.with.insert(sequence, member).is_none(), "two have it");
                        // Whatever came before it with the same key is over, or is this member's.
                        for before in 1..sequence {
                            let same = ledger.keys[before as usize - 1] == one.key;
                            let mine = ledger.with.get(&before) == Some(&member);
                            let again = redriven.contains(&before) || redriven.contains(&sequence);
                            prop_assert!(!same || mine || again || ledger.is_over(before), "{sequence} overtook {before}");
                        }
                    }
                    ledger.believed.extend(taken);
                }
                Step::Settle { which, verdict } if !ledger.believed.is_empty() => {
                    let one = ledger.believed[which % ledger.believed.len()];
                    let sequence = one.claim.sequence.get();
                    let in_force = state.holds(one.claim);
                    let verdict = match verdict {
                        0..=1 => Verdict::Done,
                        2 => failed(now + 5),
                        3 => Verdict::Rejected { error: "never".into() },
                        4 => Verdict::Begun,
                        _ => Verdict::Extended { until: time(now + 30) },
                    };
                    let (settled, outcome) = settle(&mut state, now, &one, &verdict);
                    prop_assert_eq!(settled.is_ok(), in_force);
                    if in_force {
                        match verdict {
                            Verdict::Done => {
                                *ledger.acked.entry(sequence).or_default() += 1;
                                ledger.with.remove(&sequence);
                            }
                            Verdict::Failed { .. } => {
                                *ledger.failures.entry(sequence).or_default() += 1;
                                ledger.with.remove(&sequence);
                            }
                            Verdict::Rejected { .. }
                            | Verdict::Exhausted { .. }
                            | Verdict::Expired
                            | Verdict::Extended { .. }
                            | Verdict::Begun
                            | Verdict::Returned => {}
                        }
                        ledger.dead.retain(|dead, _| !(redriven.contains(dead) && outcome.dead.iter().any(|d| d.sequence.get() == *dead)));
                    }
                    ledger.bury(&outcome);
                }
                Step::Settle { .. } => {}
                Step::Wait(seconds) => now += seconds,
                Step::Crash(member) | Step::Leave(member) => {
                    // All but this one, or this one: their claims end.
                    let mut outcome = Outcome::default();
                    if matches!(step, Step::Crash(_)) {
                        state.survive(&terms(member, now), &mut outcome);
                        ledger.with.retain(|_, with| *with == member);
                    } else {
                        state.leave(Member(member));
                        ledger.with.retain(|_, with| *with != member);
                    }
                    for death in &outcome.dead {
                        ledger.dead.remove(&death.sequence.get());
                    }
                    ledger.bury(&outcome);
                }
                Step::Redrive => {
                    let letters: Vec<_> = ledger.dead.keys().map(|&s| candidate(s, ledger.keys[s as usize - 1])).collect();
                    let count = state.redrive(&letters, 8);
                    redriven.extend(letters.iter().take(count).map(|letter| letter.sequence.get()));
                }
            }
            prop_assert!(state.window().len() <= 8);
            prop_assert_eq!(&State::from_bytes(&state.to_bytes()).unwrap(), &state);
            // Nothing is lost: what the cursor has passed is over, or in the window.
            for sequence in 1..=state.cursor.get() {
                let known = ledger.is_over(sequence) || state.window().contains_key(&at(sequence));
                prop_assert!(known, "{sequence} is gone");
                let under_way = state.window().contains_key(&at(sequence));
                prop_assert_eq!(state.needs(&Topic::new("a").unwrap(), at(sequence)), under_way);
            }
            prop_assert!(ledger.acked.values().all(|count| *count == 1));
        }
    }
}
