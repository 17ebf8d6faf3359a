//! How much can be made anew at once. What is asked for is counted, not measured:
//! a thread that is asked for more than it can do would first be late for everybody
//! it serves.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Microseconds of CPU a second for one source: its packets decoded and put in
/// order.
const SOURCE_US: u64 = 5_000;
/// For one encoding: the sum of its sources, and its packets.
const ENCODING_US: u64 = 22_000;

/// What a meeting wants made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Voices of any mix.
    pub(super) mixed: usize,
    /// Receivers of a mix.
    pub(super) mixes: usize,
    /// Voices that are encoded anew by themselves, and encodings of them.
    pub(super) alone: usize,
    pub(super) encodings: usize,
}

impl Demand {
    /// Microseconds of CPU a second. Of a meeting so many microphones are heard at
    /// once at most; others cost nothing.
    pub(super) fn cost_us(self, heard_max: usize) -> u64 {
        let heard = |sources: usize| sources.min(heard_max);
        let voices = heard(self.mixed);
        // Who is not heard hears what all hear; each of the others a mix of their own.
        let mixes = self.mixes.min(voices + 1);
        let sources = voices + heard(self.alone);
        let encodings = mixes + self.encodings;
        sources as u64 * SOURCE_US + encodings as u64 * ENCODING_US
    }
}

/// What a thread has been asked for, in microseconds of CPU a second.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<AtomicU64>);

impl Asked {
    pub(super) fn us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Nothing of it yet.
    pub(super) fn share(&self) -> Share {
        Share {
            of: self.clone(),
            us: 0,
        }
    }
}

/// One meeting's part of that; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Asked,
    us: u64,
}

impl Share {
    /// Takes or gives back what is more or less now; `false`, and nothing changes,
    /// when that is more than there is.
    pub(super) fn resize(&mut self, us: u64, max_us: u64) -> bool {
        let before = self.us;
        let fits = |all: u64| {
            let next = (all - before) + us;
            (us <= before || next <= max_us).then_some(next)
        };
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        let taken = self.of.0.fetch_update(set, get, fits).is_ok();
        if taken {
            self.us = us;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(mixed: usize, mixes: usize) -> Demand {
        Demand {
            mixed,
            mixes,
            ..Demand::default()
        }
    }

    #[test]
    fn a_mix_for_many_who_do_not_speak_costs_one_encoding() {
        let cost = |demand: Demand| demand.cost_us(5);
        assert_eq!(cost(Demand::default()), 0);
        let one = cost(mix(3, 1));
        assert_eq!(cost(mix(3, 4)) - one, 3 * ENCODING_US);
        assert_eq!(cost(mix(3, 400)), cost(mix(3, 4)));
        // Of many microphones few are heard at once.
        assert_eq!(cost(mix(100, 100)), cost(mix(5, 6)));
        let alone = Demand {
            alone: 1,
            encodings: 2,
            ..Demand::default()
        };
        assert_eq!(cost(alone), SOURCE_US + 2 * ENCODING_US);
    }

    #[test]
    fn no_more_is_given_out_than_there_is_and_all_comes_back() {
        let asked = Asked::default();
        let (mut one, mut other) = (asked.share(), asked.share());
        assert!(one.resize(60, 100));
        assert!(!other.resize(41, 100));
        assert!(other.resize(40, 100));
        assert!(!one.resize(61, 100));
        assert_eq!(asked.us(), 100);
        // Less is always taken back, also when there is less than was given out.
        assert!(one.resize(50, 10));
        assert_eq!(asked.us(), 90);
        drop(one);
        assert!(other.resize(100, 100));
        drop(other);
        assert_eq!(asked.us(), 0);
    }
}
