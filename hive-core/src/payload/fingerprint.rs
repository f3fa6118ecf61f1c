/// FNV-1a with 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
///
/// Written out because fingerprints are stored: the hasher of the standard library may change with any release. It is for
/// noticing a change, not for keeping someone out who looks for collisions.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
