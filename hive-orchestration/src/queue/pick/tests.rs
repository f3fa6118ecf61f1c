use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn ago(waited: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() - i64::try_from(waited.as_micros()).unwrap())
}

fn lane(agent: usize, tenant: &str, priority: i64, heads: impl IntoIterator<Item = (i64, Duration)>) -> Lane {
    Lane {
        gates: vec![agent],
        tenant: tenant.to_owned(),
        key: String::new(),
        priority,
        weights: (WEIGHT, WEIGHT),
        heads: heads
            .into_iter()
            .map(|(seq, waited)| Head {
                seq,
                since: ago(waited),
                resumed: false,
            })
            .collect(),
    }
}

/// Picks where each agent has so much room.
fn picked(lanes: &mut [Lane], room: &[usize], total: usize, turns: &mut Turns, now: Timestamp) -> Vec<i64> {
    let mut gates: Vec<Gate> = room.iter().map(|room| Gate::room(*room)).collect();
    pick(lanes, &mut gates, total, turns, now)
}

fn fresh(seqs: impl IntoIterator<Item = i64>) -> impl Iterator<Item = (i64, Duration)> {
    seqs.into_iter().map(|seq| (seq, Duration::ZERO))
}

#[test]
fn the_urgent_go_first_then_the_old() {
    let mut lanes = [
        lane(0, "a", 0, fresh([1, 2])),
        lane(0, "a", 3, fresh([7, 9])),
        lane(0, "a", 1, fresh([3])),
    ];
    let picked = picked(&mut lanes, &[9], 9, &mut Turns::default(), NOW);
    assert_eq!(picked, [7, 9, 3, 1, 2]);
}

#[test]
fn an_agent_gets_no_more_than_it_has_room_for() {
    let mut lanes = [lane(0, "a", 3, fresh(1..10)), lane(1, "a", 0, fresh(10..20))];
    let picked = picked(&mut lanes, &[2, 3], 9, &mut Turns::default(), NOW);
    assert_eq!(picked, [1, 2, 10, 11, 12]);
}

#[test]
fn whoever_waits_becomes_more_urgent() {
    let waited = limits::AGING * 3;
    let mut lanes = [
        lane(0, "a", 0, [(1, waited), (2, waited - Duration::from_millis(1))]),
        lane(0, "a", 3, fresh([5, 6])),
    ];
    let picked = picked(&mut lanes, &[9], 9, &mut Turns::default(), NOW);
    assert_eq!(picked, [1, 5, 6, 2]);
}

#[test]
fn a_tenant_that_comes_late_is_not_owed_the_past() {
    let mut turns = Turns::default();
    let mut lanes = [lane(0, "early", 1, fresh(0..1_000))];
    assert_eq!(picked(&mut lanes, &[500], 500, &mut turns, NOW).len(), 500);
    let mut lanes = [
        lane(0, "early", 1, fresh(500..1_000)),
        lane(0, "late", 1, fresh(2_000..3_000)),
    ];
    let picked = picked(&mut lanes, &[100], 100, &mut turns, NOW);
    let late = picked.iter().filter(|seq| **seq >= 2_000).count();
    assert!((50..=51).contains(&late), "{late}");
}

/// Keys of one tenant take turns among themselves, by their weights, and do not gain on another tenant.
#[test]
fn keys_share_what_is_their_tenants() {
    let keyed = |tenant: &str, key: &str, weight, seqs: std::ops::Range<i64>| Lane {
        key: key.to_owned(),
        weights: (WEIGHT, weight),
        ..lane(0, tenant, 1, fresh(seqs))
    };
    let mut lanes = [
        keyed("a", "x", 1, 0..1_000),
        keyed("a", "y", 3, 1_000..2_000),
        lane(0, "b", 1, fresh(2_000..3_000)),
    ];
    let mut turns = Turns::default();
    let mut shares = [0; 3];
    for _ in 0..10 {
        for seq in picked(&mut lanes, &[usize::MAX], 8, &mut turns, NOW) {
            shares[usize::try_from(seq / 1_000).unwrap()] += 1;
        }
    }
    assert_eq!(shares, [10, 30, 40]);
}

#[test]
fn a_closed_gate_lets_pass_what_goes_on() {
    let mut lanes = [lane(0, "a", 1, fresh([1, 2])), lane(0, "b", 1, fresh([3, 4]))];
    lanes[1].heads.iter_mut().for_each(|head| head.resumed = true);
    for lane in &mut lanes {
        lane.gates.push(1);
    }
    let mut gates = [
        Gate::room(9),
        Gate {
            left: 0,
            beginnings: true,
        },
    ];
    assert_eq!(pick(&mut lanes, &mut gates, 9, &mut Turns::default(), NOW), [3, 4]);
    assert_eq!(gates[0].left, 7);
}

