//! Synthetic frames that can be checked where they arrive.
//!
//! A frame begins with a mark, its number and its length; the rest is a sequence
//! that follows from the number, so that a byte lost, moved or taken from
//! another frame shows.

use bytes::{BufMut, Bytes, BytesMut};

const MARK: &[u8; 8] = b"DTLOAD01";
const HEADER_BYTES: usize = 24;
/// A key frame is so many times as large as another.
const KEY_WEIGHT: u32 = 6;
/// Seconds between key frames.
const KEY_INTERVAL_S: u32 = 2;

/// Sizes of the frames of one video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Frames from one key frame to the next.
    pub(super) group_frames: u64,
    key_bytes: usize,
    delta_bytes: usize,
}

impl Sizes {
    pub(super) fn new(kbps: u32, fps: u32) -> Self {
        let group_frames = fps * KEY_INTERVAL_S;
        let group_bytes = kbps * 125 * KEY_INTERVAL_S;
        let delta = (group_bytes / (group_frames - 1 + KEY_WEIGHT)) as usize;
        Self {
            group_frames: u64::from(group_frames),
            key_bytes: (delta * KEY_WEIGHT as usize).max(HEADER_BYTES),
            delta_bytes: delta.max(HEADER_BYTES),
        }
    }

    fn bytes(&self, key: bool) -> usize {
        if key {
            self.key_bytes
        } else {
            self.delta_bytes
        }
    }
}

/// A frame.
pub(super) fn make(number: u64, key: bool, sizes: &Sizes) -> Bytes {
    let bytes = sizes.bytes(key);
    let mut out = BytesMut::with_capacity(bytes + 8);
    out.put_slice(MARK);
    out.put_u64(number);
    out.put_u64(bytes as u64);
    let mut word = seed(number);
    while out.len() < bytes {
        word = next(word);
        out.put_u64(word);
    }
    out.truncate(bytes);
    out.freeze()
}

/// Whether a payload is a whole frame that [`make`] made.
pub(super) fn is_sound(payload: &[u8]) -> bool {
    let Some(header) = payload.first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    let (mark, rest) = header.split_at(MARK.len());
    let (number, length) = rest.split_at(8);
    if mark != MARK || length != (payload.len() as u64).to_be_bytes() {
        return false;
    }
    let Ok(number) = number.try_into() else {
        return false;
    };
    let mut word = seed(u64::from_be_bytes(number));
    payload[HEADER_BYTES..].chunks(8).all(|chunk| {
        word = next(word);
        word.to_be_bytes().starts_with(chunk)
    })
}

/// Never 0, where xorshift would stay.
fn seed(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

fn next(mut word: u64) -> u64 {
    word ^= word << 13;
    word ^= word >> 7;
    word ^ (word << 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_add_up_to_the_bit_rate() {
        let sizes = Sizes::new(1500, 30);
        let group = sizes.key_bytes + 59 * sizes.delta_bytes;
        assert!((370_000..=375_000).contains(&group), "{group}");
        assert_eq!(sizes.group_frames, 60);
    }

    #[test]
    fn a_frame_that_was_changed_cut_or_mixed_is_not_sound() {
        let sizes = Sizes::new(1500, 30);
        let frame = make(7, true, &sizes);
        assert!(is_sound(&frame));
        assert!(!is_sound(&frame[..frame.len() - 1]));
        for place in [0, 9, 20, 24, frame.len() - 1] {
            let mut changed = frame.to_vec();
            changed[place] ^= 1;
            assert!(!is_sound(&changed), "{place}");
        }
        let mut mixed = frame.to_vec();
        mixed[100..200].copy_from_slice(&make(8, true, &sizes)[100..200]);
        assert!(!is_sound(&mixed));
        assert!(!is_sound(b""));
    }
}
