//! The second page.
fn main() {}
