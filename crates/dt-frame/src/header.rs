//! The three headers: of a stream, of a frame on it, and of a datagram.

use bytes::Bytes;
use dt_ids::{Encoding, StreamId, UserId};

use crate::{
    DATAGRAM_HEADER_BYTES, DATAGRAM_TAG, Extension, FRAME_HEADER_BYTES, Flags, FourCc, FrameType,
    MediaKind, PAYLOAD_BYTES_MAX, STREAM_HEADER_BYTES, SlotLabel,
};

const MAGIC: [u8; 4] = *b"DART";
const STREAM_VERSION: u8 = 1;
const SCREEN_BIT: u8 = 1;
/// Where the number that a handler rewrites stands in a datagram.
const LABEL_AT: std::ops::Range<usize> = 10..14;

/// Bytes of a peer are not a media header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than the header has.
    #[error("{got} bytes are too few for a header of {want} bytes")]
    Truncated {
        /// What arrived.
        got: usize,
        /// What the header needs.
        want: usize,
    },
    /// A stream that does not begin with `DART`.
    #[error("a media stream begins with DART")]
    Magic([u8; 4]),
    /// A version that this program does not speak.
    #[error("media header version {0} is not supported")]
    Version(u8),
    /// No frame type has this number.
    #[error("unknown frame type {0}")]
    FrameType(u8),
    /// No stream type has this number.
    #[error("unknown stream type {0}")]
    StreamType(u8),
    /// No codec has this code.
    #[error("unknown codec {:?}", String::from_utf8_lossy(.0))]
    Codec([u8; 4]),
    /// The stream type and the codec or a frame on it contradict each other.
    #[error("audio and video are mixed up")]
    KindMismatch,
    /// Encodings are numbered 0 to 15.
    #[error("encoding number {0} is out of range (0 to 15)")]
    Encoding(u8),
    /// A reserved flag is set.
    #[error("reserved flags are set ({0:#06x})")]
    ReservedFlags(u16),
    /// A payload above [`PAYLOAD_BYTES_MAX`].
    #[error("a payload of {0} bytes is longer than {PAYLOAD_BYTES_MAX} bytes")]
    PayloadTooLong(u32),
    /// The payload is not as long as its header says.
    #[error("the header announces {announced} payload bytes, {got} follow")]
    PayloadLength {
        /// What the header says.
        announced: u32,
        /// What stands behind it.
        got: usize,
    },
    /// Bytes of a link's prefix that must be zero are not.
    #[error("reserved bytes before a stream between handlers are set")]
    LinkPrefix,
    /// A frame's stream or encoding is not that of the stream that carries it.
    #[error("a frame belongs to another stream than the one that carries it")]
    ForeignFrame,
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], HeaderError> {
    bytes.first_chunk::<N>().ok_or(HeaderError::Truncated {
        got: bytes.len(),
        want: N,
    })
}

/// `N` bytes of a header from `at`; the caller's array is long enough.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..]
        .first_chunk()
        .copied()
        .expect("the field lies inside the header")
}

fn payload_length(bytes: [u8; 4]) -> Result<u32, HeaderError> {
    let length = u32::from_be_bytes(bytes);
    if length as usize > PAYLOAD_BYTES_MAX {
        return Err(HeaderError::PayloadTooLong(length));
    }
    Ok(length)
}

/// What a unidirectional stream of the stream carrier begins with (WIRE 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamHeader {
    /// The media stream.
    pub stream_id: StreamId,
    /// Its codec, which also says whether it is audio or video.
    pub codec: FourCc,
    /// The simulcast layer.
    pub encoding: Encoding,
    /// A shared screen rather than a camera.
    pub screen: bool,
    /// Counts the groups of this encoding.
    pub group: u32,
}

