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
        agent,
        tenant: tenant.to_owned(),
        priority,
        heads: heads
            .into_iter()
            .map(|(seq, waited)| Head {
                seq,
                since: ago(waited),
            })
            .collect(),
    }
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
    let picked = pick(&mut lanes, &[9], 9, &mut Turns::default(), |_| WEIGHT, NOW);
    assert_eq!(picked, [7, 9, 3, 1, 2]);
}

#[test]
fn an_agent_gets_no_more_than_it_has_room_for() {
    let mut lanes = [lane(0, "a", 3, fresh(1..10)), lane(1, "a", 0, fresh(10..20))];
    let picked = pick(&mut lanes, &[2, 3], 9, &mut Turns::default(), |_| WEIGHT, NOW);
    assert_eq!(picked, [1, 2, 10, 11, 12]);
}

#[test]
fn whoever_waits_becomes_more_urgent() {
    let waited = limits::AGING * 3;
    let mut lanes = [
        lane(0, "a", 0, [(1, waited), (2, waited - Duration::from_millis(1))]),
        lane(0, "a", 3, fresh([5, 6])),
    ];
    let picked = pick(&mut lanes, &[9], 9, &mut Turns::default(), |_| WEIGHT, NOW);
    assert_eq!(picked, [1, 5, 6, 2]);
}

#[test]
fn a_tenant_that_comes_late_is_not_owed_the_past() {
    let mut turns = Turns::default();
    let mut lanes = [lane(0, "early", 1, fresh(0..1_000))];
    assert_eq!(pick(&mut lanes, &[500], 500, &mut turns, |_| WEIGHT, NOW).len(), 500);
    let mut lanes = [
        lane(0, "early", 1, fresh(500..1_000)),
        lane(0, "late", 1, fresh(2_000..3_000)),
    ];
    let picked = pick(&mut lanes, &[100], 100, &mut turns, |_| WEIGHT, NOW);
    let late = picked.iter().filter(|seq| **seq >= 2_000).count();
    assert!((50..=51).contains(&late), "{late}");
}

proptest! {
    /// However many each has submitted, those who have enough to do share by their weights, to within one task each.
    #[test]
    fn shares_follow_weights(weights in proptest::collection::vec(1_u32..8, 1..6), rounds in 1_usize..20) {
        let mut turns = Turns::default();
        let mut lanes: Vec<Lane> = (0_i64..)
            .zip(&weights)
            .map(|(tenant, _)| lane(0, &tenant.to_string(), 1, fresh(tenant * 10_000..tenant * 10_000 + 9_999)))
            .collect();
        let sum: u32 = weights.iter().sum();
        let weight = |tenant: &str| weights[tenant.parse::<usize>().unwrap()];
        let mut got = BTreeMap::new();
        for _ in 0..rounds {
            for seq in pick(&mut lanes, &[usize::MAX], 2 * sum as usize, &mut turns, weight, NOW) {
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
                urgent.heads.push_back(Head { seq: next, since: now });
                next += 1;
            }
            let mut lanes = [waiting, urgent];
            let picked = pick(&mut lanes, &[flood], flood, &mut turns, |_| WEIGHT, now);
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
