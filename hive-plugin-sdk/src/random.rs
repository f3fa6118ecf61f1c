//! The hive's source of randomness, which is the only one that a plugin has.

use crate::host;

/// A uniformly distributed number. It differs between attempts: what must not differ is remembered with
/// [`steps::remember`](crate::steps::remember).
pub fn next_u64() -> u64 {
    host::random_next()
}

/// Random bytes, fit for keys. The hive caps the length, so look at how many came.
pub fn bytes(length: u32) -> Vec<u8> {
    host::random_bytes(length)
}
