//! One run of the program: opens the hive, hands the review in or takes it up, follows it, and says what came of it.

use std::time::Duration;

use hive::bus::{Event, Sequence, Subscription};
use hive::core::clock::{Clock, SystemClock};
use hive::core::model::claude::Claude;
use hive::errors::ErrorKind;
use hive::task::TaskState;
use hive::{Hive, TaskHandle};

use super::place::Place;
use super::{Args, End, Fault, say, shorten};
use crate::agents::{self, Desk, Outcome, Queen, ReviewRequest};
use crate::path::RawPath;
use crate::plan::Reviewer;
use crate::progress::{Progress, Tallies};
use crate::rules::RULES_VERSION;
use crate::source::Resolved;

/// What runs on when a user interrupts: steps that need longer are done again at the next start.
const DRAIN: Duration = Duration::from_secs(2);
/// Calls of a model at once, each a process of its own.
const MODEL_JOBS: usize = 4;

/// What the parts of a run share.
struct Session<'a> {
    args: &'a Args,
    place: &'a Place,
    hive: Hive,
    desk: Desk,
    request: ReviewRequest,
    identity: RawPath,
}

pub(super) async fn run(
    args: &Args,
    resolved: Resolved,
    reviewer: Reviewer,
    place: &Place,
    mut progress: Progress,
) -> Result<End, Fault> {
    if args.fresh {
        place.begin_generation()?;
    }
    let desk = Desk::new(args.ledger.clone());
    let jobs = args.jobs.map_or_else(|| jobs(reviewer), usize::from);
    let mut builder = desk.hive(place.database()).concurrency(jobs).drain(DRAIN);
    if reviewer == Reviewer::Claude
        && let Some(claude) = Claude::find()
    {
        builder = builder.model(claude.with_processes(jobs));
    }
    let request = ReviewRequest {
        name: resolved.name,
        source: resolved.source,
        reviewer,
        out: RawPath::from_os(&place.directory),
    };
    let hive = builder.start().await?;
    let session = Session {
        args,
        place,
        hive: hive.clone(),
        desk,
        request,
        identity: resolved.identity,
    };
    let end = session.review(&mut progress).await;
    progress.clear();
    tokio::select! {
        // What the run came to says more than a fault in closing after it.
        closed = hive.shutdown() => end.and_then(|end| closed.map(|()| end).map_err(Fault::from)),
        // Whoever presses twice does not want to wait.
        () = interruption() => Ok(End::Interrupted),
    }
}

/// How a hive's refusal ends the program.
pub(super) fn end_of(kind: ErrorKind) -> End {
    let input = matches!(
        kind,
        ErrorKind::InvalidInput
            | ErrorKind::Config
            | ErrorKind::DatabaseLocked
            | ErrorKind::DatabaseReadOnly
            | ErrorKind::NotADatabase
            | ErrorKind::SchemaTooNew
            | ErrorKind::ModelMissing
    );
    if input {
        End::Input
    } else if kind == ErrorKind::ShuttingDown {
        End::Interrupted
    } else {
        End::Internal
    }
}

