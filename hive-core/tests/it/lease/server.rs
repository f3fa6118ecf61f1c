//! Leases on a server, which many processes share.

use std::sync::mpsc;
use std::time::Duration;

use hive_core::clock::SystemClock;
use hive_core::db::{Db, Options, Write};
use hive_core::lease::{self, Keeper, Lease, Outcome, Token};
use hive_core::rng::{Rng, SystemRng};
use hive_core::testing::{Postgres, Proxy, until};
use hive_errors::{ErrorKind, Result};

use super::parties::{acquire, holder};
use super::process::{Party, place, say};
use super::{deed, deeds, with_tables};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(400);

async fn open(url: &str) -> Db {
    Db::open(with_tables(Options::postgres(url))).await.unwrap()
}

/// A closure that has done its work and commits when it is let go.
struct Paused<T> {
    go: mpsc::Sender<()>,
    done: tokio::task::JoinHandle<Result<T>>,
}

impl<T: Send + 'static> Paused<T> {
    async fn begin(db: &Db, mut work: impl FnMut(&mut hive_core::db::Tx<'_>) -> Result<T> + Send + 'static) -> Self {
        let (go, gone) = mpsc::channel();
        let (inside, entered) = mpsc::channel();
        let db = db.clone();
        let done = tokio::spawn(async move {
            db.write(move |tx| {
                let value = work(tx)?;
                inside.send(()).unwrap();
                gone.recv().unwrap();
                Ok(value)
            })
            .await
        });
        tokio::task::spawn_blocking(move || entered.recv().unwrap())
            .await
            .unwrap();
        Self { go, done }
    }

    async fn end(self) -> T {
        self.go.send(()).unwrap();
        self.done.await.unwrap().unwrap()
    }
}

