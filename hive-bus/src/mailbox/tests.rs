//! What can only be told when it is known that everything is there.

use std::sync::Arc;

use hive_core::clock::ManualClock;
use hive_core::clock::Timestamp;
use hive_core::db::Db;
use hive_core::id::IdSource;
use hive_core::rng::SystemRng;
use hive_core::testing::TestDb;

use super::*;
use crate::limits::PASSED_OVER_MAX;
use crate::transport::Memory;

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000))
}

fn memory() -> Bus {
    let clock = Arc::new(clock());
    let ids = IdSource::new(clock.clone(), Arc::new(SystemRng));
    Bus::over(Arc::new(Memory::new(clock.clone())), clock, ids)
}

async fn database(place: &TestDb) -> Bus {
    let clock = Arc::new(clock());
    let db = Db::open(place.options().migrations(&crate::MIGRATIONS)).await.unwrap();
    let ids = IdSource::new(clock.clone(), Arc::new(SystemRng));
    Bus::open(db, clock, ids).await.unwrap()
}

async fn send(bus: &Bus, priority: Priority, count: usize) {
    let message = |_| AgentMessage::to("a").kind("k").priority(priority);
    bus.send_all((0..count).map(message).collect()).await.unwrap();
}

/// Once so many are ready in these lanes.
async fn ready(mailbox: &Mailbox, lanes: [usize; LANES]) {
    let all = async {
        for (lane, wanted) in mailbox.inner.lanes.iter().zip(lanes) {
            while lane.ready_count() < wanted {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), all)
        .await
        .expect("what was sent did not come");
}

/// The priorities of the letters in the order in which they come.
async fn row(mailbox: &Mailbox, count: usize) -> String {
    let mut row = String::new();
    for _ in 0..count {
        let letter = mailbox.next().await.unwrap();
        row.push(letter.message().priority.as_str().chars().next().unwrap());
        letter.ack().await.unwrap();
    }
    row
}

async fn most_urgent_first(bus: Bus) {
    for priority in [Priority::Low, Priority::Medium, Priority::High, Priority::Critical] {
        send(&bus, priority, 2).await;
    }
    let mailbox = bus.mailbox("a").await.unwrap();
    ready(&mailbox, [2; LANES]).await;
    assert_eq!(row(&mailbox, 8).await, "cchhmmll");
    assert!(mailbox.try_next().unwrap().is_none());

    // One that waits is not overtaken for ever.
    send(&bus, Priority::Low, 2).await;
    send(&bus, Priority::Critical, 16).await;
    ready(&mailbox, [16, 0, 0, 2]).await;
    let urgent = "c".repeat(PASSED_OVER_MAX as usize);
    let batch = mailbox.batch(18).await.unwrap();
    let mut row = String::new();
    for letter in &batch {
        row.push(letter.message().priority.as_str().chars().next().unwrap());
    }
    assert_eq!(row, format!("{urgent}lccccl"));
    mailbox.ack_all(batch).await.unwrap();
    let info = bus.mailbox_info("a").await.unwrap();
    let open: Vec<_> = info.lanes.iter().map(|(_, lane)| lane.taken + lane.waiting).collect();
    assert_eq!(open, [0; LANES]);
    drop(mailbox);
    bus.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_most_urgent_comes_first_in_memory() {
    most_urgent_first(memory()).await;
}

#[tokio::test]
async fn the_most_urgent_comes_first_on_sqlite() {
    let place = TestDb::sqlite();
    most_urgent_first(database(&place).await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn the_most_urgent_comes_first_on_postgres() {
    let place = TestDb::postgres();
    most_urgent_first(database(&place).await).await;
}

#[tokio::test]
async fn several_who_wait_share_what_comes() {
    let bus = memory();
    let mailbox = bus.mailbox("a").await.unwrap();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mailbox = mailbox.clone();
            tokio::spawn(async move { mailbox.next().await.unwrap().ack().await.unwrap() })
        })
        .collect();
    tokio::task::yield_now().await;
    send(&bus, Priority::Low, 4).await;
    send(&bus, Priority::High, 4).await;
    for one in waiting {
        tokio::time::timeout(std::time::Duration::from_secs(30), one)
            .await
            .expect("one was not woken")
            .unwrap();
    }
    // Those that wait are told when there is nothing more to wait for.
    let last = tokio::spawn(async move { mailbox.next().await });
    tokio::task::yield_now().await;
    bus.shutdown().await.unwrap();
    assert_eq!(
        last.await.unwrap().unwrap_err().kind(),
        hive_errors::ErrorKind::ShuttingDown
    );
}
