//! Agents that are programs: real processes, written in Python and shell by the tests.

mod limits;
mod orphans;
mod steps;
mod work;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hive_orchestration::process::ProcessAgent;
use hive_orchestration::{Error, Hive, RetryPolicy};

use crate::kit::{Home, soon};

/// What every script begins with. `note` writes down that something really happened, in a file that outlives everybody;
/// what happens first is that the process says who it is.
const PRELUDE: &str = r#"
import json, os, signal, subprocess, sys, time

def note(word):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(word + "\n")

def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

def hear():
    line = sys.stdin.readline()
    return json.loads(line) if line else sys.exit(0)

def hello():
    say(type="hello", protocol=1, agents=["worker"])

calls = 0
def ask(message, **fields):
    global calls
    calls += 1
    say(type=message, call=calls, **fields)
    reply = hear()
    assert reply["type"] == "reply" and reply["call"] == calls, reply
    return reply

def step(task, name, work, **fields):
    found = ask("step.get", id=task["id"], name=name, **fields)
    if found["found"]:
        return found["output"]
    output = work()
    assert ask("step.put", id=task["id"], name=name, output=output)["stored"]
    return output

note("group %d" % os.getpgrp())
"#;

/// A home with a script in it, and what the script's processes noted.
struct Workshop {
    home: Home,
}

impl Workshop {
    fn new(script: &str) -> Self {
        let home = Home::new();
        fs::write(home.path("worker.py"), format!("{PRELUDE}\n{script}")).unwrap();
        Self { home }
    }

    fn agent(&self) -> ProcessAgent {
        agent(&self.home.path(""))
    }

    async fn open(&self, agent: ProcessAgent) -> Hive {
        Hive::open(self.home.db()).agent(agent).start().await.unwrap()
    }

    fn notes(&self) -> Vec<String> {
        notes(&self.home.path(""))
    }

    /// How often this was noted.
    fn count(&self, word: &str) -> usize {
        self.notes().iter().filter(|note| *note == word).count()
    }

    /// How many processes were started.
    fn starts(&self) -> usize {
        self.notes().iter().filter(|note| note.starts_with("group ")).count()
    }

    async fn noted(&self, word: &str) {
        soon(async {
            while self.count(word) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until nobody is left of any group that a process of the script was in, guards and own zombies included.
    async fn nobody_is_left(&self) {
        let groups = groups(&self.home.path(""));
        assert!(!groups.is_empty(), "nobody was there");
        gone(&groups).await;
    }
}

/// The agent whose script is in this folder. It is started again at once and tried once.
fn agent(folder: &Path) -> ProcessAgent {
    let usual = Path::new("/usr/bin/python3");
    let python = if usual.exists() { usual } else { Path::new("python3") };
    ProcessAgent::new("worker", python)
        .args([folder.join("worker.py")])
        .env("LEDGER", folder.join("ledger"))
        .restart(RetryPolicy::fixed(3, Duration::from_millis(5)))
        .retry(RetryPolicy::none())
}

pub(crate) fn notes(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("ledger")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn groups(folder: &Path) -> BTreeSet<u32> {
    notes(folder)
        .iter()
        .filter_map(|note| note.strip_prefix("group ")?.parse().ok())
        .collect()
}

/// The members of these groups, as `/proc` shows them.
fn members(groups: &BTreeSet<u32>) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let (_, rest) = stat.rsplit_once(')').unwrap();
            let mut fields = rest.split_whitespace();
            let (state, parent) = (fields.next().unwrap(), fields.next().unwrap());
            let group: i64 = fields.next().unwrap().parse().unwrap();
            // The dead whose parent is gone are for the system to bury, which it does when it likes.
            let counts = state != "Z" || parent == std::process::id().to_string();
            counts && u32::try_from(group).is_ok_and(|group| groups.contains(&group))
        })
        .collect()
}

pub(crate) async fn gone(groups: &BTreeSet<u32>) {
    let mut left = Vec::new();
    for _ in 0..2_000 {
        left = members(groups);
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("they are still there: {left:#?}");
}

/// The error with everything that it says.
fn full(error: &Error) -> String {
    format!("{error:?}")
}
