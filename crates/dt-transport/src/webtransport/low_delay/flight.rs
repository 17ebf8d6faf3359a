//! What may be on its way at once, beside what the window says: no more than a
//! conversation needs.
//!
//! A sender that never fills its window has a window of the past. When its path
//! becomes narrow at once, all of that window goes into the queue before a round
//! trip tells. So, as in RFC 7661, what may be in flight follows what is used:
//! somewhat more than the sender's own rate brings into a round trip. Who needs
//! more for longer than a round trip gets it, doubled each round trip, as at the
//! start.
//!
//! And an acknowledgement that is late is a queue that can be seen before its
//! round trip is known: until it comes, no more is sent than the path delivers
//! meanwhile. If all that was waited for is acknowledged at one moment, there was no
//! queue, but a machine that stood still: what is used is allowed again.
//!
//! Only the standard library here: the simulation of receivers in
//! `dt-forward-core` is compiled with this very file.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Packets that may always be in flight, and at least while acknowledgements are late.
const PACKETS_MIN: u64 = 7;
const LATE_PACKETS_MIN: u64 = 4;
/// What is waited for an acknowledgement beyond a usual round trip: with it, as
/// long as peers may hold one back (25 ms).
const LATE_AFTER: Duration = Duration::from_millis(10);
/// What round trips are longer than their base on a path without a queue, at least
/// and at most.
const USUAL_MIN: Duration = Duration::from_millis(20);
const USUAL_MAX: Duration = Duration::from_millis(60);
/// Acknowledgements over which that is averaged.
const USUAL_SMOOTHING: u32 = 256;
/// What is delivered is counted for so long, to see that it stopped, and to know
/// the sender's own rate.
const BRIEF: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_millis(500);
/// How often the allowance moves towards what is used.
const EASE_EVERY: Duration = Duration::from_millis(250);
/// After it grew it is kept for so long: who needed more may soon again.
const KEPT: Duration = Duration::from_millis(500);
/// So many packets that are acknowledged at one moment have not waited in a queue
/// one behind the other.
const AT_ONCE_PACKETS_MIN: u64 = 3;
const AT_ONCE: Duration = Duration::from_millis(5);
/// What is sent within so long has one entry.
const TOGETHER: Duration = Duration::from_millis(1);

/// Bytes of the last one to two periods.
#[derive(Debug, Clone)]
struct Count {
    period: Duration,
    older: (Instant, u64),
    newer: (Instant, u64),
}

impl Count {
    const fn new(period: Duration, now: Instant) -> Self {
        Self {
            period,
            older: (now, 0),
            newer: (now, 0),
        }
    }

    fn add(&mut self, bytes: u64, now: Instant) {
        if now.saturating_duration_since(self.newer.0) >= self.period {
            self.older = self.newer;
            self.newer = (now, 0);
        }
        self.newer.1 += bytes;
    }

    /// At this rate, bytes in so long.
    fn within(&self, time: Duration, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.older.0).max(self.period);
        let bytes = u128::from(self.older.1 + self.newer.1);
        u64::try_from(bytes * time.as_nanos() / since.as_nanos().max(1)).unwrap_or(u64::MAX)
    }
}

/// Follows what is on its way on one path.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    /// The last packet of what was sent together, and when; oldest first.
    sent: VecDeque<(u64, Instant)>,
    brief: Count,
    long: Count,
    /// Bytes that may be in flight.
    allowed: u64,
    /// Since when more was to be sent than that.
    limited_since: Option<Instant>,
    /// Since when, acknowledgements late or not.
    blocked_since: Option<Instant>,
    eased_at: Instant,
    grown_at: Option<Instant>,
    /// What round trips are longer than their base.
    usual: Duration,
    late: bool,
    /// What was allowed before acknowledgements were late.
    before_late: Option<u64>,
    /// What was acknowledged at this moment, or shortly after it.
    at_once: (Instant, u64),
}

