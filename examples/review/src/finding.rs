//! What a review finds.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::path::RawPath;

/// How much a finding matters, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth doing when the place is touched anyway.
    Low,
    /// To be fixed or explained.
    Medium,
    /// To be fixed before it is merged.
    High,
    /// To be fixed now, also where it is already in use.
    Critical,
}

/// What a reviewer looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Concern {
    /// It does something else than was meant.
    Correctness,
    /// It can be abused.
    Security,
    /// It is not or badly tested.
    Tests,
    /// It is hard to read or to change.
    Style,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which rule found it (`rust-unwrap`), or `model-<concern>` for a language model.
    pub rule: String,
    /// What it is, in a few words.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// Under which heading it was looked for.
    pub concern: Concern,
    /// The file, from the top of the repository.
    pub path: RawPath,
    /// The first line, one-based.
    pub line: u32,
    /// The last line.
    pub end_line: u32,
    /// The first column in characters, one-based.
    pub column: u32,
    /// What is wrong here.
    pub message: String,
    /// What to do about it.
    pub suggestion: String,
    /// The place in the file. Secrets are blacked out.
    pub excerpt: Vec<ExcerptLine>,
    /// The same for the same problem when the lines around it move.
    pub fingerprint: String,
    /// The reason given in the source for letting it stand.
    pub suppressed: Option<String>,
}

/// A line of an excerpt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExcerptLine {
    /// Its number, one-based.
    pub number: u32,
    /// Its text, shortened, without what could steer a terminal.
    pub text: String,
    /// Whether the finding is on it.
    pub marked: bool,
}

impl Severity {
    /// From most to least.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }

    /// One step less.
    pub fn lowered(self) -> Self {
        match self {
            Self::Critical => Self::High,
            Self::High => Self::Medium,
            Self::Medium => Self::Low,
            Self::Low | Self::Info => Self::Info,
        }
    }
}

impl Concern {
    /// In the order of a report.
    pub const ALL: [Self; 4] = [Self::Correctness, Self::Security, Self::Tests, Self::Style];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correctness => "correctness",
            Self::Security => "security",
            Self::Tests => "tests",
            Self::Style => "style",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|severity| severity.name() == text);
        known.ok_or_else(|| "expected critical, high, medium, low or info".to_owned())
    }
}

/// Names a problem independently of its line: by rule, file, the text of its line without spacing, and which of several
/// equal ones it is.
pub fn fingerprint(rule: &str, path: &RawPath, anchor: &str, occurrence: usize) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [rule.as_bytes(), path.as_bytes()] {
        hasher.update(part);
        // No path or rule holds a NUL, so two different triples never run together.
        hasher.update(b"\0");
    }
    for word in anchor.split_whitespace() {
        hasher.update(word.as_bytes());
        hasher.update(b" ");
    }
    hasher.update(&(occurrence as u64).to_le_bytes());
    let mut hex = hasher.finalize().to_hex().to_string();
    hex.truncate(32);
    hex
}

/// One list from many: every problem once, what matters most first. The order is total, so it does not depend on who
/// finished when.
pub fn merge(findings: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = findings.into_iter().collect();
    // Of two findings with one fingerprint the graver stays.
    all.sort_by(|left, right| (&left.fingerprint, rank(left)).cmp(&(&right.fingerprint, rank(right))));
    all.dedup_by(|later, earlier| later.fingerprint == earlier.fingerprint);
    all.sort_by(|left, right| rank(left).cmp(&rank(right)));
    all
}

type Rank<'a> = (
    std::cmp::Reverse<Severity>,
    Concern,
    &'a RawPath,
    u32,
    u32,
    &'a str,
    &'a str,
    &'a str,
);

fn rank(finding: &Finding) -> Rank<'_> {
    (
        std::cmp::Reverse(finding.severity),
        finding.concern,
        &finding.path,
        finding.line,
        finding.column,
        &finding.rule,
        &finding.message,
        &finding.fingerprint,
    )
}

/// Text as it may stand in a report: no control characters, nothing that hides or reorders, at most `max` characters.
pub fn tidy(text: &str, max: usize) -> String {
    let shown = |character: char| match character {
        '\t' => "    ".to_owned(),
        // Unicode has a picture for each control character of ASCII.
        control @ '\0'..='\x1f' => char::from_u32(0x2400 + control as u32)
            .unwrap_or('\u{fffd}')
            .to_string(),
        '\x7f' => '\u{2421}'.to_string(),
        hidden if hidden.is_control() || crate::path::is_invisible(hidden) => format!("<U+{:04X}>", hidden as u32),
        plain => plain.to_string(),
    };
    let mut tidied: String = text.chars().take(max).map(shown).collect();
    if text.chars().nth(max).is_some() {
        tidied.push('…');
    }
    tidied
}

#[cfg(test)]
mod tests;
