//! What a file is written in, as far as its name tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::path::RawPath;

/// The languages that a rule or the comment scanner knows; everything else is [`Language::Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants are the names of the languages")]
pub enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Go,
    C,
    Cpp,
    Java,
    Kotlin,
    Swift,
    CSharp,
    Ruby,
    Php,
    Shell,
    Dockerfile,
    Make,
    Yaml,
    Toml,
    Json,
    Markdown,
    Markup,
    Css,
    Sql,
    Text,
}

/// How comments and strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `//`, nested `/* */`, raw strings, lifetimes.
    Rust,
    /// `//`, `/* */`, double quotes, characters.
    C,
    /// Like C, with template strings and regular expressions.
    Script,
    /// `#`, both quotes, triple quotes.
    Python,
    /// `#` at the start of a word, both quotes.
    Shell,
    /// `#` and quotes on one line: YAML, TOML, Ruby.
    Hash,
    /// `--`, `/* */`, single quotes.
    Sql,
    /// `<!-- -->`.
    Markup,
    /// `/* */`, both quotes.
    Css,
    /// No comments known.
    Plain,
}

impl Language {
    /// Tells by file name and ending.
    pub fn of(path: &RawPath) -> Self {
        let name = String::from_utf8_lossy(path.file_name()).to_ascii_lowercase();
        let by_name = match name.as_str() {
            "makefile" | "gnumakefile" => Some(Self::Make),
            "gemfile" | "rakefile" | "vagrantfile" => Some(Self::Ruby),
            ".bashrc" | ".profile" | ".zshrc" | ".envrc" => Some(Self::Shell),
            other if other == "dockerfile" || other == "containerfile" || other.starts_with("dockerfile.") => {
                Some(Self::Dockerfile)
            }
            _ => None,
        };
        by_name.unwrap_or_else(|| Self::of_extension(&path.extension()))
    }

    fn of_extension(extension: &str) -> Self {
        match extension {
            "rs" => Self::Rust,
            "py" | "pyi" | "pyw" => Self::Python,
            "js" | "mjs" | "cjs" | "jsx" => Self::JavaScript,
            "ts" | "mts" | "cts" | "tsx" | "vue" | "svelte" => Self::TypeScript,
            "go" => Self::Go,
            "c" | "h" => Self::C,
            "cc" | "cpp" | "cxx" | "hpp" | "hh" | "hxx" | "m" | "mm" => Self::Cpp,
            "java" | "groovy" | "gradle" | "scala" => Self::Java,
            "kt" | "kts" => Self::Kotlin,
            "swift" => Self::Swift,
            "cs" => Self::CSharp,
            "rb" | "rake" | "gemspec" => Self::Ruby,
            "php" => Self::Php,
            "sh" | "bash" | "zsh" | "ksh" => Self::Shell,
            "dockerfile" => Self::Dockerfile,
            "mk" => Self::Make,
            "yml" | "yaml" => Self::Yaml,
            "toml" | "ini" | "cfg" | "conf" | "properties" | "env" => Self::Toml,
            "json" | "jsonc" | "json5" => Self::Json,
            "md" | "markdown" | "mdx" => Self::Markdown,
            "html" | "htm" | "xml" | "svg" | "xhtml" => Self::Markup,
            "css" | "scss" | "less" => Self::Css,
            "sql" => Self::Sql,
            _ => Self::Text,
        }
    }

    /// Tells by the first line of a file without an ending (`#!/bin/sh`).
    pub fn of_content(path: &RawPath, head: &[u8]) -> Self {
        let by_name = Self::of(path);
        if by_name != Self::Text || !head.starts_with(b"#!") {
            return by_name;
        }
        let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        let runs = |name: &str| first.contains(name);
        if runs("python") {
            Self::Python
        } else if runs("node") || runs("deno") {
            Self::JavaScript
        } else if runs("ruby") {
            Self::Ruby
        } else if runs("php") {
            Self::Php
        } else if runs("sh") {
            Self::Shell
        } else {
            Self::Text
        }
    }

    /// How its comments and strings are written.
    pub fn syntax(self) -> Syntax {
        match self {
            Self::Rust => Syntax::Rust,
            Self::C | Self::Cpp | Self::Java | Self::Kotlin | Self::Swift | Self::CSharp | Self::Php => Syntax::C,
            Self::JavaScript | Self::TypeScript | Self::Go => Syntax::Script,
            Self::Python => Syntax::Python,
            Self::Shell | Self::Dockerfile | Self::Make => Syntax::Shell,
            Self::Ruby | Self::Yaml | Self::Toml => Syntax::Hash,
            Self::Sql => Syntax::Sql,
            Self::Markdown | Self::Markup => Syntax::Markup,
            Self::Css => Syntax::Css,
            Self::Json | Self::Text => Syntax::Plain,
        }
    }

