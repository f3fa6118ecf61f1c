use std::collections::BTreeMap;

use hive_core::db::{Cell, Db, Kind, Migration, Migrations, Set};
use hive_errors::ErrorKind;
use tokio::task::JoinSet;

use super::{Place, cells, put, things};

static ALL: Set = Set::insert(
    "thing",
    &[
        ("id", Kind::Int),
        ("name", Kind::Text),
        ("size", Kind::Int),
        ("weight", Kind::Real),
        ("body", Kind::Blob),
    ],
);
static NEW: Set = Set::insert("thing", &[("id", Kind::Int), ("name", Kind::Text)]).on_conflict("(name) DO NOTHING");

static NOTES: Migrations = Migrations {
    owner: "notes",
    list: &[Migration::new(
        1,
        "note",
        "CREATE TABLE note (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, n INTEGER UNIQUE CHECK (n >= 0),
             body BLOB UNIQUE, weight REAL UNIQUE) STRICT;",
        "DROP TABLE note;",
    )],
};
static NOTE: Set = Set::insert("note", &[("id", Kind::Text), ("n", Kind::Int)])
    .on_conflict("(id) DO NOTHING")
    .returning("id", "sequence");
static ONLY_ONCE: Set = Set::insert("note", &[("n", Kind::Int), ("id", Kind::Text)]).returning("id", "sequence");

fn note(id: &str) -> Vec<Cell> {
    vec![id.into(), Cell::Null]
}

/// The key of every note, by its id.
async fn keys(db: &Db) -> BTreeMap<String, i64> {
    let all = "SELECT id, sequence FROM note";
    let found = db.read(move |db| db.query(all, &[], |row| Ok((row.get::<String>(0)?, row.get::<i64>(1)?))));
    found.await.unwrap().into_iter().collect()
}

fn row(id: i64, name: &str) -> Vec<Cell> {
    vec![id.into(), name.into(), Cell::Null, 0.5.into(), vec![1_u8, 0, 2].into()]
}

pub(super) async fn a_set_is_inserted_whole_or_not_at_all(place: Place) {
    let db = place.db().await;
    let rows: Vec<Vec<Cell>> = (0..3_000).map(|id| row(id, &format!("n{id}"))).collect();
    let (given, none): (_, [Vec<Cell>; 0]) = (rows.clone(), []);
    let counts = db.write(move |tx| Ok((tx.insert_all(&ALL, &given)?, tx.insert_all(&ALL, &none)?)));
    assert_eq!(counts.await.unwrap(), (3_000, 0));
    let all = "SELECT id, name, size, weight, body FROM thing ORDER BY id";
    let found = db
        .read(move |db| db.query(all, &[], |row| cells(row, 5)))
        .await
        .unwrap();
    assert!(found == rows);
    for bad in [
        row(5, "new"),
        row(4_000, "n5"),
        vec![4_000.into(), Cell::Null, Cell::Null, Cell::Null, Cell::Null],
    ] {
        let rows = [row(3_000, "a"), bad, row(3_001, "b")];
        let error = db.write(move |tx| tx.insert_all(&ALL, &rows)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert_eq!(things(&db).await, 3_000);
    }
}

pub(super) async fn a_set_that_meets_itself_does_as_it_was_told(place: Place) {
    let db = place.db().await;
    put(&db, 1, "one").await.unwrap();
    let rows: [Vec<Cell>; 4] = [
        vec![2.into(), "one".into()],
        vec![3.into(), "three".into()],
        vec![4.into(), "three".into()],
        vec![5.into(), "five".into()],
    ];
    assert_eq!(db.write(move |tx| tx.insert_all(&NEW, &rows)).await.unwrap(), 2);
    let found = db.read(|db| db.query("SELECT id FROM thing ORDER BY id", &[], |row| row.get::<i64>(0)));
    assert_eq!(found.await.unwrap(), [1, 3, 5]);
}

pub(super) async fn an_appended_row_fails_alone(place: Place) {
    let db = place.db().await;
    put(&db, 7, "n7").await.unwrap();
    let mut tasks = JoinSet::new();
    for id in 0..60_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            let name = if id % 10 == 9 {
                "n7".to_owned()
            } else {
                format!("n{id}")
            };
            (id, db.append(&ALL, row(id, &name)).await)
        });
    }
    for (id, appended) in tasks.join_all().await {
        let wrong = id == 7 || id % 10 == 9;
        assert_eq!(
            appended.err().map(|error| error.kind()),
            wrong.then_some(ErrorKind::Conflict),
            "{id}"
        );
    }
    assert_eq!(things(&db).await, 1 + 60 - 1 - 6);
    // Nothing to complain of, and nothing inserted.
    db.append(&NEW, vec![100.into(), "n7".into()]).await.unwrap();
    assert_eq!(things(&db).await, 54);
}

