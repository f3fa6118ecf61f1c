use std::error::Error as StdError;
use std::{fmt, io};

use expect_test::{Expect, expect};

use super::Report;
use crate::{Error, ErrorKind, Failure};

fn check<'a>(error: impl Into<Report<'a>>, expected: Expect) {
    expected.assert_eq(&Report::new(error).to_string());
}

/// An error of an application around one of Hive's.
#[derive(Debug)]
struct Outer(Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to release")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::PayloadTooLarge, "input is larger than the limit")
        .with("bytes", 2_097_152)
        .with("limit", 1_048_576)
}

#[test]
fn a_hive_error() {
    check(
        &too_large(),
        expect![[r#"
            error[payload-too-large]: input is larger than the limit (bytes=2097152, limit=1048576)
              what to do: store the data elsewhere and pass a reference to it"#]],
    );
    let disk = io::Error::other("no space left on device");
    check(
        &Error::new(ErrorKind::Storage, "failed to commit")
            .with_hint("free some space")
            .with_source(
                Error::new(ErrorKind::DiskFull, "no room left to write")
                    .with("path", "a b")
                    .with_source(disk),
            ),
        expect![[r#"
            error[storage]: failed to commit
              caused by: no room left to write (path="a b")
              caused by: no space left on device
              what to do: free some space"#]],
    );
}

#[test]
fn any_other_error() {
    let foreign = io::Error::other("reset by peer");
    check(&foreign, expect!["error: reset by peer"]);
    let dynamic: &(dyn StdError + 'static) = &foreign;
    check(dynamic, expect!["error: reset by peer"]);
    let boxed: Box<dyn StdError + Send + Sync> = "from text".into();
    check(&*boxed, expect!["error: from text"]);
    check(
        &Outer(too_large()),
        expect![[r#"
            error[payload-too-large]: failed to release
              caused by: input is larger than the limit (bytes=2097152, limit=1048576)
              what to do: store the data elsewhere and pass a reference to it"#]],
    );
}

#[test]
fn a_failure() {
    check(
        &Failure::terminal("a reviewer said no").with("reviewer", "ada"),
        expect![[r#"
            error[agent-failed]: a reviewer said no (reviewer=ada)
              what to do: read the agent's message and the causes below"#]],
    );
    check(
        &Failure::from(Outer(too_large())).with_kind(ErrorKind::TaskDead),
        expect![[r#"
            error[task-dead]: failed to release
              caused by: input is larger than the limit (bytes=2097152, limit=1048576)
              what to do: remove the cause of the last failure, then redrive the task"#]],
    );
}

#[test]
fn an_error_and_the_failure_made_of_it_read_the_same() {
    let error = || {
        Error::new(ErrorKind::Model, "model call failed")
            .with("status", 529)
            .with_source(too_large())
    };
    assert_eq!(
        Report::new(&error()).to_string(),
        Report::new(&Failure::from(error())).to_string()
    );
}

#[test]
fn text_from_outside_cannot_pose_as_another_line_or_drive_the_terminal() {
    let hostile = "first\nerror[internal]: forged\r\n\u{1b}[2J\u{9b}31m\tend";
    check(
        &Error::new(ErrorKind::ModelOutput, hostile)
            .with_hint(hostile)
            .with_source(hostile),
        expect![[r#"
            error[model-output]: first
              error[internal]: forged\u{d}
              \u{1b}[2J\u{9b}31m	end
              caused by: first
                error[internal]: forged\u{d}
                \u{1b}[2J\u{9b}31m	end
              what to do: first
                error[internal]: forged\u{d}
                \u{1b}[2J\u{9b}31m	end"#]],
    );
}
