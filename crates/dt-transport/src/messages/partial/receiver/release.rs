//! What the receiving machine hands out and when, and what it gives up.

use std::time::{Duration, Instant};

use super::{ENTRY_COST_BYTES, Receiver, Unfinished};
use crate::messages::{Ordering, Reliability};

/// An ordered message goes out so long before its deadline at the latest,
/// whatever is missing before it; less where a twentieth of the deadline is.
const RELEASE_EARLY_MAX: Duration = Duration::from_millis(10);

impl Receiver {
    // -- handing out --------------------------------------------------------

    /// Hands out what can be: the message that begins here, or all in order.
    pub(super) fn release(&mut self, now: Instant, first: u64) {
        if self.waits_for_earlier() {
            self.release_in_order(now);
        } else if self
            .unfinished
            .get(&first)
            .is_some_and(Unfinished::is_whole)
        {
            if self.ordering == Ordering::Ordered {
                self.skip_to(first);
            }
            self.hand_out(now, first);
        }
    }

    pub(super) fn waits_for_earlier(&self) -> bool {
        self.ordering == Ordering::Ordered && self.reliability.is_partial()
    }

    pub(super) fn release_in_order(&mut self, now: Instant) {
        while let Some((first, message)) = self.unfinished.first_key_value() {
            let (first, whole) = (*first, message.is_whole());
            if whole && first >= self.next && (first == self.next || first < self.passed) {
                self.hand_out(now, first);
            } else if first < self.next.max(self.passed) {
                self.forget(first);
            } else {
                break;
            }
        }
        self.next = self.next.max(self.passed);
    }

    /// In ordered streams: what must go out although something is missing before
    /// it, and when.
    pub(super) fn urgent(&self) -> Option<(u64, Instant)> {
        let Reliability::Deadline(deadline) = self.reliability else {
            return None;
        };
        if !self.waits_for_earlier() {
            return None;
        }
        let early = (deadline / 20).min(RELEASE_EARLY_MAX);
        let (first, message) = self.unfinished.iter().find(|(_, m)| m.is_whole())?;
        let expires = message.expires?;
        Some((*first, expires.checked_sub(early).unwrap_or(expires)))
    }

    pub(super) fn release_the_urgent(&mut self, now: Instant) {
        while let Some((first, at)) = self.urgent()
            && at <= now
        {
            self.skip_to(first);
            self.release_in_order(now);
        }
    }

    /// What is before this chunk is not waited for any longer.
    pub(super) fn skip_to(&mut self, first: u64) {
        self.next = self.next.max(first);
        while let Some((lowest, _)) = self.unfinished.first_key_value()
            && *lowest < first
        {
            let lowest = *lowest;
            self.forget(lowest);
        }
    }

    /// The sender has given up what is missing below the floor: whole messages.
    pub(super) fn pass(&mut self, now: Instant, floor: u64) {
        if floor <= self.passed {
            return;
        }
        self.passed = floor;
        self.received.raise_floor(floor);
        if self.waits_for_earlier() {
            self.release_in_order(now);
            return;
        }
        self.forget_where(|first, message| first < floor && !message.is_whole());
    }

    pub(super) fn forget_where(&mut self, gone: impl Fn(u64, &Unfinished) -> bool) {
        let gone: Vec<u64> = self
            .unfinished
            .iter()
            .filter(|(first, message)| gone(**first, message))
            .map(|(first, _)| *first)
            .collect();
        for first in gone {
            self.forget(first);
        }
    }

    pub(super) fn take(&mut self, first: u64) -> Option<Unfinished> {
        let message = self.unfinished.remove(&first)?;
        self.unfinished_bytes -= message.cost();
        self.fragmented -= usize::from(message.count > 1);
        Some(message)
    }

    pub(super) fn forget(&mut self, first: u64) {
        self.take(first);
    }

    pub(super) fn hand_out(&mut self, now: Instant, first: u64) {
        let Some(message) = self.take(first) else {
            return;
        };
        self.next = self.next.max(first + u64::from(message.count));
        if matches!(self.reliability, Reliability::Deadline(_))
            && message.expires.is_some_and(|at| at < now)
        {
            self.stats.late += 1;
        }
        let bytes = message.join();
        self.stats.messages += 1;
        self.stats.message_bytes += bytes.len() as u64;
        self.ready_bytes += bytes.len() + ENTRY_COST_BYTES;
        self.ready.push_back(bytes);
    }

    // -- the end ------------------------------------------------------------

    pub(super) fn is_whole(&self, total: u64) -> bool {
        self.received.floor() >= total
    }

    pub(super) fn finish_if_whole(&mut self) {
        if let Some(end) = &self.end
            && self.is_whole(end.total)
        {
            let total = end.total;
            self.skip_to(total);
        }
    }
}
