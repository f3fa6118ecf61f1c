//! The disk itself.

use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::time::Duration;

use crate::load::repeat;

/// Overwrites 4 KiB and syncs, over and over: what a commit costs at least.
pub fn syncs_per_s(span: Duration) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path().join("sync"))
        .unwrap();
    let page = [7; 4096];
    file.write_all(&page).unwrap();
    file.sync_all().unwrap();
    repeat(span, |_| {
        file.rewind().unwrap();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
    })
    .per_s()
}
