//! What a stream begins with, and what ends one that travels in datagrams.

use std::time::Duration;

use super::{Reader, WireError};
use crate::messages::{Ordering, Reliability, StreamConfig};

/// Bytes of a stream's header.
pub const HEADER_BYTES: usize = 20;
/// Bytes of the trailer of a stream whose messages travel in datagrams.
pub const TRAILER_BYTES: usize = 8;

/// The first byte of every stream of this layer.
const MAGIC: u8 = b'M';
const VERSION: u8 = 1;
const FLAG_ORDERED: u8 = 0x01;

const RELIABLE: u8 = 0;
const UNRELIABLE: u8 = 1;
const DEADLINE: u8 = 2;
const RETRANSMISSIONS: u8 = 3;

/// What is said first on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Counted by whoever opens streams, from 0.
    pub id: u32,
    /// How its messages travel.
    pub config: StreamConfig,
}

/// The header as bytes.
#[must_use]
pub fn write_header(header: &Header) -> [u8; HEADER_BYTES] {
    let (mode, limit) = match header.config.reliability {
        Reliability::Reliable => (RELIABLE, 0),
        Reliability::Unreliable => (UNRELIABLE, 0),
        Reliability::Deadline(deadline) => {
            let millis = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
            (DEADLINE, millis)
        }
        Reliability::Retransmissions(count) => (RETRANSMISSIONS, count),
    };
    let flags = match header.config.ordering {
        Ordering::Ordered => FLAG_ORDERED,
        Ordering::Unordered => 0,
    };
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&[MAGIC, VERSION, mode, flags]);
    bytes[4..8].copy_from_slice(&header.id.to_be_bytes());
    bytes[8..12].copy_from_slice(&header.config.priority.to_be_bytes());
    bytes[12..16].copy_from_slice(&header.config.max_message_bytes.to_be_bytes());
    bytes[16..].copy_from_slice(&limit.to_be_bytes());
    bytes
}

/// Reads a header.
///
/// # Errors
/// When it is none, or of a version or kind that is not known.
pub fn parse_header(bytes: &[u8]) -> Result<Header, WireError> {
    let mut reader = Reader::new(bytes);
    let magic = reader.u8()?;
    if magic != MAGIC {
        return Err(WireError::NotMessages(magic));
    }
    let version = reader.u8()?;
    if version != VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let [mode, flags] = reader.take()?;
    if flags & !FLAG_ORDERED != 0 {
        return Err(WireError::Reserved);
    }
    let id = reader.u32()?;
    let priority = i32::from_be_bytes(reader.take()?);
    let max_message_bytes = reader.u32()?;
    let limit = reader.u32()?;
    let reliability = match mode {
        RELIABLE | UNRELIABLE if limit != 0 => return Err(WireError::Reserved),
        RELIABLE => Reliability::Reliable,
        UNRELIABLE => Reliability::Unreliable,
        DEADLINE => Reliability::Deadline(Duration::from_millis(u64::from(limit))),
        RETRANSMISSIONS => Reliability::Retransmissions(limit),
        other => return Err(WireError::UnknownReliability(other)),
    };
    if reader.remaining() > 0 {
        return Err(WireError::OutOfRange("header length"));
    }
    let ordering = if flags & FLAG_ORDERED != 0 {
        Ordering::Ordered
    } else {
        Ordering::Unordered
    };
    Ok(Header {
        id,
        config: StreamConfig {
            reliability,
            ordering,
            priority,
            max_message_bytes,
        },
    })
}

/// The trailer as bytes: how many chunks were numbered.
#[must_use]
pub fn write_trailer(chunks: u64) -> [u8; TRAILER_BYTES] {
    chunks.to_be_bytes()
}

/// Reads a trailer.
///
/// # Errors
/// When it is too short or too long.
pub fn parse_trailer(bytes: &[u8]) -> Result<u64, WireError> {
    let bytes = bytes.try_into().map_err(|_| WireError::Truncated)?;
    Ok(u64::from_be_bytes(bytes))
}
