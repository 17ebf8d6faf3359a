//! How old the datagrams are that wait for one receiver, told from how many bytes
//! its carrier still holds. What is too late is not sent any more: half a second
//! of pictures that are over helps nobody, and what comes after it waits too.
//!
//! Driven by whoever sends; no clock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What was given to a carrier, as far as it has not been sent.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// When, and bytes; oldest first.
    given: VecDeque<(Instant, usize)>,
    bytes: usize,
}

impl Backlog {
    /// How long the oldest of `queued` bytes have waited.
    pub(crate) fn age(&mut self, queued: usize, now: Instant) -> Duration {
        while let Some((_, bytes)) = self.given.front()
            && self.bytes - bytes >= queued
        {
            self.bytes -= bytes;
            self.given.pop_front();
        }
        let oldest = self.given.front().map_or(now, |(at, _)| *at);
        now.saturating_duration_since(oldest)
    }

    /// So many bytes were given to the carrier.
    pub(crate) fn gave(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        self.given.push_back((now, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn what_a_fast_receiver_is_given_never_grows_old() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        for round in 0..1000 {
            let now = start + MILLISECOND * round;
            assert_eq!(backlog.age(0, now), Duration::ZERO);
            backlog.gave(6600, now);
        }
        assert!(backlog.given.len() <= 1);
    }

    #[test]
    fn the_age_is_that_of_the_oldest_byte_that_still_waits() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        // 1000 bytes a millisecond come, 500 go.
        for round in 0..100 {
            let now = start + MILLISECOND * round;
            let queued = 500 * round as usize;
            let age = backlog.age(queued, now);
            let expected = MILLISECOND * round.div_ceil(2);
            assert!(age.abs_diff(expected) <= MILLISECOND, "{round}: {age:?}");
            backlog.gave(1000, now);
        }
    }

    #[test]
    fn an_empty_queue_is_new_again_whatever_was_before() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        for _ in 0..10 {
            backlog.gave(100, start);
        }
        assert_eq!(backlog.age(1000, start + MILLISECOND), MILLISECOND);
        assert_eq!(backlog.age(0, start + MILLISECOND), Duration::ZERO);
        assert_eq!((backlog.bytes, backlog.given.len()), (0, 0));
    }
}
