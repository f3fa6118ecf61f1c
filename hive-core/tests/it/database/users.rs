//! A user who may not write. Tests may run as root, who may do anything: then another user tries.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;

use hive_errors::ErrorKind;

use super::{another, contents, open, other, put};

const TEST: &str = "database::users::what_may_not_be_written_is_refused";
const NOBODY: u32 = 65_534;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_may_not_be_written_is_refused() {
    if let Some(folder) = other() {
        return be_refused(&folder).await;
    }
    let dir = tempfile::tempdir().unwrap();
    allow(dir.path(), 0o755);
    let homes = ["file", "folder", "both", "log", "fresh", "closed"].map(|name| dir.path().join(name));
    for home in &homes {
        fs::create_dir(home).unwrap();
        let path = home.join("hive.db");
        if !home.ends_with("fresh") {
            let db = open(&path).await.unwrap();
            put(&db, 1, 10).await.unwrap();
            db.close().await.unwrap();
            allow(&path, 0o666);
            let lock = home.join("hive.db-lock");
            if home.ends_with("log") {
                allow(&lock, 0o666);
            } else {
                fs::remove_file(lock).unwrap();
            }
        }
    }
    let [file, folder, both, log, fresh, closed] = &homes;
    allow(file, 0o777);
    allow(&file.join("hive.db"), 0o444);
    allow(folder, 0o555);
    allow(both, 0o555);
    allow(&both.join("hive.db"), 0o444);
    allow(log, 0o555);
    allow(fresh, 0o555);
    let before: Vec<_> = homes.iter().map(|home| contents(home)).collect();
    allow(closed, 0o000);

    if fs::metadata(dir.path()).unwrap().uid() == 0 {
        // The binary where the other user finds it.
        let binary = dir.path().join("test");
        let own = std::env::current_exe().unwrap();
        if fs::hard_link(&own, &binary).is_err() {
            fs::copy(&own, &binary).unwrap();
        }
        let status = another(&binary, TEST, dir.path())
            .uid(NOBODY)
            .gid(NOBODY)
            .status()
            .unwrap();
        assert!(status.success(), "see above");
    } else {
        be_refused(dir.path()).await;
    }
    allow(closed, 0o755);
    for (home, mut before) in homes.iter().zip(before) {
        let mut after = contents(home);
        // Who tries writes its process id there; that is for people.
        for files in [&mut before, &mut after] {
            files.entry("hive.db-lock".to_owned()).and_modify(Vec::clear);
        }
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "{}", home.display());
        assert!(after == before, "{} was touched", home.display());
    }
    homes.iter().for_each(|home| allow(home, 0o755));
}

async fn be_refused(homes: &Path) {
    for (home, message) in [
        ("file", "the database file cannot be written"),
        ("folder", "the database's folder cannot be written"),
        ("both", "the database's folder cannot be written"),
        ("log", "the database could not be opened"),
        ("fresh", "the database's folder cannot be written"),
        ("closed", "the database's folder cannot be written"),
    ] {
        let path = homes.join(home).join("hive.db");
        let error = open(&path).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::DatabaseReadOnly, message),
            "{home}: {error:?}"
        );
        assert!(!error.is_retryable(), "{home}: {error:?}");
        assert!(error.field("path").unwrap().ends_with("hive.db"), "{home}: {error:?}");
    }
}