    /// Whether it is a programming language, so that the file deserves tests and short functions.
    pub fn is_code(self) -> bool {
        match self {
            Self::Rust
            | Self::Python
            | Self::JavaScript
            | Self::TypeScript
            | Self::Go
            | Self::C
            | Self::Cpp
            | Self::Java
            | Self::Kotlin
            | Self::Swift
            | Self::CSharp
            | Self::Ruby
            | Self::Php => true,
            Self::Shell
            | Self::Dockerfile
            | Self::Make
            | Self::Yaml
            | Self::Toml
            | Self::Json
            | Self::Markdown
            | Self::Markup
            | Self::Css
            | Self::Sql
            | Self::Text => false,
        }
    }

    /// Whether its lines are commands that a machine runs to build or deploy.
    pub fn is_script(self) -> bool {
        matches!(self, Self::Shell | Self::Dockerfile | Self::Make | Self::Yaml)
    }
}

/// The part a file plays in its package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Code that others call.
    Library,
    /// The code of a program.
    Program,
    /// Tests, benchmarks, examples and their data.
    Test,
    /// A script that builds the package.
    Build,
}

impl Role {
    /// Tells by the path, and by which other files there are (`exists`), where the listing is known.
    pub fn of(path: &RawPath, exists: impl Fn(&RawPath) -> bool) -> Self {
        let package = package(path, &exists);
        let inside = path.as_bytes().get(package.as_bytes().len()..).unwrap_or_default();
        let inside = RawPath::new(inside.strip_prefix(b"/").unwrap_or(inside));
        let directories: Vec<String> = inside
            .parent()
            .components()
            .map(|part| String::from_utf8_lossy(part).to_ascii_lowercase())
            .collect();
        let name = String::from_utf8_lossy(path.file_name()).to_ascii_lowercase();
        if directories
            .iter()
            .any(|directory| TEST_DIRECTORIES.contains(&directory.as_str()))
            || is_test_name(&name)
        {
            return Self::Test;
        }
        if Language::of(path) != Language::Rust {
            return Self::Library;
        }
        let join = |rest: &str| {
            let mut joined = package.as_bytes().to_vec();
            if !joined.is_empty() {
                joined.push(b'/');
            }
            joined.extend_from_slice(rest.as_bytes());
            RawPath::new(joined)
        };
        let top = directories.first().map(String::as_str);
        if directories.is_empty() && name == "build.rs" {
            Self::Build
        } else if (top == Some("src") && directories.get(1).map(String::as_str) == Some("bin"))
            || inside.as_bytes() == b"src/main.rs"
            || (top == Some("src") && exists(&join("src/main.rs")) && !exists(&join("src/lib.rs")))
        {
            Self::Program
        } else {
            Self::Library
        }
    }
}

const TEST_DIRECTORIES: [&str; 18] = [
    "test",
    "tests",
    "__tests__",
    "testing",
    "testdata",
    "test-data",
    "test_data",
    "fixtures",
    "snapshots",
    "spec",
    "specs",
    "e2e",
    "benches",
    "bench",
    "benchmarks",
    "examples",
    "example",
    "mocks",
];

fn is_test_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    matches!(
        stem,
        "test" | "tests" | "testdata" | "conftest" | "testing" | "test_util" | "test_utils" | "bench" | "benches"
    ) || stem.starts_with("test_")
        || stem.starts_with("tests_")
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
        || stem.ends_with("_bench")
        || [".test.", ".spec.", ".stories.", ".cy."]
            .iter()
            .any(|part| name.contains(part))
        || (name.ends_with("test.java") || name.ends_with("tests.cs") || name.ends_with("test.kt"))
}

/// The directory of the nearest `Cargo.toml` above a file; the top when none is known.
fn package(path: &RawPath, exists: &impl Fn(&RawPath) -> bool) -> RawPath {
    let mut directory = path.parent();
    while !directory.is_empty() {
        let manifest = RawPath::new([directory.as_bytes(), b"/Cargo.toml"].concat());
        if exists(&manifest) {
            return directory;
        }
        directory = directory.parent();
    }
    RawPath::default()
}

#[cfg(test)]
mod tests;
