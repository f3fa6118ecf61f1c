use std::collections::BTreeSet;
use std::path::Path;

use super::ErrorKind;

const HEADINGS: [&str; 4] = ["## Meaning", "## Likely causes", "## What to do", "## Example"];

#[test]
fn codes_are_unique_kebab_case_and_lead_back_to_their_kind() {
    let codes: BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), ErrorKind::ALL.len());
    for &kind in ErrorKind::ALL {
        let code = kind.code();
        assert!(
            code.split('-')
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())),
            "{code}"
        );
        assert_eq!(ErrorKind::from_code(code), Some(kind));
        assert_eq!(kind.to_string(), code);
    }
    for stranger in ["", "Storage", "storage ", "no-such-kind"] {
        assert_eq!(ErrorKind::from_code(stranger), None, "{stranger:?}");
    }
}

#[test]
fn code_is_the_kebab_case_of_the_name() {
    for kind in ErrorKind::ALL {
        let mut expected = String::new();
        for c in format!("{kind:?}").chars() {
            if c.is_uppercase() && !expected.is_empty() {
                expected.push('-');
            }
            expected.extend(c.to_lowercase());
        }
        assert_eq!(kind.code(), expected);
    }
}

#[test]
fn hints_fit_one_line_of_a_report() {
    for kind in ErrorKind::ALL {
        let hint = kind.hint();
        assert!(hint.starts_with(|c: char| c.is_lowercase()), "{kind}: {hint}");
        assert!(
            !hint.ends_with('.') && !hint.contains('\n') && hint.len() <= 100,
            "{kind}: {hint}"
        );
    }
}

#[test]
fn every_kind_has_a_page_that_agrees_with_it() {
    for kind in ErrorKind::ALL {
        let page = kind.page();
        assert!(page.starts_with(&format!("# {kind}\n")), "{kind}: title");

        let found: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(found, HEADINGS, "{kind}: headings");
        for (heading, section) in HEADINGS.iter().zip(page.split("\n## ").skip(1)) {
            let (_, body) = section.split_once('\n').unwrap();
            assert!(body.trim().len() > 40, "{kind}: nothing below {heading}");
        }

        let verdict = if kind.is_retryable() {
            "It is retryable by default"
        } else {
            "It is terminal by default"
        };
        assert!(page.contains(verdict), "{kind}: {verdict}");

        let (_, example) = page.split_once("```text\n").unwrap();
        let (example, _) = example.split_once("\n```").unwrap();
        assert!(
            example.starts_with(&format!("error[{kind}]: ")),
            "{kind}: example has another code"
        );
        assert!(
            example.ends_with(&format!("\n  what to do: {}", kind.hint())),
            "{kind}: example has another hint"
        );
    }
}

#[test]
fn no_page_is_without_a_kind() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("codes");
    let pages: BTreeSet<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| format!("{kind}.md")).collect();
    assert_eq!(pages, expected);
}
