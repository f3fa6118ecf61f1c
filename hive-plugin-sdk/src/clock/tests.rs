use super::*;

#[test]
fn moments_do_not_overflow() {
    let late = Timestamp::from_micros(i64::MAX);
    let early = Timestamp::from_micros(i64::MIN);
    assert_eq!(late + Duration::MAX, late);
    assert_eq!(early - late, Duration::ZERO);
    assert_eq!(
        Timestamp::from_micros(5) - Timestamp::from_micros(2),
        Duration::from_micros(3)
    );
}
