use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::{ManualClock, Timestamp};
use hive_core::db::Db;
use hive_core::testing::TestDb;
use hive_errors::ErrorKind;
use proptest::prelude::*;

use super::Memory;
use super::store::prune;
use crate::{limits, tables};

async fn db(place: &TestDb, clock: Arc<ManualClock>) -> Db {
    let options = place.options().clock(clock);
    let options = options
        .migrations(&hive_bus::MIGRATIONS)
        .migrations(&tables::MIGRATIONS);
    Db::open(options).await.unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::EPOCH + Duration::from_secs(1_000)))
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u32),
    PutIf(u8, u64, u32),
    Expiring(u8, u64),
    Update(u8),
    Delete(u8),
    Pass(u64),
    Prune,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..4_u8;
    prop_oneof![
        (key.clone(), any::<u32>()).prop_map(|(key, value)| Op::Put(key, value)),
        (key.clone(), 0..12_u64, any::<u32>()).prop_map(|(key, version, value)| Op::PutIf(key, version, value)),
        (key.clone(), 1..9_u64).prop_map(|(key, ttl)| Op::Expiring(key, ttl)),
        key.clone().prop_map(Op::Update),
        key.prop_map(Op::Delete),
        (1..5_u64).prop_map(Op::Pass),
        Just(Op::Prune),
    ]
}

/// What a memory should hold: value, version, and when it is over.
type Ideal = std::collections::BTreeMap<u8, (u32, u64, Option<u64>)>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a map: versions only grow, expired entries are as if they were not, and the count of entries is right.
    #[test]
    fn a_memory_is_a_map_with_versions(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (place, clock) = (TestDb::sqlite_in_memory(), clock());
            let db = db(&place, Arc::clone(&clock)).await;
            let memory = Memory::agent("acme", "writer");
            let (mut ideal, mut last, mut now) = (Ideal::new(), 0_u64, 0_u64);
            for op in ops {
                let (memory, given) = (memory.clone(), op.clone());
                let written = db
                    .write(move |tx| {
                        Ok(match &given {
                            Op::Put(key, value) => Some(memory.put(tx, &key.to_string(), value)),
                            Op::PutIf(key, version, value) => Some(memory.put_if(tx, &key.to_string(), *version, value)),
                            Op::Expiring(key, ttl) => {
                                Some(memory.clone().expiring(Duration::from_secs(*ttl)).put(tx, &key.to_string(), &7))
                            }
                            Op::Update(key) => {
                                let change = |old: Option<u32>| old.map_or(0, |old| old.wrapping_add(1));
                                Some(memory.update(tx, &key.to_string(), change).map(|new| new.version))
                            }
                            Op::Delete(key) => {
                                memory.delete(tx, &key.to_string())?;
                                None
                            }
                            Op::Prune => {
                                prune(tx, 100)?;
                                None
                            }
                            Op::Pass(_) => None,
                        })
                    })
                    .await
                    .unwrap();
                ideal.retain(|_, (_, _, over)| over.is_none_or(|over| over > now));
                match op {
                    Op::PutIf(key, version, value) => {
                        let there = ideal.get(&key).map_or(0, |(_, version, _)| *version);
                        match written.unwrap() {
                            Ok(new) => {
                                assert_eq!(there, version);
                                assert!(new > last);
                                last = new;
                                ideal.insert(key, (value, new, None));
                            }
                            Err(error) => {
                                assert_eq!((error.kind(), error.field("version")), (ErrorKind::Conflict, Some(&*there.to_string())));
                                assert_ne!(there, version);
                            }
                        }
                    }
                    Op::Put(..) | Op::Expiring(..) | Op::Update(_) => {
                        let new = written.unwrap().unwrap();
                        assert!(new > last, "{new} after {last}");
                        last = new;
                        match op {
                            Op::Put(key, value) => ideal.insert(key, (value, new, None)),
                            Op::Expiring(key, ttl) => ideal.insert(key, (7, new, Some(now + ttl))),
                            Op::Update(key) => {
                                let value = ideal.get(&key).map_or(0, |(old, _, _)| old.wrapping_add(1));
                                ideal.insert(key, (value, new, None))
                            }
                            Op::PutIf(..) | Op::Delete(_) | Op::Pass(_) | Op::Prune => unreachable!(),
                        };
                    }
                    Op::Delete(key) => drop(ideal.remove(&key)),
                    Op::Pass(seconds) => {
                        clock.advance(Duration::from_secs(seconds));
                        now += seconds;
                    }
                    Op::Prune => {}
                }
                ideal.retain(|_, (_, _, over)| over.is_none_or(|over| over > now));
                let own = memory_of();
                let (listed, rows, counted) = db
                    .read(move |db| {
                        let rows = db.query_one("SELECT count(*) FROM memory_entry", &[], |row| row.get::<u64>(0))?;
                        let counted = db.query_opt("SELECT entries FROM memory", &[], |row| row.get::<u64>(0))?;
                        Ok((own.list(db, "", None)?, rows, counted))
                    })
                    .await
                    .unwrap();
                let listed: Vec<(u8, u32, u64)> = listed
                    .entries
                    .iter()
                    .map(|entry| (entry.key.parse().unwrap(), entry.value.decode().unwrap(), entry.version))
                    .collect();
                let should: Vec<_> = ideal.iter().map(|(key, (value, version, _))| (*key, *value, *version)).collect();
                assert_eq!(listed, should);
                assert_eq!(counted.unwrap_or(0), rows);
            }
        });
    }
}

