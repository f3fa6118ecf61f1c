//! Keys and the regions they stand in, written so that no two of them can be confused.

use hive_errors::{Error, ErrorKind, Result};

/// Ends the region and begins the key. No region has one in its name, so the first one in a full key is it, and no key,
/// whatever is in it, can reach into another region.
const END: char = ':';
/// Between a region and one within it.
const WITHIN: char = '/';

/// The region `name` within `outer`.
pub(super) fn region(outer: &str, name: &str) -> Result<String> {
    if name.is_empty() || name.contains([END, WITHIN]) {
        return Err(Error::new(ErrorKind::InvalidInput, "the region's name does not fit")
            .with("region", name.escape_debug())
            .with_hint("use a name that is not empty and has neither ':' nor '/' in it"));
    }
    Ok(if outer.is_empty() {
        name.to_owned()
    } else {
        format!("{outer}{WITHIN}{name}")
    })
}

/// What the stores know this key by.
pub(super) fn full(region: &str, key: &str) -> String {
    format!("{region}{END}{key}")
}
