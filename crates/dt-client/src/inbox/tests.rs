//! Facts about the inbox: both carriers, two generations of assignments, and
//! whatever a peer may send.

use dt_frame::{AudioLevel, Extension, Flags, FourCc, Fragmenter, OutgoingFrame, SlotLabel};
use dt_ids::{Slot, StreamNumber, UserId};
use dt_wire::v1::StreamAssignment;
use proptest::prelude::*;

use super::*;

const STREAM: StreamId = StreamId::from_bytes([7; 16]);

fn slot(number: u32) -> Slot {
    Slot::try_from(number).unwrap()
}

fn assignments(generation: u32, slots: &[u32]) -> StreamAssignments {
    let assignments = slots
        .iter()
        .map(|slot| StreamAssignment {
            slot: *slot,
            stream_id: STREAM.to_string(),
            user_id: 5,
            codec: "vp08".into(),
            ..StreamAssignment::default()
        })
        .collect();
    StreamAssignments {
        generation,
        assignments,
    }
}

fn outgoing(number: u8, bytes: usize) -> OutgoingFrame {
    let key = number == 0;
    OutgoingFrame {
        frame_type: if key {
            FrameType::VideoKey
        } else {
            FrameType::VideoDelta
        },
        timestamp_us: 1_000_000 + u64::from(number) * 33_000,
        discardable: false,
        extension: Extension::video(Encoding::MIN, 0, number, 0),
        payload: vec![number; bytes].into(),
    }
}

/// The datagrams of frames 0, 1, … as they come to slot 3 in a generation.
fn datagrams(count: u8, generation: u32) -> Vec<Vec<Bytes>> {
    let mut fragmenter = Fragmenter::new(UserId(5), StreamNumber::MIN);
    (0..count)
        .map(|number| {
            let cut = fragmenter.cut(&outgoing(number, 2500), 1100).unwrap();
            cut.map(|datagram| {
                let mut bytes = datagram.to_bytes().to_vec();
                DatagramHeader::rewrite_slot(&mut bytes, SlotLabel::new(generation, slot(3)));
                bytes.into()
            })
            .collect()
        })
        .collect()
}

fn push_all(inbox: &mut Inbox, datagrams: &[Bytes], now: Instant) -> Output {
    let mut all = Output::default();
    for datagram in datagrams {
        let output = inbox.datagram(datagram.clone(), now);
        all.frames.extend(output.frames);
        all.key_frames.extend(output.key_frames);
    }
    all
}

#[test]
fn a_frame_in_fragments_comes_out_whole_and_once() {
    let (mut inbox, now) = (Inbox::default(), Instant::now());
    inbox.assign(&assignments(1, &[3]), now);
    let frames = datagrams(2, 1);
    let output = push_all(&mut inbox, &frames[0], now);
    assert_eq!(output.frames.len(), 1);
    let frame = &output.frames[0];
    assert_eq!((frame.stream_id, frame.payload.len()), (STREAM, 2500));
    assert_eq!((frame.first_sequence, frame.last_sequence), (0, 2));
    assert!(push_all(&mut inbox, &frames[0], now).frames.is_empty());
    // The same frame over the other carrier is a second copy too.
    let (stream, header) = on_stream(0);
    let again = inbox.stream_frame(&stream, &header, Bytes::new(), now);
    assert!(again.frames.is_empty());
    assert_eq!(inbox.stats().duplicates, 1);
}

fn on_stream(number: u8) -> (StreamHeader, FrameHeader) {
    let frame = outgoing(number, 0);
    let stream = StreamHeader {
        stream_id: STREAM,
        codec: FourCc::Vp8,
        encoding: Encoding::MIN,
        screen: false,
        group: 0,
    };
    let header = FrameHeader {
        frame_type: frame.frame_type,
        stream_id: STREAM,
        timestamp_us: frame.timestamp_us,
        sequence: u64::from(number),
        payload_bytes: 0,
        flags: Flags::WHOLE,
        extension: frame.extension,
    };
    (stream, header)
}

