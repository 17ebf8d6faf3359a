//! What waits for one receiver on the datagram carrier. A transport sends its
//! datagrams in the order in which it was given them, so it is given pictures only
//! as its path takes them: sound never waits behind more of them than that. The
//! rest waits here, for a moment, and what is too late is not sent any more: half a
//! second of pictures that are over helps nobody, and what comes after it waits too.
//!
//! Driven by whoever sends; no clock. The simulation of receivers in
//! `dt-forward-core` is compiled with this very file.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Pictures are not added to a carrier's queue whose oldest datagram has waited
/// longer.
const PICTURES_WAIT_MAX: Duration = Duration::from_millis(50);
/// Nor to what waits here, where they are in nobody's way: a key frame takes a
/// while, and is worth nothing without what follows it.
const PICTURES_HELD_MAX: Duration = Duration::from_millis(300);
/// Those that wait here are given up after so long: a newer one begins anew. A far
/// receiver's window needs some round trips to grow to a better picture's first frame,
/// and to give that up half sent costs another one.
const PICTURES_KEPT_MAX: Duration = Duration::from_millis(600);
/// Sound is added to a queue up to this.
const SOUND_WAIT_MAX: Duration = Duration::from_millis(500);
/// What a transport may hold of pictures: as much as its path takes in this time,
/// and at least so much.
const ROOM: Duration = Duration::from_millis(10);
const ROOM_BYTES_MIN: usize = 2400;

/// What was given to a carrier, as far as it has not been sent, and what is yet
/// to be given.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// When, and bytes; oldest first.
    given: VecDeque<(Instant, usize)>,
    bytes: usize,
    held: VecDeque<(Instant, Bytes)>,
    room_bytes: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            given: VecDeque::new(),
            bytes: 0,
            held: VecDeque::new(),
            room_bytes: usize::MAX,
        }
    }
}

impl Backlog {
    /// The path takes a window in each round trip; a carrier that does not know
    /// is given all at once.
    pub(crate) fn path(&mut self, window_bytes: u64, rtt: Duration) {
        if rtt.is_zero() || window_bytes == 0 {
            return;
        }
        let room = u128::from(window_bytes) * ROOM.as_nanos() / rtt.as_nanos();
        self.room_bytes = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .max(ROOM_BYTES_MIN);
    }

    /// Sends pictures, all of them or none, while the carrier holds `queued`
    /// bytes; how many. What does not go now waits for [`Self::pump`].
    pub(crate) fn pictures(
        &mut self,
        copies: &[Bytes],
        queued: usize,
        now: Instant,
        send: &mut dyn FnMut(Bytes),
    ) -> usize {
        let held = self.held.front().map_or(now, |(at, _)| *at);
        let held = now.saturating_duration_since(held) > PICTURES_HELD_MAX;
        let given = self.given_age(queued, now) > PICTURES_WAIT_MAX;
        if held || !self.knows_path() && given {
            return 0;
        }
        let bytes: usize = copies.iter().map(Bytes::len).sum();
        if self.held.is_empty() && queued.saturating_add(bytes) <= self.room_bytes {
            self.give(copies.iter().cloned(), bytes, now, send);
        } else {
            self.held
                .extend(copies.iter().map(|copy| (now, copy.clone())));
            self.pump(queued, now, send);
        }
        copies.len()
    }

    /// Sends sound, before all pictures that wait here; how many.
    pub(crate) fn sound(
        &mut self,
        copies: &[Bytes],
        queued: usize,
        now: Instant,
        send: &mut dyn FnMut(Bytes),
    ) -> usize {
        if self.given_age(queued, now) > SOUND_WAIT_MAX {
            return 0;
        }
        let bytes = copies.iter().map(Bytes::len).sum();
        self.give(copies.iter().cloned(), bytes, now, send);
        copies.len()
    }

    /// Whether the carrier may be given what is worth less than media: not while
    /// anything waits.
    pub(crate) fn is_idle(&self, queued: usize) -> bool {
        queued <= self.room_bytes.saturating_mul(2)
    }

    /// Gives on what may go now of what waits here.
    pub(crate) fn pump(&mut self, mut queued: usize, now: Instant, send: &mut dyn FnMut(Bytes)) {
        let is_late = |at: &Instant| now.saturating_duration_since(*at) > PICTURES_KEPT_MAX;
        while self.held.front().is_some_and(|(at, _)| is_late(at)) {
            self.held.pop_front();
        }
        while let Some((_, next)) = self.held.front() {
            let bytes = next.len();
            if queued > 0 && queued.saturating_add(bytes) > self.room_bytes {
                return;
            }
            let next = self.held.pop_front().map(|(_, next)| next);
            self.give(next.into_iter(), bytes, now, send);
            queued += bytes;
        }
    }

