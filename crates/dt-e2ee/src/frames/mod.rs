//! Frames by SFrame, with keys of the group's epochs.

mod opener;
mod sealer;
mod window;

pub use opener::{OpenError, Opened, Opener};
pub use sealer::{SealError, Sealer};

use crate::kid::Suite;

/// Length of an authentication tag, both suites.
pub(crate) const TAG_BYTES: usize = 16;
/// A frame's payload is at most 4 MiB on the wire (WIRE.md 2.3).
pub(crate) const SEALED_BYTES_MAX: usize = 4 << 20;
/// An SFrame header: a byte, a key id and a counter of up to 8 bytes each.
pub(crate) const HEADER_BYTES_MAX: usize = 17;

/// Header and additional data in one piece, as AEAD wants them. Frames come one
/// after another, so the buffer is kept.
#[derive(Default)]
pub(crate) struct Additional(Vec<u8>);

impl Additional {
    pub(crate) fn join(&mut self, header: &[u8], aad: &[u8]) -> &mut [u8] {
        self.0.clear();
        self.0.extend_from_slice(header);
        self.0.extend_from_slice(aad);
        &mut self.0
    }
}

/// The crate's name of a suite.
pub(crate) fn cipher_suite(suite: Suite) -> sframe::CipherSuite {
    match suite {
        Suite::Aes128Gcm => sframe::CipherSuite::AesGcm128Sha256,
        Suite::Aes256Gcm => sframe::CipherSuite::AesGcm256Sha512,
    }
}
