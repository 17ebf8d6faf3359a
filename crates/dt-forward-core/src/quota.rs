//! How much a session may send.

use std::time::{Duration, Instant};

/// What each datagram and frame costs beside its bytes, so that a flood of tiny
/// ones is bounded too.
const UNIT_COST_BYTES: u64 = 100;

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// In the long run. Each datagram or frame counts for 100 bytes more than
    /// it has.
    pub bytes_per_s: u64,
    /// At once after a pause.
    pub burst_bytes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            // 40 Mbit/s: camera and screen at their best, three times over.
            bytes_per_s: 5_000_000,
            // The key frame of a large screen.
            burst_bytes: 8 << 20,
        }
    }
}

/// A bucket that fills at the rate up to the burst.
#[derive(Debug)]
pub(crate) struct Bucket {
    quota: Quota,
    left_bytes: u64,
    filled_at: Instant,
}

impl Bucket {
    pub(crate) const fn new(quota: Quota, now: Instant) -> Self {
        Self {
            quota,
            left_bytes: quota.burst_bytes,
            filled_at: now,
        }
    }

    /// Takes the cost of `bytes`, or nothing when there is not enough.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let cost = bytes as u64 + UNIT_COST_BYTES;
        if cost > self.left_bytes {
            return false;
        }
        self.left_bytes -= cost;
        true
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let gained = micros.saturating_mul(self.quota.bytes_per_s) / 1_000_000;
        if gained == 0 {
            // Fractions of a byte are not lost to frequent calls.
            return;
        }
        self.filled_at = if gained >= self.quota.burst_bytes {
            now
        } else {
            self.filled_at
                + Duration::from_micros(gained * 1_000_000 / self.quota.bytes_per_s.max(1))
        };
        self.left_bytes = (self.left_bytes + gained).min(self.quota.burst_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let quota = Quota {
            bytes_per_s: 10_000,
            burst_bytes: 3_000,
        };
        let mut bucket = Bucket::new(quota, start);
        let mut passed = 0;
        for millisecond in 0..10_000 {
            while bucket.take(900, start + Duration::from_millis(millisecond)) {
                passed += 1000;
            }
        }
        assert!((102_000..=103_000).contains(&passed), "{passed}");
    }

    #[test]
    fn what_exceeds_the_burst_never_passes() {
        let start = Instant::now();
        let mut bucket = Bucket::new(
            Quota {
                bytes_per_s: 1,
                burst_bytes: 500,
            },
            start,
        );
        assert!(!bucket.take(401, start + Duration::from_secs(3600)));
        assert!(bucket.take(400, start + Duration::from_secs(3600)));
    }
}
