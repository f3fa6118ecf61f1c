//! Numbers that look like chance and are the same everywhere.

use hive_core::payload::fingerprint;
use semver::Version;

/// A number that depends on the seed and the agent, evenly spread over all of `u64`: the same on every machine and in every
/// release, because keys must not move when a program is updated.
pub(super) fn mix(seed: u64, agent: &str, version: Option<&Version>) -> u64 {
    let agent = fingerprint(agent.as_bytes());
    let version = version.map_or(0, |version| fingerprint(version.to_string().as_bytes()));
    scramble(scramble(scramble(seed) ^ agent) ^ version)
}

/// The number of a key.
pub(super) fn key(key: &str) -> u64 {
    scramble(fingerprint(key.as_bytes()))
}

/// The output function of SplitMix64: every bit of the input counts for every bit of the output.
/// <https://prng.di.unimi.it/splitmix64.c>
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number between 0 and 1, neither of them included.
#[expect(
    clippy::cast_precision_loss,
    reason = "52 bits are kept, so that the half beside them fits as well"
)]
fn unit(number: u64) -> f64 {
    ((number >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// Weighted rendezvous: whoever has the greatest of these has won a share of all numbers that is its weight's share of all
/// weights, and keeps what it has won when others come or go. Thaler and Ravishankar, "Using name-based mappings to increase
/// hit rates", 1998; weights as in Resch, "New hashing algorithms for data storage", 2015.
pub(super) fn rendezvous(number: u64, weight: u32) -> f64 {
    f64::from(weight) / -unit(number).ln()
}
