//! Figures of a source for its controller.

use std::time::Instant;

use dt_ids::StreamId;

/// What a handler saw of a stream since it was asked before; the byte counts
/// are since the stream began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamTelemetry {
    /// The stream.
    pub stream_id: StreamId,
    /// To all receivers, headers included.
    pub bytes_sent: u64,
    /// From the sender, headers included.
    pub bytes_received: u64,
    /// Share of the sender's datagrams that did not arrive, 0 to 1.
    pub packet_loss: f32,
    /// Bits per second from the sender.
    pub bitrate_bps: u32,
    /// Smoothed difference between the spacing of arrivals and of timestamps.
    pub jitter_ms: u32,
}

/// Collects them for one source.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    bytes_before: u64,
    asked_at: Instant,
    datagrams: u64,
    /// Lowest and highest sequence number since the last question; the carrier
    /// numbers each encoding for itself, so this holds for the newest one used.
    sequences: Option<(u8, u64, u64)>,
    arrival: Option<(Instant, u64)>,
    jitter_us: f64,
}

impl Meter {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            bytes_sent: 0,
            bytes_received: 0,
            bytes_before: 0,
            asked_at: now,
            datagrams: 0,
            sequences: None,
            arrival: None,
            jitter_us: 0.0,
        }
    }

    pub(crate) const fn received(&mut self, bytes: usize) {
        self.bytes_received += bytes as u64;
    }

    /// A datagram's number.
    pub(crate) fn sequence(&mut self, encoding: u8, sequence: u64) {
        match &mut self.sequences {
            Some((same, low, high)) if *same == encoding => {
                *low = sequence.min(*low);
                *high = sequence.max(*high);
                self.datagrams += 1;
            }
            other => {
                *other = Some((encoding, sequence, sequence));
                self.datagrams = 1;
            }
        }
    }

    /// The first piece of a frame arrived (RFC 3550 section 6.4.1).
    pub(crate) fn frame(&mut self, timestamp_us: u64, now: Instant) {
        if let Some((at, timestamp)) = self.arrival {
            let spacing = now.saturating_duration_since(at).as_micros() as f64;
            let difference = (spacing - timestamp_us.abs_diff(timestamp) as f64).abs();
            // A pause of the sender is no jitter.
            if difference < 1_000_000.0 {
                self.jitter_us += (difference - self.jitter_us) / 16.0;
            }
        }
        self.arrival = Some((now, timestamp_us));
    }

    pub(crate) fn read(&mut self, stream_id: StreamId, now: Instant) -> StreamTelemetry {
        let elapsed = now.saturating_duration_since(self.asked_at).as_secs_f64();
        let bits = (self.bytes_received - self.bytes_before) as f64 * 8.0;
        let expected = self
            .sequences
            .map_or(0, |(_, low, high)| (high - low).saturating_add(1));
        let missing = expected.saturating_sub(self.datagrams);
        self.bytes_before = self.bytes_received;
        self.asked_at = now;
        self.sequences = None;
        self.datagrams = 0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturating casts
        StreamTelemetry {
            stream_id,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            packet_loss: if expected == 0 {
                0.0
            } else {
                (missing as f64 / expected as f64) as f32
            },
            bitrate_bps: if elapsed > 0.0 {
                (bits / elapsed) as u32
            } else {
                0
            },
            jitter_ms: (self.jitter_us / 1000.0) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_rate_and_jitter_are_measured_between_two_questions() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for n in 0..100u64 {
            let late = Duration::from_millis(if n % 2 == 0 { 8 } else { 0 });
            if n % 10 != 5 {
                meter.received(1000);
                meter.sequence(0, n);
                meter.frame(n * 20_000, start + Duration::from_millis(n * 20) + late);
            }
        }
        let id = StreamId::from_bytes([1; 16]);
        let read = meter.read(id, start + Duration::from_secs(2));
        assert!((read.packet_loss - 0.1).abs() < 1e-6);
        assert_eq!(read.bitrate_bps, 360_000);
        assert!((5..=8).contains(&read.jitter_ms), "{}", read.jitter_ms);
        let quiet = meter.read(id, start + Duration::from_secs(4));
        assert_eq!((quiet.bitrate_bps, quiet.packet_loss), (0, 0.0));
    }

    #[test]
    fn hostile_numbers_are_only_odd_figures() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for sequence in [u64::MAX, 0, 7] {
            meter.sequence(0, sequence);
            meter.frame(sequence, start);
        }
        let read = meter.read(StreamId::from_bytes([1; 16]), start);
        assert!((0.0..=1.0).contains(&read.packet_loss));
    }
}
