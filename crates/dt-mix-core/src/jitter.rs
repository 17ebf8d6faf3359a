//! One source's packets, put into the order of their capture.
//!
//! A packet waits as long as the most belated one of the last seconds would need,
//! so that it is played in time. Timestamps are the sender's: they are compared with
//! each other only, so it does not matter what its clock shows.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::STEP_US;

/// Packets that wait at most; with more the oldest goes. More than a second.
const PACKETS_MAX: usize = 64;
/// A packet waits for so long at least, and at most, in microseconds.
const DELAY_MIN_US: u64 = 40_000;
const DELAY_MAX_US: u64 = 200_000;
/// Capture times that differ by less are the same place in the sound.
const SAME_US: u64 = 10_000;
/// A longer gap is a pause rather than a loss: nothing is made up for it.
const GAP_MAX_US: u64 = 120_000;
/// So many late packets in a row mean that the sender's clock was put back.
const LATE_MAX: u32 = 25;
/// How evenly packets come is seen in two spans of this length.
const WINDOW: Duration = Duration::from_secs(2);

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This packet.
    Packet(Bytes),
    /// One that is missing, with later ones there: the one right behind it, or
    /// others.
    Lost(Option<Bytes>),
    /// Nothing is there.
    Dry,
}

#[derive(Debug)]
pub(crate) struct Jitter {
    packets: BTreeMap<u64, Bytes>,
    /// The capture time that is played next, while anything is played.
    next_us: Option<u64>,
    /// Since when the first packet waits, while nothing is played.
    waiting_since: Option<Instant>,
    late_in_row: u32,
    /// How long a packet lasted.
    packet_us: u64,
    unevenness: Unevenness,
}

impl Jitter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            packets: BTreeMap::new(),
            next_us: None,
            waiting_since: None,
            late_in_row: 0,
            packet_us: STEP_US,
            unevenness: Unevenness::new(now),
        }
    }

    /// A packet came.
    pub(crate) fn push(&mut self, timestamp_us: u64, payload: Bytes, now: Instant) {
        if self.is_late(timestamp_us) {
            self.late_in_row += 1;
            if self.late_in_row < LATE_MAX {
                // It shows how long packets would have to wait all the same.
                self.unevenness.see(timestamp_us, now);
                return;
            }
            self.stop();
            self.unevenness = Unevenness::new(now);
        }
        self.late_in_row = 0;
        self.unevenness.see(timestamp_us, now);
        // The first one counts: it may come twice.
        self.packets.entry(timestamp_us).or_insert(payload);
        if self.packets.len() > PACKETS_MAX {
            self.packets.pop_first();
        }
        if self.next_us.is_none() {
            self.waiting_since.get_or_insert(now);
        }
    }

    fn is_late(&self, timestamp_us: u64) -> bool {
        let next = self.next_us;
        next.is_some_and(|next| timestamp_us.saturating_add(SAME_US) < next)
    }

    pub(crate) const fn is_playing(&self) -> bool {
        self.next_us.is_some()
    }

    /// Begins to play if it is time to; whether it did.
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        let (Some(since), Some((first, _))) = (self.waiting_since, self.packets.first_key_value())
        else {
            return false;
        };
        let waited = now.saturating_duration_since(since).as_micros();
        let delay = self.unevenness.delay_us();
        if waited < u128::from(delay) && self.waiting_us() < delay {
            return false;
        }
        self.next_us = Some(*first);
        self.waiting_since = None;
        true
    }

    /// What is to be played at this place.
    pub(crate) fn next(&mut self) -> Next {
        let Some(next) = self.next_us else {
            return Next::Dry;
        };
        while let Some(first) = self.packets.first_entry() {
            let at = *first.key();
            if at.saturating_add(SAME_US) < next {
                // Overtaken by a packet that lasted longer than it looked.
                first.remove();
                continue;
            }
            let missing = at.saturating_sub(next);
            if (SAME_US + 1..=GAP_MAX_US).contains(&missing) {
                // Two in a row leave nothing of the first.
                let behind = missing <= self.packet_us + SAME_US;
                return Next::Lost(behind.then(|| first.get().clone()));
            }
            self.next_us = Some(at);
            return Next::Packet(first.remove());
        }
        Next::Dry
    }

    /// So many samples stand for what [`next`](Self::next) gave.
    pub(crate) fn advance(&mut self, samples: usize, was_packet: bool) {
        let us = samples as u64 * 1000 / (u64::from(crate::RATE_HZ) / 1000);
        if was_packet && us > 0 {
            self.packet_us = us;
        }
        self.next_us = self.next_us.map(|next| next.saturating_add(us));
    }

    /// Nothing is played any more, until packets come.
    pub(crate) fn stop(&mut self) {
        self.next_us = None;
        self.waiting_since = None;
        self.packets.clear();
    }

    /// What will be played next was captured then.
    pub(crate) const fn next_us(&self) -> Option<u64> {
        self.next_us
    }

    /// How much sound waits.
    fn waiting_us(&self) -> u64 {
        self.packets.len() as u64 * self.packet_us
    }

    /// More waits than is needed: the sender's clock is fast, or the network has
    /// become better.
    pub(crate) fn is_too_full(&self) -> bool {
        self.waiting_us() > self.unevenness.delay_us() + 2 * STEP_US
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }
}

