//! Codes that people compare by voice, to be sure that nobody stands between
//! them.

use sha2::{Digest, Sha512};

/// Bytes that make a group of five digits. 40 bits modulo 100 000 favour no
/// group by more than one in ten million.
const GROUP_BYTES: usize = 5;

/// What everybody in a meeting reads the same: 30 digits from the authenticator
/// of the epoch, in groups of five.
#[must_use]
pub fn meeting_code(authenticator: &[u8]) -> String {
    let hash = Sha512::new()
        .chain_update(b"Dark Tower meeting code 1\0")
        .chain_update(authenticator)
        .finalize();
    digits(&hash, 6)
}

/// What two people read the same, for as long as both keep their devices: 45
/// digits from the two device keys, in groups of five. The order of the keys
/// does not matter.
#[must_use]
pub fn pair_code(a: &[u8; 32], b: &[u8; 32]) -> String {
    let (smaller, larger) = if a <= b { (a, b) } else { (b, a) };
    let hash = Sha512::new()
        .chain_update(b"Dark Tower pair code 1\0")
        .chain_update(smaller)
        .chain_update(larger)
        .finalize();
    digits(&hash, 9)
}

/// The first `groups` groups of the hash as digits.
fn digits(hash: &[u8], groups: usize) -> String {
    let groups: Vec<String> = hash
        .chunks_exact(GROUP_BYTES)
        .take(groups)
        .map(|bytes| {
            let number = bytes
                .iter()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            format!("{:05}", number % 100_000)
        })
        .collect();
    groups.join(" ")
}
