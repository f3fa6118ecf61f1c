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
