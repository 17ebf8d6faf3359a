//! What the sending machine makes of acknowledgements and of silence: which
//! chunks have arrived, which are lost, and which are given up.

use std::time::{Duration, Instant};

use super::{Flight, Latest, MESSAGE_COST_BYTES, Sender, State};
use crate::messages::{
    Reliability,
    partial::ACK_DELAY_MAX,
    wire::{Ack, Fragment},
};

/// Quarters of the least round trip that packets are taken to overtake each
/// other, at most.
const REORDERING_QUARTERS_MAX: u32 = 3;
/// Round trips without a needless retransmission after which that is one again.
const REORDERING_FORGOTTEN_ROUNDS: u32 = 32;
/// How long an abandonment waits for data to travel with.
const FORWARD_DELAY: Duration = Duration::from_millis(5);
/// Chunks that are probed for in half a round trip, at most: when the path
/// stalls, not everything is sent twice.
pub(super) const PROBES_MAX: u32 = 2;
/// A chunk sent more often than this waits longer each time.
const ATTEMPTS_AT_ONE_PACE: u32 = 3;
/// Beyond so many doublings no pace is made longer.
const DOUBLINGS_MAX: u32 = 6;
/// A message that was not sent at all so long before it would be given up is not
/// sent any more: where messages queue, each would arrive a moment too late. A
/// twentieth of the deadline where that is less.
const SLACK_MAX: Duration = Duration::from_millis(10);

impl Sender {
    // -- acknowledgements ---------------------------------------------------

    pub(super) fn measure(&mut self, now: Instant, ack: &Ack) {
        let Some(chunk) = self.chunk(ack.newest) else {
            return;
        };
        if let State::InFlight { sent_at } = chunk.state
            && ((chunk.attempts - 1) & 3) as u8 == ack.attempt
        {
            let delay = ack.delay.min(ACK_DELAY_MAX * 2);
            let sample = now.saturating_duration_since(sent_at);
            self.rtt.sample(sample.saturating_sub(delay));
        }
    }

    pub(super) fn arrived(&mut self, now: Instant, number: u64) {
        let least = self.rtt.least();
        let Some(chunk) = self.chunk_mut(number) else {
            return;
        };
        let (state, attempts) = (chunk.state, chunk.attempts);
        let bytes = chunk.payload.len() as u64;
        if state == State::Settled {
            return;
        }
        self.stats.acked_bytes += bytes;
        if let State::InFlight { sent_at } = state {
            let took = now.saturating_duration_since(sent_at);
            // Sooner than a round trip after it was sent again, it is the
            // earlier one that arrived.
            let unambiguous = attempts == 1 || took >= least;
            if unambiguous && self.latest.is_none_or(|latest| latest.sent_at < sent_at) {
                self.latest = Some(Latest { sent_at, took });
            }
        }
        self.settle(number);
    }

    /// Chunks that arrived twice show that they were taken for lost too soon.
    pub(super) fn note_duplicates(&mut self, now: Instant, duplicates: u64) {
        let more = duplicates.saturating_sub(self.duplicates_seen);
        let unmeant = more.saturating_sub(self.duplicates_meant);
        self.duplicates_meant = self.duplicates_meant.saturating_sub(more);
        let sent_again = self.stats.retransmissions > self.retransmissions_seen;
        if unmeant > 0 && sent_again {
            self.retransmissions_seen = self.stats.retransmissions;
            self.reordering_quarters = (self.reordering_quarters + 1).min(REORDERING_QUARTERS_MAX);
            self.reordering_since = Some(now);
        } else if self
            .reordering_since
            .is_some_and(|since| now > since + REORDERING_FORGOTTEN_ROUNDS * self.rtt.smoothed())
        {
            self.reordering_quarters = 1;
            self.reordering_since = None;
        }
        self.duplicates_seen = self.duplicates_seen.max(duplicates);
    }

    // -- losses -------------------------------------------------------------

    pub(super) fn lost_at(&self, flight: &Flight, latest: &Latest) -> Instant {
        let reordering = self.rtt.least() * self.reordering_quarters / 4;
        flight.sent_at + latest.took + reordering
    }

    pub(super) fn find_losses(&mut self, now: Instant) {
        self.drop_stale_flights();
        let Some(latest) = self.latest else {
            return;
        };
        while let Some(front) = self.flight.front().copied()
            && front.sent_at < latest.sent_at
            && self.lost_at(&front, &latest) <= now
        {
            self.take_for_lost(front.chunk);
            self.drop_stale_flights();
        }
    }

    /// How long nothing may be heard of a chunk. The delay of acknowledgements
    /// counts twice, as the last one is told twice.
    pub(super) fn pace(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(ATTEMPTS_AT_ONE_PACE - 1);
        (self.rtt.upper() + 2 * ACK_DELAY_MAX) * (1 << doublings.min(DOUBLINGS_MAX))
    }

