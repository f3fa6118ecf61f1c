//! What can be wrong with what the user gave, and what to do about it.

/// A review that cannot begin or go on. Each names its remedy in [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The `git` program could not be started.
    #[error("git could not be started")]
    GitMissing(#[source] std::io::Error),
    /// The path does not exist or is no directory.
    #[error("{path} is not a directory")]
    NoDirectory {
        /// As the user gave it.
        path: String,
    },
    /// There is no repository at the path.
    #[error("{path} is not in a git repository")]
    NotARepository {
        /// As the user gave it.
        path: String,
    },
    /// Git refuses a repository that belongs to another user.
    #[error("git does not trust the owner of {path}")]
    DubiousOwnership {
        /// As the user gave it.
        path: String,
    },
    /// The repository has no commit to review.
    #[error("{path} has no commits yet")]
    NoCommits {
        /// As the user gave it.
        path: String,
    },
    /// A name that is no commit here.
    #[error("unknown revision `{revision}`")]
    UnknownRevision {
        /// As the user gave it.
        revision: String,
        /// Whether the clone lacks history that the revision may stand in.
        shallow: bool,
    },
    /// Two commits without a common ancestor in this clone.
    #[error("`{left}` and `{right}` have no common ancestor here")]
    NoMergeBase {
        /// The left side.
        left: String,
        /// The right side.
        right: String,
        /// Whether the clone lacks history.
        shallow: bool,
    },
    /// A range that does not have the form `A..B`.
    #[error("`{range}` is not a range of commits")]
    BadRange {
        /// As the user gave it.
        range: String,
    },
    /// Objects that the history names are not in this clone.
    #[error("the clone lacks objects that the review needs")]
    MissingObjects {
        /// What git said.
        detail: String,
    },
    /// A diff that cannot be read.
    #[error("the diff is malformed in line {line}: {reason}")]
    BadDiff {
        /// One-based.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A diff file without a change in it.
    #[error("{path} holds no diff")]
    EmptyDiff {
        /// As the user gave it.
        path: String,
    },
    /// Input beyond what one review takes.
    #[error("{what} is larger than {limit_mib} MiB")]
    TooLarge {
        /// Which input.
        what: String,
        /// The limit.
        limit_mib: u64,
    },
    /// A git command that did not end in time.
    #[error("`git {command}` did not end within {seconds} s")]
    Timeout {
        /// The subcommand.
        command: String,
        /// The time it had.
        seconds: u64,
    },
    /// A git command that failed for another reason.
    #[error("`git {command}` failed: {detail}")]
    Git {
        /// The subcommand.
        command: String,
        /// The first line it wrote to its error stream.
        detail: String,
    },
    /// The Claude command line is wanted and not there.
    #[error("the claude command line is not on the PATH")]
    NoClaude,
    /// A file that could not be read or written.
    #[error("failed to {action} {path}")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What to do next, as one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::GitMissing(_) => "install git 2.30 or newer and see that it is on the PATH".into(),
            Self::NoDirectory { .. } => "give the directory of a git repository, or `.` for this one".into(),
            Self::NotARepository { .. } => {
                "run `git init` and commit there, give another path, or review a diff with `--diff FILE`".into()
            }
            Self::DubiousOwnership { path } => {
                format!("if you trust it: git config --global --add safe.directory {path}")
            }
            Self::NoCommits { .. } => "commit something first: only committed files are reviewed".into(),
            Self::UnknownRevision { shallow: true, .. } | Self::NoMergeBase { shallow: true, .. } => {
                "the clone is shallow; fetch more history with `git fetch --unshallow`".into()
            }
            Self::UnknownRevision { .. } => "see `git log --oneline --all` for what there is".into(),
            Self::NoMergeBase { .. } => "compare the two commits directly with `A..B`".into(),
            Self::BadRange { .. } => "write `A..B` (what B changed against A) or `A...B` (since they parted)".into(),
            Self::MissingObjects { .. } => {
                "the clone is partial; fetch them with `git fetch --refetch --no-filter` and try again".into()
            }
            Self::BadDiff { .. } => "make the diff with `git diff` or `diff -u` and do not edit it".into(),
            Self::EmptyDiff { .. } => "pipe a diff in, for example `git diff | hive-review --diff -`".into(),
            Self::TooLarge { .. } => "review it in smaller parts".into(),
            Self::Timeout { .. } => "see whether the disk is slow or another git process holds a lock".into(),
            Self::Git { .. } => {
                "run the command by hand to see all it says; `git fsck` finds a damaged repository".into()
            }
            Self::NoClaude => "install Claude Code and log in, or review offline with `--model rules`".into(),
            Self::File { .. } => "see that the path exists and that you may use it".into(),
        }
    }
}

/// What an agent fails with: the message and the hint of the error, and worth another attempt.
pub(crate) fn failure(error: Error) -> hive::Failure {
    let hint = error.hint();
    hive::Failure::from(error).with_hint(hint)
}
