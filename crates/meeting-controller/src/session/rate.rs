//! How many messages a session may send: a bucket that holds a minute's worth
//! and fills evenly.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Bucket {
    per_minute: u32,
    /// In 60 000ths of a message.
    level: u64,
    filled_at: Instant,
}

const UNIT: u64 = 60_000;

impl Bucket {
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        Self {
            per_minute,
            level: u64::from(per_minute) * UNIT,
            filled_at: now,
        }
    }

    /// Takes one message; or says after how many milliseconds there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), u32> {
        let passed_ms = now.saturating_duration_since(self.filled_at).as_millis();
        let passed_ms = u64::try_from(passed_ms).unwrap_or(u64::MAX);
        self.filled_at += Duration::from_millis(passed_ms);
        let rate = u64::from(self.per_minute);
        // `rate` messages a minute are `rate` units a millisecond.
        self.level = self
            .level
            .saturating_add(passed_ms.saturating_mul(rate))
            .min(rate * UNIT);
        if self.level >= UNIT {
            self.level -= UNIT;
            return Ok(());
        }
        let missing_ms = (UNIT - self.level).div_ceil(rate.max(1));
        Err(u32::try_from(missing_ms).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_one_as_time_goes_by() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(1000, now);
        for _ in 0..1000 {
            assert_eq!(bucket.take(now), Ok(()));
        }
        assert_eq!(bucket.take(now), Err(60));
        now += Duration::from_millis(59);
        assert_eq!(bucket.take(now), Err(1));
        now += Duration::from_millis(1);
        assert_eq!(bucket.take(now), Ok(()));
        assert_eq!(bucket.take(now), Err(60));
        now += Duration::from_secs(3600);
        for _ in 0..1000 {
            assert_eq!(bucket.take(now), Ok(()));
        }
        assert!(bucket.take(now).is_err());
    }
}
