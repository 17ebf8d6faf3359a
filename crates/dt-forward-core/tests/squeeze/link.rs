//! A receiver's connection: a transport that keeps its window as ours does, and
//! behind it one bottleneck with a queue, a base round trip and chance loss. Packets
//! are acknowledged as QUIC does it, and by a machine that may stand still for a
//! moment.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{FrameBytes, OutGroup, PathSample};
use rand::{RngExt, rngs::StdRng};

/// The very code that the transport and the handler use. Not all of it is used
/// here.
#[path = "../../../dt-transport/src/webtransport/low_delay/flight.rs"]
mod flight;

#[allow(dead_code)]
#[path = "../../../media-handler/src/backlog.rs"]
mod backlog;

use backlog::Backlog;
use flight::Flight;

const PACKET_BYTES: usize = 1200;
const HEADER_BYTES: usize = 50;
/// What the transport buffers of datagrams; the oldest go first.
const DATAGRAMS_BYTES_MAX: usize = 64 << 10;
/// The queue that the window gives way to.
const QUEUE_MAX: f64 = 0.05;

/// A receiver acknowledges every second packet at once, and a single one after so
/// long (RFC 9000 section 13.2.2).
const ACK_EVERY: usize = 2;
const ACK_DELAY: Duration = Duration::from_millis(25);

/// What a bottleneck is like now, and the machine behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) bps: f64,
    pub(crate) base: Duration,
    pub(crate) loss: f64,
    pub(crate) queue_bytes: f64,
    /// So often in a second the receiver stands still, for [`Self::stall`] at most.
    pub(crate) stalls: f64,
    pub(crate) stall: Duration,
}

/// What arrived.
#[derive(Debug)]
pub(crate) enum Arrived {
    Datagram(Bytes),
    Frame(OutGroup, FrameBytes),
}

#[derive(Debug, Clone)]
enum Load {
    Datagram(Bytes),
    /// Of a stream: from where, how much.
    Chunk(OutGroup, usize, usize),
}

#[derive(Debug)]
struct Packet {
    sent_at: Instant,
    bytes: usize,
    load: Load,
}

#[derive(Debug, Default)]
struct Stream {
    priority: i32,
    frames: VecDeque<(usize, FrameBytes)>,
    written: usize,
    sent: usize,
    again: VecDeque<(usize, usize)>,
    arrived: BTreeMap<usize, usize>,
    whole: usize,
}

pub(crate) struct Link {
    pub(crate) shape: Shape,
    rng: StdRng,
    now: Instant,
    free_at: Instant,
    backlog: Backlog,
    datagrams: VecDeque<Bytes>,
    datagram_bytes: usize,
    streams: BTreeMap<OutGroup, Stream>,
    flying: BTreeMap<u64, Packet>,
    flying_bytes: usize,
    /// When which packet arrives, is acknowledged, or is known to be lost.
    arrivals: BinaryHeap<Reverse<(Instant, u64)>>,
    acks: BinaryHeap<Reverse<(Instant, u64)>>,
    losses: BinaryHeap<Reverse<(Instant, u64)>>,
    /// What the receiver has and has not acknowledged, and when it will.
    unacknowledged: Vec<u64>,
    acknowledged_at: Option<Instant>,
    /// The receiver stands still.
    still: (Instant, Instant),
    window: f64,
    starting: bool,
    window_changed_at: Instant,
    bases: VecDeque<(Instant, f64)>,
    tokens: f64,
    flight: Flight,
    /// More was to be sent than was allowed.
    limited: bool,
    pub(crate) rtt: f64,
    latest_rtt: f64,
    next: u64,
    sample: PathSample,
    pub(crate) padding_bytes: u64,
    pub(crate) dropped_datagrams: u64,
}

