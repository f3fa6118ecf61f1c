//! Carries out one assignment: loads the file and lets the rules or a model look at it.

mod ask;

use hive::core::model::ModelHandle;
use hive::errors::ErrorKind;
use hive::{Failure, RetryPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::failure;
use crate::file::SourceFile;
use crate::finding::{Concern, Finding};
use crate::path::RawPath;
use crate::plan::{Assignment, FileRef, Reviewer, Subject};
use crate::report::{Note, Usage};
use crate::rules::{self, ChangedFile, Checked};
use crate::source::Source;

/// What came of an assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reviewed {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Findings that were cut off.
    pub omitted: usize,
    /// What a reader should know.
    pub note: Option<Note>,
    /// What a model used.
    pub usage: Option<Usage>,
}

/// The stored form of a result stays below this, whatever the paths and texts in it.
const RESULT_BYTES_MAX: usize = 600_000;

/// How a reviewer tries again when a model does not answer.
pub fn retry(reviewer: Reviewer) -> RetryPolicy {
    match reviewer {
        Reviewer::Rules => RetryPolicy::none(),
        Reviewer::Claude => RetryPolicy::exponential(3),
    }
}

/// Carries out an assignment.
///
/// # Errors
/// What loading the file says, or the model.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped; a model's answer that was under way is asked for again.
pub async fn carry_out(
    source: &Source,
    assignment: &Assignment,
    reviewer: Reviewer,
    model: &ModelHandle,
) -> Result<Reviewed, Failure> {
    let reviewed = match &assignment.subject {
        Subject::Whole => whole(source, assignment.concern).await?,
        Subject::File(file) => {
            let Some(loaded) = source
                .load(std::slice::from_ref(&file.content))
                .await
                .map_err(failure)?
                .pop()
            else {
                return Ok(Reviewed::default());
            };
            match SourceFile::new(&file.path, file.role, loaded, file.changed.clone()) {
                Some(source_file) => one(source_file, file, assignment.concern, reviewer, model).await?,
                None => Reviewed::default(),
            }
        }
    };
    Ok(bounded(reviewed))
}

async fn one(
    file: SourceFile,
    of: &FileRef,
    concern: Concern,
    reviewer: Reviewer,
    model: &ModelHandle,
) -> Result<Reviewed, Failure> {
    match reviewer {
        Reviewer::Rules => {
            // Parsing keeps a thread busy, which belongs to the runtime's other tasks.
            let checked = tokio::task::spawn_blocking(move || rules::check(&file, concern)).await?;
            // Every concern of a file says the same of what kept the rules from running; one is enough.
            let path = (concern == Concern::Correctness).then(|| of.path.clone());
            Ok(reviewed(checked, path))
        }
        Reviewer::Claude => match ask::ask(&file, concern, model).await {
            Ok(reviewed) => Ok(reviewed),
            Err(error) if is_about_this_file(error.kind()) => {
                let text = format!("the model gave no usable answer about {concern}: {}", error.message());
                Ok(Reviewed {
                    note: Some(Note {
                        path: of.path.clone(),
                        text,
                    }),
                    ..Reviewed::default()
                })
            }
            Err(error) => Err(error.into()),
        },
    }
}

/// An answer that does not fit is a remark in the report; a model that cannot be reached ends the review.
fn is_about_this_file(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ModelOutput | ErrorKind::PayloadTooLarge)
}

async fn whole(source: &Source, concern: Concern) -> Result<Reviewed, Failure> {
    let listing = source.list().await.map_err(failure)?;
    let files: Vec<ChangedFile> = listing
        .entries
        .iter()
        .filter_map(|entry| ChangedFile::of(entry, &listing))
        .collect();
    Ok(reviewed(rules::check_change(&files, source.is_change(), concern), None))
}

fn reviewed(checked: Checked, path: Option<RawPath>) -> Reviewed {
    let note = checked.note.zip(path).map(|(text, path)| Note { path, text });
    Reviewed {
        findings: checked.findings,
        omitted: checked.omitted,
        note,
        usage: None,
    }
}

fn bounded(mut reviewed: Reviewed) -> Reviewed {
    let size = |finding: &Finding| serde_json::to_vec(finding).map_or(usize::MAX, |bytes| bytes.len());
    let mut left = RESULT_BYTES_MAX;
    let before = reviewed.findings.len();
    reviewed
        .findings
        .sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.line));
    reviewed.findings.retain(|finding| {
        let fits = size(finding) <= left;
        left = left.saturating_sub(size(finding));
        fits
    });
    reviewed.omitted += before - reviewed.findings.len();
    reviewed
}

#[cfg(test)]
mod tests;
