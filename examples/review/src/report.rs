//! What a review says, and the four files it is written to.
//!
//! A report depends on nothing but what was reviewed and by whom: no time of its own, no path of this machine, no order of
//! arrival. Two reviews of one commit are the same, byte for byte.

mod html;
mod json;
mod markdown;
mod sarif;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;
use crate::finding::{Concern, Finding, Severity, merge};
use crate::git::Commit;
use crate::limits;
use crate::path::RawPath;
use crate::plan::Reviewer;
use crate::rules::{RULES_VERSION, by_id};
use crate::skip::{SkipReason, Skipped};
use crate::source::Source;

/// The form of the JSON report. It grows when a field changes its meaning or goes.
pub const REPORT_VERSION: u32 = 1;

/// A finished review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// What made the report.
    pub tool: Tool,
    /// What is reviewed, by name.
    pub name: String,
    /// What is reviewed, in a few words: a commit, a range, a diff.
    pub title: String,
    /// Whether only changed lines were reviewed.
    pub is_change: bool,
    /// The commit that is reviewed; `None` for a diff.
    pub commit: Option<Commit>,
    /// How many files were reviewed and how many were not.
    pub files: FileCounts,
    /// How many findings there are of each severity, suppressed ones apart.
    pub counts: BTreeMap<Severity, usize>,
    /// The findings, what matters most first.
    pub findings: Vec<Finding>,
    /// Findings that the source lets stand, with the reasons it gives.
    pub suppressed: Vec<Finding>,
    /// Findings past the bound of one file and concern; they are counted and not listed.
    pub omitted: usize,
    /// Files that were not reviewed.
    pub skipped: Vec<Skipped>,
    /// What a reader should know about single files.
    pub notes: Vec<Note>,
    /// What a language model used; `None` for the rules.
    pub usage: Option<Usage>,
}

/// What made a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its rules.
    pub rules: u32,
    /// Who reviewed.
    pub reviewer: Reviewer,
}

/// How many files a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileCounts {
    /// Files that were reviewed.
    pub reviewed: usize,
    /// Files that were skipped, each with a reason.
    pub skipped: usize,
    /// Files past the bound of one review.
    pub beyond_limit: usize,
}

/// A sentence about a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// The file; empty for the whole.
    pub path: RawPath,
    /// The sentence.
    pub text: String,
}

/// What a language model used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Requests answered.
    pub calls: u64,
    /// Tokens read and written.
    pub tokens: u64,
    /// The price in millionths of a US dollar.
    pub cost_micro_usd: u64,
}

/// Everything that a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Findings in any order.
    pub findings: Vec<Finding>,
    /// How many were cut off.
    pub omitted: usize,
    /// Skipped files in any order.
    pub skipped: Vec<Skipped>,
    /// How many files were reviewed.
    pub reviewed: usize,
    /// How many files were past the bound of one review.
    pub beyond_limit: usize,
    /// Sentences in any order.
    pub notes: Vec<Note>,
    /// What a language model used.
    pub usage: Option<Usage>,
}

/// Where a report was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// For reading in a browser.
    pub html: RawPath,
    /// For reading as text.
    pub markdown: RawPath,
    /// For programs.
    pub json: RawPath,
    /// For code scanning services.
    pub sarif: RawPath,
}

