//! The database where it meets the machine: kills, other processes, other users, full disks, files of any kind.

mod backup;
mod crash;
#[cfg(all(feature = "postgres", feature = "test-util"))]
mod differential;
#[cfg(target_os = "linux")]
mod disk;
mod faults;
mod files;
mod health;
mod migrations;
mod owners;
#[cfg(all(feature = "postgres", feature = "test-util", unix))]
mod server;
mod power;
mod syncs;
pub(crate) mod suite;
#[cfg(target_os = "linux")]
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use hive_core::db::{Db, Migration, Migrations, Options, Snapshot};
use hive_errors::Result;

static ROWS: Migrations = Migrations {
    owner: "test",
    list: &[Migration::new(
        1,
        "row",
        "CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
             CREATE TABLE twin (id INTEGER PRIMARY KEY REFERENCES row (id), length INTEGER NOT NULL) STRICT;",
        "DROP TABLE twin; DROP TABLE row;",
    )],
};

async fn open(path: &Path) -> Result<Db> {
    Db::open(Options::file(path).migrations(&ROWS)).await
}

/// Writes a row in two tables, in one closure, so that a half of it can be noticed.
async fn put(db: &Db, id: i64, bytes: usize) -> Result<()> {
    db.write(move |tx| {
        tx.execute("INSERT INTO row (id, body) VALUES (?1, ?2)", &[&id, &body(id, bytes)])?;
        let length = i64::try_from(bytes).unwrap();
        tx.execute("INSERT INTO twin (id, length) VALUES (?1, ?2)", &[&id, &length])
            .map(drop)
    })
    .await
}

fn body(id: i64, bytes: usize) -> Vec<u8> {
    vec![id.to_le_bytes()[0]; bytes]
}

/// The ids of all rows, once the file has been found whole.
fn rows(db: &Snapshot<'_>) -> Result<Vec<i64>> {
    let checked: String = db.query_one("PRAGMA integrity_check", &[], |row| row.get(0))?;
    assert_eq!(checked, "ok");
    let pairs = "SELECT row.id, body, length FROM row FULL JOIN twin ON row.id = twin.id ORDER BY row.id";
    db.query(pairs, &[], |row| {
        let (id, length): (i64, i64) = (row.get(0)?, row.get(2)?);
        assert_eq!(row.blob(1)?, body(id, usize::try_from(length).unwrap()), "row {id}");
        Ok(id)
    })
}

/// Set in a process that a test starts of its own binary: what it works on.
const OTHER: &str = "HIVE_CORE_TEST_OTHER";

/// The path given to this process, if a test has started it.
fn other() -> Option<PathBuf> {
    std::env::var_os(OTHER).map(PathBuf::from)
}

/// The test called `test` in a process of its own, which finds `path` in [`other`].
fn another(binary: &Path, test: &str, path: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["--exact", test, "--nocapture"]).env(OTHER, path);
    command
}

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}
