//! Messages on a reliable stream: each with its length in front.

use bytes::{Bytes, BytesMut};

use super::{Reader, WireError, put_varint};

/// Bytes of a frame's length at most.
pub const FRAME_PREFIX_BYTES_MAX: usize = 8;
/// What is set aside at once for a message that arrives in pieces; a longer one
/// grows as its bytes arrive, not as its length promises.
const FIRST_ALLOCATION_BYTES_MAX: usize = 64 << 10;

/// Writes what stands in front of a message of so many bytes.
pub fn write_frame_prefix(out: &mut BytesMut, message_bytes: usize) {
    put_varint(out, message_bytes as u64);
}

/// Cuts the bytes of a stream into messages.
///
/// Give it chunks by [`push`](Self::push) and take messages by
/// [`next_message`](Self::next_message) until there is none; only then push
/// again. A message inside one chunk is not copied.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: u32,
    chunk: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The length comes next; some of its bytes may be here.
    Prefix {
        bytes: [u8; FRAME_PREFIX_BYTES_MAX],
        held: usize,
    },
    /// The length is known, and the message is still to come, or a part of it.
    Message { length: usize, held: BytesMut },
}

const PREFIX: State = State::Prefix {
    bytes: [0; FRAME_PREFIX_BYTES_MAX],
    held: 0,
};

impl FrameDecoder {
    /// For messages of at most so many bytes.
    #[must_use]
    pub fn new(max_message_bytes: u32) -> Self {
        Self {
            limit: max_message_bytes,
            chunk: Bytes::new(),
            state: PREFIX,
        }
    }

    /// The next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut both = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            both.extend_from_slice(&self.chunk);
            both.extend_from_slice(&chunk);
            self.chunk = both.freeze();
        }
    }

    /// The next whole message.
    ///
    /// # Errors
    /// When its length is above the limit. The stream can't be read on.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            match &mut self.state {
                State::Prefix { bytes, held } => {
                    let Some(next) = self.chunk.first() else {
                        return Ok(None);
                    };
                    let length_bytes = 1 << ((if *held > 0 { bytes[0] } else { *next }) >> 6);
                    let taken = self.chunk.len().min(length_bytes - *held);
                    bytes[*held..*held + taken].copy_from_slice(&self.chunk[..taken]);
                    *held += taken;
                    self.chunk = self.chunk.slice(taken..);
                    if *held < length_bytes {
                        return Ok(None);
                    }
                    let length = Reader::new(&bytes[..length_bytes]).varint()?;
                    if length > u64::from(self.limit) {
                        return Err(WireError::MessageTooLarge {
                            bytes: length,
                            limit: self.limit,
                        });
                    }
                    self.state = State::Message {
                        length: length as usize,
                        held: BytesMut::new(),
                    };
                }
                State::Message { length, held } => {
                    if held.is_empty() && self.chunk.len() >= *length {
                        let message = self.chunk.split_to(*length);
                        self.state = PREFIX;
                        return Ok(Some(message));
                    }
                    if held.is_empty() {
                        held.reserve((*length).min(FIRST_ALLOCATION_BYTES_MAX));
                    }
                    let taken = self.chunk.len().min(*length - held.len());
                    held.extend_from_slice(&self.chunk.split_to(taken));
                    if held.len() < *length {
                        return Ok(None);
                    }
                    let message = std::mem::take(held).freeze();
                    self.state = PREFIX;
                    return Ok(Some(message));
                }
            }
        }
    }

    /// Whether everything pushed so far came out as messages; a stream must not
    /// end elsewhere.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.chunk.is_empty() && matches!(self.state, State::Prefix { held: 0, .. })
    }
}
