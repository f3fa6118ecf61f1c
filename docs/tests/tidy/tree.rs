//! The files of the house, or of a sample that breaks a rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Text files by their path from the top, with `/` between folders. What is no text is there without its content.
pub(crate) struct Tree(BTreeMap<String, String>);

/// What nobody wrote here: build output, the repository itself, and what a run of the examples leaves behind.
const SKIPPED: &[&str] = &["target", ".git", ".hive"];

/// Rust that a program wrote and a test compares with its source; style is no concern there.
const GENERATED: &[&str] = &["hive-plugin-sdk/src/bindings.rs"];

impl Tree {
    /// The house.
    pub(crate) fn house() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("docs stands in the workspace");
        let mut files = BTreeMap::new();
        read(top, "", &mut files);
        assert!(files.contains_key("Cargo.toml"), "no workspace at {}", top.display());
        Self(files)
    }

    /// A sample.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// All files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Rust that somebody wrote.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files()
            .filter(|(path, _)| path.ends_with(".rs") && !GENERATED.contains(path))
    }

    /// The manifests of the packages, with the folder that each stands in, without a `/` at its end.
    pub(crate) fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files()
            .filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, text)))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether something stands at this path, a file or a folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.0.contains_key(path) || self.0.keys().any(|file| file.starts_with(&folder))
    }
}

/// Whether a Rust file holds tests only, or what only tests use.
pub(crate) fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let entry = entry.expect("the folder is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry.file_type().expect("the entry has a type");
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            read(&entry.path(), &path, files);
        } else if kind.is_file() {
            // A file that vanishes meanwhile is none; one that is no text has none.
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            files.insert(path, String::from_utf8(bytes).unwrap_or_default());
        }
    }
}

/// Fails with every fault in a line of its own.
pub(crate) fn assert_tidy(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