#[test]
fn datagrams_of_newer_assignments_wait_for_them_and_those_of_the_previous_still_count() {
    let (mut inbox, now) = (Inbox::default(), Instant::now());
    inbox.assign(&assignments(1, &[3]), now);
    let newer = datagrams(1, 2);
    assert!(push_all(&mut inbox, &newer[0], now).frames.is_empty());
    let later = now + Duration::from_millis(150);
    assert_eq!(inbox.assign(&assignments(2, &[3]), later).frames.len(), 1);
    let previous = datagrams(2, 1);
    assert_eq!(push_all(&mut inbox, &previous[1], later).frames.len(), 1);
    inbox.assign(&assignments(3, &[3]), later);
    let rejected = inbox.stats().rejected;
    push_all(&mut inbox, &datagrams(3, 1)[2], later);
    assert_eq!(inbox.stats().rejected, rejected + 3);
}

#[test]
fn datagrams_that_waited_too_long_or_are_too_many_are_dropped() {
    let (mut inbox, now) = (Inbox::default(), Instant::now());
    push_all(&mut inbox, &datagrams(1, 2)[0], now);
    let late = now + Duration::from_millis(201);
    assert!(inbox.assign(&assignments(2, &[3]), late).frames.is_empty());
    assert_eq!(inbox.stats().rejected, 3);
    for _ in 0..200 {
        push_all(&mut inbox, &datagrams(2, 9)[1], late);
        assert!(inbox.held.len() <= HELD_DATAGRAMS_MAX);
    }
}

#[test]
fn older_assignments_do_not_replace_newer_ones_and_a_stream_in_view_keeps_its_span() {
    let (mut inbox, now) = (Inbox::default(), Instant::now());
    inbox.assign(&assignments(4, &[3]), now);
    inbox.assign(&assignments(5, &[3]), now);
    inbox.assign(&assignments(3, &[]), now);
    let output = push_all(&mut inbox, &datagrams(1, 5)[0], now);
    assert_eq!(output.frames[0].span, 4);
    inbox.assign(&assignments(6, &[]), now);
    inbox.assign(&assignments(7, &[3]), now);
    let output = push_all(&mut inbox, &datagrams(2, 7)[1], now);
    assert_eq!(output.frames[0].span, 7);
}

#[test]
fn a_missing_base_frame_asks_for_one_key_frame_a_second() {
    let (mut inbox, now) = (Inbox::default(), Instant::now());
    let mut asked = 0;
    for number in [0, 1, 3, 4, 5] {
        let (stream, header) = on_stream(number);
        let output = inbox.stream_frame(&stream, &header, Bytes::new(), now);
        asked += output.key_frames.len();
        let whole = number < 2;
        assert_eq!(output.frames[0].continuity == Continuity::Whole, whole);
    }
    assert_eq!(asked, 1);
    let (stream, header) = on_stream(6);
    let later = now + Duration::from_secs(1);
    let output = inbox.stream_frame(&stream, &header, Bytes::new(), later);
    assert_eq!(output.key_frames, [(STREAM, Encoding::MIN)]);
}

#[test]
fn a_datagram_of_another_user_or_kind_than_its_slot_is_rejected() {
    let (mut inbox, now) = (Inbox::default(), Instant::now());
    inbox.assign(&assignments(1, &[3]), now);
    let label = SlotLabel::new(1, slot(3));
    for (user, frame_type) in [(6, FrameType::VideoKey), (5, FrameType::Audio)] {
        let frame = OutgoingFrame {
            frame_type,
            extension: Extension::audio(AudioLevel::SILENCE, 0),
            ..outgoing(0, 100)
        };
        let mut fragmenter = Fragmenter::new(UserId(user), StreamNumber::MIN);
        let datagram = fragmenter.cut(&frame, 1100).unwrap().next().unwrap();
        let mut bytes = datagram.to_bytes().to_vec();
        DatagramHeader::rewrite_slot(&mut bytes, label);
        assert!(inbox.datagram(bytes.into(), now).frames.is_empty());
    }
    assert_eq!(inbox.stats().rejected, 2);
}

proptest! {
    #[test]
    fn any_datagrams_are_taken_or_rejected(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..50),
        known in any::<bool>(),
    ) {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        if known {
            inbox.assign(&assignments(1, &[3]), now);
        }
        for mut datagram in datagrams {
            if let Some(tag) = datagram.first_mut() {
                *tag = 2;
            }
            inbox.datagram(datagram.into(), now);
            prop_assert!(inbox.held.len() <= HELD_DATAGRAMS_MAX);
            prop_assert!(inbox.tracks.len() <= ENCODINGS_MAX);
        }
    }
}
