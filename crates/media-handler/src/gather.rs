//! When datagrams that came are sent on: at once while there is little to do,
//! gathered while there is much.
//!
//! Every sending round costs each receiver a system call, a wake of its
//! connection and later an acknowledgement, whatever it carries. So while rounds
//! take a good part of the time, the next one waits: for as long as the last ones
//! took, times a factor, and never longer than a limit. A handler that idles adds
//! nothing; one that is busy adds a delay that its own queues would soon add
//! anyway, and gets cheaper by it.
//!
//! Driven by the handler's sending task. No clock and no timer.

use std::time::{Duration, Instant};

/// Of how many rounds the cost is averaged over.
const SMOOTHING: u32 = 8;

/// How to gather.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatherConfig {
    /// A datagram waits no longer than this for others.
    pub wait_max: Duration,
    /// Share of the time in rounds, in percent, from which on rounds are spaced.
    pub busy_percent: u32,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(1),
            busy_percent: 20,
        }
    }
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Gather {
    config: GatherConfig,
    /// What a round takes, smoothed.
    cost: Duration,
    /// From the beginning of one round to that of the next, smoothed.
    period: Duration,
    began: Option<Instant>,
}

impl Gather {
    pub(crate) const fn new(config: GatherConfig) -> Self {
        Self {
            config,
            cost: Duration::ZERO,
            period: Duration::ZERO,
            began: None,
        }
    }

    /// Something is there to be sent: when. In the past or now: at once.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        match self.began {
            Some(began) if self.is_busy(now) => began + self.config.wait_max,
            _ => now,
        }
    }

    /// A round was carried out.
    pub(crate) fn sent(&mut self, began: Instant, ended: Instant) {
        let cost = ended.saturating_duration_since(began);
        if let Some(before) = self.began {
            let period = began.saturating_duration_since(before);
            self.period = smooth(self.period, period.min(PERIOD_MAX));
        }
        self.cost = smooth(self.cost, cost);
        self.began = Some(began);
    }

    fn is_busy(&self, now: Instant) -> bool {
        let silent = self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) > PERIOD_MAX);
        !silent && self.cost * 100 > self.period * self.config.busy_percent
    }
}

/// After such a silence nothing is busy, and what came before says little.
const PERIOD_MAX: Duration = Duration::from_millis(100);

fn smooth(before: Duration, sample: Duration) -> Duration {
    (before * (SMOOTHING - 1) + sample) / SMOOTHING
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(1);

    fn gather() -> Gather {
        Gather::new(GatherConfig {
            wait_max: WAIT,
            busy_percent: 20,
        })
    }

    /// Bursts at this distance, each round of which takes so long; gives the
    /// longest wait of the later half.
    fn drive(gather: &mut Gather, distance: Duration, cost: Duration) -> Duration {
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        let mut free_at = start;
        for burst in 0..400u32 {
            let came = (start + distance * burst).max(free_at);
            let due = gather.due(came).max(came);
            if burst >= 200 {
                longest = longest.max(due - came);
            }
            free_at = due + cost;
            gather.sent(due, free_at);
        }
        longest
    }

    #[test]
    fn an_idle_handler_sends_at_once() {
        let micros = Duration::from_micros;
        assert_eq!(
            drive(&mut gather(), micros(3000), micros(200)),
            Duration::ZERO
        );
        // However much comes at once.
        assert_eq!(
            drive(&mut gather(), micros(33_000), micros(5000)),
            Duration::ZERO
        );
    }

    #[test]
    fn a_busy_handler_gathers_and_nothing_waits_longer_than_the_limit() {
        let micros = Duration::from_micros;
        for distance in [100, 250, 400] {
            let waited = drive(&mut gather(), micros(distance), micros(150));
            assert!(waited > Duration::ZERO, "{distance}");
            assert!(waited <= WAIT, "{distance}: {waited:?}");
        }
    }

    #[test]
    fn rounds_that_take_longer_than_the_limit_are_not_put_off() {
        let micros = Duration::from_micros;
        let waited = drive(&mut gather(), micros(2000), micros(1900));
        assert_eq!(waited, Duration::ZERO);
    }

    #[test]
    fn after_a_silence_the_first_goes_at_once() {
        let mut gather = gather();
        drive(
            &mut gather,
            Duration::from_micros(100),
            Duration::from_micros(90),
        );
        let later = Instant::now() + Duration::from_secs(10);
        assert_eq!(gather.due(later), later);
    }
}
