//! Random meetings on a virtual clock, checked after every step against a
//! simple model. A failing case is shrunk, printed and kept for replay.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dt_forward_core::{
    CloseReason, Config, ENCODINGS_MAX, EncodingSpec, Forwarder, Generation, GroupKey, OutGroup,
    Output, QueueLimits, Quota, SessionKey, StreamOp, StreamSpec,
};
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, MediaKind,
    SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, ParticipantId, Slot, StreamId, StreamNumber, UserId};
use proptest::prelude::*;

mod checks;
mod world;

use self::world::World;

const PEOPLE: u8 = 4;
const QUEUE: QueueLimits = QueueLimits {
    late_max: Duration::from_millis(500),
    session_bytes_max: 8_000,
    session_streams_max: 3,
};

#[derive(Debug, Clone)]
enum Step {
    /// With which of its two streams, and whether they are muted.
    Register {
        who: u8,
        streams: u8,
        muted: bool,
        stale: bool,
    },
    Unregister {
        who: u8,
    },
    Route {
        source: u8,
        to: u8,
        stale: bool,
    },
    Up {
        who: u8,
    },
    Down {
        who: u8,
    },
    Datagram {
        who: u8,
        source: u8,
    },
    Open {
        who: u8,
        source: u8,
    },
    Frame {
        who: u8,
        group: prop::sample::Index,
        key: bool,
        bytes: usize,
    },
    Finish {
        who: u8,
        group: prop::sample::Index,
    },
    Reset {
        who: u8,
        group: prop::sample::Index,
    },
    Ask {
        who: u8,
        source: u8,
    },
    Written {
        out: prop::sample::Index,
        frames: usize,
    },
    Refused {
        out: prop::sample::Index,
    },
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE;
    let any_index = any::<prop::sample::Index>;
    let rarely = prop::bool::weighted;
    // Mostly what a meeting is like, so that media flows; sometimes not.
    let streams = prop_oneof![5 => Just(3u8), 1 => 0u8..3];
    let receivers = || prop_oneof![2 => Just(15u8), 1 => 0u8..16];
    let own = || {
        (who(), who(), rarely(0.15)).prop_map(|(who, other, foreign)| {
            let source = if foreign { other } else { who };
            (who, source)
        })
    };
    prop_oneof![
        2 => (who(), streams, rarely(0.1), rarely(0.1))
            .prop_map(|(who, streams, muted, stale)| Step::Register { who, streams, muted, stale }),
        1 => who().prop_map(|who| Step::Unregister { who }),
        3 => (who(), receivers(), rarely(0.1))
            .prop_map(|(source, to, stale)| Step::Route { source, to, stale }),
        3 => who().prop_map(|who| Step::Up { who }),
        1 => who().prop_map(|who| Step::Down { who }),
        4 => own().prop_map(|(who, source)| Step::Datagram { who, source }),
        10 => own().prop_map(|(who, source)| Step::Open { who, source }),
        60 => (who(), any_index(), rarely(0.3), 0usize..2000)
            .prop_map(|(who, group, key, bytes)| Step::Frame { who, group, key, bytes }),
        4 => (who(), any_index()).prop_map(|(who, group)| Step::Finish { who, group }),
        1 => (who(), any_index()).prop_map(|(who, group)| Step::Reset { who, group }),
        1 => (who(), who()).prop_map(|(who, source)| Step::Ask { who, source }),
        30 => (any_index(), 1usize..5).prop_map(|(out, frames)| Step::Written { out, frames }),
        1 => any_index().prop_map(|out| Step::Refused { out }),
        4 => (0u64..300).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn person(n: u8) -> ParticipantId {
    ParticipantId::from_bytes([n + 1; 16])
}

fn video(n: u8) -> StreamId {
    StreamId::from_bytes([0x80 + n; 16])
}

fn audio(n: u8) -> StreamId {
    StreamId::from_bytes([0xc0 + n; 16])
}

fn label(who: u8) -> SlotLabel {
    SlotLabel::new(3, Slot::try_from(u32::from(who) + 1).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_reaches_whom_it_is_not_routed_to_and_all_is_bounded(
        steps in prop::collection::vec(step(), 0..250),
    ) {
        let mut world = World::new();
        // Everybody is there to begin with, and sees everybody.
        for who in 0..PEOPLE {
            world.run(Step::Register { who, streams: 3, muted: false, stale: false })?;
            world.run(Step::Up { who })?;
            world.run(Step::Route { source: who, to: 15, stale: false })?;
        }
        for step in steps {
            world.run(step)?;
        }
    }

    #[test]
    fn a_receiver_gets_the_kept_group_and_all_that_follows_without_a_gap(
        before in 1usize..20,
        after in 1usize..30,
        bytes in 0usize..400,
        group: prop::sample::Index,
    ) {
        let mut world = World::new();
        for who in [0, 1] {
            world.run(Step::Register { who, streams: 1, muted: false, stale: false })?;
            world.run(Step::Up { who })?;
        }
        world.run(Step::Open { who: 0, source: 0 })?;
        let first = world.sequence + 1;
        let mut got = Vec::new();
        for n in 0..before + after {
            if n == before {
                let wanted = [(person(1), label(1))];
                let generation = world.generation(false);
                world.forwarder.route(video(0), wanted, generation, world.now).unwrap();
            }
            world.frame(0, group, n == 0, bytes);
            world.now += Duration::from_millis(33);
            let mut wrote = Vec::new();
            while let Some(output) = world.forwarder.poll_output() {
                if let Output::Stream { session, out, op: StreamOp::Frame(frame) } = output {
                    got.push(FrameHeader::parse(&frame.header).unwrap().sequence);
                    wrote.push((session, out));
                }
            }
            for (session, out) in wrote {
                world.forwarder.written(session, out, 1);
            }
            world.forwarder.tick(world.now);
        }
        let kept = before as u64 * (bytes as u64 + 46) <= 5_000;
        if kept {
            let all: Vec<_> = (first..first + (before + after) as u64).collect();
            prop_assert_eq!(got, all);
        }
    }
}