impl StreamHeader {
    /// Reads the first 32 bytes; more may follow.
    ///
    /// # Errors
    /// When they are too few, of another version, or contradict themselves.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = fixed::<STREAM_HEADER_BYTES>(bytes)?;
        let magic = part(bytes, 0);
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        if bytes[4] != STREAM_VERSION {
            return Err(HeaderError::Version(bytes[4]));
        }
        let kind = MediaKind::from_byte(bytes[5])?;
        let codec = FourCc::from_bytes(part(bytes, 22))?;
        if codec.kind() != kind {
            return Err(HeaderError::KindMismatch);
        }
        let encoding = Encoding::try_from(u32::from(bytes[26]))
            .map_err(|_| HeaderError::Encoding(bytes[26]))?;
        if bytes[27] & !SCREEN_BIT != 0 {
            return Err(HeaderError::ReservedFlags(u16::from(bytes[27])));
        }
        Ok(Self {
            stream_id: StreamId::from_bytes(part(bytes, 6)),
            codec,
            encoding,
            screen: bytes[27] & SCREEN_BIT != 0,
            group: u32::from_be_bytes(part(bytes, 28)),
        })
    }

    /// What stands on the wire.
    #[must_use]
    pub fn write(&self) -> [u8; STREAM_HEADER_BYTES] {
        let mut out = [0; STREAM_HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC);
        out[4] = STREAM_VERSION;
        out[5] = self.codec.kind().to_byte();
        out[6..22].copy_from_slice(&self.stream_id.into_bytes());
        out[22..26].copy_from_slice(&self.codec.to_bytes());
        out[26] = self.encoding.get();
        out[27] = u8::from(self.screen);
        out[28..32].copy_from_slice(&self.group.to_be_bytes());
        out
    }

    /// Audio or video.
    #[must_use]
    pub const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }
}

/// What stands before each frame on the stream carrier (WIRE 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Audio, key or delta.
    pub frame_type: FrameType,
    /// The media stream.
    pub stream_id: StreamId,
    /// Microseconds since the Unix epoch at capture; rises strictly within an
    /// encoding.
    pub timestamp_us: u64,
    /// +1 a frame of this encoding.
    pub sequence: u64,
    /// Bytes that follow.
    pub payload_bytes: u32,
    /// *Start* and *end* are set on a whole frame.
    pub flags: Flags,
    /// Encoding, layer, level and group.
    pub extension: Extension,
}

impl FrameHeader {
    /// Reads the first 46 bytes; more may follow.
    ///
    /// # Errors
    /// When they are too few, of another version, announce too long a payload,
    /// or use what is reserved.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = fixed::<FRAME_HEADER_BYTES>(bytes)?;
        if bytes[0] != STREAM_VERSION {
            return Err(HeaderError::Version(bytes[0]));
        }
        Ok(Self {
            frame_type: FrameType::from_byte(bytes[1])?,
            stream_id: StreamId::from_bytes(part(bytes, 2)),
            timestamp_us: u64::from_be_bytes(part(bytes, 18)),
            sequence: u64::from_be_bytes(part(bytes, 26)),
            payload_bytes: payload_length(part(bytes, 34))?,
            flags: Flags::from_bits(u16::from_be_bytes(part(bytes, 38)))?,
            extension: Extension::parse(part(bytes, 40)),
        })
    }

    /// What stands on the wire.
    #[must_use]
    pub fn write(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[0] = STREAM_VERSION;
        out[1] = self.frame_type.to_byte();
        out[2..18].copy_from_slice(&self.stream_id.into_bytes());
        out[18..26].copy_from_slice(&self.timestamp_us.to_be_bytes());
        out[26..34].copy_from_slice(&self.sequence.to_be_bytes());
        out[34..38].copy_from_slice(&self.payload_bytes.to_be_bytes());
        out[38..40].copy_from_slice(&self.flags.to_bits().to_be_bytes());
        out[40..46].copy_from_slice(&self.extension.write());
        out
    }
}

