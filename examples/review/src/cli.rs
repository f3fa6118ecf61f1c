//! The command line.

mod place;
mod session;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::error::Error;
use crate::finding::Severity;
use crate::limits;
use crate::plan::Reviewer;
use crate::progress::Progress;
use crate::rules::CATALOG;
use crate::source::{Resolved, Source};
use place::Place;

/// Reviews a git repository with a hive of durable agents.
///
/// Without further options every file that HEAD tracks is reviewed, offline, by rules. The report is written as HTML,
/// Markdown, JSON and SARIF. A review that is interrupted goes on where it stood when the same command is given again.
#[derive(Debug, Parser)]
#[command(name = "hive-review", version, after_help = EXIT_CODES)]
pub struct Args {
    /// The repository, or a directory in it to review only that.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Review what these commits changed: `A..B`, or `A...B` for what B changed since it parted from A.
    #[arg(long, value_name = "A..B", conflicts_with = "diff")]
    range: Option<String>,
    /// Review a unified diff; `-` reads it from the standard input.
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// Who reviews. `auto` is `rules`: a model costs money and sees the code, so it is only asked when you say so.
    #[arg(long, value_enum, default_value_t = Model::Auto)]
    model: Model,
    /// Where the report and the state go [default: .hive/review/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many reviewers work at once [default: the number of processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Review again what has been reviewed already.
    #[arg(long)]
    fresh: bool,
    /// End with exit code 1 when something this grave, or graver, is found.
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    /// Print nothing but errors.
    #[arg(long, short)]
    quiet: bool,
    /// List the rules and end.
    #[arg(long)]
    list_rules: bool,
    /// Write down every execution of a step in this file.
    #[arg(long, value_name = "FILE", hide = true)]
    ledger: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    /// The rules, and a word about a model that could be asked.
    Auto,
    /// The rules of this program, offline.
    Rules,
    /// The Claude command line.
    Claude,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   the report is written
  1   the report is written, and something at or above --fail-on was found
  2   the input or the options are wrong
  3   interrupted; the same command goes on where it stood
  70  the review failed for a reason of its own";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Written { failed: bool },
    Input,
    Interrupted,
    Internal,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(match end {
            End::Written { failed: false } => 0,
            End::Written { failed: true } => 1,
            End::Input => 2,
            End::Interrupted => 3,
            End::Internal => 70,
        })
    }
}

/// What keeps a run from writing a report.
enum Fault {
    /// The user can mend it.
    Input(Error),
    /// The hive, or a model, says so.
    Hive(hive::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Input(error)
    }
}

impl From<hive::Error> for Fault {
    fn from(error: hive::Error) -> Self {
        Self::Hive(error)
    }
}

/// Runs the program with these arguments and says how it ended.
pub fn main(args: Args) -> ExitCode {
    if args.list_rules {
        print_rules();
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime cannot be started: {error}"), None);
            return End::Internal.into();
        }
    };
    let end = runtime.block_on(async {
        match review(&args).await {
            Ok(end) => end,
            Err(Fault::Input(error)) => {
                complain(&chain(&error), Some(&error.hint()));
                End::Input
            }
            Err(Fault::Hive(error)) => {
                // The report of an error is several lines: what, why, and what to do.
                complain(hive::errors::Report::new(&error).to_string().trim_end(), None);
                session::end_of(error.kind())
            }
        }
    });
    // A thread that parses a file is not waited for: its step runs again at the next start.
    runtime.shutdown_background();
    end.into()
}

async fn review(args: &Args) -> Result<End, Fault> {
    let progress = Progress::new(args.quiet);
    let (reviewer, word) = choose(args.model)?;
    let place = |name: &str| Place::of(args.out.as_deref(), name);
    let resolved = resolve(args, |name| place(name).directory).await?;
    let place = place(&resolved.name);
    place.prepare()?;
    progress.note(&format!("reviewing {} ({})", resolved.name, resolved.source.title()));
    progress.note(&word);
    resolved
        .notes
        .iter()
        .for_each(|note| progress.note(&format!("note: {note}")));
    session::run(args, resolved, reviewer, &place, progress).await
}

async fn resolve(args: &Args, keep: impl FnOnce(&str) -> PathBuf) -> Result<Resolved, Error> {
    if let Some(range) = &args.range {
        return Source::range(&args.path, range).await;
    }
    let Some(diff) = &args.diff else {
        return Source::tree(&args.path).await;
    };
    let shown = diff.display().to_string();
    let read = |source: Box<dyn Read + Send>| {
        let mut text = Vec::new();
        // One byte more than allowed tells "just fits" from "too much".
        source
            .take(limits::DIFF_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map(|_| text)
    };
    let (path, from_stdin) = (diff.clone(), shown == "-");
    let text = tokio::task::spawn_blocking(move || {
        if from_stdin {
            read(Box::new(std::io::stdin()))
        } else {
            read(Box::new(std::fs::File::open(path)?))
        }
    });
    let failed = |source| Error::File {
        action: "read",
        path: shown.clone(),
        source,
    };
    let text = text
        .await
        .map_err(std::io::Error::other)
        .and_then(|text| text)
        .map_err(failed)?;
    Source::diff(&args.path, &shown, &text, keep).await
}

/// Who reviews, and a line that says so.
fn choose(model: Model) -> Result<(Reviewer, String), Fault> {
    let found = hive::core::model::claude::Claude::find();
    match (model, found) {
        (Model::Rules, _) | (Model::Auto, None) => Ok((Reviewer::Rules, "model: rules (offline)".to_owned())),
        (Model::Auto, Some(_)) => {
            let word = "model: rules (offline); the claude command line is here too, ask it with --model claude";
            Ok((Reviewer::Rules, word.to_owned()))
        }
        (Model::Claude, Some(claude)) => {
            let word = format!("model: claude ({}); the code is sent to it", claude.program().display());
            Ok((Reviewer::Claude, word))
        }
        (Model::Claude, None) => Err(Error::NoClaude.into()),
    }
}

fn print_rules() {
    let mut out = std::io::stdout().lock();
    for rule in CATALOG {
        let line = format!(
            "{:<26} {:<8} {:<11} {}",
            rule.id, rule.severity, rule.concern, rule.title
        );
        // Whoever reads only the first lines closes the pipe.
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
}

/// A line on the standard output.
fn say(quiet: bool, line: &str) {
    if !quiet {
        // Whoever reads only the first lines closes the pipe.
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

fn complain(what: &str, hint: Option<&str>) {
    let mut err = std::io::stderr().lock();
    // Without an error stream there is nobody to tell.
    drop(writeln!(err, "error: {what}"));
    if let Some(hint) = hint {
        drop(writeln!(err, "  what to do: {hint}"));
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// The path as a person would type it from here.
fn shorten(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests;
