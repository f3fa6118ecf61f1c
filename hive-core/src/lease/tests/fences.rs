//! Who may write and who may not.

use std::sync::Arc;
use std::time::Duration;

use hive_errors::ErrorKind;

use super::{Home, NAME, TTL, holders};
use crate::clock::SystemClock;
use crate::lease::{Holder, Outcome, Token};
use crate::limits::{LEASE_LABEL_BYTES_MAX, LEASE_NAME_BYTES_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN};
use crate::rng::SeededRng;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn one_holds_and_the_other_is_told_who_and_how_long() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    assert_eq!(home.current(NAME).await, None);
    let lease = home.take(&a).await;
    assert_eq!((lease.name(), lease.holder(), lease.ttl()), (NAME, &a, TTL));
    home.pass(SECOND);
    let told = home.taken(&b).await;
    assert_eq!((told.holder.as_str(), told.token), (a.as_str(), lease.token()));
    assert_eq!(told.left, TTL - SECOND);
    assert_eq!(home.current(NAME).await, Some(told));
    assert_eq!(home.current("another").await, None);
    home.guard(&lease).await.unwrap();
    home.release(&lease).await.unwrap();
    assert_eq!(home.current(NAME).await, None);
    home.assert_fenced(&lease).await;
    assert_eq!(home.take(&b).await.token().as_u64(), lease.token().as_u64() + 1);
}

#[tokio::test]
async fn a_holder_that_slept_too_long_has_nothing_to_say() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let old = home.take(&a).await;
    home.pass(TTL);
    assert_eq!(home.current(NAME).await, None);
    let new = home.take(&b).await;
    assert!(new.token() > old.token());
    home.assert_fenced(&old).await;
    // What it tried has changed nothing.
    home.guard(&new).await.unwrap();
    assert_eq!(home.current(NAME).await.unwrap().left, TTL);
    // Nor does it help that the new one is gone, or that it was itself who came after: a name is not held twice by one lease.
    home.release(&new).await.unwrap();
    home.assert_fenced(&old).await;
    let again = home.take(&a).await;
    assert!(again.token() > new.token());
    home.assert_fenced(&old).await;
    home.assert_fenced(&new).await;
    home.guard(&again).await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_in_the_name_of_a_lost_lease() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let old = home.take(&a).await;
    home.pass(TTL);
    home.take(&b).await;
    // Before the guard or after it: the whole closure is undone.
    let (lease, other) = (old.clone(), a.clone());
    let done = home.tx(move |tx, now| {
        let part = crate::lease::table::acquire_at(tx, now, "part", &other, TTL)?;
        crate::lease::guard(tx, &lease)?;
        Ok(part)
    });
    assert_eq!(done.await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(home.current("part").await, None);
}

#[tokio::test]
async fn as_long_as_nobody_else_has_it_a_lease_that_ran_out_may_go_on() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let lease = home.take(&a).await;
    home.pass(TTL * 10);
    home.guard(&lease).await.unwrap();
    home.renew(&lease).await.unwrap();
    assert_eq!(home.taken(&b).await.left, TTL);
}

#[tokio::test]
async fn taking_what_one_holds_already_ends_the_earlier_lease() {
    let home = Home::new().await;
    let [a, b] = holders();
    let first = home.take(&a).await;
    let clone = first.clone();
    let second = home.take(&a).await;
    assert!(second.token() > first.token());
    home.assert_fenced(&first).await;
    home.assert_fenced(&clone).await;
    home.guard(&second).await.unwrap();
    assert_eq!(home.taken(&b).await.token, second.token());
}

#[tokio::test]
async fn names_do_not_meddle() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let one = home.acquire("one", &a, TTL).await.unwrap().won().unwrap();
    let two = home.acquire("two", &b, TTL * 2).await.unwrap().won().unwrap();
    home.release(&one).await.unwrap();
    home.pass(TTL);
    home.guard(&two).await.unwrap();
    assert_eq!(home.current("two").await.unwrap().left, TTL);
    assert_eq!(home.current("one").await, None);
}

#[tokio::test]
async fn what_was_pruned_does_not_begin_again_at_one() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let mut old = home.take(&a).await;
    for _ in 0..4 {
        old = home.take(&a).await;
    }
    let kept = home.acquire("kept", &a, TTL * 100).await.unwrap().won().unwrap();
    home.pass(TTL * 3);
    assert_eq!(home.prune(TTL * 2 + SECOND).await, 0);
    assert_eq!(home.prune(TTL * 2).await, 1);
    assert_eq!(home.prune(TTL * 2).await, 0);
    home.assert_fenced(&old).await;
    assert!(home.take(&b).await.token() > old.token());
    home.guard(&kept).await.unwrap();
    // Names that come later are above it, too, which does no harm.
    let late = home.acquire("late", &a, TTL).await.unwrap().won().unwrap();
    assert!(late.token() > old.token());
}

#[tokio::test]
async fn what_cannot_be_a_lease_is_refused() {
    let home = Home::new().await;
    let [a] = holders();
    let long = "x".repeat(LEASE_NAME_BYTES_MAX + 1).leak();
    for (name, ttl) in [
        ("", TTL),
        ("a\0b", TTL),
        ("a\nb", TTL),
        (long, TTL),
        (NAME, Duration::ZERO),
        (NAME, LEASE_TTL_MIN - Duration::from_nanos(1)),
        (NAME, LEASE_TTL_MAX + Duration::from_nanos(1)),
        (NAME, Duration::MAX),
    ] {
        let refused = home.acquire(name, &a, ttl).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name:?} {ttl:?}: {refused}");
    }
    for (name, ttl) in [(&long[1..], TTL), ("ä/ß 1", LEASE_TTL_MIN), ("max", LEASE_TTL_MAX)] {
        assert!(
            matches!(home.acquire(name, &a, ttl).await, Ok(Outcome::Won(_))),
            "{name}"
        );
    }
    let rng = SeededRng::new(1);
    let holder = |label: &str| Holder::new(label, Arc::new(SystemClock), &rng);
    let long = "x".repeat(LEASE_LABEL_BYTES_MAX + 1);
    for label in ["", "a\tb", &long] {
        assert_eq!(holder(label).unwrap_err().kind(), ErrorKind::InvalidInput, "{label:?}");
    }
    let (one, two) = (holder("same").unwrap(), holder("same").unwrap());
    assert!(one.as_str().starts_with("same-") && one != two);
}

#[tokio::test]
async fn a_token_is_a_number_to_the_world() {
    let home = Home::new().await;
    let [a] = holders();
    let token = home.take(&a).await.token();
    assert_eq!(serde_json::to_string(&token).unwrap(), "1");
    assert_eq!(serde_json::from_str::<Token>("1").unwrap(), token);
    assert_eq!((token.as_u64(), token.to_string().as_str()), (1, "1"));
}
