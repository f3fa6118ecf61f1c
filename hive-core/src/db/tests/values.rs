//! Values into rows and out again.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Arc;

use hive_errors::{ErrorKind, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rusqlite::Connection;

use crate::clock::{SystemClock, Timestamp};
use crate::db::guard::Guard;
use crate::db::house::House;
use crate::db::{FromValue, Snapshot, ToValue, Tx};
use crate::id::TaskId;
use crate::payload::Payload;

/// Runs `work` in a transaction on a table of one column that takes anything.
fn with_tx<T>(work: impl FnOnce(&mut Tx<'_>) -> T) -> T {
    let mut conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE thing (value ANY) STRICT; BEGIN")
        .unwrap();
    let guard = Guard::install(&mut conn).unwrap();
    let house = House::new(Arc::new(SystemClock));
    let snapshot = Snapshot::sqlite(&conn, &guard, None, &*house.clock);
    work(&mut Tx::new(snapshot, &house.wakeups))
}

fn round_trip<T: ToValue + FromValue>(tx: &mut Tx<'_>, value: &T) -> Result<T> {
    tx.execute("DELETE FROM thing", &[])?;
    tx.execute("INSERT INTO thing VALUES (?1)", &[value])?;
    tx.query_one("SELECT value FROM thing", &[], |row| row.get(0))
}

fn check<T: ToValue + FromValue + PartialEq + Debug>(values: impl Strategy<Value = T>) {
    with_tx(|tx| {
        let tx = RefCell::new(tx);
        let config = Config {
            cases: 64,
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new(config)
            .run(&values, |value| {
                let found =
                    round_trip(&mut tx.borrow_mut(), &value).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
                prop_assert_eq!(found, value);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn every_type_comes_back_as_it_went_in() {
    check(any::<i64>());
    check(any::<u64>());
    check(any::<i32>());
    check(any::<u32>());
    check(any::<u16>());
    check(any::<u8>());
    check(any::<bool>());
    check(any::<f64>());
    check(any::<String>());
    check(any::<Vec<u8>>());
    check(any::<Option<i64>>());
    check(any::<Option<String>>());
    check(any::<Option<Vec<u8>>>());
    check(any::<i64>().prop_map(Timestamp::from_micros));
    check(any::<[u8; 16]>().prop_map(TaskId::from_bytes));
    check(any::<Vec<String>>().prop_map(|texts| Payload::encode(&texts, 1 << 20).unwrap()));
}

#[test]
fn the_edges_come_back_too() {
    with_tx(|tx| {
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            assert_eq!(round_trip(tx, &number).unwrap(), number);
        }
        assert_eq!(round_trip(tx, &u64::MAX).unwrap(), u64::MAX);
        for number in [
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::INFINITY,
            f64::NEG_INFINITY,
            2.0,
            5e-324,
        ] {
            assert_eq!(round_trip(tx, &number).unwrap().to_bits(), number.to_bits());
        }
        for text in ["", "日本 🐝", "'; DROP TABLE thing; --"] {
            assert_eq!(round_trip(tx, &text.to_owned()).unwrap(), text);
        }
        assert_eq!(round_trip(tx, &Vec::<u8>::new()).unwrap(), Vec::<u8>::new());
        assert_eq!(
            round_trip(tx, &Some(Vec::<u8>::new())).unwrap(),
            Some(Vec::new()),
            "empty is not absent"
        );
        assert_eq!(round_trip(tx, &None::<String>).unwrap(), None);
    });
}

#[test]
fn what_no_engine_keeps_is_refused_before_it_is_written() {
    with_tx(|tx| {
        for value in [&f64::NAN as &dyn ToValue, &"\0", &"a\0b"] {
            let stored = tx.attempt(|tx| tx.execute("INSERT INTO thing VALUES (?1)", &[value]));
            let error = stored.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        }
        let count: i64 = tx
            .query_one("SELECT count(*) FROM thing", &[], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 0);
    });
}

#[test]
fn a_column_of_another_type_is_told_by_its_place() {
    fn refused<T: FromValue + Debug>(sql: &'static str, expected: &str, found: &str) {
        with_tx(|tx| {
            let error = tx.query_one(sql, &[], |row| row.get::<T>(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{sql}");
            let fields: Vec<_> = error.fields().collect();
            assert_eq!(
                fields,
                [("column", "1"), ("expected", expected), ("found", found)],
                "{sql}"
            );
        });
    }
    refused::<i64>("SELECT 0, 'text'", "i64", "text");
    refused::<i64>("SELECT 0, NULL", "i64", "null");
    refused::<i64>("SELECT 0, 1.0", "i64", "real");
    refused::<i32>("SELECT 0, 2147483648", "i32", "integer");
    refused::<u8>("SELECT 0, 256", "u8", "integer");
    refused::<u32>("SELECT 0, -1", "u32", "integer");
    refused::<bool>("SELECT 0, 2", "bool", "integer");
    refused::<f64>("SELECT 0, 1", "f64", "integer");
    refused::<String>("SELECT 0, x'00'", "text", "blob");
    refused::<Vec<u8>>("SELECT 0, 'text'", "bytes", "text");
    refused::<Option<i64>>("SELECT 0, 'text'", "i64", "text");
    refused::<Timestamp>("SELECT 0, 'yesterday'", "microseconds since 1970", "text");
    refused::<Payload>("SELECT 0, '{}'", "JSON bytes", "text");
    with_tx(|tx| {
        let blob = tx
            .query_one("SELECT 'text'", &[], |row| row.blob(0).map(<[u8]>::to_vec))
            .unwrap_err();
        assert_eq!((blob.kind(), blob.field("found")), (ErrorKind::Corrupt, Some("text")));
        let text = tx
            .query_one("SELECT x'00'", &[], |row| row.text(0).map(str::to_owned))
            .unwrap_err();
        assert_eq!((text.kind(), text.field("found")), (ErrorKind::Corrupt, Some("blob")));
        let broken = tx
            .query_one("SELECT CAST(x'ff' AS TEXT)", &[], |row| row.get::<String>(0))
            .unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::Corrupt, "{broken:?}");
        let id = tx
            .query_one("SELECT x'00'", &[], |row| row.get::<TaskId>(0))
            .unwrap_err();
        assert_eq!(id.kind(), ErrorKind::Corrupt, "{id:?}");
        // A column that the query does not have is the code's mistake, not the file's.
        let missing = tx.query_one("SELECT 1", &[], |row| row.get::<i64>(1)).unwrap_err();
        assert_eq!(
            (missing.kind(), missing.is_retryable()),
            (ErrorKind::Storage, false),
            "{missing:?}"
        );
    });
}
