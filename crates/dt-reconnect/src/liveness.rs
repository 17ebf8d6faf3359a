//! Tells a dead session from a quiet one, by probes that the peer echoes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Probes whose answer is still waited for; a session is dead before there are
/// more, and older ones are forgotten should the clock jump.
const UNANSWERED_MAX: usize = 16;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Send a probe with this number.
    Send(u64),
    /// Nothing was heard for too long.
    Dead,
    /// Nothing before this moment.
    Wait(Instant),
}

/// Follows one session from its opening on.
#[derive(Debug, Clone)]
pub struct Liveness {
    interval: Duration,
    dead_after: Duration,
    next_probe: Instant,
    heard: Instant,
    next_number: u64,
    unanswered: VecDeque<(u64, Instant)>,
    rtt: Option<Duration>,
}

impl Liveness {
    /// Sends a probe at once and then every `interval`; nothing heard for
    /// `dead_after` means dead.
    #[must_use]
    pub const fn new(interval: Duration, dead_after: Duration, now: Instant) -> Self {
        Self {
            interval,
            dead_after,
            next_probe: now,
            heard: now,
            next_number: 0,
            unanswered: VecDeque::new(),
            rtt: None,
        }
    }

    /// What is due at `now`. Call it until it answers [`Probe::Wait`].
    pub fn poll(&mut self, now: Instant) -> Probe {
        let dead_at = self.heard + self.dead_after;
        if now >= dead_at {
            return Probe::Dead;
        }
        if now < self.next_probe {
            return Probe::Wait(self.due());
        }
        self.next_probe = now + self.interval;
        let number = self.next_number;
        self.next_number += 1;
        if self.unanswered.len() == UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((number, now));
        Probe::Send(number)
    }

    /// When [`poll`](Self::poll) has something to do at the latest.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.next_probe.min(self.heard + self.dead_after)
    }

    /// The peer has echoed a probe. `None` when it is none of this session that
    /// is still open.
    pub fn handle_echo(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let place = self.unanswered.iter().position(|(n, _)| *n == number)?;
        let (_, sent) = self.unanswered.remove(place)?;
        let rtt = now.saturating_duration_since(sent);
        self.rtt = Some(rtt);
        self.heard = self.heard.max(now);
        Some(rtt)
    }

    /// Anything else that arrived is a sign of life too.
    pub fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// The newest round-trip time.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_probe_goes_every_interval_and_its_echo_gives_the_rtt_once() {
        let begin = Instant::now();
        let mut live = Liveness::new(SECOND, 5 * SECOND / 2, begin);
        assert_eq!(live.poll(begin), Probe::Send(0));
        assert_eq!(live.poll(begin), Probe::Wait(begin + SECOND));
        let later = begin + Duration::from_millis(30);
        let rtt = Some(Duration::from_millis(30));
        assert_eq!(live.handle_echo(0, later), rtt);
        assert_eq!(live.handle_echo(0, later), None, "answered already");
        assert_eq!(live.handle_echo(7, later), None, "never sent");
        assert_eq!(live.rtt(), rtt);
        assert_eq!(live.poll(begin + SECOND), Probe::Send(1));
    }

    #[test]
    fn silence_means_dead_and_anything_heard_means_alive() {
        let begin = Instant::now();
        let mut live = Liveness::new(SECOND, 5 * SECOND / 2, begin);
        for second in 0..3 {
            assert_eq!(
                live.poll(begin + second * SECOND),
                Probe::Send(second.into())
            );
        }
        let end = begin + 5 * SECOND / 2;
        assert_eq!(live.poll(begin + 2 * SECOND), Probe::Wait(end));
        live.heard(begin + 2 * SECOND);
        assert_ne!(live.poll(end), Probe::Dead);
        assert_eq!(live.poll(end + 2 * SECOND), Probe::Dead);
    }
}