/// Returns once a connection to the database waits for another's lock.
async fn until_somebody_waits(url: &str) {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(Duration::from_secs(60), || {
            (Postgres::shared().sql(&url, waiting).trim() != "0").then_some(())
        })
    })
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_waits_for_what_is_being_written_in_the_holders_name() {
    let url = Postgres::shared().database();
    let db = open(&url).await;
    let old = acquire(&db, &holder("old"), Duration::from_millis(100))
        .await
        .won()
        .unwrap();
    let lease = old.clone();
    let writing = Paused::begin(&db, move |tx| deed(tx, &lease, "old")).await;
    // It runs out meanwhile, and somebody wants it.
    let campaign = tokio::spawn({
        let keeper = Keeper::new(db.clone(), "new");
        async move { keeper.campaign("work", LONG).await }
    });
    until_somebody_waits(&url).await;
    assert!(!campaign.is_finished());
    writing.end().await;
    let held = campaign.await.unwrap().unwrap();
    assert!(held.token() > old.token());
    let lease = held.lease().clone();
    db.write(move |tx| deed(tx, &lease, "new")).await.unwrap();
    assert_eq!(deeds(&db).await.len(), 2);
    held.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_being_pruned_does_not_begin_again() {
    for asked in [Write::durable(), Write::durable().read_committed()] {
        let url = Postgres::shared().database();
        let db = open(&url).await;
        let me = holder("me");
        let mut last = None;
        for _ in 0..5 {
            last = acquire(&db, &me, LONG).await.won();
        }
        let last: Lease = last.unwrap();
        let gone = last.clone();
        db.write(move |tx| lease::release(tx, &gone)).await.unwrap();
        let pruning = Paused::begin(&db, |tx| lease::prune(tx, &SystemClock, Duration::ZERO)).await;
        let taking = tokio::spawn({
            let db = db.clone();
            async move {
                db.write_with(asked, move |tx| lease::acquire(tx, "work", &me, LONG))
                    .await
            }
        });
        until_somebody_waits(&url).await;
        assert_eq!(pruning.end().await, 1);
        let taken = taking.await.unwrap().unwrap().won().unwrap();
        assert!(taken.token() > last.token(), "{} after {}", taken.token(), last.token());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_cut_off_gives_up_and_another_goes_on() {
    let server = Postgres::shared();
    let url = server.database();
    let there = open(&url).await;
    let (_, address) = url.rsplit_once('@').unwrap();
    let proxy = Proxy::start(address.split_once('/').unwrap().0);
    let here = open(&proxy.url(&url)).await;
    let keeper = Keeper::new(here.clone(), "cut off");
    let held = keeper.campaign("work", SHORT).await.unwrap();
    proxy.cut();
    let error = held.lost().await;
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error:?}");
    assert!(held.is_lost());
    let next = Keeper::new(there.clone(), "next").campaign("work", LONG).await.unwrap();
    assert!(next.token() > held.token());
    proxy.restore();
    // Back, it finds that others have gone on. It has no news of its own.
    let lease = held.lease().clone();
    let refused = loop {
        let lease = lease.clone();
        match here.write(move |tx| lease::guard(tx, &lease)).await {
            Err(error) if error.kind() != ErrorKind::LeaseLost && error.is_retryable() => {}
            answer => break answer.unwrap_err(),
        }
    };
    assert_eq!(refused.kind(), ErrorKind::LeaseLost, "{refused:?}");
    let Outcome::Taken(status) = keeper.hold("work", SHORT).await.unwrap() else {
        panic!("it is held")
    };
    assert_eq!(status.token, next.token());
    next.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_has_nothing_to_say() {
    const TEST: &str = "lease::server::a_process_that_stood_still_has_nothing_to_say";
    if let Some(url) = place() {
        let db = open(&url).await;
        let lease = acquire(&db, &holder("zombie"), SHORT).await.won().unwrap();
        let held = lease.clone();
        db.write(move |tx| deed(tx, &held, "zombie")).await.unwrap();
        say(&lease.token().to_string());
        // It is stopped here, where it holds no lock that others would have to wait for.
        let now = "SELECT token FROM hive_lease WHERE name = 'work'";
        while db
            .read(move |db| db.query_one(now, &[], |row| row.get::<Token>(0)))
            .await
            .unwrap()
            == lease.token()
        {
            tokio::task::yield_now().await;
        }
        let refused = db.write(move |tx| deed(tx, &lease, "zombie")).await;
        return say(refused.map_or_else(|error| error.code(), |()| "done"));
    }
    let url = Postgres::shared().database();
    let mut zombie = Party::start(TEST, &url);
    let token: u64 = zombie.said().parse().unwrap();
    zombie.signal("STOP");
    let db = open(&url).await;
    let held = Keeper::new(db.clone(), "next").campaign("work", LONG).await.unwrap();
    assert!(held.token().as_u64() > token);
    let lease = held.lease().clone();
    db.write(move |tx| deed(tx, &lease, "next")).await.unwrap();
    zombie.signal("CONT");
    assert_eq!(zombie.said(), "lease-lost");
    zombie.end();
    // The last word is the new holder's.
    let all = deeds(&db).await;
    assert_eq!(all.last().unwrap(), &(held.token(), "next".to_owned()));
    assert_eq!(all.iter().filter(|(_, doer)| doer == "next").count(), 1);
    held.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_processes_that_are_killed_one_leads_at_a_time() {
    const TEST: &str = "lease::server::of_many_processes_that_are_killed_one_leads_at_a_time";
    const ROUNDS: u32 = 12;
    if let Some(url) = place() {
        return lead(&url).await;
    }
    let url = Postgres::shared().database();
    let db = open(&url).await;
    let mut parties: Vec<Party> = (0..4).map(|_| Party::start(TEST, &url)).collect();
    let mut before = None::<Token>;
    for _ in 0..ROUNDS {
        // Whoever leads is killed, and somebody else goes on.
        let (token, leader) = loop {
            let last = deeds(&db).await.pop();
            match last {
                Some((token, doer)) if before.is_none_or(|before| before < token) => break (token, doer),
                Some(_) | None => tokio::task::yield_now().await,
            }
        };
        before = Some(token);
        let at = parties.iter().position(|party| party.id() == leader).unwrap();
        parties.swap_remove(at).kill();
        parties.push(Party::start(TEST, &url));
    }
    parties.into_iter().for_each(Party::kill);
    let all = deeds(&db).await;
    let mut tokens: Vec<Token> = all.iter().map(|(token, _)| *token).collect();
    tokens.dedup();
    assert!(
        tokens.len() >= usize::try_from(ROUNDS).unwrap(),
        "{} leaders",
        tokens.len()
    );
}

async fn lead(url: &str) {
    let db = open(url).await;
    let me = std::process::id().to_string();
    loop {
        let held = Keeper::new(db.clone(), &*me).campaign("work", SHORT).await.unwrap();
        loop {
            let (lease, doer) = (held.lease().clone(), me.clone());
            match db.write(move |tx| deed(tx, &lease, &doer)).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::LeaseLost => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        if SystemRng.next_u64().is_multiple_of(2) {
            drop(held.release().await);
        }
    }
}
