//! From places in a file to findings.

use std::collections::BTreeMap;

use super::{Checked, Rule, catalog};
use crate::file::{Allow, Place, SourceFile};
use crate::finding::{Concern, Finding, Severity, fingerprint, tidy};
use crate::language::Role;
use crate::limits;

/// Collects what the rules of one concern find in one file.
pub(super) struct Hits<'f> {
    pub(super) file: &'f SourceFile,
    concern: Concern,
    hits: Vec<Hit>,
}

struct Hit {
    rule: &'static Rule,
    severity: Severity,
    place: Place,
    end_line: u32,
    message: String,
}

impl<'f> Hits<'f> {
    pub(super) fn new(file: &'f SourceFile, concern: Concern) -> Self {
        Self {
            file,
            concern,
            hits: Vec::new(),
        }
    }

    /// Whether findings of this rule are wanted at all.
    pub(super) fn wants(&self, rule: &'static Rule) -> bool {
        rule.concern == self.concern && rule.applies_to(self.file.language)
    }

    /// Whether any rule of this concern is wanted.
    pub(super) fn wants_concern(&self, concern: Concern) -> bool {
        self.concern == concern
    }

    /// Records a finding on one line.
    pub(super) fn at(&mut self, rule: &'static Rule, place: Place, message: impl Into<String>) {
        self.on(rule, rule.severity, place, place.line, message);
    }

    /// Records a finding that matters less where only tests run it.
    pub(super) fn softer_in_tests(&mut self, rule: &'static Rule, place: Place, message: impl Into<String>) {
        let severity = if self.file.role == Role::Test {
            rule.severity.lowered().lowered()
        } else {
            rule.severity
        };
        self.on(rule, severity, place, place.line, message);
    }

    /// Records a finding about lines up to `end_line`; any changed line among them makes it count.
    pub(super) fn on(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        place: Place,
        end_line: u32,
        message: impl Into<String>,
    ) {
        if self.wants(rule) && self.file.counts(place.line, end_line) {
            self.hits.push(Hit {
                rule,
                severity,
                place,
                end_line,
                message: message.into(),
            });
        }
    }

    /// Makes findings of what was recorded.
    pub(super) fn finish(mut self, note: Option<String>) -> Checked {
        let allows = self.file.allows();
        self.void_allows(&allows);
        let key = |hit: &Hit| (hit.place.line, hit.rule.id, hit.place.column);
        self.hits.sort_by(|left, right| key(left).cmp(&key(right)));
        // One line, one rule, one finding: `a.unwrap() + b.unwrap()` needs one look.
        self.hits
            .dedup_by(|later, earlier| later.place.line == earlier.place.line && later.rule.id == earlier.rule.id);
        let mut omitted = self.cut();
        let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let mut findings = Vec::new();
        for hit in self.hits {
            let line = self.file.line(hit.place.line);
            let anchor = line.map(|line| self.file.redacted(line)).unwrap_or_default();
            let words = anchor.split_whitespace().collect::<Vec<_>>().join(" ");
            let occurrence = seen.entry((hit.rule.id, words)).or_default();
            let fingerprint = fingerprint(hit.rule.id, &self.file.path, &anchor, *occurrence);
            *occurrence += 1;
            findings.push(Finding {
                rule: hit.rule.id.to_owned(),
                title: hit.rule.title.to_owned(),
                severity: hit.severity,
                concern: hit.rule.concern,
                path: self.file.path.clone(),
                line: hit.place.line,
                end_line: hit.end_line,
                column: hit.place.column,
                message: tidy(&hit.message, 500),
                suggestion: hit.rule.fix.to_owned(),
                excerpt: self.file.excerpt(hit.place.line, hit.end_line),
                fingerprint,
                suppressed: suppressed(&allows, hit.rule.id, hit.place.line),
            });
        }
        let beyond = findings.len().saturating_sub(limits::TASK_FINDINGS_MAX);
        if beyond > 0 {
            findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.line));
            findings.truncate(limits::TASK_FINDINGS_MAX);
            findings.sort_by_key(|finding| finding.line);
            omitted += beyond;
        }
        Checked {
            findings,
            omitted,
            note,
        }
    }

    /// Leaves the first findings of each rule and says with the last of them how many more there are.
    fn cut(&mut self) -> usize {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for hit in &self.hits {
            *counts.entry(hit.rule.id).or_default() += 1;
        }
        let before = self.hits.len();
        let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
        self.hits.retain_mut(|hit| {
            let (kept, total) = (
                kept.entry(hit.rule.id).or_default(),
                counts.get(hit.rule.id).copied().unwrap_or(0),
            );
            *kept += 1;
            if *kept == limits::RULE_FINDINGS_MAX && total > *kept {
                hit.message
                    .push_str(&format!(" (and {} more in this file)", total - *kept));
            }
            *kept <= limits::RULE_FINDINGS_MAX
        });
        before - self.hits.len()
    }

    /// A suppression without a reason or of an unknown rule does nothing and is a finding itself.
    fn void_allows(&mut self, allows: &[Allow]) {
        for allow in allows {
            let place = Place {
                line: allow.line,
                column: 1,
            };
            let unknown = |rule: &&String| super::by_id(rule).is_none() && !rule.starts_with("model-");
            if let Some(rule) = allow.rules.iter().find(unknown) {
                self.at(
                    &catalog::any::VOID_SUPPRESSION,
                    place,
                    format!("there is no rule `{rule}`"),
                );
            } else if allow.reason.is_empty() {
                self.at(
                    &catalog::any::VOID_SUPPRESSION,
                    place,
                    "the suppression gives no reason, so it does nothing",
                );
            }
        }
    }
}

pub(super) fn suppressed(allows: &[Allow], rule: &str, line: u32) -> Option<String> {
    let speaks_of = |allow: &&Allow| {
        !allow.reason.is_empty()
            && allow.rules.iter().any(|named| named == rule)
            && allow.target.is_none_or(|target| target == line || allow.line == line)
    };
    // The suppression itself cannot be suppressed.
    let allow = allows
        .iter()
        .filter(|_| rule != catalog::any::VOID_SUPPRESSION.id)
        .find(speaks_of)?;
    Some(tidy(&allow.reason, 200))
}
