//! A repository and its commits.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ask, Git};
use crate::error::Error;
use crate::limits;
use crate::path::RawPath;

/// A repository that git can read.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) git: Git,
    shown: String,
    identity: RawPath,
    name: String,
    scope: RawPath,
    shallow: bool,
    /// The top of the work tree; `None` in a bare repository.
    pub(super) work_tree: Option<RawPath>,
}

/// A commit and what the report says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Git's name of it, in full.
    pub oid: String,
    /// When it was committed, as RFC 3339 in UTC.
    pub time: String,
    /// The first line of its message.
    pub subject: String,
}

impl Repository {
    /// Finds the repository that `path` is in.
    ///
    /// # Errors
    /// [`Error::NoDirectory`], [`Error::NotARepository`], [`Error::DubiousOwnership`], or what kept git from starting.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let dir = tokio::fs::canonicalize(path).await.ok().filter(|dir| dir.is_dir());
        let Some(dir) = dir else {
            return Err(Error::NoDirectory { path: shown });
        };
        let git = Git { dir };
        let facts = git
            .must(Ask::new(&[
                "rev-parse",
                "--is-shallow-repository",
                "--is-inside-work-tree",
                "--absolute-git-dir",
            ]))
            .await?;
        let mut facts = facts.splitn(3, |byte| *byte == b'\n');
        let mut fact = || facts.next().unwrap_or_default().to_vec();
        let (shallow, inside) = (fact() == b"true", fact() == b"true");
        let git_dir = RawPath::new(without_newline(fact()));
        let (scope, work_tree) = if inside {
            let scope = without_newline(git.must(Ask::new(&["rev-parse", "--show-prefix"])).await?);
            let top = without_newline(git.must(Ask::new(&["rev-parse", "--show-toplevel"])).await?);
            (
                RawPath::new(scope.strip_suffix(b"/").unwrap_or(&scope)),
                Some(RawPath::new(top)),
            )
        } else {
            (RawPath::default(), None)
        };
        let inner = if git_dir.file_name() == b".git" {
            git_dir.parent()
        } else {
            git_dir.clone()
        };
        let top = work_tree.clone().unwrap_or(inner);
        let name = top.file_name();
        let name = tidy_name(name.strip_suffix(b".git").unwrap_or(name));
        Ok(Self {
            git,
            shown,
            identity: git_dir,
            name,
            scope,
            shallow,
            work_tree,
        })
    }

    /// The repository at a directory that [`Repository::open`] has found good before, without looking again.
    pub fn known(dir: &RawPath) -> Self {
        let dir = dir.to_os();
        Self {
            shown: dir.display().to_string(),
            git: Git { dir },
            identity: RawPath::default(),
            name: String::new(),
            scope: RawPath::default(),
            shallow: false,
            work_tree: None,
        }
    }

    /// The directory that was opened, resolved.
    pub fn dir(&self) -> &Path {
        &self.git.dir
    }

    /// Where git keeps it: the same for every directory inside it.
    pub fn identity(&self) -> &RawPath {
        &self.identity
    }

    /// The name of its directory, fit for a file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory inside the repository that was opened; empty at the top.
    pub fn scope(&self) -> &RawPath {
        &self.scope
    }

    /// Whether older history is missing here.
    pub fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// The commit that the work tree is at.
    ///
    /// # Errors
    /// [`Error::NoCommits`] when there is none yet.
    pub async fn head(&self) -> Result<Commit, Error> {
        match self.commit("HEAD").await {
            Err(Error::UnknownRevision { .. }) => Err(Error::NoCommits {
                path: self.shown.clone(),
            }),
            other => other,
        }
    }

    /// The commit that `revision` names.
    ///
    /// # Errors
    /// [`Error::UnknownRevision`], which knows whether the clone is shallow.
    pub async fn commit(&self, revision: &str) -> Result<Commit, Error> {
        let unknown = || Error::UnknownRevision {
            revision: revision.to_owned(),
            shallow: self.shallow,
        };
        // A leading dash would be read as an option by git versions that do not know `--end-of-options` here.
        if revision.is_empty() || revision.starts_with('-') || revision.contains(char::is_control) {
            return Err(unknown());
        }
        let wanted = format!("{revision}^{{commit}}");
        let answer = self
            .git
            .ask(Ask::new(&[
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &wanted,
            ]))
            .await?;
        let oid = String::from_utf8(without_newline(answer.stdout)).unwrap_or_default();
        if !answer.ok || oid.is_empty() {
            return Err(unknown());
        }
        let text = self.git.must(Ask::new(&["cat-file", "commit", &oid])).await?;
        let (time, subject) = parse_commit(&text);
        Ok(Commit { oid, time, subject })
    }

    /// The commit at which two histories parted.
    ///
    /// # Errors
    /// [`Error::NoMergeBase`] when they never met, as far as this clone knows.
    pub async fn merge_base(&self, left: &Commit, right: &Commit) -> Result<Commit, Error> {
        let answer = self.git.ask(Ask::new(&["merge-base", &left.oid, &right.oid])).await?;
        let oid = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if !answer.ok || oid.is_empty() {
            let (left, right) = (left.oid.clone(), right.oid.clone());
            return Err(Error::NoMergeBase {
                left,
                right,
                shallow: self.shallow,
            });
        }
        self.commit(&oid).await
    }

    /// The changes from one commit to another, as a unified diff with full object names and no context.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::MissingObjects`] in a partial clone.
    pub async fn diff(&self, base: &Commit, head: &Commit) -> Result<Vec<u8>, Error> {
        let args = [
            "diff-tree",
            "-r",
            "-p",
            "-M",
            "-U0",
            "--full-index",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-relative",
            "--diff-algorithm=histogram",
            "--irreversible-delete",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--submodule=short",
            &base.oid,
            &head.oid,
        ];
        self.git.must(Ask::new(&args).long(limits::DIFF_BYTES_MAX)).await
    }
}

/// Reads what the report says of a commit. Its text may be anything: a commit can be made by hand.
fn parse_commit(text: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(text);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let seconds = head
        .lines()
        .find_map(|line| line.strip_prefix("committer "))
        .and_then(|line| line.rsplit(' ').nth(1)?.parse::<i64>().ok());
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let subject = body.lines().next().unwrap_or_default();
    let subject = subject
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect();
    (
        time.map_or_else(|| "unknown".to_owned(), |time| time.to_string()),
        subject,
    )
}

fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

/// A directory name as part of another path: letters, digits, dots, dashes and underscores; never empty, `.` or `..`.
fn tidy_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let tidy = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => character,
        other if other.is_alphanumeric() => other,
        _ => '-',
    };
    let name: String = name.chars().map(tidy).take(60).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() {
        "repository".to_owned()
    } else {
        name.to_owned()
    }
}
