//! Tells a dead session from a quiet one, by RTT packets (WIRE section 1).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use dt_wire::framing::RTT_TAG;

/// Probes whose answer is still waited for; a session is dead before there are
/// more, and older ones are forgotten should the clock jump.
const UNANSWERED_MAX: usize = 16;
const PACKET_BYTES: usize = 9;

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Send this RTT packet on the control stream.
    Send(Bytes),
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
        let mut packet = BytesMut::with_capacity(PACKET_BYTES);
        packet.put_u8(RTT_TAG);
        packet.put_u64(number);
        Probe::Send(packet.freeze())
    }

    /// When [`poll`](Self::poll) has something to do at the latest.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.next_probe.min(self.heard + self.dead_after)
    }

    /// Takes an RTT packet of the peer. `None` when it answers no probe of this
    /// session that is still open.
    pub fn handle_echo(&mut self, packet: &[u8], now: Instant) -> Option<Duration> {
        let (tag, number) = packet.split_first()?;
        if *tag != RTT_TAG {
            return None;
        }
        let number = u64::from_be_bytes(number.try_into().ok()?);
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

    fn sent(probe: Probe) -> Bytes {
        match probe {
            Probe::Send(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_probe_goes_every_second_and_its_echo_gives_the_rtt() {
        let begin = Instant::now();
        let mut live = Liveness::new(SECOND, 5 * SECOND / 2, begin);
        let first = sent(live.poll(begin));
        assert_eq!(first[0], RTT_TAG);
        assert_eq!(live.poll(begin), Probe::Wait(begin + SECOND));
        let later = begin + Duration::from_millis(30);
        let rtt = Some(Duration::from_millis(30));
        assert_eq!(live.handle_echo(&first, later), rtt);
        assert_eq!(live.handle_echo(&first, later), None, "answered already");
        assert_eq!(live.rtt(), rtt);
        assert_ne!(sent(live.poll(begin + SECOND)), first);
    }

    #[test]
    fn silence_for_two_and_a_half_seconds_means_dead_and_any_message_means_alive() {
        let begin = Instant::now();
        let mut live = Liveness::new(SECOND, 5 * SECOND / 2, begin);
        for second in 0..3 {
            sent(live.poll(begin + second * SECOND));
        }
        let end = begin + 5 * SECOND / 2;
        assert_eq!(live.poll(begin + 2 * SECOND), Probe::Wait(end));
        live.heard(begin + 2 * SECOND);
        assert_ne!(live.poll(end), Probe::Dead);
        assert_eq!(live.poll(end + 2 * SECOND), Probe::Dead);
    }

    #[test]
    fn packets_that_nobody_sent_are_ignored() {
        let begin = Instant::now();
        let mut live = Liveness::new(SECOND, 5 * SECOND / 2, begin);
        for packet in [
            &b""[..],
            b"\x03",
            b"\x03abcdefgh",
            b"\x04abcdefgh",
            &[3; 64],
        ] {
            assert_eq!(live.handle_echo(packet, begin), None);
        }
        assert_eq!(live.rtt(), None);
    }
}
