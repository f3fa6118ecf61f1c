//! The second page: an agent that calls agents, waits for a person and writes exactly once.
//!
//! ```text
//! cargo run -p hive-workflow            asks on the terminal
//! cargo run -p hive-workflow -- --yes   answers yes by itself
//! cargo run -p hive-workflow -- --no    answers no by itself
//! ```
//!
//! Stop it while it asks, or kill it anywhere, and start it again: it goes on where it stood, asks the same question, and
//! has neither reviewed nor recorded anything twice.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

mod release;

use std::io::{IsTerminal, Write};

use hive::core::clock::SystemClock;
use hive::task::{TaskState, WaitingFor};
use hive::{Approval, Error, Hive, Result, TaskHandle};

use crate::release::{RELEASE, RELEASES, Release, Releaser, Reviewer, Tag};

#[tokio::main]
async fn main() -> Result<()> {
    let answer = Answer::from_arguments()?;
    let folder = std::path::Path::new(".hive/workflow");
    std::fs::create_dir_all(folder).map_err(|e| {
        Error::new(
            hive::errors::ErrorKind::Storage,
            "the example's folder could not be made",
        )
        .with_source(e)
    })?;
    let hive = Hive::open(folder.join("hive.db"))
        .agent(Releaser {
            log: folder.join("releases.txt"),
            clock: SystemClock,
        })
        .agent(Reviewer)
        .migrations(&RELEASES)
        .start()
        .await?;
    if hive.recovered() > 0 {
        println!("went on with {} interrupted run(s)", hive.recovered());
    }
    // The key makes a second start find the task of the first.
    let task = hive
        .submit::<Releaser>(Release::example())
        .idempotency_key("release 1.0.0")
        .await?;
    let outcome = follow(&task, answer).await;
    match &outcome {
        Ok(Some(tag)) => println!("released {} (line {} of releases.txt)", tag.name, tag.line),
        Ok(None) => println!(
            "start again, on a terminal or with --yes or --no, to go on with {}",
            task.id()
        ),
        Err(error) => println!("not released: {}", error.message()),
    }
    hive.shutdown().await?;
    outcome.map(drop)
}

/// Follows the task, and answers its question when it has one.
async fn follow(task: &TaskHandle<Tag>, answer: Answer) -> Result<Option<Tag>> {
    let mut changes = task.watch();
    let mut said = None;
    while let Some(status) = changes.next().await? {
        let question = status.waiting_for.iter().find_map(|wait| {
            if let WaitingFor::Signal { name, question, .. } = wait
                && name == RELEASE.name()
            {
                return question.as_ref().map(|question| question.text.clone());
            }
            None
        });
        if status.progress != said {
            said = status.progress;
            if let Some(progress) = &said {
                println!("{} ({}/{})", progress.note, progress.done, progress.total);
            }
        }
        if status.state == TaskState::Waiting
            && let Some(question) = question
        {
            let Some((by, approval)) = answer.to(&question) else {
                println!("nobody is there to answer: {question}");
                return Ok(None);
            };
            task.answer(&RELEASE, by, &approval).await?;
        }
    }
    task.result().await.map(Some)
}

#[derive(Clone, Copy)]
enum Answer {
    Yes,
    No,
    Ask,
}

impl Answer {
    fn from_arguments() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Ok(Self::Ask),
            ["--yes"] => Ok(Self::Yes),
            ["--no"] => Ok(Self::No),
            other => Err(Error::new(hive::errors::ErrorKind::InvalidInput, "unknown arguments")
                .with("arguments", other.join(" "))
                .with_hint("give --yes, --no, or nothing to be asked")),
        }
    }

    /// `None` when nobody is there to answer.
    fn to(self, question: &str) -> Option<(&'static str, Approval)> {
        match self {
            Self::Yes => Some(("--yes", Approval::yes())),
            Self::No => Some(("--no", Approval::no("not today"))),
            Self::Ask if !std::io::stdin().is_terminal() => None,
            Self::Ask => {
                print!("{question} [y/N] ");
                std::io::stdout().flush().ok()?;
                let mut line = String::new();
                // The end of the input is no answer.
                if std::io::stdin().read_line(&mut line).ok()? == 0 {
                    return None;
                }
                let approval = match line.trim() {
                    "y" | "yes" => Approval::yes(),
                    other => Approval::no(other),
                };
                Some(("the terminal", approval))
            }
        }
    }
}
