//! Why each dependency is there.

use super::tree::{Tree, assert_tidy};

/// Each line of `[workspace.dependencies]` stands below a comment that says which problem it solves; lines that solve the
/// same one stand together. Packages take their versions from there.
fn reasons(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    let mut inside = false;
    let mut explained = false;
    for (number, line) in tree.get("Cargo.toml").unwrap_or_default().lines().enumerate() {
        match line.trim() {
            "" => explained = false,
            header if header.starts_with('[') => inside = header == "[workspace.dependencies]",
            comment if comment.starts_with('#') => explained = true,
            entry if inside && !explained => {
                faults.push(format!("Cargo.toml:{}: say why it is needed: {entry}", number + 1));
            }
            _ => {}
        }
    }
    for (folder, text) in tree.packages() {
        let manifest: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{folder}/Cargo.toml: {error}"));
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest
                .get(table)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
            {
                if value.is_str() || value.get("version").is_some() {
                    faults.push(format!(
                        "{folder}/Cargo.toml: {name} has a version; put it into the workspace's table"
                    ));
                }
            }
        }
    }
    faults
}

#[test]
fn dependencies_have_reasons() {
    assert_tidy(reasons(&Tree::house()));
}

#[test]
fn dependencies_without_are_found() {
    let check = |top: &str, package: &str| reasons(&Tree::of(&[("Cargo.toml", top), ("a/Cargo.toml", package)])).len();
    let top = "[workspace.dependencies]\n# Because.\na = '1'\nb = '1'\n";
    assert_eq!(check(top, "[dependencies]\na.workspace = true"), 0);
    assert_eq!(check(&format!("{top}\nc = '1'\n"), ""), 1);
    assert_eq!(check(top, "[dependencies]\na = '1'"), 1);
    assert_eq!(check(top, "[dev-dependencies]\na = { version = '1' }"), 1);
}
