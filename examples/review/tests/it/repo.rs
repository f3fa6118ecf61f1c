//! Repositories and runs of the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with a repository in it, and room for reports beside it.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.project()).unwrap();
        home
    }

    pub(crate) fn with_repository() -> Self {
        let home = Self::new();
        home.git(&["init", "-q", "-b", "main"]);
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.0.path().join("project")
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.project(), args)
    }

    /// The program, working in this directory on this project, with its report in `out`.
    pub(crate) fn review(&self, out: &str, args: &[&str]) -> Command {
        let mut command = program(self.path());
        command
            .arg(self.project())
            .arg("--out")
            .arg(self.path().join(out))
            .args(args);
        command
    }

    pub(crate) fn report(&self, out: &str, name: &str) -> String {
        std::fs::read_to_string(self.path().join(out).join(name)).unwrap()
    }
}

pub(crate) fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hive-review"));
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs git away from the user's own configuration.
pub(crate) fn git(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "protocol.file.allow=always", "-c", "commit.gpgSign=false"])
        .args(args)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
        .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
        .envs([
            ("GIT_AUTHOR_DATE", "2024-01-02T03:04:05Z"),
            ("GIT_COMMITTER_DATE", "2024-01-02T03:04:05Z"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end; the exit code with everything that was printed.
pub(crate) fn run(mut command: Command) -> (i32, String) {
    let output: Output = command.output().unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    (output.status.code().unwrap_or(-1), printed)
}