impl Link {
    pub(crate) fn new(shape: Shape, rng: StdRng, now: Instant) -> Self {
        let rtt = shape.base.as_secs_f64();
        Self {
            shape,
            rng,
            now,
            free_at: now,
            backlog: Backlog::default(),
            datagrams: VecDeque::new(),
            datagram_bytes: 0,
            streams: BTreeMap::new(),
            flying: BTreeMap::new(),
            flying_bytes: 0,
            arrivals: BinaryHeap::new(),
            acks: BinaryHeap::new(),
            losses: BinaryHeap::new(),
            unacknowledged: Vec::new(),
            acknowledged_at: None,
            still: (now, now),
            window: 12_000.0,
            starting: true,
            window_changed_at: now,
            bases: VecDeque::new(),
            tokens: 0.0,
            flight: Flight::new(now),
            limited: false,
            rtt,
            latest_rtt: rtt,
            next: 0,
            sample: PathSample::default(),
            padding_bytes: 0,
            dropped_datagrams: 0,
        }
    }

    /// The round trip that a packet sent now would take, in seconds.
    pub(crate) fn true_rtt(&self) -> f64 {
        let queue = self.free_at.saturating_duration_since(self.now);
        (self.shape.base + queue).as_secs_f64()
    }

    /// A datagram of the media, as the handler sends it.
    pub(crate) fn datagram(&mut self, datagram: Bytes, sound: bool) {
        let queued = self.datagram_bytes;
        let mut given = Vec::new();
        let give = &mut |datagram| given.push(datagram);
        let copies = [datagram];
        let taken = match sound {
            true => self.backlog.sound(&copies, queued, self.now, give),
            false => self.backlog.pictures(&copies, queued, self.now, give),
        };
        self.dropped_datagrams += 1 - taken as u64;
        given.into_iter().for_each(|datagram| self.queue(datagram));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.backlog.is_idle(self.datagram_bytes)
    }

    /// One that goes to the transport at once.
    pub(crate) fn queue(&mut self, datagram: Bytes) {
        self.datagram_bytes += datagram.len();
        self.datagrams.push_back(datagram);
        while self.datagram_bytes > DATAGRAMS_BYTES_MAX {
            if let Some(oldest) = self.datagrams.pop_front() {
                self.datagram_bytes -= oldest.len();
                self.dropped_datagrams += 1;
            }
        }
    }

    /// The handler looks at the path's figures.
    pub(crate) fn look(&mut self) -> PathSample {
        let rtt = Duration::from_secs_f64(self.rtt);
        self.backlog.path(self.sample.window_bytes, rtt);
        self.sample
    }

    fn pump(&mut self) {
        let mut given = Vec::new();
        self.backlog
            .pump(self.datagram_bytes, self.now, &mut |datagram| {
                given.push(datagram)
            });
        given.into_iter().for_each(|datagram| self.queue(datagram));
    }

    pub(crate) fn open(&mut self, out: OutGroup, priority: i32) {
        let stream = Stream {
            priority,
            ..Stream::default()
        };
        self.streams.insert(out, stream);
    }

    pub(crate) fn frame(&mut self, out: OutGroup, frame: FrameBytes) {
        if let Some(stream) = self.streams.get_mut(&out) {
            stream.written += frame.len();
            stream.frames.push_back((stream.written, frame));
        }
    }

    pub(crate) fn reset(&mut self, out: OutGroup) {
        self.streams.remove(&out);
    }

    /// Goes on to `now`; what arrived at the receiver.
    pub(crate) fn run(&mut self, now: Instant) -> Vec<Arrived> {
        let passed = now.duration_since(self.now).as_secs_f64();
        self.now = now;
        let mut arrived = Vec::new();
        while let Some(Reverse((at, number))) = due(&mut self.arrivals, now) {
            self.acknowledge_until(at);
            if let Some(packet) = self.flying.get(&number) {
                let load = packet.load.clone();
                self.arrive(load, &mut arrived);
            }
            self.unacknowledged.push(number);
            let since = self.acknowledged_at.get_or_insert(at + ACK_DELAY);
            if self.unacknowledged.len() >= ACK_EVERY {
                *since = at;
            }
        }
        self.acknowledge_until(now);
        while let Some(Reverse((at, number))) = due(&mut self.acks, now) {
            if let Some(packet) = self.flying.remove(&number) {
                self.flying_bytes -= packet.bytes;
                self.acknowledge(&packet, at);
                let (base, mtu) = (self.base(), PACKET_BYTES as u64);
                self.flight.answered(number, self.limited, base, mtu, at);
            }
        }
        while let Some(Reverse((_, number))) = due(&mut self.losses, now) {
            if let Some(packet) = self.flying.remove(&number) {
                self.flying_bytes -= packet.bytes;
                self.sample.lost_packets += 1;
                if let Load::Chunk(out, from, bytes) = packet.load
                    && let Some(stream) = self.streams.get_mut(&out)
                {
                    stream.again.push_back((from, bytes));
                }
            }
        }
        let window = self.window_now();
        self.tokens += 1.25 * window / self.rtt * passed;
        self.tokens = self.tokens.min((10 * PACKET_BYTES) as f64);
        self.pump();
        self.send();
        let waited = self.unanswered_for().as_secs_f64();
        self.sample.rtt = Duration::from_secs_f64(self.latest_rtt.max(waited));
        self.sample.window_bytes = self.window_now() as u64;
        let blocked = self.flight.blocked_since();
        self.sample.blocked = blocked.map_or(Duration::ZERO, |at| now.duration_since(at));
        arrived
    }

