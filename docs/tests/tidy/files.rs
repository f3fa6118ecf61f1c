//! How large files are and where they stand.

use super::tree::{Tree, assert_tidy, is_test};

const LINES_MAX: usize = 800;
const LINES_MOST: usize = 500;
const LINES_MEDIAN: usize = 200;

/// No file over 800 lines, nine of ten at most 500, half of them at most 200; tests apart.
fn sizes(tree: &Tree) -> Vec<String> {
    let mut sizes: Vec<(usize, &str)> = tree
        .rust()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (text.lines().count(), path))
        .collect();
    sizes.sort_unstable();
    let mut faults: Vec<String> = sizes
        .iter()
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path} has {lines} lines; split it, {LINES_MAX} is the most"))
        .collect();
    let long: Vec<&str> = sizes
        .iter()
        .filter(|(lines, _)| *lines > LINES_MOST)
        .map(|(_, path)| *path)
        .collect();
    if long.len() * 10 > sizes.len() {
        faults.push(format!(
            "more than one file in ten has over {LINES_MOST} lines: {}",
            long.join(", ")
        ));
    }
    if let Some((median, _)) = sizes.get(sizes.len() / 2)
        && *median > LINES_MEDIAN
    {
        faults.push(format!(
            "half of the files have over {LINES_MEDIAN} lines, the one in the middle {median}"
        ));
    }
    faults
}

/// `foo.rs` beside `foo/`, never `mod.rs`; and one integration test binary for each package, `tests/it/main.rs`, because
/// each further one is linked anew. This package's is called after what it does.
fn places(tree: &Tree) -> Vec<String> {
    let misplaced = |path: &str| {
        if path.ends_with("/mod.rs") {
            return Some(format!("{path}: name it after its folder"));
        }
        let (_, inner) = path.split_once("/tests/")?;
        let binary = !inner.contains('/') || (inner.ends_with("/main.rs") && inner != "it/main.rs");
        let known = path.contains("/src/") || path == "docs/tests/tidy.rs";
        (binary && !known).then(|| format!("{path}: integration tests are modules of tests/it/main.rs"))
    };
    tree.rust().filter_map(|(path, _)| misplaced(path)).collect()
}

#[test]
fn files_are_short() {
    assert_tidy(sizes(&Tree::house()));
}

#[test]
fn files_that_are_long_are_found() {
    let (short, long, endless) = ("x\n".repeat(10), "x\n".repeat(501), "x\n".repeat(801));
    assert!(sizes(&Tree::of(&[("a.rs", &short)])).is_empty());
    assert_eq!(sizes(&Tree::of(&[("a.rs", &long)])).len(), 2, "over 500 and over 200");
    assert_eq!(sizes(&Tree::of(&[("a.rs", &endless)])).len(), 3);
    assert!(sizes(&Tree::of(&[("a/tests.rs", &endless), ("a/tests/it/b.rs", &endless)])).is_empty());
}

#[test]
fn files_stand_where_they_are_looked_for() {
    assert_tidy(places(&Tree::house()));
}

#[test]
fn files_that_stand_elsewhere_are_found() {
    for wrong in ["a/src/b/mod.rs", "a/tests/more.rs", "a/tests/more/main.rs"] {
        assert_eq!(places(&Tree::of(&[(wrong, "")])).len(), 1, "{wrong}");
    }
    for right in [
        "a/src/b.rs",
        "a/src/tests/b.rs",
        "a/tests/it/main.rs",
        "a/tests/it/b.rs",
    ] {
        assert!(places(&Tree::of(&[(right, "")])).is_empty(), "{right}");
    }
}
