mod model;

use super::*;
use crate::topic::Pattern;

#[test]
fn the_first_rule_that_matches_decides() {
    let of = |pattern: &'static str| Retention::of(Pattern::new(pattern).unwrap());
    let policy = RetentionPolicy::new([of("a.b"), of("a.*").count(1), of("*.b").count(2)]).unwrap();
    for (topic, place) in [
        ("a.b", Some(0)),
        ("a.c", Some(1)),
        ("c.b", Some(2)),
        ("c", None),
        ("a.b.c", None),
    ] {
        assert_eq!(policy.place_for(&Topic::new(topic).unwrap()), place, "{topic}");
    }
}

#[test]
fn a_policy_has_rules_and_not_too_many() {
    let rule = Retention::of(Pattern::ALL);
    let with = |count: usize| RetentionPolicy::new(vec![rule.clone(); count]);
    assert_eq!(with(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    with(limits::RETENTION_RULES_MAX).unwrap();
    assert_eq!(
        with(limits::RETENTION_RULES_MAX + 1).unwrap_err().kind(),
        ErrorKind::LimitReached
    );
}
