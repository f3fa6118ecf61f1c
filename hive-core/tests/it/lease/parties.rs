//! Many tasks want one lease, on each engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_core::clock::SystemClock;
use hive_core::db::{Db, Write};
use hive_core::lease::{self, Holder, Keeper, Lease, Outcome};
use hive_core::rng::{Rng, SystemRng};
use hive_errors::ErrorKind;
use tokio::task::JoinSet;

use super::{deed, deeds, with_tables};
use crate::database::suite::Place;

const LONG: Duration = Duration::from_secs(600);

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Place::sqlite()).await;
            }
        )*}

        #[cfg(all(feature = "postgres", feature = "test-util"))]
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Place::postgres()).await;
            }
        )*}
    };
}

cases! {
    one_of_many_wins,
    each_leads_in_turn,
    what_is_done_in_the_name_of_a_holder_is_done_in_order,
    a_takeover_fences_whoever_had_it,
    a_lease_composes_with_what_is_written_beside_it,
    taken_names_are_told_and_forgotten,
}

async fn open(place: &Place) -> Db {
    Db::open(with_tables(place.options())).await.unwrap()
}

pub(super) fn holder(label: &str) -> Holder {
    Holder::new(label, Arc::new(SystemClock), &SystemRng).unwrap()
}

pub(super) async fn acquire(db: &Db, holder: &Holder, ttl: Duration) -> Outcome<Lease> {
    let holder = holder.clone();
    db.write(move |tx| lease::acquire(tx, "work", &holder, ttl))
        .await
        .unwrap()
}

async fn one_of_many_wins(place: Place) {
    let db = open(&place).await;
    for round in 1..=3_u64 {
        let mut tasks = JoinSet::new();
        for task in 0..60 {
            let db = db.clone();
            tasks.spawn(async move {
                let holder = holder("party");
                // However careless the transaction.
                let asked = if task % 2 == 0 {
                    Write::durable()
                } else {
                    Write::durable().read_committed()
                };
                let taken = db.write_with(asked, {
                    let holder = holder.clone();
                    move |tx| lease::acquire(tx, "work", &holder, LONG)
                });
                (holder, taken.await.unwrap())
            });
        }
        let (mut won, mut taken) = (Vec::new(), Vec::new());
        for (holder, outcome) in tasks.join_all().await {
            match outcome {
                Outcome::Won(lease) => won.push((holder, lease)),
                Outcome::Taken(status) => taken.push(status),
            }
        }
        assert_eq!((won.len(), taken.len()), (1, 59), "{won:?}");
        let (winner, lease) = won.pop().unwrap();
        assert_eq!((lease.holder(), lease.token().as_u64()), (&winner, round));
        for status in taken {
            assert_eq!((status.holder.as_str(), status.token), (winner.as_str(), lease.token()));
            assert!(status.left <= LONG, "{status:?}");
        }
        db.write(move |tx| lease::release(tx, &lease)).await.unwrap();
    }
}

async fn each_leads_in_turn(place: Place) {
    const PARTIES: usize = 16;
    let db = open(&place).await;
    let leading = Arc::new(AtomicBool::new(false));
    let mut parties = JoinSet::new();
    for _ in 0..PARTIES {
        let (db, leading) = (db.clone(), Arc::clone(&leading));
        parties.spawn(async move {
            let held = Keeper::new(db, "party").campaign("work", LONG).await.unwrap();
            assert!(!leading.swap(true, Ordering::SeqCst), "two lead");
            tokio::task::yield_now().await;
            assert!(leading.swap(false, Ordering::SeqCst));
            let token = held.token();
            held.release().await.unwrap();
            token.as_u64()
        });
    }
    let mut tokens = parties.join_all().await;
    tokens.sort_unstable();
    assert_eq!(tokens, (1..=PARTIES as u64).collect::<Vec<u64>>());
}

