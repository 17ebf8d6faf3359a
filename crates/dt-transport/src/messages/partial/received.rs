//! Which chunks have arrived: everything below a floor, and ranges above it.

use std::{collections::BTreeMap, ops::Range};

/// A set of chunk numbers that is dense at its beginning.
#[derive(Debug, Default)]
pub(super) struct Received {
    floor: u64,
    /// Start to end; none is empty, touches another or begins at the floor.
    ranges: BTreeMap<u64, u64>,
}

impl Received {
    /// Everything below has arrived or is not waited for.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn range_count(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    pub(super) fn contains(&self, chunk: u64) -> bool {
        let before = self.ranges.range(..=chunk).next_back();
        chunk < self.floor || before.is_some_and(|(_, end)| chunk < *end)
    }

    /// Whether it would be a range of its own.
    pub(super) fn is_apart(&self, chunk: u64) -> bool {
        let before = self.ranges.range(..=chunk).next_back();
        chunk > self.floor
            && before.is_none_or(|(_, end)| chunk > *end)
            && !self.ranges.contains_key(&(chunk + 1))
    }

    /// Adds one that it does not contain.
    pub(super) fn insert(&mut self, chunk: u64) {
        let mut start = chunk;
        if let Some((before, end)) = self.ranges.range(..=chunk).next_back()
            && *end == chunk
        {
            start = *before;
        }
        let end = self.ranges.remove(&(chunk + 1)).unwrap_or(chunk + 1);
        if start == self.floor {
            self.floor = end;
        } else {
            self.ranges.insert(start, end);
        }
    }

    /// Nothing below is waited for any longer.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while let Some(first) = self.ranges.first_entry()
            && *first.key() <= self.floor
        {
            self.floor = self.floor.max(first.remove());
        }
    }

    /// The first gap is not waited for any longer.
    pub(super) fn skip_first_gap(&mut self) {
        if let Some((_, end)) = self.ranges.pop_first() {
            self.floor = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn ranges_say_what_a_plain_set_says() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut ranges, mut set) = (Received::default(), BTreeSet::new());
            for _ in 0..300 {
                let chunk = rng.random_range(0..120u64);
                assert_eq!(ranges.contains(chunk), set.contains(&chunk), "seed {seed}");
                if !ranges.contains(chunk) {
                    let before = ranges.range_count();
                    let apart = ranges.is_apart(chunk);
                    ranges.insert(chunk);
                    set.insert(chunk);
                    assert_eq!(ranges.range_count() > before, apart, "seed {seed}");
                }
                if rng.random_range(0..40) == 0 {
                    let floor = rng.random_range(0..60);
                    ranges.raise_floor(floor);
                    set.extend(0..floor);
                }
                let floor = ranges.floor();
                assert!((0..floor).all(|chunk| set.contains(&chunk)), "seed {seed}");
                assert!(!set.contains(&floor), "seed {seed}");
                let above: Vec<u64> = ranges.ranges().flatten().collect();
                let expected: Vec<u64> = set.range(floor..).copied().collect();
                assert_eq!(above, expected, "seed {seed}");
            }
        }
    }
}
