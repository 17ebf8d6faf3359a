//! When datagrams that came are sent on: at once while there is time enough, gathered
//! while there is little.
//!
//! Whatever a receiver is sent at once costs one system call, one wake of its
//! connection and later one acknowledgement, be it one packet or thirty. So once
//! the core is busy, sending goes in rounds: the next one begins some time after
//! the last, and all that came meanwhile goes with it. The time grows for as long
//! as the core has more to do than it should, up to a limit, and shrinks when it
//! has less; so nobody waits longer than is needed to keep it there. A handler with
//! time to spare adds nothing.
//!
//! Driven by the handler's sending. No clock and no timer.

use std::time::{Duration, Instant};

/// How to gather.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatherConfig {
    /// What came waits no longer than this for more.
    pub wait_max: Duration,
    /// How busy the core may be, in percent, before anything waits.
    pub busy_percent: u32,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_micros(2500),
            busy_percent: 75,
        }
    }
}

/// How often it is looked at how busy the core is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After such a silence nothing is busy, and what came before says little.
const SILENCE: Duration = Duration::from_millis(100);
/// A shorter wait is none: timers are no finer.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// What part of the longest wait a core that is wholly busy adds at each look, and
/// one that is idle takes away.
const STEP: f64 = 0.125;

/// The machine.
#[derive(Debug)]
pub(crate) struct Gather {
    config: GatherConfig,
    /// From the beginning of one round to that of the next.
    wait: Duration,
    began: Option<Instant>,
    /// When it was looked last, and the time for which the core had been busy.
    looked: Option<(Instant, Duration)>,
}

impl Gather {
    pub(crate) const fn new(config: GatherConfig) -> Self {
        Self {
            config,
            wait: Duration::ZERO,
            began: None,
            looked: None,
        }
    }

    /// Something is there to be sent: when. In the past or now: at once.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        match self.began {
            Some(began) if self.wait >= WAIT_MIN => began + self.wait,
            _ => now,
        }
    }

    /// A round begins; `busy` says for how long the core has been busy since any
    /// time.
    pub(crate) fn begins(&mut self, now: Instant, busy: impl FnOnce() -> Duration) {
        self.began = Some(now);
        let since = self.looked.map(|(at, _)| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < LOOK_EVERY) {
            return;
        }
        let busy = busy();
        let before = self.looked.replace((now, busy));
        self.wait = match before.zip(since) {
            Some(((_, before), since)) if since <= SILENCE => {
                self.next_wait(busy.saturating_sub(before).div_duration_f64(since))
            }
            _ => Duration::ZERO,
        };
    }

    /// With the core busy for this part of the time.
    fn next_wait(&self, busy: f64) -> Duration {
        let wanted = f64::from(self.config.busy_percent.clamp(1, 99)) / 100.0;
        let above = busy.min(1.0) - wanted;
        let share = above / if above > 0.0 { 1.0 - wanted } else { wanted };
        let most = self.config.wait_max.as_secs_f64();
        let wait = self.wait.as_secs_f64() + share * STEP * most;
        Duration::from_secs_f64(wait.clamp(0.0, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(5);
    const US: Duration = Duration::from_micros(1);

    /// A core on which a burst comes at a distance; a round costs something, and
    /// each burst in it.
    struct Core {
        gather: Gather,
        distance: Duration,
        round: Duration,
        burst: Duration,
        now: Instant,
        busy: Duration,
        /// When the bursts came that wait.
        waiting: Vec<Instant>,
        next: Instant,
    }

    /// What happened in a while.
    #[derive(Debug)]
    struct Seen {
        longest: Duration,
        bursts_a_round: f64,
        busy: f64,
    }

    impl Core {
        fn new(distance: Duration, round: Duration, burst: Duration) -> Self {
            let now = Instant::now();
            Self {
                gather: Gather::new(GatherConfig {
                    wait_max: MAX,
                    busy_percent: 50,
                }),
                distance,
                round,
                burst,
                now,
                busy: Duration::ZERO,
                waiting: Vec::new(),
                next: now,
            }
        }

        fn run(&mut self, for_so_long: Duration) -> Seen {
            let (start, busy) = (self.now, self.busy);
            let (mut longest, mut rounds, mut bursts) = (Duration::ZERO, 0.0, 0.0);
            while self.now < start + for_so_long {
                let first = self.now.max(self.next);
                let due = self.gather.due(first).max(first);
                while self.next <= due {
                    self.waiting.push(self.next);
                    self.next += self.distance;
                }
                // What came while the core was busy waits for that, not for us.
                longest = longest.max(due - first);
                self.gather.begins(due, || self.busy);
                let count = u32::try_from(self.waiting.len()).expect("few");
                let cost = self.round + self.burst * count;
                rounds += 1.0;
                bursts += f64::from(count);
                self.waiting.clear();
                self.busy += cost;
                self.now = due + cost;
            }
            Seen {
                longest,
                bursts_a_round: bursts / rounds,
                busy: (self.busy - busy).div_duration_f64(self.now - start),
            }
        }
    }

    #[test]
    fn with_time_to_spare_all_goes_at_once() {
        for (distance, round) in [(3000, 200), (1000, 400), (33_000, 15_000)] {
            let mut core = Core::new(US * distance, US * round, Duration::ZERO);
            let seen = core.run(Duration::from_secs(2));
            assert_eq!(seen.longest, Duration::ZERO, "{seen:?}");
        }
    }

    #[test]
    fn it_waits_as_little_as_keeps_the_core_at_its_measure() {
        // 80 % without waiting, of which rounds are three quarters.
        let mut core = Core::new(US * 1000, US * 600, US * 200);
        core.run(Duration::from_secs(2));
        let seen = core.run(Duration::from_secs(2));
        assert!((0.4..0.6).contains(&seen.busy), "{seen:?}");
        assert!((1.5..3.5).contains(&seen.bursts_a_round), "{seen:?}");
        assert!(seen.longest < MAX, "{seen:?}");
    }

    #[test]
    fn nothing_waits_longer_than_the_limit_however_busy_the_core() {
        let mut core = Core::new(US * 400, US * 500, US * 300);
        core.run(Duration::from_secs(1));
        let seen = core.run(Duration::from_secs(1));
        assert!(seen.longest <= MAX, "{seen:?}");
        // It carries what it could not without.
        assert!(seen.busy < 0.95, "{seen:?}");
        assert!(seen.bursts_a_round > 8.0, "{seen:?}");
    }

    #[test]
    fn what_was_busy_once_and_is_not_any_more_goes_at_once_again() {
        let mut core = Core::new(US * 400, US * 500, US * 300);
        core.run(Duration::from_secs(1));
        core.distance = US * 10_000;
        core.run(Duration::from_secs(1));
        assert_eq!(core.run(Duration::from_secs(1)).longest, Duration::ZERO);
    }

    #[test]
    fn after_a_silence_the_first_goes_at_once() {
        let mut core = Core::new(US * 400, US * 500, US * 300);
        core.run(Duration::from_secs(1));
        let later = core.now + Duration::from_secs(10);
        assert!(core.gather.due(later) <= later);
        core.gather.begins(later, || core.busy);
        assert_eq!(core.gather.due(later + US), later + US);
    }
}
