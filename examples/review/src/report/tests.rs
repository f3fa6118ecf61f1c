use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::finding::{ExcerptLine, fingerprint};

fn source() -> Source {
    Source::Tree {
        repository: "/somewhere".into(),
        commit: Commit {
            oid: "0123456789abcdef0123".into(),
            time: "2024-01-02T03:04:05Z".into(),
            subject: "Add <b>".into(),
        },
        scope: RawPath::default(),
    }
}

fn finding(rule: &str, severity: Severity, path: RawPath, text: &str) -> Finding {
    Finding {
        rule: rule.into(),
        title: "A `title`".into(),
        severity,
        concern: Concern::Security,
        line: 3,
        end_line: 4,
        column: 2,
        message: text.into(),
        suggestion: "do <it>".into(),
        excerpt: vec![ExcerptLine {
            number: 3,
            text: text.into(),
            marked: true,
        }],
        fingerprint: fingerprint(rule, &path, text, 0),
        suppressed: None,
        path,
    }
}

fn report(findings: Vec<Finding>) -> Report {
    let material = Material {
        findings,
        skipped: vec![Skipped {
            path: "logo.png".into(),
            reason: SkipReason::Binary,
        }],
        reviewed: 2,
        notes: vec![Note {
            path: "a.rs".into(),
            text: "not parsed".into(),
        }],
        ..Material::default()
    };
    Report::new("project", &source(), Reviewer::Rules, material)
}

const HOSTILE: &str = "</script><img src=x onerror=alert(1)> ``` | [a](javascript:x) & \"q\" 'p'";

fn hostile() -> Report {
    let mut allowed = finding("rust-unwrap", Severity::Low, "b.rs".into(), HOSTILE);
    allowed.suppressed = Some(HOSTILE.into());
    report(vec![
        finding(
            "sql-injection",
            Severity::High,
            RawPath::new(&b"a b/caf\xe9<x>.rs"[..]),
            HOSTILE,
        ),
        finding("model-security", Severity::Low, "a.rs".into(), "odd ` backtick"),
        allowed,
    ])
}

#[test]
fn a_report_counts_and_parts() {
    let report = hostile();
    assert_eq!(report.summary(), "2 findings: 1 high, 1 low");
    assert_eq!(report.worst(), Some(Severity::High));
    assert_eq!((report.findings.len(), report.suppressed.len()), (2, 1));
    assert_eq!(
        Report::new("x", &source(), Reviewer::Rules, Material::default()).summary(),
        "no findings"
    );
}

#[test]
fn html_shows_hostile_text_as_text() {
    let page = hostile().to_html();
    for dangerous in ["<img", "<script", "</script>", "javascript:x)\"", "caf\u{e9}<x>"] {
        assert!(!page.contains(dangerous), "{dangerous}");
    }
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
    // Nothing is loaded: the only addresses are links to read on.
    for loads in ["src=", "@import", "url(", "<link"] {
        let outside_text = page.replace("img src=x onerror", "");
        assert!(!outside_text.contains(loads), "{loads}");
    }
    assert!(page.contains("default-src 'none'"));
}

/// Every element is closed in order: enough to see that no text broke out of its place.
fn assert_balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("<body>").unwrap().1.split_once("</body>").unwrap().0;
    for tag in body.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "in {tag}");
        } else if name != "input" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn html_is_well_formed() {
    assert_balanced(&hostile().to_html());
    assert_balanced(&report(Vec::new()).to_html());
}

#[test]
fn markdown_keeps_hostile_text_in_its_place() {
    let page = hostile().to_markdown();
    assert!(
        page.contains("\n````text\n"),
        "the fence is longer than what it holds: {page}"
    );
    assert!(!page.contains("\n[a](javascript:x)"), "{page}");
    assert!(
        page.contains(r"Odd ' backtick") && page.contains("`\"a b/caf\\351<x>.rs\":3`"),
        "{page}"
    );
}

/// The properties that SARIF 2.1.0 requires of what we write, and the values it allows.
fn assert_sarif(text: &str) {
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["version"], "2.1.0");
    assert!(document["$schema"].as_str().unwrap().ends_with("sarif-2.1.0.json"));
    let run = &document["runs"][0];
    let driver = &run["tool"]["driver"];
    assert!(!driver["name"].as_str().unwrap().is_empty());
    let rules = driver["rules"].as_array().unwrap();
    let levels = ["none", "note", "warning", "error"];
    for rule in rules {
        assert!(
            rule["id"].is_string() && rule["shortDescription"]["text"].is_string(),
            "{rule}"
        );
        assert!(levels.contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
        assert!(
            rule.get("helpUri")
                .is_none_or(|link| link.as_str().unwrap().starts_with("https://"))
        );
    }
    let base_ids = run["originalUriBaseIds"].as_object().unwrap();
    for result in run["results"].as_array().unwrap() {
        assert!(levels.contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let location = &result["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            uri.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)),
            "{uri}"
        );
        assert!(!uri.starts_with('/') && !uri.is_empty());
        assert!(base_ids.contains_key(location["artifactLocation"]["uriBaseId"].as_str().unwrap()));
        let region = &location["region"];
        let (start, end) = (
            region["startLine"].as_u64().unwrap(),
            region["endLine"].as_u64().unwrap(),
        );
        assert!(start >= 1 && end >= start && region["startColumn"].as_u64().unwrap() >= 1);
        assert!(
            result["partialFingerprints"]
                .as_object()
                .unwrap()
                .values()
                .all(Value::is_string)
        );
        for suppression in result
            .get("suppressions")
            .and_then(Value::as_array)
            .unwrap_or(&Vec::new())
        {
            assert!(["inSource", "external"].contains(&suppression["kind"].as_str().unwrap()));
        }
    }
}

#[test]
fn sarif_is_valid() {
    let text = hostile().to_sarif().unwrap();
    assert_sarif(&text);
    assert!(text.contains("a%20b/caf%E9%3Cx%3E.rs"), "{text}");
    assert!(text.contains("inSource"));
    assert_sarif(&report(Vec::new()).to_sarif().unwrap());
}

#[test]
fn json_is_read_back_as_it_was() {
    let report = hostile();
    let text = report.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    assert!(
        text.contains("\"version\": 1,") && !text.contains("/somewhere"),
        "{text}"
    );
}

#[test]
fn four_files_are_written() {
    let home = tempfile::tempdir().unwrap();
    let written = hostile().write(home.path()).unwrap();
    for path in [&written.html, &written.markdown, &written.json, &written.sarif] {
        assert!(std::fs::metadata(path.to_os()).unwrap().len() > 100);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 4);
}

#[test]
fn a_long_report_is_cut_for_people_and_not_for_programs() {
    let many: Vec<Finding> = (0..1_200)
        .map(|number| finding("rust-unwrap", Severity::Low, format!("f{number}").as_str().into(), "x"))
        .collect();
    let report = report(many);
    assert_eq!(report.to_html().matches("<article").count(), 1_000);
    assert!(report.to_markdown().contains("200 further findings"));
    assert_eq!(report.to_sarif().unwrap().matches("\"ruleId\"").count(), 1_200);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_breaks_a_page(text in "[<>&\"'`|*_\\\\#a-z \\-]{0,40}", path in proptest::collection::vec(1_u8..=255, 1..20)) {
        let report = report(vec![finding("model-style", Severity::Info, RawPath::new(path), &text)]);
        assert_balanced(&report.to_html());
        assert_sarif(&report.to_sarif().unwrap());
        let _ = report.to_markdown();
    }
}
