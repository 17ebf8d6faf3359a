//! What waits before the bottleneck, as round trips tell it.

use std::time::{Duration, Instant};

/// Samples that make a look at the queue, so that one lucky packet does not hide it.
const LOOK_SAMPLES_MIN: u32 = 8;
/// A share of the base round trip that a look takes.
const LOOK_SHARE: u32 = 8;
/// A base that was not seen again for one to two of these is forgotten.
const BASE_KEPT: Duration = Duration::from_secs(5);

/// The shortest round trip of the recent past, in two halves of which the older
/// one is dropped every [`BASE_KEPT`].
#[derive(Debug, Clone)]
struct Base {
    older: Duration,
    newer: Duration,
    since: Instant,
}

impl Base {
    const fn new(now: Instant) -> Self {
        Self {
            older: Duration::MAX,
            newer: Duration::MAX,
            since: now,
        }
    }

    fn add(&mut self, sample: Duration, now: Instant) {
        if now.saturating_duration_since(self.since) >= BASE_KEPT {
            self.older = self.newer;
            self.newer = sample;
            self.since = now;
        }
        self.newer = self.newer.min(sample);
    }

    fn get(&self) -> Duration {
        self.older.min(self.newer)
    }
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// How long the queue was.
    pub(super) waiting: Duration,
    /// The round trip without it.
    pub(super) base: Duration,
}

/// Looks at the queue again and again: each time at the shortest round trip among
/// packets sent from a moment on.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    base: Base,
    from: Instant,
    shortest: Duration,
    samples: u32,
    /// A look takes at least so long.
    look_min: Duration,
}

impl Queue {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            base: Base::new(now),
            from: now,
            shortest: Duration::MAX,
            samples: 0,
            look_min: Duration::ZERO,
        }
    }

    /// The shortest round trip of the recent past.
    pub(super) fn base(&self) -> Duration {
        self.base.get()
    }

    /// From now on; packets from before have seen the queue before it.
    pub(super) const fn look_from(&mut self, from: Instant, look_min: Duration) {
        self.from = from;
        self.look_min = look_min;
        self.shortest = Duration::MAX;
        self.samples = 0;
    }

    /// Takes a round trip. Returns what was seen once a look is over.
    pub(super) fn add(&mut self, now: Instant, sent: Instant) -> Option<Look> {
        let sample = now.saturating_duration_since(sent);
        self.base.add(sample, now);
        if sent < self.from {
            return None;
        }
        self.shortest = self.shortest.min(sample);
        self.samples += 1;
        let base = self.base.get();
        if self.samples < LOOK_SAMPLES_MIN
            || sent.saturating_duration_since(self.from) < self.look_min.max(base / LOOK_SHARE)
        {
            return None;
        }
        let waiting = self.shortest.saturating_sub(base);
        self.look_from(sent, Duration::ZERO);
        Some(Look { waiting, base })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A packet a millisecond, each with this round trip; what the looks saw, in
    /// milliseconds.
    fn looks(queue: &mut Queue, from: Instant, rtts: impl Iterator<Item = u32>) -> Vec<u128> {
        let mut seen = Vec::new();
        let mut acknowledged: Vec<_> = (0u32..)
            .zip(rtts)
            .map(|(packet, rtt)| (from + packet * MS + rtt * MS, from + packet * MS))
            .collect();
        acknowledged.sort();
        for (now, sent) in acknowledged {
            seen.extend(queue.add(now, sent).map(|look| look.waiting.as_millis()));
        }
        seen
    }

    #[test]
    fn a_steady_path_has_no_queue_and_a_growing_round_trip_is_one() {
        let begin = Instant::now();
        let mut queue = Queue::new(begin);
        let steady = looks(&mut queue, begin, std::iter::repeat_n(100, 500));
        assert!(steady.len() > 20 && steady.iter().all(|waiting| *waiting == 0));
        let later = begin + 600 * MS;
        let grown = looks(&mut queue, later, std::iter::repeat_n(170, 500));
        // The first look had begun before.
        assert!(grown.len() > 20 && grown.iter().skip(1).all(|waiting| *waiting == 70));
    }

    #[test]
    fn a_jittery_path_without_a_queue_has_none() {
        let begin = Instant::now();
        let mut queue = Queue::new(begin);
        let mut rng = StdRng::seed_from_u64(1);
        let jittery = std::iter::repeat_with(|| 40 + rng.random_range(0..60)).take(2000);
        let seen = looks(&mut queue, begin, jittery);
        let most = 50;
        assert!(
            seen.len() > 50 && seen.iter().all(|waiting| *waiting < most),
            "{seen:?}"
        );
    }

    #[test]
    fn a_path_that_became_longer_is_believed_within_ten_seconds() {
        let begin = Instant::now();
        let mut queue = Queue::new(begin);
        looks(&mut queue, begin, std::iter::repeat_n(20, 1000));
        let later = begin + 1100 * MS;
        let seen = looks(&mut queue, later, std::iter::repeat_n(120, 11_000));
        assert_eq!(seen.first(), Some(&100));
        assert_eq!(seen.last(), Some(&0));
    }

    #[test]
    fn packets_from_before_a_cut_do_not_count() {
        let begin = Instant::now();
        let mut queue = Queue::new(begin);
        looks(&mut queue, begin, std::iter::repeat_n(100, 100));
        queue.look_from(begin + 500 * MS, Duration::ZERO);
        let before = looks(&mut queue, begin + 200 * MS, std::iter::repeat_n(250, 299));
        assert!(before.is_empty());
    }
}
