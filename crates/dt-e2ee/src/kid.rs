//! Numbers that both sides of a frame agree on: cipher suites, key ids and the
//! additional data.

/// Leaves that a key id can name: 12 bits.
pub(crate) const LEAF_MAX: u32 = (1 << 12) - 1;
/// Encodings that a key id can name: 4 bits.
#[cfg(feature = "native")]
pub(crate) const ENCODING_MAX: u8 = (1 << 4) - 1;

/// SFrame cipher suites that a meeting may use (RFC 9605 section 4.5), with
/// their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES_128_GCM_SHA256_128.
    Aes128Gcm = 4,
    /// AES_256_GCM_SHA512_128.
    Aes256Gcm = 5,
}

impl Suite {
    /// The suite with this number, if it is one that a meeting may use.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        match number {
            4 => Some(Self::Aes128Gcm),
            5 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }

    /// Length of its base keys: AEAD.Nk.
    #[must_use]
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm => 32,
        }
    }
}

/// The parts of a key id: `stream 8 | encoding 4 | leaf 12 | epoch 8`, the
/// stream in the highest bits of a u32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kid {
    /// The sender's number for the stream.
    pub stream: u8,
    /// The encoding of it, 0 to 15.
    pub encoding: u8,
    /// The sender's leaf, 0 to 4095.
    pub leaf: u32,
    /// The low 8 bits of the epoch.
    pub epoch: u8,
}

impl Kid {
    /// As the number that stands in the SFrame header. Higher bits than the
    /// parts have are cut off.
    #[must_use]
    pub fn to_u32(self) -> u32 {
        u32::from(self.stream) << 24
            | u32::from(self.encoding & 0xf) << 20
            | (self.leaf & LEAF_MAX) << 8
            | u32::from(self.epoch)
    }

    /// The parts of a number.
    #[must_use]
    pub fn from_u32(kid: u32) -> Self {
        let [stream, high, low, epoch] = kid.to_be_bytes();
        Self {
            stream,
            encoding: high >> 4,
            leaf: u32::from(high & 0xf) << 8 | u32::from(low),
            epoch,
        }
    }
}

/// Additional data of a frame.
pub type FrameAad = [u8; 27];

/// What is authenticated of a frame beside its payload (WIRE.md 2.6): frame
/// type, stream UUID, byte 0 of the extension, timestamp in µs, discardable
/// flag. Nothing in it is rewritten on the way.
#[must_use]
pub fn frame_aad(
    frame_type: u8,
    stream: &[u8; 16],
    ext0: u8,
    timestamp_us: u64,
    discardable: bool,
) -> FrameAad {
    let mut aad = [0; 27];
    aad[0] = frame_type;
    aad[1..17].copy_from_slice(stream);
    aad[17] = ext0;
    aad[18..26].copy_from_slice(&timestamp_us.to_be_bytes());
    aad[26] = u8::from(discardable);
    aad
}
