//! The bytes of the message layer: pure functions from bytes to meaning and
//! back, for the tasks around them, for tests and for fuzzing.
//!
//! No clock, no socket. Whatever a peer sends ends in a value or in a
//! [`WireError`]; every number is checked before anything is allocated for it.
//! Numbers of changing length are variable-length integers of QUIC (RFC 9000
//! section 16), called *varint* here. The formats are drawn in the
//! [module above](super).

mod datagram;
mod frames;
mod header;

pub use datagram::{
    ACK_RANGES_MAX, Ack, Body, DATA_OVERHEAD_BYTES_MAX, Data, Datagram, Fragment, parse_datagram,
    write_datagram,
};
pub use frames::{FRAME_PREFIX_BYTES_MAX, FrameDecoder, write_frame_prefix};
pub use header::{
    HEADER_BYTES, Header, TRAILER_BYTES, parse_header, parse_trailer, write_header, write_trailer,
};

use bytes::BufMut;

/// The largest number that a varint holds.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes that mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end in the middle of something.
    #[error("the bytes end too early")]
    Truncated,
    /// A stream begins with something else than a header of this layer.
    #[error("not a stream of messages (first byte {0:#04x})")]
    NotMessages(u8),
    /// A version that is not spoken here.
    #[error("unknown version {0}")]
    UnknownVersion(u8),
    /// A reliability that is not known here.
    #[error("unknown reliability {0}")]
    UnknownReliability(u8),
    /// Bits or bytes that must be zero are not.
    #[error("reserved bits are set")]
    Reserved,
    /// A field has a value that it can't have.
    #[error("the field {0} is out of its range")]
    OutOfRange(&'static str),
    /// A message is longer than its stream allows.
    #[error("a message of {bytes} bytes where {limit} are allowed")]
    MessageTooLarge {
        /// What the length says.
        bytes: u64,
        /// What the stream's configuration says.
        limit: u32,
    },
}

/// Bytes that [`put_varint`] takes for this number.
#[must_use]
pub const fn varint_bytes(value: u64) -> usize {
    match value {
        0..64 => 1,
        64..16_384 => 2,
        16_384..1_073_741_824 => 4,
        _ => 8,
    }
}

/// Writes a varint. Larger numbers than [`VARINT_MAX`] are cut to it; none of
/// this layer comes near.
pub fn put_varint(out: &mut impl BufMut, value: u64) {
    let value = value.min(VARINT_MAX);
    match varint_bytes(value) {
        1 => out.put_u8(value as u8),
        2 => out.put_u16(value as u16 | 0x4000),
        4 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// Reads from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let first = *self.rest.first().ok_or(WireError::Truncated)?;
        Ok(match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(u16::from_be_bytes(self.take()?) & 0x3fff),
            2 => u64::from(u32::from_be_bytes(self.take()?) & 0x3fff_ffff),
            _ => u64::from_be_bytes(self.take()?) & VARINT_MAX,
        })
    }

    /// A varint of at most 32 bits.
    pub(super) fn varint_u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| WireError::OutOfRange(field))
    }
}

#[cfg(test)]
mod tests;
