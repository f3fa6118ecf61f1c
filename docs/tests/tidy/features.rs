//! What each Cargo feature is for.

use super::tree::{Tree, assert_tidy};

/// Each feature has a `##` comment in the manifest, and its name in the crate's own page.
fn documented(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, manifest) in tree.packages() {
        let root = format!("{folder}/src/lib.rs");
        let page: String = tree
            .get(&root)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("//!"))
            .collect();
        let mut inside = false;
        let mut last = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line.trim() == "[features]";
            } else if inside && let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                let name = name.trim();
                if name != "default" && !last.starts_with("## ") {
                    faults.push(format!(
                        "{folder}/Cargo.toml: say what the feature {name} adds, in a `##` comment"
                    ));
                }
                if name != "default" && !page.contains(&format!("`{name}`")) {
                    faults.push(format!(
                        "{root}: say what the feature `{name}` adds, in the crate's page"
                    ));
                }
            }
            last = line;
        }
    }
    faults
}

#[test]
fn features_are_documented() {
    assert_tidy(documented(&Tree::house()));
}

#[test]
fn features_that_are_not_are_found() {
    let check =
        |manifest: &str, page: &str| documented(&Tree::of(&[("a/Cargo.toml", manifest), ("a/src/lib.rs", page)])).len();
    let manifest = "[features]\ndefault = ['b']\n## Adds b.\nb = []\n";
    assert_eq!(check(manifest, "//! - `b`: adds b.\n"), 0);
    assert_eq!(check(manifest, "//! Nothing. `c`\n"), 1);
    assert_eq!(check(manifest, "// `b`\n"), 1);
    assert_eq!(check("[features]\nb = []\n", "//! `b`\n"), 1);
    assert_eq!(check("[dependencies]\nb = []\n", ""), 0);
}