impl Session<'_> {
    async fn review(&self, progress: &mut Progress) -> Result<End, Fault> {
        let started = SystemClock.now();
        let mut task = self.submit().await?;
        let mut status = task.status().await?;
        if status.state.is_final() && status.state != TaskState::Succeeded {
            progress.note("the last review of this failed; reviewing again");
            self.place.begin_generation()?;
            task = self.submit().await?;
            status = task.status().await?;
        }
        if status.state == TaskState::Succeeded && status.created_at < started {
            return self.stored(&task, progress).await;
        }
        let resumed = status.created_at < started;
        if resumed {
            let (done, total) = self.counts(&task).await?;
            progress.note(&format!(
                "going on with an interrupted review: {done} of {total} tasks are done and are not repeated"
            ));
        }
        let Some(outcome) = self.follow(&task, progress).await? else {
            let (done, total) = self.counts(&task).await?;
            let line = format!("interrupted: {done} of {total} tasks are done; the same command goes on from there");
            say(self.args.quiet, &line);
            return Ok(End::Interrupted);
        };
        progress.clear();
        if resumed {
            let before = (outcome.assignments as u64).saturating_sub(self.desk.reviewed());
            say(
                self.args.quiet,
                &format!("{before} of {} reviews were not repeated", outcome.assignments),
            );
        }
        Ok(self.finish(&outcome))
    }

    /// Hands the review in; the same review is only ever one task.
    async fn submit(&self) -> Result<TaskHandle<Outcome>, Fault> {
        let mut hasher = blake3::Hasher::new();
        let request = serde_json::to_vec(&self.request).map_err(|error| {
            hive::Error::new(ErrorKind::Internal, "the request cannot be written down").with_source(error)
        })?;
        let generation = self.place.generation();
        let versions = format!("{} {RULES_VERSION} {generation}", env!("CARGO_PKG_VERSION"));
        for part in [&request, self.identity.as_bytes(), versions.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let key = hasher.finalize().to_hex().to_string();
        Ok(self
            .hive
            .submit::<Queen>(self.request.clone())
            .idempotency_key(key)
            .await?)
    }

    /// What was reviewed before is written again, in case the files are gone.
    async fn stored(&self, task: &TaskHandle<Outcome>, progress: &Progress) -> Result<End, Fault> {
        let outcome = task.result().await?;
        let report = agents::load(self.hive.db(), task.id()).await?;
        report.write(&self.request.out.to_os())?;
        progress.clear();
        let line = "reviewed before; the report is written from what is stored (--fresh reviews again)";
        say(self.args.quiet, line);
        Ok(self.finish(&outcome))
    }

    /// Waits for the end and shows the way there; `None` when the user interrupts.
    async fn follow(&self, task: &TaskHandle<Outcome>, progress: &mut Progress) -> Result<Option<Outcome>, Fault> {
        let root = task.id().to_string();
        let mut events = Some(self.hive.bus().subscribe("task.>").after(Sequence::START).await?);
        let mut tallies = Tallies::default();
        let mut result = std::pin::pin!(task.result());
        let mut interrupted = std::pin::pin!(interruption());
        loop {
            tokio::select! {
                outcome = &mut result => return Ok(Some(outcome?)),
                () = &mut interrupted => return Ok(None),
                // Without events there is no progress to show, but still a result to wait for.
                event = next(&mut events) => if let Some(event) = event
                    && event.correlation() == Some(&root)
                    && let Some(agent) = tallies.take(&event)
                {
                    let agent = agent.to_owned();
                    progress.show(&agent, tallies.of(&agent));
                },
            }
        }
    }

    /// How many tasks of the review have succeeded, and how many are known.
    async fn counts(&self, task: &TaskHandle<Outcome>) -> Result<(u64, u64), Fault> {
        let counts = self.hive.counts(Some(task.id())).await?;
        let done = counts
            .iter()
            .filter(|(state, _)| *state == TaskState::Succeeded)
            .map(|(_, count)| count)
            .sum();
        Ok((done, counts.iter().map(|(_, count)| count).sum()))
    }

    fn finish(&self, outcome: &Outcome) -> End {
        let quiet = self.args.quiet;
        say(quiet, &outcome.summary);
        let directory = shorten(&self.place.directory);
        say(
            quiet,
            &format!("report: {directory}/report.html (also .md, .json, .sarif)"),
        );
        let failed = self
            .args
            .fail_on
            .zip(outcome.worst)
            .is_some_and(|(limit, worst)| worst >= limit);
        End::Written { failed }
    }
}

async fn next(events: &mut Option<Subscription>) -> Option<Event> {
    let Some(subscription) = events else {
        return std::future::pending().await;
    };
    let event = subscription.next().await.ok();
    if event.is_none() {
        *events = None;
    }
    event
}

/// How many work at once unless the user says otherwise.
fn jobs(reviewer: Reviewer) -> usize {
    match reviewer {
        Reviewer::Rules => std::thread::available_parallelism().map_or(2, usize::from),
        Reviewer::Claude => MODEL_JOBS,
    }
}

/// Ready when the user, or the system, wants the program to end.
async fn interruption() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the system ends the program by itself.
        std::future::pending::<()>().await;
    }
}
