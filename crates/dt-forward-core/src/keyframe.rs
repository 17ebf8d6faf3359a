//! Asking a sender for key frames, merged and not too often.

use std::time::{Duration, Instant};

/// The requests for one encoding.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    asked_at: Option<Instant>,
    /// Somebody needs one and the sender was not asked yet.
    wanted: bool,
}

impl Requests {
    /// Somebody needs a key frame.
    pub(crate) const fn want(&mut self) {
        self.wanted = true;
    }

    /// A key frame came; nobody needs another.
    pub(crate) const fn satisfied(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask the sender now.
    pub(crate) fn due(&mut self, interval: Duration, now: Instant) -> bool {
        let early = self
            .asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < interval);
        if !self.wanted || early {
            return false;
        }
        self.wanted = false;
        self.asked_at = Some(now);
        true
    }

    /// A new sender session begins with a key frame of its own.
    pub(crate) const fn reset(&mut self) {
        self.asked_at = None;
        self.wanted = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wishes_are_one_request_a_second() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut requests = Requests::default();
        let mut asked = 0;
        for millisecond in 0..3000 {
            requests.want();
            if requests.due(second, start + Duration::from_millis(millisecond)) {
                asked += 1;
            }
        }
        assert_eq!(asked, 3);
    }

    #[test]
    fn a_key_frame_that_comes_meanwhile_satisfies_all() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut requests = Requests::default();
        requests.want();
        assert!(requests.due(second, start));
        requests.want();
        requests.satisfied();
        assert!(!requests.due(second, start + second));
    }
}