    /// Lets the receiver say what it has, if it is time to.
    fn acknowledge_until(&mut self, now: Instant) {
        let Some(at) = self.acknowledged_at.filter(|at| *at <= now) else {
            return;
        };
        self.acknowledged_at = None;
        let leaves = self.awake_at(at);
        for number in self.unacknowledged.drain(..) {
            let there = leaves + self.shape.base / 2;
            self.acks.push(Reverse((there, number)));
        }
    }

    /// When a receiver does what it has to do then.
    fn awake_at(&mut self, at: Instant) -> Instant {
        if self.shape.stalls <= 0.0 {
            return at;
        }
        while self.still.1 < at {
            let pause = -self.rng.random_range(1e-9_f64..1.0).ln() / self.shape.stalls;
            let begin = self.still.1 + Duration::from_secs_f64(pause);
            let lasts = self.shape.stall.mul_f64(self.rng.random_range(0.1..1.0));
            self.still = (begin, begin + lasts);
        }
        if at >= self.still.0 { self.still.1 } else { at }
    }

    fn arrive(&mut self, load: Load, arrived: &mut Vec<Arrived>) {
        match load {
            Load::Datagram(datagram) => arrived.push(Arrived::Datagram(datagram)),
            Load::Chunk(out, from, bytes) => {
                let Some(stream) = self.streams.get_mut(&out) else {
                    return;
                };
                stream.arrived.insert(from, bytes);
                while let Some(bytes) = stream.arrived.remove(&stream.whole) {
                    stream.whole += bytes;
                }
                while let Some((end, _)) = stream.frames.front() {
                    if *end > stream.whole {
                        break;
                    }
                    if let Some((_, frame)) = stream.frames.pop_front() {
                        arrived.push(Arrived::Frame(out, frame));
                    }
                }
            }
        }
    }

    fn acknowledge(&mut self, packet: &Packet, at: Instant) {
        let rtt = at.duration_since(packet.sent_at).as_secs_f64();
        self.latest_rtt = rtt;
        self.sample.acknowledged_bytes += packet.bytes as u64;
        self.rtt += (rtt - self.rtt) / 8.0;
        let (bytes, took) = (packet.bytes as u64, Duration::from_secs_f64(rtt));
        self.flight.arrived(bytes, took, self.base(), at);
        while self
            .bases
            .front()
            .is_some_and(|(when, _)| at.duration_since(*when).as_secs() >= 10)
        {
            self.bases.pop_front();
        }
        while self.bases.back().is_some_and(|(_, base)| *base >= rtt) {
            self.bases.pop_back();
        }
        self.bases.push_back((at, rtt));
        let base = self.bases.front().map_or(rtt, |(_, base)| *base);
        let queue = rtt - base;
        let most = if self.starting { 0.012 } else { QUEUE_MAX };
        let settled = at.duration_since(self.window_changed_at).as_secs_f64() > rtt;
        if queue > most && settled && self.window > (10 * PACKET_BYTES) as f64 {
            self.window = (self.window * 0.7).max((10 * PACKET_BYTES) as f64);
            self.starting = false;
            self.window_changed_at = at;
        } else if self.flying_bytes as f64 > 0.5 * self.window {
            let grown = if self.starting {
                packet.bytes as f64 / 2.0
            } else {
                2.0 * (PACKET_BYTES * packet.bytes) as f64 / self.window
            };
            self.window += grown;
        }
    }

