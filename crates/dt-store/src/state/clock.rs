//! Time as the embedded state store sees it; passed in, so that tests move it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch that never go back.
pub trait Clock: Send + Sync {
    /// Now.
    fn now_ms(&self) -> u64;
}

/// The system's time at start, carried on by its monotonic clock: times to live
/// must not depend on somebody setting the clock.
#[derive(Debug)]
pub struct SystemClock {
    started_at: Duration,
    since: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        let started_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started_at,
            since: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let now = self.started_at + self.since.elapsed();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}
