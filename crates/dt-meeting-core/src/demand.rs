//! Which encodings of a stream somebody wants, as media handlers tell.
//!
//! What is said counts at once. That a receiver whose bandwidth goes up and down
//! costs the sender no encoder each time is the handlers' care: they say late
//! that an encoding is not wanted any more.

use std::collections::BTreeMap;

use dt_ids::HandlerId;
use dt_wire::internal::WantedEncoding;

use crate::time::Time;

/// Of one stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Demand {
    /// What each handler said last; empty until the first report. By encoding,
    /// bits per second at most.
    reported: BTreeMap<HandlerId, BTreeMap<u32, u32>>,
    wishes: Vec<Wish>,
}

/// Of one encoding. Bits per second at most, 0: as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Wanted(u32),
    /// No handler has said whether it is wanted.
    Assumed {
        until: Time,
    },
    Off,
}

impl Demand {
    /// Before handlers say something everything is wanted.
    pub(crate) fn new(encodings: usize) -> Self {
        Self {
            reported: BTreeMap::new(),
            wishes: vec![Wish::Wanted(0); encodings],
        }
    }

    /// What a handler says, the whole truth. True when what is to be sent
    /// changes.
    pub(crate) fn report(&mut self, handler: HandlerId, wanted: &[WantedEncoding]) -> bool {
        let known = wanted
            .iter()
            .filter(|w| (w.encoding as usize) < self.wishes.len());
        let wanted = known.map(|w| (w.encoding, w.max_bitrate)).collect();
        self.reported.insert(handler, wanted);
        let mut changed = false;
        for (encoding, wish) in (0..).zip(&mut self.wishes) {
            let next = match (union(&self.reported, encoding), *wish) {
                (Some(max_bitrate), _) => Wish::Wanted(max_bitrate),
                // The word may be older than the wish.
                (None, assumed @ Wish::Assumed { .. }) => assumed,
                (None, Wish::Wanted(_) | Wish::Off) => Wish::Off,
            };
            changed |= next.sent() != wish.sent();
            *wish = next;
        }
        changed
    }

    /// Somebody receives the stream whom no handler can have counted yet. If
    /// nothing was wanted, everything is for a while: a picture should not wait
    /// for a handler's word.
    pub(crate) fn begin(&mut self, now: Time, assume_ms: u64) {
        if self.wishes.iter().all(|wish| wish.sent().is_none()) {
            self.wishes.fill(Wish::Assumed {
                until: now.plus_ms(assume_ms),
            });
        }
    }

    /// The sender sends nothing there any more. What it said stays until another
    /// one says something.
    pub(crate) fn forget(&mut self, handler: HandlerId) {
        self.reported.remove(&handler);
    }

    /// Ends what was assumed long enough; true when something was.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let mut changed = false;
        for wish in &mut self.wishes {
            if matches!(wish, Wish::Assumed { until } if *until <= now) {
                *wish = Wish::Off;
                changed = true;
            }
        }
        changed
    }

    /// When the next one is assumed no longer.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let assumed = self.wishes.iter().filter_map(|wish| match wish {
            Wish::Assumed { until } => Some(*until),
            Wish::Wanted(_) | Wish::Off => None,
        });
        assumed.min()
    }

    /// Bits per second at most, 0: as published. `None`: it is not to be sent.
    pub(crate) fn of(&self, encoding: u32) -> Option<u32> {
        self.wishes
            .get(encoding as usize)
            .and_then(|wish| wish.sent())
    }
}

impl Wish {
    fn sent(self) -> Option<u32> {
        match self {
            Self::Wanted(max_bitrate) => Some(max_bitrate),
            Self::Assumed { .. } => Some(0),
            Self::Off => None,
        }
    }
}

/// What all handlers together want of an encoding.
fn union(reported: &BTreeMap<HandlerId, BTreeMap<u32, u32>>, encoding: u32) -> Option<u32> {
    let limits = reported.values().filter_map(|by| by.get(&encoding));
    // No limit is the highest one.
    limits.copied().max_by_key(|limit| limit.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSUME_MS: u64 = 2000;

    fn wanted(of: &[(u32, u32)]) -> Vec<WantedEncoding> {
        let wanted = of.iter().map(|(encoding, max_bitrate)| WantedEncoding {
            encoding: *encoding,
            max_bitrate: *max_bitrate,
        });
        wanted.collect()
    }

    fn handler(n: u8) -> HandlerId {
        HandlerId::from_bytes([n; 16])
    }

    #[test]
    fn everything_is_wanted_until_a_handler_says_otherwise() {
        let demand = Demand::new(2);
        assert_eq!(
            (demand.of(0), demand.of(1), demand.of(2)),
            (Some(0), Some(0), None)
        );
    }

    #[test]
    fn what_nobody_wants_goes_off_and_what_somebody_wants_comes_on_at_once() {
        let mut demand = Demand::new(2);
        assert!(demand.report(handler(1), &wanted(&[(0, 90_000)])));
        assert_eq!((demand.of(0), demand.of(1)), (Some(90_000), None));
        assert!(!demand.report(handler(1), &wanted(&[(0, 90_000)])));
        assert!(demand.report(handler(1), &wanted(&[(0, 90_000), (1, 0)])));
        assert_eq!(demand.of(1), Some(0));
        assert_eq!(demand.next_timeout(), None);
    }

    #[test]
    fn the_word_of_a_handler_that_has_it_no_more_holds_until_another_one_speaks() {
        let mut demand = Demand::new(2);
        demand.report(handler(1), &wanted(&[(1, 0)]));
        demand.forget(handler(1));
        assert_eq!((demand.of(0), demand.of(1)), (None, Some(0)));
        demand.report(handler(2), &wanted(&[(0, 0)]));
        assert_eq!((demand.of(0), demand.of(1)), (Some(0), None));
    }

    #[test]
    fn what_one_handler_wants_is_sent_as_fast_as_the_greediest_can_take() {
        let mut demand = Demand::new(1);
        demand.report(handler(1), &wanted(&[(0, 100)]));
        demand.report(handler(2), &wanted(&[(0, 200)]));
        assert_eq!(demand.of(0), Some(200));
        demand.report(handler(1), &wanted(&[(0, 0)]));
        assert_eq!(demand.of(0), Some(0), "no limit is above every limit");
        demand.report(handler(1), &[]);
        assert_eq!(demand.of(0), Some(200));
    }

    #[test]
    fn a_stream_that_begins_to_be_watched_is_sent_before_a_handler_says_so() {
        let mut demand = Demand::new(2);
        let at = Time(1_000_000);
        demand.report(handler(1), &[]);
        demand.expire(at);
        assert_eq!(demand.of(0), None);
        demand.begin(at, ASSUME_MS);
        assert_eq!((demand.of(0), demand.of(1)), (Some(0), Some(0)));
        demand.report(handler(1), &wanted(&[(0, 0)]));
        demand.expire(at.plus_ms(ASSUME_MS));
        assert_eq!((demand.of(0), demand.of(1)), (Some(0), None));
    }
}