    fn base(&self) -> Duration {
        let base = self.bases.front().map_or(self.rtt, |(_, base)| *base);
        Duration::from_secs_f64(base)
    }

    /// How long what was sent first of what is on its way has been.
    fn unanswered_for(&self) -> Duration {
        let since = self.flight.unanswered_since();
        since.map_or(Duration::ZERO, |at| self.now.saturating_duration_since(at))
    }

    fn window_now(&self) -> f64 {
        self.window.min(self.flight.allowed() as f64)
    }

    fn send(&mut self) {
        self.limited = true;
        while self.tokens > 0.0 && (self.flying_bytes + PACKET_BYTES) as f64 <= self.window_now() {
            let load = match self.datagrams.pop_front() {
                Some(datagram) => {
                    self.datagram_bytes -= datagram.len();
                    Load::Datagram(datagram)
                }
                None => match self.next_chunk() {
                    Some(load) => load,
                    None => {
                        self.limited = false;
                        return;
                    }
                },
            };
            self.transmit(load);
        }
    }

    fn next_chunk(&mut self) -> Option<Load> {
        let has = |stream: &&mut Stream| stream.sent < stream.written || !stream.again.is_empty();
        let room = PACKET_BYTES - HEADER_BYTES;
        let mut outs: Vec<_> = self
            .streams
            .iter_mut()
            .map(|(out, stream)| (*out, stream))
            .filter(|(_, stream)| has(stream))
            .collect();
        let (out, stream) = outs.iter_mut().max_by_key(|(_, stream)| stream.priority)?;
        if let Some((from, bytes)) = stream.again.pop_front() {
            return Some(Load::Chunk(*out, from, bytes));
        }
        let bytes = room.min(stream.written - stream.sent);
        let from = stream.sent;
        stream.sent += bytes;
        Some(Load::Chunk(*out, from, bytes))
    }

    fn transmit(&mut self, load: Load) {
        let bytes = HEADER_BYTES
            + match &load {
                Load::Datagram(datagram) => datagram.len(),
                Load::Chunk(_, _, bytes) => *bytes,
            };
        if matches!(&load, Load::Datagram(d) if d.first() == Some(&b'p')) {
            self.padding_bytes += bytes as u64;
        }
        self.tokens -= bytes as f64;
        let number = self.next;
        self.next += 1;
        self.sample.sent_bytes += bytes as u64;
        self.sample.sent_packets += 1;
        let begin = self.free_at.max(self.now);
        let waiting = begin.duration_since(self.now).as_secs_f64() * self.shape.bps / 8.0;
        let full = waiting + bytes as f64 > self.shape.queue_bytes;
        if full || self.rng.random_bool(self.shape.loss) {
            let known = Duration::from_secs_f64(1.25 * self.rtt + 0.01);
            self.losses.push(Reverse((self.now + known, number)));
        } else {
            let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / self.shape.bps);
            self.free_at = begin + takes;
            let there = self.free_at + self.shape.base / 2;
            self.arrivals.push(Reverse((there, number)));
        }
        let (base, mtu) = (self.base(), PACKET_BYTES as u64);
        self.flight.sent(number, base, mtu, self.now);
        self.flying_bytes += bytes;
        self.flying.insert(
            number,
            Packet {
                sent_at: self.now,
                bytes,
                load,
            },
        );
    }

    /// Streams that were finished and have arrived are forgotten.
    pub(crate) fn forget(&mut self, live: &BTreeSet<OutGroup>) {
        self.streams
            .retain(|out, stream| live.contains(out) || !stream.frames.is_empty());
    }
}

fn due(
    heap: &mut BinaryHeap<Reverse<(Instant, u64)>>,
    now: Instant,
) -> Option<Reverse<(Instant, u64)>> {
    if heap.peek().is_some_and(|Reverse((at, _))| *at <= now) {
        heap.pop()
    } else {
        None
    }
}
