//! Rules about a change, or a whole tree, seen from far enough away to count its files.

use super::{Checked, Rule, catalog::any as rule};
use crate::finding::{Concern, Finding, fingerprint, tidy};
use crate::language::{Language, Role};
use crate::path::RawPath;
use crate::source::{Entry, EntryKind, Listing};

/// Lines that may be added by one change before it is called very large.
const LARGE_CHANGE_LINES: usize = 1_000;
/// Files that may be changed by one change before it is called very large.
const LARGE_CHANGE_FILES: usize = 50;
/// Paths named in one message.
const NAMED: usize = 5;

/// A file as these rules see it.
#[derive(Clone, Debug)]
pub struct ChangedFile {
    /// Its path.
    pub path: RawPath,
    /// Lines added.
    pub added: usize,
    /// What it is written in.
    pub language: Language,
    /// The part it plays.
    pub role: Role,
    /// Whether it is generated, vendored or binary, by its name or by what the diff says.
    pub unreadable: bool,
    /// Whether the change adds a test inside the file.
    pub adds_test: bool,
    /// The first line the change wrote.
    pub first_line: u32,
}

impl ChangedFile {
    /// From what is known without reading the file; `None` for what is no file any more.
    pub fn of(entry: &Entry, listing: &Listing) -> Option<Self> {
        if matches!(entry.kind, EntryKind::Link | EntryKind::Submodule | EntryKind::Deleted) {
            return None;
        }
        let change = entry.change.as_ref();
        let first_line = change
            .and_then(|change| change.added.ranges().first().copied())
            .map_or(1, |(start, _)| start);
        let generated = crate::skip::by_name(&entry.path).is_some();
        Some(Self {
            path: entry.path.clone(),
            added: change.map_or(0, |change| change.added.len()),
            language: Language::of(&entry.path),
            role: Role::of(&entry.path, |path| listing.exists(path)),
            unreadable: generated || change.is_some_and(|change| change.binary),
            adds_test: change.is_some_and(|change| change.adds_test),
            first_line,
        })
    }
}

/// Runs the rules of one concern on the files of a change (`is_change`) or of a whole tree.
pub fn check_change(files: &[ChangedFile], is_change: bool, concern: Concern) -> Checked {
    let mut findings = Vec::new();
    match concern {
        Concern::Tests if is_change => findings.extend(missing_tests(files)),
        Concern::Style => {
            findings.extend(artifacts(files));
            if is_change {
                findings.extend(large(files));
                findings.extend(unreadable(files));
            }
        }
        Concern::Correctness | Concern::Security | Concern::Tests => {}
    }
    Checked {
        findings,
        omitted: 0,
        note: None,
    }
}

fn missing_tests(files: &[ChangedFile]) -> Option<Finding> {
    let tested = files
        .iter()
        .any(|file| file.added > 0 && (file.role == Role::Test || file.adds_test));
    let code: Vec<&ChangedFile> = files
        .iter()
        .filter(|file| file.added > 0 && file.language.is_code() && file.role != Role::Test && !file.unreadable)
        .collect();
    let lines: usize = code.iter().map(|file| file.added).sum();
    // A line or two is a correction; whoever asks for a test there is soon not listened to.
    if tested || lines < 5 {
        return None;
    }
    let message = format!(
        "{lines} lines of code in {} changed, and no test did: {}",
        files_word(code.len()),
        named(&code)
    );
    code.first()
        .map(|first| finding(&rule::MISSING_TESTS, first, message, "change"))
}

fn large(files: &[ChangedFile]) -> Option<Finding> {
    let read: Vec<&ChangedFile> = files.iter().filter(|file| !file.unreadable && file.added > 0).collect();
    let lines: usize = read.iter().map(|file| file.added).sum();
    if lines <= LARGE_CHANGE_LINES && read.len() <= LARGE_CHANGE_FILES {
        return None;
    }
    let largest = read
        .iter()
        .max_by(|left, right| (left.added, &right.path).cmp(&(right.added, &left.path)))?;
    let message = format!("the change adds {lines} lines in {}", files_word(read.len()));
    Some(finding(&rule::LARGE_CHANGE, largest, message, "change"))
}

fn unreadable(files: &[ChangedFile]) -> Option<Finding> {
    let found: Vec<&ChangedFile> = files
        .iter()
        .filter(|file| file.unreadable && !is_artifact(&file.path))
        .collect();
    let message = format!("{} cannot be reviewed: {}", files_word(found.len()), named(&found));
    found
        .first()
        .map(|first| finding(&rule::GENERATED_IN_CHANGE, first, message, "change"))
}

/// One finding a directory, however many files it holds.
fn artifacts(files: &[ChangedFile]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut last: Option<RawPath> = None;
    for file in files
        .iter()
        .filter(|file| is_artifact(&file.path) && file.role != Role::Test)
    {
        let directory = artifact_root(&file.path);
        if last.as_ref() != Some(&directory) {
            let message = format!("`{directory}` is made by a build and does not belong to the source");
            findings.push(finding(
                &rule::COMMITTED_ARTIFACT,
                file,
                message,
                &directory.to_string(),
            ));
            last = Some(directory);
        }
    }
    findings
}

const ARTIFACT_DIRECTORIES: [&[u8]; 4] = [b"node_modules", b"__pycache__", b".gradle", b".pytest_cache"];
const ARTIFACT_ENDINGS: [&str; 8] = ["pyc", "pyo", "class", "o", "obj", "rlib", "rmeta", "swp"];
const ARTIFACT_NAMES: [&[u8]; 3] = [b".DS_Store", b"Thumbs.db", b".eslintcache"];

fn is_artifact(path: &RawPath) -> bool {
    path.components().any(|part| ARTIFACT_DIRECTORIES.contains(&part))
        || ARTIFACT_NAMES.contains(&path.file_name())
        || ARTIFACT_ENDINGS.contains(&path.extension().as_str())
}

/// The directory of the build product, or the file itself.
fn artifact_root(path: &RawPath) -> RawPath {
    let mut root = Vec::new();
    for part in path.components() {
        if !root.is_empty() {
            root.push(b'/');
        }
        root.extend_from_slice(part);
        if ARTIFACT_DIRECTORIES.contains(&part) {
            break;
        }
    }
    RawPath::new(root)
}

fn files_word(count: usize) -> String {
    if count == 1 {
        "1 file".to_owned()
    } else {
        format!("{count} files")
    }
}

fn named(files: &[&ChangedFile]) -> String {
    let mut names: Vec<String> = files.iter().take(NAMED).map(|file| file.path.to_string()).collect();
    if files.len() > NAMED {
        names.push(format!("and {} more", files.len() - NAMED));
    }
    names.join(", ")
}

fn finding(rule: &'static Rule, file: &ChangedFile, message: String, anchor: &str) -> Finding {
    Finding {
        rule: rule.id.to_owned(),
        title: rule.title.to_owned(),
        severity: rule.severity,
        concern: rule.concern,
        path: file.path.clone(),
        line: file.first_line,
        end_line: file.first_line,
        column: 1,
        message: tidy(&message, 500),
        suggestion: rule.fix.to_owned(),
        excerpt: Vec::new(),
        fingerprint: fingerprint(rule.id, &file.path, anchor, 0),
        suppressed: None,
    }
}

#[cfg(test)]
mod tests;
