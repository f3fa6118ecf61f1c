use proptest::prelude::*;

use super::*;

fn finding(severity: Severity, path: &str, line: u32, anchor: &str) -> Finding {
    Finding {
        rule: "rule".into(),
        title: "title".into(),
        severity,
        concern: Concern::Style,
        path: path.into(),
        line,
        end_line: line,
        column: 1,
        message: "message".into(),
        suggestion: "suggestion".into(),
        excerpt: Vec::new(),
        fingerprint: fingerprint("rule", &path.into(), anchor, 0),
        suppressed: None,
    }
}

#[test]
fn a_fingerprint_survives_moves_and_spacing_and_nothing_else() {
    let path = RawPath::from("a.rs");
    let base = fingerprint("r", &path, "let x = y;", 0);
    assert_eq!(base, fingerprint("r", &path, "\tlet  x =  y; ", 0));
    assert_eq!(base.len(), 32);
    for other in [
        fingerprint("s", &path, "let x = y;", 0),
        fingerprint("r", &"b.rs".into(), "let x = y;", 0),
        fingerprint("r", &path, "let x = z;", 0),
        fingerprint("r", &path, "let x = y;", 1),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn graver_findings_come_first_and_equal_ones_once() {
    let merged = merge([
        finding(Severity::Low, "b", 1, "x"),
        finding(Severity::High, "b", 9, "y"),
        finding(Severity::Critical, "b", 2, "x"),
        finding(Severity::High, "a", 5, "z"),
    ]);
    let shown: Vec<String> = merged
        .iter()
        .map(|f| format!("{} {} {}", f.severity, f.path, f.line))
        .collect();
    assert_eq!(shown, ["critical b 2", "high a 5", "high b 9"]);
}

#[test]
fn text_is_tidied_for_terminals_and_pages() {
    assert_eq!(tidy("a\tb", 10), "a    b");
    assert_eq!(tidy("\x1b[31m", 10), "␛[31m");
    assert_eq!(tidy("a\u{202e}b\u{9b}", 10), "a<U+202E>b<U+009B>");
    assert_eq!(tidy("abc", 2), "ab…");
    assert_eq!(tidy("abc", 3), "abc");
}

#[test]
fn severities_are_read_by_name() {
    for severity in Severity::ALL {
        assert_eq!(severity.name().parse(), Ok(severity));
        assert!(severity.lowered() <= severity);
    }
    assert!("urgent".parse::<Severity>().is_err());
}

proptest! {
    #[test]
    fn the_order_does_not_depend_on_the_order_of_arrival(seed in proptest::collection::vec((0_usize..5, 0_u32..4, 0_u8..4), 0..20)) {
        let make = |(severity, line, anchor): &(usize, u32, u8)| {
            finding(Severity::ALL[*severity], "f", *line, &anchor.to_string())
        };
        let forward: Vec<Finding> = seed.iter().map(make).collect();
        let backward: Vec<Finding> = seed.iter().rev().map(make).collect();
        prop_assert_eq!(merge(forward), merge(backward));
    }
}
