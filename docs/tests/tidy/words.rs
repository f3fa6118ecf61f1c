//! What must not stand in any file: where it was written, and where packages come from.

use super::tree::{Tree, assert_tidy};

/// The words, taken apart so that this file may stand in the house.
fn forbidden() -> Vec<(String, &'static str)> {
    let word = |parts: &[&str]| parts.concat();
    let machine = "is a path of one machine";
    let registry = "names a package registry; let the tools know where packages come from";
    vec![
        (word(&["/wo", "rk/"]), machine),
        (word(&["bash", "_jobs"]), machine),
        (word(&["/ho", "me/"]), machine),
        (word(&["/ro", "ot/"]), machine),
        (word(&["crates", ".io"]), registry),
        (word(&["npmjs", ".org"]), registry),
        (word(&["npmjs", ".com"]), registry),
        (word(&["pypi", ".org"]), registry),
    ]
}

fn mentions(tree: &Tree) -> Vec<String> {
    let words = forbidden();
    let mut faults = Vec::new();
    // Cargo writes the lock files, with the registry in them.
    for (path, text) in tree.files().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (number, line) in text.lines().enumerate() {
            for (word, why) in &words {
                if stands_alone(line, word) {
                    faults.push(format!("{path}:{}: `{word}` {why}", number + 1));
                }
            }
        }
    }
    faults
}

/// Whether `word` is in `line` and is not the tail of a longer one, as in `some/network/…`.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || before == '.' || before == '}')
    })
}

#[test]
fn nothing_tells_where_it_was_written() {
    assert_tidy(mentions(&Tree::house()));
}

#[test]
fn what_tells_it_is_found() {
    for (word, _) in forbidden() {
        assert_eq!(
            mentions(&Tree::of(&[("a.md", &format!("see `{word}x`"))])).len(),
            1,
            "{word}"
        );
    }
    assert!(mentions(&Tree::of(&[("a.md", "a fine day\nout/work/there")])).is_empty());
}
