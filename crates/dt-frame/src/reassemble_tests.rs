//! Tests of reassembly.

use bytes::Bytes;
use dt_ids::{Encoding, StreamNumber, UserId};
use proptest::prelude::*;

use super::*;
use crate::{Datagram, Flags, Fragmenter, OutgoingFrame};

fn frame(timestamp_us: u64, payload_bytes: usize) -> OutgoingFrame {
    #[allow(clippy::cast_possible_truncation)] // any pattern will do
    let pattern = |n: usize| (n as u64 ^ timestamp_us) as u8;
    OutgoingFrame {
        frame_type: FrameType::VideoDelta,
        timestamp_us,
        discardable: false,
        extension: Extension::video(Encoding::MIN, 0, 0, 1),
        payload: (0..payload_bytes).map(pattern).collect(),
    }
}

fn cut(fragmenter: &mut Fragmenter, frame: &OutgoingFrame) -> Vec<Datagram> {
    fragmenter.cut(frame, 142).unwrap().collect()
}

fn fragmenter() -> Fragmenter {
    Fragmenter::new(UserId(1), StreamNumber::MIN)
}

fn header(timestamp_us: u64, fragment: u16, end: bool) -> DatagramHeader {
    DatagramHeader {
        frame_type: FrameType::VideoDelta,
        user_id: UserId(1),
        stream: 1,
        timestamp_us,
        sequence: 1000 + u64::from(fragment),
        payload_bytes: 1,
        flags: Flags {
            start: fragment == 0,
            end,
            discardable: false,
        },
        extension: Extension {
            fragment,
            ..Extension::video(Encoding::MIN, 0, 0, 1)
        },
    }
}

#[test]
fn a_frame_that_stays_incomplete_is_dropped_after_its_time() {
    let (mut reassembler, now) = (Reassembler::new(Limits::default()), Instant::now());
    let age_max = Limits::default().age_max;
    assert_eq!(
        reassembler.push(&header(1, 0, false), Bytes::from_static(b"a"), now),
        None
    );
    reassembler.expire(now + age_max);
    assert!(reassembler.pending_bytes() > 0);
    reassembler.expire(now + age_max + Duration::from_millis(1));
    assert_eq!(reassembler.pending_bytes(), 0);
    assert_eq!(reassembler.stats().frames_expired, 1);
    // What was missing comes after all.
    let late = reassembler.push(&header(1, 1, true), Bytes::from_static(b"b"), now);
    assert_eq!(late, None);
    assert_eq!(reassembler.stats().fragments_duplicate, 1);
}

#[test]
fn the_oldest_frame_makes_room_and_a_still_older_one_is_not_begun() {
    let limits = Limits {
        frames_max: 2,
        ..Limits::default()
    };
    let (mut reassembler, now) = (Reassembler::new(limits), Instant::now());
    for timestamp in [10, 20, 30] {
        reassembler.push(&header(timestamp, 0, false), Bytes::from_static(b"a"), now);
    }
    reassembler.push(&header(5, 0, false), Bytes::from_static(b"a"), now);
    assert_eq!(reassembler.stats().frames_evicted, 2);
    let end = Bytes::from_static(b"b");
    assert_eq!(
        reassembler.push(&header(10, 1, true), end.clone(), now),
        None
    );
    assert!(reassembler.push(&header(20, 1, true), end, now).is_some());
}

#[test]
fn a_single_fragment_is_not_copied() {
    let (mut reassembler, now) = (Reassembler::new(Limits::default()), Instant::now());
    let payload = Bytes::from(vec![7]);
    let whole = reassembler
        .push(&header(1, 0, true), payload.clone(), now)
        .unwrap();
    assert_eq!(whole.payload.as_ptr(), payload.as_ptr());
}

#[test]
fn fragments_beyond_the_last_one_drop_their_frame() {
    let (mut reassembler, now) = (Reassembler::new(Limits::default()), Instant::now());
    let byte = || Bytes::from_static(b"a");
    reassembler.push(&header(1, 3, false), byte(), now);
    assert_eq!(reassembler.push(&header(1, 1, true), byte(), now), None);
    assert_eq!(reassembler.stats().frames_inconsistent, 1);
    assert_eq!(reassembler.pending_bytes(), 0);
}

proptest! {
    #[test]
    fn frames_come_out_whole_and_once_whatever_is_lost_repeated_and_reordered(
        sizes in prop::collection::vec(0usize..900, 1..8),
        order in prop::collection::vec((any::<prop::sample::Index>(), 0u8..10), 0..120),
    ) {
        let mut fragmenter = fragmenter();
        let frames: Vec<_> = (1u64..).zip(&sizes).map(|(t, size)| frame(t, *size)).collect();
        let all: Vec<_> = frames.iter().flat_map(|f| cut(&mut fragmenter, f)).collect();
        let mut reassembler = Reassembler::new(Limits::default());
        let now = Instant::now();
        let mut arrived = std::collections::HashSet::new();
        let mut out = std::collections::HashMap::new();
        for (index, _) in order {
            let datagram = index.get(&all);
            arrived.insert(datagram.header.sequence);
            let (header, payload) = DatagramHeader::split(datagram.to_bytes()).unwrap();
            if let Some(frame) = reassembler.push(&header, payload, now) {
                prop_assert!(out.insert(frame.timestamp_us, frame).is_none(), "twice");
            }
        }
        for sent in &frames {
            let pieces: Vec<_> = all
                .iter()
                .filter(|d| d.header.timestamp_us == sent.timestamp_us)
                .map(|d| d.header.sequence)
                .collect();
            let whole = pieces.iter().all(|s| arrived.contains(s));
            prop_assert_eq!(whole, out.contains_key(&sent.timestamp_us));
            if let Some(frame) = out.get(&sent.timestamp_us) {
                prop_assert_eq!(&frame.payload, &sent.payload);
                prop_assert_eq!(frame.first_sequence, pieces[0]);
                prop_assert_eq!(frame.last_sequence, *pieces.last().unwrap());
            }
        }
    }

    #[test]
    fn hostile_fragments_never_hold_more_than_the_limits(
        fragments in prop::collection::vec(
            (0u64..6, any::<u16>(), any::<[bool; 3]>(), any::<u8>(), 0usize..2000, 0u64..300),
            0..300,
        ),
    ) {
        let limits = Limits {
            frames_max: 3,
            bytes_max: 8000,
            age_max: Duration::from_millis(1000),
        };
        let mut reassembler = Reassembler::new(limits);
        let mut now = Instant::now();
        for (timestamp_us, fragment, [start, end, small], detail, size, wait) in fragments {
            now += Duration::from_millis(wait);
            let fragment = if small { fragment % 4 } else { fragment };
            let mut header = header(timestamp_us, fragment, end);
            header.flags.start = start;
            header.extension.detail = detail % 2;
            let _ = reassembler.push(&header, Bytes::from(vec![0; size]), now);
            prop_assert!(reassembler.pending_bytes() <= limits.bytes_max);
            prop_assert!(reassembler.pending.len() <= limits.frames_max);
            prop_assert!(reassembler.finished.len() <= FINISHED_FRAMES);
            let counted: usize = reassembler.pending.values().map(Pending::cost_bytes).sum();
            prop_assert_eq!(counted, reassembler.pending_bytes());
        }
        now += limits.age_max * 2;
        reassembler.expire(now);
        prop_assert_eq!(reassembler.pending_bytes(), 0);
    }
}