impl Report {
    /// Merges, ranks and counts.
    pub fn new(name: &str, source: &Source, reviewer: Reviewer, material: Material) -> Self {
        let (suppressed, findings): (Vec<Finding>, Vec<Finding>) = merge(material.findings)
            .into_iter()
            .partition(|finding| finding.suppressed.is_some());
        let mut counts: BTreeMap<Severity, usize> = Severity::ALL.into_iter().map(|severity| (severity, 0)).collect();
        for finding in &findings {
            *counts.entry(finding.severity).or_default() += 1;
        }
        let mut skipped = material.skipped;
        skipped.sort_by(|left, right| left.path.cmp(&right.path));
        let mut notes = material.notes;
        notes.sort();
        notes.dedup();
        Self {
            version: REPORT_VERSION,
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                rules: RULES_VERSION,
                reviewer,
            },
            name: name.to_owned(),
            title: source.title(),
            is_change: source.is_change(),
            commit: source.commit().cloned(),
            files: FileCounts {
                reviewed: material.reviewed,
                skipped: skipped.len(),
                beyond_limit: material.beyond_limit,
            },
            counts,
            findings,
            suppressed,
            omitted: material.omitted,
            skipped,
            notes,
            usage: material.usage,
        }
    }

    /// The gravest severity found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// One line for the terminal: "3 findings: 1 high, 2 low".
    pub fn summary(&self) -> String {
        let total = self.findings.len();
        let parts: Vec<String> = Severity::ALL
            .into_iter()
            .filter_map(|severity| {
                Some((
                    severity,
                    self.counts.get(&severity).copied().filter(|count| *count > 0)?,
                ))
            })
            .map(|(severity, count)| format!("{count} {severity}"))
            .collect();
        match total {
            0 => "no findings".to_owned(),
            1 => format!("1 finding: {}", parts.join(", ")),
            _ => format!("{total} findings: {}", parts.join(", ")),
        }
    }

    /// The report as Markdown.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as one HTML file that loads nothing.
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// None for a report of this program; the type is the serialiser's.
    pub fn to_json(&self) -> serde_json::Result<String> {
        json::render(self)
    }

    /// The report as SARIF 2.1.0.
    ///
    /// # Errors
    /// As for [`Report::to_json`].
    pub fn to_sarif(&self) -> serde_json::Result<String> {
        sarif::render(self)
    }

    /// Writes all four files into a directory, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`] with what the operating system said.
    pub fn write(&self, directory: &Path) -> Result<Written, Error> {
        let in_json = |error: serde_json::Error| Error::File {
            action: "write",
            path: directory.display().to_string(),
            source: error.into(),
        };
        let put = |name: &str, content: String| -> Result<RawPath, Error> {
            let path: PathBuf = directory.join(name);
            files::write(&path, content.as_bytes())?;
            Ok(RawPath::from_os(&path))
        };
        Ok(Written {
            json: put("report.json", self.to_json().map_err(in_json)?)?,
            sarif: put("report.sarif", self.to_sarif().map_err(in_json)?)?,
            markdown: put("report.md", self.to_markdown())?,
            html: put("report.html", self.to_html())?,
        })
    }

    /// The findings that are shown to people, and how many are not.
    fn shown(&self) -> (&[Finding], usize) {
        let shown = self
            .findings
            .get(..limits::SHOWN_FINDINGS_MAX)
            .unwrap_or(&self.findings);
        (shown, self.findings.len() - shown.len())
    }

    /// Findings by file, in the order in which a file's gravest finding stands.
    fn by_file(&self) -> Vec<(&RawPath, Vec<&Finding>)> {
        let mut files: Vec<(&RawPath, Vec<&Finding>)> = Vec::new();
        let mut at: BTreeMap<&RawPath, usize> = BTreeMap::new();
        for finding in self.shown().0 {
            let index = *at.entry(&finding.path).or_insert(files.len());
            match files.get_mut(index) {
                Some((_, findings)) => findings.push(finding),
                None => files.push((&finding.path, vec![finding])),
            }
        }
        files
    }

    /// How many files were skipped for each reason.
    fn skip_reasons(&self) -> BTreeMap<SkipReason, usize> {
        let mut reasons = BTreeMap::new();
        for skipped in &self.skipped {
            *reasons.entry(skipped.reason).or_default() += 1;
        }
        reasons
    }

    fn concern_counts(&self) -> Vec<(Concern, usize)> {
        let count = |concern| {
            self.findings
                .iter()
                .filter(|finding| finding.concern == concern)
                .count()
        };
        Concern::ALL
            .into_iter()
            .map(|concern| (concern, count(concern)))
            .collect()
    }

    /// Sentences about the whole review that every form of the report carries.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.files.beyond_limit > 0 {
            remarks.push(format!(
                "{} further files were not reviewed: one review takes {}. Review a directory or a range.",
                self.files.beyond_limit,
                limits::FILES_MAX
            ));
        }
        if self.omitted > 0 {
            remarks.push(format!(
                "{} further findings are of the same kind in the same files and are not listed.",
                self.omitted
            ));
        }
        if let Some(usage) = self.usage {
            let dollars = usage.cost_micro_usd as f64 / 1e6;
            remarks.push(format!(
                "The model answered {} requests: {} tokens, ${dollars:.4}.",
                usage.calls, usage.tokens
            ));
        }
        remarks
    }
}

/// Where a rule's description is, for findings of a known rule.
fn reference(rule: &str) -> Option<&'static str> {
    by_id(rule)?.reference
}

fn why(rule: &str) -> Option<&'static str> {
    by_id(rule).map(|rule| rule.why)
}

#[cfg(test)]
mod tests;
