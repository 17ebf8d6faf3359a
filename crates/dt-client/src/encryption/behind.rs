//! Whether this client has missed a step of its group: others seal with an epoch
//! that does not begin here, and nothing can be opened any more.
//!
//! Asked by the [opening](super::opening). One sender that makes up an epoch is
//! not enough as long as another's frames are opened.

use std::time::{Duration, Instant};

/// Steps come by signaling and frames by media: for so long one may be ahead.
const BEHIND_AFTER: Duration = Duration::from_secs(2);
/// Another way in costs everybody a commit.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Of the first frame in vain after the last one that was opened.
    since: Option<Instant>,
    asked: Option<Instant>,
}

impl Behind {
    /// A frame was opened: the group is followed.
    pub(super) fn opened(&mut self) {
        self.since = None;
    }

    /// A frame's epoch did not begin in time. `true`: a step was missed, and
    /// another way in is to be asked for.
    pub(super) fn in_vain(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let passed = |from: Instant, wait| now.saturating_duration_since(from) >= wait;
        let asked_lately = self.asked.is_some_and(|at| !passed(at, ASK_AGAIN_AFTER));
        if asked_lately || !passed(since, BEHIND_AFTER) {
            return false;
        }
        self.asked = Some(now);
        self.since = None;
        true
    }
}
