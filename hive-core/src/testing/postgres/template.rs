//! An empty data folder to copy: making one takes a processor 0.7 s, copying it 0.1 s.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};

use super::write_private;
use crate::testing::server::{User, io, run, secret};

/// What this code makes of a template; a new number when it makes something else.
const FORM: &str = "1";

/// Fills `data` with an empty cluster and returns the password of its superuser.
pub(super) fn copy(postgres: &Path, user: User, data: &Path) -> Result<String> {
    let version = run(&[postgres.to_owned(), "--version".into()], |_| {})?;
    let version: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
    let parent = data.parent().unwrap_or(data);
    let own = fs::metadata(parent).map_err(|error| io(&error, "reading a folder's owner failed"))?;
    let home = std::env::temp_dir().join(format!("hive-postgres-templates-{FORM}-{}", own.uid()));
    let template = home.join(version);
    if !ours(&home) {
        // Somebody else has taken the name. The template is no more than a saving.
        return make(postgres, user, parent, data);
    }
    if !template.exists() {
        let lock = File::create(home.join("lock")).map_err(|error| io(&error, "creating a lock failed"))?;
        lock.lock().map_err(|error| io(&error, "taking a lock failed"))?;
        if !template.exists() {
            fill(postgres, user, &template)?;
        }
    }
    let password = fs::read_to_string(template.join("password"))
        .map_err(|error| io(&error, "reading a template failed").with("template", template.display()))?;
    let words = ["cp".into(), "-Rp".into(), template.join("data"), data.to_owned()];
    run(&words, |_| {})?;
    Ok(password)
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

/// Makes a template beside its place and moves it there when it is whole.
fn fill(postgres: &Path, user: User, template: &Path) -> Result<()> {
    let building = tempfile::Builder::new()
        .prefix("hive-postgres-template-")
        .tempdir()
        .map_err(|error| io(&error, "creating a folder for a template failed"))?;
    user.owns(building.path())?;
    let password = make(postgres, user, building.path(), &building.path().join("data"))?;
    fs::write(building.path().join("password"), password)
        .and_then(|()| fs::set_permissions(building.path(), Permissions::from_mode(0o700)))
        .and_then(|()| fs::rename(building.path(), template))
        .map_err(|error| io(&error, "moving a template to its place failed").with("template", template.display()))?;
    // Moved, and no longer there to be removed.
    drop(building.keep());
    Ok(())
}

fn make(postgres: &Path, user: User, folder: &Path, data: &Path) -> Result<String> {
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
    let file = folder.join("password.new");
    write_private(&file, &password, user)?;
    let mut words = user.prefix();
    words.push(initdb);
    words.extend(["-D".into(), data.to_owned(), "--pwfile".into(), file.clone()]);
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
    fs::remove_file(&file).map_err(|error| io(&error, "removing a file failed"))?;
    Ok(password)
}
