use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn behaves_like_a_set(lines in proptest::collection::vec(1_u32..60, 0..40), start in 1_u32..60, length in 0_u32..10) {
        let set: LineSet = lines.iter().copied().collect();
        let model: BTreeSet<u32> = lines.into_iter().collect();
        prop_assert_eq!(set.len(), model.len());
        prop_assert_eq!(set.is_empty(), model.is_empty());
        prop_assert!((0..70).all(|line| set.contains(line) == model.contains(&line)));
        prop_assert_eq!(set.touches(start, start + length), model.range(start..=start + length).next().is_some());
        prop_assert!(set.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "disjoint and merged: {set:?}");
        let coarse = set.clone().coarsened(3);
        prop_assert!(coarse.ranges().len() <= 3);
        prop_assert!(model.iter().all(|line| coarse.contains(*line)));
    }
}

#[test]
fn the_greatest_line_number_is_no_trap() {
    let set: LineSet = [u32::MAX - 1, u32::MAX, 3].into_iter().collect();
    assert_eq!(set.ranges(), [(3, 3), (u32::MAX - 1, u32::MAX)]);
    assert_eq!(set.coarsened(1).ranges(), [(3, u32::MAX)]);
}
