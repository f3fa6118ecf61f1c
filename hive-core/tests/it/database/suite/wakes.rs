use std::time::Duration;

use hive_core::db::{Cell, Db, Dialect, Kind, Set, Wakes};
use hive_errors::{Error, ErrorKind};

use super::{PUT, Place, things};

static TOLD: Set = Set::insert("thing", &[("id", Kind::Int), ("name", Kind::Text)]).notifying("told");

/// Longer than any test may take: who waits this long was not woken.
const NEVER: Duration = Duration::from_secs(60);
/// For what must not come.
const SHORT: Duration = Duration::from_millis(50);

/// Listens, and hears what is said once the server knows: something may have come before.
async fn listen(db: &Db, channel: &'static str) -> Wakes {
    let mut wakes = db.listen(channel);
    if db.dialect() == Dialect::Postgres {
        assert!(wakes.wait(NEVER).await);
    }
    wakes
}

pub(super) async fn a_commit_wakes_who_listens(place: Place) {
    let db = place.db().await;
    let (mut one, mut other) = (listen(&db, "one").await, listen(&db, "other").await);
    assert_eq!(one.channel(), "one");
    for id in 1..=5 {
        let (writer, name) = (db.clone(), format!("n{id}"));
        let write = tokio::spawn(async move {
            writer
                .write(move |tx| {
                    tx.notify("one");
                    tx.execute(PUT, &[&id, &name])
                })
                .await
        });
        // It comes after the commit: what it is about can be read then. It may also come too often.
        while things(&db).await < id {
            assert!(one.wait(NEVER).await);
        }
        write.await.unwrap().unwrap();
    }
    assert!(!other.wait(SHORT).await);
}

pub(super) async fn rows_of_a_set_wake_who_listens_for_them(place: Place) {
    let db = place.db().await;
    let (mut told, mut other) = (listen(&db, "told").await, listen(&db, "other").await);
    let row = |id: i64| vec![Cell::from(id), Cell::from(format!("n{id}"))];
    db.append(&TOLD, row(1)).await.unwrap();
    assert!(told.wait(NEVER).await);
    db.write(move |tx| tx.insert_all(&TOLD, &[row(2), row(3)]))
        .await
        .unwrap();
    assert!(told.wait(NEVER).await);
    // One that is refused, beside one that is not.
    let (refused, kept) = tokio::join!(db.append(&TOLD, row(1)), db.append(&TOLD, row(4)));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    kept.unwrap();
    assert!(told.wait(NEVER).await);
    assert_eq!(things(&db).await, 4);

    let undone = db.write(move |tx| {
        tx.insert_all(&TOLD, &[row(5)])?;
        Err::<(), _>(Error::new(ErrorKind::NotFound, "changed my mind"))
    });
    assert!(undone.await.is_err());
    assert!(db.append(&TOLD, row(1)).await.is_err());
    assert!(!told.wait(SHORT).await && !other.wait(SHORT).await);
}

pub(super) async fn what_is_undone_wakes_nobody(place: Place) {
    let db = place.db().await;
    let mut wakes = listen(&db, "undone").await;
    let failed = db.write(|tx| {
        tx.notify("undone");
        Err::<(), _>(Error::new(ErrorKind::NotFound, "changed my mind"))
    });
    assert!(failed.await.is_err());
    let kept = db.write(|tx| {
        let part = tx.attempt(|tx| {
            tx.notify("undone");
            Err::<(), _>(Error::new(ErrorKind::NotFound, "changed my mind"))
        });
        assert!(part.is_err());
        Ok(())
    });
    kept.await.unwrap();
    assert!(!wakes.wait(SHORT).await);
}

pub(super) async fn a_wake_up_between_looking_and_waiting_is_not_lost(place: Place) {
    let db = place.db().await;
    let mut wakes = db.listen("between");
    db.write(|tx| {
        tx.notify("between");
        Ok(())
    })
    .await
    .unwrap();
    assert!(wakes.wait(NEVER).await);
    let mut early = db.listen("between");
    drop(tokio::time::timeout(SHORT, early.wait(NEVER)).await);
    db.write(|tx| {
        tx.notify("between");
        Ok(())
    })
    .await
    .unwrap();
    assert!(early.wait(NEVER).await && wakes.wait(NEVER).await);
}