proptest! {
    /// However lanes share gates: none lets more pass than it has room for, and what is left over is held back by one.
    #[test]
    fn gates_hold(
        gates in proptest::collection::vec((0_usize..8, any::<bool>()), 1..6),
        lanes in proptest::collection::vec((proptest::collection::vec(0_usize..6, 0..4), 0_i64..4, 0_usize..8, any::<bool>()), 1..12),
    ) {
        let mut open: Vec<Gate> = gates.iter().map(|(left, beginnings)| Gate { left: *left, beginnings: *beginnings }).collect();
        let before = open.clone();
        let mut all: Vec<Lane> = (0_i64..)
            .zip(&lanes)
            .map(|(nth, (through, priority, count, resumed))| {
                let mut through: Vec<usize> = through.iter().map(|gate| gate % gates.len()).collect();
                through.sort_unstable();
                through.dedup();
                let mut lane = Lane {
                    gates: through,
                    ..lane(0, &(nth % 3).to_string(), *priority, fresh(nth * 100..nth * 100 + *count as i64))
                };
                lane.heads.iter_mut().for_each(|head| head.resumed = *resumed);
                lane
            })
            .collect();
        let picked = pick(&mut all, &mut open, usize::MAX, &mut Turns::default(), NOW);
        for (place, (left, beginnings)) in gates.iter().enumerate() {
            let passed = picked.iter().filter(|seq| {
                let nth = usize::try_from(**seq / 100).unwrap();
                all[nth].gates.contains(&place) && !(*beginnings && lanes[nth].3)
            });
            prop_assert_eq!(passed.count(), before[place].left - open[place].left);
            prop_assert!(open[place].left <= *left);
        }
        for (lane, (.., resumed)) in all.iter().zip(&lanes) {
            let held = lane.gates.iter().any(|gate| open[*gate].left == 0 && !(open[*gate].beginnings && *resumed));
            prop_assert!(lane.heads.is_empty() || held);
        }
    }

    /// However many each has submitted, those who have enough to do share by their weights, to within one task each.
    #[test]
    fn shares_follow_weights(weights in proptest::collection::vec(1_u32..8, 1..6), rounds in 1_usize..20) {
        let mut turns = Turns::default();
        let mut lanes: Vec<Lane> = (0_i64..)
            .zip(&weights)
            .map(|(tenant, weight)| Lane {
                weights: (*weight, WEIGHT),
                ..lane(0, &tenant.to_string(), 1, fresh(tenant * 10_000..tenant * 10_000 + 9_999))
            })
            .collect();
        let sum: u32 = weights.iter().sum();
        let mut got = BTreeMap::new();
        for _ in 0..rounds {
            for seq in picked(&mut lanes, &[usize::MAX], 2 * sum as usize, &mut turns, NOW) {
                *got.entry(seq / 10_000).or_insert(0_u32) += 1;
            }
        }
        for (tenant, weight) in (0_i64..).zip(&weights) {
            let due = 2 * rounds as u32 * weight;
            let has = got.get(&tenant).copied().unwrap_or_default();
            prop_assert!(has.abs_diff(due) <= 1, "tenant {tenant} of {weights:?} got {has} and not {due}");
        }
    }

    /// Every ready task is picked in the end, each once, whatever keeps coming.
    #[test]
    fn nothing_starves(flood in 1_usize..20, low in 1_usize..10) {
        let (mut turns, mut next, mut open) = (Turns::default(), 1_000_i64, low);
        let mut waiting = lane(0, "quiet", 0, fresh(0..low as i64));
        let mut urgent = lane(0, "loud", 3, fresh([]));
        for minute in 0..1_000_u32 {
            let now = Timestamp::from_micros(NOW.as_micros() + i64::from(minute) * 60_000_000);
            // As many as can be taken, and all of them critical.
            for _ in 0..flood {
                urgent.heads.push_back(Head {
                    seq: next,
                    since: now,
                    resumed: false,
                });
                next += 1;
            }
            let mut lanes = [waiting, urgent];
            let picked = picked(&mut lanes, &[flood], flood, &mut turns, now);
            prop_assert_eq!(picked.len(), flood);
            open -= picked.iter().filter(|seq| **seq < 1_000).count();
            [waiting, urgent] = lanes;
            if open == 0 {
                return Ok(());
            }
        }
        prop_assert!(false, "{open} tasks were never started");
    }
}

/// Whoever looks for something to claim looks again after every range that it had not known: that must come to an end.
#[test]
fn more_ranges_than_the_list_takes_let_a_claim_rest() {
    let mut turns = Turns::default();
    let mut rounds = 0_u32;
    while turns.refuse("a", &format!("^{rounds}")) {
        rounds += 1;
        assert!(rounds < 100_000, "it goes round without rest");
    }
    assert!(rounds > 1_000, "{rounds} ranges");
    // Those that are still there are found again.
    assert!(turns.refuse("a", "^0") && !turns.refuse("a", "^0"));
}