    pub(super) fn may_probe(&mut self, now: Instant) -> bool {
        let fresh = self
            .probes_since
            .is_none_or(|since| since + self.rtt.smoothed() / 2 <= now);
        if fresh {
            self.probes_since = Some(now);
            self.probes = 0;
        }
        self.probes < PROBES_MAX
    }

    pub(super) fn take_for_lost(&mut self, number: u64) {
        let limit = match self.reliability {
            Reliability::Retransmissions(limit) => limit,
            _ => u32::MAX,
        };
        let Some(chunk) = self.chunk_mut(number) else {
            return;
        };
        chunk.state = State::Lost;
        let exhausted = chunk.attempts > limit;
        let bytes = chunk.payload.len();
        let (first, end) = message_of(number, chunk.fragment);
        self.in_flight_bytes -= bytes;
        self.stats.lost += 1;
        if exhausted {
            self.abandon(first, end);
        } else {
            self.lost.insert(number);
        }
    }

    pub(super) fn drop_stale_flights(&mut self) {
        while let Some(front) = self.flight.front()
            && !self.is_current(front)
        {
            self.flight.pop_front();
        }
    }

    pub(super) fn is_current(&self, flight: &Flight) -> bool {
        self.chunk(flight.chunk).is_some_and(|chunk| {
            matches!(chunk.state, State::InFlight { .. }) && chunk.attempts == flight.attempt + 1
        })
    }

    // -- giving up ----------------------------------------------------------

    /// What is sent after this arrives too late.
    pub(super) fn give_up_at(&self, queued_at: Instant, deadline: Duration) -> Instant {
        queued_at + deadline.saturating_sub(self.rtt.least() / 2)
    }

    pub(super) fn give_up_the_late(&mut self, now: Instant) {
        let Reliability::Deadline(deadline) = self.reliability else {
            return;
        };
        while let Some(sent) = self.sent.front()
            && self.give_up_at(sent.queued_at, deadline) <= now
        {
            let (first, end) = (sent.first, sent.end);
            self.sent.pop_front();
            self.abandon(first, end);
        }
        while let Some(queued) = self.queue.front()
            && self.give_up_at(queued.queued_at, deadline) <= now + (deadline / 20).min(SLACK_MAX)
        {
            self.held_bytes -= queued.message.len() + MESSAGE_COST_BYTES;
            self.queue.pop_front();
            self.stats.expired += 1;
        }
    }

    pub(super) fn abandon(&mut self, first: u64, end: u64) {
        let mut open = false;
        for number in first.max(self.base)..end {
            if self
                .chunk(number)
                .is_some_and(|chunk| chunk.state != State::Settled)
            {
                open = true;
                self.settle(number);
            }
        }
        if open {
            self.stats.expired += 1;
            self.abandoned_to = self.abandoned_to.max(end);
        }
    }

    pub(super) fn settle(&mut self, number: u64) {
        let Some(chunk) = self.chunk_mut(number) else {
            return;
        };
        let state = std::mem::replace(&mut chunk.state, State::Settled);
        let bytes = std::mem::take(&mut chunk.payload).len();
        let last = chunk.fragment.index + 1 == chunk.fragment.count;
        match state {
            State::InFlight { .. } => self.in_flight_bytes -= bytes,
            State::Lost => {
                self.lost.remove(&number);
            }
            State::Unsent => {}
            State::Settled => return,
        }
        self.held_bytes -= bytes + if last { MESSAGE_COST_BYTES } else { 0 };
    }

    /// Forgets what is settled, and sees to it that the peer is told.
    pub(super) fn tidy(&mut self, now: Instant) {
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.state == State::Settled)
        {
            self.chunks.pop_front();
            self.base += 1;
        }
        self.next_unsent = self.next_unsent.max(self.base);
        while self.sent.front().is_some_and(|sent| sent.end <= self.base) {
            self.sent.pop_front();
        }
        self.drop_stale_flights();
        if !self.forward_needed() {
            self.forward_at = None;
            self.forwards = 0;
        } else if self.forward_at.is_none() {
            self.forward_at = Some(now + FORWARD_DELAY);
        }
    }

    /// The first chunk of the first message that is still of interest. Not
    /// `base`: a part of that message may be settled, and the peer takes what is
    /// begun below the floor for given up.
    pub(super) fn floor(&self) -> u64 {
        self.sent.front().map_or(self.base, |sent| sent.first)
    }

    pub(super) fn forward_needed(&self) -> bool {
        self.peer_floor < self.abandoned_to.min(self.floor())
    }

    /// The floor was told; once more if that is not acknowledged.
    pub(super) fn note_forward(&mut self, now: Instant) {
        self.forward_at = Some(now + self.pace(self.forwards));
        self.forwards = (self.forwards + 1).min(ATTEMPTS_AT_ONE_PACE + DOUBLINGS_MAX);
    }
}

/// The chunks of the message that this chunk is of.
fn message_of(number: u64, fragment: Fragment) -> (u64, u64) {
    let first = number - u64::from(fragment.index);
    (first, first + u64::from(fragment.count))
}
