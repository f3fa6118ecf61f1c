use std::collections::HashSet;

use proptest::prelude::*;

use super::{Journal, Kind};

#[test]
fn uses_of_a_name_are_counted_by_kind_and_scope() {
    let mut journal = Journal::default();
    assert_eq!(journal.key(Kind::Step, "", "ask"), "step:ask#1");
    assert_eq!(
        journal.key(Kind::Once, "", "ask"),
        "step:ask#2",
        "a step is a step, whatever its effect"
    );
    assert_eq!(journal.key(Kind::Signal, "", "ask"), "wait:ask#1");
    assert_eq!(journal.key(Kind::Step, "[a/b]", "ask"), "step[a/b]:ask#1");
}

proptest! {
    /// A key that was given back is given out again, and never to two at once; those that are in use go up without a gap.
    #[test]
    fn keys_given_back_are_used_again(uses in prop::collection::vec((0..3_usize, any::<bool>(), 0..8_usize), 1..80)) {
        let mut journal = Journal::default();
        let names = ["a", "a#1", "b"];
        let mut held: Vec<(usize, String)> = Vec::new();
        for (name, give_back, which) in uses {
            if give_back && !held.is_empty() {
                let (_, key) = held.remove(which % held.len());
                journal.give_back(&key);
                continue;
            }
            let key = journal.key(Kind::Signal, "", names[name]);
            prop_assert!(held.iter().all(|(_, other)| *other != key), "{key} was given twice");
            held.push((name, key));
            let mine = held.iter().filter(|(other, _)| *other == name).count();
            let numbers = (1..=mine).map(|n| format!("wait:{}#{n}", names[name]));
            let lowest: HashSet<String> = numbers.collect();
            let given = held.last().map(|(_, key)| key.clone()).unwrap_or_default();
            prop_assert!(lowest.contains(&given), "{given} is not the lowest that is free: {held:?}");
        }
    }

    /// Whatever people call their steps, two uses never share a key.
    #[test]
    fn keys_are_unique(uses in prop::collection::vec(("(\\[[a-b/%]{1,3}\\])?", "[a-b#:\\[\\]/1]{1,4}"), 1..60)) {
        let mut journal = Journal::default();
        let mut seen = HashSet::new();
        for (scope, name) in uses {
            let key = journal.key(Kind::Step, &scope, &name);
            prop_assert!(seen.insert(key.clone()), "{key} was given twice");
        }
    }
}
