use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hive_errors::ErrorKind;

use super::super::error::Fate;
use super::super::set::insert_and_commit;
use super::super::{Appends, Begin, Lanes, Link, column, insert_set};
use super::{config, database, soon, writing};
use crate::db::set::{Cell, Kind, Set};
use crate::db::value::{ToValue, Value};
use crate::rng::SystemRng;
use crate::testing::{Postgres, until};

static EVENTS: Set = Set::insert(
    "event",
    &[
        ("k", Kind::Int),
        ("v", Kind::Text),
        ("b", Kind::Blob),
        ("r", Kind::Real),
    ],
);
static NOTES: Set = Set::insert("note", &[("id", Kind::Int), ("v", Kind::Text)])
    .on_conflict("DO NOTHING")
    .returning("id", "sequence");
static ONLY_ONCE: Set = Set::insert("note", &[("id", Kind::Int), ("v", Kind::Text)]).returning("id", "sequence");
static OTHERS: Set = Set::insert("other", &[("k", Kind::Int)]).on_conflict("(k) DO NOTHING");

const LIMIT: Duration = Duration::from_secs(60);

fn tables(url: &str) {
    let make = || {
        let mut link = writing(url);
        link.batch(
            "CREATE TABLE event (k INTEGER PRIMARY KEY, v TEXT NOT NULL, b BLOB, r REAL) STRICT;
             CREATE TABLE other (k INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE note (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER UNIQUE, v TEXT UNIQUE) STRICT",
        )
        .unwrap();
        link.commit().unwrap();
    };
    // On a thread of its own, because a link waits by itself.
    std::thread::scope(|scope| scope.spawn(make).join().unwrap());
}

fn open(url: &str) -> (Arc<Lanes>, Arc<Appends>) {
    let lanes = Arc::new(Lanes::new(config(url), 4, Arc::new(SystemRng)));
    let appends = Arc::new(Appends::new(&lanes, LIMIT, &Arc::default()));
    (lanes, appends)
}

fn event(key: i64) -> Vec<Cell> {
    vec![
        key.into(),
        format!("event {key}").into(),
        vec![7_u8; 16].into(),
        Cell::Null,
    ]
}

fn note(id: i64) -> Vec<Cell> {
    vec![id.into(), Cell::Null]
}

/// The key of every note, by its id.
async fn keys(lanes: &Lanes) -> HashMap<i64, i64> {
    let reading = lanes.run(Begin::read(), LIMIT, |link| {
        let rows = link.query("SELECT id, sequence FROM note", &[])?;
        let numbers = rows.iter().map(|row| match (column(row, 0)?, column(row, 1)?) {
            (Value::Int(id), Value::Int(key)) => Ok((id, key)),
            other => panic!("not numbers: {other:?}"),
        });
        numbers.collect()
    });
    reading.await.unwrap()
}

async fn count(lanes: &Lanes, table: &'static str) -> i64 {
    let counting = lanes.run(Begin::read(), LIMIT, move |link| {
        let rows = link.query(&format!("SELECT count(*) FROM {table}"), &[])?;
        let Value::Int(count) = column(&rows[0], 0)? else {
            panic!("not a count")
        };
        Ok(count)
    });
    counting.await.unwrap()
}

#[test]
fn a_set_keeps_every_kind_and_the_lack_of_a_value() {
    let url = database();
    tables(&url);
    let mut link = writing(&url);
    let rows = [
        vec![1.into(), "one".into(), vec![0_u8, 255].into(), Cell::Real(-0.0)],
        vec![Cell::Int(i64::MIN), "".into(), Cell::Null, Cell::Null],
    ];
    assert_eq!(insert_set(&mut link, &EVENTS, &rows).unwrap().count, 2);
    let found = link.query("SELECT k, v, b, r FROM event ORDER BY k DESC", &[]).unwrap();
    let values: Vec<Vec<Value<'_>>> = found
        .iter()
        .map(|row| (0..4).map(|at| column(row, at).unwrap()).collect())
        .collect();
    assert_eq!(
        values[0],
        [
            Value::Int(1),
            Value::Text("one"),
            Value::Blob(&[0, 255]),
            Value::Real(0.0)
        ]
    );
    assert_eq!(
        values[1],
        [Value::Int(i64::MIN), Value::Text(""), Value::Null, Value::Null]
    );
    let keys: Vec<Vec<Cell>> = [1, 2, 1].map(|key| vec![Cell::Int(key)]).to_vec();
    // What its conflict clause leaves out does not count.
    assert_eq!(insert_set(&mut link, &OTHERS, &keys).unwrap().count, 2);
    for bad in [
        vec![9.into(), "N\0L".into(), Cell::Null, Cell::Null],
        vec![9.into(), "".into(), Cell::Null, Cell::Real(f64::NAN)],
    ] {
        link.begin(Begin::write(), soon());
        let error = insert_set(&mut link, &EVENTS, &[bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_commit_does_not_overtake_the_statement_it_is_sent_with() {
    let url = database();
    tables(&url);
    let mut link = writing(&url);
    // The first time, when the server does not know the statement yet, and the second, when it does.
    for key in [1, 2] {
        link.begin(Begin::write(), soon());
        insert_set(&mut link, &EVENTS, &[event(key)]).unwrap();
        assert_eq!(
            insert_and_commit(&mut link, &OTHERS, &[vec![Cell::Int(key)]])
                .unwrap()
                .count,
            1
        );
        link.commit().unwrap();
        // What fails takes the rest of its transaction with it.
        link.begin(Begin::write(), soon());
        insert_set(&mut link, &OTHERS, &[vec![Cell::Int(key + 10)]]).unwrap();
        let error = insert_and_commit(&mut link, &EVENTS, &[event(key)]).unwrap_err();
        assert_eq!((error.kind(), link.fate()), (ErrorKind::Conflict, Some(Fate::Failed)));
        assert_eq!(link.commit().map(|_| ()).unwrap_err().kind(), ErrorKind::Conflict);
    }
    link.begin(Begin::read(), soon());
    for table in ["event", "other"] {
        let rows = link.query(&format!("SELECT k FROM {table} ORDER BY k"), &[]).unwrap();
        let keys: Vec<Value<'_>> = rows.iter().map(|row| column(row, 0).unwrap()).collect();
        assert_eq!(keys, [Value::Int(1), Value::Int(2)], "{table}");
    }
}

#[test]
fn a_large_set_goes_in_pieces() {
    let url = database();
    tables(&url);
    let mut link = writing(&url);
    let rows: Vec<Vec<Cell>> = (0..10_000).map(|key| vec![Cell::Int(key)]).collect();
    assert_eq!(insert_set(&mut link, &OTHERS, &rows).unwrap().count, 10_000);
    let large: Vec<Vec<Cell>> = (0..3)
        .map(|key| vec![key.into(), "".into(), vec![1_u8; 6 << 20].into(), Cell::Null])
        .collect();
    assert_eq!(insert_set(&mut link, &EVENTS, &large).unwrap().count, 3);
    assert_eq!(insert_set(&mut link, &EVENTS, &[] as &[Vec<Cell>]).unwrap().count, 0);
    link.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_many_share_commits() {
    let url = database();
    tables(&url);
    let (lanes, appends) = open(&url);
    let writers: Vec<_> = (0..50)
        .map(|writer| {
            let appends = Arc::clone(&appends);
            tokio::spawn(async move {
                for key in 0..20 {
                    appends.append(&EVENTS, vec![event(writer * 100 + key)]).await.unwrap();
                    appends.append(&OTHERS, vec![vec![key.into()]]).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(
        (count(&lanes, "event").await, count(&lanes, "other").await),
        (1_000, 20)
    );
    let counts = lanes.counts();
    assert_eq!(counts.writes, 2_000);
    assert!(counts.commits < 1_000, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_fails_alone() {
    let url = database();
    tables(&url);
    let (lanes, appends) = open(&url);
    appends.append(&EVENTS, vec![event(13)]).await.unwrap();
    let writers: Vec<_> = (0..40)
        .map(|key| {
            let appends = Arc::clone(&appends);
            tokio::spawn(async move {
                let mut row = event(key);
                if key % 10 == 7 {
                    row[1] = Cell::Null;
                }
                if key % 10 == 8 {
                    row[1] = "N\0L".into();
                }
                (key, appends.append(&EVENTS, vec![row]).await)
            })
        })
        .collect();
    for writer in writers {
        let (key, outcome) = writer.await.unwrap();
        let expected = match key {
            13 => Some(ErrorKind::Conflict),
            key if key % 10 == 7 => Some(ErrorKind::Conflict),
            key if key % 10 == 8 => Some(ErrorKind::InvalidInput),
            _ => None,
        };
        assert_eq!(outcome.err().map(|error| error.kind()), expected, "{key}");
    }
    assert_eq!(count(&lanes, "event").await, 40 - 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_appends_what_is_accepted() {
    let url = database();
    tables(&url);
    let (lanes, appends) = open(&url);
    let writers: Vec<_> = (0..2_500)
        .map(|key| {
            let appends = Arc::clone(&appends);
            tokio::spawn(async move { appends.append(&EVENTS, vec![event(key)]).await })
        })
        .collect();
    tokio::task::spawn_blocking({
        let lanes = Arc::clone(&lanes);
        move || until(LIMIT, || (lanes.counts().writes > 0).then_some(())).unwrap()
    })
    .await
    .unwrap();
    lanes.close().await.unwrap();
    let mut kept = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(_) => kept += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ShuttingDown, "{error:?}"),
        }
    }
    assert_eq!(
        appends.append(&EVENTS, vec![event(-1)]).await.unwrap_err().kind(),
        ErrorKind::ShuttingDown
    );
    let (lanes, _) = open(&url);
    assert_eq!(count(&lanes, "event").await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_outlive_their_connections() {
    let url = database();
    tables(&url);
    let (lanes, appends) = open(&url);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..20)
        .map(|writer: i64| {
            let (appends, stop) = (Arc::clone(&appends), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut sure, mut doubtful) = (Vec::new(), 0);
                for id in writer * 1_000_000.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match appends.append(&NOTES, vec![note(id)]).await {
                        Ok(told) => sure.push((id, told)),
                        Err(error) if error.kind() == ErrorKind::Indeterminate => doubtful += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                (sure, doubtful)
            })
        })
        .collect();
    tokio::task::spawn_blocking({
        let (lanes, stop) = (Arc::clone(&lanes), Arc::clone(&stop));
        move || {
            for round in 1..=10 {
                until(LIMIT, || (lanes.counts().commits > round * 10).then_some(())).unwrap();
                Postgres::shared().terminate_backends(&url);
            }
            stop.store(true, Ordering::Relaxed);
        }
    })
    .await
    .unwrap();
    let (mut sure, mut doubtful) = (Vec::new(), 0);
    for writer in writers {
        let (told, in_doubt) = writer.await.unwrap();
        sure.extend(told);
        doubtful += in_doubt;
    }
    let found = keys(&lanes).await;
    for (id, told) in &sure {
        let key = found.get(id).copied();
        assert!(key.is_some(), "{id} was acknowledged and is not there");
        assert_eq!(*told, [key]);
    }
    let sure = sure.len();
    assert!(
        (sure..=sure + doubtful).contains(&found.len()),
        "{sure} sure, {doubtful} in doubt, {} found",
        found.len()
    );
}

#[test]
fn the_first_of_one_identity_has_the_key() {
    let url = database();
    tables(&url);
    let mut link = writing(&url);
    let row = |id: i64, v: &str| vec![Cell::Int(id), v.into()];
    let told = |rows: &[Vec<Cell>], link: &mut Link| {
        let keys = insert_set(link, &NOTES, rows).unwrap().keys;
        assert!(keys.iter().flatten().is_sorted());
        keys.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    let rows = [
        row(1, "a"),
        row(2, "b"),
        row(1, "c"),
        row(3, "d"),
        row(2, "e"),
        row(1, "f"),
    ];
    assert_eq!(told(&rows, &mut link), [true, true, false, true, false, false]);
    // Nor is one taken for the other that was left out for another reason.
    let rows = [row(4, "a"), row(4, "g"), row(4, "h")];
    assert_eq!(told(&rows, &mut link), [false, true, false]);
    let rows = [row(5, "i"), row(5, "j")];
    let inserted = insert_and_commit(&mut link, &NOTES, &rows).unwrap();
    assert_eq!((inserted.count, inserted.keys[1]), (1, None));
    link.commit().unwrap();
    link.begin(Begin::read(), soon());
    let rows = link.query("SELECT v FROM note ORDER BY sequence", &[]).unwrap();
    let kept: Vec<Value<'_>> = rows.iter().map(|row| column(row, 0).unwrap()).collect();
    assert_eq!(kept, ["a", "b", "d", "g", "i"].map(Value::Text));
}

#[test]
fn keys_grow_from_piece_to_piece() {
    let url = database();
    tables(&url);
    let mut link = writing(&url);
    // More than go into one statement, and those of every hundredth identity twice.
    let rows: Vec<Vec<Cell>> = (0..10_000)
        .rev()
        .map(|id| note(id - i64::from(id % 100 == 50)))
        .collect();
    let inserted = insert_and_commit(&mut link, &NOTES, &rows).unwrap();
    link.commit().unwrap();
    assert_eq!((inserted.count, inserted.keys.len()), (9_900, 10_000));
    assert!(inserted.keys.iter().flatten().is_sorted_by(|one, next| one < next));
    link.begin(Begin::read(), soon());
    let found = link
        .query("SELECT id, sequence FROM note ORDER BY sequence", &[])
        .unwrap();
    let told = rows.iter().zip(&inserted.keys);
    let mut told = told.filter_map(|(row, key)| key.map(|key| (row[0].clone(), key)));
    for row in &found {
        let (id, key) = told.next().unwrap();
        assert_eq!(column(row, 0).unwrap(), id.to_value());
        assert_eq!(column(row, 1).unwrap(), Value::Int(key));
    }
    assert!(told.next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_with_one_identity_one_is_told_the_key() {
    let url = database();
    tables(&url);
    let (lanes, appends) = open(&url);
    for (set, refused) in [(&NOTES, None), (&ONLY_ONCE, Some(ErrorKind::Conflict))] {
        let from = if refused.is_some() { 100 } else { 0 };
        let writers: Vec<_> = (0..200)
            .map(|number| {
                let (id, appends) = (from + number % 10, Arc::clone(&appends));
                tokio::spawn(async move { (id, appends.append(set, vec![note(id)]).await) })
            })
            .collect();
        let mut told = HashMap::new();
        for writer in writers {
            match writer.await.unwrap() {
                (id, Ok(keys)) if keys[0].is_some() => assert_eq!(told.insert(id, keys[0]), None),
                (_, other) => assert_eq!(other.map_err(|error| error.kind()), refused.map_or(Ok(vec![None]), Err)),
            }
        }
        let found = keys(&lanes).await;
        assert_eq!(told.len(), 10);
        assert!(told.iter().all(|(id, key)| found.get(id).copied() == *key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_told_of_a_row_that_the_table_makes_another() {
    let url = database();
    tables(&url);
    let (lanes, appends) = open(&url);
    let altering = lanes.run(Begin::write(), LIMIT, |link| {
        link.batch(
            "CREATE FUNCTION another() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.id := NEW.id + 1; RETURN NEW; END$$;
             CREATE TRIGGER another BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION another()",
        )
    });
    altering.await.unwrap();
    let error = appends.append(&NOTES, vec![note(1)]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Storage, false));
}
