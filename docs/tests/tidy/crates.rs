//! Which crate may know which.

use super::tree::{Tree, assert_tidy};

/// What each package may depend on, of the house's own. One that is missing here may depend on nothing.
const MAY_USE: &[(&str, &[&str])] = &[
    ("hive-errors", &[]),
    ("hive-core", &["hive-errors", "hive-core-bench", "hive-core-vfs"]),
    ("hive-core-bench", &[]),
    ("hive-core-vfs", &[]),
    ("hive-bus", &["hive-errors", "hive-core", "hive-core-bench"]),
    ("hive-bus-fuzz", &["hive-bus"]),
    (
        "hive-orchestration",
        &["hive-errors", "hive-core", "hive-core-bench", "hive-bus"],
    ),
    ("hive-plugin-sdk", &[]),
    (
        "hive-plugin-host",
        &["hive-errors", "hive-core", "hive-bus", "hive-orchestration"],
    ),
    ("hive-docs", &["hive-errors", "hive-orchestration", "hive-plugin-sdk"]),
];

/// An example shows what a user sees: the façade, and the plugins' two sides.
const EXAMPLES_MAY_USE: &[&str] = &["hive-orchestration", "hive-plugin-sdk", "hive-plugin-host"];

/// The kinds of dependencies. Tests obey the same order: what a test needs from above belongs to a package above.
const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

fn layers(tree: &Tree) -> Vec<String> {
    let manifests: Vec<(&str, toml::Table)> = tree
        .packages()
        .map(|(folder, text)| {
            (
                folder,
                text.parse()
                    .unwrap_or_else(|error| panic!("{folder}/Cargo.toml: {error}")),
            )
        })
        .collect();
    let names: Vec<&str> = manifests.iter().filter_map(|(_, manifest)| name(manifest)).collect();
    let mut faults = Vec::new();
    for (folder, manifest) in &manifests {
        let Some(own) = name(manifest) else { continue };
        let allowed = if folder.starts_with("examples/") {
            EXAMPLES_MAY_USE
        } else {
            MAY_USE
                .iter()
                .find(|(name, _)| *name == own)
                .map_or(&[][..], |(_, allowed)| allowed)
        };
        for used in dependencies(manifest) {
            // A package may name itself in its tests, to switch a feature on.
            if names.contains(&used.as_str()) && used != own && !allowed.contains(&used.as_str()) {
                faults.push(format!("{own} must not know {used}"));
            }
        }
    }
    faults
}

fn name(manifest: &toml::Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

/// The packages that a manifest names, by their real names, also those for one target only.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let places = targets
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(toml::Value::as_table);
    std::iter::once(manifest)
        .chain(places)
        .flat_map(|place| TABLES.iter().filter_map(|table| place.get(*table)?.as_table()))
        .flatten()
        .map(|(key, value)| {
            value
                .get("package")
                .and_then(toml::Value::as_str)
                .unwrap_or(key)
                .to_owned()
        })
        .collect()
}

#[test]
fn crates_only_know_those_below() {
    assert_tidy(layers(&Tree::house()));
}

#[test]
fn crates_that_look_up_are_found() {
    let core = ("hive-core/Cargo.toml", "[package]\nname = 'hive-core'");
    let bus = |dependency: &str| format!("[package]\nname = 'hive-bus'\n{dependency}");
    let tree = |lower: &str, text: &str| {
        layers(&Tree::of(&[
            core,
            ("hive-bus/Cargo.toml", text),
            ("x/Cargo.toml", lower),
        ]))
    };
    let upper = |table: &str| format!("[package]\nname = 'hive-errors'\n[{table}]\nhive-bus = {{ path = '..' }}");
    assert!(tree("", &bus("[dependencies]\nhive-core.workspace = true")).is_empty());
    for table in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
        assert_eq!(
            tree(&upper(table), &bus("")),
            ["hive-errors must not know hive-bus"],
            "{table}"
        );
    }
    let renamed = "[package]\nname = 'hive-plugin-sdk'\n[dependencies]\ninner = { package = 'hive-core', path = '..' }";
    assert_eq!(tree(renamed, &bus("")), ["hive-plugin-sdk must not know hive-core"]);
    let example = (
        "examples/a/Cargo.toml",
        "[package]\nname = 'a'\n[dependencies]\nhive-core.workspace = true",
    );
    assert_eq!(layers(&Tree::of(&[core, example])), ["a must not know hive-core"]);
}
