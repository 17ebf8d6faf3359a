//! The shortest round trip of the recent past.

use std::time::{Duration, Instant};

/// A base that was not seen again for one to two of these is forgotten: a path
/// that became longer is believed.
const BASE_KEPT: Duration = Duration::from_secs(5);

/// Two halves of the past, of which the older one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Base {
    older: Duration,
    newer: Duration,
    since: Instant,
}

impl Base {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            older: Duration::MAX,
            newer: Duration::MAX,
            since: now,
        }
    }

    pub(super) fn add(&mut self, sample: Duration, now: Instant) {
        if now.saturating_duration_since(self.since) >= BASE_KEPT {
            self.older = self.newer;
            self.newer = sample;
            self.since = now;
        }
        self.newer = self.newer.min(sample);
    }

    pub(super) fn get(&self) -> Duration {
        self.older.min(self.newer)
    }
}
