//! Both machines against each other over seeded bad networks, on a virtual clock.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Outgoing, Receiver, ReceiverLimits, Sender};
use crate::messages::{
    Ordering, Reliability,
    wire::{Body, Datagram, parse_datagram, write_datagram},
};

const MS: Duration = Duration::from_millis(1);
const LIMITS: ReceiverLimits = ReceiverLimits {
    message_bytes_max: 64 << 10,
    ready_bytes_max: 256 << 10,
    unfinished_bytes_max: 256 << 10,
    unfinished_messages_max: 400,
};
const QUEUE_BYTES_MAX: usize = 128 << 10;
const DATAGRAM_BYTES_MAX: usize = 1200;

#[derive(Debug, Clone)]
struct Setting {
    reliability: Reliability,
    ordering: Ordering,
    latency: Duration,
    jitter: Duration,
    loss: f64,
    duplication: f64,
    held_back: f64,
    messages: u64,
    interval: Duration,
    message_bytes: (usize, usize),
    /// The receiving application sleeps now and then.
    lazy: bool,
}

#[derive(Debug, Default)]
struct Outcome {
    in_time: u64,
    delivered: u64,
    /// Chunks that were sent at least once.
    chunks: u64,
    first_time_bytes: u64,
    data_bytes: u64,
    ack_bytes: u64,
    lost_data_bytes: u64,
    payload_bytes: u64,
    retransmissions: u64,
    lost_datagrams: u64,
    duplicates: u64,
    refused: u64,
}

impl Outcome {
    /// Bytes beyond the messages, their headers, and what was lost of both.
    fn extra_share(&self) -> f64 {
        let needed = self.first_time_bytes + self.lost_data_bytes;
        (self.data_bytes + self.ack_bytes) as f64 / needed as f64 - 1.0
    }

    /// The same with the headers counted as extra.
    fn extra_share_with_headers(&self) -> f64 {
        let needed = self.payload_bytes + self.lost_data_bytes;
        (self.data_bytes + self.ack_bytes) as f64 / needed as f64 - 1.0
    }
}

struct World {
    seed: u64,
    rng: StdRng,
    setting: Setting,
    begun: Instant,
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    /// Arrival, number, whether it is for the receiver, bytes.
    under_way: BinaryHeap<Reverse<(Instant, u64, bool, Bytes)>>,
    counter: u64,
    sent_at: HashMap<u64, Instant>,
    seen: HashMap<u64, Instant>,
    last_seen: Option<u64>,
    read_at: Instant,
    outcome: Outcome,
}

fn message(number: u64, bytes: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes);
    out.put_u64(number);
    out.resize(bytes.max(8), number as u8);
    out.freeze()
}

