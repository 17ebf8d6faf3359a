//! Which datagrams of an encoding came already, by whichever way.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Entries that are remembered, each of up to 128 fragments of a frame. An older
/// frame counts as seen: it was overtaken by far.
const ENTRIES_MAX: usize = 64;
/// Unless nothing new came for so long: then the sender's clock was set back.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// By their frame's timestamp and their place in it.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Sorted by what it is; the smallest goes first.
    entries: VecDeque<((u64, u16), u128)>,
    new_at: Option<Instant>,
}

impl Recent {
    /// Whether this is the first time that it comes; remembers it.
    pub(crate) fn add(&mut self, timestamp_us: u64, fragment: u16, now: Instant) -> bool {
        let (key, bit) = ((timestamp_us, fragment / 128), 1 << (fragment % 128));
        // Mostly the last one, or after it.
        let place = self.entries.iter().rposition(|(at, _)| *at <= key);
        if let Some((at, mask)) = place.and_then(|place| self.entries.get_mut(place))
            && *at == key
        {
            let new = *mask & bit == 0;
            *mask |= bit;
            if new {
                self.new_at = Some(now);
            }
            return new;
        }
        if place.is_none() && self.entries.len() >= ENTRIES_MAX {
            let silent = |at| now.saturating_duration_since(at) >= SILENT_AFTER;
            if !self.new_at.is_none_or(silent) {
                return false;
            }
            self.entries.clear();
        }
        let place = place.map_or(0, |place| place + 1).min(self.entries.len());
        self.entries.insert(place, (key, bit));
        if self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.new_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fragment_is_new_once_in_any_order() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        for (timestamp, fragment) in [(5, 0), (7, 1), (7, 0), (5, 3), (6, 0), (7, 300)] {
            assert!(recent.add(timestamp, fragment, now));
            assert!(!recent.add(timestamp, fragment, now));
        }
    }

    #[test]
    fn what_was_overtaken_by_far_counts_as_seen_until_the_clock_was_set_back() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        for n in 0..1000 {
            assert!(recent.add(1_000_000 + n, 0, start));
        }
        assert!(!recent.add(500, 0, start));
        assert_eq!(recent.entries.len(), ENTRIES_MAX);
        assert!(recent.add(500, 0, start + SILENT_AFTER));
        assert!(recent.add(501, 0, start + SILENT_AFTER));
    }
}
