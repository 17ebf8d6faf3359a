//! Whether received media is what its codec says it must be, without decoding
//! it: the structure of VP8 frames (RFC 6386) and Opus packets (RFC 6716).
//!
//! A frame that lost a piece or was put together wrongly fails here with high
//! probability, because its partitions no longer fill it. Deliberately absent:
//! pictures and sound.

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Shorter than its own header.
    #[error("shorter than its header")]
    TooShort,
    /// A VP8 key frame without its start code.
    #[error("a key frame without a start code")]
    StartCode,
    /// The header says key frame and the codec says otherwise, or the reverse.
    #[error("the media header and the codec disagree on whether it is a key frame")]
    FrameType,
    /// A version or profile that does not exist.
    #[error("an unknown bitstream version")]
    Version,
    /// A picture without width or height.
    #[error("a picture of no size")]
    NoSize,
    /// A part of it would reach beyond its end.
    #[error("a part of it lies beyond its end")]
    Partition,
    /// An Opus packet longer than 120 ms or with frames above 1275 bytes.
    #[error("an Opus packet that breaks the rules of RFC 6716 section 3.4")]
    Opus,
}

/// Checks a VP8 frame; gives width and height when it is a key frame.
///
/// # Errors
/// What is wrong with it.
pub fn vp8(payload: &[u8], key: bool) -> Result<Option<(u16, u16)>, Corrupt> {
    const TAG: usize = 3;
    const KEY_HEADER: usize = 7;
    let Some(&[a, b, c]) = payload.first_chunk::<TAG>() else {
        return Err(Corrupt::TooShort);
    };
    let tag = u32::from_le_bytes([a, b, c, 0]);
    if (tag & 1 == 0) != key {
        return Err(Corrupt::FrameType);
    }
    if tag >> 1 & 0b111 > 3 {
        return Err(Corrupt::Version);
    }
    let first_partition = (tag >> 5) as usize;
    let body = &payload[TAG..];
    if !key {
        return if first_partition > body.len() || first_partition == 0 {
            Err(Corrupt::Partition)
        } else {
            Ok(None)
        };
    }
    let Some(&[s0, s1, s2, w0, w1, h0, h1]) = body.first_chunk::<KEY_HEADER>() else {
        return Err(Corrupt::TooShort);
    };
    if [s0, s1, s2] != [0x9d, 0x01, 0x2a] {
        return Err(Corrupt::StartCode);
    }
    if first_partition > body.len() - KEY_HEADER || first_partition == 0 {
        return Err(Corrupt::Partition);
    }
    // The upper two bits of each are the scaling that a player may apply.
    let width = u16::from_le_bytes([w0, w1]) & 0x3fff;
    let height = u16::from_le_bytes([h0, h1]) & 0x3fff;
    if width == 0 || height == 0 {
        return Err(Corrupt::NoSize);
    }
    Ok(Some((width, height)))
}

/// Checks an Opus packet; gives its duration in microseconds.
///
/// # Errors
/// What is wrong with it.
pub fn opus(payload: &[u8]) -> Result<u32, Corrupt> {
    const FRAME_BYTES_MAX: usize = 1275;
    const PACKET_US_MAX: u32 = 120_000;
    let (&toc, rest) = payload.split_first().ok_or(Corrupt::TooShort)?;
    let frame_us = frame_duration_us(toc >> 3);
    let frames = match toc & 0b11 {
        0 => {
            if rest.len() > FRAME_BYTES_MAX {
                return Err(Corrupt::Opus);
            }
            1
        }
        1 => {
            if rest.len() % 2 != 0 || rest.len() / 2 > FRAME_BYTES_MAX {
                return Err(Corrupt::Opus);
            }
            2
        }
        2 => {
            let (first, rest) = frame_length(rest)?;
            if first > rest.len() || rest.len() - first > FRAME_BYTES_MAX {
                return Err(Corrupt::Opus);
            }
            2
        }
        _ => many_frames(rest)?,
    };
    let duration = frame_us * frames;
    if duration > PACKET_US_MAX {
        return Err(Corrupt::Opus);
    }
    Ok(duration)
}

/// RFC 6716 table 2.
fn frame_duration_us(config: u8) -> u32 {
    match config {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        12..=15 => [10_000, 20_000][usize::from(config % 2)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    }
}

/// A length of one or two bytes (RFC 6716 section 3.2.1).
fn frame_length(bytes: &[u8]) -> Result<(usize, &[u8]), Corrupt> {
    match *bytes {
        [first, ref rest @ ..] if first < 252 => Ok((usize::from(first), rest)),
        [first, second, ref rest @ ..] => Ok((usize::from(second) * 4 + usize::from(first), rest)),
        _ => Err(Corrupt::TooShort),
    }
}

/// Code 3 packets (RFC 6716 section 3.2.5): gives the number of frames.
fn many_frames(bytes: &[u8]) -> Result<u32, Corrupt> {
    let (&count, mut rest) = bytes.split_first().ok_or(Corrupt::TooShort)?;
    let frames = usize::from(count & 0x3f);
    let (variable, padded) = (count & 0x80 != 0, count & 0x40 != 0);
    if frames == 0 || frames > 48 {
        return Err(Corrupt::Opus);
    }
    let mut padding = 0;
    let mut more = padded;
    while more {
        let (&byte, after) = rest.split_first().ok_or(Corrupt::TooShort)?;
        rest = after;
        padding += usize::from(byte.min(254));
        more = byte == 255;
    }
    let mut used = 0;
    if variable {
        for _ in 1..frames {
            let (length, after) = frame_length(rest)?;
            rest = after;
            used += length;
        }
    }
    let left = rest
        .len()
        .checked_sub(padding + used)
        .ok_or(Corrupt::Partition)?;
    if !variable && left % frames != 0 {
        return Err(Corrupt::Opus);
    }
    Ok(u32::try_from(frames).expect("at most 48"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::clip::Clip;

    #[test]
    fn every_frame_of_the_committed_clips_is_sound() {
        let video = Clip::from_ivf(&Bytes::from_static(include_bytes!(
            "../../darktower/clips/video.ivf"
        )))
        .unwrap();
        for frame in video.frames() {
            let size = vp8(&frame.payload, frame.key).unwrap();
            assert_eq!(size, frame.key.then_some((640, 360)));
        }
        let audio = Clip::from_ogg(&Bytes::from_static(include_bytes!(
            "../../darktower/clips/audio.ogg"
        )))
        .unwrap();
        for packet in audio.frames() {
            assert_eq!(opus(&packet.payload), Ok(20_000));
        }
    }

    #[test]
    fn a_frame_of_the_wrong_type_or_without_start_code_is_corrupt() {
        let key = [0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 8, 0, 8, 0, 1];
        assert_eq!(vp8(&key, false), Err(Corrupt::FrameType));
        let mut broken = key;
        broken[3] = 0;
        assert_eq!(vp8(&broken, true), Err(Corrupt::StartCode));
        let mut cut = key;
        cut[2] = 0xff;
        assert_eq!(vp8(&cut, true), Err(Corrupt::Partition));
    }

    proptest! {
        #[test]
        fn any_bytes_are_sound_or_corrupt(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            key in any::<bool>(),
        ) {
            let _ = vp8(&bytes, key);
            if let Ok(duration) = opus(&bytes) {
                prop_assert!((2_500..=120_000).contains(&duration));
            }
        }
    }
}
