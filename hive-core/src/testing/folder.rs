//! Temporary folders.

use std::path::Path;

use hive_errors::Result;

use super::server::io;
use super::service::or_panic;

/// A folder that is removed with what is in it when this value is dropped.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    fn within(place: &Path) -> Result<Self> {
        tempfile::Builder::new()
            .prefix("hive-test-")
            .tempdir_in(place)
            .map(Self)
            .map_err(|error| io(&error, "creating a temporary folder failed").with("within", place.display()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

/// A new temporary folder, on the disk that temporary files are on.
///
/// # Panics
/// When it cannot be made.
///
/// ```
/// let folder = hive_core::testing::folder();
/// std::fs::write(folder.path().join("hive.db"), "")?;
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn folder() -> Folder {
    or_panic(Folder::within(&std::env::temp_dir()))
}

/// A new temporary folder in memory, where a sync costs nothing: for tests that write much and do not crash the machine. On disk
/// where the system has no such place.
///
/// # Panics
/// When it cannot be made.
#[track_caller]
pub fn memory_folder() -> Folder {
    // Some machines have the place and keep it from their users.
    Folder::within(Path::new("/dev/shm")).unwrap_or_else(|_| folder())
}
