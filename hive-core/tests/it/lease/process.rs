//! Processes that hold a lease: they are killed, or stand still and do not know it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use hive_core::db::{Db, Options};
use hive_core::lease::Keeper;

use super::with_tables;

/// Set in a process that a test starts of its own binary: the database it works on.
const PLACE: &str = "HIVE_CORE_TEST_LEASES_IN";

/// The database given to this process, if a test has started it. It ends with the test, however that ends.
pub(super) fn place() -> Option<String> {
    let place = std::env::var(PLACE).ok()?;
    std::thread::spawn(|| {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        std::process::exit(1)
    });
    Some(place)
}

/// This test's process again, as somebody who holds leases.
pub(super) struct Party {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Party {
    /// In a process of its own, `test` finds `place` in [`place`].
    pub(super) fn start(test: &str, place: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(PLACE, place);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next thing it says; the test harness says something too.
    pub(super) fn said(&mut self) -> String {
        let mut said = (&mut self.lines).filter_map(|line| Some(line.unwrap().split_once("said ")?.1.to_owned()));
        said.next().unwrap()
    }

    /// Without warning.
    pub(super) fn kill(self) {
        drop(self);
    }
}

#[cfg(all(feature = "postgres", feature = "test-util", unix))]
impl Party {
    pub(super) fn id(&self) -> String {
        self.process.id().to_string()
    }

    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.id()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself, and well.
    pub(super) fn end(mut self) {
        // Its end would be the end of the process.
        let stdin = self.process.stdin.take();
        assert!(self.process.wait().unwrap().success());
        drop(stdin);
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub(super) fn say(what: &str) {
    let line = format!("said {what}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

const DAY: Duration = Duration::from_secs(86_400);

/// A file has one owner, so its next owner need not wait for what the last one held.
#[tokio::test]
async fn what_a_killed_process_held_is_free_for_the_next() {
    const TEST: &str = "lease::process::what_a_killed_process_held_is_free_for_the_next";
    async fn open(path: &str) -> Db {
        Db::open(with_tables(Options::file(path))).await.unwrap()
    }
    if let Some(path) = place() {
        let held = Keeper::new(open(&path).await, "party")
            .hold("work", DAY)
            .await
            .unwrap()
            .won()
            .unwrap();
        say(&held.token().to_string());
        return std::future::pending().await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hive.db").into_os_string().into_string().unwrap();
    for round in [1, 3, 5] {
        let mut party = Party::start(TEST, &path);
        assert_eq!(party.said(), round.to_string());
        party.kill();
        let db = open(&path).await;
        let held = Keeper::new(db.clone(), "next")
            .hold("work", DAY)
            .await
            .unwrap()
            .won()
            .unwrap();
        assert_eq!(held.token().as_u64(), round + 1);
        // Not given back; its process goes on, and the next one does not care.
        drop(held);
        db.close().await.unwrap();
    }
}
