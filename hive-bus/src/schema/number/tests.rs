use super::*;

#[test]
fn numbers_are_compared_exactly() {
    let ascending = [
        "-1e300",
        "-9223372036854775808",
        "-1.5",
        "-1",
        "-0.5",
        "0",
        "0.5",
        "1",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
    ];
    let number = |text: &str| serde_json::from_str::<Number>(text).unwrap();
    for (at, one) in ascending.iter().enumerate() {
        for (other_at, other) in ascending.iter().enumerate() {
            assert_eq!(
                compare(&number(one), &number(other)),
                at.cmp(&other_at),
                "{one} {other}"
            );
        }
    }
    for (one, other) in [("1", "1.0"), ("0", "-0.0"), ("-3", "-3e0"), ("1e2", "100")] {
        assert!(compare(&number(one), &number(other)).is_eq(), "{one} {other}");
    }
}
