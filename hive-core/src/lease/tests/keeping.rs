//! Leases that are renewed, lost, given back and waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use hive_errors::ErrorKind;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{NAME, TTL};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::db::{Db, Options};
use crate::lease::{Held, Keeper, MIGRATIONS, Status, Token, current};
use crate::limits::{LEASE_MARGIN_SHARE, LEASE_RENEWALS};
use crate::rng::SeededRng;

/// A database on a clock that moves when told to, and who takes leases in it.
struct Place {
    _dir: TempDir,
    clock: ManualClock,
    db: Db,
    keeper: Keeper,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp::EPOCH);
        let options = Options::file(dir.path().join("test.db")).migrations(&MIGRATIONS);
        let db = Db::open(options).await.unwrap();
        let keeper = Keeper::new(db.clone(), "test").rng(Arc::new(SeededRng::new(3)));
        Self {
            keeper: keeper.clock(Arc::new(clock.clone())),
            _dir: dir,
            clock,
            db,
        }
    }

    async fn hold(&self) -> Held {
        self.keeper.hold(NAME, TTL).await.unwrap().won().unwrap()
    }

    async fn current(&self) -> Option<Status> {
        let clock = self.clock.clone();
        self.db.read(move |db| current(db, &clock, NAME)).await.unwrap()
    }

    async fn until_renewed(&self) {
        while self.current().await.is_none_or(|status| status.left < TTL) {
            tokio::task::yield_now().await;
        }
    }

    /// Hands the lease to somebody who did not ask.
    async fn take_away(&self) {
        let sql = "UPDATE hive_lease SET token = token + 1, holder = 'somebody' WHERE name = ?1";
        self.db.write(move |tx| tx.execute(sql, &[&NAME])).await.unwrap();
    }
}

#[tokio::test]
async fn it_is_renewed_for_as_long_as_it_is_held() {
    let place = Place::new().await;
    let held = place.hold().await;
    for _ in 0..20 {
        // It is not waiting for an answer, which would take it longer.
        while place.clock.next().is_none_or(|next| next > TTL / LEASE_RENEWALS) {
            tokio::task::yield_now().await;
        }
        place.clock.advance(TTL / LEASE_RENEWALS);
        place.until_renewed().await;
    }
    assert!(!held.is_lost());
    let status = place.current().await.unwrap();
    assert_eq!(
        (status.token, status.holder.as_str()),
        (held.token(), held.lease().holder().as_str())
    );
    // Also for another of the same keeper.
    assert_eq!(
        place
            .keeper
            .hold(NAME, TTL)
            .await
            .unwrap()
            .won()
            .map(|held| held.token()),
        None
    );
    // Work goes on for as long.
    assert_eq!(held.guard(async { 7 }).await.unwrap(), 7);
    held.release().await.unwrap();
    assert_eq!(place.current().await, None);
    assert_eq!(place.clock.sleepers(), 0);
}

