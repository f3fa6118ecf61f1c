//! The report for code scanning services: SARIF 2.1.0.
//!
//! Paths are relative to `SRCROOT`, which the service knows. `partialFingerprints` carry our own, so that a service follows a
//! finding when its lines move.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Report;
use crate::finding::{Concern, Finding, Severity};
use crate::rules::{CATALOG, Rule};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn render(report: &Report) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&document(report))?;
    text.push('\n');
    Ok(text)
}

fn document(report: &Report) -> Value {
    let rules = described_rules(report);
    let index_of = |id: &str| {
        rules
            .iter()
            .position(|rule| rule.get("id").and_then(Value::as_str) == Some(id))
    };
    let results: Vec<Value> = report
        .findings
        .iter()
        .chain(&report.suppressed)
        .map(|finding| result(finding, index_of(&finding.rule)))
        .collect();
    let commit = report.commit.as_ref().map(|commit| commit.oid.as_str());
    let run = json!({
        "tool": { "driver": {
            "name": report.tool.name,
            "version": report.tool.version,
            "semanticVersion": report.tool.version,
            "rules": rules,
        }},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": { "SRCROOT": { "description": { "text": "the top of the repository" } } },
        "results": results,
        "properties": { "reviewer": report.tool.reviewer.name(), "title": report.title, "commit": commit },
    });
    json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] })
}

/// Every rule of this program, and what a model's findings are called.
fn described_rules(report: &Report) -> Vec<Value> {
    let mut rules: Vec<Value> = CATALOG.iter().map(|rule| described(rule)).collect();
    let known: BTreeSet<&str> = CATALOG.iter().map(|rule| rule.id).collect();
    let found = report.findings.iter().chain(&report.suppressed);
    let others: BTreeSet<(&str, Concern)> = found
        .filter(|finding| !known.contains(finding.rule.as_str()))
        .map(|finding| (finding.rule.as_str(), finding.concern))
        .collect();
    for (id, concern) in others {
        let text = format!("What a language model found about {concern}.");
        rules.push(json!({
            "id": id,
            "shortDescription": { "text": text },
            "fullDescription": { "text": text },
            "help": { "text": text },
            "defaultConfiguration": { "level": "warning" },
            "properties": { "tags": [concern.name()] },
        }));
    }
    rules
}

fn described(rule: &Rule) -> Value {
    let mut value = json!({
        "id": rule.id,
        "shortDescription": { "text": plain(rule.title) },
        "fullDescription": { "text": rule.why },
        "help": { "text": rule.fix, "markdown": rule.fix },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "tags": [rule.concern.name()] },
    });
    if let (Some(link), Some(value)) = (rule.reference, value.as_object_mut()) {
        value.insert("helpUri".into(), json!(link));
    }
    if rule.concern == Concern::Security
        && let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut)
    {
        properties.insert("security-severity".into(), json!(security_severity(rule.severity)));
    }
    value
}

fn result(finding: &Finding, rule: Option<usize>) -> Value {
    let mut region = json!({ "startLine": finding.line, "startColumn": finding.column, "endLine": finding.end_line });
    if let (Some(marked), Some(region)) = (finding.excerpt.iter().find(|line| line.marked), region.as_object_mut()) {
        region.insert("snippet".into(), json!({ "text": marked.text }));
    }
    let mut value = json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": { "text": format!("{}: {}", plain(&finding.title), finding.message) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": finding.path.to_uri(), "uriBaseId": "SRCROOT" },
            "region": region,
        }}],
        "partialFingerprints": { "hiveReview/v1": finding.fingerprint },
        "properties": { "severity": finding.severity.name(), "concern": finding.concern.name() },
    });
    if let Some(value) = value.as_object_mut() {
        if let Some(index) = rule {
            value.insert("ruleIndex".into(), json!(index));
        }
        if let Some(reason) = &finding.suppressed {
            value.insert(
                "suppressions".into(),
                json!([{ "kind": "inSource", "justification": reason }]),
            );
        }
    }
    value
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// The scale on which services sort security findings.
fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "1.0",
    }
}

fn plain(text: &str) -> String {
    text.replace('`', "'")
}
