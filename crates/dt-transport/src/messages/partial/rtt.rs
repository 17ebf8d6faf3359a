//! The round-trip time of a stream, measured by its own acknowledgements.

use std::time::Duration;

/// Before anything was measured.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// What the variation counts for at least: timers are no finer.
const GRANULARITY: Duration = Duration::from_millis(2);

/// Smoothed as RFC 9002 section 5 does.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    measured: Option<Measured>,
    /// What the session below says.
    path: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    smoothed: Duration,
    variation: Duration,
    least: Duration,
    latest: Duration,
    jitter: Duration,
}

impl Rtt {
    pub(super) fn hint(&mut self, path: Duration) {
        if !path.is_zero() {
            self.path = Some(path);
        }
    }

    pub(super) fn sample(&mut self, sample: Duration) {
        let Some(now) = &mut self.measured else {
            self.measured = Some(Measured {
                smoothed: sample,
                variation: sample / 2,
                least: sample,
                latest: sample,
                jitter: Duration::ZERO,
            });
            return;
        };
        now.least = now.least.min(sample);
        // As RFC 3550 section 6.4.1 smooths what changes between packets.
        now.jitter = (15 * now.jitter + now.latest.abs_diff(sample)) / 16;
        now.latest = sample;
        now.variation = (3 * now.variation + now.smoothed.abs_diff(sample)) / 4;
        now.smoothed = (7 * now.smoothed + sample) / 8;
    }

    pub(super) fn smoothed(&self) -> Duration {
        self.measured
            .map(|now| now.smoothed)
            .or(self.path)
            .unwrap_or(INITIAL_RTT)
    }

    /// The least that was seen.
    pub(super) fn least(&self) -> Duration {
        self.measured
            .map(|now| now.least)
            .or(self.path)
            .unwrap_or(INITIAL_RTT)
    }

    pub(super) fn jitter(&self) -> Duration {
        self.measured.map(|now| now.jitter).unwrap_or_default()
    }

    /// Smoothed, and as much as it varies above that.
    pub(super) fn upper(&self) -> Duration {
        let variation = self.measured.map(|now| 4 * now.variation);
        let variation = variation.unwrap_or_else(|| self.smoothed() / 2);
        self.smoothed() + variation.max(GRANULARITY)
    }
}
