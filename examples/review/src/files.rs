//! Files that are there whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::error::Error;

/// Writes a file so that whoever reads it sees the old content or the new, whatever interrupts the writing: the content goes
/// to a neighbour first, is forced to disk, and takes the name in one step.
///
/// # Errors
/// [`Error::File`] with what the operating system said.
pub fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File {
        action: "write",
        path: path.display().to_string(),
        source,
    };
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = parent.join(name);
    let mut file = fs::File::create(&partial).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
    drop(file);
    fs::rename(&partial, path).map_err(failed)?;
    sync_directory(parent).map_err(failed)
}

/// The new name is on disk only when its directory is.
#[cfg(unix)]
fn sync_directory(path: &Path) -> std::io::Result<()> {
    fs::File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_content_replaces_the_old_and_leaves_no_neighbour() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/report.md");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(home.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("blocked"), "").unwrap();
        let error = write(&home.path().join("blocked/report.md"), b"x").unwrap_err();
        assert!(error.to_string().contains("blocked"), "{error}");
    }
}
