use super::*;

fn file(path: &str, added: usize) -> ChangedFile {
    ChangedFile {
        path: path.into(),
        added,
        language: Language::of(&path.into()),
        role: Role::of(&path.into(), |_| false),
        unreadable: crate::skip::by_name(&path.into()).is_some(),
        adds_test: false,
        first_line: 7,
    }
}

fn found(files: &[ChangedFile], is_change: bool) -> Vec<String> {
    let findings = Concern::ALL
        .into_iter()
        .flat_map(|concern| check_change(files, is_change, concern).findings);
    findings
        .map(|finding| format!("{} {}:{} {}", finding.rule, finding.path, finding.line, finding.message))
        .collect()
}

#[test]
fn code_without_tests() {
    assert_eq!(
        found(&[file("src/a.rs", 20), file("README.md", 3)], true),
        ["missing-tests src/a.rs:7 20 lines of code in 1 file changed, and no test did: src/a.rs"]
    );
    assert_eq!(found(&[file("src/a.rs", 20), file("tests/a.rs", 1)], true), [""; 0]);
    assert_eq!(
        found(
            &[ChangedFile {
                adds_test: true,
                ..file("src/a.rs", 20)
            }],
            true
        ),
        [""; 0]
    );
    assert_eq!(found(&[file("src/a.rs", 4)], true), [""; 0]);
    assert_eq!(found(&[file("docs/a.md", 400)], true), [""; 0]);
    // A tree is no change: nobody can tell what is tested by what.
    assert_eq!(found(&[file("src/a.rs", 20)], false), [""; 0]);
}

#[test]
fn large_and_unreadable_changes() {
    let mut files: Vec<ChangedFile> = (0..51).map(|number| file(&format!("docs/{number}.md"), 1)).collect();
    files.push(file("Cargo.lock", 900));
    assert_eq!(
        found(&files, true),
        [
            "large-change docs/0.md:7 the change adds 51 lines in 51 files",
            "generated-in-change Cargo.lock:7 1 file cannot be reviewed: Cargo.lock",
        ]
    );
    assert_eq!(
        found(&[file("docs/a.md", 1_001)], true),
        ["large-change docs/a.md:7 the change adds 1001 lines in 1 file"]
    );
}

#[test]
fn one_finding_for_a_directory_of_build_products() {
    let files = [
        file("a/node_modules/x/1.js", 1),
        file("a/node_modules/y/2.js", 1),
        file("b.pyc", 1),
        file("src/.DS_Store", 1),
    ];
    let found = found(&files, false);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("`a/node_modules`"), "{found:?}");
}
