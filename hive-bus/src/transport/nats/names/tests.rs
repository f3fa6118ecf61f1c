use proptest::prelude::*;

use super::*;

fn names() -> Names {
    Names::new(&Options::new("nats://localhost").name("N").prefix("p.q")).unwrap()
}

fn filter(patterns: &[&'static str]) -> String {
    names().filter(&Patterns::new(patterns.iter().copied()).unwrap())
}

#[test]
fn subjects_are_what_they_are_documented_as() {
    let names = names();
    assert_eq!(names.event(&Topic::new("a.b").unwrap()), "p.q.e.a.b");
    assert_eq!(names.state("a.b-c"), "$KV.N_STATE.c.a=2Eb-c");
    assert_eq!(names.letter("a", Sequence::new(7)), "$KV.N_DEAD.a.00000000000000000007");
    assert_eq!(names.changed("a b"), "p.q.changed.a=20b");
}

#[test]
fn one_pattern_is_a_filter_and_several_are_not() {
    for (patterns, expected) in [
        (&["*"][..], "p.q.e.>"),
        (&[">"], "p.q.e.>"),
        (&["a.*.c"], "p.q.e.a.*.c"),
        (&["a.>"], "p.q.e.a.>"),
        (&["*.*"], "p.q.e.*.*"),
        (&["a", "b"], "p.q.e.>"),
    ] {
        assert_eq!(filter(patterns), expected);
    }
}

proptest! {
    #[test]
    fn a_consumer_is_known_by_its_subjects(consumer in any::<String>(), sequence in any::<u64>()) {
        let names = names();
        let sequence = Sequence::new(sequence);
        let token = escaped(&consumer);
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)) && !token.is_empty());
        prop_assert_eq!(names.consumer(&names.state(&consumer)), Some(consumer.clone()));
        prop_assert_eq!(names.changed_consumer(&names.changed(&consumer)), Some(consumer.clone()));
        prop_assert_eq!(names.letter_sequence(&names.letter(&consumer, sequence)), Some(sequence));
    }
}
