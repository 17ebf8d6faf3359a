//! The fields that the headers are made of.

use std::fmt;

use dt_ids::Encoding;

use crate::HeaderError;

/// What a frame is; byte 1 of both frame headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// A chunk of audio; each decodes on its own.
    Audio,
    /// A video frame that needs no other.
    VideoKey,
    /// A video frame that needs those before it.
    VideoDelta,
}

impl FrameType {
    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Audio => 0,
            Self::VideoKey => 1,
            Self::VideoDelta => 2,
        }
    }

    /// Reads the byte on the wire.
    ///
    /// # Errors
    /// When no frame type has this number.
    pub const fn from_byte(byte: u8) -> Result<Self, HeaderError> {
        match byte {
            0 => Ok(Self::Audio),
            1 => Ok(Self::VideoKey),
            2 => Ok(Self::VideoDelta),
            other => Err(HeaderError::FrameType(other)),
        }
    }

    /// The kind of stream such a frame belongs to.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Audio => MediaKind::Audio,
            Self::VideoKey | Self::VideoDelta => MediaKind::Video,
        }
    }
}

/// What a stream carries; byte 5 of the stream header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A microphone, or the sound of a shared screen.
    Audio,
    /// A camera or a screen.
    Video,
}

impl MediaKind {
    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Audio => 0,
            Self::Video => 1,
        }
    }

    /// Reads the byte on the wire.
    ///
    /// # Errors
    /// When no stream type has this number.
    pub const fn from_byte(byte: u8) -> Result<Self, HeaderError> {
        match byte {
            0 => Ok(Self::Audio),
            1 => Ok(Self::Video),
            other => Err(HeaderError::StreamType(other)),
        }
    }
}

/// The codecs that exist, by their four-character code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FourCc {
    /// `opus`
    Opus,
    /// `vp08`
    Vp8,
    /// `vp09`
    Vp9,
    /// `av01`
    Av1,
    /// `avc1`, which is H.264
    H264,
}

impl FourCc {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Opus, Self::Vp8, Self::Vp9, Self::Av1, Self::H264];

    /// The code as text, as `StreamMetadata.codec` names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "vp08",
            Self::Vp9 => "vp09",
            Self::Av1 => "av01",
            Self::H264 => "avc1",
        }
    }

    /// The four bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        match self {
            Self::Opus => *b"opus",
            Self::Vp8 => *b"vp08",
            Self::Vp9 => *b"vp09",
            Self::Av1 => *b"av01",
            Self::H264 => *b"avc1",
        }
    }

    /// Reads the four bytes on the wire.
    ///
    /// # Errors
    /// When no codec has this code.
    pub fn from_bytes(bytes: [u8; 4]) -> Result<Self, HeaderError> {
        Self::ALL
            .into_iter()
            .find(|c| c.to_bytes() == bytes)
            .ok_or(HeaderError::Codec(bytes))
    }

    /// What it encodes.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264 => MediaKind::Video,
        }
    }
}

impl std::str::FromStr for FourCc {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let bytes = text.as_bytes();
        let code: [u8; 4] = bytes.try_into().map_err(|_| {
            let mut shown = [b' '; 4];
            let shared = bytes.len().min(4);
            shown[..shared].copy_from_slice(&bytes[..shared]);
            HeaderError::Codec(shown)
        })?;
        Self::from_bytes(code)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The flags of both frame headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// Nothing of this frame follows.
    pub end: bool,
    /// No other frame needs this one.
    pub discardable: bool,
    /// Nothing of this frame went before.
    pub start: bool,
}

impl Flags {
    /// A frame in one piece that others may need.
    pub const WHOLE: Self = Self {
        end: true,
        discardable: false,
        start: true,
    };

    const END: u16 = 1 << 0;
    const DISCARDABLE: u16 = 1 << 1;
    const START: u16 = 1 << 2;

    /// The 16 bits on the wire.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        (if self.end { Self::END } else { 0 })
            | (if self.discardable {
                Self::DISCARDABLE
            } else {
                0
            })
            | (if self.start { Self::START } else { 0 })
    }

    /// Reads the 16 bits on the wire.
    ///
    /// # Errors
    /// When one of the 13 reserved bits is set.
    pub const fn from_bits(bits: u16) -> Result<Self, HeaderError> {
        if bits & !(Self::END | Self::DISCARDABLE | Self::START) != 0 {
            return Err(HeaderError::ReservedFlags(bits));
        }
        Ok(Self {
            end: bits & Self::END != 0,
            discardable: bits & Self::DISCARDABLE != 0,
            start: bits & Self::START != 0,
        })
    }
}

/// The loudness of a chunk of audio (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioLevel {
    /// The sender thinks that somebody speaks.
    pub voice: bool,
    /// Decibels below overload: 0 is the loudest, 127 is silence. Values above
    /// 127 are written as 127.
    pub below_overload_db: u8,
}

impl AudioLevel {
    /// Nothing to hear, or a meeting that hides its levels.
    pub const SILENCE: Self = Self {
        voice: false,
        below_overload_db: 127,
    };

    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        let level = if self.below_overload_db > 127 {
            127
        } else {
            self.below_overload_db
        };
        (self.voice as u8) << 7 | level
    }

    /// Reads the byte on the wire; every byte is a level.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self {
            voice: byte & 0x80 != 0,
            below_overload_db: byte & 0x7f,
        }
    }
}

/// The six bytes at the end of both frame headers (WIRE 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extension {
    /// The simulcast layer.
    pub encoding: Encoding,
    /// 0 is the base layer; at most 15 (higher values are written modulo 16).
    pub temporal_layer: u8,
    /// Audio: an [`AudioLevel`]. Video: the base-layer counter.
    pub detail: u8,
    /// Place of this fragment in its frame; 0 on the stream carrier.
    pub fragment: u16,
    /// Low 16 bits of the group's number.
    pub group: u16,
}

impl Extension {
    /// Bytes on the wire.
    pub const BYTES: usize = 6;

    /// Of a chunk of audio.
    #[must_use]
    pub const fn audio(level: AudioLevel, group: u16) -> Self {
        Self {
            encoding: Encoding::MIN,
            temporal_layer: 0,
            detail: level.to_byte(),
            fragment: 0,
            group,
        }
    }

    /// Of a video frame.
    #[must_use]
    pub const fn video(encoding: Encoding, temporal_layer: u8, base_layer: u8, group: u16) -> Self {
        Self {
            encoding,
            temporal_layer,
            detail: base_layer,
            fragment: 0,
            group,
        }
    }

    /// What an audio frame says about its loudness.
    #[must_use]
    pub const fn audio_level(&self) -> AudioLevel {
        AudioLevel::from_byte(self.detail)
    }

    /// What stands on the wire.
    #[must_use]
    pub const fn write(&self) -> [u8; Self::BYTES] {
        let fragment = self.fragment.to_be_bytes();
        let group = self.group.to_be_bytes();
        [
            self.encoding.get() << 4 | (self.temporal_layer & 0x0f),
            self.detail,
            fragment[0],
            fragment[1],
            group[0],
            group[1],
        ]
    }

    /// Reads what stands on the wire; every six bytes are an extension.
    #[must_use]
    pub fn parse(bytes: [u8; Self::BYTES]) -> Self {
        Self {
            encoding: Encoding::try_from(u32::from(bytes[0] >> 4))
                .expect("four bits are an encoding number"),
            temporal_layer: bytes[0] & 0x0f,
            detail: bytes[1],
            fragment: u16::from_be_bytes([bytes[2], bytes[3]]),
            group: u16::from_be_bytes([bytes[4], bytes[5]]),
        }
    }
}
