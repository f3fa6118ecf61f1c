use hive_core::db::{Cell, Kind, Set};
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
