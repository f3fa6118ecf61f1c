use std::time::Duration;

use hive_errors::{Error, ErrorKind};

use super::super::{Db, Migration, Migrations, Options};
use super::*;

static NOTES: Migrations = Migrations {
    owner: "notes",
    list: &[Migration::new(
        1,
        "note",
        "CREATE TABLE note (text TEXT NOT NULL UNIQUE) STRICT;",
        "DROP TABLE note;",
    )],
};

async fn open(memory: &Memory) -> Db {
    Db::open(Options::memory(memory).migrations(&NOTES)).await.unwrap()
}

async fn note(db: &Db, text: &'static str) -> Result<usize> {
    db.write(move |tx| tx.execute("INSERT INTO note (text) VALUES (?1)", &[&text]))
        .await
}

async fn notes(db: &Db) -> Vec<String> {
    db.read(|db| db.query("SELECT text FROM note ORDER BY text", &[], |row| row.get(0)))
        .await
        .unwrap()
}

/// Whether the process is killed before the work is done.
async fn dies(memory: &Memory, work: impl Future) -> bool {
    tokio::select! {
        biased;
        () = memory.killed() => true,
        _ = work => false,
    }
}

#[tokio::test]
async fn a_process_dies_on_either_side_of_its_commit() {
    for (side, kept) in [(Cut::Before, vec!["one"]), (Cut::After, vec!["one", "two"])] {
        let memory = Memory::new(3).unwrap();
        let db = open(&memory).await;
        assert_eq!(memory.commits(), 0, "making the tables promises nothing to anybody");
        memory.cut(2, side);
        note(&db, "one").await.unwrap();
        // What changes nothing is no commit, and what fails none either.
        db.write(|tx| tx.execute("DELETE FROM note WHERE text = 'none'", &[]))
            .await
            .unwrap();
        assert_eq!(note(&db, "one").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert!(dies(&memory, note(&db, "two")).await);
        // Nothing that is left of it gets through.
        assert!(dies(&memory, note(&db, "three")).await);
        let next = open(&memory).await;
        assert_eq!(notes(&next).await, kept);
        let waited = tokio::time::timeout(Duration::from_millis(20), note(&db, "three")).await;
        assert!(waited.is_err(), "the dead do not hear from their database");
        assert_eq!(notes(&next).await, kept);
        assert!(memory.commit(1).unwrap().contains("note"), "{:?}", memory.commit(1));
    }
}

#[tokio::test]
async fn hooks_run_for_what_the_process_hears_of() {
    for side in [None, Some(Cut::Before), Some(Cut::After)] {
        let memory = Memory::new(1).unwrap();
        let db = open(&memory).await;
        if let Some(side) = side {
            memory.cut(1, side);
        }
        let (told, ran) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        let hook = Arc::clone(&told);
        let died = dies(&memory, async {
            let hook = Arc::clone(&hook);
            let work = move |tx: &mut Tx<'_>| {
                let hook = Arc::clone(&hook);
                tx.on_commit(move || hook.store(true, Ordering::Relaxed));
                tx.execute("INSERT INTO note (text) VALUES ('one')", &[])
            };
            db.write(work).await.unwrap();
            ran.store(true, Ordering::Relaxed);
        })
        .await;
        assert_eq!(died, side.is_some());
        assert_eq!(told.load(Ordering::Relaxed), side.is_none());
        assert_eq!(ran.load(Ordering::Relaxed), side.is_none());
    }
}

#[tokio::test]
async fn one_process_has_it_at_a_time_and_closing_is_no_death() {
    let memory = Memory::new(1).unwrap();
    let db = open(&memory).await;
    let second = Db::open(Options::memory(&memory)).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::DatabaseLocked);
    note(&db, "one").await.unwrap();
    db.close().await.unwrap();
    assert_eq!(note(&db, "two").await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    let next = open(&memory).await;
    assert_eq!(notes(&next).await, ["one"]);
    assert_eq!(note(&db, "two").await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    drop(next);
    assert_eq!(
        notes(&open(&memory).await).await,
        ["one"],
        "the last handle closes it, too"
    );
}

#[tokio::test]
async fn closures_are_undone_refused_and_contained_as_on_a_file() {
    let memory = Memory::new(1).unwrap();
    let db = open(&memory).await;
    let failed = db.write(|tx| {
        tx.execute("INSERT INTO note (text) VALUES ('half')", &[])?;
        Err::<(), _>(Error::new(ErrorKind::Conflict, "no"))
    });
    assert_eq!(failed.await.unwrap_err().message(), "no");
    let panicked = db.write(|tx| {
        tx.execute("INSERT INTO note (text) VALUES ('half')", &[])?;
        std::panic::resume_unwind(Box::new("no"));
        #[expect(unreachable_code, reason = "the closure needs a type")]
        Ok(())
    });
    assert_eq!(panicked.await.unwrap_err().kind(), ErrorKind::Panic);
    let ended = db.write(|tx| tx.execute("COMMIT", &[])).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::InvalidInput);
    let wrote = db.read(|db| db.query("INSERT INTO note (text) VALUES ('x') RETURNING text", &[], |_| Ok(())));
    assert!(wrote.await.is_err());
    assert_eq!(notes(&db).await, Vec::<String>::new());
    assert_eq!(db.check().await.unwrap(), []);
    db.down("notes", 1).await.unwrap();
    db.up().await.unwrap();
    note(&db, "one").await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_seed_decides_who_goes_first() {
    let order = async |seed| {
        let memory = Memory::new(seed).unwrap();
        let db = open(&memory).await;
        let mut all = tokio::task::JoinSet::new();
        for text in ["a", "b", "c", "d", "e", "f"] {
            let db = db.clone();
            all.spawn(async move { note(&db, text).await.unwrap() });
        }
        all.join_all().await;
        db.read(|db| db.query("SELECT text FROM note ORDER BY rowid", &[], |row| row.get::<String>(0)))
            .await
            .unwrap()
            .concat()
    };
    assert_eq!(order(1).await, order(1).await);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        seen.insert(order(seed).await);
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[tokio::test]
async fn whoever_stands_beside_it_sees_what_is_stored() {
    let memory = Memory::new(1).unwrap();
    let db = open(&memory).await;
    note(&db, "one").await.unwrap();
    memory.kill();
    let seen = memory.look(|db| db.query("SELECT text FROM note", &[], |row| row.get::<String>(0)));
    assert_eq!(seen.unwrap(), ["one"]);
    assert_eq!(notes(&open(&memory).await).await, ["one"]);
}
