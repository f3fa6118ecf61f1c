//! How much memory a group of processes holds.

use std::io;

/// Bytes of memory that the processes of a group hold in RAM, its guard apart. Pages that several of them share count once
/// for each, so forked workers seem larger than they are.
///
/// It reads the whole of `/proc`, which takes some ten microseconds for each process of the machine; call it off the runtime.
///
/// # Errors
/// `Unsupported` where there is no `/proc` as Linux has it.
pub fn resident_bytes(group: u32) -> io::Result<u64> {
    if !cfg!(target_os = "linux") {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "memory is only measured on Linux",
        ));
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX);
    let mut pages: u64 = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ended meanwhile holds nothing.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else {
            continue;
        };
        if let Some((of, held)) = parse(&String::from_utf8_lossy(&stat))
            && of == group
            && pid != group
        {
            pages = pages.saturating_add(held);
        }
    }
    Ok(pages.saturating_mul(page))
}

/// The group and the resident pages in a line of `/proc/<pid>/stat`, whose fields proc(5) numbers from one: the name, the
/// second, is in parentheses and may hold anything, these included; the group is the fifth, the pages are the twenty-fourth.
pub(super) fn parse(stat: &str) -> Option<(u32, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // A group of the kernel's own is 0, one from another namespace -1.
    let group = fields.nth(2)?.parse::<i64>().ok()?;
    let pages = fields.nth(18)?.parse::<i64>().ok()?;
    Some((u32::try_from(group).ok()?, u64::try_from(pages).unwrap_or(0)))
}
