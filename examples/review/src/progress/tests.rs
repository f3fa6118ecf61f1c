use super::*;

#[test]
fn lines_are_said_for_every_tenth() {
    let mut progress = Progress::Lines(BTreeMap::new());
    for done in 0..=100 {
        progress.show("reviewer", Tally { total: 100, done });
    }
    progress.show("queen", Tally { total: 1, done: 1 });
    let Progress::Lines(said) = progress else {
        panic!("still lines")
    };
    assert_eq!(said, [("reviewer".to_owned(), 10)].into_iter().collect());
}

#[test]
fn nothing_is_shown_when_quiet() {
    let mut progress = Progress::new(true);
    progress.show("reviewer", Tally { total: 100, done: 50 });
    assert!(matches!(progress, Progress::Silent));
}
