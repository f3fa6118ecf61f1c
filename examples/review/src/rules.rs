//! The offline reviewer: rules worth having, run without a network or a model.
//!
//! Precision goes before recall: a rule that is often wrong teaches people to look away. A rule knows nothing of files it is
//! not shown, so each finding can be made, stored and merged on its own.

mod catalog;
mod change;
mod hits;
mod patterns;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule looks for a few of the many kinds of syntax, and new kinds are none of them"
)]
mod rust;
mod secrets;
mod text;

pub use catalog::CATALOG;
pub use change::{ChangedFile, check_change};

use crate::file::{Allow, SourceFile};
use crate::finding::{Concern, Finding, Severity};
use crate::language::{Language, Role};

/// The version of the rules: a stored review is only reused when they are the same.
pub const RULES_VERSION: u32 = 1;

/// A rule as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in reports and in `review: allow(…)`.
    pub id: &'static str,
    /// What it finds, in a few words.
    pub title: &'static str,
    /// What it is looked for under.
    pub concern: Concern,
    /// How much a finding matters where nothing speaks for less.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// Where to read more.
    pub reference: Option<&'static str>,
    /// Which files it looks at.
    pub applies: Applies,
}

/// Which files a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// Every text file.
    Any,
    /// Every programming language.
    Code,
    /// Only these languages.
    Only(&'static [Language]),
    /// Not a file: the change as a whole.
    Change,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The findings, in the order of their lines.
    pub findings: Vec<Finding>,
    /// Findings past the bound of one task.
    pub omitted: usize,
    /// What kept a part of the rules from running, as a sentence.
    pub note: Option<String>,
}

impl Rule {
    /// Whether the rule can find anything in such a file.
    pub fn applies_to(&self, language: Language) -> bool {
        match self.applies {
            Applies::Any => true,
            Applies::Code => language.is_code(),
            Applies::Only(languages) => languages.contains(&language),
            Applies::Change => false,
        }
    }
}

/// The rule with this name.
pub fn by_id(id: &str) -> Option<&'static Rule> {
    CATALOG.iter().copied().find(|rule| rule.id == id)
}

/// The concerns under which some rule looks at such a file.
pub fn concerns_for(language: Language, role: Role) -> Vec<Concern> {
    let looks = |concern: &Concern| {
        let tests_only = *concern == Concern::Tests;
        // The rules about tests look at tests, in Rust also beside the code they test.
        let worth = !tests_only || role == Role::Test || language == Language::Rust;
        worth
            && CATALOG
                .iter()
                .any(|rule| rule.concern == *concern && rule.applies_to(language))
    };
    Concern::ALL.into_iter().filter(looks).collect()
}

/// Runs the rules of one concern on a file.
pub fn check(file: &SourceFile, concern: Concern) -> Checked {
    let mut hits = hits::Hits::new(file, concern);
    patterns::run(&mut hits);
    secrets::run(&mut hits);
    text::run(&mut hits);
    let note = rust::run(&mut hits);
    hits.finish(note)
}

/// The reason a file's comments give for letting a finding of `rule` stand on `line`.
pub fn suppression(allows: &[Allow], rule: &str, line: u32) -> Option<String> {
    hits::suppressed(allows, rule, line)
}

#[cfg(test)]
mod tests;
