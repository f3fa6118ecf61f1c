//! Splits a source into assignments: one file, or the whole, and one concern.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::file::SourceFile;
use crate::finding::Concern;
use crate::language::{Language, Role};
use crate::limits;
use crate::lines::LineSet;
use crate::path::RawPath;
use crate::rules;
use crate::skip::{self, SkipReason, Skipped};
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
    /// Files that are reviewed, in order.
    pub files: Vec<Planned>,
    /// What is looked for in the change, or the tree, as a whole.
    pub whole: Vec<Concern>,
    /// Files that are not reviewed, and why.
    pub skipped: Vec<Skipped>,
}

/// A file that is reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// Which.
    pub file: FileRef,
    /// What is looked for in it.
    pub concerns: Vec<Concern>,
}

/// How many pages the plan of a listing has. There is always one, for the whole.
pub fn page_count(listing: &Listing) -> usize {
    page_ranges(listing).len().max(1)
}

/// Which entries stand on which page: so many that what is stored of a page stays below [`limits::PAGE_BYTES`].
fn page_ranges(listing: &Listing) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, entry) in listing.entries.iter().enumerate() {
        let changed = entry
            .change
            .as_ref()
            .map_or(0, |change| change.added.ranges().len().min(limits::RANGES_MAX));
        let size = 300 + entry.path.to_string().len() + changed * 24;
        match ranges.last_mut() {
            Some(last) if last.len() < limits::PAGE_FILES && bytes + size <= limits::PAGE_BYTES => {
                last.end = at + 1;
                bytes += size;
            }
            Some(_) | None => {
                ranges.push(at..at + 1);
                bytes = size;
            }
        }
    }
    ranges
}

/// Makes one page, counted from zero. The same page of the same source is always the same.
///
/// # Errors
/// What reading the files says.
pub async fn page(source: &Source, listing: &Listing, number: usize, reviewer: Reviewer) -> Result<Page, Error> {
    let range = page_ranges(listing).get(number).cloned().unwrap_or(0..0);
    let entries = listing.entries.get(range).unwrap_or_default();
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
                None => page.plan(entry, &file, changed, reviewer),
            }
        } else {
            page.skip(entry, SkipReason::Binary);
        }
    }
    if number == 0 {
        page.whole.extend(source.is_change().then_some(Concern::Tests));
        page.whole.push(Concern::Style);
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

    fn plan(&mut self, entry: &Entry, file: &SourceFile, changed: Option<LineSet>, reviewer: Reviewer) {
        let concerns = match reviewer {
            Reviewer::Rules => rules::concerns_for(file.language, file.role),
            Reviewer::Claude => concerns_for_model(file.language),
        };
        let file = FileRef {
            path: entry.path.clone(),
            content: entry.content.clone(),
            role: file.role,
            changed,
        };
        self.files.push(Planned { file, concerns });
    }

    /// What is to be done, in order.
    pub fn assignments(&self) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for Planned { file, concerns } in &self.files {
            for concern in concerns {
                assignments.push(Assignment {
                    subject: Subject::File(file.clone()),
                    concern: *concern,
                });
            }
        }
        assignments.extend(self.whole.iter().map(|concern| Assignment {
            subject: Subject::Whole,
            concern: *concern,
        }));
        assignments
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