/// What stands at the beginning of a media datagram (WIRE 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DatagramHeader {
    /// Audio, key or delta.
    pub frame_type: FrameType,
    /// The sender's number in the meeting.
    pub user_id: UserId,
    /// Bytes 10–13: upstream the sender's own number for the stream, downstream
    /// a [`SlotLabel`].
    pub stream: u32,
    /// Microseconds since the Unix epoch at capture, the same in all fragments
    /// of a frame.
    pub timestamp_us: u64,
    /// +1 a datagram of this encoding.
    pub sequence: u64,
    /// Bytes of this fragment.
    pub payload_bytes: u32,
    /// *Start* on the first fragment, *end* on the last.
    pub flags: Flags,
    /// Encoding, layer, level, place of the fragment, and group.
    pub extension: Extension,
}

impl DatagramHeader {
    /// Reads the first 42 bytes; the payload follows.
    ///
    /// # Errors
    /// When they are too few, of another version, announce too long a payload,
    /// or use what is reserved.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = fixed::<DATAGRAM_HEADER_BYTES>(bytes)?;
        if bytes[0] != DATAGRAM_TAG {
            return Err(HeaderError::Version(bytes[0]));
        }
        Ok(Self {
            frame_type: FrameType::from_byte(bytes[1])?,
            user_id: UserId(u64::from_be_bytes(part(bytes, 2))),
            stream: u32::from_be_bytes(part(bytes, LABEL_AT.start)),
            timestamp_us: u64::from_be_bytes(part(bytes, 14)),
            sequence: u64::from_be_bytes(part(bytes, 22)),
            payload_bytes: payload_length(part(bytes, 30))?,
            flags: Flags::from_bits(u16::from_be_bytes(part(bytes, 34)))?,
            extension: Extension::parse(part(bytes, 36)),
        })
    }

    /// Reads a whole datagram; the payload shares its buffer.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when the payload is not exactly as long as
    /// the header says.
    pub fn split(datagram: Bytes) -> Result<(Self, Bytes), HeaderError> {
        let header = Self::parse(&datagram)?;
        let payload = datagram.slice(DATAGRAM_HEADER_BYTES..);
        if payload.len() != header.payload_bytes as usize {
            return Err(HeaderError::PayloadLength {
                announced: header.payload_bytes,
                got: payload.len(),
            });
        }
        Ok((header, payload))
    }

    /// What stands on the wire.
    #[must_use]
    pub fn write(&self) -> [u8; DATAGRAM_HEADER_BYTES] {
        let mut out = [0; DATAGRAM_HEADER_BYTES];
        out[0] = DATAGRAM_TAG;
        out[1] = self.frame_type.to_byte();
        out[2..10].copy_from_slice(&self.user_id.0.to_be_bytes());
        out[LABEL_AT].copy_from_slice(&self.stream.to_be_bytes());
        out[14..22].copy_from_slice(&self.timestamp_us.to_be_bytes());
        out[22..30].copy_from_slice(&self.sequence.to_be_bytes());
        out[30..34].copy_from_slice(&self.payload_bytes.to_be_bytes());
        out[34..36].copy_from_slice(&self.flags.to_bits().to_be_bytes());
        out[36..42].copy_from_slice(&self.extension.write());
        out
    }

    /// Writes a receiver's slot into a datagram that was parsed before: the only
    /// bytes that a handler changes.
    ///
    /// # Panics
    /// When `datagram` is shorter than a header.
    pub fn rewrite_slot(datagram: &mut [u8], label: SlotLabel) {
        Self::rewrite_label(datagram, label.to_bits());
    }

    /// As [`rewrite_slot`](Self::rewrite_slot), with whatever stands in those bytes
    /// on the way to the next one: a [`SlotLabel`], or a
    /// [`RouteId`](crate::RouteId) on a link.
    ///
    /// # Panics
    /// When `datagram` is shorter than a header.
    pub fn rewrite_label(datagram: &mut [u8], bits: u32) {
        datagram[LABEL_AT].copy_from_slice(&bits.to_be_bytes());
    }

    /// Bytes 10–13 as a handler wrote them; `None` when the slot is 0.
    #[must_use]
    pub fn label(&self) -> Option<SlotLabel> {
        SlotLabel::from_bits(self.stream)
    }
}