impl World {
    fn new(seed: u64, setting: Setting) -> Self {
        let now = Instant::now();
        let mut world = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            sender: Sender::new(setting.reliability, QUEUE_BYTES_MAX),
            receiver: Receiver::new(setting.reliability, setting.ordering, LIMITS),
            setting,
            begun: now,
            now,
            under_way: BinaryHeap::new(),
            counter: 0,
            sent_at: HashMap::new(),
            seen: HashMap::new(),
            last_seen: None,
            read_at: now,
            outcome: Outcome::default(),
        };
        let rtt = 2 * world.setting.latency;
        world.sender.handle_path(rtt, DATAGRAM_BYTES_MAX);
        world.receiver.handle_path(rtt);
        world
    }

    fn put_on_the_way(&mut self, to_receiver: bool, datagram: &Datagram) {
        let bytes = write_datagram(4, datagram);
        let lost = self.rng.random::<f64>() < self.setting.loss;
        match &datagram.body {
            Body::Data(data) => {
                self.outcome.data_bytes += bytes.len() as u64;
                if data.chunk >= self.outcome.chunks {
                    self.outcome.chunks = data.chunk + 1;
                    self.outcome.first_time_bytes += bytes.len() as u64;
                }
                if lost {
                    self.outcome.lost_data_bytes += bytes.len() as u64;
                    self.outcome.lost_datagrams += 1;
                }
            }
            _ => self.outcome.ack_bytes += bytes.len() as u64,
        }
        if lost {
            return;
        }
        let copies = 1 + u32::from(self.rng.random::<f64>() < self.setting.duplication);
        for _ in 0..copies {
            let mut at = self.now + self.setting.latency;
            at += self.setting.jitter.mul_f64(self.rng.random());
            if self.rng.random::<f64>() < self.setting.held_back {
                at += self.setting.latency + 5 * MS;
            }
            self.counter += 1;
            let entry = (at, self.counter, to_receiver, bytes.clone());
            self.under_way.push(Reverse(entry));
        }
    }

    fn pump(&mut self) {
        self.sender.handle_timeout(self.now);
        self.receiver.handle_timeout(self.now);
        while let Some(outgoing) = self.sender.poll_transmit(self.now, 64 << 10) {
            let body = match outgoing {
                Outgoing::Data(data) => Body::Data(data),
                Outgoing::Forward(floor) => Body::Forward { floor },
            };
            self.put_on_the_way(
                true,
                &Datagram {
                    id: 7,
                    by_opener: true,
                    body,
                },
            );
        }
        if let Some(ack) = self.receiver.poll_ack(self.now) {
            let body = Body::Ack(ack);
            self.put_on_the_way(
                false,
                &Datagram {
                    id: 7,
                    by_opener: false,
                    body,
                },
            );
        }
        if self.now >= self.read_at {
            while let Some(message) = self.receiver.poll_message() {
                self.check_message(&message);
            }
            if self.setting.lazy {
                self.read_at = self.now + 40 * MS.mul_f64(self.rng.random());
            }
        }
        self.check_bounds();
    }

    fn check_message(&mut self, message: &Bytes) {
        let seed = self.seed;
        let number = u64::from_be_bytes(message[..8].try_into().unwrap());
        assert!(
            message[8..].iter().all(|byte| *byte == number as u8),
            "seed {seed}"
        );
        let sent_at = self.sent_at[&number];
        let twice = self.seen.insert(number, self.now);
        assert!(twice.is_none(), "seed {seed}: message {number} came twice");
        if self.setting.ordering == Ordering::Ordered {
            assert!(
                self.last_seen < Some(number),
                "seed {seed}: {number} out of order"
            );
        }
        self.last_seen = Some(number);
        self.outcome.delivered += 1;
        if let Reliability::Deadline(deadline) = self.setting.reliability
            && self.now <= sent_at + deadline
        {
            self.outcome.in_time += 1;
        }
    }

    fn check_bounds(&self) {
        let seed = self.seed;
        let most = LIMITS.ready_bytes_max
            + LIMITS.unfinished_bytes_max
            + 2 * LIMITS.message_bytes_max as usize
            + 4096;
        assert!(self.receiver.held_bytes() <= most, "seed {seed}");
        assert!(self.receiver.gap_count() <= 512, "seed {seed}");
        let most = QUEUE_BYTES_MAX + 2 * LIMITS.message_bytes_max as usize;
        assert!(self.sender.held_bytes() <= most, "seed {seed}");
    }

    fn run(mut self) -> Outcome {
        let mut waiting: Option<(u64, Bytes, Instant)> = None;
        let mut number = 0;
        let mut next_message = self.now;
        loop {
            while number < self.setting.messages && next_message <= self.now && waiting.is_none() {
                let (least, most) = self.setting.message_bytes;
                let bytes = self.rng.random_range(least..=most);
                waiting = Some((number, message(number, bytes), self.now));
                number += 1;
                next_message += self.setting.interval;
            }
            if let Some((number, bytes, since)) = waiting.take() {
                if self.sender.has_room(bytes.len()) {
                    self.sent_at.insert(number, since);
                    self.outcome.payload_bytes += bytes.len() as u64;
                    self.sender.handle_message(since, bytes);
                } else {
                    waiting = Some((number, bytes, since));
                }
            }
            self.pump();
            let over = number == self.setting.messages && waiting.is_none();
            if over && self.sender.is_settled() {
                break;
            }
            self.step(next_message, !over && waiting.is_none());
        }
        let total = self.sender.chunk_count();
        // What is still under way arrives before the stream's end or after it.
        if self.rng.random() {
            self.drain();
        }
        self.receiver.handle_finished(self.now, total);
        while let Some(message) = self.receiver.poll_message() {
            self.check_message(&message);
        }
        self.drain();
        self.now += 5000 * MS;
        self.receiver.handle_timeout(self.now);
        let seed = self.seed;
        assert!(
            self.receiver.poll_message().is_none(),
            "seed {seed}: after the end"
        );
        assert!(
            self.receiver.is_finished(),
            "seed {seed}: {:?}",
            self.receiver
        );
        self.check_end();
        self.outcome
    }

    fn drain(&mut self) {
        while let Some(Reverse((at, _, to_receiver, bytes))) = self.under_way.pop() {
            self.now = self.now.max(at);
            self.arrive(to_receiver, &bytes);
            if self.receiver.is_finished() {
                continue;
            }
            while let Some(message) = self.receiver.poll_message() {
                self.check_message(&message);
            }
        }
    }

    fn arrive(&mut self, to_receiver: bool, bytes: &Bytes) {
        let datagram = parse_datagram(bytes).unwrap();
        match datagram.body {
            Body::Data(data) => self.receiver.handle_data(self.now, &data),
            Body::Forward { floor } => self.receiver.handle_forward(self.now, floor),
            Body::Ack(ack) => self.sender.handle_ack(self.now, &ack),
            Body::Stop { .. } => unreachable!(),
        }
        assert_eq!(to_receiver, datagram.by_opener);
    }

    fn step(&mut self, next_message: Instant, more: bool) {
        let arrival = self.under_way.peek().map(|Reverse((at, ..))| *at);
        let next = [
            arrival,
            self.sender.poll_timeout(),
            self.receiver.poll_timeout(),
            more.then_some(next_message),
            self.setting.lazy.then_some(self.read_at),
        ];
        let next = next.into_iter().flatten().min();
        let next = next.unwrap_or_else(|| panic!("seed {}: stuck", self.seed));
        // What is due and was not done would be asked for again and again.
        self.now = next.max(self.now + Duration::from_micros(1));
        let ran = self.now - self.begun;
        assert!(
            ran < Duration::from_secs(3600),
            "seed {}: no end",
            self.seed
        );
        while let Some(Reverse((at, ..))) = self.under_way.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, to_receiver, bytes))) = self.under_way.pop()
        {
            self.arrive(to_receiver, &bytes);
        }
    }

    fn check_end(&mut self) {
        let (seed, stats) = (self.seed, self.sender.stats());
        assert_eq!(stats.bad_acks, 0, "seed {seed}");
        assert_eq!(self.receiver.stats().malformed, 0, "seed {seed}");
        assert_eq!(stats.messages, self.setting.messages, "seed {seed}");
        self.outcome.retransmissions = stats.retransmissions;
        self.outcome.duplicates = self.receiver.stats().duplicates;
        self.outcome.refused = self.receiver.stats().refused;
        // Nothing is missing that the sender did not give up.
        if let Reliability::Retransmissions(_) = self.setting.reliability {
            let expected = self.setting.messages - stats.expired;
            let skipped = self.receiver.stats().passed;
            assert!(
                self.outcome.delivered + skipped >= expected,
                "seed {seed}: {} of {expected} came",
                self.outcome.delivered,
            );
        }
    }
}

