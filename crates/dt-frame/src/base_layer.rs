//! Telling whether a picture can still be decoded, by the base-layer counter.

use crate::{Extension, FrameType};

/// What a frame says about those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// All base-layer frames that it needs were seen.
    Whole,
    /// So many base-layer frames before it are missing: ask for a key frame.
    /// Said once a loss; until the next key frame the answer is
    /// [`Broken`](Self::Broken).
    Missing(u8),
    /// A key frame is still being waited for.
    Broken,
    /// It belongs before a frame that was seen already; decoding it now would
    /// go back in time.
    Late,
}

/// Follows the frames of one video encoding in the order in which they would be
/// decoded. Sequence numbers don't serve: temporal layers are left out on
/// purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BaseLayer {
    /// The counter of the newest base-layer frame; `None` before the first key
    /// frame and after a loss.
    current: Option<u8>,
}

impl BaseLayer {
    /// Waits for a key frame first.
    #[must_use]
    pub const fn new() -> Self {
        Self { current: None }
    }

    /// Takes the next frame.
    pub fn observe(&mut self, frame_type: FrameType, extension: &Extension) -> Continuity {
        let counter = extension.detail;
        if frame_type != FrameType::VideoDelta {
            self.current = Some(counter);
            return Continuity::Whole;
        }
        let Some(current) = self.current else {
            return Continuity::Broken;
        };
        let base = extension.temporal_layer == 0;
        let expected = if base {
            current.wrapping_add(1)
        } else {
            current
        };
        let ahead = counter.wrapping_sub(expected);
        if ahead == 0 {
            self.current = Some(counter);
            Continuity::Whole
        } else if ahead < 128 {
            // More than half of the ring ahead is behind.
            self.current = None;
            Continuity::Missing(ahead)
        } else {
            Continuity::Late
        }
    }

    /// Whether a key frame is being waited for.
    #[must_use]
    pub const fn needs_key_frame(&self) -> bool {
        self.current.is_none()
    }
}

#[cfg(test)]
mod tests {
    use dt_ids::Encoding;

    use super::*;

    fn ext(layer: u8, counter: u8) -> Extension {
        Extension::video(Encoding::MIN, layer, counter, 0)
    }

    #[test]
    fn a_left_out_upper_layer_is_no_loss() {
        let mut base = BaseLayer::new();
        assert_eq!(
            base.observe(FrameType::VideoKey, &ext(0, 254)),
            Continuity::Whole
        );
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(1, 254)),
            Continuity::Whole
        );
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 255)),
            Continuity::Whole
        );
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 0)),
            Continuity::Whole
        );
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(2, 0)),
            Continuity::Whole
        );
    }

    #[test]
    fn a_missing_base_frame_is_said_once_and_healed_by_a_key_frame() {
        let mut base = BaseLayer::new();
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 9)),
            Continuity::Broken
        );
        base.observe(FrameType::VideoKey, &ext(0, 10));
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 13)),
            Continuity::Missing(2)
        );
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 14)),
            Continuity::Broken
        );
        assert!(base.needs_key_frame());
        assert_eq!(
            base.observe(FrameType::VideoKey, &ext(0, 15)),
            Continuity::Whole
        );
    }

    #[test]
    fn an_upper_layer_frame_reveals_the_missing_base_frame_below_it() {
        let mut base = BaseLayer::new();
        base.observe(FrameType::VideoKey, &ext(0, 1));
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(1, 2)),
            Continuity::Missing(1)
        );
    }

    #[test]
    fn a_frame_that_comes_late_breaks_nothing() {
        let mut base = BaseLayer::new();
        base.observe(FrameType::VideoKey, &ext(0, 5));
        base.observe(FrameType::VideoDelta, &ext(0, 6));
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 6)),
            Continuity::Late
        );
        assert_eq!(
            base.observe(FrameType::VideoDelta, &ext(0, 7)),
            Continuity::Whole
        );
    }
}
