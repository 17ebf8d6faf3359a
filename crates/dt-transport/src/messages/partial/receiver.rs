//! The receiving machine: puts messages together and in order, each once, and
//! tells what has arrived.

mod release;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{ACK_DELAY_MAX, ACK_DELAY_MIN, received::Received};
use crate::messages::{
    Ordering, Reliability,
    wire::{ACK_RANGES_MAX, Ack, Data},
};

/// Gaps that are remembered. What would make one more is not taken where it is
/// acknowledged; elsewhere the oldest gap is forgotten.
const RANGES_MAX: usize = 512;
/// What a fragment or message in a buffer counts for beyond its bytes.
const ENTRY_COST_BYTES: usize = 64;
/// How long an unreliable stream that has ended waits for datagrams that its end
/// has overtaken, at least.
const GRACE_MIN: Duration = Duration::from_millis(50);
/// How long an unreliable message waits for its fragments.
const UNRELIABLE_PATIENCE: Duration = Duration::from_secs(1);

/// What it may hold; see [`Config`](crate::messages::Config).
#[derive(Debug, Clone, Copy)]
pub(in crate::messages) struct ReceiverLimits {
    pub(in crate::messages) message_bytes_max: u32,
    pub(in crate::messages) ready_bytes_max: usize,
    pub(in crate::messages) unfinished_bytes_max: usize,
    pub(in crate::messages) unfinished_messages_max: usize,
}

/// What it has seen since its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::messages) struct ReceiverStats {
    pub(in crate::messages) messages: u64,
    pub(in crate::messages) message_bytes: u64,
    pub(in crate::messages) datagrams: u64,
    /// Chunks that had arrived before.
    pub(in crate::messages) duplicates: u64,
    /// Messages handed out after their deadline.
    pub(in crate::messages) late: u64,
    /// Chunks that came after their place had been passed.
    pub(in crate::messages) passed: u64,
    /// Chunks for which there was no room.
    pub(in crate::messages) refused: u64,
    /// Chunks that contradict others or their stream's limits.
    pub(in crate::messages) malformed: u64,
    /// Different chunks that arrived; and the number of the highest, plus one.
    pub(in crate::messages) chunks: u64,
    pub(in crate::messages) chunks_known: u64,
    pub(in crate::messages) acks: u64,
}

/// Receives the messages of one stream.
#[derive(Debug)]
pub(in crate::messages) struct Receiver {
    reliability: Reliability,
    ordering: Ordering,
    limits: ReceiverLimits,
    rtt: Duration,
    received: Received,
    unfinished: BTreeMap<u64, Unfinished>,
    unfinished_bytes: usize,
    /// How many of them have more than one fragment.
    fragmented: usize,
    /// In ordered streams: the chunk that the next message begins with.
    next: u64,
    /// What is missing below was given up by the sender.
    passed: u64,
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    newest: Option<(u64, u8, Instant)>,
    ack_at: Option<Instant>,
    /// The next acknowledgement says nothing new.
    repeating: bool,
    end: Option<End>,
    stats: ReceiverStats,
}

#[derive(Debug)]
struct Unfinished {
    count: u32,
    parts: BTreeMap<u32, Bytes>,
    bytes: usize,
    /// When it is worth nothing any more.
    expires: Option<Instant>,
}

#[derive(Debug)]
struct End {
    total: u64,
    /// What has not arrived by then is lost.
    at: Instant,
}

impl Receiver {
    pub(in crate::messages) fn new(
        reliability: Reliability,
        ordering: Ordering,
        limits: ReceiverLimits,
    ) -> Self {
        Self {
            reliability,
            ordering,
            limits,
            rtt: Duration::ZERO,
            received: Received::default(),
            unfinished: BTreeMap::new(),
            unfinished_bytes: 0,
            fragmented: 0,
            next: 0,
            passed: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            newest: None,
            ack_at: None,
            repeating: false,
            end: None,
            stats: ReceiverStats::default(),
        }
    }

    // -- what is known from outside -----------------------------------------

