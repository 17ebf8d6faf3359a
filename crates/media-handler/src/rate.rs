//! How many messages a session may send in a minute.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Counts in windows of a minute that begin with the first message.
#[derive(Debug)]
pub(crate) struct PerMinute {
    max: u32,
    count: u32,
    began: Option<Instant>,
}

impl PerMinute {
    pub(crate) const fn new(max: u32) -> Self {
        Self {
            max,
            count: 0,
            began: None,
        }
    }

    /// Counts a message.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let began = match self.began {
            Some(began) if now.saturating_duration_since(began) < MINUTE => began,
            _ => {
                self.began = Some(now);
                self.count = 0;
                now
            }
        };
        if self.count >= self.max {
            return Err(MINUTE.saturating_sub(now.saturating_duration_since(began)));
        }
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_takes_its_number_and_says_how_long_to_wait() {
        let start = Instant::now();
        let mut rate = PerMinute::new(2);
        assert_eq!(rate.take(start), Ok(()));
        assert_eq!(rate.take(start + Duration::from_secs(20)), Ok(()));
        assert_eq!(
            rate.take(start + Duration::from_secs(50)),
            Err(Duration::from_secs(10))
        );
        assert_eq!(rate.take(start + MINUTE), Ok(()));
    }
}