fn random_setting(rng: &mut StdRng) -> Setting {
    let reliability = match rng.random_range(0..4) {
        0 => Reliability::Unreliable,
        1 => Reliability::Retransmissions(rng.random_range(0..12)),
        _ => Reliability::Deadline(MS * rng.random_range(1..600)),
    };
    let bad = |rng: &mut StdRng, most: f64| {
        if rng.random() {
            rng.random::<f64>() * most
        } else {
            0.0
        }
    };
    let large = rng.random_range(0..4) == 0;
    Setting {
        reliability,
        ordering: if rng.random() {
            Ordering::Ordered
        } else {
            Ordering::Unordered
        },
        latency: MS * rng.random_range(0..120),
        jitter: MS * rng.random_range(0..40),
        loss: bad(rng, 0.4),
        duplication: bad(rng, 0.3),
        held_back: bad(rng, 0.2),
        messages: rng.random_range(1..120),
        interval: Duration::from_micros(rng.random_range(0..20_000)),
        message_bytes: if large { (8, 60_000) } else { (8, 1000) },
        lazy: rng.random(),
    }
}

#[test]
fn whatever_the_network_does_nothing_comes_twice_or_out_of_order_and_all_is_bounded() {
    let mut delivered = 0;
    for seed in 0..3000 {
        let setting = random_setting(&mut StdRng::seed_from_u64(seed));
        delivered += World::new(seed, setting).run().delivered;
    }
    assert!(delivered > 100_000, "{delivered}");
}

fn steady(ordering: Ordering, bytes: usize, interval: Duration) -> Setting {
    Setting {
        reliability: Reliability::Deadline(200 * MS),
        ordering,
        latency: 20 * MS,
        jitter: Duration::ZERO,
        loss: 0.05,
        duplication: 0.0,
        held_back: 0.0,
        messages: 20_000,
        interval,
        message_bytes: (bytes, bytes),
        lazy: false,
    }
}

#[test]
fn at_five_percent_loss_all_but_a_thousandth_arrive_in_time_for_five_percent_more_bytes() {
    for ordering in [Ordering::Ordered, Ordering::Unordered] {
        for (bytes, interval) in [
            (1000, 5 * MS),
            (1000, MS),
            (1000, 20 * MS),
            (12_000, 20 * MS),
        ] {
            let outcome = World::new(11, steady(ordering, bytes, interval)).run();
            let in_time = outcome.in_time as f64 / 20_000.0;
            let extra = outcome.extra_share();
            println!(
                "{ordering:?} {bytes} B each {interval:?}: {in_time:.5} in time, \
                 {extra:.4} extra, {:.4} with headers, {outcome:?}",
                outcome.extra_share_with_headers(),
            );
            assert!(
                in_time >= 0.999,
                "{ordering:?} {bytes} {interval:?}: {in_time}"
            );
            assert!(extra <= 0.05, "{ordering:?} {bytes} {interval:?}: {extra}");
        }
    }
}