pub(super) async fn a_row_that_does_not_fit_is_refused(place: Place) {
    let db = place.db().await;
    for wrong in [
        vec![],
        vec![1.into()],
        vec![1.into(), "one".into(), 1.into()],
        vec!["one".into(), 1.into()],
        vec![Cell::Real(1.0), "one".into()],
        vec![1.into(), vec![1_u8].into()],
        vec![1.into(), "a\0b".into()],
    ] {
        let given = [wrong.clone()];
        for error in [
            db.append(&NEW, wrong.clone()).await.unwrap_err(),
            db.write(move |tx| tx.insert_all(&NEW, &given)).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}: {error:?}");
        }
    }
    assert_eq!(things(&db).await, 0);
}

pub(super) async fn many_append_at_once(place: Place) {
    let db = place.db().await;
    let mut tasks = JoinSet::new();
    for task in 0..40_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            for turn in 0..20 {
                let id = task * 20 + turn;
                db.append(&ALL, row(id, &format!("n{id}"))).await.unwrap();
                // Acknowledged means that it is there.
                let found = db.read(move |db| db.query_opt("SELECT 1 FROM thing WHERE id = ?1", &[&id], |_| Ok(())));
                assert_eq!(found.await.unwrap(), Some(()));
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(things(&db).await, 800);
}

pub(super) async fn rows_that_are_inserted_tell_their_keys(place: Place) {
    let db = place.open(&[&NOTES]).await.unwrap();
    let first = db.append_returning(&NOTE, note("a")).await.unwrap();
    let again = db.append_returning(&NOTE, note("a")).await.unwrap();
    let told = db.append_all_returning(&NOTE, ["b", "a", "c", "b", "d"].map(note).to_vec());
    let told = told.await.unwrap();
    let rows = ["e", "d", "e", "f"].map(note);
    let later = db.write(move |tx| {
        let told = tx.insert_all_returning(&NOTE, &rows)?;
        // What is not asked for keys inserts all the same.
        assert_eq!(tx.insert_all(&NOTE, &["f", "g"].map(note))?, 1);
        Ok((told, tx.insert_all_returning(&NOTE, &[] as &[Vec<Cell>])?))
    });
    let (later, none) = later.await.unwrap();
    let keys = keys(&db).await;
    let key = |id: &str| keys.get(id).copied();
    assert_eq!((first, again), (key("a"), None));
    assert_eq!(told, [key("b"), None, key("c"), None, key("d")]);
    assert_eq!((later, none), (vec![key("e"), None, None, key("f")], vec![]));
    assert!(["a", "b", "c", "d", "e", "f", "g"].is_sorted_by_key(|id| key(id).unwrap()));
    // With nothing to insert, and without a clause that leaves out.
    assert_eq!(db.append_all_returning(&NOTE, vec![]).await.unwrap(), []);
    let only = db
        .append_returning(&ONLY_ONCE, vec![1.into(), "h".into()])
        .await
        .unwrap();
    assert_eq!(only, self::keys(&db).await.get("h").copied());
    let error = db
        .append_returning(&ONLY_ONCE, vec![2.into(), "h".into()])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

pub(super) async fn keys_grow_in_the_order_of_the_rows(place: Place) {
    let db = place.open(&[&NOTES]).await.unwrap();
    // In no order that an index or a hash of theirs would have.
    let ids: Vec<String> = (0..1_000_u32)
        .map(|n| format!("{}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let rows: Vec<Vec<Cell>> = ids.iter().map(|id| note(id)).collect();
    let given = rows[..500].to_vec();
    let mut told = db.append_all_returning(&NOTE, given).await.unwrap();
    let given = rows[500..].to_vec();
    told.extend(
        db.write(move |tx| tx.insert_all_returning(&NOTE, &given))
            .await
            .unwrap(),
    );
    assert!(told.is_sorted_by(|one, next| one.is_some() && one < next));
    let keys = keys(&db).await;
    let found: Vec<Option<i64>> = ids.iter().map(|id| keys.get(id).copied()).collect();
    assert_eq!(told, found);
}

pub(super) async fn many_append_at_once_and_learn_their_keys(place: Place) {
    let db = place.open(&[&NOTES]).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let db = db.clone();
        tasks.spawn(async move {
            let mut told = Vec::new();
            for turn in 0..10 {
                let ids = [0, 1, 2].map(|part| format!("{task} {turn} {part}"));
                let [alone, pair @ ..] = ids.each_ref().map(|id| note(id));
                told.push(db.append_returning(&NOTE, alone).await.unwrap());
                told.extend(db.append_all_returning(&NOTE, pair.to_vec()).await.unwrap());
                // One of all callers is first.
                let contested = db.append_returning(&NOTE, note(&format!("turn {turn}"))).await.unwrap();
                let found = keys(&db).await;
                let known = |id: &String| found.get(id).copied();
                assert!(told.iter().rev().take(3).rev().copied().eq(ids.iter().map(known)));
                let key = known(&format!("turn {turn}"));
                assert!(contested.is_none() || contested == key);
                told.extend(contested.map(Some));
            }
            assert!(told.is_sorted_by(|one, next| one.is_some() && one < next));
            told.len()
        });
    }
    let told: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(told, 64 * 10 * 3 + 10);
    assert_eq!(keys(&db).await.len(), told);
}

pub(super) async fn what_is_refused_keeps_no_key_from_others(place: Place) {
    let db = place.open(&[&NOTES]).await.unwrap();
    db.append_returning(&NOTE, note("there")).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..60_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            let ids = [format!("{task} a"), "there".to_owned(), format!("{task} b")];
            let mut rows = ids.each_ref().map(|id| note(id)).to_vec();
            if task % 10 == 9 {
                // Refused by the table, together with what it is handed over with.
                rows[2][1] = Cell::Int(-1);
            }
            (ids, task, db.append_all_returning(&NOTE, rows).await)
        });
    }
    let told = tasks.join_all().await;
    let keys = keys(&db).await;
    assert_eq!(keys.len(), 1 + 2 * 54);
    for (ids, task, told) in told {
        let key = |at: usize| keys.get(&ids[at]).copied();
        if task % 10 == 9 {
            assert_eq!(told.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!((key(0), key(2)), (None, None));
        } else {
            assert_eq!(told.unwrap(), [key(0), None, key(2)]);
            assert!(key(0).is_some() && key(0) < key(2));
        }
    }
}

pub(super) async fn rows_are_known_again_by_any_kind_of_identity(place: Place) {
    const COLUMNS: &[(&str, Kind)] = &[("n", Kind::Int), ("body", Kind::Blob), ("weight", Kind::Real)];
    static BY_NUMBER: Set = Set::insert("note", COLUMNS)
        .on_conflict("DO NOTHING")
        .returning("n", "sequence");
    static BY_BYTES: Set = Set::insert("note", COLUMNS)
        .on_conflict("DO NOTHING")
        .returning("body", "sequence");
    static BY_WEIGHT: Set = Set::insert("note", COLUMNS)
        .on_conflict("DO NOTHING")
        .returning("weight", "sequence");
    let db = place.open(&[&NOTES]).await.unwrap();
    for (set, from) in [(&BY_NUMBER, 0_u8), (&BY_BYTES, 10), (&BY_WEIGHT, 20)] {
        let row = |n: u8| vec![i64::from(n).into(), vec![n, 0, 255].into(), Cell::Real(f64::from(n))];
        // The last two have no identity, which is one like any other.
        let nothing = vec![Cell::Null, Cell::Null, Cell::Null];
        let rows = vec![row(from), row(from + 1), row(from), nothing.clone(), nothing];
        let told = db.append_all_returning(set, rows).await.unwrap();
        let numbers = "SELECT sequence FROM note WHERE n >= ?1 OR n IS NULL ORDER BY sequence DESC LIMIT 4";
        let found = db.read(move |db| db.query(numbers, &[&i64::from(from)], |row| row.get::<i64>(0)));
        let found: Vec<Option<i64>> = found.await.unwrap().into_iter().rev().map(Some).collect();
        assert_eq!(told, [found[0], found[1], None, found[2], found[3]]);
    }
}

pub(super) async fn a_set_without_keys_is_refused_where_they_are_asked_for(place: Place) {
    let db = place.db().await;
    let row = || vec![1.into(), "one".into()];
    for error in [
        db.append_returning(&NEW, row()).await.unwrap_err(),
        db.append_all_returning(&NEW, vec![]).await.unwrap_err(),
        db.write(move |tx| tx.insert_all_returning(&NEW, &[row()]))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    // One that tells keys still wants rows that fit.
    let error = db.append_returning(&NOTE, vec![1.into()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert_eq!(things(&db).await, 0);
}