#[tokio::test]
async fn it_is_given_up_before_it_runs_out_when_the_database_does_not_answer() {
    let place = Place::new().await;
    let held = place.hold().await;
    place.db.close().await.unwrap();
    let began = place.clock.monotonic();
    let (mut steps, mut lost) = (0, Box::pin(held.lost()));
    let error = loop {
        tokio::select! {
            biased;
            error = &mut lost => break error,
            () = place.clock.until_sleepers(1) => {}
        }
        // Whoever asks is told at the same time.
        let early = place.clock.monotonic() - began < TTL - TTL / LEASE_MARGIN_SHARE;
        assert_eq!(held.is_lost(), !early);
        if early {
            place.clock.advance_to_next();
            steps += 1;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error:?}");
    assert!(error.field("cause").unwrap().contains("closed"), "{error:?}");
    assert!(steps > 5, "it gave up after {steps} steps");
    assert_eq!(place.clock.monotonic() - began, TTL - TTL / LEASE_MARGIN_SHARE);
    let refused = held.guard(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
}

#[tokio::test]
async fn whoever_was_held_up_for_too_long_knows_at_once() {
    let place = Place::new().await;
    let held = place.hold().await;
    assert!(!held.is_lost());
    // Nothing else has run since.
    place.clock.advance(TTL - TTL / LEASE_MARGIN_SHARE);
    assert!(held.is_lost());
    let error = held.lost().await;
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error:?}");
    // It had not run out, and is given back.
    held.release().await.unwrap();
}

#[tokio::test]
async fn whoever_lost_it_to_another_is_told_at_the_next_renewal() {
    let place = Place::new().await;
    let held = place.hold().await;
    place.take_away().await;
    assert!(!held.is_lost());
    place.clock.until_sleepers(1).await;
    place.clock.advance(TTL / LEASE_RENEWALS);
    let error = held.guard(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!((error.kind(), error.field("name")), (ErrorKind::LeaseLost, Some(NAME)));
    assert!(held.is_lost());
    assert_eq!(place.clock.sleepers(), 0);
    assert_eq!(held.release().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(place.current().await.unwrap().holder, "somebody");
}

#[tokio::test]
async fn dropped_it_runs_out_by_itself() {
    let place = Place::new().await;
    let held = place.hold().await;
    place.clock.until_sleepers(1).await;
    drop(held);
    while place.clock.sleepers() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(place.keeper.hold(NAME, TTL).await.unwrap().won().is_none());
    place.clock.advance(TTL);
    place.hold().await;
}

#[tokio::test]
async fn a_wall_clock_may_jump_as_it_likes() {
    let place = Place::new().await;
    let held = place.hold().await;
    for years in [-40_i64, 0, 40, 3] {
        let now = Timestamp::from_micros(years * 365 * 86_400 * 1_000_000);
        place.clock.set_wall(now);
        assert_eq!(place.current().await.unwrap().left, TTL);
        assert!(place.keeper.hold(NAME, TTL).await.unwrap().won().is_none());
    }
    assert!(!held.is_lost());
    drop(held);
    place.clock.advance(TTL);
    place.hold().await;
}

#[tokio::test]
async fn the_next_in_line_leads_as_soon_as_the_lease_is_given_back() {
    let place = Place::new().await;
    let held = place.hold().await;
    let keeper = place.keeper.clone();
    let waiting = tokio::spawn(async move { keeper.campaign(NAME, TTL).await });
    // The holder sleeps until it renews, the other until it looks again. Neither clock moves.
    place.clock.until_sleepers(2).await;
    let token = held.token();
    held.release().await.unwrap();
    let next = waiting.await.unwrap().unwrap();
    assert!(next.token() > token);
    assert_eq!(place.clock.monotonic(), Duration::ZERO);
}

#[tokio::test]
async fn the_next_in_line_leads_when_the_holder_is_silent() {
    let place = Place::new().await;
    drop(place.hold().await);
    let keeper = place.keeper.clone();
    let mut waiting = Box::pin(keeper.campaign(NAME, TTL));
    let next = loop {
        tokio::select! {
            biased;
            next = &mut waiting => break next.unwrap(),
            () = place.clock.until_sleepers(1) => assert!(place.clock.advance_to_next()),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(next.token().as_u64(), 2);
    assert!((TTL..TTL * 2).contains(&place.clock.monotonic()), "{:?}", place.clock);
}

#[tokio::test]
async fn a_campaign_ends_with_the_database() {
    let place = Place::new().await;
    let held = place.hold().await;
    let keeper = place.keeper.clone();
    let waiting = tokio::spawn(async move { keeper.campaign(NAME, TTL).await });
    place.clock.until_sleepers(2).await;
    place.db.close().await.unwrap();
    drop(held);
    while !waiting.is_finished() {
        place.clock.advance_to_next();
        tokio::task::yield_now().await;
    }
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::ShuttingDown);
    let refused = place.keeper.campaign("", TTL).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leads_beside_another() {
    const PARTIES: u32 = 24;
    let dir = tempfile::tempdir().unwrap();
    let options = Options::file(dir.path().join("test.db")).migrations(&MIGRATIONS);
    let db = Db::open(options).await.unwrap();
    let (leading, led) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut parties = JoinSet::new();
    for _ in 0..PARTIES {
        let keeper = Keeper::new(db.clone(), "party");
        let (leading, led) = (Arc::clone(&leading), Arc::clone(&led));
        parties.spawn(async move {
            let held = keeper.campaign(NAME, Duration::from_secs(60)).await.unwrap();
            assert!(!leading.swap(true, Ordering::SeqCst), "two lead");
            tokio::task::yield_now().await;
            led.fetch_add(1, Ordering::SeqCst);
            assert!(leading.swap(false, Ordering::SeqCst));
            let token = held.token();
            held.release().await.unwrap();
            token
        });
    }
    let mut tokens: Vec<Token> = parties.join_all().await;
    tokens.sort();
    tokens.dedup();
    assert_eq!((led.load(Ordering::SeqCst), tokens.len()), (PARTIES, 24));
}

#[tokio::test]
async fn a_hold_that_nobody_waits_for_takes_nothing() {
    let place = Place::new().await;
    // The writer is busy, so that what is asked for meanwhile waits.
    let (open, opened) = mpsc::channel::<()>();
    let (inside, entered) = mpsc::channel();
    let db = place.db.clone();
    let busy = tokio::spawn(async move {
        let mut opened = Some(opened);
        db.write(move |_| {
            inside.send(()).unwrap();
            opened.take().unwrap().recv().unwrap();
            Ok(())
        })
        .await
    });
    tokio::task::spawn_blocking(move || entered.recv().unwrap())
        .await
        .unwrap();
    {
        let mut hold = Box::pin(place.keeper.hold(NAME, TTL));
        assert!(is_pending(&mut hold).await);
    }
    open.send(()).unwrap();
    busy.await.unwrap().unwrap();
    // Queued behind it.
    let clock = place.clock.clone();
    assert_eq!(place.db.write(move |tx| current(tx, &clock, NAME)).await.unwrap(), None);
    assert_eq!(place.hold().await.token().as_u64(), 1);
}

/// Polls once.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|task| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(task).is_pending())).await
}
