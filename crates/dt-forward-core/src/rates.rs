//! What an encoding takes, as it arrives.

use std::time::{Duration, Instant};

use crate::{EncodingSpec, allocation::Cost};

/// An encoding of which nothing came for so long is not sent now.
const SILENT_AFTER: Duration = Duration::from_millis(1500);
/// One that has come for so long is there.
const STEADY_AFTER: Duration = Duration::from_millis(300);
/// Bytes are counted for so long, and then taken into the rate.
const COUNT_FOR: Duration = Duration::from_millis(500);
/// The new count's weight.
const WEIGHT: f64 = 0.4;

/// The rate of one encoding.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    woke_at: Option<Instant>,
    heard_at: Option<Instant>,
    since: Option<Instant>,
    full_bytes: usize,
    base_bytes: usize,
    measured: Option<Cost>,
}

impl Rates {
    /// A frame or a piece of one came. `upper`: of a temporal layer that can be
    /// left out. Gives `true` when the encoding was silent before.
    pub(crate) fn add(&mut self, bytes: usize, upper: bool, now: Instant) -> bool {
        let woke = !self.is_sent(now);
        if woke {
            *self = Self {
                woke_at: Some(now),
                ..Self::default()
            };
        }
        self.heard_at = Some(now);
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= COUNT_FOR {
            self.take_in(elapsed);
            self.since = Some(now);
        }
        self.full_bytes += bytes;
        self.base_bytes += if upper { 0 } else { bytes };
        woke
    }

    pub(crate) fn is_sent(&self, now: Instant) -> bool {
        self.heard_at
            .is_some_and(|at| now.saturating_duration_since(at) < SILENT_AFTER)
    }

    /// It is sent, and was a while ago, too.
    pub(crate) fn is_steady(&self, now: Instant) -> bool {
        let long = |at| now.saturating_duration_since(at) >= STEADY_AFTER;
        self.is_sent(now) && self.woke_at.is_some_and(long)
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What it takes: as measured, and as published, or limited to by demand,
    /// where that is not known.
    pub(crate) fn cost(&self, spec: &EncodingSpec, limit_bps: u32, now: Instant) -> Cost {
        let mut expected = Cost::expected(spec);
        if limit_bps > 0 {
            let limit = f64::from(limit_bps);
            expected.full_bps = expected.full_bps.min(limit);
            expected.base_bps = expected.base_bps.min(limit);
        }
        match self.measured.filter(|_| self.is_sent(now)) {
            // A still picture moves again: half of what was published is left
            // free for it.
            Some(measured) => Cost {
                full_bps: measured.full_bps.max(expected.full_bps / 2.0),
                base_bps: measured.base_bps.max(expected.base_bps / 2.0),
            },
            None => expected,
        }
    }

    /// What comes now.
    pub(crate) fn measured_bps(&self, now: Instant) -> f64 {
        self.measured
            .filter(|_| self.is_sent(now))
            .map_or(0.0, |cost| cost.full_bps)
    }

    fn take_in(&mut self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let bps = |bytes: usize| bytes as f64 * 8.0 / seconds;
        let new = Cost {
            full_bps: bps(std::mem::take(&mut self.full_bytes)),
            base_bps: bps(std::mem::take(&mut self.base_bytes)),
        };
        let before = self.measured.unwrap_or(new);
        let mix = |before: f64, new: f64| before + WEIGHT * (new - before);
        self.measured = Some(Cost {
            full_bps: mix(before.full_bps, new.full_bps),
            base_bps: mix(before.base_bps, new.base_bps),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rates_are_measured_and_forgotten_with_the_encoding() {
        let start = Instant::now();
        let spec = EncodingSpec::new(640, 360, 400_000);
        let mut rates = Rates::default();
        assert_eq!(rates.cost(&spec, 0, start), Cost::expected(&spec));
        let mut now = start;
        for n in 0..100 {
            now = start + Duration::from_millis(20 * n);
            assert_eq!(rates.add(1000, n % 2 == 1, now), n == 0);
        }
        let cost = rates.cost(&spec, 0, now);
        assert!((cost.full_bps - 400_000.0).abs() < 20_000.0, "{cost:?}");
        assert!((cost.base_bps - 200_000.0).abs() < 20_000.0, "{cost:?}");
        let later = now + SILENT_AFTER;
        assert!(!rates.is_sent(later));
        assert_eq!(rates.cost(&spec, 0, later), Cost::expected(&spec));
        assert!(rates.add(1, false, later));
    }
}
