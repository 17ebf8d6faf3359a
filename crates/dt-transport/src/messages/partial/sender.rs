//! The sending machine: cuts messages, finds losses, sends again, gives up.

mod losses;

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::losses::PROBES_MAX;
use super::{ACK_DELAY_MAX, rtt::Rtt};
use crate::messages::{
    Reliability,
    wire::{Ack, DATA_OVERHEAD_BYTES_MAX, Data, Fragment},
};

/// Chunks that are numbered and not settled, at most; messages wait above it.
const CHUNKS_MAX: usize = 4096;
/// What a message counts for in the queue beyond its bytes, so that empty ones
/// are bounded too.
const MESSAGE_COST_BYTES: usize = 64;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::messages) enum Outgoing {
    Data(Data),
    /// Nothing below will be sent again.
    Forward(u64),
}

/// What it has done since its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::messages) struct SenderStats {
    pub(in crate::messages) messages: u64,
    pub(in crate::messages) message_bytes: u64,
    /// Data datagrams, retransmissions included.
    pub(in crate::messages) datagrams: u64,
    pub(in crate::messages) retransmissions: u64,
    pub(in crate::messages) retransmitted_bytes: u64,
    /// Chunks taken to be lost, probes included.
    pub(in crate::messages) lost: u64,
    /// Messages given up, whole or in part.
    pub(in crate::messages) expired: u64,
    pub(in crate::messages) acked_bytes: u64,
    /// Acknowledgements of what was never sent.
    pub(in crate::messages) bad_acks: u64,
}

/// Sends the messages of one stream. Drive it by [`poll_transmit`](Self::poll_transmit)
/// until it returns nothing after every input, and by
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout)
/// has come.
#[derive(Debug)]
pub(in crate::messages) struct Sender {
    reliability: Reliability,
    queue_bytes_max: usize,
    datagram_bytes_max: usize,
    queue: VecDeque<Queued>,
    /// Of what is queued, and of what is sent and not settled.
    held_bytes: usize,
    /// Number of the first of `chunks`.
    base: u64,
    chunks: VecDeque<Chunk>,
    /// The first chunk that was never sent.
    next_unsent: u64,
    /// Messages with chunks at or above `base`, in order.
    sent: VecDeque<Sent>,
    /// In the order of sending; some no longer count, never the first.
    flight: VecDeque<Flight>,
    in_flight_bytes: usize,
    lost: BTreeSet<u64>,
    /// Was sent for the last time, and is sent twice.
    again: Option<u64>,
    /// Duplicates that are the peer's answer to that.
    duplicates_meant: u64,
    /// The latest-sent chunk that has arrived.
    latest: Option<Latest>,
    rtt: Rtt,
    reordering_quarters: u32,
    reordering_since: Option<Instant>,
    duplicates_seen: u64,
    retransmissions_seen: u64,
    probes: u32,
    probes_since: Option<Instant>,
    peer_floor: u64,
    abandoned_to: u64,
    forward_at: Option<Instant>,
    forwards: u32,
    stats: SenderStats,
}

#[derive(Debug)]
struct Queued {
    message: Bytes,
    queued_at: Instant,
}

#[derive(Debug)]
struct Sent {
    first: u64,
    end: u64,
    queued_at: Instant,
}

#[derive(Debug)]
struct Chunk {
    payload: Bytes,
    fragment: Fragment,
    queued_at: Instant,
    /// How often it was sent.
    attempts: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unsent,
    InFlight {
        sent_at: Instant,
    },
    Lost,
    /// Arrived or given up.
    Settled,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    chunk: u64,
    attempt: u32,
    sent_at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    sent_at: Instant,
    /// From sending to the acknowledgement's arrival.
    took: Duration,
}

impl Sender {
    pub(in crate::messages) fn new(reliability: Reliability, queue_bytes_max: usize) -> Self {
        Self {
            reliability,
            queue_bytes_max,
            datagram_bytes_max: 1000,
            queue: VecDeque::new(),
            held_bytes: 0,
            base: 0,
            chunks: VecDeque::new(),
            next_unsent: 0,
            sent: VecDeque::new(),
            flight: VecDeque::new(),
            in_flight_bytes: 0,
            lost: BTreeSet::new(),
            again: None,
            duplicates_meant: 0,
            latest: None,
            rtt: Rtt::default(),
            reordering_quarters: 1,
            reordering_since: None,
            duplicates_seen: 0,
            retransmissions_seen: 0,
            probes: 0,
            probes_since: None,
            peer_floor: 0,
            abandoned_to: 0,
            forward_at: None,
            forwards: 0,
            stats: SenderStats::default(),
        }
    }

