//! How the processes of a run talk: a line in is an order, a line out an answer,
//! each one object of JSON.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use dt_transport::PathStats;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{counting::now_us, scene::Feed};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Begin to send.
    Start,
    /// Say the figures so far; those who count since a mark begin anew, with what is
    /// stamped from this time on, in microseconds since the Unix epoch.
    Mark { since_us: u64 },
    /// Say them, send no more, and once nothing arrives any more say what became of
    /// what was sent.
    Rest,
    /// Say the figures once more and end.
    Stop,
}

/// From an order to mark until it is followed everywhere.
const MARK_AHEAD_US: u64 = 20_000;

impl Order {
    /// A mark at one time for all processes.
    pub(crate) fn mark() -> Self {
        Self::Mark {
            since_us: now_us() + MARK_AHEAD_US,
        }
    }

    /// Says the figures; `false` when it was the last time. What comes after a
    /// rest is said by who rests.
    pub(crate) fn answer(self, figures: &impl Serialize) -> anyhow::Result<bool> {
        say(figures)?;
        Ok(self != Self::Stop)
    }
}

/// What the process that is measured says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) cpu: Duration,
    /// Where it is the one who counts.
    pub(crate) packets: u64,
    /// Of its memory that is in use.
    pub(crate) resident_bytes: u64,
}

/// What the process of the receivers says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Received {
    pub(crate) cpu: Duration,
    pub(crate) packets: u64,
    /// Media bytes.
    pub(crate) bytes: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Of one carrier, since the start: datagrams, or frames on streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// By sources.
    pub(crate) sent: u64,
    /// Copies that are to arrive for it.
    pub(crate) expected: u64,
    /// Different ones that arrived, whole.
    pub(crate) arrived: u64,
}

impl Tally {
    const fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            expected: self.expected + other.expected,
            arrived: self.arrived + other.arrived,
        }
    }
}

/// What the process of the receivers says when all is quiet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// Packets of media that are to arrive for what was sent since the last mark,
    /// and those that did.
    pub(crate) expected: u64,
    pub(crate) packets: u64,
    pub(crate) datagrams: Tally,
    pub(crate) frames: Tally,
    /// Media in datagrams that was read, what came twice included.
    pub(crate) datagrams_read: u64,
    /// Datagrams without media that were read.
    pub(crate) padding_read: u64,
    /// From the end of sending to the last arrival; `None` when it did not become
    /// quiet in time.
    pub(crate) last_after: Option<Duration>,
    pub(crate) wire: Wire,
}

impl Settled {
    /// Of two processes.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            expected: self.expected + other.expected,
            packets: self.packets + other.packets,
            datagrams: self.datagrams.and(other.datagrams),
            frames: self.frames.and(other.frames),
            datagrams_read: self.datagrams_read + other.datagrams_read,
            padding_read: self.padding_read + other.padding_read,
            last_after: self.last_after.zip(other.last_after).map(|(a, b)| a.max(b)),
            wire: self.wire.and(other.wire),
        }
    }
}

/// What the connections and sockets of a process have counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wire {
    pub(crate) datagrams_sent: u64,
    pub(crate) datagrams_received: u64,
    /// Packets that its connections took for lost.
    pub(crate) packets_lost: u64,
    /// Packets for which its sockets had no room when they came.
    pub(crate) packets_dropped: u64,
}

impl Wire {
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            datagrams_sent: self.datagrams_sent + other.datagrams_sent,
            datagrams_received: self.datagrams_received + other.datagrams_received,
            packets_lost: self.packets_lost + other.packets_lost,
            packets_dropped: self.packets_dropped + other.packets_dropped,
        }
    }

    /// With what one more connection has counted.
    pub(crate) const fn add(&mut self, path: &PathStats) {
        self.datagrams_sent += path.sent_datagrams;
        self.datagrams_received += path.received_datagrams;
        self.packets_lost += path.lost_packets;
    }
}

/// What the process that is measured says of what it left out, by the names of its
/// metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwarded {
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) wire: Wire,
}

/// What clients need to get in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entrance {
    pub(crate) port: u16,
    pub(crate) certificate: [u8; 32],
    pub(crate) clients: Vec<Client>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) token: String,
    pub(crate) user_id: u64,
    pub(crate) receives: bool,
    pub(crate) probe: bool,
    pub(crate) publishes: Vec<Publication>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Publication {
    pub(crate) feed: Feed,
    pub(crate) stream_id: String,
    pub(crate) stream_number: u32,
}

/// One line out.
pub(crate) fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// One line in.
pub(crate) fn hear<T: DeserializeOwned>() -> anyhow::Result<T> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Orders as they come; the end of the input is one to stop.
pub(crate) fn follow_in_a_thread() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || {
        loop {
            let order = hear().unwrap_or(Order::Stop);
            if sender.send(order).is_err() || order == Order::Stop {
                return;
            }
        }
    });
    orders
}

/// The same for those who run on a runtime.
pub(crate) fn follow() -> tokio::sync::mpsc::UnboundedReceiver<Order> {
    let (sender, orders) = tokio::sync::mpsc::unbounded_channel();
    let heard = follow_in_a_thread();
    thread::spawn(move || {
        while let Ok(order) = heard.recv() {
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    orders
}
