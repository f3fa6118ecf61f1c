//! The agents: `releaser` drives, `reviewer` looks at one change each.

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hive::core::clock::{Clock, SystemClock};
use hive::core::db::{Migration, Migrations, Tx};
use hive::{Agent, Approval, Call, Context, Effect, Failure, Priority, Result, RetryPolicy, Signal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const RELEASE: Signal<Approval> = Approval::signal("release");

const DAYS_3: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// A table of our own in the hive's database.
pub(crate) static RELEASES: Migrations = Migrations {
    owner: "hive-workflow",
    list: &[Migration::new(
        1,
        "release",
        "CREATE TABLE release (version TEXT PRIMARY KEY, approved_by TEXT NOT NULL) STRICT;",
        "DROP TABLE release;",
    )],
};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Release {
    pub(crate) version: String,
    pub(crate) changes: Vec<Change>,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Change {
    pub(crate) file: String,
    pub(crate) added: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Verdict {
    pub(crate) approved: bool,
    pub(crate) reasons: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) line: usize,
}

impl Release {
    pub(crate) fn example() -> Self {
        let change = |file: &str, added: &[&str]| Change {
            file: file.into(),
            added: added.iter().map(|line| (*line).to_owned()).collect(),
        };
        Self {
            version: "1.0.0".into(),
            changes: vec![
                change("src/lib.rs", &["pub fn bar() -> u8 { 1 }"]),
                change("src/main.rs", &["fn main() { lib::bar(); }"]),
                change("README.md", &["It is ready."]),
            ],
        }
    }
}

pub(crate) struct Releaser {
    /// The world outside the database: releases are announced there, a line each.
    pub(crate) log: PathBuf,
    pub(crate) clock: SystemClock,
}

impl Agent for Releaser {
    const NAME: &'static str = "releaser";
    type Input = Release;
    type Output = Tag;

    async fn run(&self, cx: &Context, release: Release) -> Result<Tag, Failure> {
        let plan: Vec<Change> = cx
            .step("plan", async || self.plan(&release))
            .retry(RetryPolicy::exponential(3))
            .await?;
        cx.progress(1, 4, "planned").await?;

        // Durable children, all at once.
        let verdicts = cx
            .map("review", plan, |change| {
                Call::<Reviewer>::new(change).priority(Priority::High)
            })
            .await?;
        if let Some(refused) = verdicts.iter().find(|verdict| !verdict.approved) {
            return Err(Failure::terminal("a reviewer said no").with("reasons", refused.reasons.join("; ")));
        }
        cx.progress(2, 4, "reviewed").await?;

        // A person, perhaps days later.
        let question = format!("ship {}?", release.version);
        let answer = cx.wait(RELEASE).ask(question).timeout(DAYS_3).answered().await?;
        let by = answer.by.unwrap_or_else(|| "somebody".into());
        if !answer.value.approved {
            return Err(Failure::terminal("the release was refused")
                .with("by", by)
                .with("comment", answer.value.comment));
        }

        // Exactly once: the row and the journal's entry are one commit.
        let version = release.version.clone();
        cx.transaction("record", move |tx| record(tx, &version, &by)).await?;
        cx.progress(3, 4, "recorded").await?;

        // At most once: if the process dies in here, a person finds out whether the line was written.
        cx.step("tag", async || announce(&self.log, &release.version, &self.clock))
            .effect(Effect::AtMostOnce)
            .await
    }
}

impl Releaser {
    /// The changes worth a reviewer's time, the largest first.
    fn plan(&self, release: &Release) -> Result<Vec<Change>, Failure> {
        let mut changes: Vec<Change> = release
            .changes
            .iter()
            .filter(|change| !change.added.is_empty())
            .cloned()
            .collect();
        if changes.is_empty() {
            return Err(Failure::terminal("the release changes nothing").with("version", &release.version));
        }
        changes.sort_by_key(|change| std::cmp::Reverse(change.added.len()));
        Ok(changes)
    }
}

fn record(tx: &mut Tx<'_>, version: &str, by: &str) -> Result<usize> {
    tx.execute(
        "INSERT INTO release (version, approved_by) VALUES (?1, ?2)",
        &[&version, &by],
    )
}

fn announce(log: &Path, version: &str, clock: &dyn Clock) -> Result<Tag, std::io::Error> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(log)?;
    writeln!(file, "{} {version}", clock.now())?;
    file.sync_all()?;
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Tag {
        name: format!("v{version}"),
        line: text.lines().count(),
    })
}

pub(crate) struct Reviewer;

impl Agent for Reviewer {
    const NAME: &'static str = "reviewer";
    type Input = Change;
    type Output = Verdict;

    async fn run(&self, cx: &Context, change: Change) -> Result<Verdict, Failure> {
        cx.step("look", async || Ok::<_, Failure>(look(&change))).await
    }
}

fn look(change: &Change) -> Verdict {
    let reasons: Vec<String> = change
        .added
        .iter()
        .filter(|line| line.contains("unwrap()") || line.contains("<<<<<<<"))
        .map(|line| format!("{}: {}", change.file, line.trim()))
        .collect();
    Verdict {
        approved: reasons.is_empty(),
        reasons,
    }
}
