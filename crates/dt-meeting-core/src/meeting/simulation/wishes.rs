//! What handlers' receivers want of encodings, and what must follow of it.

use std::collections::{BTreeMap, BTreeSet};

use dt_ids::{HandlerId, StreamId};
use dt_wire::{internal::EncodingDemand, v1::EncodingDirective};

use crate::Time;

#[derive(Default)]
pub(super) struct Wishes {
    /// The last word on each stream: encodings and their limits.
    said: BTreeMap<StreamId, (HandlerId, BTreeMap<u32, u32>)>,
    /// When somebody last began to get a stream.
    begun: BTreeMap<StreamId, Time>,
    /// More than one handler had a word, or had it once: what counts then is the
    /// demand's own business.
    mixed: BTreeSet<StreamId>,
}

impl Wishes {
    pub(super) fn report(&mut self, stream: StreamId, handler: HandlerId, demand: &EncodingDemand) {
        let wanted = demand.encodings.iter();
        let wanted = wanted.map(|w| (w.encoding, w.max_bitrate)).collect();
        let before = self.said.insert(stream, (handler, wanted));
        if before.is_some_and(|(before, _)| before != handler) {
            self.mixed.insert(stream);
        }
    }

    /// Somebody gets the stream now: what nobody wanted may be sent for a while.
    pub(super) fn begin(&mut self, stream: StreamId, now: Time) {
        self.begun.insert(stream, now);
    }

    pub(super) fn forget(&mut self, published: impl Fn(StreamId) -> bool) {
        self.said.retain(|stream, _| published(*stream));
        self.begun.retain(|stream, _| published(*stream));
        self.mixed.retain(|stream| published(*stream));
    }

    /// The directive for an encoding of a video that somebody receives.
    pub(super) fn check(
        &self,
        stream: StreamId,
        told: &EncodingDirective,
        now: Time,
        assumed_ms: u64,
    ) {
        if self.mixed.contains(&stream) {
            return;
        }
        let Some((_, said)) = self.said.get(&stream) else {
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
                let begun = self.begun.get(&stream);
                assert!(
                    begun.is_some_and(|at| now.ms_since(*at) < assumed_ms),
                    "unwanted is not sent for long"
                );
            }
            None => {}
        }
    }
}
