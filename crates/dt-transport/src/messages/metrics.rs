//! Figures of streams and of their connection.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    partial::{ReceiverStats, SenderStats},
    streams::Key,
};
use crate::PathStats;

/// What one stream has done; both directions, where it has both.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StreamMetrics {
    /// Number of the stream among those of the side that opened it.
    pub id: u32,
    /// Whether this side opened it.
    pub opened_here: bool,
    /// What both directions have counted.
    pub totals: Totals,
    /// What went through in the last interval.
    pub rates: Rates,
    /// Smoothed round-trip time: the stream's own where its messages are
    /// acknowledged, else the session's.
    pub rtt: Duration,
    /// How much the round-trip time changes between measurements (RFC 3550
    /// section 6.4.1), of the stream or of the session as for `rtt`.
    pub jitter: Duration,
    /// Bytes that wait to be sent or, in datagrams, to be acknowledged.
    pub send_queue_bytes: usize,
    /// How long the oldest message has waited to be sent for the first time.
    pub send_queue_age: Duration,
}

impl StreamMetrics {
    /// Share of datagrams that were lost: of those sent, where they are
    /// acknowledged, else of those that should have come; 0 on a reliable stream,
    /// whose losses are the session's.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.totals.loss()
    }
}

/// What was counted since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages taken by `send`.
    pub messages_sent: u64,
    /// Bytes of these messages.
    pub bytes_sent: u64,
    /// Messages that arrived whole and in time for their place.
    pub messages_received: u64,
    /// Bytes of these messages.
    pub bytes_received: u64,
    /// Data datagrams sent, retransmissions included.
    pub datagrams_sent: u64,
    /// Data datagrams received, duplicates included.
    pub datagrams_received: u64,
    /// Datagrams sent again.
    pub retransmissions: u64,
    /// Bytes of their payloads.
    pub retransmitted_bytes: u64,
    /// Datagrams sent that were taken to be lost.
    pub datagrams_lost: u64,
    /// Datagrams that should have come and did not, or not yet. Not counted
    /// where they are sent again.
    pub datagrams_missing: u64,
    /// Messages that the sender gave up.
    pub messages_expired: u64,
    /// Messages handed out after their deadline, by this side's estimate.
    pub messages_late: u64,
    /// Datagrams that had come before.
    pub duplicates: u64,
    /// Datagrams that came after their place had been passed.
    pub datagrams_passed: u64,
    /// Datagrams for which there was no room.
    pub datagrams_refused: u64,
    /// Datagrams that made no sense.
    pub datagrams_malformed: u64,
    /// Acknowledgements sent.
    pub acks_sent: u64,
    /// Bytes of all data datagrams, headers and retransmissions included.
    pub data_datagram_bytes: u64,
    /// Bytes of all acknowledgements and other datagrams without data.
    pub control_datagram_bytes: u64,
}

impl Totals {
    fn loss(&self) -> f64 {
        let lost = self.datagrams_lost + self.datagrams_missing;
        let all = self.datagrams_sent + self.datagrams_received + self.datagrams_missing;
        if all == 0 {
            0.0
        } else {
            lost as f64 / all as f64
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.messages_sent += other.messages_sent;
        self.bytes_sent += other.bytes_sent;
        self.messages_received += other.messages_received;
        self.bytes_received += other.bytes_received;
        self.datagrams_sent += other.datagrams_sent;
        self.datagrams_received += other.datagrams_received;
        self.retransmissions += other.retransmissions;
        self.retransmitted_bytes += other.retransmitted_bytes;
        self.datagrams_lost += other.datagrams_lost;
        self.datagrams_missing += other.datagrams_missing;
        self.messages_expired += other.messages_expired;
        self.messages_late += other.messages_late;
        self.duplicates += other.duplicates;
        self.datagrams_passed += other.datagrams_passed;
        self.datagrams_refused += other.datagrams_refused;
        self.datagrams_malformed += other.datagrams_malformed;
        self.acks_sent += other.acks_sent;
        self.data_datagram_bytes += other.data_datagram_bytes;
        self.control_datagram_bytes += other.control_datagram_bytes;
    }

    pub(super) fn add_sender(&mut self, stats: &SenderStats) {
        self.messages_sent += stats.messages;
        self.bytes_sent += stats.message_bytes;
        self.datagrams_sent += stats.datagrams;
        self.retransmissions += stats.retransmissions;
        self.retransmitted_bytes += stats.retransmitted_bytes;
        self.datagrams_lost += stats.lost;
        self.messages_expired += stats.expired;
        self.datagrams_malformed += stats.bad_acks;
    }

    pub(super) fn add_receiver(&mut self, stats: &ReceiverStats, acknowledged: bool) {
        self.messages_received += stats.messages;
        self.bytes_received += stats.message_bytes;
        self.datagrams_received += stats.datagrams;
        if !acknowledged {
            self.datagrams_missing += stats.chunks_known.saturating_sub(stats.chunks);
        }
        self.messages_late += stats.late;
        self.duplicates += stats.duplicates;
        self.datagrams_passed += stats.passed;
        self.datagrams_refused += stats.refused;
        self.datagrams_malformed += stats.malformed;
        self.acks_sent += stats.acks;
    }
}

/// What went through in a second, by the last interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Messages sent a second.
    pub messages_sent: f64,
    /// Messages received a second.
    pub messages_received: f64,
    /// Throughput of what was sent, in bytes of messages a second.
    pub bytes_sent: f64,
    /// Throughput of what was received, in bytes of messages a second.
    pub bytes_received: f64,
}