impl Flight {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            sent: VecDeque::new(),
            brief: Count::new(BRIEF, now),
            long: Count::new(LONG, now),
            allowed: u64::MAX,
            limited_since: None,
            blocked_since: None,
            eased_at: now,
            grown_at: None,
            usual: Duration::ZERO,
            late: false,
            before_late: None,
            at_once: (now, 0),
        }
    }

    /// Bytes that may be in flight.
    pub(super) const fn allowed(&self) -> u64 {
        self.allowed
    }

    /// When that was sent which is not acknowledged yet.
    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        self.sent.front().map(|(_, at)| *at)
    }

    /// Since when more is to be sent than may be.
    pub(super) const fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    pub(super) fn sent(&mut self, last_packet: u64, base: Duration, mtu: u64, now: Instant) {
        match self.sent.back_mut() {
            Some((last, at)) if now.saturating_duration_since(*at) < TOGETHER => {
                *last = last_packet;
            }
            _ => self.sent.push_back((last_packet, now)),
        }
        self.look(base, mtu, now);
    }

    /// Bytes were acknowledged, after this round trip.
    pub(super) fn arrived(&mut self, bytes: u64, rtt: Duration, base: Duration, now: Instant) {
        self.brief.add(bytes, now);
        self.long.add(bytes, now);
        if now.saturating_duration_since(self.at_once.0) > AT_ONCE {
            self.at_once = (now, 0);
        }
        self.at_once.1 += bytes;
        let longer = rtt.saturating_sub(base).min(USUAL_MAX);
        self.usual = (self.usual * (USUAL_SMOOTHING - 1) + longer) / USUAL_SMOOTHING;
        let long_limited = |since: Instant| {
            now.saturating_duration_since(since) > base.saturating_add(self.slack())
        };
        if !self.late && self.limited_since.is_some_and(long_limited) {
            self.allowed = self.allowed.saturating_add(bytes);
            self.grown_at = Some(now);
        }
    }

    /// An acknowledgement was taken in whole. `limited`: more was to be sent than
    /// was allowed.
    pub(super) fn answered(
        &mut self,
        largest: u64,
        limited: bool,
        base: Duration,
        mtu: u64,
        now: Instant,
    ) {
        while self.sent.front().is_some_and(|(last, _)| *last <= largest) {
            self.sent.pop_front();
        }
        self.look(base, mtu, now);
        self.blocked_since = self.blocked_since.or(Some(now)).filter(|_| limited);
        self.limited_since = match self.limited_since {
            _ if !limited || self.late => None,
            since @ Some(_) => since,
            None => Some(now),
        };
        if now.saturating_duration_since(self.eased_at) >= EASE_EVERY {
            self.eased_at = now;
            if self.limited_since.is_none() && !self.late {
                self.ease(base, mtu, now);
            }
        }
    }

    fn slack(&self) -> Duration {
        self.usual.max(USUAL_MIN)
    }

    /// Whether an acknowledgement is late, and what follows.
    fn look(&mut self, base: Duration, mtu: u64, now: Instant) {
        let most = base.saturating_add(LATE_AFTER + self.slack());
        let waits = self.unanswered_since();
        let late = waits.is_some_and(|at| now.saturating_duration_since(at) > most);
        let was_late = std::mem::replace(&mut self.late, late);
        if was_late && !late {
            let before = self.before_late.take();
            let recent = now.saturating_duration_since(self.at_once.0) <= AT_ONCE;
            if recent && self.at_once.1 >= AT_ONCE_PACKETS_MIN * mtu {
                // No more than is used: a path may become narrow at any time.
                let enough = self.enough(base, mtu, now);
                self.allowed = self.allowed.max(before.unwrap_or(0).min(enough));
            }
        }
        if self.late {
            self.before_late.get_or_insert(self.allowed);
            let delivered = self.brief.within(base + self.slack(), now);
            self.allowed = self.allowed.min(delivered.max(LATE_PACKETS_MIN * mtu));
        }
    }

    /// What the sender's own rate brings into a round trip, or somewhat more.
    fn enough(&self, base: Duration, mtu: u64, now: Instant) -> u64 {
        let used = self.long.within(base.saturating_add(self.slack()), now);
        used.max(PACKETS_MIN * mtu)
    }

    /// Towards what is used.
    fn ease(&mut self, base: Duration, mtu: u64, now: Instant) {
        let enough = self.enough(base, mtu, now);
        self.allowed = match self.allowed {
            u64::MAX => enough,
            more if more > enough && self.grown_lately(now) => more,
            more if more > enough => enough.max(more / 10 * 7),
            less => enough.min(less / 10 * 14),
        };
    }

    fn grown_lately(&self, now: Instant) -> bool {
        let lately = |at| now.saturating_duration_since(at) < KEPT;
        self.grown_at.is_some_and(lately)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1200;
    const MS: Duration = Duration::from_millis(1);
    const BASE: Duration = Duration::from_millis(20);

    /// A path of a base round trip and a rate, and who sends bursts of so many
    /// packets over it.
    struct Path {
        flight: Flight,
        now: Instant,
        base: Duration,
        /// Bytes a millisecond.
        rate: u64,
        waiting: u64,
        in_flight: VecDeque<(u64, Instant, Instant)>,
        free_at: Instant,
        next: u64,
        most: usize,
        /// No acknowledgement comes before.
        hold_until: Option<Instant>,
    }

    impl Path {
        fn new(rate: u64) -> Self {
            let now = Instant::now();
            Self {
                flight: Flight::new(now),
                now,
                base: BASE,
                rate,
                waiting: 0,
                in_flight: VecDeque::new(),
                free_at: now,
                next: 0,
                most: 0,
                hold_until: None,
            }
        }

        /// A burst each 50 ms, for so many of them.
        fn run(&mut self, bursts: u32, packets: u64) {
            self.most = 0;
            for at in 0..bursts * 50 {
                if at % 50 == 0 {
                    self.waiting += packets;
                }
                self.now += MS;
                self.step();
            }
        }

        fn step(&mut self) {
            let now = self.now;
            while let Some((packet, sent, _)) = self.in_flight.front().copied()
                && self.in_flight[0].2 <= now
                && self.hold_until.is_none_or(|until| until <= now)
            {
                self.in_flight.pop_front();
                self.flight.arrived(MTU, now - sent, self.base, now);
                let limited = self.waiting > 0;
                self.flight.answered(packet, limited, self.base, MTU, now);
            }
            while self.waiting > 0
                && (self.in_flight.len() as u64 + 1) * MTU <= self.flight.allowed()
            {
                self.waiting -= 1;
                let takes = Duration::from_micros(MTU * 1000 / self.rate);
                self.free_at = self.free_at.max(now) + takes;
                let back = self.free_at + self.base;
                self.in_flight.push_back((self.next, now, back));
                self.flight.sent(self.next, self.base, MTU, now);
                self.next += 1;
            }
            self.most = self.most.max(self.in_flight.len());
        }
    }

    #[test]
    fn nothing_bounds_a_start() {
        let mut path = Path::new(10_000);
        path.run(1, 200);
        assert_eq!(path.most, 200);
    }

    #[test]
    fn what_is_allowed_follows_what_is_used() {
        let mut path = Path::new(10_000);
        path.run(40, 4);
        assert_eq!(path.flight.allowed(), PACKETS_MIN * MTU);
        // Far more than that at once takes its time, and no longer than it must.
        path.run(1, 100);
        assert!(path.most < 60, "{}", path.most);
        path.run(10, 0);
        assert_eq!((path.waiting, path.in_flight.len()), (0, 0));
    }

    #[test]
    fn who_needs_more_for_long_gets_it() {
        let mut path = Path::new(10_000);
        path.run(40, 4);
        // Ten megabytes a second are 167 packets in 20 ms.
        path.run(20, 400);
        assert!(path.flight.allowed() > 150 * MTU);
        assert!(path.waiting < 400, "{}", path.waiting);
    }

    #[test]
    fn a_path_that_becomes_narrow_is_not_filled() {
        let mut path = Path::new(2500);
        path.run(40, 8);
        // 300 kbit/s: a packet takes 32 ms.
        path.rate = 37;
        path.run(4, 8);
        let queue = path.free_at.saturating_duration_since(path.now - 200 * MS);
        assert!(queue < 500 * MS, "{queue:?}");
        assert_eq!(path.flight.allowed(), LATE_PACKETS_MIN * MTU);
        // All that waits goes once it is wide again.
        path.rate = 2500;
        path.run(20, 1);
        assert_eq!(path.waiting, 0);
    }

    #[test]
    fn a_path_whose_round_trips_vary_is_learned() {
        let mut path = Path::new(2500);
        // Up to 60 ms beyond the base, at any time.
        let usual = |path: &mut Path, at: u32| path.base = BASE + MS * (at * 37 % 60);
        for at in 0..200 {
            usual(&mut path, at);
            path.run(1, 8);
        }
        assert!(path.flight.allowed() >= PACKETS_MIN * MTU);
        assert_eq!(path.waiting, 0);
    }

    #[test]
    fn a_receiver_that_stood_still_is_no_queue() {
        let mut path = Path::new(2500);
        path.run(40, 12);
        let before = path.flight.allowed();
        // Nothing is acknowledged for a while, and then all of it.
        let back = path.now + 150 * MS;
        path.hold_until = Some(back);
        path.run(3, 12);
        assert!(path.flight.allowed() > before / 2, "{before}");
        path.run(4, 12);
        assert_eq!(path.waiting, 0);
    }
}
