//! Encoded clips in the two simplest containers: VP8 in IVF, Opus in Ogg.
//!
//! For programs that publish recorded media: bots, tests, demonstrations. The
//! whole clip is in memory; every length in the file is checked against what is
//! there. Deliberately absent: other codecs, seeking, clips that grow.

use std::time::Duration;

use bytes::Bytes;

/// A file is not a clip that can be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// The file does not begin as its container does.
    #[error("not {0}")]
    NotA(&'static str),
    /// The codec is not the one that this program sends.
    #[error("the codec is not {0}")]
    Codec(&'static str),
    /// A length points beyond the end of the file.
    #[error("cut short at byte {0}")]
    Truncated(usize),
    /// There is nothing to play.
    #[error("no frame in it")]
    Empty,
    /// A video clip has to begin with a frame that can be decoded alone.
    #[error("the first frame is no key frame")]
    NoKeyFrame,
}

/// One encoded frame or packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipFrame {
    /// What the encoder gave.
    pub payload: Bytes,
    /// Decodable without those before it; all audio packets are.
    pub key: bool,
}

/// Frames at a steady rate, to be played in a loop.
#[derive(Debug, Clone)]
pub struct Clip {
    frames: Vec<ClipFrame>,
    frame_duration: Duration,
    width: u32,
    height: u32,
}

impl Clip {
    /// Reads VP8 video from an IVF file.
    ///
    /// # Errors
    /// When it is not IVF with VP8, is cut short, or does not begin with a key
    /// frame.
    pub fn from_ivf(file: &Bytes) -> Result<Self, ClipError> {
        const FILE_HEADER: usize = 32;
        const FRAME_HEADER: usize = 12;
        if file.len() < FILE_HEADER || &file[..4] != b"DKIF" {
            return Err(ClipError::NotA("an IVF file"));
        }
        if &file[8..12] != b"VP80" {
            return Err(ClipError::Codec("VP8"));
        }
        let (rate, scale) = (le32(file, 16), le32(file, 20));
        if rate == 0 || scale == 0 {
            return Err(ClipError::NotA("an IVF file with a frame rate"));
        }
        let mut frames = Vec::new();
        let mut at = FILE_HEADER;
        while at < file.len() {
            let begin = at + FRAME_HEADER;
            if begin > file.len() {
                return Err(ClipError::Truncated(at));
            }
            let end = begin
                .checked_add(le32(file, at) as usize)
                .filter(|end| *end <= file.len())
                .ok_or(ClipError::Truncated(at))?;
            let payload = file.slice(begin..end);
            // RFC 6386 section 9.1: bit 0 of a frame is 0 in key frames.
            let key = payload.first().is_some_and(|first| first & 1 == 0);
            frames.push(ClipFrame { payload, key });
            at = end;
        }
        if !frames.first().ok_or(ClipError::Empty)?.key {
            return Err(ClipError::NoKeyFrame);
        }
        Ok(Self {
            frames,
            frame_duration: Duration::from_secs_f64(f64::from(scale) / f64::from(rate)),
            width: u32::from(le16(file, 12)),
            height: u32::from(le16(file, 14)),
        })
    }

    /// Reads Opus audio in packets of 20 ms from an Ogg file (RFC 7845).
    ///
    /// # Errors
    /// When it is not Ogg with Opus or is cut short.
    pub fn from_ogg(file: &Bytes) -> Result<Self, ClipError> {
        let packets = ogg_packets(file)?;
        let mut packets = packets.into_iter();
        if !packets
            .next()
            .is_some_and(|head| head.starts_with(b"OpusHead"))
        {
            return Err(ClipError::Codec("Opus"));
        }
        if !packets
            .next()
            .is_some_and(|tags| tags.starts_with(b"OpusTags"))
        {
            return Err(ClipError::Codec("Opus"));
        }
        let frames: Vec<_> = packets
            .map(|payload| ClipFrame { payload, key: true })
            .collect();
        if frames.is_empty() {
            return Err(ClipError::Empty);
        }
        Ok(Self {
            frames,
            frame_duration: Duration::from_millis(20),
            width: 0,
            height: 0,
        })
    }

    /// In playing order, at least one.
    #[must_use]
    pub fn frames(&self) -> &[ClipFrame] {
        &self.frames
    }

    /// From one frame to the next.
    #[must_use]
    pub const fn frame_duration(&self) -> Duration {
        self.frame_duration
    }

    /// Pixels, 0 for audio.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Pixels, 0 for audio.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The place of the first key frame at or after `place`, going round.
    #[must_use]
    pub fn key_frame_from(&self, place: usize) -> usize {
        let count = self.frames.len();
        (0..count)
            .map(|step| (place + step) % count)
            .find(|place| self.frames[*place].key)
            .unwrap_or(0)
    }
}

/// Splits Ogg pages (RFC 3533) into packets. Of one logical stream, which is
/// what a file of audio holds.
fn ogg_packets(file: &Bytes) -> Result<Vec<Bytes>, ClipError> {
    const PAGE_HEADER: usize = 27;
    const SEGMENT_FULL: u8 = 255;
    let mut packets = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let header = file
            .get(at..at + PAGE_HEADER)
            .ok_or(ClipError::Truncated(at))?;
        if &header[..4] != b"OggS" {
            return Err(ClipError::NotA("an Ogg file"));
        }
        let segments = usize::from(header[26]);
        let table = at + PAGE_HEADER..at + PAGE_HEADER + segments;
        let lengths = file.get(table.clone()).ok_or(ClipError::Truncated(at))?;
        let mut from = table.end;
        for length in lengths {
            let to = from + usize::from(*length);
            open.extend_from_slice(file.get(from..to).ok_or(ClipError::Truncated(from))?);
            from = to;
            // A packet goes on in the next segment exactly when this one is full.
            if *length < SEGMENT_FULL {
                packets.push(Bytes::from(std::mem::take(&mut open)));
            }
        }
        at = from;
    }
    Ok(packets)
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIDEO: &[u8] = include_bytes!("../../darktower/clips/video.ivf");
    const AUDIO: &[u8] = include_bytes!("../../darktower/clips/audio.ogg");

    #[test]
    fn the_committed_clips_can_be_played() {
        let video = Clip::from_ivf(&Bytes::from_static(VIDEO)).unwrap();
        assert_eq!((video.width(), video.height()), (640, 360));
        assert_eq!(video.frames().len(), 120);
        assert_eq!(video.key_frame_from(1), 30);
        assert_eq!(video.key_frame_from(91), 0);
        let audio = Clip::from_ogg(&Bytes::from_static(AUDIO)).unwrap();
        assert_eq!(audio.frames().len(), 201);
    }

    #[test]
    fn a_clip_cut_short_is_refused() {
        let cut = Bytes::from_static(&VIDEO[..VIDEO.len() - 1]);
        assert!(matches!(Clip::from_ivf(&cut), Err(ClipError::Truncated(_))));
        let cut = Bytes::from_static(&AUDIO[..AUDIO.len() - 1]);
        assert!(matches!(Clip::from_ogg(&cut), Err(ClipError::Truncated(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            ogg in any::<bool>(),
        ) {
            let magic: &[u8] = if ogg { b"OggS" } else { b"DKIF\0\0\x20\0VP80" };
            for (to, from) in bytes.iter_mut().zip(magic) {
                *to = *from;
            }
            let bytes = Bytes::from(bytes);
            let _ = Clip::from_ivf(&bytes);
            let _ = Clip::from_ogg(&bytes);
        }
    }
}
