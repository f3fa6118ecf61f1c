//! What is not reviewed, and why.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::file::SourceFile;
use crate::language::{Language, Syntax};
use crate::limits;
use crate::path::RawPath;
use crate::source::{Entry, EntryKind, Loaded};

/// A file that is not reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Its path.
    pub path: RawPath,
    /// Why.
    pub reason: SkipReason,
}

/// Why a file is not reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SkipReason {
    /// It holds no text.
    Binary,
    /// A program wrote it.
    Generated,
    /// It is a lock file of a package manager.
    Lockfile,
    /// It was made small for machines.
    Minified,
    /// It is somebody else's code, copied here.
    Vendored,
    /// It is larger than a review takes.
    TooLarge,
    /// It is a symbolic link.
    Link,
    /// It is a commit of another repository.
    Submodule,
    /// The change deleted it.
    Deleted,
    /// The change added no line to it.
    NothingAdded,
    /// This clone does not have its content.
    Missing,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Generated => "generated",
            Self::Lockfile => "lock file",
            Self::Minified => "minified",
            Self::Vendored => "vendored",
            Self::TooLarge => "too large",
            Self::Link => "symbolic link",
            Self::Submodule => "submodule",
            Self::Deleted => "deleted",
            Self::NothingAdded => "no line added",
            Self::Missing => "content not in this clone",
        })
    }
}

const VENDOR_DIRECTORIES: [&[u8]; 12] = [
    b"node_modules",
    b"bower_components",
    b"vendor",
    b"third_party",
    b"third-party",
    b"thirdparty",
    b"site-packages",
    b".venv",
    b"__pycache__",
    b"Pods",
    b"Godeps",
    b".yarn",
];

const LOCK_FILES: [&[u8]; 20] = [
    b"Cargo.lock",
    b"package-lock.json",
    b"npm-shrinkwrap.json",
    b"yarn.lock",
    b"pnpm-lock.yaml",
    b"bun.lock",
    b"bun.lockb",
    b"deno.lock",
    b"poetry.lock",
    b"uv.lock",
    b"Pipfile.lock",
    b"pdm.lock",
    b"composer.lock",
    b"Gemfile.lock",
    b"go.sum",
    b"flake.lock",
    b"mix.lock",
    b"pubspec.lock",
    b"Podfile.lock",
    b"gradle.lockfile",
];

/// What the name alone tells.
pub fn by_name(path: &RawPath) -> Option<SkipReason> {
    let name = path.file_name();
    let has_ending = |ending: &[u8]| name.len() > ending.len() && name.ends_with(ending);
    if path
        .parent()
        .components()
        .any(|part| VENDOR_DIRECTORIES.contains(&part))
        || is_target(path)
    {
        Some(SkipReason::Vendored)
    } else if LOCK_FILES.contains(&name) {
        Some(SkipReason::Lockfile)
    } else if [&b".min.js"[..], b".min.css", b".map", b"-min.js"]
        .iter()
        .any(|ending| has_ending(ending))
    {
        Some(SkipReason::Minified)
    } else if [
        &b".pb.go"[..],
        b"_pb2.py",
        b"_pb2_grpc.py",
        b".g.dart",
        b".designer.cs",
        b".snap",
    ]
    .iter()
    .any(|ending| has_ending(ending))
    {
        Some(SkipReason::Generated)
    } else if BINARY_ENDINGS.contains(&path.extension().as_str()) {
        Some(SkipReason::Binary)
    } else {
        None
    }
}

/// Cargo's build directory; `target` alone may well be a source directory.
fn is_target(path: &RawPath) -> bool {
    let parts: Vec<&[u8]> = path.components().collect();
    parts.windows(2).any(|pair| {
        matches!(
            pair,
            [b"target", b"debug" | b"release" | b"doc" | b"package" | b"classes"]
        )
    })
}

/// Endings of formats that hold no text, so that a listing can tell them without reading.
const BINARY_ENDINGS: [&str; 46] = [
    "png", "jpg", "jpeg", "gif", "webp", "avif", "ico", "icns", "bmp", "tiff", "pdf", "zip", "gz", "tgz", "bz2", "xz",
    "zst", "7z", "rar", "tar", "jar", "war", "class", "pyc", "o", "a", "so", "dylib", "dll", "exe", "wasm", "woff",
    "woff2", "ttf", "otf", "eot", "mp3", "mp4", "ogg", "wav", "webm", "mov", "sqlite", "db", "bin", "dat",
];

/// What the listing tells.
pub fn by_listing(entry: &Entry) -> Option<SkipReason> {
    match entry.kind {
        EntryKind::Link => Some(SkipReason::Link),
        EntryKind::Submodule => Some(SkipReason::Submodule),
        EntryKind::Deleted => Some(SkipReason::Deleted),
        EntryKind::File => {
            let nothing = entry
                .change
                .as_ref()
                .is_some_and(|change| change.added.is_empty() && !change.binary);
            let large = entry.size.is_some_and(|size| size > limits::FILE_BYTES_MAX);
            // What a name says is more telling than the size.
            by_name(&entry.path)
                .or(nothing.then_some(SkipReason::NothingAdded))
                .or(large.then_some(SkipReason::TooLarge))
        }
    }
}

/// What loading told.
pub fn by_content(loaded: &Loaded) -> Option<SkipReason> {
    match loaded {
        Loaded::Whole(_) | Loaded::Pieces(_) => None,
        Loaded::TooLarge => Some(SkipReason::TooLarge),
        Loaded::Missing => Some(SkipReason::Missing),
    }
}

/// Lines at the top in which a generator says that it wrote the file.
const HEAD_LINES: usize = 12;
/// A line that nobody wrote by hand.
const LINE_BYTES_MAX: usize = 5_000;

/// What the text tells.
pub fn by_text(file: &SourceFile) -> Option<SkipReason> {
    if file
        .lines()
        .take(HEAD_LINES)
        .any(|line| says_generated(file, line.number))
    {
        return Some(SkipReason::Generated);
    }
    let code = matches!(
        file.language,
        Language::JavaScript | Language::Css | Language::Json | Language::Markup
    );
    let longest = file.lines().map(|line| line.text.len()).max().unwrap_or(0);
    (code && longest > LINE_BYTES_MAX).then_some(SkipReason::Minified)
}

fn says_generated(file: &SourceFile, number: u32) -> bool {
    let comment = if file.language.syntax() == Syntax::Plain {
        file.line(number).map(|line| line.text.to_owned()).unwrap_or_default()
    } else {
        file.comment_on(number).to_owned()
    };
    // Only what stands first in a comment is a statement about the file.
    let said = comment
        .trim_start_matches(['/', '*', '#', '-', '!', '<', ';', ' ', '\t'])
        .to_ascii_lowercase();
    said.starts_with("@generated")
        || said.starts_with("<auto-generated")
        || said.starts_with("auto-generated")
        || said.starts_with("autogenerated")
        || (said.contains("generated") && said.contains("do not edit"))
        || said.starts_with("this file is automatically generated")
        || said.starts_with("automatically generated by")
}
