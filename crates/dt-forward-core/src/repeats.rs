//! Sound that is sent again to those who lose some of it: nobody waits for a round
//! trip, and what comes again is dropped by whoever has it.
//!
//! How often follows from the losses. Of packets that are lost by chance, one copy
//! leaves a hundredth of a tenth, and two leave less than a hundredth of a fifth.
//! The second copy is left out beside a queue, of which it would be part of the
//! reason, and where it would take the room of a picture.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{Target, outbox::Turn};

/// Sound is sent again so long after the first time: each time beside the next
/// packet or the one after it, for what is lost is often lost together.
const AFTER: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(35)];
/// Datagrams that wait for that, at most.
const WAITING_MAX: usize = 16;
/// Losses above which sound is sent once more, and twice more.
const ABOVE: [f64; 2] = [0.01, 0.04];
/// And below which it is not any more, after a while.
const BELOW: [f64; 2] = [0.002, 0.02];
const CALM_FOR: Duration = Duration::from_secs(5);
/// One lost packet is no share.
const LOST_PACKETS_MIN: u64 = 3;

/// How often a receiver gets its sound again.
#[derive(Debug, Default)]
pub(crate) struct Need {
    times: u8,
    /// Since when less would do.
    calm_since: Option<Instant>,
}

impl Need {
    pub(crate) const fn times(&self) -> u8 {
        self.times
    }

    /// A look at the path. `room`: nothing waits before its bottleneck, and the second
    /// copy takes no picture's place.
    pub(crate) fn look(&mut self, loss: f64, lost_packets: u64, room: bool, now: Instant) {
        if !room {
            self.times = self.times.min(1);
        }
        let wanted = match () {
            () if lost_packets < LOST_PACKETS_MIN => 0,
            () if loss > ABOVE[1] && room => 2,
            () if loss > ABOVE[0] => 1,
            () => 0,
        };
        if wanted > self.times {
            self.times = wanted;
        }
        let enough = usize::from(self.times).checked_sub(1).map(|n| BELOW[n]);
        if enough.is_none_or(|below| loss >= below) {
            self.calm_since = None;
            return;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= CALM_FOR {
            self.times -= 1;
            self.calm_since = None;
        }
    }
}

/// What of one source is sent again, and to whom.
#[derive(Debug)]
pub(crate) struct Repeats {
    times: [Time; 2],
}

/// One time that it is sent again.
#[derive(Debug)]
struct Time {
    to: Arc<[Target]>,
    waiting: VecDeque<(Instant, Bytes)>,
}

impl Default for Repeats {
    fn default() -> Self {
        let time = || Time {
            to: Arc::from([]),
            waiting: VecDeque::new(),
        };
        Self {
            times: [time(), time()],
        }
    }
}

impl Repeats {
    /// Replaces the receivers; each with how often it is sent again.
    pub(crate) fn list(&mut self, lossy: impl Iterator<Item = (Target, u8)> + Clone) {
        for (least, time) in (1..).zip(&mut self.times) {
            let to = lossy.clone().filter(|(_, times)| *times >= least);
            time.to = to.map(|(target, _)| target).collect();
        }
    }

    /// It was sent for the first time.
    pub(crate) fn keep(&mut self, datagram: &Bytes, now: Instant) {
        for time in self.times.iter_mut().filter(|time| !time.to.is_empty()) {
            if time.waiting.len() >= WAITING_MAX {
                time.waiting.pop_front();
            }
            time.waiting.push_back((now, datagram.clone()));
        }
    }

    /// Sends again what is to be sent again now.
    pub(crate) fn send(&mut self, turn: &mut Turn<'_>) {
        for (after, time) in AFTER.into_iter().zip(&mut self.times) {
            let due = |at: Instant| turn.now.saturating_duration_since(at) >= after;
            while time.waiting.front().is_some_and(|(at, _)| due(*at)) {
                let Some((_, datagram)) = time.waiting.pop_front() else {
                    break;
                };
                turn.outbox.counters.repeats_out += time.to.len() as u64;
                turn.outbox.datagram(datagram, &time.to);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        for time in &mut self.times {
            time.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_lost_the_more_often_it_is_sent_and_calm_ends_it() {
        let mut now = Instant::now();
        let mut need = Need::default();
        let mut look = |need: &mut Need, loss: f64, room, seconds| {
            for _ in 0..seconds * 20 {
                now += Duration::from_millis(50);
                need.look(loss, (loss * 300.0) as u64, room, now);
            }
            need.times()
        };
        assert_eq!(look(&mut need, 0.0, true, 10), 0);
        assert_eq!(look(&mut need, 0.003, true, 10), 0);
        assert_eq!(look(&mut need, 0.02, true, 1), 1);
        assert_eq!(look(&mut need, 0.1, false, 1), 1, "without room");
        assert_eq!(look(&mut need, 0.1, true, 1), 2);
        assert_eq!(look(&mut need, 0.1, false, 1), 1, "no room any more");
        assert_eq!(look(&mut need, 0.1, true, 1), 2);
        assert_eq!(look(&mut need, 0.03, true, 60), 2);
        assert_eq!(look(&mut need, 0.015, true, 6), 1);
        assert_eq!(look(&mut need, 0.005, true, 60), 1);
        assert_eq!(look(&mut need, 0.0, true, 4), 1);
        assert_eq!(look(&mut need, 0.0, true, 2), 0);
    }
}
