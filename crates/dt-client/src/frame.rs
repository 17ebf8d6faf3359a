//! Frames as an application gives and takes them.

use std::time::SystemTime;

use bytes::Bytes;
use dt_frame::{AudioLevel, Continuity, FourCc, FrameType, MediaKind};
use dt_ids::{Encoding, StreamId};

use crate::Carrier;

/// An encoded frame to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFrame {
    /// Microseconds since the Unix epoch at capture; must rise.
    pub timestamp_us: u64,
    /// Needs no other frame. Audio frames never do.
    pub key: bool,
    /// No other frame needs it.
    pub discardable: bool,
    /// The simulcast layer, of a stream that is published in several.
    pub encoding: Encoding,
    /// 0 is the base layer.
    pub temporal_layer: u8,
    /// Loudness, of audio.
    pub level: AudioLevel,
    /// The encoded chunk.
    pub payload: Bytes,
}

impl MediaFrame {
    /// A video frame of the base layer.
    #[must_use]
    pub const fn video(timestamp_us: u64, key: bool, payload: Bytes) -> Self {
        Self {
            timestamp_us,
            key,
            discardable: false,
            encoding: Encoding::MIN,
            temporal_layer: 0,
            level: AudioLevel::SILENCE,
            payload,
        }
    }

    /// The same as a frame of this encoding. All encodings of one picture have
    /// its timestamp.
    #[must_use]
    pub fn of_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// A chunk of audio.
    #[must_use]
    pub const fn audio(timestamp_us: u64, level: AudioLevel, payload: Bytes) -> Self {
        Self {
            timestamp_us,
            key: true,
            discardable: false,
            encoding: Encoding::MIN,
            temporal_layer: 0,
            level,
            payload,
        }
    }
}

/// Microseconds since the Unix epoch, as capture timestamps are.
#[must_use]
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}

/// A frame of somebody else. Each comes once, however many ways it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// The media stream; [`Roster::owner`](crate::Roster::owner) says whose.
    pub stream_id: StreamId,
    /// Audio or video.
    pub kind: MediaKind,
    /// How the payload is encoded.
    pub codec: FourCc,
    /// The simulcast layer.
    pub encoding: Encoding,
    /// Audio, key or delta.
    pub frame_type: FrameType,
    /// Microseconds since the Unix epoch at capture, by the sender's clock.
    pub timestamp_us: u64,
    /// Microseconds since the Unix epoch when it was whole here, and opened.
    pub received_us: u64,
    /// 0 is the base layer.
    pub temporal_layer: u8,
    /// Counts frames of the base layer, modulo 256. Video only.
    pub base_counter: u8,
    /// Loudness. Audio only.
    pub level: AudioLevel,
    /// Low 16 bits of the number of its group.
    pub group: u16,
    /// The sender's number of its first datagram, or of the frame.
    pub first_sequence: u64,
    /// The sender's number of its last datagram, or of the frame.
    pub last_sequence: u64,
    /// How it came.
    pub carrier: Carrier,
    /// Whether it can be decoded after those before it. Only
    /// [`Continuity::Whole`] should be given to a decoder.
    pub continuity: Continuity,
    /// The server had ended, not given up, what it sent of the encoding before
    /// this one: what is missing in between was left out and is not lost. Key
    /// frames of the stream carrier only.
    pub resumes: bool,
    /// The generation of stream assignments with which its stream came into view
    /// last; a gap across two of them is no loss.
    pub span: u32,
    /// The encoded chunk.
    pub payload: Bytes,
}

/// What became of what arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveStats {
    /// Frames given to the application.
    pub frames: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Frames that had come before.
    pub duplicates: u64,
    /// Frames whose fragments did not all come in time.
    pub incomplete: u64,
    /// Datagrams and streams that are not media, or for no slot known here.
    pub rejected: u64,
    /// Frames dropped because the application did not take them in time.
    pub overflowed: u64,
    /// Key frames asked for.
    pub key_frame_requests: u64,
    /// Frames of an encrypted meeting that could not be opened: forged, replayed,
    /// cut off, of somebody else's stream, or their keys did not come in time.
    pub decrypt_failures: u64,
    /// Those among them that a member sealed whose stream it is not.
    pub reattributed: u64,
    /// Frames that were sealed before this client had keys. No failures.
    pub before_joining: u64,
}