impl Rates {
    fn between(before: &Totals, after: &Totals, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        Self {
            messages_sent: rate(before.messages_sent, after.messages_sent),
            messages_received: rate(before.messages_received, after.messages_received),
            bytes_sent: rate(before.bytes_sent, after.bytes_sent),
            bytes_received: rate(before.bytes_received, after.bytes_received),
        }
    }
}

/// What a connection has done with all its streams, closed ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ConnectionMetrics {
    /// Of all streams.
    pub totals: Totals,
    /// Of all streams, in the last interval.
    pub rates: Rates,
    /// The session's own figures: round-trip time, losses, window.
    pub path: PathStats,
    /// How much the session's round-trip time changes from interval to interval.
    pub jitter: Duration,
    /// Share of the session's packets that were lost.
    pub loss: f64,
    /// How long the oldest message of all streams has waited to be sent.
    pub send_queue_age: Duration,
    /// Streams that are open.
    pub streams: usize,
    /// Datagrams for streams that nobody has opened, or that are closed.
    pub unknown_stream_datagrams: u64,
    /// Datagrams with the layer's tag that made no sense.
    pub malformed_datagrams: u64,
    /// Datagrams of others that nobody took in time.
    pub other_datagrams_dropped: u64,
    /// Datagrams that the session did not take, for their size.
    pub unsendable_datagrams: u64,
    /// Streams of the peer that were refused: too many, or not understood.
    pub refused_streams: u64,
}

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The connection.
    pub connection: ConnectionMetrics,
    /// Its open streams.
    pub streams: Vec<StreamMetrics>,
}

/// Counts for a reliable stream; what it counted stays when it is gone.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) key: Key,
    closed: Arc<Mutex<Totals>>,
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    /// What waits, and since when; set by the stream's queue.
    pub(super) queue: Mutex<(usize, Option<tokio::time::Instant>)>,
}

impl Meter {
    pub(super) fn sent(&self, bytes: usize) {
        self.messages_sent.fetch_add(1, Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.messages_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            messages_sent: self.messages_sent.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            messages_received: self.messages_received.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            ..Totals::default()
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        lock(&self.closed).add(&self.totals());
    }
}

/// All meters of a connection, and what is kept between two looks at them.
#[derive(Debug, Default)]
pub(super) struct Meters {
    open: Mutex<BTreeMap<Key, Weak<Meter>>>,
    pub(super) closed: Arc<Mutex<Totals>>,
    rates: Mutex<BTreeMap<Key, (Totals, Rates)>>,
    connection: Mutex<ConnectionRates>,
}

#[derive(Debug, Default)]
struct ConnectionRates {
    before: Totals,
    rates: Rates,
    rtt: Option<Duration>,
    jitter: Duration,
}

impl Meters {
    pub(super) fn add(&self, key: Key) -> Arc<Meter> {
        let meter = Arc::new(Meter {
            key,
            closed: Arc::clone(&self.closed),
            messages_sent: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            messages_received: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            queue: Mutex::default(),
        });
        lock(&self.open).insert(key, Arc::downgrade(&meter));
        meter
    }

    pub(super) fn open(&self) -> Vec<Arc<Meter>> {
        let mut open = lock(&self.open);
        open.retain(|_, meter| meter.strong_count() > 0);
        open.values().filter_map(Weak::upgrade).collect()
    }

    /// Fills in what the last interval gave.
    pub(super) fn fill(&self, snapshot: &mut Snapshot) {
        let rates = lock(&self.rates);
        for stream in &mut snapshot.streams {
            let key = Key::of(stream.id, stream.opened_here);
            stream.rates = rates.get(&key).map(|(_, rates)| *rates).unwrap_or_default();
        }
        let connection = lock(&self.connection);
        snapshot.connection.rates = connection.rates;
        snapshot.connection.jitter = connection.jitter;
        for stream in &mut snapshot.streams {
            if stream.jitter.is_zero() {
                stream.jitter = connection.jitter;
            }
        }
    }

    /// An interval has passed with this at its end.
    pub(super) fn tick(&self, snapshot: &Snapshot, elapsed: Duration) {
        let mut rates = lock(&self.rates);
        let before = std::mem::take(&mut *rates);
        for stream in &snapshot.streams {
            let key = Key::of(stream.id, stream.opened_here);
            let (last, _) = before.get(&key).copied().unwrap_or_default();
            let rate = Rates::between(&last, &stream.totals, elapsed);
            rates.insert(key, (stream.totals, rate));
        }
        drop(rates);
        let mut connection = lock(&self.connection);
        let after = snapshot.connection.totals;
        connection.rates = Rates::between(&connection.before, &after, elapsed);
        connection.before = after;
        let rtt = snapshot.connection.path.rtt;
        if let Some(last) = connection.rtt.replace(rtt) {
            connection.jitter = (15 * connection.jitter + last.abs_diff(rtt)) / 16;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
