//! What is measured: how many receive what, and how it is cut and paced. Every
//! process of a run is given the same plan.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Packets of one burst: a frame of 1.5 Mbit/s at 30 frames a second.
pub(crate) const BURST_PACKETS: u32 = 6;
/// Bytes of a datagram of media, its header included.
pub(crate) const DATAGRAM_BYTES: usize = 1100;
/// Bytes of a frame on the stream carrier.
pub(crate) const FRAME_BYTES: usize = 6250;
/// Frames a second of one source, as near as the rate allows.
const FRAMES_PER_S: u32 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Carrier {
    Datagrams,
    Streams,
}

/// One line of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) carrier: Carrier,
    pub(crate) receivers: u32,
    /// Bursts a second of all sources together.
    pub(crate) bursts_per_s: u32,
}

impl Plan {
    /// So many packets a second to all receivers together.
    pub(crate) fn packets(carrier: Carrier, receivers: u32, packets_per_s: u32) -> Self {
        Self {
            carrier,
            receivers,
            bursts_per_s: (packets_per_s / receivers / BURST_PACKETS).max(1),
        }
    }

    /// Packets a second to all receivers together; a frame on the stream carrier
    /// counts as those of a burst.
    pub(crate) const fn packets_per_s(&self) -> u32 {
        self.bursts_per_s * BURST_PACKETS * self.receivers
    }

    pub(crate) fn sources(&self) -> u32 {
        self.bursts_per_s.div_ceil(FRAMES_PER_S)
    }

    /// Between two frames of one source.
    pub(crate) fn frame_interval(&self) -> Duration {
        Duration::from_secs(1) * self.sources() / self.bursts_per_s
    }

    /// When the first frame of a source is due: all of them evenly spread.
    pub(crate) fn phase(&self, source: u32) -> Duration {
        self.frame_interval() * source / self.sources()
    }

    /// Media bytes of each packet of a raw burst.
    pub(crate) const fn raw_packet_bytes(&self) -> usize {
        match self.carrier {
            Carrier::Datagrams => DATAGRAM_BYTES,
            Carrier::Streams => FRAME_BYTES.div_ceil(BURST_PACKETS as usize),
        }
    }
}
