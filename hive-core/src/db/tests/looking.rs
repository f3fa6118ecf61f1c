//! What is looked at and not owned.

use super::*;

#[tokio::test]
async fn who_looks_disturbs_nobody_and_writes_nothing() {
    let home = Home::new();
    let path = home.dir.path().join("test.db");
    let missing = Db::look(Options::file(&path)).await.unwrap_err();
    assert_eq!(missing.code(), "not-found");
    let owner = Db::open(Options::file(&path).migrations(&ITEMS)).await.unwrap();
    owner.write(|tx| tx.execute(INSERT, &[&1, &10])).await.unwrap();

    let look = Db::look(Options::file(&path).migrations(&ITEMS)).await.unwrap();
    let count = || look.read(|db| db.query_one("SELECT count(*) FROM item", &[], |row| row.get::<i64>(0)));
    assert_eq!(count().await.unwrap(), 1);
    owner.write(|tx| tx.execute(INSERT, &[&2, &20])).await.unwrap();
    assert_eq!(count().await.unwrap(), 2, "what was committed since is seen");
    let refused = look.write(|tx| tx.execute(INSERT, &[&3, &30])).await.unwrap_err();
    assert_eq!(refused.code(), "database-read-only");
    owner.close().await.unwrap();
    // Nobody owns it now.
    let after = Db::look(Options::file(&path)).await.unwrap();
    let sum = after.read(|db| db.query_one("SELECT sum(value) FROM item", &[], |row| row.get::<i64>(0)));
    assert_eq!(sum.await.unwrap(), 30);
    after.close().await.unwrap();
    look.close().await.unwrap();
    let again = Db::open(Options::file(&path).migrations(&ITEMS)).await.unwrap();
    again.write(|tx| tx.execute(INSERT, &[&3, &30])).await.unwrap();
    again.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_behind_a_handle_to_nowhere() {
    let db = Db::nowhere();
    assert_eq!(db.read(|_| Ok(())).await.unwrap_err().code(), "shutting-down");
    assert_eq!(db.write(|_| Ok(())).await.unwrap_err().code(), "shutting-down");
    db.close().await.unwrap();
}
