//! What the handler's receivers want of encodings, and what must follow of it.

use std::collections::BTreeMap;

use dt_ids::StreamId;
use dt_wire::{internal::EncodingDemand, v1::EncodingDirective};

use crate::Time;

/// More encodings than any stream has here.
const ENCODINGS: u32 = 4;

#[derive(Default)]
pub(super) struct Wishes {
    /// The last word on each stream: encodings and their limits.
    said: BTreeMap<StreamId, BTreeMap<u32, u32>>,
    /// Since when nobody wants an encoding.
    unwanted: BTreeMap<(StreamId, u32), Time>,
}

impl Wishes {
    pub(super) fn report(&mut self, stream: StreamId, demand: &EncodingDemand, now: Time) {
        let wanted = demand.encodings.iter();
        let wanted: BTreeMap<u32, u32> = wanted.map(|w| (w.encoding, w.max_bitrate)).collect();
        for encoding in 0..ENCODINGS {
            if wanted.contains_key(&encoding) {
                self.unwanted.remove(&(stream, encoding));
            } else {
                self.unwanted.entry((stream, encoding)).or_insert(now);
            }
        }
        self.said.insert(stream, wanted);
    }

    /// Somebody gets the stream now: what nobody wanted may be sent for a while.
    pub(super) fn begin(&mut self, stream: StreamId, now: Time) {
        for encoding in 0..ENCODINGS {
            if let Some(since) = self.unwanted.get_mut(&(stream, encoding)) {
                *since = now;
            }
        }
    }

    pub(super) fn forget(&mut self, published: impl Fn(StreamId) -> bool) {
        self.said.retain(|stream, _| published(*stream));
        self.unwanted.retain(|(stream, _), _| published(*stream));
    }

    /// The directive for an encoding of a video that somebody receives.
    pub(super) fn check(
        &self,
        stream: StreamId,
        told: &EncodingDirective,
        now: Time,
        kept_ms: u64,
    ) {
        let Some(said) = self.said.get(&stream) else {
            assert_eq!(
                (told.active, told.max_bitrate),
                (true, 0),
                "nobody said anything yet"
            );
            return;
        };
        match said.get(&told.encoding) {
            Some(limit) => {
                assert_eq!(
                    (told.active, told.max_bitrate),
                    (true, *limit),
                    "wanted is sent"
                );
            }
            None if told.active => {
                let since = self.unwanted[&(stream, told.encoding)];
                assert!(
                    now.ms_since(since) < kept_ms,
                    "unwanted is not sent for long"
                );
            }
            None => {}
        }
    }
}
