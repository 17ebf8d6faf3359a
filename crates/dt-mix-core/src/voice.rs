//! One encoding of a sum of sources.

use bytes::Bytes;

use crate::{Pcm, codec::Encode, limiter::Limiter};

/// Steps of silence that are sent after the last voice, so that it fades out
/// rather than breaks off.
const TAIL: u32 = 10;

/// What is sent of one step.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) payload: Bytes,
    /// dB below overload, 127 silence.
    pub(crate) below_overload_db: u8,
}

#[derive(Debug)]
pub(crate) struct Voice<E> {
    encoder: E,
    limiter: Limiter,
    pub(crate) used_at: Option<u64>,
    tail: u32,
}

impl<E: Encode> Voice<E> {
    pub(crate) fn new(encoder: E) -> Self {
        Self {
            encoder,
            limiter: Limiter::default(),
            used_at: None,
            tail: 0,
        }
    }

    /// Encodes a step; `None` when there is nothing to send. `before` is what was
    /// heard the step before: an encoder that begins in the middle of a word hears
    /// it first, so that the receiver does not hear the change.
    pub(crate) fn speak(
        &mut self,
        step: u64,
        sum: &mut Pcm,
        before: impl FnOnce() -> Pcm,
        anybody: bool,
    ) -> Option<Spoken> {
        if anybody {
            self.tail = TAIL;
        } else if self.tail == 0 {
            return None;
        } else {
            self.tail -= 1;
        }
        if self.used_at.is_none_or(|at| at + 1 != step) {
            let mut before = before();
            self.limiter.apply(&mut before);
            // Nobody gets it.
            let _ = self.encoder.encode(&before);
        }
        self.used_at = Some(step);
        self.limiter.apply(sum);
        Some(Spoken {
            payload: self.encoder.encode(sum).ok()?,
            below_overload_db: below_overload_db(sum),
        })
    }
}

/// As RFC 6464 has it: of the root mean square.
fn below_overload_db(pcm: &Pcm) -> u8 {
    #[allow(clippy::cast_precision_loss)]
    let square = pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len() as f32;
    let db = -10.0 * square.max(1e-13).log10();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 127
    let level = db.round().clamp(0.0, 127.0) as u8;
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_rfc_6464() {
        assert_eq!(below_overload_db(&[0.0; 960]), 127);
        assert_eq!(below_overload_db(&[1.0; 960]), 0);
        assert_eq!(below_overload_db(&[0.1; 960]), 20);
    }
}
