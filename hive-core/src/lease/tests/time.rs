//! Clocks that jump, and processes that come and go.

use std::time::Duration;

use super::{Home, NAME, TTL, holders};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[tokio::test]
async fn a_clock_that_is_set_back_strands_nothing_and_frees_nothing_early() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let mut lease = home.take(&a).await;
    home.pass(YEAR);
    home.renew(&lease).await.unwrap();
    home.set_back(YEAR);
    // All of its time begins now, when this is noticed.
    assert_eq!(home.current(NAME).await.unwrap().left, TTL);
    assert_eq!(home.taken(&b).await.left, TTL);
    home.pass(TTL - Duration::from_micros(1));
    assert_eq!(home.taken(&b).await.left, Duration::from_micros(1));
    home.guard(&lease).await.unwrap();
    home.pass(Duration::from_micros(1));
    lease = home.take(&b).await;

    // Its holder's own renewals mend it as well.
    home.set_back(YEAR / 2);
    home.renew(&lease).await.unwrap();
    assert_eq!(home.taken(&a).await.left, TTL);
    // By less than has passed since the grant, it only lasts as much longer.
    home.pass(TTL / 2);
    home.set_back(TTL / 3);
    assert_eq!(home.taken(&a).await.left, TTL - TTL / 2 + TTL / 3);
}

#[tokio::test]
async fn looking_at_a_lease_from_the_future_changes_nothing() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    home.take(&a).await;
    home.set_back(YEAR);
    for _ in 0..3 {
        assert_eq!(home.current(NAME).await.unwrap().left, TTL);
        home.pass(TTL);
    }
    // Only whoever wants it makes it run.
    assert_eq!(home.taken(&b).await.left, TTL);
    home.pass(TTL);
    assert_eq!(home.current(NAME).await, None);
    home.take(&b).await;
}

#[tokio::test]
async fn a_clock_that_is_set_forward_ends_leases_but_fences_hold() {
    let mut home = Home::new().await;
    let [a, b] = holders();
    let old = home.take(&a).await;
    home.pass(YEAR);
    let new = home.take(&b).await;
    home.set_back(YEAR);
    home.assert_fenced(&old).await;
    home.guard(&new).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_process_held_is_free_at_once() {
    let mut home = Home::new().await;
    let [a, b, c] = holders();
    let old = home.take(&a).await;
    home.acquire("other", &b, TTL).await.unwrap().won().unwrap();
    // The next process's clock has nothing to do with the last one's.
    for (process, us) in [(2, 5), (3, i64::MAX / 2)] {
        (home.now.process, home.now.us) = (process, us);
        assert_eq!(home.current(NAME).await, None);
        let new = home.take(&c).await;
        assert!(new.token() > old.token());
        home.assert_fenced(&old).await;
    }
    // Names that nobody wants any more can go.
    assert_eq!(home.prune(TTL).await, 1);
}
