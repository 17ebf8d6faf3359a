//! How a sender's datagrams arrive here: which came before, and how many did not
//! come at all.

use std::time::{Duration, Instant};

/// Of so many numbers before the highest it is known whether they came; an older
/// one counts as new.
const WINDOW: u64 = 128;
/// How often a sender is told.
const INTERVAL: Duration = Duration::from_secs(1);
/// Losses above which a sender is to send its sound twice, in millionths, and
/// below which once is enough again.
const REPEAT_ABOVE_PPM: u32 = 10_000;
const ONCE_BELOW_PPM: u32 = 2_000;
/// Reports in a row that are below before it ends.
const CALM_REPORTS: u32 = 5;

/// The numbers of one encoding.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// The highest number, and which of those before it came; its own bit is 0.
    seen: Option<(u64, u128)>,
    /// Since the last report: numbers that should have come, and that did.
    expected: u64,
    came: u64,
    /// Of those: behind a higher one.
    late: u64,
}

impl Arrivals {
    /// A datagram came; `false` when it came before.
    pub(crate) fn add(&mut self, sequence: u64) -> bool {
        let Some((highest, mask)) = &mut self.seen else {
            self.seen = Some((sequence, 1));
            self.expected += 1;
            self.came += 1;
            return true;
        };
        if sequence > *highest {
            let ahead = sequence - *highest;
            if ahead >= 10 * WINDOW {
                // A sender that begins anew; nothing is known of what is between.
                *mask = 1;
                self.expected += 1;
            } else {
                *mask = if ahead < WINDOW {
                    *mask << ahead | 1
                } else {
                    1
                };
                self.expected += ahead;
            }
            *highest = sequence;
            self.came += 1;
            return true;
        }
        let behind = *highest - sequence;
        if behind >= 10 * WINDOW {
            // Its numbers begin anew.
            self.seen = Some((sequence, 1));
            self.expected += 1;
        } else if behind < WINDOW {
            let bit = 1 << behind;
            if *mask & bit != 0 {
                return false;
            }
            *mask |= bit;
        }
        self.late += 1;
        self.came += 1;
        true
    }

    /// Numbers expected and come since the last call. `repeated`: what came behind
    /// a higher number is a copy of what was lost, and counts as lost; else those
    /// who are helped by copies would seem not to need them.
    pub(crate) fn take(&mut self, repeated: bool) -> (u64, u64) {
        let late = std::mem::take(&mut self.late);
        let made_up = if repeated { late } else { 0 };
        (
            std::mem::take(&mut self.expected),
            std::mem::take(&mut self.came).saturating_sub(made_up),
        )
    }
}

/// What a sender is told of its datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// Datagrams that did not arrive, in millionths.
    pub lost_ppm: u32,
    /// Each audio frame is to be sent again with the next one.
    pub repeat_audio: bool,
}

/// Reports to one session.
#[derive(Debug)]
pub(crate) struct Reports {
    made_at: Instant,
    repeat: bool,
    calm: u32,
}

impl Reports {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            made_at: now,
            repeat: false,
            calm: 0,
        }
    }

    /// Its sound is to be sent again.
    pub(crate) const fn repeats(&self) -> bool {
        self.repeat
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made_at) >= INTERVAL
    }

    /// A report over all encodings of a session; `None` when nothing came.
    pub(crate) fn make(&mut self, expected: u64, came: u64, now: Instant) -> Option<SenderReport> {
        self.made_at = now;
        // Of a few packets whose copies came there is still something to tell.
        if expected == 0 || came == 0 && !self.repeat {
            return None;
        }
        let lost = expected.saturating_sub(came);
        let lost_ppm = lost.saturating_mul(1_000_000) / expected.max(1);
        let lost_ppm = u32::try_from(lost_ppm).unwrap_or(1_000_000);
        if lost_ppm > REPEAT_ABOVE_PPM {
            self.repeat = true;
            self.calm = 0;
        } else if lost_ppm < ONCE_BELOW_PPM {
            self.calm += 1;
            self.repeat &= self.calm < CALM_REPORTS;
        }
        Some(SenderReport {
            lost_ppm,
            repeat_audio: self.repeat,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_is_known_in_any_order() {
        let mut arrivals = Arrivals::default();
        for sequence in [10, 12, 11, 200, 150] {
            assert!(arrivals.add(sequence), "{sequence}");
            assert!(!arrivals.add(sequence), "{sequence}");
        }
        assert!(arrivals.add(5000), "its numbers went far ahead");
        assert!(arrivals.add(1), "its numbers begin anew");
        assert!(!arrivals.add(1));
    }

    #[test]
    fn losses_are_told_and_sound_is_asked_for_twice_until_they_are_gone() {
        let mut now = Instant::now();
        let mut reports = Reports::new(now);
        let mut arrivals = Arrivals::default();
        let mut sequence = 0;
        let mut told = Vec::new();
        for second in 0..12 {
            for n in 0..100 {
                sequence += 1;
                if second >= 4 || n % 20 != 7 {
                    arrivals.add(sequence);
                }
            }
            now += INTERVAL;
            assert!(reports.is_due(now));
            let (expected, came) = arrivals.take(false);
            let made = reports.make(expected, came, now).unwrap();
            told.push((made.lost_ppm / 10_000, made.repeat_audio));
        }
        assert_eq!(told[..4], [(5, true); 4]);
        assert_eq!(told[4..8], [(0, true); 4]);
        assert_eq!(told[8..], [(0, false); 4]);
        assert_eq!(reports.make(0, 0, now), None);
    }

    #[test]
    fn what_copies_make_up_for_is_still_lost_on_the_way() {
        let mut now = Instant::now();
        let mut reports = Reports::new(now);
        let mut arrivals = Arrivals::default();
        let mut sequence = 0;
        for second in 0..20 {
            let repeated = reports.repeats();
            for n in 0..50 {
                sequence += 1;
                let lost = n % 10 == 3;
                if !lost {
                    arrivals.add(sequence);
                }
                if repeated && n % 10 == 4 {
                    assert!(arrivals.add(sequence - 1), "the copy of the lost one");
                }
            }
            now += INTERVAL;
            let (expected, came) = arrivals.take(repeated);
            let made = reports.make(expected, came, now).unwrap();
            assert_eq!(
                (made.lost_ppm, made.repeat_audio),
                (100_000, true),
                "{second}"
            );
        }
    }
}