    /// Whether something waits here.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    fn give(
        &mut self,
        copies: impl Iterator<Item = Bytes>,
        bytes: usize,
        now: Instant,
        send: &mut dyn FnMut(Bytes),
    ) {
        copies.for_each(send);
        self.bytes += bytes;
        self.given.push_back((now, bytes));
    }

    const fn knows_path(&self) -> bool {
        self.room_bytes < usize::MAX
    }

    /// How long the oldest of `queued` bytes have waited.
    fn given_age(&mut self, queued: usize, now: Instant) -> Duration {
        while let Some((_, bytes)) = self.given.front()
            && self.bytes - bytes >= queued
        {
            self.bytes -= bytes;
            self.given.pop_front();
        }
        let oldest = self.given.front().map_or(now, |(at, _)| *at);
        now.saturating_duration_since(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A carrier that sends so many bytes a millisecond.
    struct Carrier {
        backlog: Backlog,
        queue: VecDeque<Bytes>,
        sent: Vec<(Duration, Bytes)>,
        start: Instant,
        now: Instant,
        bytes_per_ms: usize,
        credit: usize,
    }

    impl Carrier {
        fn new(bytes_per_ms: usize) -> Self {
            let now = Instant::now();
            Self {
                backlog: Backlog::default(),
                queue: VecDeque::new(),
                sent: Vec::new(),
                start: now,
                now,
                bytes_per_ms,
                credit: 0,
            }
        }

        fn queued(&self) -> usize {
            self.queue.iter().map(Bytes::len).sum()
        }

        fn offer(&mut self, sound: bool, mark: u8, count: usize, bytes: usize) -> usize {
            let copies = vec![Bytes::from(vec![mark; bytes]); count];
            let (queued, queue) = (self.queued(), &mut self.queue);
            let give = &mut |datagram| queue.push_back(datagram);
            match sound {
                true => self.backlog.sound(&copies, queued, self.now, give),
                false => self.backlog.pictures(&copies, queued, self.now, give),
            }
        }

        fn run(&mut self, ms: u32) {
            for _ in 0..ms {
                self.now += MS;
                self.credit += self.bytes_per_ms;
                while let Some(next) = self.queue.pop_front_if(|next| next.len() <= self.credit) {
                    self.credit -= next.len();
                    self.sent.push((self.now - self.start, next));
                }
                if self.queue.is_empty() {
                    self.credit = 0;
                }
                let (queued, queue) = (self.queued(), &mut self.queue);
                self.backlog
                    .pump(queued, self.now, &mut |datagram| queue.push_back(datagram));
            }
        }

        fn sent(&self, mark: u8) -> Vec<Duration> {
            let of = self.sent.iter().filter(|(_, bytes)| bytes[0] == mark);
            of.map(|(at, _)| *at).collect()
        }
    }

    #[test]
    fn what_a_fast_receiver_is_given_goes_at_once_and_nothing_is_remembered() {
        let mut carrier = Carrier::new(10_000);
        carrier.backlog.path(1 << 20, 20 * MS);
        for _ in 0..1000 {
            assert_eq!(carrier.offer(false, 1, 6, 1100), 6);
            assert!(!carrier.backlog.holds());
            carrier.run(1);
        }
        assert_eq!(carrier.sent.len(), 6000);
        assert!(carrier.backlog.given.len() <= 2);
    }

    #[test]
    fn sound_does_not_wait_behind_a_picture() {
        // 300 kbit/s, and a picture of a second.
        let mut carrier = Carrier::new(37);
        carrier.backlog.path(6000, 160 * MS);
        assert_eq!(carrier.offer(false, 1, 36, 1000), 36);
        for _ in 0..20 {
            assert_eq!(carrier.offer(true, 2, 1, 100), 1);
            carrier.run(20);
        }
        carrier.run(300);
        let heard = carrier.sent(2);
        assert_eq!(heard.len(), 20);
        for (place, at) in (0u32..).zip(heard) {
            let waited = at - 20 * MS * place;
            assert!(waited <= 100 * MS, "{place}: {waited:?}");
        }
        // What is late of the picture is not sent.
        assert!(carrier.sent(1).len() < 26, "{}", carrier.sent(1).len());
        assert!(!carrier.backlog.holds());
    }

    #[test]
    fn pictures_are_all_or_nothing_and_in_their_order() {
        let mut carrier = Carrier::new(37);
        carrier.backlog.path(6000, 160 * MS);
        let mut taken = Vec::new();
        for mark in 0..40 {
            if carrier.offer(false, mark, 5, 500) == 5 {
                taken.push(mark);
            }
            carrier.run(50);
        }
        assert!((2..40).contains(&taken.len()), "{taken:?}");
        let marks: Vec<u8> = carrier.sent.iter().map(|(_, bytes)| bytes[0]).collect();
        assert!(marks.is_sorted());
        assert!(marks.iter().all(|mark| taken.contains(mark)));
    }

    #[test]
    fn a_carrier_that_tells_nothing_is_given_no_more_once_its_queue_is_old() {
        let mut carrier = Carrier::new(0);
        let taken = (0..20).map(|_| {
            carrier.run(10);
            carrier.offer(false, 1, 1, 100)
        });
        assert_eq!(taken.sum::<usize>(), 6);
        assert_eq!(carrier.offer(true, 2, 1, 100), 1);
        carrier.run(600);
        assert_eq!(carrier.offer(true, 2, 1, 100), 0);
    }

    #[test]
    fn the_age_is_that_of_the_oldest_byte_that_still_waits() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        let one = || std::iter::once(Bytes::from_static(&[0; 1000]));
        // 1000 bytes a millisecond come, 500 go.
        for round in 0..100 {
            let now = start + MS * round;
            let age = backlog.given_age(500 * round as usize, now);
            let expected = MS * round.div_ceil(2);
            assert!(age.abs_diff(expected) <= MS, "{round}: {age:?}");
            backlog.give(one(), 1000, now, &mut |_| {});
        }
        assert_eq!(backlog.given_age(0, start + MS * 200), Duration::ZERO);
        assert_eq!((backlog.bytes, backlog.given.len()), (0, 0));
    }
}
