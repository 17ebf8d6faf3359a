//! Telling a frame that came twice, over two paths or two carriers.

use std::collections::{HashMap, VecDeque};

use dt_ids::{Encoding, StreamId};

/// What a frame is, on both carriers and over every path (WIRE 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameId {
    /// The media stream.
    pub stream_id: StreamId,
    /// The simulcast layer.
    pub encoding: Encoding,
    /// Microseconds since the Unix epoch at capture.
    pub timestamp_us: u64,
}

/// Remembers the newest frames of each encoding. A frame older than all that
/// it remembers counts as seen: timestamps rise within an encoding, so it has
/// been overtaken by far.
#[derive(Debug)]
pub struct Deduplicator {
    encodings: HashMap<(StreamId, Encoding), Seen>,
    encodings_max: usize,
    frames_max: usize,
    /// Orders the encodings by use.
    turn: u64,
}

#[derive(Debug)]
struct Seen {
    /// Rising timestamps, `frames_max` at most; the smallest goes first.
    timestamps: VecDeque<u64>,
    last_used: u64,
}

impl Deduplicator {
    /// Remembers `frames_max` frames of each of `encodings_max` encodings; with
    /// more encodings the one not seen for longest is forgotten.
    ///
    /// # Panics
    /// When either is 0.
    #[must_use]
    pub fn new(encodings_max: usize, frames_max: usize) -> Self {
        assert!(
            encodings_max > 0 && frames_max > 0,
            "a memory of nothing tells nothing"
        );
        Self {
            encodings: HashMap::new(),
            encodings_max,
            frames_max,
            turn: 0,
        }
    }

    /// Whether this is the first time that the frame comes; remembers it.
    pub fn is_new(&mut self, frame: FrameId) -> bool {
        self.turn += 1;
        let key = (frame.stream_id, frame.encoding);
        if !self.encodings.contains_key(&key) && self.encodings.len() >= self.encodings_max {
            self.forget_oldest();
        }
        let frames_max = self.frames_max;
        let seen = self.encodings.entry(key).or_insert_with(|| Seen {
            timestamps: VecDeque::new(),
            last_used: 0,
        });
        seen.last_used = self.turn;
        match seen.timestamps.binary_search(&frame.timestamp_us) {
            Ok(_) => false,
            Err(0) if seen.timestamps.len() >= frames_max => false,
            Err(place) => {
                seen.timestamps.insert(place, frame.timestamp_us);
                if seen.timestamps.len() > frames_max {
                    seen.timestamps.pop_front();
                }
                true
            }
        }
    }

    /// Takes back that a frame came: what came was not it.
    pub fn retract(&mut self, frame: FrameId) {
        let key = (frame.stream_id, frame.encoding);
        if let Some(seen) = self.encodings.get_mut(&key)
            && let Ok(place) = seen.timestamps.binary_search(&frame.timestamp_us)
        {
            seen.timestamps.remove(place);
        }
    }

    /// Forgets a stream that has ended.
    pub fn forget(&mut self, stream_id: StreamId) {
        self.encodings.retain(|(stream, _), _| *stream != stream_id);
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .encodings
            .iter()
            .min_by_key(|(_, seen)| seen.last_used)
            .map(|(key, _)| *key);
        if let Some(key) = oldest {
            self.encodings.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(stream: u8, timestamp_us: u64) -> FrameId {
        FrameId {
            stream_id: StreamId::from_bytes([stream; 16]),
            encoding: Encoding::MIN,
            timestamp_us,
        }
    }

    #[test]
    fn the_second_copy_of_a_frame_is_told() {
        let mut dedup = Deduplicator::new(4, 3);
        assert!(dedup.is_new(id(1, 10)));
        assert!(!dedup.is_new(id(1, 10)));
        assert!(dedup.is_new(id(2, 10)), "another stream");
        assert!(dedup.is_new(id(1, 5)), "late, but the first copy");
        assert!(!dedup.is_new(id(1, 5)));
    }

    #[test]
    fn a_frame_older_than_the_memory_counts_as_seen() {
        let mut dedup = Deduplicator::new(4, 3);
        for t in [10, 20, 30] {
            assert!(dedup.is_new(id(1, t)));
        }
        assert!(!dedup.is_new(id(1, 5)));
        assert!(dedup.is_new(id(1, 15)));
        assert!(
            !dedup.is_new(id(1, 10)),
            "pushed out by 15, and below all others"
        );
    }

    #[test]
    fn a_frame_that_was_retracted_may_come_again() {
        let mut dedup = Deduplicator::new(4, 3);
        assert!(dedup.is_new(id(1, 10)));
        dedup.retract(id(1, 10));
        dedup.retract(id(2, 10));
        assert!(dedup.is_new(id(1, 10)));
    }

    #[test]
    fn the_encoding_not_seen_for_longest_makes_room() {
        let mut dedup = Deduplicator::new(2, 3);
        dedup.is_new(id(1, 10));
        dedup.is_new(id(2, 10));
        dedup.is_new(id(1, 20));
        dedup.is_new(id(3, 10));
        assert!(!dedup.is_new(id(1, 20)));
        assert!(dedup.is_new(id(2, 10)));
        assert_eq!(dedup.encodings.len(), 2);
    }

    proptest! {
        #[test]
        fn no_frame_is_new_twice_and_the_memory_is_bounded(
            frames in prop::collection::vec((0u8..6, 0u64..40), 0..400),
        ) {
            let mut dedup = Deduplicator::new(8, 5);
            let mut seen = std::collections::HashSet::new();
            for (stream, timestamp) in frames {
                if dedup.is_new(id(stream, timestamp)) {
                    prop_assert!(seen.insert((stream, timestamp)));
                }
                prop_assert!(dedup.encodings.values().all(|s| s.timestamps.len() <= 5));
            }
        }
    }
}
