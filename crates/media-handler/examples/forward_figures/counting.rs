//! What the clients of a run have sent and received: rates and latencies since a
//! mark, and all of it since the start, each frame and datagram once.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    time::{Duration, UNIX_EPOCH},
};

use dt_frame::{DatagramHeader, FrameHeader, FrameType};
use dt_ids::{StreamId, UserId};

use crate::{
    machine::cpu_time,
    orders::{Received, Settled, Tally},
    plan::Carrier,
};

/// Counts for all clients of this process.
#[derive(Debug)]
pub(crate) struct Figures {
    counts: RefCell<Counts>,
    own: Own,
    /// Sources go on.
    sending: Cell<bool>,
}

/// Who sends from this process. Only what they send is timed: other processes stamp
/// theirs when they get to it.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) users: HashSet<UserId>,
    pub(crate) streams: HashSet<StreamId>,
}

#[derive(Debug, Default)]
struct Counts {
    /// In microseconds since the Unix epoch, as frames are stamped.
    marked_us: u64,
    /// Packets that were sent since the mark, a copy for each receiver.
    expected: u64,
    /// Those of them that arrived.
    answered: u64,
    /// Packets and bytes that arrived since the mark, whenever they were sent.
    packets: u64,
    bytes: u64,
    /// Of packets of this process's own sources, by steps of [`Counts::STEP`]; the
    /// last one holds all above.
    latencies: Vec<u32>,
    datagrams: Tally,
    frames: Tally,
    datagrams_read: u64,
    padding_read: u64,
}

impl Counts {
    const STEP: Duration = Duration::from_micros(20);
    const STEPS: usize = 10_000;

    fn percentile(&self, percent: u64) -> Duration {
        let timed: u64 = self.latencies.iter().map(|&count| u64::from(count)).sum();
        let wanted = timed * percent / 100;
        let mut seen = 0;
        for (step, count) in (0..).zip(&self.latencies) {
            seen += u64::from(*count);
            if seen > wanted {
                return Self::STEP * step;
            }
        }
        Duration::ZERO
    }

    const fn tally(&mut self, carrier: Carrier) -> &mut Tally {
        match carrier {
            Carrier::Datagrams => &mut self.datagrams,
            Carrier::Streams => &mut self.frames,
        }
    }

    fn arrived(&mut self, packets: u64, bytes: usize, sent_us: u64) {
        self.packets += packets;
        self.bytes += bytes as u64;
        if sent_us >= self.marked_us {
            self.answered += packets;
        }
    }

    fn timed(&mut self, packets: u64, sent_us: u64, now_us: u64) {
        let latency = Duration::from_micros(now_us.saturating_sub(sent_us));
        let step = latency.as_micros() / Self::STEP.as_micros();
        let step = usize::try_from(step).unwrap_or(usize::MAX).min(Self::STEPS);
        self.latencies.resize(Self::STEPS + 1, 0);
        self.latencies[step] += u32::try_from(packets).unwrap_or(0);
    }
}

impl Figures {
    pub(crate) fn new(own: Own) -> Self {
        Self {
            own,
            counts: RefCell::default(),
            sending: Cell::new(true),
        }
    }

    pub(crate) const fn is_sending(&self) -> bool {
        self.sending.get()
    }

    /// Sources send no more, once what they are about to send is out.
    pub(crate) fn stop_sending(&self) {
        self.sending.set(false);
    }

    /// A source sends these, stamped so: a frame on a stream, or datagrams.
    pub(crate) fn sent(&self, carrier: Carrier, packets: u32, receivers: u32, sent_us: u64) {
        let counts = &mut *self.counts.borrow_mut();
        if sent_us >= counts.marked_us {
            counts.expected += u64::from(packets) * u64::from(receivers);
        }
        let sent = match carrier {
            Carrier::Datagrams => u64::from(packets),
            Carrier::Streams => 1,
        };
        let tally = counts.tally(carrier);
        tally.sent += sent;
        tally.expected += sent * u64::from(receivers);
    }

    /// A whole frame came on a stream.
    pub(crate) fn frame(&self, header: &FrameHeader, packets: u32, bytes: usize) {
        let now_us = now_us();
        let counts = &mut *self.counts.borrow_mut();
        counts.frames.arrived += 1;
        counts.arrived(u64::from(packets), bytes, header.timestamp_us);
        if self.own.streams.contains(&header.stream_id) {
            counts.timed(u64::from(packets), header.timestamp_us, now_us);
        }
    }

    /// A datagram came, perhaps again.
    pub(crate) fn datagram(&self, header: &DatagramHeader, bytes: usize, seen: &mut Seen) {
        let now_us = now_us();
        let counts = &mut *self.counts.borrow_mut();
        counts.datagrams_read += 1;
        if seen.is_new(header) {
            counts.datagrams.arrived += 1;
            counts.arrived(1, bytes, header.timestamp_us);
            if self.own.users.contains(&header.user_id) {
                counts.timed(1, header.timestamp_us, now_us);
            }
        }
    }

    /// A datagram without media came.
    pub(crate) fn padding(&self) {
        self.counts.borrow_mut().padding_read += 1;
    }

    /// What was counted since the last mark. The next is at this time, which is near.
    pub(crate) fn mark(&self, since_us: u64) -> anyhow::Result<Received> {
        let received = self.look()?;
        let counts = &mut *self.counts.borrow_mut();
        *counts = Counts {
            marked_us: since_us,
            datagrams: counts.datagrams,
            frames: counts.frames,
            datagrams_read: counts.datagrams_read,
            padding_read: counts.padding_read,
            ..Counts::default()
        };
        Ok(received)
    }

    /// What was counted since the last mark.
    pub(crate) fn look(&self) -> anyhow::Result<Received> {
        let counts = self.counts.borrow();
        Ok(Received {
            cpu: cpu_time()?,
            packets: counts.packets,
            bytes: counts.bytes,
            p50: counts.percentile(50),
            p99: counts.percentile(99),
        })
    }

    /// Since the start; what connections know is missing.
    pub(crate) fn settled(&self) -> Settled {
        let counts = self.counts.borrow();
        Settled {
            expected: counts.expected,
            packets: counts.answered,
            datagrams: counts.datagrams,
            frames: counts.frames,
            datagrams_read: counts.datagrams_read,
            padding_read: counts.padding_read,
            ..Settled::default()
        }
    }
}

/// What a frame that is sent now is stamped with: the clock of all processes here.
pub(crate) fn now_us() -> u64 {
    let since = UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Which datagrams of sound a receiver has: they are sent again where some are
/// lost. Pictures come once.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<UserId, Newest>);

#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: u64,
    /// A bit for each one before it, itself the lowest.
    came: u128,
}

impl Seen {
    fn is_new(&mut self, header: &DatagramHeader) -> bool {
        if header.frame_type != FrameType::Audio {
            return true;
        }
        let sequence = header.sequence;
        // Everybody has one microphone.
        let newest = self
            .0
            .entry(header.user_id)
            .or_insert(Newest { sequence, came: 0 });
        let ahead = u32::try_from(sequence.saturating_sub(newest.sequence)).unwrap_or(u32::MAX);
        newest.came = newest.came.checked_shl(ahead).unwrap_or(0);
        newest.sequence = newest.sequence.max(sequence);
        let behind = u32::try_from(newest.sequence - sequence).unwrap_or(u32::MAX);
        // What is so old came again.
        let Some(bit) = 1u128.checked_shl(behind) else {
            return false;
        };
        let new = newest.came & bit == 0;
        newest.came |= bit;
        new
    }
}
