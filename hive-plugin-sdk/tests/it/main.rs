//! The contract, and that the committed bindings are made from it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where it panics"
)]

mod bindings;
mod contract;
