//! Probes as RTT packets (WIRE section 1): one byte of tag, eight of the number.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use dt_wire::framing::RTT_TAG;

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
pub struct Liveness(dt_reconnect::Liveness);

impl Liveness {
    /// Sends a probe at once and then every `interval`; nothing heard for
    /// `dead_after` means dead.
    #[must_use]
    pub const fn new(interval: Duration, dead_after: Duration, now: Instant) -> Self {
        Self(dt_reconnect::Liveness::new(interval, dead_after, now))
    }

    /// What is due at `now`. Call it until it answers [`Probe::Wait`].
    pub fn poll(&mut self, now: Instant) -> Probe {
        match self.0.poll(now) {
            dt_reconnect::Probe::Send(number) => Probe::Send(packet(number)),
            dt_reconnect::Probe::Dead => Probe::Dead,
            dt_reconnect::Probe::Wait(until) => Probe::Wait(until),
        }
    }

    /// When [`poll`](Self::poll) has something to do at the latest.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.0.due()
    }

    /// Takes an RTT packet of the peer. `None` when it answers no probe of this
    /// session that is still open.
    pub fn handle_echo(&mut self, packet: &[u8], now: Instant) -> Option<Duration> {
        self.0.handle_echo(number(packet)?, now)
    }

    /// Anything else that arrived is a sign of life too.
    pub fn heard(&mut self, now: Instant) {
        self.0.heard(now);
    }

    /// The newest round-trip time.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.0.rtt()
    }
}

/// The probe with this number.
pub(crate) fn packet(number: u64) -> Bytes {
    let mut packet = BytesMut::with_capacity(PACKET_BYTES);
    packet.put_u8(RTT_TAG);
    packet.put_u64(number);
    packet.freeze()
}

/// The number of a probe, `None` for a packet that is not one of ours.
pub(crate) fn number(packet: &[u8]) -> Option<u64> {
    let (tag, number) = packet.split_first()?;
    if *tag != RTT_TAG {
        return None;
    }
    Some(u64::from_be_bytes(number.try_into().ok()?))
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
