//! The store in this process.

use hive_core::cache::memory::{Memory, Options};

use super::conformance::{LIMIT, conforms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_a_store() {
    conforms(Memory::new(Options::new().value_bytes_max(LIMIT))).await;
}