fn memory_of() -> Memory {
    Memory::agent("acme", "writer")
}

async fn keys_and_values(place: TestDb) {
    let db = db(&place, clock()).await;
    let long = "k".repeat(limits::MEMORY_KEY_BYTES);
    let odd = [
        "a",
        "a\0b",
        "\u{1}",
        "ä",
        "%",
        "_",
        "a/b",
        "a#1",
        "🦀",
        "\u{10ffff}",
        "'; DROP TABLE memory; --",
        &long,
    ];
    for (at, key) in odd.into_iter().enumerate() {
        let key = key.to_owned();
        db.write(move |tx| memory_of().put(tx, &key, &at)).await.unwrap();
    }
    let page = db.read(|db| memory_of().list(db, "", None)).await.unwrap();
    let mut keys: Vec<String> = odd.iter().map(ToString::to_string).collect();
    keys.sort();
    assert_eq!(
        page.entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(),
        keys
    );
    // Only what begins with it, however odd; `%` and `_` are themselves.
    for prefix in ["a", "%", "\u{1}", "🦀", "\u{10ffff}", "b", "k"] {
        let should: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        let page = db.read(move |db| memory_of().list(db, prefix, None)).await.unwrap();
        let is: Vec<_> = page.entries.into_iter().map(|entry| entry.key).collect();
        assert_eq!(is, should, "{prefix:?}");
    }
    for (at, key) in odd.into_iter().enumerate() {
        let key = key.to_owned();
        let got = db
            .read(move |db| memory_of().get::<usize>(db, &key))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((got.value, got.version), (at, at as u64 + 1));
    }
    let refused = |key: String, bytes: usize| {
        let db = db.clone();
        async move {
            let put = move |tx: &mut hive_core::db::Tx<'_>| memory_of().put(tx, &key, &"v".repeat(bytes));
            db.write(put).await.unwrap_err()
        }
    };
    assert_eq!(refused(String::new(), 1).await.field("field"), Some("key"));
    assert_eq!(refused(format!("{long}k"), 1).await.kind(), ErrorKind::InvalidInput);
    let large = refused("a".to_owned(), limits::MEMORY_VALUE_BYTES - 1).await;
    assert_eq!(
        (large.kind(), large.field("key")),
        (ErrorKind::PayloadTooLarge, Some("a"))
    );
    for memory in [
        Memory::agent("acme", "a/b"),
        Memory::agent("", "a"),
        Memory::tenant("a/b"),
        memory_of().expiring(Duration::ZERO),
        memory_of().expiring(Duration::MAX),
    ] {
        let error = db.write(move |tx| memory.put(tx, "a", &1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    // A value that is none of this type.
    let wrong = db.read(|db| memory_of().get::<String>(db, "a")).await.unwrap_err();
    assert_eq!((wrong.kind(), wrong.field("key")), (ErrorKind::InvalidInput, Some("a")));
}

async fn pages(place: TestDb) {
    let db = db(&place, clock()).await;
    let count = limits::MEMORY_PAGE + 5;
    db.write(move |tx| {
        for n in 0..count {
            memory_of().put(tx, &format!("n/{n:04}"), &n)?;
        }
        for n in 0..12 {
            memory_of().put(
                tx,
                &format!("large/{n:04}"),
                &"x".repeat(limits::MEMORY_VALUE_BYTES - 2),
            )?;
        }
        Ok(())
    })
    .await
    .unwrap();
    for (prefix, total, pages) in [("n/", count, 2), ("large/", 12, 2), ("", count + 12, 3)] {
        let (mut seen, mut after, mut looks) = (Vec::new(), None::<String>, 0);
        loop {
            let behind = after.clone();
            let page = db
                .read(move |db| memory_of().list(db, prefix, behind.as_deref()))
                .await
                .unwrap();
            let bytes: usize = page.entries.iter().map(|entry| entry.value.size()).sum();
            assert!(page.entries.len() <= limits::MEMORY_PAGE && bytes <= limits::MEMORY_PAGE_BYTES);
            seen.extend(page.entries.into_iter().map(|entry| entry.key));
            looks += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), looks), (total, pages), "{prefix:?}");
        assert!(seen.is_sorted());
    }
}

async fn full(place: TestDb) {
    let clock = clock();
    let db = db(&place, Arc::clone(&clock)).await;
    db.write(|tx| {
        memory_of().put(tx, "there", &1)?;
        memory_of().expiring(Duration::from_millis(1)).put(tx, "brief", &1)?;
        tx.execute("UPDATE memory SET entries = ?1", &[&limits::MEMORY_ENTRIES])
    })
    .await
    .unwrap();
    // What has expired makes room, by either clock.
    clock.advance(Duration::from_secs(1));
    loop {
        match db.write(|tx| memory_of().put(tx, "new", &1)).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::LimitReached),
        }
    }
    let refused = db.write(|tx| memory_of().put(tx, "newer", &1)).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.field("key")),
        (ErrorKind::LimitReached, Some("newer"))
    );
    // What is there may be changed, and what is taken away makes room.
    db.write(|tx| memory_of().put(tx, "there", &2)).await.unwrap();
    assert!(db.write(|tx| memory_of().delete(tx, "there")).await.unwrap());
    assert!(!db.write(|tx| memory_of().delete(tx, "there")).await.unwrap());
    db.write(|tx| memory_of().put(tx, "newer", &1)).await.unwrap();
}

macro_rules! on_both {
    ($($body:ident: $sqlite:ident, $postgres:ident);* $(;)?) => {$(
        #[tokio::test]
        async fn $sqlite() {
            $body(TestDb::sqlite()).await;
        }

        #[cfg(feature = "postgres")]
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $postgres() {
            $body(TestDb::postgres()).await;
        }
    )*};
}

on_both! {
    keys_and_values: odd_keys_are_keys_and_bad_ones_are_named, odd_keys_are_keys_on_a_server;
    pages: a_page_ends_by_number_and_by_size, a_page_ends_on_a_server;
    full: a_full_memory_says_so, a_full_memory_says_so_on_a_server;
}
