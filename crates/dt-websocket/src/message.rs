//! What one binary message is, read and written. Pure: bytes in, meaning out.

use bytes::{BufMut, Bytes, BytesMut};
use dt_frame::{FRAME_HEADER_BYTES, FrameHeader, HeaderError, STREAM_HEADER_BYTES, StreamHeader};
use dt_ids::{Encoding, StreamId};
use dt_wire::framing::{MESSAGE_BYTES_MAX, RTT_BYTES_MAX, RTT_TAG};

use crate::{Kind, Limits};

/// The first byte of a message of a media session.
pub(crate) const CONTROL: u8 = 0;
pub(crate) const STREAM: u8 = 1;
pub(crate) const FRAME: u8 = 2;
pub(crate) const DATAGRAM: u8 = 3;

/// A peer's message breaks the rules; the session is closed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Nothing in it.
    #[error("a message is empty")]
    Empty,
    /// No such channel.
    #[error("there is no channel {0}")]
    Channel(u8),
    /// Longer than messages of its kind may be.
    #[error("a message of {bytes} bytes is longer than the limit of {limit} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A stream header has a length of its own.
    #[error("a stream header has {STREAM_HEADER_BYTES} bytes, not {0}")]
    StreamHeaderLength(usize),
    /// A header of media makes no sense.
    #[error("a media header is wrong: {0}")]
    Header(#[from] HeaderError),
}

/// Which encoding a group belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layer {
    /// The media stream.
    pub stream_id: StreamId,
    /// Its encoding.
    pub encoding: Encoding,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One message of the control stream, without its length.
    Control(Bytes),
    /// Opens a group.
    Stream {
        /// What belongs to it.
        layer: Layer,
        /// Low 16 bits of its number, as its frames have them.
        group: u16,
        /// The header, as it stands on a stream.
        bytes: Bytes,
    },
    /// A frame of an open group.
    Frame {
        /// Of what it is a part.
        layer: Layer,
        /// Low 16 bits of its group's number.
        group: u16,
        /// Header and payload, as they stand on a stream; both share the
        /// message's buffer.
        bytes: Bytes,
    },
    /// A datagram.
    Datagram(Bytes),
}

/// Reads one binary message. Every length was bounded by the socket before; here
/// each kind's own bound is checked.
///
/// # Errors
/// When it breaks the rules.
pub fn parse(kind: Kind, limits: &Limits, message: Bytes) -> Result<Incoming, BadMessage> {
    if kind == Kind::Signaling {
        return control(message);
    }
    let channel = *message.first().ok_or(BadMessage::Empty)?;
    let bytes = message.slice(1..);
    match channel {
        CONTROL => control(bytes),
        STREAM => stream(bytes),
        FRAME => frame(bytes),
        DATAGRAM => {
            at_most(&bytes, limits.datagram_bytes_max)?;
            Ok(Incoming::Datagram(bytes))
        }
        other => Err(BadMessage::Channel(other)),
    }
}

fn at_most(bytes: &Bytes, limit: usize) -> Result<(), BadMessage> {
    if bytes.len() > limit {
        return Err(BadMessage::TooLong {
            bytes: bytes.len(),
            limit,
        });
    }
    Ok(())
}

fn control(bytes: Bytes) -> Result<Incoming, BadMessage> {
    let limit = if bytes.first() == Some(&RTT_TAG) {
        RTT_BYTES_MAX
    } else {
        MESSAGE_BYTES_MAX
    };
    at_most(&bytes, limit)?;
    Ok(Incoming::Control(bytes))
}

fn stream(bytes: Bytes) -> Result<Incoming, BadMessage> {
    if bytes.len() != STREAM_HEADER_BYTES {
        return Err(BadMessage::StreamHeaderLength(bytes.len()));
    }
    let header = StreamHeader::parse(&bytes)?;
    Ok(Incoming::Stream {
        layer: Layer {
            stream_id: header.stream_id,
            encoding: header.encoding,
        },
        group: low_16(header.group),
        bytes,
    })
}

fn frame(bytes: Bytes) -> Result<Incoming, BadMessage> {
    let header = FrameHeader::parse(&bytes)?;
    let payload = bytes.len() - FRAME_HEADER_BYTES;
    if payload != header.payload_bytes as usize {
        return Err(BadMessage::Header(HeaderError::PayloadLength {
            announced: header.payload_bytes,
            got: payload,
        }));
    }
    Ok(Incoming::Frame {
        layer: Layer {
            stream_id: header.stream_id,
            encoding: header.extension.encoding,
        },
        group: header.extension.group,
        bytes,
    })
}

/// How a frame names its group.
pub(crate) const fn low_16(group: u32) -> u16 {
    (group & 0xffff) as u16
}

/// A message of a media session; the one copy of its bytes on their way out.
pub(crate) fn on_channel(channel: u8, parts: &[&[u8]]) -> Bytes {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut message = BytesMut::with_capacity(1 + bytes);
    message.put_u8(channel);
    for part in parts {
        message.put_slice(part);
    }
    message.freeze()
}

/// A control message with the length that it has on a stream.
pub(crate) fn with_length(message: &[u8]) -> Bytes {
    dt_wire::framing::encode_bytes(message)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
