//! One process owns the file: who comes second is told who has it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use hive_core::db::{Db, Options};
use hive_errors::ErrorKind;
use tokio::task::JoinSet;

use super::{ROWS, another, open, other, put, rows};

const TEST: &str = "database::owners::the_second_process_is_told_who_has_it";

#[tokio::test]
async fn the_second_process_is_told_who_has_it() {
    if let Some(path) = other() {
        return hold(&path).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    // All at once, on a file that does not exist: one makes it.
    let mut processes: Vec<Second> = (0..6).map(|_| Second::start(&path)).collect();
    let said: Vec<String> = processes.iter_mut().map(Second::said).collect();
    let winner = said.iter().position(|said| said == "open").unwrap();
    let mut owner = processes.remove(winner).process;
    for (index, said) in said.iter().enumerate().filter(|(index, _)| *index != winner) {
        // A process that looks before the owner has signed cannot tell.
        let told = [
            format!("database-locked {}", owner.id()),
            "database-locked unknown".to_owned(),
        ];
        assert!(told.contains(said), "process {index}: {said}");
    }
    for mut other in processes {
        assert!(other.process.wait().unwrap().success());
    }
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DatabaseLocked);
    assert_eq!(error.field("pid"), Some(owner.id().to_string().as_str()), "{error}");
    // However it dies, the next one may begin at once.
    owner.kill().unwrap();
    owner.wait().unwrap();
    let db = open(&path).await.unwrap();
    assert_eq!(db.read(rows).await.unwrap(), [1]);
    assert_eq!(db.current().await.unwrap().len(), 1);
}

/// This test again, in a process of its own.
struct Second {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Second {
    fn start(path: &Path) -> Self {
        let mut command = another(&std::env::current_exe().unwrap(), TEST, path);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// What it says; the test harness says something too.
    fn said(&mut self) -> String {
        let mut said = (&mut self.lines).filter_map(|line| Some(line.unwrap().split_once("said ")?.1.to_owned()));
        said.next().unwrap()
    }
}

fn say(what: &str) {
    std::io::stdout()
        .write_all(format!("said {what}\n").as_bytes())
        .unwrap();
}

async fn hold(path: &Path) {
    match open(path).await {
        Ok(db) => {
            put(&db, 1, 10).await.unwrap();
            say("open");
            // Until it is killed.
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        Err(error) => say(&format!("{} {}", error.code(), error.field("pid").unwrap_or(""))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_opens_a_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db");
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let path = path.clone();
            // What is opened is kept until all have tried.
            tasks.spawn(async move { open(&path).await });
        }
        let (opened, refused): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(opened.len(), 1, "round {round}");
        for error in refused.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::DatabaseLocked, "{error:?}");
        }
        let db = opened.into_iter().next().unwrap().unwrap();
        put(&db, round, 10).await.unwrap();
        if round % 2 == 0 {
            db.close().await.unwrap();
        }
    }
    let db = open(&path).await.unwrap();
    assert_eq!(db.read(rows).await.unwrap(), [0, 1, 2, 3, 4]);
}

#[cfg(unix)]
#[tokio::test]
async fn another_name_for_the_file_is_no_way_around_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("hive.db"), dir.path().join("link.db"));
    let folder = dir.path().join("folder");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::os::unix::fs::symlink(dir.path(), &folder).unwrap();
    let db = open(&path).await.unwrap();
    for other in [&link, &folder.join("hive.db"), &dir.path().join("./hive.db")] {
        let error = Db::open(Options::file(other).migrations(&ROWS)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DatabaseLocked, "{}", other.display());
    }
    put(&db, 1, 10).await.unwrap();
    db.close().await.unwrap();
    assert_eq!(open(&link).await.unwrap().read(rows).await.unwrap(), [1]);
}
