//! Splits a source into assignments: one file, or the whole, and one concern.

mod skip;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use skip::{SkipReason, Skipped, skip_by_name};

use crate::error::Error;
use crate::file::SourceFile;
use crate::finding::Concern;
use crate::language::{Language, Role};
use crate::limits;
use crate::lines::LineSet;
use crate::path::RawPath;
use crate::rules;
use crate::source::{Content, Entry, Listing, Source};

/// What one reviewer is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// What to look at.
    pub subject: Subject,
    /// What to look for.
    pub concern: Concern,
}

/// What an assignment is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Subject {
    /// One file.
    File(FileRef),
    /// The change, or the tree, as a whole.
    Whole,
}

/// A file, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileRef {
    /// Its path from the top of the repository.
    pub path: RawPath,
    /// Where its content is.
    pub content: Content,
    /// The part it plays.
    pub role: Role,
    /// The lines that are reviewed; `None` for all.
    pub changed: Option<LineSet>,
}

/// Who reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reviewer {
    /// The rules of this program, offline.
    Rules,
    /// The Claude command line.
    Claude,
}

impl Reviewer {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Claude => "claude",
        }
    }
}

/// A part of the plan. Plans are made in pages so that none outgrows what is stored at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// What is to be done, in order.
    pub assignments: Vec<Assignment>,
    /// Files that are not reviewed, and why.
    pub skipped: Vec<Skipped>,
    /// Files that are reviewed.
    pub files: usize,
}

/// How many pages the plan of a listing has. There is always one, for the whole.
pub fn page_count(listing: &Listing) -> usize {
    listing.entries.len().div_ceil(limits::PAGE_FILES).max(1)
}

/// Makes one page, counted from zero. The same page of the same source is always the same.
///
/// # Errors
/// What reading the files says.
pub async fn page(source: &Source, listing: &Listing, number: usize, reviewer: Reviewer) -> Result<Page, Error> {
    let start = number.saturating_mul(limits::PAGE_FILES).min(listing.entries.len());
    let end = start.saturating_add(limits::PAGE_FILES).min(listing.entries.len());
    let entries = listing.entries.get(start..end).unwrap_or_default();
    let mut page = Page::default();
    let mut readable = Vec::new();
    for entry in entries {
        match skip::by_listing(entry) {
            Some(reason) => page.skip(entry, reason),
            None => readable.push(entry),
        }
    }
    let contents: Vec<Content> = readable.iter().map(|entry| entry.content.clone()).collect();
    for (entry, loaded) in readable.into_iter().zip(source.load(&contents).await?) {
        let role = Role::of(&entry.path, |path| listing.exists(path));
        let changed = changed_lines(entry);
        if let Some(reason) = skip::by_content(&loaded) {
            page.skip(entry, reason);
        } else if let Some(file) = SourceFile::new(&entry.path, role, loaded, changed.clone()) {
            match skip::by_text(&file) {
                Some(reason) => page.skip(entry, reason),
                None => page.assign(entry, &file, changed, reviewer),
            }
        } else {
            page.skip(entry, SkipReason::Binary);
        }
    }
    if number == 0 {
        let whole = |concern| Assignment {
            subject: Subject::Whole,
            concern,
        };
        page.assignments
            .extend(source.is_change().then(|| whole(Concern::Tests)));
        page.assignments.push(whole(Concern::Style));
    }
    Ok(page)
}

impl Page {
    fn skip(&mut self, entry: &Entry, reason: SkipReason) {
        self.skipped.push(Skipped {
            path: entry.path.clone(),
            reason,
        });
    }

    fn assign(&mut self, entry: &Entry, file: &SourceFile, changed: Option<LineSet>, reviewer: Reviewer) {
        self.files += 1;
        let concerns = match reviewer {
            Reviewer::Rules => rules::concerns_for(file.language, file.role),
            Reviewer::Claude => concerns_for_model(file.language),
        };
        for concern in concerns {
            let file = FileRef {
                path: entry.path.clone(),
                content: entry.content.clone(),
                role: file.role,
                changed: changed.clone(),
            };
            self.assignments.push(Assignment {
                subject: Subject::File(file),
                concern,
            });
        }
    }
}

/// A model can look for anything; where there is no code there are no tests to miss.
fn concerns_for_model(language: Language) -> Vec<Concern> {
    Concern::ALL
        .into_iter()
        .filter(|concern| *concern != Concern::Tests || language.is_code())
        .collect()
}

/// The lines to review. A text file that the diff calls binary (an attribute can say so) is reviewed whole.
fn changed_lines(entry: &Entry) -> Option<LineSet> {
    let change = entry.change.as_ref().filter(|change| !change.binary)?;
    Some(change.added.clone().coarsened(limits::RANGES_MAX))
}

#[cfg(test)]
mod tests;
