//! Framing of control streams: a 4-byte big-endian length, then one message.
//!
//! The same bytes carry RTT packets, told apart by their first byte, which no
//! protobuf message can begin with. On a WebSocket, where messages have bounds
//! of their own, [`classify`] does the same without a length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes of one message at most (WIRE section 1).
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of an RTT packet at most.
pub const RTT_BYTES_MAX: usize = 64;
/// First byte of an RTT packet.
pub const RTT_TAG: u8 = 0x03;

const PREFIX_BYTES: usize = 4;

/// What a peer framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A protobuf envelope, still encoded.
    Message(Bytes),
    /// To be echoed unchanged on the channel that brought it.
    Rtt(Bytes),
}

/// The peer broke the framing; nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A length above the limit of the stream.
    #[error("a message of {bytes} bytes is longer than the limit of {limit} bytes")]
    TooLong {
        /// What the prefix said.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// An RTT packet longer than [`RTT_BYTES_MAX`].
    #[error("an RTT packet of {0} bytes is longer than {RTT_BYTES_MAX} bytes")]
    RttTooLong(usize),
}

/// Splits a byte stream into messages. Holds at most one message of the limit
/// and what one read brought beyond it.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit_bytes: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MESSAGE_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses messages above `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit_bytes,
        }
    }

    /// Takes what the stream brought.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes taken that no message has used yet. Not 0 at the end of a stream
    /// means that it was cut short.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message, `None` until more bytes arrive.
    ///
    /// # Errors
    /// When the framing is broken; the decoder is of no use after it.
    #[allow(clippy::should_implement_trait)] // fallible, and not the end at `None`
    pub fn next(&mut self) -> Result<Option<Framed>, FramingError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_be_bytes(*prefix) as usize;
        if bytes > self.limit_bytes {
            return Err(FramingError::TooLong {
                bytes,
                limit: self.limit_bytes,
            });
        }
        if self.buffer.len() < PREFIX_BYTES + bytes {
            self.buffer
                .reserve(PREFIX_BYTES + bytes - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        classify(self.buffer.split_to(bytes).freeze()).map(Some)
    }
}

/// Tells an RTT packet from a message.
///
/// # Errors
/// When it is an RTT packet and too long.
pub fn classify(bytes: Bytes) -> Result<Framed, FramingError> {
    if bytes.first() != Some(&RTT_TAG) {
        return Ok(Framed::Message(bytes));
    }
    if bytes.len() > RTT_BYTES_MAX {
        return Err(FramingError::RttTooLong(bytes.len()));
    }
    Ok(Framed::Rtt(bytes))
}

/// One message behind its length.
#[must_use]
pub fn encode(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    out.put_u32(prefix(message.encoded_len()));
    message
        .encode(&mut out)
        .expect("the buffer has room for the whole message");
    out.freeze()
}

/// Bytes (an RTT packet) behind their length.
#[must_use]
pub fn encode_bytes(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + bytes.len());
    out.put_u32(prefix(bytes.len()));
    out.put_slice(bytes);
    out.freeze()
}

fn prefix(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("our own messages are far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_message_arrives() {
        let mut decoder = Decoder::new(16);
        decoder.push(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(
            decoder.next(),
            Err(FramingError::TooLong {
                bytes: 0xffff_ffff,
                limit: 16
            })
        );
    }

    #[test]
    fn an_rtt_packet_is_told_from_a_message() {
        let mut decoder = Decoder::default();
        decoder.push(&encode_bytes(&[RTT_TAG, 1, 2]));
        assert_eq!(
            decoder.next(),
            Ok(Some(Framed::Rtt(Bytes::from_static(&[3, 1, 2]))))
        );
        decoder.push(&encode_bytes(&[RTT_TAG; 65]));
        assert_eq!(decoder.next(), Err(FramingError::RttTooLong(65)));
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(0x04u8.., 0..300), 0..8),
            cut in 1usize..50,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| encode_bytes(m)).collect();
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(Framed::Message(m)) = decoder.next().unwrap() {
                    seen.push(m.to_vec());
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert_eq!(decoder.pending_bytes(), 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut decoder = Decoder::new(256);
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
            let _ = crate::v1::ClientMessage::read(&bytes);
            let _ = crate::v1::MediaClientMessage::read(&bytes);
        }
    }
}