/// The most and the least that packets took, between two clocks that have nothing
/// to do with each other.
#[derive(Debug)]
struct Unevenness {
    epoch: Instant,
    began: Instant,
    now: Option<(i64, i64)>,
    before: Option<(i64, i64)>,
}

impl Unevenness {
    const fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            began: now,
            now: None,
            before: None,
        }
    }

    fn see(&mut self, timestamp_us: u64, now: Instant) {
        if now.saturating_duration_since(self.began) > WINDOW {
            self.began = now;
            self.before = self.now.take();
        }
        let arrived = now.saturating_duration_since(self.epoch).as_micros();
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
        // Only differences count, and they are right on a ring.
        let took = (arrived as u64).wrapping_sub(timestamp_us) as i64;
        let (least, most) = self.now.unwrap_or((took, took));
        self.now = Some((least.min(took), most.max(took)));
    }

    /// How long packets have to wait so that the most belated one is in time.
    fn delay_us(&self) -> u64 {
        let spans = [self.now, self.before];
        let least = spans.iter().flatten().map(|(least, _)| *least).min();
        let most = spans.iter().flatten().map(|(_, most)| *most).max();
        let spread = most.unwrap_or(0).saturating_sub(least.unwrap_or(0));
        let spread = u64::try_from(spread).unwrap_or(0);
        spread
            .saturating_add(STEP_US)
            .clamp(DELAY_MIN_US, DELAY_MAX_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(mark: u8) -> Bytes {
        Bytes::from(vec![mark])
    }

    /// Plays one packet.
    fn play(jitter: &mut Jitter) -> Next {
        let next = jitter.next();
        if next != Next::Dry {
            jitter.advance(960, true);
        }
        next
    }

    #[test]
    fn packets_are_played_in_the_order_of_capture_and_once() {
        let now = Instant::now();
        let mut jitter = Jitter::new(now);
        for mark in [0, 2, 1, 1, 3] {
            jitter.push(1_000_000 + u64::from(mark) * STEP_US, packet(mark), now);
        }
        assert!(jitter.start(now), "enough is there");
        for mark in 0..4 {
            assert_eq!(play(&mut jitter), Next::Packet(packet(mark)));
        }
        assert_eq!(play(&mut jitter), Next::Dry);
    }

    #[test]
    fn a_loss_is_made_up_for_and_a_pause_is_not() {
        let now = Instant::now();
        let mut jitter = Jitter::new(now);
        for at in [0, 1, 4, 50, 51] {
            let came = now + crate::STEP * u32::try_from(at).unwrap();
            jitter.push(at * STEP_US, packet(1), came);
        }
        assert!(jitter.start(now + crate::STEP * 51));
        let played: Vec<_> = (0..7).map(|_| play(&mut jitter)).collect();
        let came = Next::Packet(packet(1));
        // What is behind the second of two may tell of it.
        let lost = [Next::Lost(None), Next::Lost(Some(packet(1)))];
        assert_eq!(played[..2], [came, Next::Packet(packet(1))]);
        assert_eq!(played[2..4], lost);
        assert!(
            played[4..]
                .iter()
                .all(|next| matches!(next, Next::Packet(_)))
        );
        assert_eq!(play(&mut jitter), Next::Dry);
    }

    #[test]
    fn the_more_unevenly_packets_come_the_longer_they_wait() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        let mut jitter = Jitter::new(begin);
        jitter.push(0, packet(0), begin);
        assert!(!jitter.start(begin + ms(39)));
        assert!(jitter.start(begin + ms(40)));
        // One comes 100 ms late.
        jitter.push(STEP_US, packet(1), begin + ms(120));
        jitter.stop();
        jitter.push(10 * STEP_US, packet(2), begin + ms(200));
        assert!(!jitter.start(begin + ms(300)));
        assert!(jitter.start(begin + ms(320)));
    }

    #[test]
    fn nonsense_for_timestamps_is_bounded_and_a_clock_put_back_is_followed() {
        let now = Instant::now();
        let mut jitter = Jitter::new(now);
        for n in 0..1000_u64 {
            jitter.push(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), packet(0), now);
            assert!(jitter.len() <= PACKETS_MAX);
        }
        jitter.push(u64::MAX, packet(0), now);
        assert!(jitter.start(now));
        while play(&mut jitter) != Next::Dry {}
        for n in 0..LATE_MAX {
            assert_eq!(jitter.len(), 0);
            jitter.push(u64::from(n) * STEP_US, packet(9), now);
        }
        assert_eq!(jitter.len(), 1);
    }
}