async fn what_is_done_in_the_name_of_a_holder_is_done_in_order(place: Place) {
    let db = open(&place).await;
    let mut parties = JoinSet::new();
    for party in 0..6 {
        let db = db.clone();
        parties.spawn(async move {
            let doer = format!("party {party}");
            let mut done = 0;
            // Leases that run out at any moment, of holders who never look at the time.
            while done < 8 {
                let me = holder(&doer);
                let Some(lease) = acquire(&db, &me, Duration::from_millis(100)).await.won() else {
                    tokio::task::yield_now().await;
                    continue;
                };
                loop {
                    let (lease, doer) = (lease.clone(), doer.clone());
                    match db.write(move |tx| deed(tx, &lease, &doer)).await {
                        Ok(()) => done += 1,
                        Err(error) if error.kind() == ErrorKind::LeaseLost => break,
                        Err(error) => panic!("{error:?}"),
                    }
                    if done >= 8 || SystemRng.next_u64().is_multiple_of(3) {
                        break;
                    }
                }
                if SystemRng.next_u64().is_multiple_of(2) {
                    // It may have run out.
                    drop(db.write(move |tx| lease::release(tx, &lease)).await);
                }
            }
        });
    }
    parties.join_all().await;
    assert!(deeds(&db).await.len() >= 48);
}

async fn a_takeover_fences_whoever_had_it(place: Place) {
    let db = open(&place).await;
    let old = acquire(&db, &holder("old"), Duration::from_millis(100))
        .await
        .won()
        .unwrap();
    // Waits until it has run out, which nothing but time brings about.
    let held = Keeper::new(db.clone(), "new").campaign("work", LONG).await.unwrap();
    assert!(held.token() > old.token());
    type Deed = fn(&mut hive_core::db::Tx<'_>, &Lease) -> hive_errors::Result<()>;
    for deed in [
        lease::guard as Deed,
        lease::renew as Deed,
        lease::release as Deed,
        |tx, lease| deed(tx, lease, "old"),
    ] {
        let lease = old.clone();
        let refused = db.write(move |tx| deed(tx, &lease)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LeaseLost, "{refused:?}");
    }
    let lease = held.lease().clone();
    db.write(move |tx| deed(tx, &lease, "new")).await.unwrap();
    assert_eq!(deeds(&db).await, [(held.token(), "new".to_owned())]);
    assert!(!held.is_lost());
    held.release().await.unwrap();
}

async fn a_lease_composes_with_what_is_written_beside_it(place: Place) {
    let db = open(&place).await;
    let (me, other) = (holder("me"), holder("other"));
    // Taken, used and given back in one closure.
    let (mine, lasts) = (me.clone(), other.clone());
    db.write(move |tx| {
        let Outcome::Won(lease) = lease::acquire(tx, "work", &mine, LONG)? else {
            panic!("nobody else is here")
        };
        assert!(matches!(lease::acquire(tx, "work", &lasts, LONG)?, Outcome::Taken(_)));
        deed(tx, &lease, "me")?;
        lease::release(tx, &lease)
    })
    .await
    .unwrap();
    // Taken in a closure that fails, it was not taken; its token may be another's.
    let mine = me.clone();
    let failed = db.write(move |tx| {
        let taken = lease::acquire(tx, "work", &mine, LONG)?;
        assert!(matches!(taken, Outcome::Won(_)));
        tx.execute("INSERT INTO deed (place, token, doer) VALUES (1, 1, 'twice')", &[])
    });
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::Conflict);
    let lease = acquire(&db, &other, LONG).await.won().unwrap();
    assert_eq!(lease.token().as_u64(), 2);
    // Lost within a part that may fail, the rest goes on.
    db.write(move |tx| {
        lease::release(tx, &lease)?;
        let part = tx.attempt(|tx| deed(tx, &lease, "other"));
        assert_eq!(part.unwrap_err().kind(), ErrorKind::LeaseLost);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(deeds(&db).await.len(), 1);
}

async fn taken_names_are_told_and_forgotten(place: Place) {
    let db = open(&place).await;
    let me = holder("me");
    let lease = acquire(&db, &me, LONG).await.won().unwrap();
    let current = |name: &'static str| db.read(move |db| lease::current(db, &SystemClock, name));
    let status = current("work").await.unwrap().unwrap();
    assert_eq!((status.holder.as_str(), status.token), (me.as_str(), lease.token()));
    assert!(status.left <= LONG && status.left > LONG / 2, "{status:?}");
    assert_eq!(current("play").await.unwrap(), None);
    let prune = || db.write(|tx| lease::prune(tx, &SystemClock, Duration::ZERO));
    assert_eq!(prune().await.unwrap(), 0);
    let gone = lease.clone();
    db.write(move |tx| lease::release(tx, &gone)).await.unwrap();
    assert_eq!(current("work").await.unwrap(), None);
    assert_eq!(prune().await.unwrap(), 1);
    assert!(acquire(&db, &me, LONG).await.won().unwrap().token() > lease.token());
}
