//! Reading a unidirectional stream of the stream carrier: a stream header, then
//! frames until it ends.

use bytes::{Buf, Bytes, BytesMut};

use crate::{FRAME_HEADER_BYTES, FrameHeader, HeaderError, STREAM_HEADER_BYTES, StreamHeader};

/// Room made for a payload before it arrives. More grows with what comes, so
/// that a length without bytes behind it costs no more than this.
const PAYLOAD_BYTES_AHEAD: usize = 64 << 10;

/// What stands on a stream, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupItem {
    /// Once, first.
    Header(StreamHeader),
    /// A frame of it.
    Frame(FrameHeader, Bytes),
}

/// Takes a stream in pieces of any size. Holds at most one payload that is not
/// whole, and never more than arrived plus 64 KiB (and what a growing buffer
/// adds, at most as much again).
#[derive(Debug)]
pub struct GroupParser {
    payload_bytes_max: usize,
    stream: Option<StreamHeader>,
    /// A header that is not whole yet.
    partial: [u8; FRAME_HEADER_BYTES],
    partial_bytes: usize,
    /// A frame whose payload is not whole yet.
    frame: Option<(FrameHeader, BytesMut)>,
}

impl GroupParser {
    /// Refuses payloads above `payload_bytes_max`, and above
    /// [`PAYLOAD_BYTES_MAX`](crate::PAYLOAD_BYTES_MAX) in any case.
    #[must_use]
    pub const fn new(payload_bytes_max: usize) -> Self {
        Self {
            payload_bytes_max,
            stream: None,
            partial: [0; FRAME_HEADER_BYTES],
            partial_bytes: 0,
            frame: None,
        }
    }

    /// Takes bytes from the front of `chunk` up to the end of the next item.
    /// `None` means that the chunk is used up. A payload that lies whole in the
    /// chunk shares its buffer.
    ///
    /// # Errors
    /// When the bytes are not a media stream; nothing after it can be read.
    pub fn next(&mut self, chunk: &mut Bytes) -> Result<Option<GroupItem>, HeaderError> {
        if let Some((header, payload)) = self.frame.take() {
            return Ok(self.fill(header, payload, chunk));
        }
        let Some(stream) = self.stream else {
            let Some(bytes) = self.header(STREAM_HEADER_BYTES, chunk) else {
                return Ok(None);
            };
            let header = StreamHeader::parse(&bytes[..STREAM_HEADER_BYTES])?;
            self.stream = Some(header);
            return Ok(Some(GroupItem::Header(header)));
        };
        let Some(bytes) = self.header(FRAME_HEADER_BYTES, chunk) else {
            return Ok(None);
        };
        let header = FrameHeader::parse(&bytes)?;
        self.check(&stream, &header)?;
        let payload_bytes = header.payload_bytes as usize;
        if chunk.len() >= payload_bytes {
            return Ok(Some(GroupItem::Frame(
                header,
                chunk.split_to(payload_bytes),
            )));
        }
        let payload = BytesMut::with_capacity(payload_bytes.min(PAYLOAD_BYTES_AHEAD));
        Ok(self.fill(header, payload, chunk))
    }

    /// Whether the stream may end here: between two frames, after its header.
    #[must_use]
    pub const fn may_end(&self) -> bool {
        self.stream.is_some() && self.partial_bytes == 0 && self.frame.is_none()
    }

    /// The stream's header, once it was read.
    #[must_use]
    pub const fn stream(&self) -> Option<&StreamHeader> {
        self.stream.as_ref()
    }

    /// Collects a header of `want` bytes.
    fn header(&mut self, want: usize, chunk: &mut Bytes) -> Option<[u8; FRAME_HEADER_BYTES]> {
        let take = (want - self.partial_bytes).min(chunk.len());
        self.partial[self.partial_bytes..self.partial_bytes + take].copy_from_slice(&chunk[..take]);
        chunk.advance(take);
        self.partial_bytes += take;
        if self.partial_bytes < want {
            return None;
        }
        self.partial_bytes = 0;
        Some(self.partial)
    }

    fn check(&self, stream: &StreamHeader, frame: &FrameHeader) -> Result<(), HeaderError> {
        if frame.payload_bytes as usize > self.payload_bytes_max {
            return Err(HeaderError::PayloadTooLong(frame.payload_bytes));
        }
        if frame.frame_type.kind() != stream.kind() {
            return Err(HeaderError::KindMismatch);
        }
        if frame.stream_id != stream.stream_id || frame.extension.encoding != stream.encoding {
            return Err(HeaderError::ForeignFrame);
        }
        Ok(())
    }

    fn fill(
        &mut self,
        header: FrameHeader,
        mut payload: BytesMut,
        chunk: &mut Bytes,
    ) -> Option<GroupItem> {
        let missing = header.payload_bytes as usize - payload.len();
        let piece = chunk.split_to(missing.min(chunk.len()));
        payload.extend_from_slice(&piece);
        if piece.len() < missing {
            self.frame = Some((header, payload));
            return None;
        }
        Some(GroupItem::Frame(header, payload.freeze()))
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
