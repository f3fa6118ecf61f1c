use std::error::Error as StdError;
use std::fmt;

use super::{DEPTH_MAX, sources};

/// The mistake that the bound exists for.
#[derive(Debug)]
struct Ouroboros;

impl fmt::Display for Ouroboros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("eats its tail")
    }
}

impl StdError for Ouroboros {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

#[test]
fn an_error_that_is_its_own_source_ends() {
    assert_eq!(sources(&Ouroboros).count(), DEPTH_MAX);
}