    // -- what is known from outside -----------------------------------------

    /// Whether a message of so many bytes may be given to it now.
    pub(in crate::messages) fn has_room(&self, bytes: usize) -> bool {
        self.held_bytes == 0 || self.held_bytes + bytes + MESSAGE_COST_BYTES <= self.queue_bytes_max
    }

    /// Everything was sent and has arrived or was given up.
    pub(in crate::messages) fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.chunks.is_empty()
    }

    /// There is nothing to send, whatever room there is.
    pub(in crate::messages) fn is_idle(&self) -> bool {
        self.is_settled() && self.forward_at.is_none()
    }

    /// Chunks that were numbered.
    pub(in crate::messages) fn chunk_count(&self) -> u64 {
        self.base + self.chunks.len() as u64
    }

    pub(in crate::messages) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    pub(in crate::messages) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// When the oldest message that was not sent yet was given to it.
    pub(in crate::messages) fn oldest_unsent(&self) -> Option<Instant> {
        let unsent = self.chunk(self.next_unsent).map(|chunk| chunk.queued_at);
        unsent.or_else(|| self.queue.front().map(|queued| queued.queued_at))
    }

    /// Smoothed round trip and its jitter, as far as they are known.
    pub(in crate::messages) fn rtt(&self) -> (Duration, Duration) {
        (self.rtt.smoothed(), self.rtt.jitter())
    }

    pub(in crate::messages) fn stats(&self) -> SenderStats {
        self.stats
    }

    // -- inputs -------------------------------------------------------------

    /// The session's round-trip time and the size of its datagrams.
    pub(in crate::messages) fn handle_path(&mut self, rtt: Duration, datagram_bytes_max: usize) {
        self.rtt.hint(rtt);
        self.datagram_bytes_max = datagram_bytes_max;
    }

    /// Takes a message that its owner wanted sent at `queued_at`. Look for
    /// [`has_room`](Self::has_room) before.
    pub(in crate::messages) fn handle_message(&mut self, queued_at: Instant, message: Bytes) {
        self.held_bytes += message.len() + MESSAGE_COST_BYTES;
        self.stats.messages += 1;
        self.stats.message_bytes += message.len() as u64;
        self.queue.push_back(Queued { message, queued_at });
    }

    /// The peer tells what has arrived.
    pub(in crate::messages) fn handle_ack(&mut self, now: Instant, ack: &Ack) {
        let end = ack.ranges.last().map_or(ack.cumulative, |range| range.end);
        if end > self.next_unsent || ack.newest >= self.next_unsent {
            self.stats.bad_acks += 1;
            return;
        }
        self.measure(now, ack);
        self.peer_floor = self.peer_floor.max(ack.cumulative);
        let whole = self.base..ack.cumulative.max(self.base);
        for range in std::iter::once(whole).chain(ack.ranges.iter().cloned()) {
            for chunk in range.start.max(self.base)..range.end {
                self.arrived(now, chunk);
            }
        }
        self.note_duplicates(now, ack.duplicates);
        self.find_losses(now);
        self.tidy(now);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub(in crate::messages) fn handle_timeout(&mut self, now: Instant) {
        self.give_up_the_late(now);
        self.find_losses(now);
        while let Some(front) = self.flight.front().copied()
            && front.sent_at + self.pace(front.attempt) <= now
            && self.may_probe(now)
        {
            self.probes += 1;
            self.take_for_lost(front.chunk);
            self.drop_stale_flights();
        }
        self.tidy(now);
    }

    // -- outputs ------------------------------------------------------------

    /// The next datagram, while no more than `room` bytes would be in flight.
    pub(in crate::messages) fn poll_transmit(
        &mut self,
        now: Instant,
        room: usize,
    ) -> Option<Outgoing> {
        self.give_up_the_late(now);
        self.tidy(now);
        if let Some(number) = self.again.take()
            && self
                .chunk(number)
                .is_some_and(|chunk| matches!(chunk.state, State::InFlight { .. }))
        {
            self.duplicates_meant += 1;
            return Some(Outgoing::Data(self.transmit(now, number)));
        }
        if self.in_flight_bytes < room
            && let Some(number) = self.next_to_send()
        {
            return Some(Outgoing::Data(self.transmit(now, number)));
        }
        if self.forward_at.is_some_and(|at| at <= now) {
            self.note_forward(now);
            return Some(Outgoing::Forward(self.floor()));
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and to poll again.
    pub(in crate::messages) fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.forward_at;
        let mut at = |time: Instant| next = Some(next.map_or(time, |next| next.min(time)));
        if let Some(front) = self.flight.front() {
            let mut probe = front.sent_at + self.pace(front.attempt);
            if let Some(since) = self.probes_since
                && self.probes >= PROBES_MAX
            {
                probe = probe.max(since + self.rtt.smoothed() / 2);
            }
            at(probe);
            if let Some(latest) = &self.latest
                && front.sent_at < latest.sent_at
            {
                at(self.lost_at(front, latest));
            }
        }
        if let Reliability::Deadline(deadline) = self.reliability {
            let oldest = self.sent.front().map(|sent| sent.queued_at);
            let oldest = oldest.or_else(|| self.queue.front().map(|queued| queued.queued_at));
            if let Some(queued_at) = oldest {
                at(self.give_up_at(queued_at, deadline));
            }
        }
        next
    }

    // -- sending ------------------------------------------------------------

    fn chunk(&self, number: u64) -> Option<&Chunk> {
        let index = number.checked_sub(self.base)?;
        self.chunks.get(usize::try_from(index).ok()?)
    }

    fn chunk_mut(&mut self, number: u64) -> Option<&mut Chunk> {
        let index = number.checked_sub(self.base)?;
        self.chunks.get_mut(usize::try_from(index).ok()?)
    }

    /// What was lost goes first: it is older.
    fn next_to_send(&mut self) -> Option<u64> {
        if let Some(lost) = self.lost.pop_first() {
            return Some(lost);
        }
        // A message that was given up may have chunks that were never sent.
        while self
            .chunk(self.next_unsent)
            .is_some_and(|chunk| chunk.state == State::Settled)
        {
            self.next_unsent += 1;
        }
        if self.chunk(self.next_unsent).is_none() {
            self.cut_next_message()?;
        }
        let number = self.next_unsent;
        self.next_unsent += 1;
        Some(number)
    }

    fn cut_next_message(&mut self) -> Option<()> {
        if self.chunks.len() >= CHUNKS_MAX {
            return None;
        }
        let Queued { message, queued_at } = self.queue.pop_front()?;
        let room = self
            .datagram_bytes_max
            .saturating_sub(DATA_OVERHEAD_BYTES_MAX)
            .max(1);
        let count = message.len().div_ceil(room).max(1);
        let first = self.chunk_count();
        for index in 0..count {
            let end = message.len().min((index + 1) * room);
            self.chunks.push_back(Chunk {
                payload: message.slice(index * room..end),
                fragment: Fragment {
                    index: index as u32,
                    count: count as u32,
                },
                queued_at,
                attempts: 0,
                state: State::Unsent,
            });
        }
        self.sent.push_back(Sent {
            first,
            end: first + count as u64,
            queued_at,
        });
        Some(())
    }

    fn transmit(&mut self, now: Instant, number: u64) -> Data {
        let tell_floor = self.forward_needed();
        let tracked = self.reliability.is_partial();
        let floor = self.floor();
        let index = (number - self.base) as usize;
        let chunk = &mut self.chunks[index];
        let attempt = chunk.attempts;
        chunk.attempts += 1;
        let data = Data {
            chunk: number,
            fragment: chunk.fragment,
            attempt: (attempt & 3) as u8,
            age: now.saturating_duration_since(chunk.queued_at),
            floor: tell_floor.then_some(floor),
            payload: chunk.payload.clone(),
        };
        self.stats.datagrams += 1;
        if attempt > 0 {
            self.stats.retransmissions += 1;
            self.stats.retransmitted_bytes += data.payload.len() as u64;
        }
        if tracked {
            let before = std::mem::replace(&mut chunk.state, State::InFlight { sent_at: now });
            let queued_at = chunk.queued_at;
            if matches!(before, State::InFlight { .. }) {
                // The second of two.
            } else {
                self.in_flight_bytes += data.payload.len();
                if attempt > 0 && self.is_last_chance(now, queued_at) {
                    self.again = Some(number);
                }
            }
            self.flight.push_back(Flight {
                chunk: number,
                attempt,
                sent_at: now,
            });
            if tell_floor {
                self.note_forward(now);
            }
        } else {
            self.settle(number);
            self.tidy(now);
        }
        data
    }

    /// Whether a loss of what is sent now would be found too late to send it
    /// once more. Then a second copy is cheaper than what it saves.
    fn is_last_chance(&self, now: Instant, queued_at: Instant) -> bool {
        let Reliability::Deadline(deadline) = self.reliability else {
            return false;
        };
        let found = self.rtt.smoothed() * 5 / 4 + ACK_DELAY_MAX;
        now + found >= self.give_up_at(queued_at, deadline)
    }
}