    /// The stream is at its end and everything was taken.
    pub(in crate::messages) fn is_finished(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|end| self.is_whole(end.total))
            && self.ready.is_empty()
    }

    pub(in crate::messages) fn stats(&self) -> ReceiverStats {
        self.stats
    }

    /// Bytes held for whatever reason, for tests of their bound.
    #[cfg(test)]
    pub(in crate::messages) fn held_bytes(&self) -> usize {
        self.unfinished_bytes + self.ready_bytes
    }

    #[cfg(test)]
    pub(super) fn gap_count(&self) -> usize {
        self.received.range_count()
    }

    // -- inputs -------------------------------------------------------------

    /// The session's round-trip time.
    pub(in crate::messages) fn handle_path(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// A data datagram has arrived.
    pub(in crate::messages) fn handle_data(&mut self, now: Instant, data: &Data) {
        self.stats.datagrams += 1;
        if let Some(floor) = data.floor {
            self.pass(now, floor);
        }
        let first = data.chunk - u64::from(data.fragment.index);
        if self.is_malformed(data, first) {
            self.stats.malformed += 1;
            return;
        }
        if self.received.contains(data.chunk) {
            self.stats.duplicates += 1;
            self.note_arrival(now, data);
            return;
        }
        if !self.has_room_for(data, first) {
            self.stats.refused += 1;
            return;
        }
        self.received.insert(data.chunk);
        if self.received.range_count() > RANGES_MAX {
            self.received.skip_first_gap();
        }
        self.note_arrival(now, data);
        self.stats.chunks += 1;
        self.stats.chunks_known = self.stats.chunks_known.max(data.chunk + 1);
        let expires = self.expiry(now, data);
        let expired = expires.is_some_and(|at| at <= now);
        if self.ordering == Ordering::Ordered && first < self.next {
            self.stats.passed += 1;
            return;
        }
        if data.fragment.count > 1 && expired {
            self.stats.passed += 1;
            return;
        }
        self.put(first, data, expires);
        self.release(now, first);
        self.finish_if_whole();
    }

    /// Nothing below this chunk will be sent again.
    pub(in crate::messages) fn handle_forward(&mut self, now: Instant, floor: u64) {
        self.pass(now, floor);
        self.schedule_ack(now);
    }

    /// The peer has finished after so many chunks.
    pub(in crate::messages) fn handle_finished(&mut self, now: Instant, total: u64) {
        if self.end.is_some() {
            return;
        }
        let mut at = now;
        if self.reliability == Reliability::Unreliable {
            at += self.rtt.max(GRACE_MIN);
        }
        self.end = Some(End { total, at });
        self.handle_timeout(now);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub(in crate::messages) fn handle_timeout(&mut self, now: Instant) {
        self.release_the_urgent(now);
        self.forget_where(|_, message| {
            !message.is_whole() && message.expires.is_some_and(|at| at <= now)
        });
        if let Some(end) = &self.end
            && end.at <= now
        {
            let total = end.total;
            self.pass(now, total);
        }
        self.finish_if_whole();
    }

    // -- outputs ------------------------------------------------------------

    /// The next message.
    pub(in crate::messages) fn poll_message(&mut self) -> Option<Bytes> {
        let message = self.ready.pop_front()?;
        self.ready_bytes -= message.len() + ENTRY_COST_BYTES;
        Some(message)
    }

    /// The acknowledgement that is due.
    pub(in crate::messages) fn poll_ack(&mut self, now: Instant) -> Option<Ack> {
        if self.ack_at.is_none_or(|at| at > now) {
            return None;
        }
        // The last of a row is told twice, so that losing one costs nothing.
        self.ack_at = (!self.repeating).then(|| now + self.ack_delay());
        self.repeating = true;
        self.stats.acks += 1;
        let (newest, attempt, at) = self.newest.unwrap_or((0, 0, now));
        Some(Ack {
            cumulative: self.received.floor(),
            newest,
            attempt,
            delay: now.saturating_duration_since(at),
            duplicates: self.stats.duplicates,
            ranges: self.received.ranges().take(ACK_RANGES_MAX).collect(),
        })
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and to poll again.
    pub(in crate::messages) fn poll_timeout(&self) -> Option<Instant> {
        let urgent = self.urgent().map(|(_, at)| at);
        // Whole ones wait only where `urgent` looks after them.
        let fragments = self.fragmented > 0;
        let unfinished = self
            .unfinished
            .values()
            .take_while(|_| fragments)
            .filter(|message| !message.is_whole())
            .filter_map(|message| message.expires);
        let end = self.end.as_ref().filter(|end| !self.is_whole(end.total));
        self.ack_at
            .into_iter()
            .chain(urgent)
            .chain(unfinished)
            .chain(end.map(|end| end.at))
            .min()
    }

    // -- acknowledging ------------------------------------------------------

    fn ack_delay(&self) -> Duration {
        if self.rtt.is_zero() {
            return ACK_DELAY_MAX;
        }
        (self.rtt / 4).clamp(ACK_DELAY_MIN, ACK_DELAY_MAX)
    }

    fn note_arrival(&mut self, now: Instant, data: &Data) {
        self.newest = Some((data.chunk, data.attempt, now));
        self.schedule_ack(now);
    }

    fn schedule_ack(&mut self, now: Instant) {
        if !self.reliability.is_partial() {
            return;
        }
        // One that was to say nothing new says it now, and at its own time.
        self.repeating = false;
        let at = now + self.ack_delay();
        self.ack_at.get_or_insert(at);
    }

    // -- taking -------------------------------------------------------------

    fn is_malformed(&self, data: &Data, first: u64) -> bool {
        let limit = u64::from(self.limits.message_bytes_max);
        let count = u64::from(data.fragment.count);
        let known = self.unfinished.get(&first);
        data.payload.len() as u64 > limit
            || (count > 1 && count > limit)
            || known.is_some_and(|known| {
                known.count != data.fragment.count
                    || (known.bytes + data.payload.len()) as u64 > limit
            })
    }

    fn has_room_for(&mut self, data: &Data, first: u64) -> bool {
        let cost = data.payload.len() + ENTRY_COST_BYTES;
        // One that is larger than the bound is taken alone.
        if self.ready_bytes > 0 && self.ready_bytes + cost > self.limits.ready_bytes_max {
            return false;
        }
        let partial = self.reliability.is_partial();
        if partial
            && self.received.range_count() >= RANGES_MAX
            && self.received.is_apart(data.chunk)
        {
            return false;
        }
        let waits = data.fragment.count > 1 || (self.waits_for_earlier() && first != self.next);
        while waits && !self.has_room_to_wait(cost, first) {
            if partial {
                return false;
            }
            // Nobody sends an older one again: it gives way.
            let Some((lowest, _)) = self.unfinished.first_key_value() else {
                return false;
            };
            let lowest = *lowest;
            self.forget(lowest);
        }
        true
    }

    fn has_room_to_wait(&self, cost: usize, first: u64) -> bool {
        let lowest = self.unfinished.first_key_value();
        let (mut bytes, mut messages) = (
            self.limits.unfinished_bytes_max,
            self.limits.unfinished_messages_max,
        );
        // There is room besides for the message that the others wait for.
        if lowest.is_none_or(|(lowest, _)| first <= *lowest) {
            bytes += self.limits.message_bytes_max as usize + ENTRY_COST_BYTES;
            messages += 1;
        }
        self.unfinished.is_empty()
            || (self.unfinished_bytes + cost <= bytes
                && (self.unfinished.len() < messages || self.unfinished.contains_key(&first)))
    }

    fn expiry(&self, now: Instant, data: &Data) -> Option<Instant> {
        match self.reliability {
            Reliability::Deadline(deadline) => {
                let age = data.age + self.rtt / 2;
                Some(
                    now.checked_sub(age)
                        .map_or(now, |queued_at| queued_at + deadline),
                )
            }
            Reliability::Unreliable => Some(now + UNRELIABLE_PATIENCE),
            Reliability::Reliable | Reliability::Retransmissions(_) => None,
        }
    }

    fn put(&mut self, first: u64, data: &Data, expires: Option<Instant>) {
        let fragmented = &mut self.fragmented;
        let message = self.unfinished.entry(first).or_insert_with(|| {
            *fragmented += usize::from(data.fragment.count > 1);
            Unfinished {
                count: data.fragment.count,
                parts: BTreeMap::new(),
                bytes: 0,
                expires,
            }
        });
        message.expires = message.expires.min(expires);
        message.bytes += data.payload.len();
        self.unfinished_bytes += data.payload.len() + ENTRY_COST_BYTES;
        // Copied, so that a small payload does not keep a large packet alive.
        let payload = Bytes::copy_from_slice(&data.payload);
        message.parts.insert(data.fragment.index, payload);
    }
}

impl Unfinished {
    fn is_whole(&self) -> bool {
        self.parts.len() == self.count as usize
    }

    fn cost(&self) -> usize {
        self.bytes + self.parts.len() * ENTRY_COST_BYTES
    }

    fn join(mut self) -> Bytes {
        if self.count == 1 {
            return self
                .parts
                .pop_first()
                .map(|(_, part)| part)
                .unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.bytes);
        for part in self.parts.values() {
            whole.extend_from_slice(part);
        }
        whole.freeze()
    }
}
