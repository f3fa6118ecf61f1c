//! An empty data folder to unpack: making one takes a processor 0.7 s, unpacking it 0.1 s.
//!
//! It is one file, because systems clear old files away from their temporary folders one by one.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};

use super::write_private;
use crate::testing::server::{User, io, run, secret};

/// What this code makes of a template; a new number when it makes something else.
const FORM: &str = "2";

/// Puts an empty cluster into `folder`, as `data`, and returns the password of its superuser.
pub(super) fn unpack(postgres: &Path, user: User, folder: &Path) -> Result<String> {
    let version = run(&[postgres.to_owned(), "--version".into()], |_| {})?;
    let version: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
    let home = std::env::temp_dir().join(format!("hive-postgres-templates-{FORM}-{}", user.uid));
    if !ours(&home) {
        // Somebody else has taken the name. The template is no more than a saving.
        return make(postgres, user, folder);
    }
    let template = home.join(format!("{version}.tar"));
    if !template.exists() {
        let lock = File::create(home.join("lock")).map_err(|error| io(&error, "creating a lock failed"))?;
        lock.lock().map_err(|error| io(&error, "taking a lock failed"))?;
        if !template.exists() {
            let password = make(postgres, user, folder)?;
            pack(folder, &template)?;
            return Ok(password);
        }
    }
    let words = ["tar", "--numeric-owner", "-C"].map(PathBuf::from);
    let rest = [folder.to_owned(), "-xpf".into(), template];
    run(&[&words[..], &rest].concat(), |_| {})?;
    let password = folder.join("password");
    fs::read_to_string(&password)
        .map_err(|error| io(&error, "reading a password failed").with("path", password.display()))
}

/// Whether the folder is there, and nobody but this user can have put anything in it.
fn ours(home: &Path) -> bool {
    drop(DirBuilder::new().mode(0o700).create(home));
    let me = tempfile::tempfile().and_then(|file| file.metadata());
    let (Ok(home), Ok(me)) = (fs::symlink_metadata(home), me) else {
        return false;
    };
    home.is_dir() && home.uid() == me.uid() && home.mode() & 0o077 == 0
}

/// Makes a template of the cluster in `folder`, and moves it to its place when it is whole.
fn pack(folder: &Path, template: &Path) -> Result<()> {
    let packed = folder.join("template");
    let words = ["tar", "--numeric-owner", "-C"].map(PathBuf::from);
    let rest = [folder.to_owned(), "-cf".into(), packed.clone()];
    let what = ["data", "password"].map(PathBuf::from);
    run(&[&words[..], &rest, &what].concat(), |_| {})?;
    // Into the other folder first, which may be on another disk.
    let new = template.with_extension("new");
    fs::copy(&packed, &new)
        .and_then(|_| fs::rename(&new, template))
        .and_then(|()| fs::remove_file(&packed))
        .map_err(|error| io(&error, "moving a template to its place failed").with("template", template.display()))
}

/// An empty cluster in `folder`, as `data`, and beside it the password of its superuser.
fn make(postgres: &Path, user: User, folder: &Path) -> Result<String> {
    let initdb = postgres.with_file_name("initdb");
    if !initdb.is_file() {
        return Err(
            Error::new(ErrorKind::Config, "a program that the tests need is not installed")
                .with("program", "initdb")
                .with("searched", postgres.display())
                .with_hint("install the Debian package `postgresql`, or run the tests with `.ci/test`, which does"),
        );
    }
    let password = secret();
    let file = folder.join("password");
    write_private(&file, &password, user)?;
    let mut words = user.prefix();
    words.push(initdb);
    words.extend(["-D".into(), folder.join("data"), "--pwfile".into(), file]);
    let rest = [
        "--username=postgres",
        // Known to this process alone: others on the machine can reach the port, too.
        "--auth=password",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=icu",
        "--icu-locale=en-US",
        "--no-sync",
        "--no-instructions",
    ];
    words.extend(rest.map(PathBuf::from));
    run(&words, |_| {})?;
    Ok(password)
}
