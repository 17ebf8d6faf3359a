//! How much of what is sent is lost.

use std::time::{Duration, Instant};

/// A count goes on for so many packets at least, so that chance is not taken for
/// a share.
const COUNT_PACKETS_MIN: u64 = 100;

#[derive(Debug, Clone, Copy, Default)]
struct Bytes {
    arrived: u64,
    lost: u64,
}

/// The share of the last one to two round trips, or of the last hundred to two
/// hundred packets where those are more.
#[derive(Debug, Clone)]
pub(super) struct Losses {
    older: Bytes,
    newer: Bytes,
    since: Instant,
    /// What was sent before is not counted.
    from: Instant,
}

impl Losses {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            older: Bytes::default(),
            newer: Bytes::default(),
            since: now,
            from: now,
        }
    }

    pub(super) fn arrived(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        mtu: u64,
        rtt: Duration,
    ) {
        if sent < self.from {
            return;
        }
        self.newer.arrived += bytes;
        if self.newer.arrived + self.newer.lost >= COUNT_PACKETS_MIN * mtu
            && now.saturating_duration_since(self.since) >= rtt
        {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
    }

    pub(super) fn lost(&mut self, sent: Instant, bytes: u64) {
        if sent >= self.from {
            self.newer.lost += bytes;
        }
    }

    /// Whether more than one in `one_in` was lost.
    pub(super) fn are_above(&self, one_in: u64, mtu: u64) -> bool {
        let lost = self.older.lost + self.newer.lost;
        let all = lost + self.older.arrived + self.newer.arrived;
        lost * one_in > all.max(COUNT_PACKETS_MIN * mtu)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const MTU: u64 = 1200;

    /// Packets that are lost by chance, ten each millisecond at 20 ms of round trip;
    /// how often the share was above a tenth.
    fn times_above(loss: f64, packets: u32) -> usize {
        let begin = Instant::now();
        let rtt = Duration::from_millis(20);
        let mut losses = Losses::new(begin);
        let mut rng = StdRng::seed_from_u64(1);
        (0..packets)
            .filter(|packet| {
                let sent = begin + Duration::from_micros(100) * *packet;
                if rng.random_bool(loss) {
                    losses.lost(sent, MTU);
                } else {
                    losses.arrived(sent + rtt, sent, MTU, MTU, rtt);
                }
                losses.are_above(10, MTU)
            })
            .count()
    }

    #[test]
    fn one_in_twenty_by_chance_is_not_one_in_ten_and_one_in_six_is() {
        assert_eq!(times_above(0.05, 10_000), 0);
        assert!(times_above(1.0 / 6.0, 10_000) > 9000);
    }

    #[test]
    fn a_few_of_the_first_packets_are_no_share_and_many_are() {
        let begin = Instant::now();
        let mut losses = Losses::new(begin);
        losses.lost(begin, 5 * MTU);
        assert!(!losses.are_above(10, MTU));
        losses.lost(begin, 6 * MTU);
        assert!(losses.are_above(10, MTU));
    }

    #[test]
    fn what_was_sent_before_a_cut_does_not_count() {
        let begin = Instant::now();
        let later = begin + Duration::from_millis(1);
        let mut losses = Losses::new(later);
        losses.lost(begin, 1000 * MTU);
        assert!(!losses.are_above(10, MTU));
        losses.lost(later, 1000 * MTU);
        assert!(losses.are_above(10, MTU));
    }
}
